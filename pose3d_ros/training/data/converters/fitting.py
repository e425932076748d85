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

"""Cameras from what they have seen, for datasets that give joints in both but no usable
calibration.
"""

from __future__ import annotations

import cv2
import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import rigid, rotation_from_vector

MOST_POINTS = 2000
LARGEST_ERROR_PX = 2.0


def fit_camera(points_m: np.ndarray, pixels: np.ndarray, size: tuple[int, int]) -> Camera:
    """Intrinsics, distortion (k1, k2, p1, p2) and pose from world points (N, 3) and their pixels
    (N, 2).

    Raises ``ValueError`` where no camera explains them.
    """
    known = np.flatnonzero(np.isfinite(points_m).all(1) & np.isfinite(pixels).all(1))
    chosen = known[np.linspace(0, len(known) - 1, min(len(known), MOST_POINTS)).astype(int)]
    _expect_points(len(chosen))
    width, height = size
    guess = np.array([[width, 0, (width - 1) / 2], [0, width, (height - 1) / 2], [0, 0, 1.0]])
    _, matrix, distortion, (turn,), (shift,) = cv2.calibrateCamera(
        [points_m[chosen].astype(np.float32)],
        [pixels[chosen].astype(np.float32)],
        size,
        guess,
        np.zeros(5),
        flags=cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_K3,
    )
    pose = rigid(rotation_from_vector(turn), shift[:, 0])
    camera = Camera(
        np.asarray(matrix, float), size, np.asarray(distortion, float), camera_from_world=pose
    )
    return _checked(camera, points_m[chosen], pixels[chosen])


def fit_intrinsics(
    points_camera_m: np.ndarray, pixels: np.ndarray, size: tuple[int, int]
) -> Camera:
    """Intrinsics without distortion from points (N, 3) in the camera's frame and their pixels (N,
    2).

    Raises ``ValueError`` where no camera explains them.
    """
    known = np.isfinite(points_camera_m).all(1) & np.isfinite(pixels).all(1)
    points, pixels = points_camera_m[known], pixels[known]
    _expect_points(len(points))
    matrix = np.eye(3)
    for axis in range(2):
        ray = points[:, axis] / points[:, 2]
        matrix[axis, axis], matrix[axis, 2] = np.linalg.lstsq(
            np.stack([ray, np.ones_like(ray)], 1), pixels[:, axis], rcond=None
        )[0]
    return _checked(Camera(matrix, size), points, pixels)


def _expect_points(count: int) -> None:
    if count < 30:
        raise ValueError(
            f"expected at least 30 joints with both positions and pixels to find the camera, got "
            f"{count}"
        )


def _checked(camera: Camera, points_m: np.ndarray, pixels: np.ndarray) -> Camera:
    error = float(np.median(np.linalg.norm(camera.project(points_m) - pixels, axis=-1)))
    if not error < LARGEST_ERROR_PX:
        raise ValueError(
            f"expected joints that project to their pixels within {LARGEST_ERROR_PX:g} px, got a "
            f"median "
            f"of {error:.1f} px with the best camera: positions and pixels do not belong together"
        )
    return camera
