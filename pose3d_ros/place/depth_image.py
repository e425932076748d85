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

"""What depth images tell of people's size and place."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.skeleton import H36M17

_log = logging.getLogger(__name__)
Float = npt.NDArray[np.floating[Any]]

# A depth image shows the skin; the joint lies about this far behind it (m), give or take
# DEPTH_SIGMA_M.
_SKIN_M = np.full(len(H36M17), 0.05)
_SKIN_M[H36M17.indices("pelvis", "spine", "thorax", "l_hip", "r_hip", "head", "neck")] = 0.10
DEPTH_SIGMA_M = 0.04
SIZE_SIGMA = 0.04  # share by which a lifted body is too large or small, which lasts
MIN_JOINTS = 3
# what differs more from the assumed size than anybody's stature is something in front or behind
OUTLIER_SHARE = 0.2
STATURE_RANGE_M = 0.5, 2.5  # of anybody who can be told by depth
FARTHEST_M = 50.0  # that depth cameras tell anything
PATIENCE = 5  # images in a row before a wrong unit is said


def joint_depths(
    keypoints_px: Float, confidence: Float, depth_m: Float, depth_scale: float = 1.0
) -> Float:
    """Depth (P, 17) in metres of joint centres by a depth image (H, W) of ``depth_scale`` metres,
    registered to the camera's image.

    Depth at the keypoint (P, 17, 2), and the flesh before the joint. NaN where
    nothing is known: 0, NaN and inf in the image (REP-118), keypoints outside or without
    confidence (P, 17).
    """
    height, width = depth_m.shape
    columns, lines = np.moveaxis(np.nan_to_num(keypoints_px, nan=-1).round().astype(int), -1, 0)
    inside = (
        (columns >= 0) & (columns < width) & (lines >= 0) & (lines < height) & (confidence > 0)
    )
    depths = np.where(
        inside, depth_m[np.where(inside, lines, 0), np.where(inside, columns, 0)], np.nan
    ).astype(float)
    known = np.isfinite(depths) & (depths > 0)
    return np.where(known, depths * depth_scale + _SKIN_M, np.nan)


def measure(root_m: Float, joints_m: Float, depths_m: Float) -> tuple[Float, Float]:
    """Ratio (P,) of people's size to the assumed one, with the variance (P,), by
    ``joint_depths`` (P, 17).

    A person on given rays who is twice as far away is twice as large. ``root_m`` (P, 3) and
    ``joints_m`` (P, 17, 3), relative to the root, are those of the assumed stature. NaN for people
    with fewer than three measured joints.
    """
    scale, variance = np.full(len(root_m), np.nan), np.full(len(root_m), np.nan)
    for person, ratios in enumerate(depths_m / (root_m[:, None, 2] + joints_m[..., 2])):
        known = ratios[np.isfinite(ratios)]
        outlier = OUTLIER_SHARE * float(np.median(known)) if len(known) else 0.0
        scale[person], variance[person] = _median(
            known, DEPTH_SIGMA_M / root_m[person, 2], outlier
        )
    return scale, variance + SIZE_SIGMA**2


def root_depths(root_m: Float, joints_m: Float, depths_m: Float) -> tuple[Float, Float]:
    """Distance (P,) of roots along the optical axis, with the variance (P,), by this frame's
    ``joint_depths`` (P, 17); NaN where too few are known.

    Each joint says where the root is; their median counts.
    """
    z, variance = np.full(len(root_m), np.nan), np.full(len(root_m), np.nan)
    for person, roots_z in enumerate(depths_m - joints_m[..., 2]):
        z[person], variance[person] = _median(
            roots_z, DEPTH_SIGMA_M, OUTLIER_SHARE * root_m[person, 2]
        )
    return z, variance


def _median(values: Float, sigma: float, outlier: float) -> tuple[float, float]:
    """Median of the values that are not farther than ``outlier`` from it, and its variance; NaN of
    too few.
    """
    values = values[np.isfinite(values)]
    if len(values):
        values = values[np.abs(values - np.median(values)) < outlier]
    if len(values) < MIN_JOINTS:
        return np.nan, np.nan
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    return median, spread**2 / len(values) + sigma**2


class DepthCheck:
    """Refuses depth in a wrong unit: nobody is 27 m tall, and no depth camera sees 4000 m.

    Says so in the log once, when it has lasted ``PATIENCE`` images.
    """

    def __init__(self) -> None:
        self._refused = 0
        self._warned = False

    def by_stature(self, depths_m: Float, scale: Float, person_height_m: float) -> Float:
        """Depths (P, 17) without those of people whose ``measure`` (P,) is unknown or would make
        them shorter or taller than ``STATURE_RANGE_M``.
        """
        statures = scale * person_height_m
        low, high = STATURE_RANGE_M
        wrong = (statures < low) | (statures > high)
        self._count(wrong, ~wrong & np.isfinite(scale))
        if wrong.any() and self._due():
            stature = float(np.median(statures[wrong]))
            _log.warning(
                "depth not used: it would make a person %.3g m tall, expected %g to %g m; the "
                "assumed height of %g m tells the distance instead; if the unit of depth is not "
                "that of REP-118 (16UC1 in mm, 32FC1 in m), set depth_scale, to about %.2g times "
                "what it is",
                *(stature, low, high, person_height_m, person_height_m / stature),
            )
        return np.where((wrong | np.isnan(scale))[:, None], np.nan, depths_m)

    def by_range(self, depths_m: Float) -> Float:
        """Depths (P, 17) without those beyond ``FARTHEST_M``."""
        wrong = depths_m > FARTHEST_M
        self._count(wrong, ~wrong & np.isfinite(depths_m))
        if wrong.any() and self._due():
            _log.warning(
                "depth not used: people would be %.3g m away, expected at most %g m; if the unit "
                "of depth is not that of REP-118 (16UC1 in mm, 32FC1 in m), set depth_scale",
                *(float(np.median(depths_m[wrong])), FARTHEST_M),
            )
        return np.where(wrong, np.nan, depths_m)

    def _count(self, wrong: npt.NDArray[np.bool_], right: npt.NDArray[np.bool_]) -> None:
        if right.any():
            self._refused = 0
        elif wrong.any():
            self._refused += 1

    def _due(self) -> bool:
        due = self._refused >= PATIENCE and not self._warned
        self._warned |= due
        return due
