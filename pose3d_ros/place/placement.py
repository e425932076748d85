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

"""Lifted poses put into space: on their viewing rays, at the distance that stature, floor and
depth image tell.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pose3d_ros.place import depth_image
from pose3d_ros.place.depth_image import DepthCheck, Float
from pose3d_ros.place.floor import Floor
from pose3d_ros.place.learned_floor import FloorLearner, Looks
from pose3d_ros.place.root import refine, solve_root
from pose3d_ros.place.stature import Ids, Statures, by_floor

# Whatever tells the distance: what detectors call the hips is that far from them, per axis, and so
# is where the lifted body is on average; it lasts.
BODY_SIGMA_M = 0.03


@dataclass(frozen=True)
class Placed:
    """P people in a camera's axes: ``root_m`` (P, 3), NaN where a place cannot be told, with its
    covariance (P, 3, 3) without (``root_covariance``) and with (``total_covariance``) that of the
    stature; ``joints_m`` (P, 17, 3) relative to the root at the person's size. ``resized``: ids of
    those whose size was measured for the first time, who are elsewhere than thought.
    """

    root_m: Float
    root_covariance: Float
    total_covariance: Float
    joints_m: Float
    resized: list[int]


class Placement:
    """Places lifted poses; remembers each person's stature by track id, and learns the floor."""

    def __init__(self) -> None:
        self.depth_check = DepthCheck()
        self.reset()

    def reset(self) -> None:
        """Forget every stature, and what was learned of the floor."""
        self._statures = Statures()
        self._learner = FloorLearner()
        self._shared_variance = 0.0  # of statures by the floor, whose height is one for all

    @property
    def learned_floor(self) -> Floor | None:
        """The floor that people told; None while it is not sure."""
        return self._learner.floor

    def forget(self, keep: Ids) -> None:
        """Drop the stature of everybody whose id is not in ``keep``."""
        self._statures.forget(keep)

    def statures(self, ids: Ids, stature_m: float, stature_sigma_m: float) -> tuple[Float, Float]:
        """Standing height (P,) of people in metres, and its sigma (P,), as far as measured; else
        the assumed ones.
        """
        scale, variance = self._statures(ids, (stature_sigma_m / stature_m) ** 2)
        return scale * stature_m, np.sqrt(variance + self._shared(ids)) * stature_m

    def _shared(self, ids: Ids) -> Float:
        """(P,) variance of people's scale that the floor's height adds."""
        return np.where(self._statures.measured(ids), self._shared_variance, 0.0)

    def __call__(
        self,
        ids: Ids,
        joints_m: Float,
        sigma_m: Float,
        rays: Float,
        confidence: Float,
        stamp_ns: int,
        *,
        stature_m: float,
        stature_sigma_m: float,
        floor: Floor | None = None,
        feet: npt.NDArray[np.bool_] | None = None,
        depths_m: Float | None = None,
        learn_floor: bool = False,
    ) -> Placed:
        """Places of poses (P, 17, 3), relative to the root, in the camera's axes, of people
        ``stature_m`` tall.

        ``sigma_m`` (P, 17), ``rays`` (P, 17, 2), ``confidence`` (P, 17) with 0 for unseen.
        ``feet`` (P, 17): which may be taken for feet on the ``floor`` (``stature.feet_seen``).
        ``depths_m`` (P, 17): ``depth_image.joint_depths``. ``learn_floor``: where neither floor
        nor depth is known, from these people.
        """
        root, covariance = solve_root(joints_m, sigma_m, rays, confidence)
        prior = (stature_sigma_m / stature_m) ** 2
        resized: list[int] = []
        if depths_m is not None:
            scale, _ = depth_image.measure(root, joints_m, depths_m)
            depths_m = self.depth_check.by_stature(depths_m, scale, stature_m)
            scale, variance = depth_image.measure(root, joints_m, depths_m)
            resized += self._statures.update(ids, scale, variance, prior, stamp_ns)[0]
        z_by_feet = z_variance = np.full(len(ids), np.nan)
        if learn_floor and floor is None and depths_m is None and feet is not None:
            floor = self._learned(Looks.of(ids, root, joints_m, feet), prior**0.5, stamp_ns)
        if floor is not None and feet is not None:
            self._shared_variance = (floor.height_sigma_m / floor.height_m) ** 2
            own = replace(floor, height_sigma_m=0.0)
            by_feet, floor_variance = by_floor(root, joints_m, sigma_m, rays, feet, own)
            new, believed = self._statures.update(ids, by_feet, floor_variance, prior, stamp_ns)
            resized += new
            z_by_feet = np.where(believed, by_feet * root[:, 2], np.nan)
            z_variance = floor_variance * root[:, 2] ** 2
        scale, variance = self._statures(ids, prior)
        root, joints_m = root * scale[:, None], joints_m * scale[:, None, None]
        covariance = covariance * scale[:, None, None] ** 2
        # Distance is proportional to stature, and so is its uncertainty.
        total = covariance + variance[:, None, None] * np.einsum("pa,pb->pab", root, root)
        root, total = refine(root, total, z_by_feet, z_variance)
        if depths_m is not None:
            root, total = refine(root, total, *depth_image.root_depths(root, joints_m, depths_m))
        total = total + self._shared(ids)[:, None, None] * np.einsum("pa,pb->pab", root, root)
        total = total + BODY_SIGMA_M**2 * np.eye(3)
        return Placed(root, covariance, total, joints_m, resized)

    def _learned(self, looks: Looks, stature_sigma: float, stamp_ns: int) -> Floor | None:
        """The floor after these looks; statures that the one before told follow its height."""
        before = self._learner.floor
        self._learner.update(looks, stature_sigma, stamp_ns)
        floor = self._learner.floor
        if before is not None and floor is not None and floor is not before:
            self._statures.rescale(floor.height_m / before.height_m)
        return floor
