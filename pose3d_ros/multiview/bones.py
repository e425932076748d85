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

import numpy as np

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

    def learn(self, joints_m: np.ndarray, known: np.ndarray) -> None:
        """Update the lengths between joints (T, J, 3) that are both ``known`` (T, J) from this
        frame's images.
        """
        measured = self._measured(joints_m)
        both = known[:, self.limbs[:, 0]] & known[:, self.limbs[:, 1]]
        gain = np.where(both, self.variance / (self.variance + MEASURED_SIGMA**2), 0)
        self.log_length += gain * (measured - self.log_length)
        self.variance = np.maximum(self.variance * (1 - gain), MIN_SIGMA**2)
