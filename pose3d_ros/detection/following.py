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

"""Embedded detectors: a finder looks for people in the whole picture now and then, a reader reads
the keypoints of each from a crop that follows them.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pose3d_ros import inference
from pose3d_ros.arrays import ImageBgr, Rows
from pose3d_ros.detection import regions
from pose3d_ros.detection.detector import Detector
from pose3d_ros.detection.movenet import multipose
from pose3d_ros.detection.movenet.multipose import Found
from pose3d_ros.model_store.store import locate
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import COCO17, Skeleton, convert
from pose3d_ros.stopwatch import Stopwatch

Array = npt.NDArray[Any]

FIRST_SIDE, SWEEP_SIDE = 640, 512
"""Long side of the finder's picture in pixels: of the first frame, and later. It finds people of
25 to 35 of these pixels.
"""
DELAY_S = 0.15
"""A search while people are followed takes this long: it runs beside the frames."""
IDLE_S = 0.1
"""Between two searches while nobody is there."""
SEARCH_LOST_S = 2.0
"""How long to look for somebody who was lost, most often behind somebody else."""
SAME_PERSON = 0.5
"""Two poses with this ``likeness`` are of one person."""
SAME_POINT = 0.05
SAME_SHARE = 0.4
"""Two poses are of one person when this share of their keypoints is within ``SAME_POINT`` of the
region's side.
"""


@dataclass(frozen=True)
class Reading:
    """A reader's answer about P crops.

    ``keypoints_px`` (P, J, 2); ``confidence`` (P, J); ``presence`` (P,) probability that the crop
    shows a person; ``sharpness`` (P,) how sharply the keypoints are seen, 0 to 1; ``next_regions``
    (P, 4), where to look in the next frame; ``root_relative_depth_px`` (P, J) and ``features`` as
    in ``People2D``, if the reader gives them.
    """

    keypoints_px: Array
    confidence: Array
    presence: Array
    sharpness: Array
    next_regions: Array
    root_relative_depth_px: Array | None = None
    features: tuple[Array, ...] = ()

    def __getitem__(self, rows: Array) -> Reading:
        """The crops chosen by indices or a mask."""
        depth = self.root_relative_depth_px
        return Reading(
            self.keypoints_px[rows],
            self.confidence[rows],
            self.presence[rows],
            self.sharpness[rows],
            self.next_regions[rows],
            None if depth is None else depth[rows],
            tuple(level[rows] for level in self.features),
        )


class Reader(Protocol):
    """Reads keypoints of people from crops."""

    skeleton: Skeleton
    """Joints that it reads."""
    maps: tuple[tuple[int | None, ...], ...]
    """Shapes (C, H, W) of the feature maps that it gives."""

    @property
    def engine_name(self) -> str:
        """Name of the engine that runs it now."""

    def regions_of(self, found: Found) -> Array:
        """Regions (P, 4) to read people in whom the finder found."""

    def __call__(self, image_bgr: Array, where: Array) -> Reading:
        """Keypoints in the regions ``where`` (P, 4), at least one, of an image (H, W, 3)."""

    def believed(self, reading: Reading, known: Array, vouched: Array) -> Array:
        """Crops (P,) that show a person, of whom some are ``known`` (P,) from the frame before,
        and some ``vouched`` (P,) for by the finder.
        """

    def close(self) -> None:
        """Free the engine."""


class Finder:
    """MultiPose, at once or beside the frames."""

    def __init__(self, settings: PipelineSettings) -> None:
        self._engine = inference.load(  # int8 is for readers
            locate(multipose.MODEL), settings.engine, settings.threads, max_people=1
        )
        self._thread = ThreadPoolExecutor(1, "finder")
        self._found: Future[Found] | None = None
        self._due_ns = 0

    def now(self, image_bgr: Array, side: int) -> Found:
        """People in the image."""
        self.drop()
        return multipose.find(self._engine, *multipose.letterbox(image_bgr, side))

    @property
    def busy(self) -> bool:
        """Whether a search runs beside the frames."""
        return self._found is not None

    def start(self, image_bgr: Array, side: int, stamp_ns: int) -> None:
        """Begin a search; what it finds is taken ``DELAY_S`` later, however fast the machine is,
        so that the same film gives the same people everywhere.
        """
        self._found = self._thread.submit(
            multipose.find, self._engine, *multipose.letterbox(image_bgr, side)
        )
        self._due_ns = stamp_ns + int(DELAY_S * 1e9)

    def due(self, stamp_ns: int) -> bool:
        """Whether what a search has found is to be taken now."""
        return self._found is not None and stamp_ns >= self._due_ns

    def take(self) -> Found:
        """People whom the search has found."""
        assert self._found is not None
        found, self._found = self._found.result(), None
        return found

    def drop(self) -> None:
        """Forget a search that runs."""
        if self._found is not None:
            self._found.result()
            self._found = None

    def close(self) -> None:
        """Free the engine."""
        self._thread.shutdown()
        self._engine.close()


@dataclass
class _Followed(Rows):
    """People who are followed: a ``key`` (P,) of each, the ``region`` (P, 4) to look for them in
    next, their COCO ``keypoints_px`` (P, 17, 2) with ``confidence`` (P, 17) of the last frame, and
    whether the finder has ``vouched`` (P,) for them.
    """

    key: Array
    region: Array
    keypoints_px: Array
    confidence: Array
    vouched: Array

    @classmethod
    def nobody(cls) -> _Followed:
        joints = len(COCO17)
        return cls(
            np.zeros(0, int),
            np.zeros((0, 4)),
            np.zeros((0, joints, 2)),
            np.zeros((0, joints)),
            np.zeros(0, bool),
        )


class FollowingDetector(Detector):
    """Finds people with MultiPose and reads each with a reader, from a crop that follows them.

    Nobody followed: the finder looks at once, ten times a second while nobody comes. Otherwise it
    looks every ``detect_interval_s``, and without a pause for ``SEARCH_LOST_S`` after somebody was
    lost, beside the frames: these do not wait for it.
    """

    def __init__(self, settings: PipelineSettings, reader: Reader) -> None:
        self.settings = settings
        self._reader = reader
        self._finder = Finder(settings)
        self.skeleton, self.maps = reader.skeleton, reader.maps
        self._keys = count()
        self.reset()

    @property
    def engine_name(self) -> str:
        """Name of the reader's engine, as it is now."""
        return self._reader.engine_name

    def reset(self) -> None:
        """Forget where people were."""
        self._finder.drop()
        self._followed = self._snapshot = _Followed.nobody()
        self._searched_ns: int | None = None
        self._lost_until_ns: int | None = None

    def close(self) -> None:
        """Free the engines."""
        self._finder.close()
        self._reader.close()

    def __call__(
        self, image_bgr: ImageBgr, stamp_ns: int, stopwatch: Stopwatch | None = None
    ) -> People2D:
        """People in the image (H, W, 3) uint8, at most ``max_people``, without ids."""
        stopwatch = stopwatch or Stopwatch()
        size = (image_bgr.shape[1], image_bgr.shape[0])
        searches = self._start(image_bgr, stamp_ns, stopwatch)
        before = len(self._followed)
        new = self._new_regions(self._search(image_bgr, stamp_ns, stopwatch))
        seen = self._read(image_bgr, new, stopwatch)
        if len(self._followed) < before:
            # Somebody may have moved far between two frames, or come from behind somebody else.
            self._lost_until_ns = stamp_ns + int(SEARCH_LOST_S * 1e9)
            if not self._finder.busy:
                self._snapshot = self._followed
                with stopwatch("detect"):
                    found = self._finder.now(image_bgr, SWEEP_SIDE)
                if len(new := self._new_regions(found)):
                    seen = self._read(image_bgr, new, stopwatch)
        if searches:
            self._snapshot = self._followed
        if seen is None:
            return People2D.empty(self.skeleton, stamp_ns, size)
        reading, where = seen
        return People2D(
            self.skeleton,
            reading.keypoints_px,
            reading.confidence,
            stamp_ns,
            size,
            features=reading.features,
            crop_from_image=regions.region_from_image(where) if reading.features else None,
            root_relative_depth_px=reading.root_relative_depth_px,
        )

    def _read(
        self, image_bgr: ImageBgr, new: Array, stopwatch: Stopwatch
    ) -> tuple[Reading, Array] | None:
        """Reading of those who are followed and of newcomers in the regions ``new`` (P, 4),
        and the regions that show a person each; these are followed from now on.
        """
        followed = self._followed
        where = np.concatenate([followed.region, new])[: self.settings.max_people]
        if not len(where):
            return None
        known = np.arange(len(where)) < len(followed)
        with stopwatch("pose"):
            if not known.all():  # the finder's regions are rough: the second look is the good one
                where[~known] = self._reader(image_bgr, where[~known]).next_regions
            reading = self._reader(image_bgr, where)
        vouched = np.append(followed.vouched, np.ones(len(new), bool))[: len(where)]
        keys = np.append(followed.key, [next(self._keys) for _ in new])[: len(where)].astype(int)
        believed = self._reader.believed(reading, known, vouched)
        kept = distinct_people(reading, where[:, 2], believed)
        if len(kept) < len(where):  # feature maps are not copied without need
            reading, where = reading[kept], where[kept]
        keypoints, confidence = convert(
            reading.keypoints_px, reading.confidence, self.skeleton, COCO17
        )
        self._followed = _Followed(
            keys[kept], reading.next_regions, keypoints, confidence, vouched[kept]
        )
        return (reading, where) if len(kept) else None

    def _since_s(self, stamp_ns: int) -> float:
        """Seconds since the last search."""
        return np.inf if self._searched_ns is None else (stamp_ns - self._searched_ns) * 1e-9

    def _misses_somebody(self, stamp_ns: int) -> bool:
        return self._lost_until_ns is not None and stamp_ns < self._lost_until_ns

    def _start(self, image_bgr: ImageBgr, stamp_ns: int, stopwatch: Stopwatch) -> bool:
        """Begin a search beside the frames if it is time for one."""
        if not len(self._followed) or self._finder.busy:
            return False
        due = self._since_s(stamp_ns) >= self.settings.detect_interval_s
        if not due and not self._misses_somebody(stamp_ns):
            return False
        with stopwatch("detect"):
            self._finder.start(image_bgr, SWEEP_SIDE, stamp_ns)
        self._searched_ns = stamp_ns
        return True

    def _search(self, image_bgr: ImageBgr, stamp_ns: int, stopwatch: Stopwatch) -> Found | None:
        """People whom the finder sees: now, if nobody is followed, or some frames ago."""
        if len(self._followed):
            if not self._finder.due(stamp_ns):
                return None
            with stopwatch("detect"):
                return self._finder.take()
        first = self._searched_ns is None
        idle = self._since_s(stamp_ns) < IDLE_S and not self._misses_somebody(stamp_ns)
        if idle and not first:
            return None
        self._searched_ns, self._snapshot = stamp_ns, _Followed.nobody()
        with stopwatch("detect"):
            return self._finder.now(image_bgr, FIRST_SIDE if first else SWEEP_SIDE)

    def _new_regions(self, found: Found | None) -> Array:
        """Regions (P, 4) of people who are found and not followed; whom of the others the finder
        has seen in the picture that it looked at is vouched for.
        """
        if found is None:
            return np.zeros((0, 4))
        then, followed = self._snapshot, self._followed
        alike: Array = likeness(found, then.keypoints_px, then.confidence) > SAME_PERSON
        looked_for = np.isin(followed.key, then.key)
        seen = np.isin(followed.key, then.key[alike.any(0)])
        followed.vouched = np.where(looked_for, seen, followed.vouched)
        now: Array = likeness(found, followed.keypoints_px, followed.confidence) > SAME_PERSON
        new = np.asarray(~alike.any(1) & ~now.any(1))
        return self._reader.regions_of(found.rows(new))


