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

"""Rotations of a body's bones, and angles between them, from its joints.

Human3.6M's 17 joints say where bones are, not how they are turned about themselves; frames follow
the ISB's recommendations (Wu et al., 2002 and 2005) where such joints allow it. World and bones
have x forward, y to the left and z up (REP-103), bones in the rest pose: upright, arms stretched
out to the sides, palms down, facing x. A rotation takes a bone from the rest pose to where it is.

- Hips: y along the line of the hips, z up the spine. Chest: y along the shoulders, z up the spine.
- Spine, neck, head: z along the bone, y as hips (below) or shoulders (above) have it: whether a
  head is turned is not known.
- Arms and legs: along the bone, and the hinge of elbow or knee across both of its bones. Where the
  limb is straight its hinge is unknown: the rest pose's, swung along with the limb, and what came
  before and after decide. So the hinge never flips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.linalg import solve_banded

from pose3d_ros.skeleton import H36M17

Array = npt.NDArray[np.float64]
FORWARD, LEFT, UP = np.eye(3)
OPENSIM_FROM_Z_UP = np.array([FORWARD, UP, -LEFT])  # x forward, y up, z to the right
HINGE_MEMORY_S = 0.1
REST_WEIGHT = 0.2  # of the rest pose's hinge beside one that is bent by 90 degrees
# Elbows and knees that seem to be bent backwards by less than the first are noise.
BACKWARDS = (np.sin(np.radians(15)), np.sin(np.radians(30)))


class Bone(NamedTuple):
    """A rigid part of the body. It turns about the joint ``start``; ``rest`` is where ``end`` lies
    from there in the rest pose, zero for hips and chest, which have no single end.
    """

    name: str
    parent: str
    start: str
    end: str
    rest: tuple[int, int, int]


# Names as in BVH files of the CMU motion capture data; parents first.
BONES = (
    Bone("Hips", "", "pelvis", "", (0, 0, 0)),
    Bone("LeftUpLeg", "Hips", "l_hip", "l_knee", (0, 0, -1)),
    Bone("LeftLeg", "LeftUpLeg", "l_knee", "l_ankle", (0, 0, -1)),
    Bone("RightUpLeg", "Hips", "r_hip", "r_knee", (0, 0, -1)),
    Bone("RightLeg", "RightUpLeg", "r_knee", "r_ankle", (0, 0, -1)),
    Bone("LowerBack", "Hips", "pelvis", "spine", (0, 0, 1)),
    Bone("Spine", "LowerBack", "spine", "thorax", (0, 0, 1)),
    Bone("Spine1", "Spine", "thorax", "", (0, 0, 0)),
    Bone("Neck", "Spine1", "thorax", "neck", (0, 0, 1)),
    Bone("Head", "Neck", "neck", "head", (0, 0, 1)),
    Bone("LeftArm", "Spine1", "l_shoulder", "l_elbow", (0, 1, 0)),
    Bone("LeftForeArm", "LeftArm", "l_elbow", "l_wrist", (0, 1, 0)),
    Bone("RightArm", "Spine1", "r_shoulder", "r_elbow", (0, -1, 0)),
    Bone("RightForeArm", "RightArm", "r_elbow", "r_wrist", (0, -1, 0)),
)
# Limbs as (upper bone, lower bone, hinge in the rest pose: upper bone x lower bone when bent).
_LIMBS = (
    ("LeftUpLeg", "LeftLeg", LEFT),
    ("RightUpLeg", "RightLeg", LEFT),
    ("LeftArm", "LeftForeArm", -UP),
    ("RightArm", "RightForeArm", UP),
)


def offsets(joints_m: Array) -> dict[str, Array]:
    """Where each bone starts in its parent's rest pose, and where it ends ("Name/end"), metres,
    with the median lengths of ``joints_m`` (T, 17, 3), which may have NaN.
    """

    def length(a: str, b: str) -> float:
        return float(np.nanmedian(np.linalg.norm(_at(joints_m, b) - _at(joints_m, a), axis=-1)))

    found: dict[str, Array] = {}
    bones = {bone.name: bone for bone in BONES}
    for bone in BONES:
        parent = bones.get(bone.parent)
        if parent is None or bone.start == parent.start:
            found[bone.name] = np.zeros(3)
        elif parent.end == bone.start:
            found[bone.name] = length(parent.start, bone.start) * np.array(parent.rest, float)
        else:  # hips and shoulders, beside the middle of both
            side = 1 if bone.start.startswith("l_") else -1
            found[bone.name] = side * length(parent.start, bone.start) * LEFT
        if bone.end:
            found[f"{bone.name}/end"] = length(bone.start, bone.end) * np.array(bone.rest, float)
    return found


def rotations(joints_m: Array, times_s: Array) -> dict[str, Array]:
    """Rotation (T, 3, 3) of each bone from the rest pose to the world, for ``joints_m`` (T, 17, 3)
    without NaN at ``times_s`` (T,).
    """

    def along(a: str, b: str) -> Array:
        return _unit(_at(joints_m, b) - _at(joints_m, a))

    hips_left, chest_left = along("r_hip", "l_hip"), along("r_shoulder", "l_shoulder")
    found = {
        "Hips": _turned((LEFT, UP), hips_left, along("pelvis", "spine")),
        "LowerBack": _turned((UP, LEFT), along("pelvis", "spine"), hips_left),
        "Spine": _turned((UP, LEFT), along("spine", "thorax"), hips_left + chest_left),
        "Spine1": _turned((LEFT, UP), chest_left, along("spine", "thorax")),
        "Neck": _turned((UP, LEFT), along("thorax", "neck"), chest_left),
        "Head": _turned((UP, LEFT), along("neck", "head"), chest_left),
    }
    bones = {bone.name: bone for bone in BONES}
    for upper, lower, rest_hinge in _LIMBS:
        trunk, rest = found[bones[upper].parent], np.array(bones[upper].rest, float)
        upper_along = along(bones[upper].start, bones[upper].end)
        lower_along = along(bones[lower].start, bones[lower].end)
        # seen from the trunk, where it stays the same while the whole body turns
        hinge = _hinges(
            _in(trunk, upper_along), _in(trunk, lower_along), rest, rest_hinge, times_s
        )
        hinge = (trunk @ hinge[..., None])[..., 0]
        found[upper] = _turned((rest, rest_hinge), upper_along, hinge)
        found[lower] = _turned((rest, rest_hinge), lower_along, hinge)
    return found


def joint_angles_deg(joints_m: Array, times_s: Array) -> dict[str, Array]:
    """Angles (T,) in degrees, for ``joints_m`` (T, 17, 3) without NaN at ``times_s`` (T,), by the
    names and with the signs of OpenSim's full-body model (Rajagopal et al., 2016).

    Pelvis against the world, chest against pelvis, thighs against pelvis and upper arms against
    chest are turned about OpenSim's z (to the right), x (forward) and y (up) in turn; zero is
    upright with hanging arms. Knees and elbows are above zero when bent. Angles go on beyond 180.
    """
    found = rotations(joints_m, times_s)
    trunk = found["Hips"], np.swapaxes(found["Hips"], -1, -2) @ found["Spine1"]
    angles: dict[str, Array] = {}
    for names, turned in zip(
        (
            ("pelvis_tilt", "pelvis_list", "pelvis_rotation"),
            ("lumbar_extension", "lumbar_bending", "lumbar_rotation"),
        ),
        trunk,
        strict=True,
    ):
        angles |= dict(zip(names, _zxy_deg(turned), strict=True))
    for name, side, sign in (("Right", "r", 1), ("Left", "l", -1)):
        hanging = np.array([[1, 0, 0], [0, 0, sign], [0, -sign, 0]], float)  # arms of the T
        thigh, shin = found[f"{name}UpLeg"], found[f"{name}Leg"]
        arm, forearm = found[f"{name}Arm"] @ hanging, found[f"{name}ForeArm"] @ hanging
        hip = _zxy_deg(np.swapaxes(found["Hips"], -1, -2) @ thigh)
        shoulder = _zxy_deg(np.swapaxes(found["Spine1"], -1, -2) @ arm)
        angles |= {
            f"hip_flexion_{side}": hip[0],
            f"hip_adduction_{side}": sign * hip[1],
            f"hip_rotation_{side}": sign * hip[2],
            f"knee_angle_{side}": -_zxy_deg(np.swapaxes(thigh, -1, -2) @ shin)[0],
            f"arm_flex_{side}": shoulder[0],
            f"arm_add_{side}": sign * shoulder[1],
            f"arm_rot_{side}": sign * shoulder[2],
            f"elbow_flex_{side}": _zxy_deg(np.swapaxes(arm, -1, -2) @ forearm)[0],
        }
    return angles


def place(
    root_m: Array, bone_rotations: Mapping[str, Array], bone_offsets: Mapping[str, Array]
) -> Array:
    """Joints (T, 17, 3) of a body of these ``offsets`` with the pelvis at ``root_m`` (T, 3): the
    inverse of ``rotations``, but for bones that were not of constant length.
    """
    joints_m = np.full((len(root_m), len(H36M17), 3), np.nan)
    starts: dict[str, Array] = {}
    for bone in BONES:
        starts[bone.name] = (
            starts[bone.parent] + bone_rotations[bone.parent] @ bone_offsets[bone.name]
            if bone.parent
            else root_m
        )
        joints_m[:, H36M17.index(bone.start)] = starts[bone.name]
        if bone.end:
            joints_m[:, H36M17.index(bone.end)] = (
                starts[bone.name] + bone_rotations[bone.name] @ bone_offsets[f"{bone.name}/end"]
            )
    return joints_m


def _hinges(upper: Array, lower: Array, rest: Array, rest_hinge: Array, times_s: Array) -> Array:
    """Axis (T, 3) about which the lower bone is bent; ``upper`` and ``lower`` (T, 3) point along
    the bones.

    The sum over frames of |axis - upper x lower|^2, of a small weight times its distance from the
    rest pose's, and of its changes in time is least: a straight limb has a cross product of zero.
    """
    towards = rest + upper
    swung = rest_hinge - ((upper @ rest_hinge) / (1 + upper @ rest).clip(1e-3))[:, None] * towards
    seen = np.cross(upper, lower)
    bent = np.linalg.norm(seen, axis=-1)
    backwards = np.minimum((seen * swung).sum(-1), 0)
    believed = ((bent - BACKWARDS[0]) / (BACKWARDS[1] - BACKWARDS[0])).clip(0, 1)
    seen = seen - ((1 - believed) * backwards)[:, None] * swung
    stiffness = (HINGE_MEMORY_S / np.diff(times_s)) ** 2
    banded = np.zeros((3, len(times_s)))
    banded[1] = 1 + REST_WEIGHT
    banded[1, :-1] += stiffness
    banded[1, 1:] += stiffness
    banded[0, 1:] = banded[2, :-1] = -stiffness
    return np.asarray(solve_banded((1, 1), banded, seen + REST_WEIGHT * swung))


def _turned(rest: tuple[Array, Array], along: Array, across: Array) -> Array:
    """Rotations (T, 3, 3) that take two perpendicular unit vectors of the rest pose to ``along``
    (T, 3), and to the part of ``across`` (T, 3) that is perpendicular to it.
    """
    along = _unit(along)
    across = _unit(across - (across * along).sum(-1, keepdims=True) * along)
    now = np.stack([along, across, np.cross(along, across)], axis=-1)
    return np.asarray(now @ np.stack([*rest, np.cross(*rest)]))


def _zxy_deg(turned: Array) -> Array:
    """Angles (3, T) in degrees about OpenSim's z, the turned x and the twice turned y, without
    jumps, of rotations (T, 3, 3) with x forward, y to the left and z up.
    """
    r = OPENSIM_FROM_Z_UP @ turned @ OPENSIM_FROM_Z_UP.T
    angles = (
        np.arctan2(-r[:, 0, 1], r[:, 1, 1]),
        np.arcsin(r[:, 2, 1].clip(-1, 1)),
        np.arctan2(-r[:, 2, 0], r[:, 2, 2]),
    )
    return np.asarray(np.degrees(np.unwrap(angles, axis=-1)))


def _in(rotation: Array, vectors: Array) -> Array:
    """World vectors (T, 3) seen from bones of these rotations (T, 3, 3)."""
    return np.asarray((np.swapaxes(rotation, -1, -2) @ vectors[..., None])[..., 0])


def _at(joints_m: Array, joint: str) -> Array:
    return joints_m[:, H36M17.index(joint)]


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True).clip(1e-12))
