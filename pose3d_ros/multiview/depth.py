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

"""Depth of joints that one camera measures: from a depth image or a monocular lifter."""

from __future__ import annotations

import numpy as np

from pose3d_ros.multiview.association import MIN_JOINTS
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import OUTLIER_SIGMAS, inverse_symmetric

# Depths of joints relative to each other are known this well; what sigma has beyond is common.
SHAPE_SIGMA_M = 0.10


def correct_by_depth(
    rig: Rig,
    mean: np.ndarray,
    covariance: np.ndarray,
    expected: np.ndarray,
    depth: np.ndarray,
    sigma: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Predicted joints (T, J, 3) with covariance (T, J, 3, 3) corrected by ``depth`` (T, C, J) in
    metres with one standard deviation ``sigma``, inf where unknown.

    Returns mean and covariance, the depths (T, C, J) that agree with them, and the joints (T, J)
    that a depth image shows.

    A Kalman update along the optical axis that takes a joint's variance to that of the measurement
    and no further: a depth's error, be it of an assumed stature or of the flesh before the joint,
    is the same from frame to frame and does not average out.
    """
    agree = np.zeros(sigma.shape, bool)
    for c in np.flatnonzero(np.isfinite(sigma).any((0, 2))):
        axis = rig.rotation[c, 2]
        along = covariance @ axis
        variance = along @ axis
        distance = mean @ axis + rig.translation[c, 2]
        measured, noise = _correct_common_scale(
            depth[:, c], sigma[:, c], distance, variance, expected
        )
        away = measured - distance
        agree[:, c] = expected & (away**2 < OUTLIER_SIGMAS**2 * (variance + noise))
        gain = (
            along
            * np.where(agree[:, c] & (variance > noise), (variance - noise) / variance**2, 0)[
                ..., None
            ]
        )
        mean = mean + gain * np.where(agree[:, c], away, 0)[..., None]
        covariance = covariance - gain[..., None] * along[..., None, :]
    return mean, covariance, agree, np.asarray((agree & (sigma <= SHAPE_SIGMA_M)).any(1))


def _correct_common_scale(
    depth: np.ndarray,
    sigma: np.ndarray,
    distance: np.ndarray,
    variance: np.ndarray,
    expected: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Depth (T, J) and its variance after the error that is common to all joints of a person is
    estimated from those known better.

    A lifter that takes a person for taller than they are puts every joint too far away, in the
    same proportion.
    """
    known = np.isfinite(sigma)
    depth = np.where(known, depth, 1.0)
    own = np.minimum(sigma, SHAPE_SIGMA_M) ** 2
    common = np.where(known, (sigma**2 - own) / depth**2, 0).sum(1) / np.maximum(known.sum(1), 1)
    reference = known & expected & (variance < own)
    weight = np.where(reference, depth**2 / (variance + own), 0)
    information = weight.sum(1) + 1 / np.maximum(common, 1e-12)
    scale = 1 + (weight * (distance / depth - 1)).sum(1) / information
    return np.where(known, depth * scale[:, None], np.nan), np.where(
        known, own + depth**2 / information[:, None], np.inf
    )


def contradicted_by_depth(
    rig: Rig, mean: np.ndarray, measured: np.ndarray, depth: np.ndarray, sigma: np.ndarray
) -> np.ndarray:
    """Mask (T,) of people whose ``measured`` (T, J) joints ``mean`` (T, J, 3) are nearer or
    further away than two cameras or more know them to be, and no camera agrees.

    Rays to two different people that happen to meet, as those of two cameras at one height do,
    meet where neither of them is. ``depth`` and ``sigma`` (T, C, J) are those of
    ``correct_by_depth``.
    """
    known = np.isfinite(sigma) & measured[:, None]
    distance = np.moveaxis(mean @ rig.rotation[:, 2].T + rig.translation[:, 2], -1, 1)
    away = np.where(known, np.abs(depth - distance) / np.where(known, sigma, 1), np.nan)
    tells = known.sum(-1) >= MIN_JOINTS
    far = np.nanmedian(np.where(tells[..., None], away, 0), axis=-1) > OUTLIER_SIGMAS
    return np.asarray((far | ~tells).all(1) & (tells.sum(1) >= 2))


def locate(
    rig: Rig,
    points: np.ndarray,
    precision: np.ndarray,
    view: np.ndarray,
    depth: np.ndarray,
    sigma: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (N, J, 3) with covariance (N, J, 3, 3) of people seen by one camera with depth, and
    a mask (N, J) of those known.

    ``points`` (N, J, 2) in undistorted pixels with ``precision`` (N, J) in 1/px^2 that camera
    ``view`` (N,) saw.
    """
    known = np.isfinite(sigma) & (depth > NEAR_M) & (precision > 0)
    depth, sigma = np.where(known, depth, 1.0), np.where(known, sigma, 1.0)
    axis = rig.rotation[view, 2][:, None]
    rays = rig.directions(points, view)
    mean = rig.position_m[view][:, None] + rays * (depth / (rays * axis).sum(-1))[..., None]
    across = rig.focal_px[view, None, None, None] * rig.rotation[view, None, :2]
    derivative = (across - points[..., None] * axis[..., None, :]) / depth[..., None, None]
    information = (
        derivative.swapaxes(-1, -2) @ derivative * np.where(known, precision, 1.0)[..., None, None]
    )
    information += axis[..., None] * axis[..., None, :] / (sigma**2)[..., None, None]
    return mean, inverse_symmetric(information), known
