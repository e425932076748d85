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

"""Which way people face: axes of their body (REP-155), yaw of pelvis and shoulders."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.skeleton import Skeleton

LEAST_M = 0.02  # shorter, a direction between two joints is noise


def body_rotation(
    joints_m: npt.NDArray[np.float32],
    skeleton: Skeleton,
    up: Sequence[float],
    sides: tuple[str, str] = ("hip", "shoulder"),
) -> npt.NDArray[np.float64]:
    """(3, 3) rotation whose columns are a person's forward, left and up axes, in the frame of
    ``joints_m`` (J, 3), where NaN is unknown.

    Up runs from the pelvis to the thorax or the neck, or else along ``up``; left from the right
    one of the first of ``sides`` to the left one, or else of the second. Without either the person
    faces any way.
    """
    known = dict(zip(skeleton.joints, np.asarray(joints_m, float), strict=True))

    def along(start: str, end: str) -> npt.NDArray[np.float64] | None:
        if start not in known or end not in known:
            return None
        direction = known[end] - known[start]
        length = float(np.linalg.norm(direction))
        return direction / length if length > LEAST_M else None  # NaN is not longer

    trunk = (along("pelvis", "thorax"), along("pelvis", "neck"), np.asarray(up, float))
    z = next(axis for axis in trunk if axis is not None)
    lefts = [along(f"r_{joint}", f"l_{joint}") for joint in sides]
    for side in (*lefts, *np.eye(3)[np.abs(z).argsort()]):
        if side is not None and np.linalg.norm(y := side - (side @ z) * z) > 0.1:
            break
    y /= np.linalg.norm(y)
    return np.stack([np.cross(y, z), y, z], 1)


def yaws_rad(
    joints_m: npt.NDArray[np.floating[Any]], skeleton: Skeleton
) -> npt.NDArray[np.float64]:
    """Yaw (P, 2) of people's pelvis and shoulders about z, which is up, from the x axis of the
    frame of ``joints_m`` (P, J, 3): 0 for who faces along x, positive to the left (REP-103), NaN
    where a side is unknown or one is above the other.
    """
    ends = [skeleton.indices(f"r_{joint}", f"l_{joint}") for joint in ("hip", "shoulder")]
    right, left = np.moveaxis(np.asarray(joints_m, float)[:, ends], 2, 0)
    across = (left - right)[..., :2]
    level = np.linalg.norm(across, axis=-1) > LEAST_M
    return np.where(level, np.arctan2(-across[..., 0], across[..., 1]), np.nan)
