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

"""State of tracked people: a constant-velocity Kalman filter per joint, constrained by bones."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from pose3d_ros.multiview.bones import Bones
from pose3d_ros.multiview.triangulation import TriangulatedPoints, inverse_symmetric

ACCELERATION = 5.0  # spectral density of white noise in m^2/s^3
BIRTH_SPEED_MPS = 1.0  # one standard deviation of a new track's velocity per axis
UNSEEN_BONE_M = 0.35  # length of a bone whose end was not seen yet
BODY_MEMORY_S = 0.2  # the velocity of a joint that is not seen turns into the body's
COAST_S = 0.4  # the velocity of a person whom fewer than two views see fades
# Evidence: views beyond the first, summed over frames.
CONFIRM_EVIDENCE = 3.0
MAX_EVIDENCE = 12.0
# Rays of one person's joints miss each other by a variance on average, and half of them by less
# than this; a person by whom more is missed for a while is made of two people's detections.
USUAL_MISFIT, MAX_MISFIT, MISFIT_MEMORY_S = 0.45, 1.5, 0.25
WORST_MISFIT = 4.0  # what is worse counts as this
DEPTH_EVIDENCE = 0.5  # of one view that measures depth
# Lost for each camera that should see a person and does not, when fewer than two do,
ABSENCE_PENALTY = 0.5
TENTATIVE_ABSENCE_PENALTY = 0.25  # and of tentative tracks also when two do.


@dataclass
class Tracks:
    """State of T people.

    ``mean`` and ``velocity`` (T, J, 3) of each joint in metres and m/s, with the blocks (T, J, 3,
    3) of their covariance: ``pp`` of position, ``pv`` between both, ``vv`` of velocity.
    ``confidence`` and ``known`` (T, J). ``doubt_m`` (T, J): how far a joint may be from its place
    because views contradict each other. Stamps in nanoseconds: ``joint_seen_ns`` (T, J),
    ``seen_ns`` (T,), ``located_ns`` (T,) when two views or a view with depth saw the person, and
    ``measured_ns`` (T,) when two views from which nobody hid them did, or one with a depth image:
    what a lifter says of depth tells no velocity.
    ``evidence`` (T,) for the person, who is ``confirmed`` (T,) or tentative. ``side_votes`` (T,):
    views that had left and right as the track has, less those that had not. ``misfit`` (T,): by
    how many variances, smoothed over time, the rays of the only two views that see the person
    miss each other, as the median over joints. ``ids`` (T,).
    """

    mean: np.ndarray
    velocity: np.ndarray
    pp: np.ndarray
    pv: np.ndarray
    vv: np.ndarray
    confidence: np.ndarray
    known: np.ndarray
    doubt_m: np.ndarray
    joint_seen_ns: np.ndarray
    seen_ns: np.ndarray
    located_ns: np.ndarray
    measured_ns: np.ndarray
    evidence: np.ndarray
    confirmed: np.ndarray
    side_votes: np.ndarray
    misfit: np.ndarray
    ids: np.ndarray

    @classmethod
    def blank(cls, people: int, joints: int) -> Tracks:
        """Tracks of people of whom nothing is known."""
        t = (people, joints)
        return cls(
            np.zeros((*t, 3)),
            np.zeros((*t, 3)),
            np.zeros((*t, 3, 3)),
            np.zeros((*t, 3, 3)),
            np.zeros((*t, 3, 3)),
            np.zeros(t),
            np.zeros(t, bool),
            np.zeros(t),
            np.zeros(t, np.int64),
            np.zeros(people, np.int64),
            np.zeros(people, np.int64),
            np.zeros(people, np.int64),
            np.zeros(people),
            np.zeros(people, bool),
            np.zeros(people),
            np.full(people, USUAL_MISFIT),
            np.zeros(people, np.int32),
        )

    @classmethod
    def initiate(
        cls,
        mean: np.ndarray,
        covariance: np.ndarray,
        known: np.ndarray,
        confidence: np.ndarray,
        evidence: np.ndarray,
        stamp_ns: int,
    ) -> Tracks:
        """Tracks of people who were measured for the first time, without ids."""
        new = cls.blank(*known.shape)
        new.mean, new.pp, new.known, new.confidence, new.evidence = (
            mean,
            covariance,
            known,
            confidence,
            evidence,
        )
        new.vv[:] = BIRTH_SPEED_MPS**2 * np.eye(3)
        new.joint_seen_ns[known] = stamp_ns
        new.seen_ns[:] = new.located_ns[:] = new.measured_ns[:] = stamp_ns
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
        """(T, J) standard deviation per axis in metres, the root mean square over the axes."""
        return np.asarray(np.sqrt(np.trace(self.pp, axis1=-2, axis2=-1) / 3))

    def take_joints(self, row: int, other: Tracks, other_row: int) -> None:
        """Copy the joints that a track lacks from another, the rest of the same person."""
        new = other.known[other_row] & ~self.known[row]
        self.velocity[row, new] = self.velocity[row][self.known[row]].mean(0)
        for name in ("mean", "pp", "pv", "vv", "confidence", "joint_seen_ns", "known", "doubt_m"):
            getattr(self, name)[row, new] = getattr(other, name)[other_row, new]

    def swap_sides(self, rows: np.ndarray, flip: np.ndarray) -> None:
        """Swap left and right of some people."""
        for name in (
            *("mean", "velocity", "pp", "pv", "vv"),
            *("confidence", "known", "doubt_m", "joint_seen_ns"),
        ):
            value = getattr(self, name)
            value[rows] = value[rows][:, flip]
        self.side_votes[rows] *= -1

    def predict(self, before_ns: int, stamp_ns: int) -> None:
        """Predict all states from one time to another."""
        dt = (stamp_ns - before_ns) * 1e-9
        if not len(self) or dt == 0:
            return
        seen = self.joint_seen_ns == self.seen_ns[:, None]
        body = (self.velocity * seen[..., None]).sum(1) / np.maximum(seen.sum(1), 1)[:, None]
        self.velocity += np.where(seen, 0, 1 - np.exp(-dt / BODY_MEMORY_S))[..., None] * (
            body[:, None] - self.velocity
        )
        self.velocity[self.measured_ns < before_ns] *= np.exp(-dt / COAST_S)
        self.mean += dt * self.velocity
        eye = np.eye(3)
        self.pp += (
            dt * (self.pv + self.pv.swapaxes(-1, -2))
            + dt * dt * self.vv
            + ACCELERATION * dt**3 / 3 * eye
        )
        self.pv += dt * self.vv + ACCELERATION * dt**2 / 2 * eye
        self.vv += ACCELERATION * dt * eye

    def expected_joints(self, parent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Prior of every joint: mean (T, J, 3), covariance (T, J, 3, 3), and a mask (T, J) of the
        joints that have one.

        That of a joint which was not seen yet is around the other end (``parent`` (J,)) of its
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

    def update_evidence(self, views: np.ndarray, located: np.ndarray, absent: np.ndarray) -> None:
        """Update evidence and confirmation of people seen in ``views`` (T,), ``located`` (T,) by a
        view with depth, and missed by ``absent`` (T,) cameras.
        """
        penalty = np.where(self.confirmed, 0, TENTATIVE_ABSENCE_PENALTY * absent)
        change = np.where(
            views > 1, views - 1.0 - penalty, DEPTH_EVIDENCE * located - ABSENCE_PENALTY * absent
        )
        change = np.where((views == 2) & self.misfits & ~self.confirmed, -1.0, change)
        self.evidence = np.clip(self.evidence + change, 0, MAX_EVIDENCE)
        self.confirmed = (self.evidence >= CONFIRM_EVIDENCE) | self.confirmed & (self.evidence > 0)

    @property
    def misfits(self) -> np.ndarray:
        """Mask (T,) of people who seem to be made of two people's detections."""
        return np.asarray(self.misfit > MAX_MISFIT)

    def learn_misfit(self, rows: np.ndarray, misfit: np.ndarray, elapsed_s: float) -> None:
        """Smooth the ``misfit`` (K,), NaN where unknown, of tracks ``rows`` (K,)."""
        rows, misfit = rows[np.isfinite(misfit)], misfit[np.isfinite(misfit)]
        gain = 1 - np.exp(-elapsed_s / MISFIT_MEMORY_S)
        self.misfit[rows] += gain * (np.minimum(misfit, WORST_MISFIT) - self.misfit[rows])

    def correct(
        self,
        found: TriangulatedPoints,
        measured: np.ndarray,
        with_depth: np.ndarray,
        bones: Bones,
        stamp_ns: int,
    ) -> None:
        """Kalman update by the triangulated joints that are ``measured`` (T, J), less those that
        bones contradict, which are removed from the mask.

        Joints in two views or with depth from an image (``with_depth`` (T, J)) update the lengths
        of bones. ``found`` includes this state's prediction already; its effect on positions is
        passed on to velocities.
        """
        shape = measured.shape
        mean, covariance = found.mean_m.reshape(*shape, 3), found.covariance.reshape(*shape, 3, 3)
        joints = np.where(measured[..., None], mean, self.mean)
        spread = np.where(measured[..., None, None], covariance, self.pp)
        sigma = np.sqrt(np.trace(spread, axis1=-2, axis2=-1) / 3)
        measured &= ~bones.implausible(joints, sigma, measured | self.known)
        reliable = measured & ((found.inliers.sum(1) >= 2).reshape(shape) | with_depth)
        bones.learn(joints, reliable)
        filtered = measured & self.known & found.prior_holds.reshape(shape)
        started = measured & ~filtered
        # Gain of the velocity by the position.
        gain = self.pv.swapaxes(-1, -2) @ inverse_symmetric(self.pp + 1e-9 * np.eye(3))
        velocity = self.velocity + (gain @ (mean - self.mean)[..., None])[..., 0]
        pv = covariance @ gain.swapaxes(-1, -2)
        vv = self.vv - gain @ (self.pp - covariance) @ gain.swapaxes(-1, -2)
        one, two = filtered[..., None], filtered[..., None, None]
        self.velocity, self.pv, self.vv = (
            np.where(one, velocity, self.velocity),
            np.where(two, pv, self.pv),
            np.where(two, vv, self.vv),
        )
        if started.any():
            self.pv[started] = 0
            self.vv[started] = BIRTH_SPEED_MPS**2 * np.eye(3)
            steady = filtered.sum(1, keepdims=True)
            body = (self.velocity * one).sum(1) / np.maximum(steady, 1)
            self.velocity[started] = np.broadcast_to(body[:, None], self.velocity.shape)[started]
        self.mean = np.where(measured[..., None], mean, self.mean)
        self.pp = np.where(measured[..., None, None], covariance, self.pp)
        self.known = self.known | measured
        uncertain_depth = self.known & ~reliable
        if uncertain_depth.any():
            self.mean = bones.constrain_lengths(self.mean, self.pp, self.known, uncertain_depth)
            # No joint is further than a bone from joints that are seen.
            bound = np.where(
                uncertain_depth & reliable.any(1, keepdims=True), 3 * UNSEEN_BONE_M**2, np.inf
            )
            share = np.minimum(
                bound / np.maximum(np.trace(self.pp, axis1=-2, axis2=-1), 1e-12), 1
            )[..., None, None]
            self.pp, self.pv = self.pp * share, self.pv * np.sqrt(share)
        self.joint_seen_ns[measured] = stamp_ns
