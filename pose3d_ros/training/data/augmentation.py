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

"""Bodies and poses varied: other proportions, legs and trunks recombined, limbs moved, leaning and
falling.

Poses are (..., 17, 3) in metres, H36M17, with z up.
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pose3d_ros.lifting.lifter import CANONICAL_HEIGHT_M
from pose3d_ros.skeleton import H36M17

# Parent of each joint of H36M17, parents before children in this order.
_TREE = (
    ("r_hip", "pelvis"),
    ("r_knee", "r_hip"),
    ("r_ankle", "r_knee"),
    ("l_hip", "pelvis"),
    ("l_knee", "l_hip"),
    ("l_ankle", "l_knee"),
    ("spine", "pelvis"),
    ("thorax", "spine"),
    ("neck", "thorax"),
    ("head", "neck"),
    ("l_shoulder", "thorax"),
    ("l_elbow", "l_shoulder"),
    ("l_wrist", "l_elbow"),
    ("r_shoulder", "thorax"),
    ("r_elbow", "r_shoulder"),
    ("r_wrist", "r_elbow"),
)
_CHILDREN = [H36M17.index(child) for child, _ in _TREE]
_PARENTS = [H36M17.index(parent) for _, parent in _TREE]
# Bones of equal length on both sides share a factor.
_KINDS, _KIND = np.unique(
    [child.removeprefix("l_").removeprefix("r_") for child, _ in _TREE], return_inverse=True
)
KINDS_OF_BONE = len(_KINDS)
_STATURE = H36M17.indices("r_ankle", "r_knee", "r_hip", "spine", "thorax", "neck", "head")
_LIMB_CHAINS = tuple(
    H36M17.indices(*(f"{side}_{name}" for name in chain))
    for side in "lr"
    for chain in (("hip", "knee", "ankle"), ("shoulder", "elbow", "wrist"))
)
_UPPER = np.zeros(len(H36M17), bool)
_UPPER[
    H36M17.indices(
        "spine",
        "thorax",
        "neck",
        "head",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
        "r_shoulder",
        "r_elbow",
        "r_wrist",
    )
] = True
_ANKLE_AND_CROWN_M = 0.18  # from the sole to the ankle joint, and from the head joint to the crown

# Limb lengths as parts of the stature, between joint centres (de Leva 1996, mean of women and
# men). The motion capture skeletons end the forearm 6 cm before the wrist.
_LIMB_OF_STATURE = {"elbow": 0.160, "wrist": 0.153, "knee": 0.235, "ankle": 0.249}

_CHILD = {"knee": -0.08, "ankle": -0.08, "neck": 0.5, "head": 0.5}


def stature(joints_m: np.ndarray) -> np.ndarray:
    """Standing height (...,) of poses (..., 17, 3): the length of the chain from sole to crown,
    posture apart.
    """
    chain = joints_m[..., _STATURE, :]
    steps = np.linalg.norm(np.diff(chain, axis=-2), axis=-1)
    pelvis_to_spine = np.linalg.norm(
        joints_m[..., H36M17.index("spine"), :] - joints_m[..., 0, :], axis=-1
    )
    # The hip is beside the spine's foot: the pelvis, level with it, takes its place in the chain.
    return np.asarray(steps.sum(-1) - steps[..., 2] + pelvis_to_spine + _ANKLE_AND_CROWN_M)


def scale_of_person(joints_m: np.ndarray) -> float:
    """Factor that gives a person, whose poses (T, 17, 3) are partly NaN, the canonical stature.

    By the stature of the complete poses, and if there is none by the limbs' lengths, as usual
    parts of the stature; NaN if no limb is known either.
    """
    complete = np.isfinite(joints_m).all((1, 2))
    if complete.any():
        return float(canonical_scale(stature(joints_m[complete]).mean()))
    bones = [
        (child, parent, part)
        for child, parent in _TREE
        for kind, part in _LIMB_OF_STATURE.items()
        if child[2:] == kind
    ]
    lengths = np.array(
        [
            _median(
                np.linalg.norm(
                    joints_m[:, H36M17.index(child)] - joints_m[:, H36M17.index(parent)], axis=-1
                )
            )
            for child, parent, _ in bones
        ]
    )
    known = np.isfinite(lengths)
    parts = np.array([part for *_, part in bones])
    return (
        float(CANONICAL_HEIGHT_M * parts[known].sum() / lengths[known].sum())
        if known.any()
        else np.nan
    )


def _median(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.nan


def canonical_scale(stature_m: np.ndarray) -> np.ndarray:
    """Factor (...,) that gives bodies of a standing height the canonical one; sole and crown do
    not scale.
    """
    return (CANONICAL_HEIGHT_M - _ANKLE_AND_CROWN_M) / (stature_m - _ANKLE_AND_CROWN_M)


def change_body(joints_m: np.ndarray, variation: np.ndarray) -> np.ndarray:
    """Poses (B, T, 17, 3) with limbs of average length and all bones multiplied by ``variation``
    (B, kinds of bone), at the canonical stature.
    """
    bones = joints_m[:, :, _CHILDREN] - joints_m[:, :, _PARENTS]
    lengths = np.linalg.norm(bones, axis=-1).mean(1)
    factors = variation[:, _KIND]
    for kind, part in _LIMB_OF_STATURE.items():
        limb = _KINDS[_KIND] == kind
        factors[:, limb] *= part * CANONICAL_HEIGHT_M / np.maximum(lengths[:, limb], 1e-3)
    bones *= factors[:, None, :, None]
    changed = np.empty_like(joints_m)
    changed[:, :, 0] = joints_m[:, :, 0]
    for row, (child, parent) in enumerate(zip(_CHILDREN, _PARENTS, strict=True)):
        changed[:, :, child] = changed[:, :, parent] + bones[:, :, row]
    return np.asarray(changed * canonical_scale(stature(changed).mean(1))[:, None, None, None])


def proportions(rng: np.random.Generator, count: int) -> np.ndarray:
    """Factors (``count``, kinds of bone) of ``change_body``: bones vary by 6 %, and one person in
    six is a child of three years or more.

    At three, sitting height is 56 % of the stature instead of 52 % (Bogin and Varela-Silva, 2010),
    so legs are shorter by 8 %, and five heads instead of seven and a half make up the stature.
    """
    youth = np.where(rng.random(count) < 1 / 6, rng.random(count), 0)
    factors = rng.normal(1, 0.06, (count, KINDS_OF_BONE))
    for kind, change in _CHILD.items():
        factors[:, kind == _KINDS] *= (1 + change * youth)[:, None]
    return factors.astype(np.float32)


def heading(joints_m: np.ndarray) -> np.ndarray:
    """Angle (...,) of the hips' left-to-right axis about the vertical, for poses (..., 17, 3) with
    z up.
    """
    across = joints_m[..., H36M17.index("r_hip"), :] - joints_m[..., H36M17.index("l_hip"), :]
    return np.asarray(np.arctan2(across[..., 1], across[..., 0]))


def turn(joints_m: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Poses (..., 17, 3) turned about the vertical through the origin by ``angle`` (...,)."""
    cos, sin = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x, y, z = (joints_m[..., i] for i in range(3))
    return np.stack([cos * x - sin * y, sin * x + cos * y, z], -1)


