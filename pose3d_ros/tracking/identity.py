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

"""Identities from image to image: 2D poses matched by motion, pose, size and colours."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.arrays import ImageBgr, Rows, median
from pose3d_ros.people import People2D, TrackState
from pose3d_ros.skeleton import H36M17
from pose3d_ros.tracking.appearance import LEARN_S, Appearance
from pose3d_ros.tracking.left_right import SwapState, correct_swaps

MEMORY_S = 2.0  # an id is kept this long for somebody who may come back where they were
RETURN_S = 10.0  # and this long for somebody whom colours tell, wherever they come back
CONFIRM_FRAMES = 3  # frames in which a newcomer is seen before being believed,
CONFIRM_S = 0.2  # or two so far apart: a ghost is seen once
DECIDE_FRAMES = 6  # and at most, while those who may come back are remembered
GATE_SIZES = 1.0  # a match lies within this many body sizes of the prediction ...
GATE_GROWTH = 1.5  # ... and as many more for each second unseen
VELOCITY_MEMORY_S = 0.15
FADING_S = 0.5  # of the velocity of somebody who is not seen
# Differences of colours, in units of CIE L, a and b:
COLOUR_UNIT = 10.0  # counts as much as a motion by one body size
MOST_COLOUR = 3.0  # and more than three of them no more
SAME_COLOUR = 7.0  # somebody comes back
OTHER_COLOUR = 25.0  # it is somebody else who appears in the place of one who is hidden
RECOGNISE_PARTS = 3  # by the colours of so many parts
HIDDEN_S = 0.3  # somebody who is not seen for longer may come back
NEWCOMER = 2.0  # cost of a tentative track: who is remembered goes before
NOBODY = 1e3  # cost of who is not the same
_IDS = count()


@dataclass
class _Tracks(Rows):
    """A row for each person. ``keypoints_px`` (P, J, 2): last known place of each, as the camera
    sees it that has turned by ``turn`` (P, 3, 3) since the person was seen at ``seen_px``.
    """

    ids: np.ndarray
    keypoints_px: np.ndarray
    seen_px: np.ndarray
    turn: np.ndarray
    size_px: np.ndarray
    velocity_px_s: np.ndarray  # (P, 2)
    seen_ns: np.ndarray
    met_ns: np.ndarray
    frames: np.ndarray
    confirmed: np.ndarray
    appearance: Appearance
    swaps: SwapState

    @classmethod
    def initial(
        cls, keypoints_px: np.ndarray, confidence: np.ndarray, size_px: np.ndarray, stamp_ns: int
    ) -> _Tracks:
        """Of newcomers, who get ids."""
        people = len(keypoints_px)
        return cls(
            np.array([next(_IDS) for _ in range(people)], np.int32),
            keypoints_px,
            keypoints_px,
            np.tile(np.eye(3), (people, 1, 1)),
            size_px,
            np.zeros((people, 2)),
            np.full(people, stamp_ns),
            np.full(people, stamp_ns),
            np.zeros(people, int),
            np.zeros(people, bool),
            Appearance.unknown(people),
            SwapState.initial(keypoints_px, confidence, stamp_ns),
        )

    def moved_px(self, stamp_ns: int) -> np.ndarray:
        """How far (P, 1, 2) people went by themselves since they were seen, with a velocity that
        fades.
        """
        elapsed = (stamp_ns - self.seen_ns) * 1e-9
        moved = self.velocity_px_s * (FADING_S * (1 - np.exp(-elapsed / FADING_S)))[:, None]
        return np.asarray(moved[:, None])


def _body_sizes(keypoints_px: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Root mean square distance (P,) in pixels of the known keypoints from their mean; at least
    one pixel.
    """
    number = known.sum(1)
    points = np.where(known[..., None], keypoints_px, 0).astype(float)
    middle = points.sum(1) / np.maximum(number, 1)[:, None]
    square = (((points - middle[:, None]) ** 2).sum(-1) * known).sum(1) / np.maximum(number, 1)
    return np.where(number < 2, 1.0, np.maximum(np.sqrt(square), 1.0))


