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

"""The floor that people stand on, as a camera sees it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pose3d_ros.arrays import EqualByValue, read_only
from pose3d_ros.geometry import rigid

Float = npt.NDArray[np.float64]
TILT_SIGMA_RAD = math.radians(0.5)  # of a camera whose tilt was measured or comes from TF
HEIGHT_SIGMA_M = 0.01
STEEP = 0.1  # a view whose level part is shorter than this looks straight up or down


@dataclass(frozen=True, eq=False)
class Floor(EqualByValue):
    """A level plane below a camera.

    ``up`` (3,) is the unit vector against gravity in the camera's optical axes, ``height_m`` the
    height of the camera above the plane; ``tilt_sigma_rad`` and ``height_sigma_m`` are one
    standard deviation of each. Raises ``ValueError`` for a vector without direction.
    """

    up: Float
    height_m: float
    tilt_sigma_rad: float = TILT_SIGMA_RAD
    height_sigma_m: float = HEIGHT_SIGMA_M

    def __post_init__(self) -> None:
        up = np.asarray(self.up, float)
        length = float(np.linalg.norm(up))
        if up.shape != (3,) or not 1e-6 < length < np.inf or not math.isfinite(self.height_m):
            raise ValueError(
                f"floor: expected a direction up and a height, got {up.tolist()} and "
                f"{self.height_m}"
            )
        object.__setattr__(self, "up", read_only(up / length))

    @classmethod
    def from_tilt(cls, height_m: float, pitch_rad: float = 0.0, roll_rad: float = 0.0) -> Floor:
        """Below a camera that looks down by ``pitch_rad``, in whose picture the world's up leans
        to the right by ``roll_rad``.
        """
        level = math.cos(pitch_rad)
        up = [level * math.sin(roll_rad), -level * math.cos(roll_rad), -math.sin(pitch_rad)]
        return cls(np.array(up), height_m)

    @classmethod
    def from_pose(cls, camera_from_floor: Float) -> Floor:
        """The plane z = 0 of a frame with z up, whose transform (4, 4) to the camera is given."""
        up = camera_from_floor[:3, 2]
        return cls(up, float(-camera_from_floor[:3, 3] @ up))

    @property
    def camera_from_level(self) -> Float:
        """(4, 4) from the level frame below the camera: its origin on the floor, x forward, y
        left, z up (REP-103).

        Forward is where the camera looks, or, of one that looks straight up or down, where the
        top or the bottom of its picture is.
        """
        for axis in ([0.0, 0.0, 1.0], [0.0, math.copysign(1.0, self.up[2]), 0.0]):
            forward = np.array(axis) - (self.up @ axis) * self.up
            if np.linalg.norm(forward) > STEEP:
                break
        forward /= np.linalg.norm(forward)
        rotation = np.stack([forward, np.cross(self.up, forward), self.up], 1)
        return rigid(rotation, -self.height_m * self.up)

    @property
    def upright_from_camera(self) -> Float:
        """(3, 3) rotation to the optical axes of a level camera at the same place, which looks
        where this one does: x right, y down, z forward.
        """
        forward, left, up = self.camera_from_level[:3, :3].T
        return np.stack([-left, -up, forward])

    def heights(self, points_m: npt.NDArray[np.floating]) -> Float:
        """Heights (...) above the floor of points (..., 3) in the camera's frame."""
        return np.asarray(points_m @ self.up + self.height_m)
