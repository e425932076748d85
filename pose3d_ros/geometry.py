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

"""Rigid transforms, rotations and cameras that look at something.

A transform is a (4, 4) matrix named ``a_from_b``: it takes points given in frame b to frame a, in
metres, so that ``a_from_c = a_from_b @ b_from_c``. Frames are right-handed. All functions take
leading axes. Rotations are those of ``scipy.spatial.transform``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.spatial.transform import Rotation

Array = npt.NDArray[np.floating[Any]]
Z_UP = (0.0, 0.0, 1.0)  # the world (REP-103)
CAMERA_DOWN = (0.0, 1.0, 0.0)  # optical frames (REP-103)


def rigid(rotation: npt.ArrayLike, translation_m: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The transform (..., 4, 4) that rotates by (..., 3, 3) and then shifts by (..., 3)."""
    rotation, translation_m = np.asarray(rotation, float), np.asarray(translation_m, float)
    shape = np.broadcast_shapes(rotation.shape[:-2], translation_m.shape[:-1])
    a_from_b = np.zeros((*shape, 4, 4))
    a_from_b[..., :3, :3], a_from_b[..., :3, 3], a_from_b[..., 3, 3] = rotation, translation_m, 1
    return a_from_b


def camera_pose(rotation: npt.ArrayLike, position_m: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """``camera_from_world`` (..., 4, 4) of a camera at ``position_m`` (..., 3) in the world;
    ``rotation`` (..., 3, 3) has the camera's axes as its rows.
    """
    rotation = np.asarray(rotation, float)
    return rigid(rotation, -_times(rotation, np.asarray(position_m, float)))


def inverse_transform(a_from_b: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """``b_from_a`` (..., 4, 4) of a rigid transform."""
    a_from_b = np.asarray(a_from_b, float)
    return camera_pose(np.swapaxes(a_from_b[..., :3, :3], -1, -2), a_from_b[..., :3, 3])


def transform_points(a_from_b: Array, points_m: Array) -> Array:
    """Points (..., 3) of frame b in frame a, by one transform (4, 4); NaN stays NaN."""
    return np.asarray(points_m @ a_from_b[:3, :3].T + a_from_b[:3, 3])


def look_along(forward: Array, down: Sequence[float]) -> Array:
    """Rotations (..., 3, 3) into optical frames (x right, y down, z forward) whose z axis points
    along ``forward`` (..., 3), of any length, and whose x axis is perpendicular to ``down``.

    Result in ``forward``'s dtype; NaN where the two are parallel.
    """
    z = forward / np.linalg.norm(forward, axis=-1, keepdims=True)
    x = np.cross(np.asarray(down, z.dtype), z)
    x /= np.linalg.norm(x, axis=-1, keepdims=True)
    return np.stack([x, np.cross(z, x), z], -2)


def look_at(
    position_m: npt.ArrayLike,
    target_m: npt.ArrayLike,
    up: Sequence[float] = Z_UP,
    roll_rad: float = 0.0,
) -> npt.NDArray[np.float64]:
    """``camera_from_world`` (4, 4) of a camera at ``position_m`` (3,) whose optical axis goes
    through ``target_m`` (3,), turned about that axis by ``roll_rad``.
    """
    position_m = np.asarray(position_m, float)
    rotation = look_along(np.asarray(target_m, float) - position_m, [-value for value in up])
    roll = Rotation.from_euler("z", -roll_rad).as_matrix()
    return camera_pose(roll @ rotation if roll_rad else rotation, position_m)


def rotation_from_vector(rotation_vector: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(3, 3) of an axis times the angle in radians, of any shape with three numbers (OpenCV's
    ``rvec``).
    """
    return np.asarray(Rotation.from_rotvec(np.ravel(rotation_vector)).as_matrix())


def rotation_from_quaternion(xyzw: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """(3, 3) of a quaternion (4,) in ROS' order, which need not have unit length.

    Raises ``ValueError`` when its length is zero.
    """
    return np.asarray(Rotation.from_quat(np.asarray(xyzw, float)).as_matrix())


def quaternion_from_rotation(rotation: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Unit quaternion x, y, z, w (4,) with w >= 0 of a rotation (3, 3), the nearest one if it is
    not quite orthonormal.
    """
    xyzw = np.asarray(Rotation.from_matrix(np.asarray(rotation, float)).as_quat())
    return xyzw if xyzw[3] >= 0 else -xyzw


def _times(matrices: Array, vectors: Array) -> Array:
    return (matrices @ vectors[..., None])[..., 0]
