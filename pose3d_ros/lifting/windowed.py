# Copyright 2026 pose3d_ros maintainers
# SPDX-License-Identifier: Apache-2.0
#
# Licensed under the Apache License, Version 2.0 (the "License"); you may not use this file except
# in compliance with the License. You may obtain a copy of the License at
# http://www.apache.org/licenses/LICENSE-2.0
#
# Unless required by applicable law or agreed to in writing, software distributed under the License
# is distributed on an "AS IS" BASIS, WITHOUT WARRANTIES OR CONDITIONS OF ANY KIND, either express
# or implied. See the License for the specific language governing permissions and limitations under
# the License.

"""Lifters that look at a window of keypoints."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.inference import Engine
from pose3d_ros.lifting.lifter import NetworkLifter
from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.people import People2D

FRAME_INTERVAL_NS = 33_333_333  # the lifters are trained on 30 Hz windows


@dataclass
class _History:
    """Viewing rays of one person, newest last."""

    stamps_ns: deque[int]
    rays: deque[np.ndarray]  # (17, 2)
    confidence: deque[np.ndarray]  # (17,)


def resample(
    stamps_ns: np.ndarray, rays: np.ndarray, confidence: np.ndarray, frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """The last ``frames`` at exactly 30 Hz, linearly interpolated, from (N,) rising stamps, (N,
    17, 2), (N, 17).

    Whatever the camera's rate and however many frames were missed, the lifter sees the rate it was
    trained on. Before the first sight stands its copy. A joint unknown at one end of an interval
    is taken from the other.
    """
    wanted = stamps_ns[-1] - FRAME_INTERVAL_NS * np.arange(frames - 1, -1, -1)
    later = np.clip(np.searchsorted(stamps_ns, wanted), 0, len(stamps_ns) - 1)
    earlier = np.maximum(later - 1, 0)
    span = np.maximum(stamps_ns[later] - stamps_ns[earlier], 1)
    weight = np.clip((wanted - stamps_ns[earlier]) / span, 0, 1).astype(np.float32)
    weight = np.where(later == earlier, np.float32(1), weight)[:, None]
    known_later, known_earlier = np.isfinite(rays[later, :, 0]), np.isfinite(rays[earlier, :, 0])
    weight = np.where(known_later & known_earlier, weight, known_later)[..., None]
    blend = np.where(weight > 0, np.nan_to_num(rays[later]) * weight, 0) + np.nan_to_num(
        rays[earlier]
    ) * (1 - weight)
    low = np.minimum(confidence[later], confidence[earlier])
    either = known_later | known_earlier
    confidence = np.where(
        known_later & known_earlier & (weight[..., 0] < 1),
        low,
        np.where(known_later, confidence[later], confidence[earlier]),
    )
    return np.where(either[..., None], blend, np.nan), np.where(either, confidence, 0)


class WindowLifter(NetworkLifter):
    """Sees a window of the last frames at 30 Hz; one frame is a window, too.

    The model's input is ``keypoints`` (P, T, 18, 3) as ``normalise`` makes it and its output
    ``joints`` (P, 17, 4).
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._memory: dict[int, _History] = {}
        self.window = engine.inputs["keypoints"][1] or 0

    def _answer(
        self,
        people: People2D,
        camera: Camera,
        rays: np.ndarray,
        confidence: np.ndarray,
        image_bgr: np.ndarray | None,
        up: np.ndarray | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        windows = []
        for person, person_rays, person_confidence in zip(
            people.ids.tolist(), rays, confidence, strict=True
        ):
            history = self._memory.setdefault(person, _History(deque(), deque(), deque()))
            history.stamps_ns.append(people.stamp_ns)
            history.rays.append(person_rays)
            history.confidence.append(person_confidence)
            # One sample older than the window stays, to interpolate from.
            oldest = people.stamp_ns - FRAME_INTERVAL_NS * (self.window - 1)
            while len(history.stamps_ns) > 2 and history.stamps_ns[1] <= oldest:
                history.stamps_ns.popleft(), history.rays.popleft(), history.confidence.popleft()
            windows.append(
                resample(
                    np.array(history.stamps_ns),
                    np.array(history.rays),
                    np.array(history.confidence),
                    self.window,
                )
            )
        features, rotation = normalise(
            np.stack([w[0] for w in windows]), np.stack([w[1] for w in windows])
        )
        return self._engine({"keypoints": features})["joints"], rotation


class VideoPose3D(WindowLifter):
    """VideoPose3D, causal, on the last 0.9 s of keypoints."""

    name = "videopose3d"


class Martinez(WindowLifter):
    """The residual network of Martinez et al. on one frame of keypoints."""

    name = "martinez"
