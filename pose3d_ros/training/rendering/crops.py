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

"""Crops of the embedded detector around people that it follows, from their true joints."""

from __future__ import annotations

import numpy as np

from pose3d_ros.detection import regions
from pose3d_ros.detection.blazepose.landmarks import REGION_SCALE
from pose3d_ros.skeleton import H36M17

_PELVIS, _THORAX = H36M17.indices("pelvis", "thorax")
# What the detector's regions are of people that it follows, against the true joints
# (``difference``): median and standard deviations of 197 frames of 40 clips of random renders of
# 640x480, through the whole detector. The circle reaches a little beyond the farthest joint;
# somebody is always seen a little too large or turned (BETWEEN clips), and that trembles (WITHIN).
# Sideways the centre goes with the angle: both are of the hips.
REACH = 1.085
BETWEEN = np.array([0.0055, 0.0153, 0.09, 0.085])
WITHIN = np.array([0.0046, 0.0053, 0.025, 0.028])
SIDEWAYS = -0.177  # of the angle
OUTSIDE = 0.3  # of the picture


def around(joints_px: np.ndarray) -> np.ndarray:
    """Regions (N, 4) around people (N, 17, 2): centre at the pelvis, the trunk upright, a circle
    about all joints.
    """
    pelvis = joints_px[:, _PELVIS]
    up = joints_px[:, _THORAX] - pelvis
    radius = REACH * np.linalg.norm(joints_px - pelvis[:, None], axis=-1).max(1)
    top = pelvis + up / np.maximum(np.linalg.norm(up, axis=1), 1e-6)[:, None] * radius[:, None]
    return regions.from_alignment(pelvis, top, REGION_SCALE)


def difference(found: np.ndarray, true: np.ndarray) -> np.ndarray:
    """(N, 4) how regions differ: centre in sides along the true region's axes, logarithm of side,
    angle.
    """
    offset = (found[:, :2] - true[:, :2]) / true[:, 2:3]
    cos, sin = np.cos(true[:, 3]), np.sin(true[:, 3])
    turn = (found[:, 3] - true[:, 3] + np.pi) % (2 * np.pi) - np.pi
    return np.column_stack(
        [
            cos * offset[:, 0] + sin * offset[:, 1],
            cos * offset[:, 1] - sin * offset[:, 0],
            np.log(found[:, 2] / true[:, 2]),
            turn,
        ]
    )


def changed(true: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Regions (N, 4) that differ from ``true`` as ``difference`` says."""
    cos, sin, side = np.cos(true[:, 3]), np.sin(true[:, 3]), true[:, 2]
    return np.column_stack(
        [
            true[:, 0] + side * (cos * by[:, 0] - sin * by[:, 1]),
            true[:, 1] + side * (sin * by[:, 0] + cos * by[:, 1]),
            side * np.exp(by[:, 2]),
            true[:, 3] + by[:, 3],
        ]
    )


def followed(rng: np.random.Generator, before_px: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Regions (N, 4) as tracking gives them, of somebody whose joints were ``before_px`` (N, 17,
    2) a frame before.

    What is far outside a picture of ``size`` the detector guesses to be near its edge.
    """
    true = around(np.clip(before_px, -OUTSIDE * np.array(size), (1 + OUTSIDE) * np.array(size)))
    by = BETWEEN * rng.standard_normal(4) + WITHIN * rng.standard_normal((len(true), 4))
    by[:, 0] += SIDEWAYS * by[:, 3]
    return changed(true, by)