def recombine(lower_m: np.ndarray, upper_m: np.ndarray) -> np.ndarray:
    """The legs of one motion (..., 17, 3) under the trunk and arms of another, which turns with
    the first's hips.
    """
    upper = (
        turn(upper_m - upper_m[..., :1, :], heading(lower_m) - heading(upper_m))
        + lower_m[..., :1, :]
    )
    return np.where(_UPPER[:, None], upper, lower_m)


def lean(
    rng: np.random.Generator, joints_m: np.ndarray, sigma_rad: float, fallen_share: float
) -> np.ndarray:
    """Windows (B, T, 17, 3) tilted about a horizontal axis through the last pelvis; a few as far
    as lying.
    """
    count = len(joints_m)
    angle = rng.normal(0, sigma_rad, count)
    angle = np.where(
        rng.random(count) < fallen_share, rng.uniform(-np.pi / 2, np.pi / 2, count), angle
    )
    direction = rng.uniform(0, 2 * np.pi, count)
    vector = np.stack([np.cos(direction), np.sin(direction), np.zeros(count)], 1) * angle[:, None]
    rotation = _rotations(vector)
    centre = joints_m[:, -1:, :1]
    return np.asarray((joints_m - centre) @ np.swapaxes(rotation, 1, 2)[:, None] + centre)


def move_limbs(
    rng: np.random.Generator,
    joints_m: np.ndarray,
    time_s: np.ndarray,
    sigma_rad: np.ndarray,
    swing_rad: float,
) -> np.ndarray:
    """Windows (B, T, 17, 3) in which each thigh, shank, upper arm and forearm is turned a little.

    Half of it, ``sigma_rad`` (B,), is alike throughout the window; the other, ``swing_rad``, comes
    and goes over the times (B, T), so that the motions are new as well and not the poses alone.
    """
    moved = joints_m.copy()
    for chain in _LIMB_CHAINS:
        for pivot in (0, 1):
            fixed, swing = rng.normal(0, 1, (2, len(joints_m), 1, 3))
            phase = rng.uniform(0, 2 * np.pi, (len(joints_m), 1)) + 2 * np.pi * time_s / np.exp(
                rng.uniform(np.log(0.6), np.log(4.0), (len(joints_m), 1))
            )
            rotation = _rotations(
                sigma_rad[:, None, None] * fixed + swing_rad * swing * np.sin(phase)[..., None]
            )
            centre = moved[:, :, chain[pivot], None]
            outer = chain[pivot + 1 :]
            moved[:, :, outer] = (moved[:, :, outer] - centre) @ np.swapaxes(
                rotation, -1, -2
            ) + centre
    return np.asarray(moved)


def _rotations(vectors: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) float32 of rotation vectors (..., 3)."""
    matrices = Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().astype(np.float32)
    return np.asarray(matrices.reshape(*vectors.shape, 3))


def mirror(points: np.ndarray) -> np.ndarray:
    """Reflect poses (..., 17, D) in their first axis, exchanging left and right joints."""
    flipped = points[..., H36M17.flip, :].copy()
    flipped[..., 0] *= -1
    return np.asarray(flipped)
