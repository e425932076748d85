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

"""Multi-view tracker: 2D poses of several cameras in, tracked people in space out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.multiview import track_initiation
from pose3d_ros.multiview.assignment import assign_detections
from pose3d_ros.multiview.association import (
    GATE_M,
    MIN_JOINTS,
    NOBODY,
    RigDetections,
    group_detections,
    hidden_views,
    missed_views,
    occluded_views,
    pair_misfit,
)
from pose3d_ros.multiview.bones import MEASURED_SIGMA, BodySize, Bones
from pose3d_ros.multiview.clock_offsets import ClockOffsets
from pose3d_ros.multiview.depth import contradicted_by_depth, correct_by_depth
from pose3d_ros.multiview.measurement_noise import AdaptiveNoise
from pose3d_ros.multiview.pose_buffer import MAX_AGE_S
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.tracks import CONFIRM_EVIDENCE, USUAL_MISFIT, Tracks
from pose3d_ros.multiview.triangulation import TriangulatedPoints, measure_joints
from pose3d_ros.people import MAX_PEOPLE, NO_ID, People2D, People3D, TrackState, sigma_of
from pose3d_ros.skeleton import Skeleton
from pose3d_ros.stamps import Order, StampOrder

log = logging.getLogger(__name__)

TENTATIVE_S = 0.2  # a tentative track that two views do not see again for this long is deleted
ONE_VIEW_S = 2.0  # a person whom only one camera sees is tracked for this long
FILL_S = 1.0  # a joint that is not seen is predicted for this long
MAX_PERIOD_S = 1.0  # slower cameras than this are too slow to follow people
# Of somebody before whom another stands in a view, detectors take joints of both for one person's:
# such keypoints have so many times the variance of others, unless so many views outvote them.
HIDDEN_VARIANCE, OUTVOTING = 100.0, 3
# Tracks seen by one view may be so many standard deviations from their estimate.
UNCERTAIN_SIGMAS = 2.0
# Somebody whom one camera sees, and most of whose joints are known worse than this per axis, may
# be anywhere along its rays, and is tentative until two cameras see them again.
MAX_SIGMA_M = 0.5
ALONE_S = 1.0  # and so is whom only one camera has seen for longer
BETTER_FIT = 0.7  # misfit of a new pair of detections by that of the tracks it takes them from


def _depths(people: People2D) -> np.ndarray:
    """Depth and its standard deviation (P, J, 2), which is inf where unknown."""
    if people.depth_m is None or people.depth_sigma_m is None:
        return np.broadcast_to([0.0, np.inf], (*people.confidence.shape, 2))
    known = (people.depth_m > NEAR_M) & (people.depth_sigma_m > 0)  # not NaN
    return np.where(
        known[..., None],
        np.stack([people.depth_m, people.depth_sigma_m], -1).astype(float),
        [0.0, np.inf],
    )


class MultiViewTracker:
    """Tracker of people in a rig of calibrated cameras whose ``camera_from_world`` share one
    world; None stands for a camera that is absent.

    The people's joints are those of the 2D poses' ``skeleton``. ``frame_id`` names the world.
    ``max_occlusion_s`` (may be set at any time): how long a person whom no camera sees is
    predicted before being dropped; ids are never used again. ``appearance``, called with a
    camera's index and some of the people whom it sees, gives a descriptor (P, D) of each;
    descriptors' cosine decides who is who among new people where geometry leaves it open.

    2D poses are assigned to known people first, in every camera by their predicted projection
    (cross-view tracking, Chen et al. 2020); the others are grouped by consensus in space. Each
    joint is a constant-velocity Kalman filter whose measurement are all pixels at once, so that
    one camera is enough to continue a track.
    """

    def __init__(
        self,
        cameras: Sequence[Camera | None],
        skeleton: Skeleton,
        frame_id: str = "world",
        max_occlusion_s: float = 0.5,
        appearance: Callable[[int, People2D], np.ndarray] | None = None,
    ) -> None:
        self.rig = Rig.of(cameras)
        self.skeleton = skeleton
        self.frame_id = frame_id
        self.max_occlusion_s = max_occlusion_s
        self._appearance = appearance
        self._size = BodySize.of(skeleton)
        self._next_id = 0
        self._crowded: set[int] = set()  # cameras
        self.reset()
        self._parent = np.arange(len(skeleton))
        self._parent[self._bones.child] = self._bones.parent

    def set_cameras(self, cameras: Sequence[Camera | None]) -> None:
        """Replace the calibration of the same number of cameras; tracks continue.

        Raises ``ValueError`` for another number of cameras.
        """
        if len(cameras) != len(self.rig):
            raise ValueError(f"expected {len(self.rig)} cameras, got {len(cameras)}")
        self.rig = Rig.of(cameras)

    def reset(self) -> None:
        """Forget everybody; ids go on counting."""
        self._tracks = Tracks.blank(0, len(self.skeleton))
        self._bones = Bones(self.skeleton)
        self._order = StampOrder()
        self._noise = AdaptiveNoise(len(self.rig))
        self.clocks = ClockOffsets(len(self.rig))
        self._used_ns: list[int | None] = [None] * len(self.rig)
        self._track_of: dict[tuple[int, int], int] = {}  # by camera and its own id of a person
        self._period_s = 0.0  # between updates, smoothed

    @property
    def residuals_px(self) -> list[float | None]:
        """Per camera the median distance in undistorted pixels of the confirmed people's joints
        in the last update from their estimate, those rejected included; None where it saw none of
        them.
        """
        return self._noise.residuals_px

    def update(self, people_2d_per_camera: Sequence[People2D | None], stamp_ns: int) -> People3D:
        """People at ``stamp_ns`` given each camera's newest 2D poses, or None from a camera that
        has nothing new.

        Stamps of the cameras may differ from ``stamp_ns``; the people's motion is taken into
        account. 2D poses that were used before, are over ``MAX_AGE_S`` away, or come from an
        absent camera are left out; of more than ``MAX_PEOPLE`` in one image the most confident
        count. When ``stamp_ns`` jumps back (``stamps.JUMP_BACK_S``) the
        tracker starts afresh; when it is late by less, time stands still. The result has tentative
        people as well; the caller chooses by ``states``. Raises ``ValueError`` for another number
        of cameras or another skeleton.
        """
        if len(people_2d_per_camera) != len(self.rig):
            raise ValueError(
                f"expected 2D poses or None of each of {len(self.rig)} cameras, "
                f"got {len(people_2d_per_camera)}"
            )
        people_2d = [
            None if people is None else self._limited(camera, people)
            for camera, people in enumerate(people_2d_per_camera)
        ]
        before_ns = self._order.newest_ns
        if self._order(stamp_ns) is Order.JUMPED_BACK:
            self.reset()
            self._order(stamp_ns)
            before_ns = None
        elif before_ns is not None:
            stamp_ns = max(stamp_ns, before_ns)
        detections, offset_s, observed = self._collect(people_2d, stamp_ns)
        before_ns = stamp_ns if before_ns is None else before_ns
        self._tracks.predict(before_ns, stamp_ns)
        elapsed_s = (stamp_ns - before_ns) * 1e-9
        if elapsed_s > 0:
            self._period_s += (min(elapsed_s, MAX_PERIOD_S) - self._period_s) / 4
        self._noise.begin_frame()
        owner, known_ids = np.full(len(detections), NOBODY), self._tracks.ids
        if len(self._tracks) and observed.any():
            owner, uncertain_depth, wrong_size, contradicted = self._update_tracks(
                detections, offset_s, observed, stamp_ns, elapsed_s
            )
            rows = np.flatnonzero(
                (owner == NOBODY) | np.append(uncertain_depth | wrong_size, False)[owner]
            )
        else:
            rows, wrong_size = np.arange(len(detections)), np.zeros(len(self._tracks), bool)
            contradicted = wrong_size
        separated = contradicted.any() and self._separate(
            detections, owner, contradicted, observed, offset_s, stamp_ns
        )
        if len(rows) and not separated:
            similarity = None
            if self._appearance is not None:
                similarity = track_initiation.appearance_similarity(
                    self._appearance, people_2d, detections.view, rows
                )
            self._start_tracks(
                detections[rows], owner[rows], similarity, wrong_size, observed, offset_s, stamp_ns
            )
        seen_as = [
            (camera, int(person))
            for camera, people in enumerate(people_2d)
            if people is not None and observed[camera]
            for person in people.ids
        ]
        for key, row in zip(seen_as, owner, strict=True):
            if row != NOBODY and key[1] != NO_ID:
                self._recognise(key, int(known_ids[row]), stamp_ns)
        self._delete_lost(stamp_ns)
        return self._result(stamp_ns)

    def _collect(
        self, people_2d: Sequence[People2D | None], stamp_ns: int
    ) -> tuple[RigDetections, np.ndarray, np.ndarray]:
        """Usable detections, each camera's time (C,) in seconds after ``stamp_ns``, and a mask
        (C,) of cameras with an image.
        """
        offset_s, observed = np.zeros(len(self.rig)), np.zeros(len(self.rig), bool)
        used: list[People2D] = []
        for c, people in enumerate(people_2d):
            if people is None or not self.rig.present[c]:
                continue
            if people.skeleton is not self.skeleton:
                raise ValueError(
                    f"camera {c}: expected joints of {self.skeleton.name}, got "
                    f"{people.skeleton.name}; People2D.to(skeleton) converts them"
                )
            before_ns, offset = self._used_ns[c], (people.stamp_ns - stamp_ns) * 1e-9
            offset += self.clocks.used_s[c]
            if abs(offset) > MAX_AGE_S or before_ns is not None and people.stamp_ns <= before_ns:
                continue
            self._used_ns[c], offset_s[c], observed[c] = people.stamp_ns, offset, True
            used.append(people)
        if not used:
            joints = len(self.skeleton)
            return (
                RigDetections(np.zeros((0, joints, 2)), np.zeros((0, joints)), np.zeros(0, int)),
                offset_s,
                observed,
            )
        view = np.repeat(np.flatnonzero(observed), [len(people) for people in used])
        pixels = self.rig.undistort(
            np.concatenate([people.keypoints_px for people in used]).astype(float), view
        )
        weights = np.concatenate([people.confidence for people in used]).astype(float)
        seen = (weights > 0) & np.isfinite(pixels).all(-1)
        depth = None
        if any(people.depth_m is not None for people in used):
            depth = np.where(
                seen[..., None],
                np.concatenate([_depths(people) for people in used]),
                [0.0, np.inf],
            )
        return (
            RigDetections(
                np.where(seen[..., None], pixels, 0),
                np.where(seen, np.minimum(weights, 1), 0),
                view,
                depth,
            ),
            offset_s,
            observed,
        )

    def _limited(self, camera: int, people: People2D) -> People2D:
        """The ``MAX_PEOPLE`` most confident people of a camera; logs when a crowd comes."""
        if len(people) <= MAX_PEOPLE:
            self._crowded.discard(camera)
            return people
        if camera not in self._crowded:
            self._crowded.add(camera)
            log.warning(
                "camera %d: %d people in one image, expected at most %d: the most confident are "
                "used; see whether its detector is right",
                camera,
                len(people),
                MAX_PEOPLE,
            )
        return people.most_confident(MAX_PEOPLE)

    def _update_tracks(
        self,
        detections: RigDetections,
        offset_s: np.ndarray,
        observed: np.ndarray,
        stamp_ns: int,
        elapsed_s: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Assign detections to the tracks and correct these by them.

        Returns the track of each detection (N,), or ``NOBODY``; a mask (T,) of tracks of
        uncertain depth, which one view sees and which may be further along its ray than other
        views were searched; and two masks (T,) of tracks that are made of detections of several
        people: of wrong size, and contradicted by depth.
        """
        tracks, rig = self._tracks, self.rig
        mean, covariance, expected = tracks.expected_joints(self._parent)
        pixels, depth = rig.project(mean)
        at_view_time = pixels
        if offset_s.any():
            shifted = mean + offset_s[:, None, None, None] * tracks.velocity
            at_view_time = np.stack([rig.project(shifted[c])[0][c] for c in range(len(rig))])
        assigned = assign_detections(
            rig, tracks, detections, at_view_time, depth, self.skeleton.flip
        )
        chosen, weight = assigned.chosen, assigned.weight
        points = assigned.points + (pixels - at_view_time).swapaxes(0, 1)
        several = (chosen != NOBODY).sum(1)
        hidden = hidden_views(rig, pixels, depth, tracks.known)
        alone = hidden & (several < OUTVOTING)[:, None]
        precision = weight / self._noise.variance_px(rig, depth.swapaxes(0, 1), offset_s)
        precision = precision / np.where(alone, HIDDEN_VARIANCE, 1.0)[..., None]
        found, measured = measure_joints(rig, points, precision, mean, covariance, expected)
        located, with_depth = np.zeros(len(tracks), bool), np.zeros(tracks.known.shape, bool)
        contradicted = np.zeros(len(tracks), bool)
        if detections.depth is not None:
            far, sigma = detections.depths_of(chosen)
            for value in (far, sigma):
                value[assigned.swapped] = value[assigned.swapped][:, self.skeleton.flip]
            far -= offset_s[:, None] * (tracks.velocity @ rig.rotation[:, 2].T).swapaxes(1, 2)
            contradicted = contradicted_by_depth(
                rig, found.mean_m.reshape(mean.shape), measured, far, sigma
            )
            # after the keypoints: where rays of two cameras meet, a lifter knows nothing better
            found, agree, with_depth = self._by_depth(found, measured & expected, far, sigma)
            located = (agree.sum(-1) >= MIN_JOINTS).any(1)
        single = (several == 1) & ~located
        if single.any():
            found = self._by_size(found, chosen, measured & expected & single[:, None])
        # Of whole bodies, and before: its error is small and has nothing to do with this frame's.
        known = measured[..., None]
        velocity = (tracks.velocity * known).sum(1) / np.maximum(known.sum(1), 1)
        tracks.correct(found, measured, with_depth, self._bones, stamp_ns)
        inliers = found.inliers.reshape(*measured.shape, -1)
        seen_by = (inliers & measured[..., None]).sum(1) >= MIN_JOINTS
        views = seen_by.sum(1)
        tracks.confidence = np.where(
            measured, (weight.swapaxes(1, 2) * inliers).max(-1), tracks.confidence
        )
        tracks.doubt_m = self._doubt_m(found, inliers, precision, measured, tracks.doubt_m)
        tracks.seen_ns[views > 0] = stamp_ns
        tracks.located_ns[(views > 1) | located] = stamp_ns
        tracks.measured_ns[((seen_by & ~hidden).sum(1) > 1) | with_depth.any(1)] = stamp_ns
        absent = np.zeros(chosen.shape, bool)
        if (few := (views < 2) | ~tracks.confirmed).any():
            absent[few] = missed_views(
                rig, pixels[:, few], depth[:, few], tracks.known[few], chosen[few], observed
            )
            absent[tracks.confirmed] &= ~occluded_views(rig, pixels, depth, tracks.known)[
                tracks.confirmed
            ]
        self._learn_misfit(chosen, points, weight, offset_s, elapsed_s)
        tracks.update_evidence(views, located, absent.sum(1))
        count, joints = measured.shape
        self._noise.learn(
            found.residual_px.reshape(count, joints, -1, 2).swapaxes(1, 2),
            precision,
            found.freedom.reshape(count, joints, -1).swapaxes(1, 2),
            (weight > 0) & tracks.confirmed[:, None, None],
            tracks.ids,
            elapsed_s,
        )
        self._learn_clocks(found, measured, precision, velocity, stamp_ns)
        uncertain_depth = several == 1
        if uncertain_depth.any():
            uncertain_depth &= UNCERTAIN_SIGMAS * np.sqrt(3) * (tracks.sigma_m * tracks.known).sum(
                1
            ) > GATE_M * tracks.known.sum(1)
        wrong_size = views == 2  # a wrong one of three rays or more is an outlier
        if wrong_size.any():
            wrong_size &= self._bones.wrong_size(tracks.mean, measured & (inliers.sum(-1) >= 2))
        if tracks.misfits.any():  # the right partner of a detection may be with one seen alone
            wrong_size |= tracks.misfits
            uncertain_depth |= several == 1
        return assigned.owner, uncertain_depth, wrong_size, contradicted

    def _by_depth(
        self,
        found: TriangulatedPoints,
        measured: np.ndarray,
        far: np.ndarray,
        sigma: np.ndarray,
    ) -> tuple[TriangulatedPoints, np.ndarray, np.ndarray]:
        """The joints that are ``measured`` (T, J) corrected by the depth (T, C, J) that cameras
        measure, with ``sigma``; which of it agrees, and the joints (T, J) that it tells something
        of.
        """
        shape = measured.shape
        mean, covariance, agree, with_depth = correct_by_depth(
            self.rig,
            found.mean_m.reshape(*shape, 3),
            found.covariance.reshape(*shape, 3, 3),
            measured,
            far,
            sigma,
        )
        found = replace(found, mean_m=mean.reshape(-1, 3), covariance=covariance.reshape(-1, 3, 3))
        return found, agree, with_depth

    def _learn_misfit(
        self,
        chosen: np.ndarray,
        points: np.ndarray,
        weight: np.ndarray,
        offset_s: np.ndarray,
        elapsed_s: float,
    ) -> None:
        """Learn how well the rays of people meet whom two views see, by ``chosen`` (T, C) with
        ``points`` (T, C, J, 2) of ``weight`` (T, C, J).
        """
        several = (chosen != NOBODY).sum(1)
        two = np.flatnonzero(several == 2)
        pair = np.nonzero(chosen[two] != NOBODY)[1].reshape(-1, 2)
        scatter, of_two = self._noise.scatter(self.rig, offset_s), (two[:, None], pair)
        misfit = pair_misfit(self.rig, points[of_two], weight[of_two], pair, scatter)
        self._tracks.learn_misfit(two, misfit, elapsed_s)
        # a wrong one of three views is an outlier
        self._tracks.misfit[several > 2] = USUAL_MISFIT

    def _learn_clocks(
        self,
        found: TriangulatedPoints,
        measured: np.ndarray,
        precision: np.ndarray,
        velocity: np.ndarray,
        stamp_ns: int,
    ) -> None:
        """Learn clocks' offsets from the ``measured`` (T, J) joints of people who are believed,
        who move with ``velocity`` (T, 3).
        """
        tracks, (count, joints) = self._tracks, measured.shape
        told = (measured & (tracks.confirmed & ~tracks.misfits)[:, None]).reshape(-1)
        precision = precision.swapaxes(1, 2).reshape(count * joints, -1)
        self.clocks.learn(
            self.rig,
            found.mean_m[told],
            np.repeat(velocity, joints, 0)[told],
            found.residual_px[told],
            (precision * found.inliers)[told],
            stamp_ns,
        )

    def _by_size(
        self, found: TriangulatedPoints, chosen: np.ndarray, measured: np.ndarray
    ) -> TriangulatedPoints:
        """The joints that are ``measured`` (T, J), by one view, ``chosen`` (T, C), as far away as
        they must be for their bones to be as long as they are.
        """
        rows, shape = np.flatnonzero(measured.any(1)), measured.shape
        mean = found.mean_m.reshape(*shape, 3)
        size, view = self._bones.size(mean, measured)[rows], (chosen[rows] != NOBODY).argmax(1)
        axis, shift = self.rig.rotation[view, 2], self.rig.translation[view, 2]
        distance = (mean[rows] @ axis[..., None])[..., 0] + shift[:, None]
        far, sigma = np.full((2, *chosen.shape, shape[1]), np.inf)
        far[rows, view] = distance * size[:, None]
        sigma[rows, view] = np.where(np.isfinite(size)[:, None], MEASURED_SIGMA * distance, np.inf)
        return self._by_depth(found, measured, far, sigma)[0]

    def _doubt_m(
        self,
        found: TriangulatedPoints,
        inliers: np.ndarray,
        precision: np.ndarray,
        measured: np.ndarray,
        before: np.ndarray,
    ) -> np.ndarray:
        """(T, J) how far joints that only one view supports are from where others see them: root
        mean square, where the prediction and each view have one vote. ``before`` where a joint is
        not measured.
        """
        shape = inliers.shape
        rejected = (precision.swapaxes(1, 2) > 0) & ~inliers
        metres = (
            np.sqrt((found.residual_px**2).sum(-1)) * found.depth_m / self.rig.focal_px
        ).reshape(shape)
        squared = (np.minimum(metres, GATE_M) ** 2 * rejected).sum(-1) / (2 + rejected.sum(-1))
        alone = inliers.sum(-1) < 2
        return np.where(measured, np.sqrt(squared) * alone, before)

    def _start_tracks(
        self,
        detections: RigDetections,
        owner: np.ndarray,
        similarity: np.ndarray | None,
        wrong_size: np.ndarray,
        observed: np.ndarray,
        offset_s: np.ndarray,
        stamp_ns: int,
    ) -> None:
        """Start tracks of people seen by two cameras, or by one with depth."""
        new, owners, groups = self._seen_together(
            detections, owner, similarity, observed, offset_s, stamp_ns, better=True
        )
        self._add(new, owners, wrong_size)
        if detections.depth is not None:
            rest = np.setdiff1d(np.flatnonzero(owner == NOBODY), groups)
            new = track_initiation.initiate_from_depth(
                self.rig, self._noise, detections[rest], self._tracks, stamp_ns
            )
            self._add(new, np.full((len(new), 1), NOBODY), wrong_size)

    def _separate(
        self,
        detections: RigDetections,
        owner: np.ndarray,
        contradicted: np.ndarray,
        observed: np.ndarray,
        offset_s: np.ndarray,
        stamp_ns: int,
    ) -> bool:
        """Where tracks have exchanged their detections of one camera, and depth contradicts
        (T,) one of them, track each person anew. Returns whether there were any.
        """
        new, owners, _ = self._seen_together(detections, owner, None, observed, offset_s, stamp_ns)
        several = [len({*row} - {NOBODY}) > 1 for row in owners]
        wrong = np.append(contradicted, False)[owners].any(1) & np.array(several, bool)
        self._add(new[wrong], owners[wrong], np.ones(len(self._tracks), bool))
        return bool(wrong.any())

    def _seen_together(
        self,
        detections: RigDetections,
        owner: np.ndarray,
        similarity: np.ndarray | None,
        observed: np.ndarray,
        offset_s: np.ndarray,
        stamp_ns: int,
        better: bool = False,
    ) -> tuple[Tracks, np.ndarray, np.ndarray]:
        """Tracks of people that two cameras see, the tracks (P, C) that their detections belong
        to, and all groups (G, C) of detections that were tried. ``better``: pairs that take
        detections from tracks must fit better than these.
        """
        groups = group_detections(
            self.rig, detections, self._noise.scatter(self.rig, offset_s), self._size, similarity
        )
        if not len(groups):
            return Tracks.blank(0, len(self.skeleton)), groups, groups
        new, good = track_initiation.initiate_from_views(
            self.rig, self._noise, self._size, detections, groups, observed, offset_s, stamp_ns
        )
        owners = np.where(groups == NOBODY, NOBODY, owner[groups])
        if better:
            good &= self._fits_better(detections, groups, owners, offset_s)
        return new[good], owners[good], groups

    def _fits_better(
        self,
        detections: RigDetections,
        groups: np.ndarray,
        owners: np.ndarray,
        offset_s: np.ndarray,
    ) -> np.ndarray:
        """Mask (G,) of ``groups`` (G, C) that are no pair, take nothing from tracks, ``owners``
        (G, C), or whose rays meet better than those of these tracks did.
        """
        misfit = np.append(self._tracks.misfit, 0.0)[owners].max(1)
        result = np.ones(len(groups), bool)
        rows = np.flatnonzero((misfit > 0) & ((groups != NOBODY).sum(1) == 2))
        pair = np.nonzero(groups[rows] != NOBODY)[1].reshape(-1, 2)
        members = np.take_along_axis(groups[rows], pair, 1)
        now = pair_misfit(
            self.rig,
            detections.points[members],
            detections.confidence[members],
            pair,
            self._noise.scatter(self.rig, offset_s),
        )
        first = owners[rows].max(1)
        same = ((owners[rows] == first[:, None]) | (groups[rows] == NOBODY)).all(1)
        result[rows] = (now < BETTER_FIT * misfit[rows]) & ~(same & self._tracks.misfits[first])
        return result

    def _add(self, new: Tracks, owners: np.ndarray, wrong_size: np.ndarray) -> None:
        """Add new tracks that are no duplicates, with ids of their own.

        One whose detections belong to tracks of uncertain depth or ``wrong_size`` (T,), ``owners``
        (P, C), replaces the oldest of these and takes its id, unless another has taken it. One
        that has the joints which a track lacks completes that track.
        """
        tracks = self._tracks
        duplicate, complement = track_initiation.find_duplicates(
            tracks, new, owners, self._bones, self.skeleton.flip, wrong_size
        )
        for row, person in zip(
            *np.nonzero(complement & ~duplicate.any(1, keepdims=True)), strict=True
        ):
            tracks.take_joints(person, new, row)
        separate = np.asarray(~duplicate.any(1) & ~complement.any(1))
        new, owners = new[separate], owners[separate]
        replaced, taken = np.zeros(len(tracks), bool), np.zeros(len(tracks), bool)
        for row, owner in enumerate(owners):
            known = owner[owner != NOBODY]
            replaced[known] = True
            if len(known := known[~taken[known]]):
                first = known[tracks.ids[known].argmin()]
                new.ids[row], new.confirmed[row] = tracks.ids[first], tracks.confirmed[first]
                new.evidence[row] += tracks.evidence[first]
                taken[first] = True
            else:
                new.ids[row] = self._next_id
                self._next_id += 1
        new.confirmed |= new.evidence >= CONFIRM_EVIDENCE
        self._keep(~replaced)
        self._tracks += new
        self._bones.add(len(new))

    def _recognise(self, seen_as: tuple[int, int], track_id: int, stamp_ns: int) -> None:
        """Take in that a camera saw a track as the person of its own id. Whom it hid for a moment
        and who comes back as a tentative track is who they were, while they are not seen
        elsewhere.
        """
        tracks, before = self._tracks, self._track_of.get(seen_as, track_id)
        lost = np.flatnonzero((tracks.ids == before) & (tracks.seen_ns < stamp_ns))
        new = np.flatnonzero((tracks.ids == track_id) & ~tracks.confirmed)
        if before != track_id and len(lost) and len(new):
            tracks.ids[new], tracks.confirmed[new] = before, tracks.confirmed[lost]
            tracks.evidence[new] += tracks.evidence[lost]
            self._keep(np.arange(len(tracks)) != lost[0])
            track_id = before
        self._track_of[seen_as] = track_id

    def _keep(self, rows: np.ndarray) -> None:
        if not rows.all():
            self._tracks = self._tracks[rows]
            self._bones.keep(rows)

    def _delete_lost(self, stamp_ns: int) -> None:
        """Delete tracks that no camera has seen for too long, and those that a second camera does
        not confirm.
        """
        tracks = self._tracks
        # Who is missed once by slow cameras is not lost.
        once_s = 1.5 * self._period_s
        lost = stamp_ns - tracks.seen_ns > max(self.max_occlusion_s, once_s) * 1e9
        lost |= (
            stamp_ns - tracks.located_ns
            > np.where(tracks.confirmed, ONE_VIEW_S, max(TENTATIVE_S, once_s)) * 1e9
        )
        tracks.known &= stamp_ns - tracks.joint_seen_ns <= FILL_S * 1e9
        self._keep(~lost)
        ids = set(self._tracks.ids.tolist())
        self._track_of = {key: id_ for key, id_ in self._track_of.items() if id_ in ids}

    def _result(self, stamp_ns: int) -> People3D:
        tracks = self._tracks
        unseen_s = (stamp_ns - tracks.joint_seen_ns) * 1e-9
        shown = tracks.known
        # Errors that bones and other views show, of which the filter knows nothing, per axis.
        others = self._noise.common_variance_m2 + tracks.doubt_m**2 / 3
        others = others + self._bones.misfit_m(tracks.mean, shown) ** 2 / 3
        covariance = tracks.pp * self._noise.excess + others[..., None, None] * np.eye(3)
        sigma = np.where(shown, sigma_of(covariance), np.nan)
        hidden, alone_ns = tracks.seen_ns < stamp_ns, stamp_ns - tracks.located_ns
        lost = (sigma > MAX_SIGMA_M).sum(1) > 0.5 * shown.sum(1)
        lost &= ~hidden | (alone_ns > self.max_occlusion_s * 1e9)
        lost |= ~hidden & (alone_ns > ALONE_S * 1e9)
        states = np.where(
            tracks.confirmed & ~lost,
            np.where(hidden, TrackState.OCCLUDED, TrackState.CONFIRMED),
            TrackState.TENTATIVE,
        )
        return People3D(
            self.skeleton,
            np.where(shown[..., None], tracks.mean, np.nan),
            np.where(shown, tracks.confidence * np.exp(-unseen_s / FILL_S), 0),
            sigma,
            np.where(shown[..., None], tracks.velocity, np.nan),
            tracks.ids,
            states,
            stamp_ns,
            self.frame_id,
            covariance_m2=np.where(shown[..., None, None], covariance, np.nan),
        )


def fuse(
    people_2d_per_camera: Sequence[People2D | None],
    cameras: Sequence[Camera | None],
    frame_id: str = "world",
) -> People3D:
    """People of a single moment from each camera's 2D poses, without a past: a photograph by
    several cameras.

    ``people_2d_per_camera``: of one skeleton, None from a camera that saw nothing; stamps may
    differ by ``MAX_AGE_S``, and the result has the newest. People whom three cameras see alike
    are confirmed; those who rest on two are tentative, for nothing tests what two say. Raises
    ``ValueError`` without any 2D poses, and as ``MultiViewTracker`` does.
    """
    seen = [people for people in people_2d_per_camera if people is not None]
    if not seen:
        raise ValueError("expected 2D poses of at least one camera, got None of each")
    tracker = MultiViewTracker(cameras, seen[0].skeleton, frame_id)
    return tracker.update(people_2d_per_camera, max(people.stamp_ns for people in seen))
