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

Both see the same people, which tells when the reader has slid to a neighbour: where it reads
somebody in company otherwise than the finder, in the same picture, or one person twice, it reads
them apart: with all hidden from it but the box in which the finder sees them. If it then reads
what the finder saw, this is given; else the finder's keypoints are, moved with the picture. Until
the finder has looked again, a difference only makes it look at once: limbs move on. A person of
whom the finder is not sure is believed when the reader reads the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pose3d_ros.arrays import ImageBgr, Rows
from pose3d_ros.detection import regions
from pose3d_ros.detection.detector import Detector
from pose3d_ros.detection.finder import SWEEP, Finder, SmallPicture, looks
from pose3d_ros.detection.movenet.decoding import MIN_KEYPOINT
from pose3d_ros.detection.poses import Poses, likeness, mirrored_likeness, sideless_likeness
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import COCO17, Skeleton, convert
from pose3d_ros.stopwatch import Stopwatch

Array = npt.NDArray[Any]

IDLE_S = 0.1
"""Between two looks while nobody is there."""
SEARCH_LOST_S = 2.0
"""How long to look for somebody who was lost, most often behind somebody else."""
SAME_PERSON = 0.5
"""Two poses with this ``likeness`` are of one person."""
SAME_POSE = 0.7
"""The reader reads the person whom the finder sees when both poses have this ``likeness``."""
SIDES = 0.15
"""A body is mirrored that is so much more like the finder's with left and right exchanged."""
LIKELY, SURE = 0.2, 0.3
"""Score of a person for whom the finder vouches, and of one whom it sees without a word from the
reader. Of weaker newcomers the reader must read what the finder sees.
"""
MARGIN = 0.05
"""Somebody who is read apart is seen so much wider than their box, in parts of its height."""
FADE = 0.8
"""Each look at a person says so much less than a later one: of a near and a far look, and of one
while they were hidden, the better one counts.
"""
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

    def with_sides_exchanged(self, rows: Array, skeleton: Skeleton) -> Reading:
        """The same crops, with left and right of the ``skeleton`` exchanged in some (P,)."""
        order = np.where(rows[:, None], skeleton.flip, np.arange(len(skeleton)))
        people, depth = np.arange(len(order))[:, None], self.root_relative_depth_px
        return replace(
            self,
            keypoints_px=self.keypoints_px[people, order],
            confidence=self.confidence[people, order],
            root_relative_depth_px=None if depth is None else depth[people, order],
        )

    def with_rows(self, rows: Array, others: Reading) -> Reading:
        """The same crops, those of a mask (P,) replaced by the ``others``."""

        def put(values: Array, new: Array) -> Array:
            values = values.copy()
            values[rows] = new
            return values

        depth, other = self.root_relative_depth_px, others.root_relative_depth_px
        return Reading(
            put(self.keypoints_px, others.keypoints_px),
            put(self.confidence, others.confidence),
            put(self.presence, others.presence),
            put(self.sharpness, others.sharpness),
            put(self.next_regions, others.next_regions),
            None if depth is None or other is None else put(depth, other),
            tuple(map(put, self.features, others.features)),
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

    def regions_of(self, found: Poses) -> Array:
        """Regions (P, 4) to read people in whom the finder found."""

    def __call__(self, image_bgr: Array, where: Array, within: Array | None = None) -> Reading:
        """Keypoints in the regions ``where`` (P, 4), at least one, of an image (H, W, 3), of which
        each crop shows what is ``within`` its box (P, 4) x0 y0 x1 y1, if given.
        """

    def believed(self, reading: Reading, known: Array, vouched: Array) -> Array:
        """Crops (P,) that show a person, of whom some are ``known`` (P,) from the frame before,
        and some ``vouched`` (P,) for by the finder, which is sure or sees others there.
        """

    def close(self) -> None:
        """Free the engine."""


@dataclass
class _Followed(Rows):
    """People who are followed: a ``key`` (P,) of each and the ``region`` (P, 4) to look for them
    in next; the reader's COCO ``keypoints_px`` (P, 17, 2) with ``confidence`` (P, 17) of the last
    frame; how the finder has ``seen`` (P,) them best of late, moved with the picture, and ``side``
    (P,) of the smallest look that has seen them clearly. ``vouched`` (P,): the last look of that
    side that could see them did, or another one since. ``doubtful`` (P,): the reader's keypoints
    were not those of the finder, since it last saw them clearly, or there are none yet. ``apart``
    (P,): they are read with everybody else hidden, because in company the reader read another.
    """

    key: Array
    region: Array
    keypoints_px: Array
    confidence: Array
    seen: Poses
    side: Array
    vouched: Array
    doubtful: Array
    apart: Array

    @classmethod
    def newcomers(
        cls, key: Array, region: Array, seen: Poses, side: int, clear: Array
    ) -> _Followed:
        """People whom the finder sees, ``clear`` (P,) ones large enough that it can tell their
        keypoints, and the reader has not read.
        """
        none = np.zeros(seen.scores.shape)
        sides, vouched = np.where(clear, side, SWEEP), seen.person > LIKELY
        points, apart = np.zeros((*none.shape, 2)), np.zeros(len(none), bool)
        return cls(key, region, points, none, seen, sides, vouched, clear, apart)

    @classmethod
    def nobody(cls) -> _Followed:
        nobody = Poses.nobody()
        return cls.newcomers(np.zeros(0, int), nobody.box_px, nobody, 0, np.zeros(0, bool))

    def told(self) -> tuple[Array, Array]:
        """The keypoints (P, 17, 2) and confidence (P, 17) to believe: the finder's of doubtful
        people.
        """
        rows = self.doubtful[:, None]
        return (
            np.where(rows[..., None], self.seen.keypoints_px, self.keypoints_px),
            np.where(rows, self.seen.scores, self.confidence),
        )

    @property
    def unread(self) -> Array:
        """Who (P,) was not read in the last frame."""
        unread: Array = np.asarray(~self.confidence.any(1))
        return unread


class FollowingDetector(Detector):
    """Finds people with MultiPose and reads each with a reader, from a crop that follows them.

    Nobody followed: the finder looks at once, ten times a second while nobody comes. Otherwise it
    looks every ``detect_interval_s``, and without a pause while the reader's word is doubtful for
    somebody and for ``SEARCH_LOST_S`` after somebody was lost, beside the frames: these do not
    wait for it.
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
        self._finder.reset()
        self._followed = self._then = _Followed.nobody()
        self._picture: SmallPicture | None = None
        self._since: list[SmallPicture] = []
        self._suspects = False
        self._looked_ns: int | None = None
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
        picture = SmallPicture(image_bgr)
        if self._picture is not None:
            followed = self._followed
            followed.seen = picture.moved(followed.seen, self._picture)
        self._picture = picture
        if self._finder.busy:
            self._since.append(picture)
        before = self._followed.key
        self._look(image_bgr, stamp_ns, stopwatch)
        people = self._read(image_bgr, stamp_ns, stopwatch)
        if not np.isin(before, self._followed.key).all():
            # Somebody may have moved far between two frames, or come from behind somebody else.
            self._lost_until_ns = stamp_ns + int(SEARCH_LOST_S * 1e9)
            if not self._finder.busy:
                with stopwatch("detect"):
                    near, *_ = looks(size_of(image_bgr))
                    found = self._finder.now(image_bgr, near)
                if self._meet(found, self._followed):
                    people = self._read(image_bgr, stamp_ns, stopwatch)
        if len(before) and self._begin_look(image_bgr, stamp_ns, stopwatch):
            self._then, self._since = deepcopy(self._followed), [picture]
        return people

    def _since_s(self, stamp_ns: int) -> float:
        """Seconds since the last look."""
        return np.inf if self._looked_ns is None else (stamp_ns - self._looked_ns) * 1e-9

    def _misses_somebody(self, stamp_ns: int) -> bool:
        return self._lost_until_ns is not None and stamp_ns < self._lost_until_ns

    def _begin_look(self, image_bgr: ImageBgr, stamp_ns: int, stopwatch: Stopwatch) -> bool:
        """Begin a look beside the frames if it is time for one."""
        if not len(self._followed) or self._finder.busy:
            return False
        regular = self._since_s(stamp_ns) >= self.settings.detect_interval_s
        size = size_of(image_bgr)
        doubtful = self._followed.doubtful | self._followed.apart
        if not regular and self._misses_somebody(stamp_ns):
            look = self._finder.next_look(size, everywhere=False)
        elif regular or self._finder.in_first_round:
            look = self._finder.next_look(size)
            self._looked_ns = stamp_ns
        elif self._suspects or doubtful.any():
            near, far, *_ = looks(size)
            look = far if (self._followed.side[doubtful] > near.side).any() else near
        else:
            return False
        with stopwatch("detect"):
            self._finder.start(image_bgr, look, stamp_ns)
        return True

    def _look(self, image_bgr: ImageBgr, stamp_ns: int, stopwatch: Stopwatch) -> None:
        """Meet whom the finder sees: now, if nobody is followed, or saw some frames ago."""
        if len(self._followed):
            if self._finder.due(stamp_ns):
                with stopwatch("detect"):
                    found = self._finder.take()
                self._meet(found, self._then, self._since)
            return
        first, misses = self._looked_ns is None, self._misses_somebody(stamp_ns)
        if not first and self._since_s(stamp_ns) < IDLE_S and not misses:
            return
        self._looked_ns = stamp_ns
        for _ in range(2 if first else 1):  # near and far
            with stopwatch("detect"):
                look = self._finder.next_look(size_of(image_bgr), everywhere=not misses)
                found = self._finder.now(image_bgr, look)
            self._meet(found, self._followed)

    def _meet(self, found: Poses, then: _Followed, since: Sequence[SmallPicture] = ()) -> bool:
        """Compare people who are ``found`` with those who were followed ``then``, in the same
        picture, and follow newcomers; whether there are any. ``since``: the pictures from that
        one on, if the look was beside the frames.
        """
        followed = self._followed
        read: Array = sideless_likeness(found, then.keypoints_px, then.confidence)
        seen: Array = sideless_likeness(found, then.seen.keypoints_px, then.seen.scores)
        same = np.maximum(np.where(then.doubtful, 0, read), seen)  # the reader may be elsewhere
        who, whom = linear_sum_assignment(same, maximize=True)
        met = same[who, whom] > SAME_PERSON
        who, whom = who[met], whom[met]
        row = {key: i for i, key in enumerate(followed.key.tolist())}
        look = self._finder.look
        clear = look.sees(found)
        if since:  # otherwise another look has seen those whom this one misses
            missed = look.sees(then.seen) & (then.side == look.side)
            missed[whom] = False
            gone = np.isin(followed.key, then.key[missed])
            followed.apart &= ~(gone & followed.vouched)  # the reader may read them apart again
            followed.vouched &= ~gone
        for i, j in zip(who.tolist(), whom.tolist(), strict=True):
            if (at := row.get(int(then.key[j]))) is not None:
                followed.vouched[at] |= found.person[i] > LIKELY
                if not clear[i]:  # too small to tell more
                    continue
                followed.side[at] = min(followed.side[at], look.side)
                followed.seen.person[at] *= FADE
                better = bool(found.person[i] > followed.seen.person[at])
                # a look that sees less than one before casts no doubt upon the reader
                followed.doubtful[at] = read[i, j] <= SAME_POSE and (
                    better or followed.doubtful[at]
                )
                if better:
                    moved = followed.seen.keypoints_px[[at]] - then.seen.keypoints_px[[j]]
                    followed.seen[np.array([at])] = found[np.array([i])].moved(moved.mean(1))
        new = ~np.isin(np.arange(len(found)), who)
        new &= ~(sideless_likeness(found, *then.told()) > SAME_POSE).any(1)
        new &= ~middle_within(found.box_px, then.seen.box_px[~look.whole(then.seen)])  # pieces
        newcomers, clear = found[new], clear[new]
        for before, after in pairwise(since):
            newcomers = after.moved(newcomers, before)
        known: Array = np.asarray(
            (sideless_likeness(newcomers, *followed.told()) > SAME_POSE).any(1)
        )
        newcomers, clear = newcomers[~known], clear[~known]
        keys = np.array([next(self._keys) for _ in range(len(newcomers))], int)
        regions_ = self._reader.regions_of(newcomers)
        self._followed = followed.joined(
            _Followed.newcomers(keys, regions_, newcomers, look.side, clear)
        )
        return len(newcomers) > 0

    def _read(self, image_bgr: ImageBgr, stamp_ns: int, stopwatch: Stopwatch) -> People2D:
        """Read those who are followed; who is nobody, or somebody else, is not any more."""
        rows = np.arange(min(len(self._followed), self.settings.max_people))
        followed = self._followed[rows]
        size = size_of(image_bgr)
        if not len(followed):
            self._followed = followed
            return People2D.empty(self.skeleton, stamp_ns, size)
        seen, doubtful, vouched = followed.seen, followed.doubtful, followed.vouched
        of_seen = self._reader.regions_of(seen)
        where = np.where((doubtful | followed.apart)[:, None], of_seen, followed.region)
        company = in_company(where, seen.box_px)
        apart = followed.apart & company
        alone_px = with_margin(seen)
        shown_px = np.where(apart[:, None], alone_px, [0, 0, *size])
        with stopwatch("pose"):
            reading = self._reader(image_bgr, where, shown_px)
        reading, alike = self._compared(reading, seen, vouched)
        crowded, sure = vouched & company, vouched & (seen.person > SURE)
        believed = self._reader.believed(reading, ~followed.unread, crowded | sure)
        believed &= vouched | ~followed.unread | (alike > SAME_POSE)
        quality = np.where(vouched, alike, reading.sharpness - 1)
        quality[apart] = np.minimum(alike, SAME_POSE)[apart]  # hidden, they drift onto others
        slid = ~np.isin(rows, distinct_people(reading, where[:, 2], quality, believed))
        other = vouched & (alike <= np.where(doubtful, SAME_POSE, SAME_PERSON))
        again = company & ~apart & (vouched | followed.unread) & (slid | other)
        if again.any():
            with stopwatch("pose"):
                second = self._reader(image_bgr, of_seen[again], alone_px[again])
            second, same = self._compared(second, seen[again], vouched[again])
            new = np.zeros(len(same), bool)
            agreed = self._reader.believed(second, new, new) & (same > SAME_POSE)
            again[again] = agreed
            reading = reading.with_rows(again, second[agreed])
            where[again], alike[again], quality[again] = of_seen[again], same[agreed], SAME_POSE
            apart, believed = apart | again, believed | again
            slid = ~np.isin(rows, distinct_people(reading, where[:, 2], quality, believed))
        differs = crowded & (alike <= SAME_POSE)
        self._suspects = bool((differs & ~doubtful).any())
        misread = vouched & slid | doubtful & differs
        believed |= misread & doubtful & sure
        told = self._as_seen(reading, seen, misread) if misread.any() else reading
        kept = distinct_people(told, where[:, 2], quality, believed)
        keypoints, confidence = convert(
            reading.keypoints_px, reading.confidence, self.skeleton, COCO17
        )
        self._followed = replace(
            followed,
            region=reading.next_regions,
            keypoints_px=keypoints,
            confidence=confidence,
            doubtful=misread | (doubtful & crowded & ~followed.unread),
            apart=apart & (alike > SAME_PERSON),
        )[kept]
        if len(kept) < len(where):  # feature maps are not copied without need
            told, where = told[kept], where[kept]
        return People2D(
            self.skeleton,
            told.keypoints_px,
            told.confidence,
            stamp_ns,
            size,
            features=told.features,
            crop_from_image=regions.region_from_image(where) if told.features else None,
            root_relative_depth_px=told.root_relative_depth_px,
        )

    def _compared(self, reading: Reading, seen: Poses, vouched: Array) -> tuple[Reading, Array]:
        """The reading with the sides that the finder has ``seen``, where it is ``vouched`` (P,),
        and its likeness (P,) to that, whichever side is which.
        """
        read = convert(reading.keypoints_px, reading.confidence, self.skeleton, COCO17)
        straight, mirrored = (
            np.diag(compare(seen, *read)) for compare in (likeness, mirrored_likeness)
        )
        exchanged = vouched & (mirrored > SAME_POSE) & (mirrored - straight > SIDES)
        if exchanged.any():  # readers mirror whole bodies more often than the finder does
            reading = reading.with_sides_exchanged(exchanged, self.skeleton)
        return reading, np.maximum(straight, mirrored)

    def _as_seen(self, reading: Reading, seen: Poses, rows: Array) -> Reading:
        """The reading with the finder's keypoints, which have no depth, for some people (P,)."""
        keypoints, confidence = convert(seen.keypoints_px, seen.scores, COCO17, self.skeleton)
        depth = reading.root_relative_depth_px
        return replace(
            reading,
            keypoints_px=np.where(rows[:, None, None], keypoints, reading.keypoints_px),
            confidence=np.where(rows[:, None], confidence, reading.confidence),
            root_relative_depth_px=None if depth is None else np.where(rows[:, None], 0, depth),
        )


def size_of(image_bgr: ImageBgr) -> tuple[int, int]:
    """Width and height of an image in pixels."""
    return image_bgr.shape[1], image_bgr.shape[0]


def with_margin(poses: Poses) -> Array:
    """Boxes (P, 4) x0 y0 x1 y1 around people and all their keypoints that are seen at all."""
    weak = (poses.scores < MIN_KEYPOINT)[..., None]
    low = np.where(weak, np.inf, poses.keypoints_px).min(1)
    high = np.where(weak, -np.inf, poses.keypoints_px).max(1)
    low, high = np.minimum(low, poses.box_px[:, :2]), np.maximum(high, poses.box_px[:, 2:])
    margin = MARGIN * (high - low)[:, 1:]
    return np.concatenate([low - margin, high + margin], 1)


def in_company(where: Array, box_px: Array) -> Array:
    """Whether somebody else's middle is in the region (P, 4) of each person with ``box_px``
    (P, 4): the reader might read them instead.
    """
    middle = (box_px[:, :2] + box_px[:, 2:]) / 2
    apart = np.linalg.norm(where[:, None, :2] - middle, axis=-1)
    np.fill_diagonal(apart, np.inf)
    near: Array = np.asarray((apart < where[:, 2:3] / 2).any(1))
    return near


def middle_within(box_px: Array, others_px: Array) -> Array:
    """Whether the middle of each box (P, 4) is in any of the others (Q, 4)."""
    middle = ((box_px[:, :2] + box_px[:, 2:]) / 2)[:, None]
    inside = (middle > others_px[:, :2]) & (middle < others_px[:, 2:])
    return np.asarray(np.any(np.all(inside, axis=-1), axis=1))


def distinct_people(reading: Reading, sides_px: Array, quality: Array, believed: Array) -> Array:
    """Indices of the crops that are ``believed`` (P,) to show a person, each a different one. Of
    two crops with the same pose the one of higher ``quality`` (P,) stays. ``sides_px`` (P,) of the
    crops.
    """
    kept: list[int] = []
    for row in np.argsort(-quality, kind="stable").tolist():
        if not believed[row]:
            continue
        apart = np.linalg.norm(reading.keypoints_px[kept] - reading.keypoints_px[row], axis=-1)
        apart /= np.minimum(sides_px[kept], sides_px[row])[:, None]
        weight = reading.confidence[kept] * reading.confidence[row]
        weight = weight / np.maximum(weight.sum(1, keepdims=True), 1e-9)
        if not ((weight * (apart < SAME_POINT)).sum(1) > SAME_SHARE).any():
            kept.append(row)
    return np.sort(np.array(kept, int))
