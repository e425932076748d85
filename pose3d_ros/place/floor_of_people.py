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

"""The floor as people who stand on it tell: for views of a recording, not yet for their place."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.place.floor import Floor
from pose3d_ros.place.stature import SOLE_SHARE, leg_lengths, reaches_down
from pose3d_ros.skeleton import H36M17

LEAST_POSES = 20
UPRIGHT = np.cos(np.radians(25))  # of a trunk, beside what most people say
ROUNDS = 5

_ANKLES = H36M17.indices("l_ankle", "r_ankle")
_PELVIS, _THORAX = H36M17.indices("pelvis", "thorax")


def floor_of_people(joints_m: npt.NDArray[np.floating[Any]]) -> Floor | None:
    """The floor below poses (N, 17, 3) in a camera's axes, of any people at any time; None of
    fewer than ``LEAST_POSES`` who stand with straight legs.

    Up is where their trunks point, by the median, those aside: single ones lean, and lifted poses
    do too. The camera's height is the median of the lower feet. It is as wrong as the statures
    that were assumed.
    """
    poses = np.asarray(joints_m[np.isfinite(joints_m).all((1, 2))], float)
    trunk = poses[:, _THORAX] - poses[:, _PELVIS]
    trunk /= np.maximum(np.linalg.norm(trunk, axis=1, keepdims=True), 1e-9)
    straight = reaches_down(poses, trunk)
    poses, trunk = poses[straight], trunk[straight]
    if len(poses) < LEAST_POSES:
        return None
    up = np.median(trunk, axis=0)
    for _ in range(ROUNDS):
        up /= np.linalg.norm(up)
        near = trunk @ up > UPRIGHT
        if near.sum() < LEAST_POSES:
            return None
        up = np.median(trunk[near], axis=0)
    up /= np.linalg.norm(up)
    soles = -(poses[near][:, _ANKLES] @ up).min(1) + SOLE_SHARE * leg_lengths(poses[near]).max(1)
    return Floor(up, float(np.median(soles)))
