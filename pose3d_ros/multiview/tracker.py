"""People in space from the 2D poses of several cameras: matched, triangulated and followed over time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.multiview.association import (
    GATE_M,
    MIN_JOINTS,
    NOBODY,
    Detections,
    agreement,
    assign,
    group,
)
from pose3d_ros.multiview.bones import Bones
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import Points, Prior, inverse, linear, solve
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.skeleton import Skeleton

KEYPOINT_SIGMA_M = 0.025   # detectors place a joint on the body this well, and differently from each side
PIXEL_SIGMA = 2.0          # and in the picture not better than this
ACCELERATION = 5.0         # white noise in m^2/s^3
SUDDEN_MPS2 = 10.0         # unknown acceleration between a camera's stamp and the common time
BIRTH_SPEED_MPS = 1.0      # one standard deviation of a newcomer's velocity per axis
UNSEEN_BONE_M = 0.35       # length of a bone whose end was not seen yet
BODY_MEMORY_S = 0.2        # the velocity of a joint that is not seen turns into the body's
COAST_S = 0.4              # and the velocity of a person who is not seen fades
MAX_AGE_S = 0.3            # 2D poses further from the common time than this say nothing
CONFIRM_EVIDENCE = 3.0     # views beyond the first, summed over frames, make a newcomer a person
MOST_EVIDENCE = 12.0       # which somebody long known loses again
ABSENCE = 0.5              # by so much for each camera that should see them and does not, when fewer than two do
VISIBLE_SHARE = 0.8        # of the joints in the picture: the camera should see the person
TENTATIVE_S = 0.2          # a newcomer whom two views do not see again for this long was none
ONE_VIEW_S = 2.0           # a person whom only one camera sees is followed for this long
FILL_S = 1.0               # a joint that is not seen is predicted for this long
SAME_PERSON_M = 0.2        # two people's joints are not closer than this on average
REST_M = 0.6               # and without a joint in common, neither are their middles
TIME_JUMP_S = 2.0


@dataclass
class _People:
    """State of T people: per joint the mean (T, J, 3) and covariance of position and velocity (T, J, 3, 3), times in
    nanoseconds.
    """

    mean: np.ndarray
    velocity: np.ndarray
    pp: np.ndarray
    pv: np.ndarray
    vv: np.ndarray
    confidence: np.ndarray
    known: np.ndarray
    joint_seen_ns: np.ndarray
    seen_ns: np.ndarray
    views_seen_ns: np.ndarray   # by two cameras or more
    evidence: np.ndarray
    confirmed: np.ndarray
    ids: np.ndarray

    @classmethod
    def blank(cls, people: int, joints: int) -> _People:
        """Nothing known about anybody."""
        t = (people, joints)
        return cls(np.zeros((*t, 3)), np.zeros((*t, 3)), np.zeros((*t, 3, 3)), np.zeros((*t, 3, 3)),
                   np.zeros((*t, 3, 3)), np.zeros(t), np.zeros(t, bool), np.zeros(t, np.int64),
                   np.zeros(people, np.int64), np.zeros(people, np.int64), np.zeros(people), np.zeros(people, bool),
                   np.zeros(people, np.int32))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: np.ndarray) -> _People:
        return _People(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __add__(self, others: _People) -> _People:
        return _People(*(np.concatenate([getattr(self, f.name), getattr(others, f.name)]) for f in fields(self)))


class MultiViewTracker:
    """Follows people through a rig of calibrated cameras whose ``camera_from_world`` share one world.

    The people's joints are those of the 2D poses' ``skeleton``. ``frame_id`` names the world. ``max_occlusion_s``: how
    long a person whom no camera sees is predicted before being dropped; ids are never used again.

    Known people find their 2D poses first, in every camera by their predicted projection (cross-view tracking, Chen et
    al. 2020); what is left over is grouped by consensus in space. Each joint is a constant-velocity Kalman filter whose
    measurement are all pixels at once, so that one camera is enough to go on.
    """

    def __init__(
        self, cameras: Sequence[Camera], skeleton: Skeleton, frame_id: str = "world", max_occlusion_s: float = 0.5
    ) -> None:
        self.rig = Rig.of(cameras)
        self.skeleton = skeleton
        self.frame_id = frame_id
        self.max_occlusion_s = max_occlusion_s
        self._next_id = 0
        self.reset()
        self._parent = np.arange(len(skeleton))
        self._parent[self._bones.child] = self._bones.parent

    def reset(self) -> None:
        """Forget everybody; ids go on counting."""
        self._people = _People.blank(0, len(self.skeleton))
        self._bones = Bones(self.skeleton)
        self._stamp_ns: int | None = None
        self._used_ns: list[int | None] = [None] * len(self.rig)

    def update(self, people_2d_per_camera: Sequence[People2D | None], stamp_ns: int) -> People3D:
        """People at ``stamp_ns`` given each camera's newest 2D poses, or None from a camera that has nothing new.

        Stamps of the cameras may differ from ``stamp_ns``; the people's motion makes up for it. 2D poses that were used
        before, or are over ``MAX_AGE_S`` away, are left out. When ``stamp_ns`` jumps back by over ``TIME_JUMP_S`` the
        tracker starts afresh; when by less, time stands still. ``ValueError`` for wrong cameras or skeleton.
        The result has tentative people as well, so that the caller chooses by ``states``.
        """
        if len(people_2d_per_camera) != len(self.rig):
            raise ValueError(f"expected 2D poses or None of each of {len(self.rig)} cameras, "
                             f"got {len(people_2d_per_camera)}")
        if self._stamp_ns is not None and stamp_ns < self._stamp_ns - TIME_JUMP_S * 1e9:
            self.reset()
        stamp_ns = stamp_ns if self._stamp_ns is None else max(stamp_ns, self._stamp_ns)
        detections, offset_s, looked = self._collect(people_2d_per_camera, stamp_ns)
        self._predict(stamp_ns)
        free = np.ones(len(detections), bool)
        if len(self._people) and looked.any():
            free = self._follow(detections, offset_s, looked, stamp_ns)
        if free.any():
            self._meet(detections[free], stamp_ns)
        self._part(stamp_ns)
        return self._result(stamp_ns)

    def _collect(
        self, people_2d: Sequence[People2D | None], stamp_ns: int
    ) -> tuple[Detections, np.ndarray, np.ndarray]:
        """The usable detections, each camera's time (C,) in seconds after ``stamp_ns``, and which cameras looked."""
        offset_s, looked = np.zeros(len(self.rig)), np.zeros(len(self.rig), bool)
        points, confidence, view = [], [], []
        for c, people in enumerate(people_2d):
            if people is None:
                continue
            if people.skeleton is not self.skeleton:
                raise ValueError(f"camera {c}: expected joints of {self.skeleton.name}, got {people.skeleton.name}")
            used, offset = self._used_ns[c], (people.stamp_ns - stamp_ns) * 1e-9
            if abs(offset) > MAX_AGE_S or used is not None and people.stamp_ns <= used:
                continue
            self._used_ns[c], offset_s[c], looked[c] = people.stamp_ns, offset, True
            points.append(people.keypoints_px)
            confidence.append(people.confidence)
            view.append(np.full(len(people), c))
        if not points:
            joints = len(self.skeleton)
            return Detections(np.zeros((0, joints, 2)), np.zeros((0, joints)), np.zeros(0, int)), offset_s, looked
        views = np.concatenate(view)
        pixels = self.rig.undistort(np.concatenate(points).astype(float), views)
        weights = np.concatenate(confidence).astype(float)
        seen = (weights > 0) & np.isfinite(pixels).all(-1)
        return Detections(np.where(seen[..., None], pixels, 0), np.where(seen, np.minimum(weights, 1), 0),
                          views), offset_s, looked

    def _predict(self, stamp_ns: int) -> None:
        before_ns, p = stamp_ns if self._stamp_ns is None else self._stamp_ns, self._people
        self._stamp_ns, dt = stamp_ns, (stamp_ns - before_ns) * 1e-9
        if not len(p) or dt == 0:
            return
        seen = p.joint_seen_ns == p.seen_ns[:, None]
        body = (p.velocity * seen[..., None]).sum(1) / np.maximum(seen.sum(1), 1)[:, None]
        p.velocity += np.where(seen, 0, 1 - np.exp(-dt / BODY_MEMORY_S))[..., None] * (body[:, None] - p.velocity)
        unseen = p.seen_ns < before_ns
        p.velocity[unseen] *= np.exp(-dt / COAST_S)
        p.mean += dt * p.velocity
        eye = np.eye(3)
        p.pp += dt * (p.pv + p.pv.swapaxes(-1, -2)) + dt * dt * p.vv + ACCELERATION * dt**3 / 3 * eye
        p.pv += dt * p.vv + ACCELERATION * dt**2 / 2 * eye
        p.vv += ACCELERATION * dt * eye

    def _follow(
        self, detections: Detections, offset_s: np.ndarray, looked: np.ndarray, stamp_ns: int
    ) -> np.ndarray:
        """Correct the known people with their detections; returns which detections (N,) nobody took."""
        p, rig = self._people, self.rig
        pixels, depth = rig.project(p.mean)
        then = pixels
        if offset_s.any():
            moved = p.mean + offset_s[:, None, None, None] * p.velocity
            then = np.stack([rig.project(moved[c])[0][c] for c in range(len(rig))])
        spread = np.sqrt(np.trace(p.pp, axis1=-2, axis2=-1) / 3)
        score = agreement(rig, detections, then, depth, p.known, GATE_M + np.minimum(spread, GATE_M))
        chosen = assign(score, detections.view, len(rig))
        free = np.ones(len(detections), bool)
        free[chosen[chosen != NOBODY]] = False
        points, weight = detections.of(chosen)
        for row in np.flatnonzero(free & (score > 0).any(1)):
            person, camera = score[row].argmax(), detections.view[row]
            gaps = (weight[person, camera] == 0) & (detections.confidence[row] > 0)
            if gaps.sum() > 0.5 * (detections.confidence[row] > 0).sum():  # the other half of a body that came in two
                points[person, camera, gaps] = detections.points[row, gaps]
                weight[person, camera, gaps] = detections.confidence[row, gaps]
                free[row] = False
        points += (pixels - then).swapaxes(0, 1)
        precision = weight / self._variance_px(depth.swapaxes(0, 1), offset_s[:, None])
        found, measured = self._measure(points, precision, p)
        self._correct(found, measured, stamp_ns)
        views = ((found.inliers.reshape(*measured.shape, -1) & measured[..., None]).sum(1) >= MIN_JOINTS).sum(1)
        seen = weight.swapaxes(1, 2) * found.inliers.reshape(*measured.shape, -1)
        p.confidence = np.where(measured, seen.max(-1), p.confidence)
        p.seen_ns[views > 0] = stamp_ns
        p.views_seen_ns[views > 1] = stamp_ns
        visible = (rig.inside(pixels, depth) & p.known).sum(-1) > VISIBLE_SHARE * p.known.sum(-1)
        unseen = (visible.T & (chosen == NOBODY) & looked).sum(1)
        change = np.where(views > 1, views - 1.0, -ABSENCE * unseen)
        p.evidence = np.clip(p.evidence + change, 0, MOST_EVIDENCE)
        p.confirmed = (p.evidence >= CONFIRM_EVIDENCE) | p.confirmed & (p.evidence > 0)
        return free

    def _variance_px(self, depth: np.ndarray, offset_s: np.ndarray | float) -> np.ndarray:
        """Variance per axis of keypoints (P, C, J) with confidence 1 at ``depth`` (P, C, J)."""
        metres = KEYPOINT_SIGMA_M**2 + (0.5 * SUDDEN_MPS2 * np.square(offset_s)) ** 2
        return PIXEL_SIGMA**2 + metres * (self.rig.focal_px[:, None] / np.maximum(depth, NEAR_M)) ** 2

    def _measure(self, points: np.ndarray, precision: np.ndarray, p: _People) -> tuple[Points, np.ndarray]:
        """Joints from points (P, C, J, 2) and the people's prediction, and which (P, J) of them are measured."""
        count, joints = p.known.shape
        centre = (p.mean * p.known[..., None]).sum(1) / np.maximum(p.known.sum(1), 1)[:, None]
        mean, covariance, expected = p.mean, p.pp, p.known
        if not expected.all():  # a joint that was not seen yet is somewhere around the other end of its bone
            guess = ~p.known & p.known[:, self._parent]
            around = p.pp[:, self._parent] + UNSEEN_BONE_M**2 / 3 * np.eye(3)
            elsewhere = np.where(guess[..., None], p.mean[:, self._parent], centre[:, None])
            mean = np.where(p.known[..., None], p.mean, elsewhere)
            covariance = np.where(guess[..., None, None], around, covariance)
            expected = p.known | guess
        prior = Prior(mean.reshape(-1, 3),
                      (inverse(covariance + 1e-9 * np.eye(3)) * expected[..., None, None]).reshape(-1, 3, 3))
        found = solve(self.rig, points.swapaxes(1, 2).reshape(count * joints, -1, 2),
                      precision.swapaxes(1, 2).reshape(count * joints, -1), prior)
        views = found.inliers.sum(1)
        measured = ((views >= 2) | (views == 1) & found.prior_holds & expected.reshape(-1)) & found.known
        return found, measured.reshape(count, joints)

    def _correct(self, found: Points, measured: np.ndarray, stamp_ns: int) -> None:
        """Kalman update of the people with the solved joints; bones of impossible length are not believed."""
        p = self._people
        shape = measured.shape
        mean, covariance = found.mean_m.reshape(*shape, 3), found.covariance.reshape(*shape, 3, 3)
        joints = np.where(measured[..., None], mean, p.mean)
        spread = np.where(measured[..., None, None], covariance, p.pp)
        sigma = np.sqrt(np.trace(spread, axis1=-2, axis2=-1) / 3)
        wrong = self._bones.impossible(joints, sigma, measured | p.known) & measured
        measured &= ~wrong
        sure = measured & (found.inliers.sum(1) >= 2).reshape(shape)
        self._bones.learn(joints, sure)
        filtered = measured & p.known & found.prior_holds.reshape(shape)
        fresh = measured & ~filtered
        gain = p.pv.swapaxes(-1, -2) @ inverse(p.pp + 1e-9 * np.eye(3))  # of the velocity by the position
        velocity = p.velocity + (gain @ (mean - p.mean)[..., None])[..., 0]
        pv = covariance @ gain.swapaxes(-1, -2)
        vv = p.vv - gain @ (p.pp - covariance) @ gain.swapaxes(-1, -2)
        one, two = filtered[..., None], filtered[..., None, None]
        p.velocity, p.pv, p.vv = (np.where(one, velocity, p.velocity), np.where(two, pv, p.pv),
                                  np.where(two, vv, p.vv))
        if fresh.any():
            p.pv[fresh] = 0
            p.vv[fresh] = BIRTH_SPEED_MPS**2 * np.eye(3)
            steady = filtered.sum(1, keepdims=True)
            body = (p.velocity * one).sum(1) / np.maximum(steady, 1)
            p.velocity[fresh] = np.broadcast_to(body[:, None], p.velocity.shape)[fresh]
        p.mean = np.where(measured[..., None], mean, p.mean)
        p.pp = np.where(measured[..., None, None], covariance, p.pp)
        p.known |= measured
        loose = p.known & ~sure
        if loose.any():
            p.mean = self._bones.stretch(p.mean, p.pp, p.known, loose)
            # Beside joints that are seen nothing is further than a bone away.
            bound = np.where(loose & sure.any(1, keepdims=True), 3 * UNSEEN_BONE_M**2, np.inf)
            share = np.minimum(bound / np.maximum(np.trace(p.pp, axis1=-2, axis2=-1), 1e-12), 1)[..., None, None]
            p.pp, p.pv = p.pp * share, p.pv * np.sqrt(share)
        p.joint_seen_ns[measured] = stamp_ns

    def _meet(self, detections: Detections, stamp_ns: int) -> None:
        """Begin tracks of newcomers whom at least two cameras see."""
        groups = group(self.rig, detections)
        if not len(groups):
            return
        count, joints = len(groups), len(self.skeleton)
        newcomers = _People.blank(count, joints)
        points, weight = detections.of(groups)
        rough = linear(self.rig, points.swapaxes(1, 2).reshape(count * joints, -1, 2),
                       weight.swapaxes(1, 2).reshape(count * joints, -1))
        depth = self.rig.project(rough)[1].reshape(-1, count, joints).swapaxes(0, 1)
        usual = np.median(depth, axis=(1, 2), keepdims=True)
        precision = weight / self._variance_px(np.clip(depth, 0.5 * usual, 2 * usual), 0.0)
        newcomers.mean = rough.reshape(count, joints, 3)
        found, measured = self._measure(points, precision, newcomers)
        mean = found.mean_m.reshape(count, joints, 3)
        inliers = found.inliers.reshape(count, joints, -1) & measured[..., None]
        views = (inliers.sum(1) >= MIN_JOINTS).sum(1)
        good = (views >= 2) & ~self._taken(mean, measured)
        if not good.any():
            return
        newcomers.mean, newcomers.pp, newcomers.known = mean, found.covariance.reshape(count, joints, 3, 3), measured
        newcomers.vv[:] = BIRTH_SPEED_MPS**2 * np.eye(3)
        newcomers.confidence = (weight.swapaxes(1, 2) * inliers).max(-1)
        newcomers.joint_seen_ns[measured] = newcomers.seen_ns[:] = newcomers.views_seen_ns[:] = stamp_ns
        newcomers.evidence = views - 1.0
        newcomers.confirmed = newcomers.evidence >= CONFIRM_EVIDENCE
        newcomers = newcomers[good]
        newcomers.ids = np.arange(self._next_id, self._next_id + len(newcomers), dtype=np.int32)
        self._next_id += len(newcomers)
        self._people += newcomers
        self._bones.add(len(newcomers))

    def _taken(self, mean: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Which newcomers (P,) are where somebody known or an earlier newcomer is, or the rest of them."""
        p = self._people
        everybody, all_known = np.concatenate([p.mean, mean]), np.concatenate([p.known, known])
        both = known[:, None] & all_known
        apart = np.sqrt(((mean[:, None] - everybody) ** 2).sum(-1))
        average = np.where(both, apart, 0).sum(-1) / np.maximum(both.sum(-1), 1)
        centre = (everybody * all_known[..., None]).sum(1) / np.maximum(all_known.sum(1), 1)[:, None]
        rest = np.sqrt(((centre[len(p):, None] - centre) ** 2).sum(-1)) < REST_M
        same = np.where(both.any(-1), average < SAME_PERSON_M, rest)
        earlier = np.arange(len(everybody)) < len(p) + np.arange(len(mean))[:, None]
        return (same & earlier).any(1)

    def _part(self, stamp_ns: int) -> None:
        """Drop whom no camera has seen for too long, and newcomers whom a second camera does not confirm."""
        p = self._people
        lost = stamp_ns - p.seen_ns > self.max_occlusion_s * 1e9
        lost |= stamp_ns - p.views_seen_ns > np.where(p.confirmed, ONE_VIEW_S, TENTATIVE_S) * 1e9
        p.known &= stamp_ns - p.joint_seen_ns <= FILL_S * 1e9
        if lost.any():
            self._people = p[~lost]
            self._bones.keep(~lost)

    def _result(self, stamp_ns: int) -> People3D:
        p = self._people
        unseen_s = (stamp_ns - p.joint_seen_ns) * 1e-9
        shown = p.known
        states = np.where(~p.confirmed, TrackState.TENTATIVE,
                          np.where(p.seen_ns == stamp_ns, TrackState.CONFIRMED, TrackState.OCCLUDED))
        sigma = np.sqrt(np.trace(p.pp, axis1=-2, axis2=-1) / 3)
        return People3D(
            self.skeleton, np.where(shown[..., None], p.mean, np.nan),
            np.where(shown, p.confidence * np.exp(-unseen_s / FILL_S), 0), np.where(shown, sigma, np.nan),
            np.where(shown[..., None], p.velocity, np.nan), p.ids, states, stamp_ns, self.frame_id)
