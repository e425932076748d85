"""State of tracked people: a constant-velocity Kalman filter per joint, and what bones say about
it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pose3d_ros.multiview.bones import Bones
from pose3d_ros.multiview.triangulation import Points, inverse

ACCELERATION = 5.0  # white noise in m^2/s^3
BIRTH_SPEED_MPS = 1.0  # one standard deviation of a newcomer's velocity per axis
UNSEEN_BONE_M = 0.35  # length of a bone whose end was not seen yet
BODY_MEMORY_S = 0.2  # the velocity of a joint that is not seen turns into the body's
COAST_S = 0.4  # and the velocity of a person who is not seen fades
CONFIRM_EVIDENCE = 3.0  # views beyond the first, summed over frames, make a newcomer a person
MOST_EVIDENCE = 12.0  # which somebody long known loses again
DEPTH_EVIDENCE = 0.5  # of one view that knows how far away
ABSENCE = (
    0.5  # by so much for each camera that should see them and does not, when fewer than two do
)
NEWCOMERS_ABSENCE = 0.25  # newcomers lose this for it also when two do


@dataclass
class Tracks:
    """State of T people: per joint the mean (T, J, 3) and covariance of position and velocity (T,
    J, 3, 3), times in nanoseconds.
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
    placed_ns: np.ndarray  # seen by two cameras or more, or by one that knows how far away
    evidence: np.ndarray
    confirmed: np.ndarray
    sides: np.ndarray  # views that had left and right the same way, less those that had not
    ids: np.ndarray

    @classmethod
    def blank(cls, people: int, joints: int) -> Tracks:
        """Nothing known about anybody."""
        t = (people, joints)
        return cls(
            np.zeros((*t, 3)),
            np.zeros((*t, 3)),
            np.zeros((*t, 3, 3)),
            np.zeros((*t, 3, 3)),
            np.zeros((*t, 3, 3)),
            np.zeros(t),
            np.zeros(t, bool),
            np.zeros(t, np.int64),
            np.zeros(people, np.int64),
            np.zeros(people, np.int64),
            np.zeros(people),
            np.zeros(people, bool),
            np.zeros(people),
            np.zeros(people, np.int32),
        )

    @classmethod
    def newcomers(
        cls,
        mean: np.ndarray,
        covariance: np.ndarray,
        known: np.ndarray,
        confidence: np.ndarray,
        evidence: np.ndarray,
        stamp_ns: int,
    ) -> Tracks:
        """People who were measured for the first time, without ids."""
        new = cls.blank(*known.shape)
        new.mean, new.pp, new.known, new.confidence, new.evidence = (
            mean,
            covariance,
            known,
            confidence,
            evidence,
        )
        new.vv[:] = BIRTH_SPEED_MPS**2 * np.eye(3)
        new.joint_seen_ns[known] = new.seen_ns[:] = new.placed_ns[:] = stamp_ns
        return new

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: np.ndarray) -> Tracks:
        return Tracks(*(getattr(self, f.name)[rows] for f in fields(self)))

    def __add__(self, others: Tracks) -> Tracks:
        return Tracks(
            *(
                np.concatenate([getattr(self, f.name), getattr(others, f.name)])
                for f in fields(self)
            )
        )

    @property
    def sigma_m(self) -> np.ndarray:
        """(T, J) standard deviation per axis of the joints, the root mean square over the axes."""
        return np.asarray(np.sqrt(np.trace(self.pp, axis1=-2, axis2=-1) / 3))

    def complete(self, row: int, other: Tracks, other_row: int) -> None:
        """Give one person the joints that they lack from another, who is the rest of them."""
        new = other.known[other_row] & ~self.known[row]
        self.velocity[row, new] = self.velocity[row][self.known[row]].mean(0)
        for name in ("mean", "pp", "pv", "vv", "confidence", "joint_seen_ns", "known"):
            getattr(self, name)[row, new] = getattr(other, name)[other_row, new]

    def exchange_sides(self, rows: np.ndarray, flip: np.ndarray) -> None:
        """Turn left of some people into right."""
        for name in ("mean", "velocity", "pp", "pv", "vv", "confidence", "known", "joint_seen_ns"):
            value = getattr(self, name)
            value[rows] = value[rows][:, flip]
        self.sides[rows] *= -1

    def predict(self, before_ns: int, stamp_ns: int) -> None:
        """Move everybody from one time to another."""
        dt = (stamp_ns - before_ns) * 1e-9
        if not len(self) or dt == 0:
            return
        seen = self.joint_seen_ns == self.seen_ns[:, None]
        body = (self.velocity * seen[..., None]).sum(1) / np.maximum(seen.sum(1), 1)[:, None]
        self.velocity += np.where(seen, 0, 1 - np.exp(-dt / BODY_MEMORY_S))[..., None] * (
            body[:, None] - self.velocity
        )
        self.velocity[self.seen_ns < before_ns] *= np.exp(-dt / COAST_S)
        self.mean += dt * self.velocity
        eye = np.eye(3)
        self.pp += (
            dt * (self.pv + self.pv.swapaxes(-1, -2))
            + dt * dt * self.vv
            + ACCELERATION * dt**3 / 3 * eye
        )
        self.pv += dt * self.vv + ACCELERATION * dt**2 / 2 * eye
        self.vv += ACCELERATION * dt * eye

    def expected(self, parent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Where every joint should be: mean (T, J, 3), covariance (T, J, 3, 3), and which (T, J)
        that is said of.

        A joint that was not seen yet is somewhere around the other end (``parent`` (J,)) of its
        bone.
        """
        if self.known.all():
            return self.mean, self.pp, self.known
        centre = (self.mean * self.known[..., None]).sum(1) / np.maximum(self.known.sum(1), 1)[
            :, None
        ]
        guess = ~self.known & self.known[:, parent]
        around = self.pp[:, parent] + UNSEEN_BONE_M**2 / 3 * np.eye(3)
        elsewhere = np.where(guess[..., None], self.mean[:, parent], centre[:, None])
        return (
            np.where(self.known[..., None], self.mean, elsewhere),
            np.where(guess[..., None, None], around, self.pp),
            self.known | guess,
        )

    def judge(self, views: np.ndarray, placed: np.ndarray, absent: np.ndarray) -> None:
        """Count evidence for people in ``views`` (T,), of known depth or not (``placed``), missing
        in ``absent``.
        """
        doubt = np.where(self.confirmed, 0, NEWCOMERS_ABSENCE * absent)
        change = np.where(
            views > 1, views - 1.0 - doubt, DEPTH_EVIDENCE * placed - ABSENCE * absent
        )
        self.evidence = np.clip(self.evidence + change, 0, MOST_EVIDENCE)
        self.confirmed = (self.evidence >= CONFIRM_EVIDENCE) | self.confirmed & (self.evidence > 0)

    def correct(
        self, found: Points, measured: np.ndarray, deep: np.ndarray, bones: Bones, stamp_ns: int
    ) -> None:
        """Kalman update by the solved joints that are ``measured`` (T, J), from which those that
        bones contradict go.

        Joints in two views or with a ``deep`` (T, J) image teach the lengths of bones. ``found``
        has this state's prediction in it already; what it does to positions is passed on to
        velocities.
        """
        shape = measured.shape
        mean, covariance = found.mean_m.reshape(*shape, 3), found.covariance.reshape(*shape, 3, 3)
        joints = np.where(measured[..., None], mean, self.mean)
        spread = np.where(measured[..., None, None], covariance, self.pp)
        sigma = np.sqrt(np.trace(spread, axis1=-2, axis2=-1) / 3)
        measured &= ~bones.impossible(joints, sigma, measured | self.known)
        sure = measured & ((found.inliers.sum(1) >= 2).reshape(shape) | deep)
        bones.learn(joints, sure)
        filtered = measured & self.known & found.prior_holds.reshape(shape)
        fresh = measured & ~filtered
        gain = self.pv.swapaxes(-1, -2) @ inverse(
            self.pp + 1e-9 * np.eye(3)
        )  # of the velocity by the position
        velocity = self.velocity + (gain @ (mean - self.mean)[..., None])[..., 0]
        pv = covariance @ gain.swapaxes(-1, -2)
        vv = self.vv - gain @ (self.pp - covariance) @ gain.swapaxes(-1, -2)
        one, two = filtered[..., None], filtered[..., None, None]
        self.velocity, self.pv, self.vv = (
            np.where(one, velocity, self.velocity),
            np.where(two, pv, self.pv),
            np.where(two, vv, self.vv),
        )
        if fresh.any():
            self.pv[fresh] = 0
            self.vv[fresh] = BIRTH_SPEED_MPS**2 * np.eye(3)
            steady = filtered.sum(1, keepdims=True)
            body = (self.velocity * one).sum(1) / np.maximum(steady, 1)
            self.velocity[fresh] = np.broadcast_to(body[:, None], self.velocity.shape)[fresh]
        self.mean = np.where(measured[..., None], mean, self.mean)
        self.pp = np.where(measured[..., None, None], covariance, self.pp)
        self.known = self.known | measured
        loose = self.known & ~sure
        if loose.any():
            self.mean = bones.stretch(self.mean, self.pp, self.known, loose)
            # Beside joints that are seen nothing is further than a bone away.
            bound = np.where(loose & sure.any(1, keepdims=True), 3 * UNSEEN_BONE_M**2, np.inf)
            share = np.minimum(
                bound / np.maximum(np.trace(self.pp, axis1=-2, axis2=-1), 1e-12), 1
            )[..., None, None]
            self.pp, self.pv = self.pp * share, self.pv * np.sqrt(share)
        self.joint_seen_ns[measured] = stamp_ns