class IdentityTracker:
    """Gives every person an id that stays theirs; ids are never used twice in a process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everybody; ids go on counting."""
        joints = len(H36M17)
        self._tracks = _Tracks.initial(
            np.zeros((0, joints, 2)), np.zeros((0, joints)), np.zeros(0), 0
        )

    @property
    def known_ids(self) -> np.ndarray:
        """Ids that may still come back, those in view included."""
        return self._tracks.ids

    def carry(
        self, turn: np.ndarray, moved: Callable[[np.ndarray, np.ndarray], np.ndarray]
    ) -> None:
        """Take in that the camera has turned by ``turn`` (3, 3), from its axes in the last image
        to those now: ``moved`` tells where what was at pixels (P, J, 2) is after turns (P, 3, 3),
        NaN behind the camera.
        """
        tracks = self._tracks
        if len(tracks):
            turns, last = turn @ tracks.turn, np.broadcast_to(turn, tracks.turn.shape)
            swaps = replace(tracks.swaps, keypoints_px=moved(tracks.swaps.keypoints_px, last))
            self._tracks = replace(
                tracks, keypoints_px=moved(tracks.seen_px, turns), turn=turns, swaps=swaps
            )

    def __call__(self, people: People2D, image_bgr: ImageBgr | None = None) -> People2D:
        """The same people with ids and states, with left and right as they were before and
        confidence lowered at leaps. Human3.6M's 17 joints tell who is who, whatever else people
        have.

        A newcomer is confirmed in the third frame (below 5 Hz in the second), or, where it may be
        somebody who was seen before, when their colours are seen, at the latest in the sixth.
        ``image_bgr`` (H, W, 3) uint8 shows the colours; without it motion alone tells who is who.
        """
        stamp_ns = people.stamp_ns
        body = people.to(H36M17)
        known = (body.confidence > 0) & np.isfinite(body.keypoints_px).all(-1)
        enough = known.sum(1) >= 3
        if (
            not enough.all()
        ):  # with feature maps a person is a megabyte: nothing is copied without need
            people, known = people[enough], known[enough]
            body = people.to(H36M17)
        keypoints, confidence = body.keypoints_px, body.confidence
        sizes = _body_sizes(keypoints, known)
        looks = (
            Appearance.unknown(len(people))
            if image_bgr is None
            else Appearance.of(body, image_bgr)
        )
        rows = self._match(keypoints, confidence, known, sizes, looks, stamp_ns)
        new = rows < 0
        rows[new] = len(self._tracks) + np.arange(new.sum())
        self._tracks = self._tracks.joined(
            _Tracks.initial(keypoints[new], confidence[new], sizes[new], stamp_ns)
        )
        if len(people):
            now = self._tracks[rows]
            swaps, people = correct_swaps(now.swaps, people, now.size_px)
            body = people.to(H36M17)
            self._tracks[rows] = _updated(
                now, swaps, looks, body.keypoints_px, body.confidence, stamp_ns
            )
        self._confirm(stamp_ns)
        now = self._tracks[rows]
        states = np.where(now.confirmed, TrackState.CONFIRMED, TrackState.TENTATIVE)
        self._drop(stamp_ns, people.image_size)
        return replace(people, ids=now.ids, states=states)

    def _match(
        self,
        keypoints: np.ndarray,
        confidence: np.ndarray,
        known: np.ndarray,
        sizes: np.ndarray,
        looks: Appearance,
        stamp_ns: int,
    ) -> np.ndarray:
        """Each person's row (P,) among the tracks, of least total distance (Hungarian method); -1
        for newcomers.
        """
        tracks, rows = self._tracks, np.full(len(keypoints), -1)
        if not len(tracks) or not len(keypoints):
            return rows
        predicted = tracks.keypoints_px + tracks.moved_px(stamp_ns)
        weight = np.where(
            known[:, None] & np.isfinite(predicted).all(-1), confidence[:, None], 0
        )  # (P, T, J)
        # Somebody who crouched or tumbled is larger when they stand again: the larger size counts.
        unit = np.maximum(sizes[:, None], tracks.size_px)
        distance = (
            np.nan_to_num(np.linalg.norm(keypoints[:, None] - predicted, axis=-1))
            / unit[..., None]
        )
        # A capped distance compares the pose: a leg that is elsewhere does not make another
        # person.
        total = weight.sum(-1)
        mean = (weight * np.minimum(distance, 3)).sum(-1) / np.maximum(total, 1e-6)
        unlike = np.abs(np.log(sizes[:, None] / tracks.size_px))
        unseen_s = (stamp_ns - tracks.seen_ns) * 1e-9
        colour = looks.distance(tracks.appearance)
        sure = looks.known[:, None] & tracks.appearance.known
        sure = sure.sum(2) >= RECOGNISE_PARTS
        hidden = unseen_s > HIDDEN_S
        near = (mean < GATE_SIZES + GATE_GROWTH * unseen_s) & (unseen_s <= MEMORY_S)
        near &= ~(sure & hidden & (colour > OTHER_COLOUR))
        back = sure & hidden & (colour < SAME_COLOUR)
        cost = np.minimum(mean, GATE_SIZES) + 0.3 * unlike
        cost += np.minimum(np.nan_to_num(colour, nan=COLOUR_UNIT) / COLOUR_UNIT, MOST_COLOUR)
        cost = np.where((total > 0) & (near | back) & (unlike < 1.0), cost, NOBODY)
        # Of two who could be the same, the one in view before the one remembered.
        cost += NEWCOMER * ~tracks.confirmed
        people, columns = linear_sum_assignment(cost)
        same = cost[people, columns] < NOBODY
        rows[people[same]] = columns[same]
        return rows

    def _confirm(self, stamp_ns: int) -> None:
        """Believe who was seen for long enough."""
        tracks = self._tracks
        remembered = tracks.confirmed & ((stamp_ns - tracks.seen_ns) * 1e-9 > HIDDEN_S)
        told = tracks.appearance.known.sum(1) >= RECOGNISE_PARTS
        told |= ~(remembered & told).any()
        slow = (tracks.frames > 1) & ((tracks.seen_ns - tracks.met_ns) * 1e-9 >= CONFIRM_S)
        frames = np.where(slow, np.maximum(tracks.frames, CONFIRM_FRAMES), tracks.frames)
        tracks.confirmed |= frames >= np.where(told, CONFIRM_FRAMES, DECIDE_FRAMES)

    def _drop(self, stamp_ns: int, image_size: tuple[int, int]) -> None:
        """Forget who is gone: never confirmed, or unseen for too long, which is sooner for those
        who walked out of the picture in colours that nobody knows. Of whom the camera turned away
        did not walk.
        """
        tracks = self._tracks
        unseen = (stamp_ns - tracks.seen_ns) * 1e-9
        predicted = tracks.seen_px + tracks.moved_px(stamp_ns)
        known = np.isfinite(predicted).all(-1)
        centre = (
            np.where(known[..., None], predicted, 0).sum(1) / np.maximum(known.sum(1), 1)[:, None]
        )
        inside = ((centre >= 0) & (centre <= image_size)).all(1)
        told = tracks.appearance.known.sum(1) >= RECOGNISE_PARTS
        remembered = (unseen <= MEMORY_S) & inside | (unseen <= RETURN_S) & told
        self._tracks = tracks[(unseen == 0) | tracks.confirmed & remembered]


