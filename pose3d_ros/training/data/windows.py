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

"""Training clips of any source, and the inputs and targets of lifters made from them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.skeleton import H36M17

FRAME_S = 1 / 30
Inputs = np.ndarray | tuple[np.ndarray, ...]
"""A network's inputs: keypoints or images, and with some lifters more."""
_LEGS = H36M17.indices("r_knee", "r_ankle", "l_knee", "l_ankle")
_FEET = H36M17.indices("r_ankle", "l_ankle")


@dataclass(frozen=True)
class Clips:
    """B people over T frames, newest last: viewing ``rays`` (B, T, 17, 2) float32 (x/z, y/z,
    undistorted) with ``confidence`` (B, T, 17), 0 for unseen, and the true ``joints_m`` (B, T, 17,
    3) in the camera's frame, in metres at the canonical stature. ``root_relative_depth`` (B, T,
    17), if known: the detector's, in units of the person's size (``lifting.feature_maps``). ``up``
    (B, 3), if known: the unit vector against gravity in the camera's axes.
    """

    rays: np.ndarray
    confidence: np.ndarray
    joints_m: np.ndarray
    root_relative_depth: np.ndarray | None = field(default=None, kw_only=True)
    up: np.ndarray | None = field(default=None, kw_only=True)

    def last(self, offsets: np.ndarray) -> Clips:
        """The frames at ``offsets`` (T',) to the newest, for clips of consecutive frames."""
        chosen = offsets - 1
        return Clips(self.rays[:, chosen], self.confidence[:, chosen], self.joints_m[:, chosen])


@dataclass(frozen=True)
class LifterInputs:
    """Inputs and targets of a lifter that takes ``frames`` frames, ``step`` thirtieths of a second
    apart.

    A window is normalised as a whole and has one target, of its newest frame; if ``recurrent``,
    each frame is normalised by itself and has its own target.
    """

    frames: int
    step: int = 1
    recurrent: bool = False

    @property
    def offsets(self) -> np.ndarray:
        """Offsets (T,) from the newest frame in thirtieths of a second."""
        return np.arange(-self.step * (self.frames - 1), 1, self.step)

    def __call__(self, clips: Clips) -> tuple[Inputs, np.ndarray]:
        """Keypoints (B, T, 18, 3) of ``lifting.normalise`` and targets (B, T or 1, 17, 3) in
        metres, relative to the pelvis, in the axes of the virtual camera of the target's frame.
        """
        if not self.recurrent:
            features, rotation = normalise(clips.rays, clips.confidence)
            rotation, joints_m = rotation[:, None], clips.joints_m[:, -1:]
        else:
            features, rotation = normalise(clips.rays[:, :, None], clips.confidence[:, :, None])
            features, joints_m = features[:, :, 0], clips.joints_m
        target_m = (joints_m - joints_m[..., :1, :]) @ np.swapaxes(rotation, -1, -2)
        return features, target_m.astype(np.float32)

    def varied(self, rng: np.random.Generator, clips: Clips) -> Clips:
        """Windows of slower cameras and of people who have just appeared, among others. Clips of
        recurrent lifters stay: these begin without a state, and with uneven steps, in each.
        """
        if self.recurrent or self.frames == 1:
            return clips
        return _newly_seen(rng, _from_slow_camera(rng, clips))


def hide(rng: np.random.Generator, clips: Clips) -> Clips:
    """Clips with joints lost (confidence 0): below a threshold of confidence, beyond the image's
    border, or occluded for a time.
    """
    confidence = clips.confidence.copy()
    count, frames = confidence.shape[:2]
    confidence[confidence < rng.uniform(0, 0.4, (count, 1, 1))] = 0
    confidence[_beyond_border(rng, clips.rays)] = 0
    for joints, share in ((_LEGS, 0.06), (_FEET, 0.06)):
        rows = np.flatnonzero(rng.random(count) < share)
        confidence[rows[:, None], :, joints] = 0
    hidden = rng.random((count, 17)) < 0.02
    begin, end = np.sort(rng.integers(0, frames + 1, (2, count, 17)), axis=0)
    time = np.arange(frames)[:, None]
    occluded = (
        hidden[:, None]
        & (time >= begin[:, None])
        & ((time < end[:, None]) | (end[:, None] > 0.8 * frames))
    )
    confidence[occluded] = 0
    return replace(clips, confidence=confidence)


def _beyond_border(rng: np.random.Generator, rays: np.ndarray) -> np.ndarray:
    """Which joints (B, T, 17) are beyond the image's border, of one person in eight, who is in it
    by half or more; two of three borders are the lower one.
    """
    count = len(rays)
    side = rng.choice(4, count, p=[2 / 3, 1 / 9, 1 / 9, 1 / 9])
    outward = np.array([[0, 1], [1, 0], [-1, 0], [0, -1]])[side]
    place = np.einsum("btjd,bd->btj", rays, outward)
    inside = np.where(rng.random(count) < 1 / 8, rng.uniform(0.5, 1, count), 1)
    number = np.ceil(inside * place[0].size).astype(int) - 1
    border = np.sort(place.reshape(count, -1))[np.arange(count), number]
    return np.asarray(place > border[:, None, None])


def _from_slow_camera(rng: np.random.Generator, clips: Clips) -> Clips:
    """Clips of which two in five have only every 2nd or 3rd frame; the rest is interpolated."""
    rays, confidence = clips.rays.copy(), clips.confidence.copy()
    count, frames = confidence.shape[:2]
    for step, share in ((2, 0.2), (3, 0.2)):
        slow = np.flatnonzero(rng.random(count) < share)
        phase = (frames - 1 - np.arange(frames)) % step / step
        later = np.minimum(np.arange(frames) + (phase * step).astype(int), frames - 1)
        earlier = np.maximum(later - step, 0)
        weight = phase[:, None, None].astype(np.float32)
        rays[slow] = rays[slow][:, later] * (1 - weight) + rays[slow][:, earlier] * weight
        confidence[slow] = np.minimum(confidence[slow][:, later], confidence[slow][:, earlier])
    return Clips(rays, confidence, clips.joints_m)


def _newly_seen(rng: np.random.Generator, clips: Clips) -> Clips:
    """Clips of which some begin late; copies of the first frame stand before it."""
    count, frames = clips.confidence.shape[:2]
    first = np.where(rng.random(count) < 0.15, rng.integers(0, frames, count), 0)
    index = np.maximum(np.arange(frames), first[:, None])
    rows = np.arange(count)[:, None]
    return Clips(clips.rays[rows, index], clips.confidence[rows, index], clips.joints_m)
