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

"""Motion capture joint positions (CMU22) to bone rotations of a MakeHuman body, which keeps its
own proportions.

A limb's bone points where the captured limb points. What positions leave open, the turn of a limb
about itself, comes from the plane in which its knee or elbow bends, blended with the rest pose as
the limb straightens. Skeletons of different captures place their hips, chest and feet differently,
so the inclination of pelvis, chest, head and feet is taken relative to the motion's own median.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from pose3d_ros.skeleton import CMU22
from pose3d_ros.training.rendering.body import Body, Posed, Rig

_UP = np.array([0.0, 0.0, 1.0])
_LEFT = np.array([1.0, 0.0, 0.0])  # of a body at rest
_SHOULDER_SHARE = 0.2  # of the arm's swing from rest that the collar bone makes
_STRAIGHT = 0.15  # sine of the bend at which the plane of bending and the rest pose count the same
_LARGEST_WRIST_BEND = 0.9
_CONTACT_M = 0.12  # an ankle this much above its standing height no longer keeps its sole level
_HEEL_STRIKE_M = (
    0.05  # ankle and toe joint of a foot that stands on its heel are this much above their lowest
)
_SMOOTH_FRAMES = 2.0  # what is derived, not captured, is low-passed


def retarget(joints_m: np.ndarray, body: Body) -> Posed:
    """Pose ``body`` as (T, 22, 3) joints in metres, z up; hands and head tops may be NaN.

    The path over the floor is scaled with the length of the legs, and the height set so that the
    lowest sole is as far above z = 0 as the lowest captured foot above the capture's own floor.
    """
    joints = np.asarray(joints_m, float)
    at = {name: joints[:, i] for i, name in enumerate(CMU22.joints)}
    rig = body.rig
    rotations: dict[str, np.ndarray] = {}
    _trunk(at, rig, rotations)
    for side in ("l", "r"):
        _arm(at, rig, side, rotations)
        _leg(at, rig, side, rotations)

    frames = len(joints)
    world = np.empty((frames, len(rig.names), 3, 3))
    heads = np.zeros((frames, len(rig.names), 3))
    for bone, (name, parent) in enumerate(zip(rig.names, rig.parents, strict=True)):
        world[:, bone] = rotations[name] if name in rotations else world[:, parent]
        if parent >= 0:
            heads[:, bone] = heads[:, parent] + world[:, parent] @ (
                rig.heads[bone] - rig.heads[parent]
            )

    hips = [rig.index["upperleg01.L"], rig.index["upperleg01.R"]]
    scale = _leg_length_rig(rig) / _leg_length(at)
    root = scale * _middle(at, "hip") - heads[:, hips].mean(1)
    heads += root[:, None]
    sole = _lowest_sole(Posed(rig, world, heads), body.soles)
    lift = scale * _clearance(at) - sole
    heads[..., 2] += gaussian_filter1d(lift, 1.0, mode="nearest")[:, None]
    return Posed(rig, world, heads)


def _trunk(at: dict[str, np.ndarray], rig: Rig, rotations: dict[str, np.ndarray]) -> None:
    spine_line = at["neck_base"] - _middle(at, "hip")
    rest_line = rig.tail("spine01") - (rig.head("upperleg01.L") + rig.head("upperleg01.R")) / 2
    hip_line, shoulder_line = at["l_hip"] - at["r_hip"], at["l_shoulder"] - at["r_shoulder"]

    def part(up: np.ndarray, left: np.ndarray) -> np.ndarray:
        return _turn(rest_line, _LEFT, _upright(up, left, spine_line), left)

    # Some captures put the root between the hips, others the chest at the neck: the lowest spine
    # joint is always apart.
    pelvis = part(at["spine_low"] - _middle(at, "hip"), hip_line)
    chest = part(at["neck_base"] - at["spine_low"], shoulder_line)
    top = np.where(
        np.isnan(at["head"]).any(1, keepdims=True),
        at["head_base"] - at["neck_base"],
        at["head"] - at["head_base"],
    )
    head = part(top, chest @ _LEFT)
    rotations["root"] = pelvis
    for bone, share in (
        ("spine05", 0.2),
        ("spine04", 0.4),
        ("spine03", 0.6),
        ("spine02", 0.8),
        ("spine01", 1.0),
    ):
        rotations[bone] = _between(pelvis, chest, share)
    for bone, share in (("neck01", 0.25), ("neck02", 0.5), ("neck03", 0.75), ("head", 1.0)):
        rotations[bone] = _between(chest, head, share)


def _arm(at: dict[str, np.ndarray], rig: Rig, side: str, rotations: dict[str, np.ndarray]) -> None:
    s = side.upper()
    shoulder, elbow, wrist = (
        rig.head(f"{bone}.{s}") for bone in ("upperarm01", "lowerarm01", "wrist")
    )
    knuckle = rig.head(f"finger3-1.{s}")
    rest_upper, rest_lower, rest_hand = elbow - shoulder, wrist - elbow, knuckle - wrist
    rest_hinge = _unit(np.cross(rest_upper, rest_lower))
    upper = _unit(at[f"{side}_elbow"] - at[f"{side}_shoulder"])
    lower = _unit(at[f"{side}_wrist"] - at[f"{side}_elbow"])

    chest = rotations["spine01"]
    swing = _shortest(chest @ _unit(rest_upper), upper)
    rotations[f"clavicle.{s}"] = Rotation.from_rotvec(_SHOULDER_SHARE * swing).as_matrix() @ chest
    swung = Rotation.from_rotvec(swing).as_matrix() @ chest
    hinge = _low_pass(np.cross(upper, lower) + _STRAIGHT * (swung @ rest_hinge))
    turned = _turn(rest_upper, rest_hinge, upper, hinge)
    rotations[f"upperarm01.{s}"] = _between(swung, turned, 0.5)
    rotations[f"upperarm02.{s}"] = turned
    forearm = _turn(rest_lower, rest_hinge, lower, hinge)
    rotations[f"lowerarm01.{s}"] = forearm
    hand = at[f"{side}_hand"] - at[f"{side}_wrist"]
    straight = forearm @ _unit(rest_hand)
    bend = _shortest(straight, np.where(np.isnan(hand), straight, hand))
    angle = np.linalg.norm(bend, axis=1, keepdims=True)
    bend *= np.minimum(1, _LARGEST_WRIST_BEND / np.maximum(angle, 1e-9))
    rotations[f"wrist.{s}"] = Rotation.from_rotvec(bend).as_matrix() @ forearm


def _leg(at: dict[str, np.ndarray], rig: Rig, side: str, rotations: dict[str, np.ndarray]) -> None:
    s = side.upper()
    hip, knee, ankle, toe = (
        rig.head(f"{bone}.{s}") for bone in ("upperleg01", "lowerleg01", "foot", "toe2-1")
    )
    thigh = _unit(at[f"{side}_knee"] - at[f"{side}_hip"])
    shin = _unit(at[f"{side}_ankle"] - at[f"{side}_knee"])
    foot = _unit(at[f"{side}_foot"] - at[f"{side}_ankle"])

    pelvis = rotations["root"]
    # A knee bends about the axis that points to the body's left; near straight, foot and hips tell
    # which way that is.
    neutral = _unit(0.6 * _unit(np.cross(foot, shin)) + 0.4 * (pelvis @ _LEFT))
    bending = np.cross(thigh, shin)
    forwards = (bending * neutral).sum(1, keepdims=True) < 0
    hinge = _low_pass(np.where(forwards, 0, bending) + _STRAIGHT * neutral)
    swung = Rotation.from_rotvec(_shortest(pelvis @ _unit(knee - hip), thigh)).as_matrix() @ pelvis
    turned = _turn(knee - hip, _LEFT, thigh, hinge)
    rotations[f"upperleg01.{s}"] = _between(swung, turned, 0.5)
    rotations[f"upperleg02.{s}"] = turned
    rotations[f"lowerleg01.{s}"] = _turn(ankle - knee, _LEFT, shin, hinge)

    # The capture's toe joint lies at another height than ours: standing feet are level in both.
    height = at[f"{side}_ankle"][:, 2]
    standing = np.percentile(height, 10)
    slope = np.arcsin(np.clip(foot[:, 2], -1, 1))
    level = np.median(slope[height <= np.percentile(height, 40)])
    rest_foot = toe - ankle
    rest_slope = np.arcsin(_unit(rest_foot)[2])
    across = _unit(_low_pass(np.cross(foot, shin)) + _STRAIGHT * _unit(hinge))
    pitch = Rotation.from_rotvec((level - rest_slope) * across).as_matrix()
    pointed = _apply(pitch, foot)
    # A foot on the floor does not roll with its leg; on tiptoe that says nothing.
    level_axis = np.cross(_UP, pointed)
    flat = np.clip(1 - (height - standing) / _CONTACT_M, 0, 1)[:, None] * (level_axis**2).sum(
        1, keepdims=True
    )
    lateral = flat * _unit(level_axis) + (1 - flat) * across
    rotations[f"foot.{s}"] = _turn(rest_foot, _LEFT, pointed, _low_pass(lateral))


def _upright(up: np.ndarray, left: np.ndarray, line: np.ndarray) -> np.ndarray:
    """``up`` (T, 3) pitched about ``left`` by one angle, such that its median inclination to
    ``line`` is zero.
    """
    axis = _unit(left)
    a, b = (_unit(v - (v * axis).sum(1, keepdims=True) * axis) for v in (up, line))
    angle = np.median(np.arctan2((np.cross(a, b) * axis).sum(1), (a * b).sum(1)))
    return _apply(Rotation.from_rotvec(angle * axis).as_matrix(), a)


def _middle(at: dict[str, np.ndarray], joint: str) -> np.ndarray:
    return np.asarray((at[f"l_{joint}"] + at[f"r_{joint}"]) / 2)


def _leg_length(at: dict[str, np.ndarray]) -> float:
    return float(
        np.median(
            sum(
                np.linalg.norm(at[f"l_{a}"] - at[f"l_{b}"], axis=1)
                for a, b in (("hip", "knee"), ("knee", "ankle"))
            )
        )
    )


def _leg_length_rig(rig: Rig) -> float:
    hip, knee, ankle = (rig.head(f"{bone}.L") for bone in ("upperleg01", "lowerleg01", "foot"))
    return float(np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle))


def _clearance(at: dict[str, np.ndarray]) -> np.ndarray:
    """(T,) height of the lower foot above the lowest that feet come to in this motion."""
    heights = np.stack(
        [at[f"{side}_{joint}"][:, 2] for side in "lr" for joint in ("ankle", "foot")], 1
    )
    floor = np.percentile(heights, 5, axis=0)
    floor = np.tile(np.minimum(floor[:2], floor[2:]), 2)
    return np.asarray(np.maximum(0, (heights - floor).min(1) - _HEEL_STRIKE_M))


def _lowest_sole(posed: Posed, soles: np.ndarray) -> np.ndarray:
    """(T,) height of the lowest point of both soles (2, K, 3)."""
    heights = []
    for bone, points in zip(("foot.L", "foot.R"), soles, strict=True):
        matrix = posed.matrices[:, posed.rig.index[bone]]
        heights.append(points @ matrix[:, 2, :3].T + matrix[:, 2, 3])
    return np.asarray(np.concatenate(heights).min(0))


def _unit(v: np.ndarray) -> np.ndarray:
    return np.asarray(v / np.maximum(np.linalg.norm(v, axis=-1, keepdims=True), 1e-9))


def _apply(rotations: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.asarray(np.einsum("tij,tj->ti", rotations, v))


def _low_pass(v: np.ndarray) -> np.ndarray:
    return np.asarray(gaussian_filter1d(v, _SMOOTH_FRAMES, axis=0, mode="nearest"))


def _shortest(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Rotation vectors (T, 3) of the shortest turn from directions a to b (T, 3)."""
    a, b = _unit(a), _unit(b)
    cross = np.cross(a, b)
    sine = np.linalg.norm(cross, axis=1, keepdims=True)
    return np.asarray(
        cross / np.maximum(sine, 1e-9) * np.arctan2(sine, (a * b).sum(1, keepdims=True))
    )


def _frames(along: np.ndarray, across: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) whose first column is ``along`` and whose second is as near as can be
    to ``across``.
    """
    x = _unit(along)
    y = _unit(across - (across * x).sum(-1, keepdims=True) * x)
    return np.stack([x, y, np.cross(x, y)], -1)


def _turn(
    rest_along: np.ndarray, rest_across: np.ndarray, along: np.ndarray, across: np.ndarray
) -> np.ndarray:
    """(T, 3, 3) that take a bone at rest to the directions (T, 3)."""
    return np.asarray(_frames(along, across) @ _frames(rest_along, rest_across).T)


def _between(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    """Rotations a ``share`` of the way from start to end (T, 3, 3)."""
    step = Rotation.from_matrix(end @ start.transpose(0, 2, 1)).as_rotvec()
    return np.asarray(Rotation.from_rotvec(share * step).as_matrix() @ start)
