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

"""Bone lengths of tracked people: learnt from joints that are seen, a constraint on those that are
not.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose3d_ros.multiview.triangulation import dot
from pose3d_ros.skeleton import Skeleton

LENGTH_M = 0.30  # a bone that has not been measured yet
LENGTH_SIGMA = 0.6  # of its logarithm
# Of the logarithm of one measured length: joints are not the same point in every pose.
MEASURED_SIGMA = 0.15
SIDES_SIGMA = 0.05  # of the logarithm of the ratio of left to right
# Lengths never get more certain than this: somebody who stands still teaches only one pose.
MIN_SIGMA = 0.03
CONTRADICTED_GROWTH = 1.5  # of a length's variance in a frame that contradicts it
# The end nearer to the body is rejected only when its sigma is so many times the other's.
BLAME_RATIO = 1.5
# People do not grow or shrink by more, as the median of their bones' logarithms says.
SIZE_TOLERANCE = 0.15
TOLERANCE = 3.0  # standard deviations beyond which a length is implausible


# Limbs by the stature, and statures of people (Drillis and Contini, 1966, in Winter, Biomechanics
# and Motor Control of Human Movement).
LIMB_OF_STATURE = {
    ("hip", "knee"): 0.245,
    ("knee", "ankle"): 0.246,
    ("shoulder", "elbow"): 0.186,
    ("elbow", "wrist"): 0.146,
}
STATURE_M = (0.9, 2.1)
PROPORTION_SIGMA = 0.15  # of a limb's length that the stature tells, as it is measured
MIN_LIMBS = 3  # that tell a stature


@dataclass(frozen=True)
class BodySize:
    """Whether poses are as large as people: ``limbs`` (L, 2), indices of joints, and their length
    by the stature ``share`` (L,).
    """

    limbs: np.ndarray
    share: np.ndarray

    @classmethod
    def of(cls, skeleton: Skeleton) -> BodySize:
        """For the arms and legs that a skeleton has."""
        found = [
            (limb, LIMB_OF_STATURE[names])
            for limb, (a, b) in zip(skeleton.limb_indices, skeleton.limbs, strict=True)
            if (names := (a[2:], b[2:])) in LIMB_OF_STATURE
        ]
        return cls(
            np.array([limb for limb, _ in found], int).reshape(-1, 2),
            np.array([share for _, share in found]),
        )

    def possible(
        self, joints_m: np.ndarray, known: np.ndarray, variance_m2: np.ndarray
    ) -> np.ndarray:
        """Mask (P,) of poses (P, J, 3) whose middle limb is that of somebody 0.9 to 2.1 m tall,
        also of those with fewer than ``MIN_LIMBS`` that are ``known`` (P, J).

        Rays of two different people that happen to meet do so at a place where the pose is too
        large or too small. ``variance_m2`` (P, J), of a joint's three coordinates together, makes
        limbs seem longer.
        """
        a, b = self.limbs.T
        both = known[:, a] & known[:, b]
        along = joints_m[:, a] - joints_m[:, b]
        squared = dot(along, along)
        least = np.maximum(squared - variance_m2[:, a] - variance_m2[:, b], 0)
        count = both.sum(1)
        middle = np.maximum(count - 1, 0) // 2
        longest, shortest = (
            (
                np.sort(np.where(both, np.sqrt(value) / self.share, np.inf), 1)[
                    np.arange(len(both)), middle
                ]
                for value in (squared, least)
            )
            if len(self.share)
            else np.ones((2, len(both)))
        )
        fits = (longest > STATURE_M[0]) & (shortest < STATURE_M[1])
        return np.asarray(fits | (count < MIN_LIMBS))

    def contradicted(
        self, joints_m: np.ndarray, known: np.ndarray, variance_m2: np.ndarray
    ) -> np.ndarray:
        """Mask (P, J) of the outer ends of limbs that are far too long or too short for the rest
        of the same person; arguments as of ``possible``.
        """
        a, b = self.limbs.T
        result = np.zeros(known.shape, bool)
        both = known[:, a] & known[:, b]
        if not both.any():
            return result
        length = np.sqrt(((joints_m[:, a] - joints_m[:, b]) ** 2).sum(-1))
        stature = np.nanmedian(
            np.where(both | ~both.any(1, keepdims=True), length / self.share, np.nan), 1
        )
        expected = self.share * stature[:, None]
        spread = (PROPORTION_SIGMA * expected) ** 2 + variance_m2[:, a] + variance_m2[:, b]
        wrong = both & ((length - expected) ** 2 > TOLERANCE**2 * spread)
        wrong &= both.sum(1, keepdims=True) >= MIN_LIMBS
        people, limbs = np.nonzero(wrong)
        result[people, b[limbs]] = True
        return result


class Bones:
    """Bone lengths of T people: a scalar Kalman filter of the logarithm per limb."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.limbs = skeleton.limb_indices
        # Each joint's bone towards the body; the joints at the root have none.
        self.child, first = np.unique(self.limbs[:, 1], return_index=True)
        self.parent, self._bone = self.limbs[first, 0], first
        pairs = {frozenset(limb): i for i, limb in enumerate(self.limbs.tolist())}
        self._mirror = np.array(
            [
                pairs.get(frozenset(skeleton.flip[limb].tolist()), i)
                for i, limb in enumerate(self.limbs)
            ],
            int,
        )
        self.log_length = np.zeros((0, len(self.limbs)))
        self.variance = np.zeros((0, len(self.limbs)))

    def add(self, people: int) -> None:
        """Append so many people."""
        ones = np.ones((people, len(self.limbs)))
        self.log_length = np.concatenate([self.log_length, ones * np.log(LENGTH_M)])
        self.variance = np.concatenate([self.variance, ones * LENGTH_SIGMA**2])

    def keep(self, rows: np.ndarray) -> None:
        """Keep only the people of these rows."""
        self.log_length, self.variance = self.log_length[rows], self.variance[rows]

    def _measured(self, joints_m: np.ndarray) -> np.ndarray:
        bones = joints_m[:, self.limbs[:, 1]] - joints_m[:, self.limbs[:, 0]]
        return np.asarray(np.log(np.maximum(np.sqrt((bones * bones).sum(-1)), 1e-3)))

    def implausible(
        self, joints_m: np.ndarray, sigma_m: np.ndarray, known: np.ndarray
    ) -> np.ndarray:
        """Mask (T, J) of joints at the outer or clearly less certain end of a bone that is far too
        long or too short. The lengths that they contradict become less certain.
        """
        measured = self._measured(joints_m)
        parent, child = self.limbs.T
        spread = (
            self.variance
            + MEASURED_SIGMA**2
            + ((sigma_m[:, parent] ** 2 + sigma_m[:, child] ** 2) / np.exp(2 * self.log_length))
        )
        wrong = (
            (np.abs(measured - self.log_length) > TOLERANCE * np.sqrt(spread))
            & known[:, parent]
            & known[:, child]
        )
        result = np.zeros(known.shape, bool)
        if wrong.any():
            people, bones = np.nonzero(wrong)
            blamed = np.where(
                sigma_m[people, parent[bones]] > BLAME_RATIO * sigma_m[people, child[bones]],
                parent[bones],
                child[bones],
            )
            result[people, blamed] = True
            # Cameras that insist are right in the end: the first length may have been learnt from
            # somebody else's arm.
            self.variance[people, bones] = np.minimum(
                self.variance[people, bones] * CONTRADICTED_GROWTH, LENGTH_SIGMA**2
            )
        return result

    def wrong_size(self, joints_m: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Mask (T,) of people whose size is not what it was, of whose bones a third or more is
        ``known`` (T, J).

        Rays of two different people that happen to meet, as those of two cameras at one height do,
        meet nearer or further away than either of them is.
        """
        both = known[:, self.limbs[:, 0]] & known[:, self.limbs[:, 1]]
        count = both.sum(1)
        change = np.sort(np.where(both, self._measured(joints_m) - self.log_length, np.inf), 1)
        median = change[np.arange(len(change)), np.maximum(count - 1, 0) // 2]
        return np.asarray((count >= len(self.limbs) / 3) & (np.abs(median) > SIZE_TOLERANCE))

    def _lengths(self) -> tuple[np.ndarray, np.ndarray]:
        """Logarithms (T, L) and their variance; the bones of both sides inform each other."""
        other = self.variance[:, self._mirror] + SIDES_SIGMA**2
        share = self.variance / (self.variance + other)
        return (
            self.log_length + share * (self.log_length[:, self._mirror] - self.log_length),
            self.variance * (1 - share),
        )

    def constrain_lengths(
        self,
        joints_m: np.ndarray,
        covariance: np.ndarray,
        known: np.ndarray,
        uncertain_depth: np.ndarray,
    ) -> np.ndarray:
        """Joints (T, J, 3) of ``covariance`` (T, J, 3, 3), those of
        ``uncertain_depth`` (T, J) shifted towards their bone's length.

        The shift is a Kalman update's: a joint that one camera sees moves along its ray. The
        covariance stays as it is, because the same length is used again in every frame.
        """
        joints_m = joints_m.copy()
        log_length, variance = self._lengths()
        people, bones = np.nonzero(
            uncertain_depth[:, self.child] & known[:, self.parent] & known[:, self.child]
        )
        child, parent, limb = self.child[bones], self.parent[bones], self._bone[bones]
        length = np.exp(log_length[people, limb])
        direction = joints_m[people, child] - joints_m[people, parent]
        distance = np.maximum(np.sqrt((direction**2).sum(-1)), 1e-3)
        direction /= distance[:, None]
        spread = (covariance[people, child] @ direction[..., None])[..., 0]
        noise = (variance[people, limb] + MEASURED_SIGMA**2) * length**2 + (
            np.trace(covariance[people, parent], axis1=-2, axis2=-1) / 3
        )
        gain = spread / ((spread * direction).sum(-1) + noise)[:, None]
        joints_m[people, child] += gain * (length - distance)[:, None]
        return joints_m

    def misfit_m(self, joints_m: np.ndarray, known: np.ndarray) -> np.ndarray:
        """(T, J) by how much the bone that ends in a joint is longer or shorter than it has been
        learnt, beyond its uncertainty: the joint is at least so far from its place.
        """
        log_length, variance = self._lengths()
        length, spread = np.exp(log_length), np.sqrt(variance + MIN_SIGMA**2)
        measured = np.exp(self._measured(joints_m))
        off = np.maximum(np.abs(measured - length) - spread * length, 0)
        off = np.where(known[:, self.limbs[:, 0]] & known[:, self.limbs[:, 1]], off, 0)
        result = np.zeros(known.shape)
        result[:, self.child] = off[:, self._bone]
        return result

    def size(self, joints_m: np.ndarray, known: np.ndarray) -> np.ndarray:
        """Factor (T,) by which people are larger than their ``known`` (T, J) joints, as the bones
        tell whose length has been learnt; NaN where fewer than ``MIN_LIMBS`` do.
        """
        log_length, variance = self._lengths()
        a, b = self.limbs.T
        tells = known[:, a] & known[:, b] & (variance < MEASURED_SIGMA**2)
        weight = tells / (variance + MEASURED_SIGMA**2)
        change = ((log_length - self._measured(joints_m)) * weight).sum(1)
        change = change / np.maximum(weight.sum(1), 1e-9)
        return np.where(tells.sum(1) < MIN_LIMBS, np.nan, np.exp(change))

    def learn(self, joints_m: np.ndarray, known: np.ndarray) -> None:
        """Update the lengths between joints (T, J, 3) that are both ``known`` (T, J) from this
        frame's images.
        """
        measured = self._measured(joints_m)
        both = known[:, self.limbs[:, 0]] & known[:, self.limbs[:, 1]]
        gain = np.where(both, self.variance / (self.variance + MEASURED_SIGMA**2), 0)
        self.log_length += gain * (measured - self.log_length)
        self.variance = np.maximum(self.variance * (1 - gain), MIN_SIGMA**2)
