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

import os
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, cycle
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from pose3d_ros import inference
from pose3d_ros.detection.movenet import multipose
from pose3d_ros.detection.movenet.decoding import STRIDE
from pose3d_ros.detection.poses import Poses
from pose3d_ros.model_store.store import locate
from pose3d_ros.settings import PipelineSettings

Array = npt.NDArray[Any]

NEAR, FAR, SWEEP = 384, 640, 1280
"""Long side of the finder's picture in pixels, when it looks at a whole image; and of that image
when it looks at a part. It sees people best who are 90 to 300 of these pixels high, and finds them
down to 30.
"""
LEAST = 60
"""Height in its picture of people whose keypoints it tells."""
OVERLAP = 160
"""Pixels of its picture that two parts share: whoever is not higher is seen whole."""
DELAY_S, LARGE_DELAY_S = 0.15, 0.2
"""Looks beside the frames take this long: near ones, and those at larger pictures."""
NICENESS = 10
"""Looks beside the frames give way to these."""
FLOW_SIDE = 320


class Look(NamedTuple):
    """A look at a ``part`` x0 y0 x1 y1 of an image of ``size`` (width, height), shrunk to ``side``
    pixels.
    """

    size: tuple[int, int]
    part: tuple[int, int, int, int]
    side: int

    @property
    def scale(self) -> float:
        """Pixels of the finder's picture per pixel of the image."""
        x0, y0, x1, y1 = self.part
        return self.side / max(x1 - x0, y1 - y0)

    @property
    def delay_s(self) -> float:
        """Time that it takes beside the frames."""
        return DELAY_S if self.side <= NEAR else LARGE_DELAY_S

    def whole(self, poses: Poses) -> Array:
        """Whom (P,) no border of the part cuts, the image's own borders aside."""
        part = np.array(self.part, float)
        low = np.where(part[:2] == 0, -np.inf, part[:2] + STRIDE / self.scale)
        high = np.where(part[2:] == self.size, np.inf, part[2:] - STRIDE / self.scale)
        inside = (poses.box_px[:, :2] > low) & (poses.box_px[:, 2:] < high)
        return np.asarray(inside.all(1))

    def sees(self, poses: Poses) -> Array:
        """Whom (P,) it shows whole, and large enough for the finder to tell their keypoints."""
        height = poses.box_px[:, 3] - poses.box_px[:, 1]
        return np.asarray((height * self.scale >= LEAST) & self.whole(poses))


def looks(size: tuple[int, int]) -> list[Look]:
    """Looks at an image of ``size`` (width, height): a near and a far one at the whole, and one at
    each of four parts of an image with more pixels than a far look shows.
    """
    longest = max(size)
    whole = (0, 0, *size)
    near_and_far = [Look(size, whole, NEAR), Look(size, whole, FAR)]
    if longest <= FAR:
        return near_and_far
    scale = min(SWEEP / longest, 1.0)
    shared = OVERLAP / scale
    width, height = (min(round((length + shared) / 2), length) for length in size)
    side = round(max(width, height) * scale)
    corners = [(x, y) for y in (0, size[1] - height) for x in (0, size[0] - width)]
    parts = [Look(size, (x, y, x + width, y + height), side) for x, y in corners]
    return near_and_far + parts


class Finder:
    """Looks for people, at once or beside the frames: near, far, and at one part of a large image
    after the other.
    """

    def __init__(self, settings: PipelineSettings) -> None:
        self._engine = inference.load(  # int8 is for readers
            locate(multipose.MODEL), settings.engine, threads=1, max_people=1
        )
        self._thread = ThreadPoolExecutor(1, "finder", _give_way)
        self._found: Future[Poses] | None = None
        self._due_ns = 0
        self._size = (0, 0)
        self.look = Look((0, 0), (0, 0, 0, 0), NEAR)
        """The last one."""
        self.reset()

    def next_look(self, size: tuple[int, int], everywhere: bool = True) -> Look:
        """The next look at images of ``size`` (width, height): at the whole, or ``everywhere``."""
        if size != self._size:
            self._size = size
            near, far, *parts = looks(size)
            first = [near, far, *(look for part in parts for look in (part, near))]
            self._first_round = len(first)
            self._whole = cycle((near, near, far))
            self._everywhere = chain(
                first,
                cycle([look for part in parts or (near,) for look in (far, near, part, near)]),
            )
        if not everywhere:
            return next(self._whole)
        self._first_round -= 1
        return next(self._everywhere)

    @property
    def in_first_round(self) -> bool:
        """Whether there are parts of the image that no look has been at."""
        return self._first_round > 0

    @property
    def busy(self) -> bool:
        """Whether a look runs beside the frames."""
        return self._found is not None

    def now(self, image_bgr: Array, look: Look) -> Poses:
        """People in the image."""
        self.drop()
        self.look = look
        return self._find(*_picture(image_bgr, look), look)

    def start(self, image_bgr: Array, look: Look, stamp_ns: int) -> None:
        """Begin a look; what it finds is taken when its time is up, however fast the machine is,
        so that the same film gives the same people everywhere.
        """
        self.look = look
        self._found = self._thread.submit(self._find, *_picture(image_bgr, look), look)
        self._due_ns = stamp_ns + int(look.delay_s * 1e9)

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
        self._size = (0, 0)
        self._first_round = 0

    def close(self) -> None:
        """Free the engine."""
        self._thread.shutdown()
        self._engine.close()

    def _find(self, picture: Array, scale: Array, look: Look) -> Poses:
        """People in the picture of a look, in pixels of the image, without those whom it cuts."""
        found = multipose.find(self._engine, picture, scale)
        found = found.moved(np.tile(look.part[:2], (len(found), 1)))
        return found[look.whole(found)]


def _picture(image_bgr: Array, look: Look) -> tuple[Array, Array]:
    """The finder's picture of a look, and its scale (2,)."""
    x0, y0, x1, y1 = look.part
    return multipose.letterbox(image_bgr[y0:y1, x0:x1], look.side)


def _give_way() -> None:
    """Let others go before this thread, where threads have a priority of their own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


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