def likeness(found: Found, keypoints_px: Array, confidence: Array) -> Array:
    """Likeness of poses (F,) of the finder and others (P, 17, 2), (P, 17): (F, P) in 0 to 1,
    COCO's object keypoint similarity with one constant for all joints, weighted by both scores.
    """
    side = np.sqrt(np.maximum(np.prod(found.box_px[:, 2:] - found.box_px[:, :2], axis=-1), 1))
    apart = np.linalg.norm(found.keypoints_px[:, None] - keypoints_px, axis=-1)
    similar = np.exp(-np.square(apart / (0.2 * side[:, None, None])) / 2)
    weight = np.where(np.isfinite(apart), found.scores[:, None] * confidence, 0)
    total = (np.where(np.isfinite(apart), similar, 0) * weight).sum(-1)
    return np.asarray(total / np.maximum(weight.sum(-1), 1e-9))


def distinct_people(reading: Reading, sides_px: Array, believed: Array) -> Array:
    """Indices of the crops that are ``believed`` (P,) to show a person, each a different one. Of
    two crops with the same pose the one seen more sharply stays. ``sides_px`` (P,) of the crops.
    """
    kept: list[int] = []
    for row in np.argsort(-reading.sharpness, kind="stable").tolist():
        if not believed[row]:
            continue
        apart = np.linalg.norm(reading.keypoints_px[kept] - reading.keypoints_px[row], axis=-1)
        apart /= np.minimum(sides_px[kept], sides_px[row])[:, None]
        weight = reading.confidence[kept] * reading.confidence[row]
        weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
        if not ((weight * (apart < SAME_POINT)).sum(1) > SAME_SHARE).any():
            kept.append(row)
    return np.sort(np.array(kept, int))
