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

"""Joint sets: names, limbs, symmetric pairs, and conversions between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np


@dataclass(frozen=True, repr=False)
class Skeleton:
    """A named joint set.

    ``joints`` are names in index order. ``limbs`` are (parent, child) name pairs to draw and to
    measure bones by. Names are shared between skeletons: a joint with the same name is the same
    point of the body.
    """

    name: str
    joints: tuple[str, ...]
    limbs: tuple[tuple[str, str], ...]

    def __len__(self) -> int:
        return len(self.joints)

    def __repr__(self) -> str:
        return f"Skeleton({self.name!r}, {len(self)} joints)"

    def index(self, joint: str) -> int:
        """Index of a joint by name; ``KeyError`` names the joints that exist."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise KeyError(
                f"{self.name} has no joint '{joint}'; it has {', '.join(self.joints)}"
            ) from None

    def indices(self, *joints: str) -> list[int]:
        """Indices of several joints by name."""
        return [self.index(joint) for joint in joints]

    @cached_property
    def limb_indices(self) -> np.ndarray:
        """(L, 2) int array of (parent, child) indices."""
        return np.array([self.indices(*limb) for limb in self.limbs], int).reshape(-1, 2)

    @cached_property
    def flip(self) -> np.ndarray:
        """(J,) permutation that exchanges left and right joints."""

        def mirrored(name: str) -> str:
            side = {"l": "r", "r": "l"}.get(name[0]) if name[1:2] == "_" else None
            return side + name[1:] if side else name

        return np.array([self.index(mirrored(joint)) for joint in self.joints])

    @cached_property
    def symmetric_pairs(self) -> np.ndarray:
        """(S, 2) int array of (left, right) indices."""
        return np.array(
            [(i, j) for i, j in enumerate(self.flip) if self.joints[i].startswith("l_")], int
        )


