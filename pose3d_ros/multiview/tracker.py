"""People in space from the 2D poses of several cameras: matched, triangulated and followed over
time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.multiview import depth as depths
from pose3d_ros.multiview import track_initiation
from pose3d_ros.multiview.assignment import match
from pose3d_ros.multiview.association import (
    GATE_M,
    MIN_JOINTS,
    NOBODY,
    Detections,
    group,
    hidden,
    unseen,
)
from pose3d_ros.multiview.bones import Bones
from pose3d_ros.multiview.measurement_noise import Trust
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.tracks import CONFIRM_EVIDENCE, Tracks
from pose3d_ros.multiview.triangulation import measure
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.skeleton import Skeleton

MAX_AGE_S = 0.3  # 2D poses further from the common time than this say nothing
TENTATIVE_S = 0.2  # a newcomer whom two views do not see again for this long was none
ONE_VIEW_S = 2.0  # a person whom only one camera sees is followed for this long
FILL_S = 1.0  # a joint that is not seen is predicted for this long
LOOSE_SIGMAS = (
    2.0  # joints are not further than so many standard deviations from where they are thought
)
TIME_JUMP_S = 2.0


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
    """Follows people through a rig of calibrated cameras whose ``camera_from_world`` share one
    world.

    The people's joints are those of the 2D poses' ``skeleton``. ``frame_id`` names the world.
    ``max_occlusion_s``: how long a person whom no camera sees is predicted before being dropped;
    ids are never used again. ``appearance``, called with a camera's index and some of the people
    whom it sees, gives a descriptor (P, D) of each; descriptors' cosine helps to find out who is
    who among newcomers, where geometry leaves it open.

    Known people find their 2D poses first, in every camera by their predicted projection
    (cross-view tracking, Chen et al. 2020); what is left over is grouped by consensus in space.
    Each joint is a constant-velocity Kalman filter whose measurement are all pixels at once, so
    that one camera is enough to go on.
    """

    def __init__(
        self,
        cameras: Sequence[Camera],
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
        self._next_id = 0
        self.reset()
        self._parent = np.arange(len(skeleton))
        self._parent[self._bones.child] = self._bones.parent

    def reset(self) -> None:
        """Forget everybody; ids go on counting."""
        self._people = Tracks.blank(0, len(self.skeleton))
        self._bones = Bones(self.skeleton)
        self._stamp_ns: int | None = None
        self._trust = Trust(len(self.rig))
        self._used_ns: list[int | None] = [None] * len(self.rig)

    @property
    def residuals_px(self) -> list[float | None]:
        """Per camera the median distance in pixels (undistorted) of what it saw in the last update
        from the confirmed people's joints, also of what was rejected; None where it saw nobody of
        them.
        """
        return self._trust.residuals_px

    def update(self, people_2d_per_camera: Sequence[People2D | None], stamp_ns: int) -> People3D:
        """People at ``stamp_ns`` given each camera's newest 2D poses, or None from a camera that
        has nothing new.

        Stamps of the cameras may differ from ``stamp_ns``; the people's motion makes up for it. 2D
        poses that were used before, or are over ``MAX_AGE_S`` away, are left out. When
        ``stamp_ns`` jumps back by over ``TIME_JUMP_S`` the tracker starts afresh; when by less,
        time stands still. ``ValueError`` for wrong cameras or skeleton. The result has tentative
        people as well, so that the caller chooses by ``states``.
        """
        if len(people_2d_per_camera) != len(self.rig):
            raise ValueError(
                f"expected 2D poses or None of each of {len(self.rig)} cameras, "
                f"got {len(people_2d_per_camera)}"
            )
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns - TIME_JUMP_S * 1e9:
            self.reset()
        stamp_ns = stamp_ns if self._stamp_ns is None else max(stamp_ns, self._stamp_ns)
        detections, offset_s, looked = self._collect(people_2d_per_camera, stamp_ns)
        before_ns = stamp_ns if self._stamp_ns is None else self._stamp_ns
        self._people.predict(before_ns, stamp_ns)
        self._stamp_ns, elapsed_s = stamp_ns, (stamp_ns - before_ns) * 1e-9
        self._trust.forget()
        owner = np.full(len(detections), NOBODY)
        if len(self._people) and looked.any():
            owner, loose, strange = self._follow(detections, offset_s, looked, stamp_ns, elapsed_s)
            rows = np.flatnonzero((owner == NOBODY) | np.append(loose | strange, False)[owner])
        else:
            rows, strange = np.arange(len(detections)), np.zeros(len(self._people), bool)
        if len(rows):
            like = None
            if self._appearance is not None:
                like = track_initiation.likeness(
                    self._appearance, people_2d_per_camera, detections.view, rows
                )
            self._meet(detections[rows], owner[rows], like, strange, looked, stamp_ns)
        self._part(stamp_ns)
        return self._result(stamp_ns)

    def _collect(
        self, people_2d: Sequence[People2D | None], stamp_ns: int
    ) -> tuple[Detections, np.ndarray, np.ndarray]:
        """The usable detections, each camera's time (C,) in seconds after ``stamp_ns``, and which
        cameras looked.
        """
        offset_s, looked = np.zeros(len(self.rig)), np.zeros(len(self.rig), bool)
        used: list[People2D] = []
        for c, people in enumerate(people_2d):
            if people is None:
                continue
            if people.skeleton is not self.skeleton:
                raise ValueError(
                    f"camera {c}: expected joints of {self.skeleton.name}, got "
                    f"{people.skeleton.name}"
                )
            before_ns, offset = self._used_ns[c], (people.stamp_ns - stamp_ns) * 1e-9
            if abs(offset) > MAX_AGE_S or before_ns is not None and people.stamp_ns <= before_ns:
                continue
            self._used_ns[c], offset_s[c], looked[c] = people.stamp_ns, offset, True
            used.append(people)
        if not used:
            joints = len(self.skeleton)
            return (
                Detections(np.zeros((0, joints, 2)), np.zeros((0, joints)), np.zeros(0, int)),
                offset_s,
                looked,
            )
        view = np.repeat(np.flatnonzero(looked), [len(people) for people in used])
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
            Detections(
                np.where(seen[..., None], pixels, 0),
                np.where(seen, np.minimum(weights, 1), 0),
                view,
                depth,
            ),
            offset_s,
            looked,
        )

    def _follow(
        self,
        detections: Detections,
        offset_s: np.ndarray,
        looked: np.ndarray,
        stamp_ns: int,
        elapsed_s: float,
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Correct the known people with their detections.

        Returns whose each detection (N,) is, or ``NOBODY``; which people (T,) one camera sees who
        may be further along its ray than other cameras were searched for them; and which are of
        another size than they were: made of detections of several people.
        """
        p, rig = self._people, self.rig
        pixels, depth = rig.project(p.mean)
        then = pixels
        if offset_s.any():
            moved = p.mean + offset_s[:, None, None, None] * p.velocity
            then = np.stack([rig.project(moved[c])[0][c] for c in range(len(rig))])
        matched = match(rig, p, detections, then, depth, self.skeleton.flip)
        chosen, weight = matched.chosen, matched.weight
        points = matched.points + (pixels - then).swapaxes(0, 1)
        precision = weight / self._trust.variance_px(rig, depth.swapaxes(0, 1), offset_s[:, None])
        mean, covariance, expected = p.expected(self._parent)
        placed, deep = np.zeros(len(p), bool), np.zeros(p.known.shape, bool)
        if detections.depth is not None:
            far, sigma = detections.depths_of(chosen)
            far -= offset_s[:, None] * (p.velocity @ rig.rotation[:, 2].T).swapaxes(1, 2)
            mean, covariance, agree, deep = depths.apply(
                rig, mean, covariance, expected, far, sigma
            )
            placed = (agree.sum(-1) >= MIN_JOINTS).any(1)
        found, measured = measure(rig, points, precision, mean, covariance, expected)
        p.correct(found, measured, deep, self._bones, stamp_ns)
        inliers = found.inliers.reshape(*measured.shape, -1)
        views = ((inliers & measured[..., None]).sum(1) >= MIN_JOINTS).sum(1)
        p.confidence = np.where(measured, (weight.swapaxes(1, 2) * inliers).max(-1), p.confidence)
        p.seen_ns[views > 0] = stamp_ns
        p.placed_ns[(views > 1) | placed] = stamp_ns
        absent = np.zeros(chosen.shape, bool)
        if (asked := (views < 2) | ~p.confirmed).any():
            absent[asked] = unseen(
                rig, pixels[:, asked], depth[:, asked], p.known[asked], chosen[asked], looked
            )
            absent[p.confirmed] &= ~hidden(rig, pixels, depth, p.known)[p.confirmed]
        p.judge(views, placed, absent.sum(1))
        squared = (found.residual_px**2).sum(-1).reshape(*measured.shape, -1).swapaxes(1, 2)
        self._trust.learn(squared, precision, (weight > 0) & p.confirmed[:, None, None], elapsed_s)
        loose = (chosen != NOBODY).sum(1) == 1
        if loose.any():
            loose &= LOOSE_SIGMAS * np.sqrt(3) * (p.sigma_m * p.known).sum(
                1
            ) > GATE_M * p.known.sum(1)
        strange = views == 2  # of three rays and more, a wrong one is found out
        if strange.any():
            strange &= self._bones.another_size(p.mean, measured & (inliers.sum(-1) >= 2))
        return matched.owner, loose, strange

    def _meet(
        self,
        detections: Detections,
        owner: np.ndarray,
        likeness: np.ndarray | None,
        strange: np.ndarray,
        looked: np.ndarray,
        stamp_ns: int,
    ) -> None:
        """Begin tracks of newcomers whom two cameras see, or one that knows how far away they
        are.
        """
        groups = group(self.rig, detections, likeness)
        if len(groups):
            met, good = track_initiation.seen_by_several(
                self.rig, self._trust, detections, groups, looked, stamp_ns
            )
            self._welcome(
                met[good], np.where(groups == NOBODY, NOBODY, owner[groups])[good], strange
            )
        if detections.depth is not None:
            rest = np.setdiff1d(np.flatnonzero(owner == NOBODY), groups)
            met = track_initiation.seen_by_one(
                self.rig, self._trust, detections[rest], self._people, stamp_ns
            )
            self._welcome(met, np.full((len(met), 1), NOBODY), strange)

    def _welcome(self, met: Tracks, owners: np.ndarray, strange: np.ndarray) -> None:
        """Take in newcomers who are not somebody known, with ids of their own.

        Those whose detections are held by loose or ``strange`` (T,) people, ``owners`` (P, C), get
        the id of the first of these, unless another newcomer has it: they tell their place. The
        other half of somebody of whom only one was known joins it.
        """
        p = self._people
        same, half = track_initiation.alike(
            p, met, owners, self._bones, self.skeleton.flip, strange
        )
        for row, person in zip(*np.nonzero(half & ~same.any(1, keepdims=True)), strict=True):
            p.complete(person, met, row)
        fresh = np.asarray(~same.any(1) & ~half.any(1))
        met, owners = met[fresh], owners[fresh]
        moved = np.zeros(len(p), bool)
        for row, owner in enumerate(owners):
            known = owner[(owner != NOBODY) & ~np.append(moved, False)[owner]]
            if len(known):
                first = known[p.ids[known].argmin()]
                met.ids[row], met.confirmed[row] = p.ids[first], p.confirmed[first]
                met.evidence[row] += p.evidence[first]
                moved[known] = True
            else:
                met.ids[row] = self._next_id
                self._next_id += 1
        met.confirmed |= met.evidence >= CONFIRM_EVIDENCE
        self._keep(~moved)
        self._people += met
        self._bones.add(len(met))

    def _keep(self, rows: np.ndarray) -> None:
        if not rows.all():
            self._people = self._people[rows]
            self._bones.keep(rows)

    def _part(self, stamp_ns: int) -> None:
        """Drop whom no camera has seen for too long, and newcomers whom a second camera does not
        confirm.
        """
        p = self._people
        lost = stamp_ns - p.seen_ns > self.max_occlusion_s * 1e9
        lost |= stamp_ns - p.placed_ns > np.where(p.confirmed, ONE_VIEW_S, TENTATIVE_S) * 1e9
        p.known &= stamp_ns - p.joint_seen_ns <= FILL_S * 1e9
        self._keep(~lost)

    def _result(self, stamp_ns: int) -> People3D:
        p = self._people
        unseen_s = (stamp_ns - p.joint_seen_ns) * 1e-9
        shown = p.known
        states = np.where(
            ~p.confirmed,
            TrackState.TENTATIVE,
            np.where(p.seen_ns == stamp_ns, TrackState.CONFIRMED, TrackState.OCCLUDED),
        )
        return People3D(
            self.skeleton,
            np.where(shown[..., None], p.mean, np.nan),
            np.where(shown, p.confidence * np.exp(-unseen_s / FILL_S), 0),
            np.where(shown, p.sigma_m, np.nan),
            np.where(shown[..., None], p.velocity, np.nan),
            p.ids,
            states,
            stamp_ns,
            self.frame_id,
        )
