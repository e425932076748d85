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

"""Two cameras whose rays of one point meet (Hartley and Zisserman, Multiple View Geometry,
chapter 9.6).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import inverse_transform

MIN_JOINTS = 5  # that two 2D poses share, to be compared


class CameraPair(NamedTuple):
    """Indices of cameras a and b, and their essential matrix: x_b' E x_a = 0 for rays of one
    point.
    """

    a: int
    b: int
    essential: np.ndarray

    @classmethod
    def of(cls, cameras: list[Camera], a: int, b: int) -> CameraPair:
        """Of two cameras with poses."""
        b_from_a = cameras[b].camera_from_world @ inverse_transform(cameras[a].camera_from_world)
        x, y, z = b_from_a[:3, 3] / max(float(np.linalg.norm(b_from_a[:3, 3])), 1e-9)
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return cls(a, b, cross @ b_from_a[:3, :3])

    def distance(self, rays_a: np.ndarray, rays_b: np.ndarray) -> np.ndarray:
        """Signed Sampson distance (...) of rays (..., 2) from meeting, in radians near the
        axis.
        """
        on_b = rays_a @ self.essential[:, :2].T + self.essential[:, 2]
        on_a = rays_b @ self.essential[:2, :2] + self.essential[2, :2]
        error = (on_b[..., :2] * rays_b).sum(-1) + on_b[..., 2]
        return np.asarray(
            error / np.sqrt((on_b[..., :2] ** 2).sum(-1) + (on_a**2).sum(-1) + 1e-12)
        )

    def mean_distance(self, rays_a: np.ndarray, rays_b: np.ndarray) -> np.ndarray:
        """Mean distance (...) of the joints of people (..., J, 2), NaN where unknown; infinite
        where they share fewer than ``MIN_JOINTS``.
        """
        apart = np.abs(self.distance(rays_a, rays_b))
        shared = np.isfinite(apart)
        count = shared.sum(-1)
        mean = np.where(shared, apart, 0).sum(-1) / np.maximum(count, 1)
        return np.where(count >= MIN_JOINTS, mean, np.inf)