def _sides(*limbs: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Write each limb once for both sides: 'x_elbow' becomes 'r_elbow' and 'l_elbow'."""

    def side(name: str, s: str) -> str:
        return s + name[1:] if name.startswith("x_") else name

    return tuple((side(a, s), side(b, s)) for s in "rl" for a, b in limbs)


_ARM = (("x_shoulder", "x_elbow"), ("x_elbow", "x_wrist"))
_LEG = (("x_hip", "x_knee"), ("x_knee", "x_ankle"))
_FOOT = (("x_ankle", "x_heel"), ("x_heel", "x_foot"))
_HAND = (("x_wrist", "x_index"), ("x_wrist", "x_pinky"))

# Human3.6M's 17 joints in the order of VideoPose3D and everything after it. Every ROS topic begins
# with them. Here the pelvis is the middle of the hips, and the thorax the middle of the shoulders,
# whatever the source.
H36M17 = Skeleton(
    "h36m17",
    (
        "pelvis",
        "r_hip",
        "r_knee",
        "r_ankle",
        "l_hip",
        "l_knee",
        "l_ankle",
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
    ),
    (
        *_sides(("pelvis", "x_hip"), *_LEG, ("thorax", "x_shoulder"), *_ARM),
        ("pelvis", "spine"),
        ("spine", "thorax"),
        ("thorax", "neck"),
        ("neck", "head"),
    ),
)

# Human3.6M's 17 joints, which stay the first, and 13 extra ones of face, hands and feet: what the
# embedded detector (BlazePose) sees of them. OpenPose's body25 has small toes, which it does not
# see, and no hands. ``index`` and ``pinky`` are knuckles, ``foot`` is the tip of the big toe.
_ANCHORS = {
    "nose": "head",
    **{f"{side}_{point}": "head" for point in ("eye", "ear") for side in "lr"},
    **{f"{side}_{point}": f"{side}_wrist" for point in ("index", "pinky") for side in "lr"},
    **{f"{side}_{point}": f"{side}_ankle" for point in ("heel", "foot") for side in "lr"},
}
EXTRA_JOINTS = tuple(_ANCHORS)
BODY30 = Skeleton(
    "body30",
    (*H36M17.joints, *EXTRA_JOINTS),
    (
        *H36M17.limbs,
        # no bone of 4 cm, from nose to eye: what several cameras learn of bones begins with limbs
        ("head", "nose"),
        *_sides(("head", "x_eye"), ("x_eye", "x_ear"), *_HAND, *_FOOT),
    ),
)

COCO17 = Skeleton(
    "coco17",
    (
        "nose",
        "l_eye",
        "r_eye",
        "l_ear",
        "r_ear",
        "l_shoulder",
        "r_shoulder",
        "l_elbow",
        "r_elbow",
        "l_wrist",
        "r_wrist",
        "l_hip",
        "r_hip",
        "l_knee",
        "r_knee",
        "l_ankle",
        "r_ankle",
    ),
    (
        *_sides(("nose", "x_eye"), ("x_eye", "x_ear"), *_ARM, *_LEG, ("x_shoulder", "x_hip")),
        ("l_shoulder", "r_shoulder"),
        ("l_hip", "r_hip"),
    ),
)

# Halpe's and RTMPose's 26-joint body: COCO, head top, neck (mid-shoulders), mid-hip and feet.
HALPE26 = Skeleton(
    "halpe26",
    (
        *COCO17.joints,
        "head_top",
        "thorax",
        "pelvis",
        "l_foot",
        "r_foot",
        "l_small_toe",
        "r_small_toe",
        "l_heel",
        "r_heel",
    ),
    (*COCO17.limbs, ("thorax", "head_top"), ("pelvis", "thorax"), *_sides(*_FOOT)),
)

BODY25 = Skeleton(
    "body25",
    (
        "nose",
        "thorax",
        "r_shoulder",
        "r_elbow",
        "r_wrist",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
        "pelvis",
        "r_hip",
        "r_knee",
        "r_ankle",
        "l_hip",
        "l_knee",
        "l_ankle",
        "r_eye",
        "l_eye",
        "r_ear",
        "l_ear",
        "l_foot",
        "l_small_toe",
        "l_heel",
        "r_foot",
        "r_small_toe",
        "r_heel",
    ),
    (
        *_sides(
            ("nose", "x_eye"),
            ("x_eye", "x_ear"),
            ("thorax", "x_shoulder"),
            *_ARM,
            ("pelvis", "x_hip"),
            *_LEG,
            *_FOOT,
        ),
        ("pelvis", "thorax"),
        ("thorax", "nose"),
    ),
)

# OpenPose's experimental BODY_25B: COCO, then upper neck and head top, then feet.
BODY25B = Skeleton(
    "body25b",
    (
        *COCO17.joints,
        "upper_neck",
        "head_top",
        "l_foot",
        "l_small_toe",
        "l_heel",
        "r_foot",
        "r_small_toe",
        "r_heel",
    ),
    (*COCO17.limbs, ("upper_neck", "head_top"), *_sides(*_FOOT)),
)

BLAZEPOSE33 = Skeleton(
    "blazepose33",
    (
        "nose",
        "l_eye_inner",
        "l_eye",
        "l_eye_outer",
        "r_eye_inner",
        "r_eye",
        "r_eye_outer",
        "l_ear",
        "r_ear",
        "l_mouth",
        "r_mouth",
        "l_shoulder",
        "r_shoulder",
        "l_elbow",
        "r_elbow",
        "l_wrist",
        "r_wrist",
        "l_pinky",
        "r_pinky",
        "l_index",
        "r_index",
        "l_thumb",
        "r_thumb",
        "l_hip",
        "r_hip",
        "l_knee",
        "r_knee",
        "l_ankle",
        "r_ankle",
        "l_heel",
        "r_heel",
        "l_foot",
        "r_foot",
    ),
    (
        *_sides(
            ("nose", "x_eye"),
            ("x_eye", "x_ear"),
            *_ARM,
            ("x_wrist", "x_index"),
            *_LEG,
            *_FOOT,
            ("x_shoulder", "x_hip"),
        ),
        ("l_shoulder", "r_shoulder"),
        ("l_hip", "r_hip"),
    ),
)

# The joints of the CMU motion capture data. Its root lies 10 cm above the hips and its neck's base
# below the shoulders, so neither is the pelvis or the thorax of the other skeletons.
CMU22 = Skeleton(
    "cmu22",
    (
        "root",
        "l_hip",
        "l_knee",
        "l_ankle",
        "l_foot",
        "r_hip",
        "r_knee",
        "r_ankle",
        "r_foot",
        "spine_low",
        "chest",
        "neck_base",
        "head_base",
        "head",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
        "l_hand",
        "r_shoulder",
        "r_elbow",
        "r_wrist",
        "r_hand",
    ),
    (
        *_sides(
            ("root", "x_hip"),
            *_LEG,
            ("x_ankle", "x_foot"),
            ("neck_base", "x_shoulder"),
            *_ARM,
            ("x_wrist", "x_hand"),
        ),
        ("root", "spine_low"),
        ("spine_low", "chest"),
        ("chest", "neck_base"),
        ("neck_base", "head_base"),
        ("head_base", "head"),
    ),
)

SKELETONS = {
    s.name: s for s in (H36M17, BODY30, COCO17, HALPE26, BODY25, BODY25B, BLAZEPOSE33, CMU22)
}
PUBLISHED = {s.name: s for s in (H36M17, BODY30)}
"""Skeletons that people in space have; the first joints of each are Human3.6M's 17."""


def anchors(skeleton: Skeleton) -> np.ndarray:
    """Of each joint (J,) of a skeleton that is ``PUBLISHED``, the one of Human3.6M's 17 that it
    hangs from: head, wrist or ankle; itself of the 17.
    """
    return np.array([H36M17.index(_ANCHORS.get(joint, joint)) for joint in skeleton.joints])


# What a skeleton that lacks a joint puts in its place: the first rule whose joints all exist, as
# {joint: weight}. A weight below zero extrapolates; the weights of a rule sum to one. On the line
# from the middle of the shoulders to the middle of the ears (18 cm), Human3.6M's neck (the head's
# base) lies at 13 cm and its head at 22 cm: not the crown.
_SUBSTITUTES: dict[str, tuple[dict[str, float], ...]] = {
    "pelvis": ({"l_hip": 0.5, "r_hip": 0.5},),
    "thorax": ({"l_shoulder": 0.5, "r_shoulder": 0.5},),
    "spine": (
        {"pelvis": 0.5, "thorax": 0.5},
        {"l_hip": 0.25, "r_hip": 0.25, "l_shoulder": 0.25, "r_shoulder": 0.25},
    ),
    "neck": (
        {"head_base": 1.0},
        {"l_ear": 0.35, "r_ear": 0.35, "l_shoulder": 0.15, "r_shoulder": 0.15},
    ),
    "head": ({"l_ear": 0.6, "r_ear": 0.6, "l_shoulder": -0.1, "r_shoulder": -0.1},),
}


@cache
def _recipe(source: Skeleton, target: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Per target joint the source joints (J_target, 4) that make it and their weights (J_target,
    4).

    A joint with the same name is copied; others follow fixed rules (mid-hips, mid-shoulders, ...).
    Unused places repeat the first joint with weight zero; all weights are zero where the source
    has no way to give the joint.
    """
    joints, weights = np.zeros((len(target), 4), int), np.zeros((len(target), 4), np.float32)
    for row, joint in enumerate(target.joints):
        for rule in ({joint: 1.0}, *_SUBSTITUTES.get(joint, ())):
            if all(name in source.joints for name in rule):
                joints[row] = source.index(next(iter(rule)))
                joints[row, : len(rule)] = source.indices(*rule)
                weights[row, : len(rule)] = list(rule.values())
                break
    return joints, weights


def convert(
    points: np.ndarray, confidence: np.ndarray, source: Skeleton, target: Skeleton
) -> tuple[np.ndarray, np.ndarray]:
    """Convert joints (..., J_source, D) and confidence (..., J_source) to another skeleton.

    A made joint has the smallest confidence of the joints that it is made from; one that cannot be
    made is NaN with confidence 0. Works for pixels and for metres.
    """
    if source is target:
        return points, confidence
    if points.shape[-2] != len(source):
        raise ValueError(
            f"expected {len(source)} joints of {source.name} in the axis before the last, "
            f"got an array of shape {points.shape}"
        )
    joints, weights = _recipe(source, target)
    converted = (points[..., joints, :] * weights[..., None]).sum(-2).astype(np.float32)
    converted_confidence = confidence[..., joints].min(-1).astype(np.float32)
    impossible = ~weights.any(1)
    converted[..., impossible, :], converted_confidence[..., impossible] = np.nan, 0
    return converted, converted_confidence