def _updated(
    tracks: _Tracks,
    swaps: SwapState,
    looks: Appearance,
    keypoints: np.ndarray,
    confidence: np.ndarray,
    stamp_ns: int,
) -> _Tracks:
    """The tracks of P people, who were seen with keypoints (P, J, 2) and confidence (P, J)."""
    known = (confidence > 0) & np.isfinite(keypoints).all(-1)
    elapsed = (stamp_ns - tracks.seen_ns) * 1e-9
    moved = median(
        keypoints - tracks.keypoints_px, known & np.isfinite(tracks.keypoints_px).all(-1)
    )
    told = (elapsed > 0)[:, None] & np.isfinite(moved)
    step = np.where(told, moved, 0) / np.maximum(elapsed, 1e-9)[:, None] - tracks.velocity_px_s
    now_px = np.where(known[..., None], keypoints, tracks.keypoints_px)
    share = (1 - np.exp(-elapsed / VELOCITY_MEMORY_S))[:, None]
    return replace(
        tracks,
        keypoints_px=now_px,
        seen_px=now_px,
        turn=np.tile(np.eye(3), (len(tracks), 1, 1)),
        size_px=0.8 * tracks.size_px + 0.2 * _body_sizes(keypoints, known),
        velocity_px_s=tracks.velocity_px_s + np.where(told, share * step, 0),
        seen_ns=np.full(len(tracks), stamp_ns),
        frames=tracks.frames + 1,
        appearance=tracks.appearance.learnt(
            looks, np.maximum(1 - np.exp(-elapsed / LEARN_S), 1 / (tracks.frames + 1))
        ),
        swaps=swaps,
    )
