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

"""Place of a lifted pose: the pelvis in the camera frame, from rays and a known stature."""

from __future__ import annotations

import numpy as np

from pose3d_ros.arrays import median

KEYPOINT_SIGMA_M = 0.03  # a keypoint's error across the ray, at the person
HUBER_SIGMAS = 2.0
GAUSS_NEWTON_STEPS = 4
MIN_JOINTS = 4


def solve_root(
    joints_m: np.ndarray, sigma_m: np.ndarray, rays: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pelvis positions (P, 3) in metres with covariance (P, 3, 3) that put root-relative poses
    onto their rays.

    ``joints_m`` (P, 17, 3) in camera axes, ``sigma_m`` (P, 17), ``rays`` (P, 17, 2),
    ``confidence`` (P, 17) with 0 for unseen. Weighted least squares on the reprojection
    (Gauss-Newton), reweighted with Huber's loss so that a wrong keypoint does not move the person.
    NaN where fewer than four joints are seen or the person would stand behind the camera.
    """
    weight = np.where(
        np.isfinite(rays).all(-1) & np.isfinite(joints_m).all(-1), confidence, 0
    ).astype(float)
    seen = weight > 0
    bad = seen.sum(-1) < MIN_JOINTS
    seen = seen | bad[:, None]  # keeps the medians below defined; the result is thrown away
    joints, rays = np.nan_to_num(joints_m).astype(float), np.nan_to_num(rays).astype(float)
    variance_m2 = KEYPOINT_SIGMA_M**2 + sigma_m.astype(float) ** 2
    root = _initial_root(joints, rays, seen)
    covariance = np.zeros((len(joints), 3, 3))
    for _ in range(GAUSS_NEWTON_STEPS):
        point = joints + root[:, None]
        depth = np.maximum(point[..., 2], 0.1)
        residual = rays - point[..., :2] / depth[..., None]
        jacobian = np.zeros((*weight.shape, 2, 3))
        jacobian[..., 0, 0] = jacobian[..., 1, 1] = 1 / depth
        jacobian[..., 2] = -point[..., :2] / depth[..., None] ** 2
        precision = depth**2 / variance_m2  # of a ray
        far = np.linalg.norm(residual, axis=-1) * np.sqrt(precision)
        w = weight * precision * HUBER_SIGMAS / np.maximum(far, HUBER_SIGMAS)
        rows = jacobian.reshape(len(joints), 2 * weight.shape[1], 3)
        weighted = np.swapaxes(rows * np.repeat(w, 2, axis=1)[..., None], 1, 2)
        covariance = np.linalg.inv(weighted @ rows + 1e-9 * np.eye(3))
        root = root + (covariance @ (weighted @ residual.reshape(*rows.shape[:2], 1)))[..., 0]
        root[:, 2] = np.maximum(root[:, 2], 0.1)
    bad |= root[:, 2] <= 0.2
    root[bad], covariance[bad] = np.nan, np.nan
    return root, covariance


def refine(
    root_m: np.ndarray, covariance: np.ndarray, z_m: np.ndarray, variance: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Roots (P, 3) and covariance (P, 3, 3) corrected by a measurement of their distance along
    the optical axis, ``z_m`` (P,) with ``variance`` (P,); NaN changes nothing.

    A Kalman update of z, which moves a person along the line of sight.
    """
    told = np.isfinite(z_m)
    spread = np.where(told, covariance[:, 2, 2] + variance, 1.0)
    gain = np.where(told[:, None], covariance[:, :, 2] / spread[:, None], 0.0)
    root = root_m + gain * np.where(told, z_m - root_m[:, 2], 0.0)[:, None]
    return root, covariance - gain[:, :, None] * covariance[:, None, 2]


def _initial_root(joints: np.ndarray, rays: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """A place (P, 3) that up to half of the joints cannot spoil: medians of position and of
    size.
    """
    plane = joints[..., :2]
    plane_middle, ray_middle = median(plane, seen), median(rays, seen)
    spread_m, spread = (
        median(np.linalg.norm(points - middle[:, None], axis=-1, keepdims=True), seen)
        for points, middle in ((plane, plane_middle), (rays, ray_middle))
    )
    depth = np.clip(spread_m / np.maximum(spread, 1e-4), 0.3, 50)
    return np.concatenate([ray_middle * depth - plane_middle, depth], 1)
