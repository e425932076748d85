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

"""The finder of the embedded detectors: MultiPose on whole pictures, near and far, at once or
beside the frames; and the movement of what it found until it looks again.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pose3d_ros import inference
from pose3d_ros.detection.movenet import multipose
from pose3d_ros.detection.poses import Poses
from pose3d_ros.model_store.store import locate
from pose3d_ros.settings import PipelineSettings

Array = npt.NDArray[Any]

NEAR, FAR = 384, 640
"""Long side of the finder's picture in pixels. It sees people best who are 90 to 300 of these
pixels high, and finds them down to 30.
"""
LEAST = 60
"""Height in its picture of people whom it surely sees, if they are there."""
ROUND = (NEAR, NEAR, FAR)
"""Sizes of one look after the other."""
DELAY_S = 0.15
"""A look beside the frames takes this long."""
FLOW_SIDE = 320


class Finder:
    """Looks for people, at once or beside the frames."""

    def __init__(self, settings: PipelineSettings) -> None:
        self._engine = inference.load(  # int8 is for readers
            locate(multipose.MODEL), settings.engine, settings.threads, max_people=1
        )
        self._thread = ThreadPoolExecutor(1, "finder")
        self._found: Future[Poses] | None = None
        self._due_ns = 0
        self._looks = 0
        self._side, self._scale = NEAR, 1.0

    def now(self, image_bgr: Array, side: int) -> Poses:
        """People in the image."""
        self.drop()
        picture, scale = multipose.letterbox(image_bgr, side)
        self._side, self._scale = side, scale[1]
        return multipose.find(self._engine, picture, scale)

    def sees(self, poses: Poses) -> Array:
        """Whom (P,) the last look would have seen: people high enough, and in a far look only
        those who are too small for a near one.
        """
        height = (poses.box_px[:, 3] - poses.box_px[:, 1]) * self._scale
        most = LEAST * FAR / NEAR if self._side == FAR else np.inf
        seen: Array = np.asarray((height >= LEAST) & (height <= most))
        return seen

    def next_side(self) -> int:
        """Size of the next look."""
        self._looks += 1
        return ROUND[(self._looks - 1) % len(ROUND)]

    @property
    def busy(self) -> bool:
        """Whether a look runs beside the frames."""
        return self._found is not None

    def start(self, image_bgr: Array, side: int, stamp_ns: int) -> None:
        """Begin a look; what it finds is taken ``DELAY_S`` later, however fast the machine is, so
        that the same film gives the same people everywhere.
        """
        picture, scale = multipose.letterbox(image_bgr, side)
        self._side, self._scale = side, scale[1]
        self._found = self._thread.submit(multipose.find, self._engine, picture, scale)
        self._due_ns = stamp_ns + int(DELAY_S * 1e9)

    def due(self, stamp_ns: int) -> bool:
        """Whether what a look has found is to be taken now."""
        return self._found is not None and stamp_ns >= self._due_ns

    def take(self) -> Poses:
        """People whom the look has found."""
        assert self._found is not None
        found, self._found = self._found.result(), None
        return found

    def drop(self) -> None:
        """Forget a look that runs."""
        if self._found is not None:
            self._found.result()
            self._found = None

    def reset(self) -> None:
        """Begin anew: the next look is the first."""
        self.drop()
        self._looks = 0

    def close(self) -> None:
        """Free the engine."""
        self._thread.shutdown()
        self._engine.close()


class SmallPicture:
    """A picture of an image (H, W, 3) that tells where people of an earlier one are now."""

    def __init__(self, image_bgr: Array) -> None:
        height, width = image_bgr.shape[:2]
        scale = min(FLOW_SIDE / max(height, width), 1.0)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        small = cv2.resize(image_bgr, size, interpolation=cv2.INTER_AREA)
        self._picture = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        self._scale = np.array(size) / (width, height)

    def moved(self, poses: Poses, before: SmallPicture) -> Poses:
        """Poses of the image ``before``, each moved as most of its keypoints have: pyramidal
        Lucas-Kanade (Bouguet 2001). Where nothing can be followed they stay.
        """
        if not len(poses.person) or self._picture.shape != before._picture.shape:
            return poses
        points = ((poses.keypoints_px + 0.5) * self._scale - 0.5).astype(np.float32)
        ends, followed, _ = cv2.calcOpticalFlowPyrLK(
            before._picture, self._picture, points.reshape(-1, 1, 2), np.empty(0, np.float32)
        )
        known = followed.reshape(points.shape[:2]) > 0
        moves = (ends.reshape(points.shape) - points) / self._scale
        return poses.moved(
            np.array(
                [
                    np.median(move[sure], axis=0) if sure.any() else np.zeros(2)
                    for move, sure in zip(moves, known, strict=True)
                ]
            )
        )
