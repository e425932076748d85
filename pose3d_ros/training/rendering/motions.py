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

"""Motions for renders: clips of the CMU data, and new ones made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from pose3d_ros.skeleton import CMU22
from pose3d_ros.training.data.motion_capture import (
    MotionCaptureError,
    folders_with,
    read_motion_capture,
    replaced,
)
from pose3d_ros.training.rendering.body import Posed

_LEAN_FRAMES = 15.0  # leaning for longer than this, at 30 Hz, is not walking
_GLITCH_M = 0.5  # no joint moves this far in a thirtieth of a second
_LIMBS = tuple(
    CMU22.indices(*(f"{side}_{name}" for name in chain))
    for side in "lr"
    for chain in (("hip", "knee", "ankle", "foot"), ("shoulder", "elbow", "wrist", "hand"))
)
_UPPER = CMU22.indices(
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
)
_HEAD = CMU22.indices("head_base", "head")
SEATED = 0.15
"""Share of the motions in which somebody sits."""
_LYING_M = 0.1  # a joint of somebody who lies is this far above the floor at least


@dataclass(frozen=True)
class Motions:
    """Motion capture clips by name: (T, 22, 3) joints (CMU22) in metres, z up, 30 Hz."""

    clips: dict[str, np.ndarray]

    @classmethod
    def load(cls, folders: Sequence[Path], split: str) -> Motions:
        """From those folders (``data.motion_capture``) that have the split; clips that another
        folder replaces are left out. Raises ``MotionCaptureError`` or ``NpzError``.
        """
        found: dict[str, np.ndarray] = {}
        for folder in folders_with(folders, split):
            positions, clips = read_motion_capture(folder, split, replaced(folder, folders))
            found |= {clip.name: positions[clip.start : clip.stop] for clip in clips}
        return cls(found)

    def random(self, rng: np.random.Generator, frames: int) -> tuple[str, np.ndarray]:
        """Name and ``frames`` consecutive frames, without a glitch, of any clip; each window is
        equally likely.
        """
        names = [name for name, clip in self.clips.items() if len(clip) >= frames]
        if not names:
            raise MotionCaptureError(f"expected motions of {frames} frames or more, got none")
        room = np.array([len(self.clips[name]) - frames + 1 for name in names])
        while True:
            name = names[rng.choice(len(names), p=room / room.sum())]
            start = int(rng.integers(len(self.clips[name]) - frames + 1))
            window = self.clips[name][start : start + frames]
            if np.nanmax(np.linalg.norm(np.diff(window, axis=0), axis=-1)) < _GLITCH_M:
                return name, window


def place(joints_m: np.ndarray, position_m: tuple[float, float], turn_rad: float) -> np.ndarray:
    """The motion (T, J, 3) turned about the vertical, with the middle of its path over the floor
    at ``position_m``.
    """
    c, s = math.cos(turn_rad), math.sin(turn_rad)
    turned = joints_m @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])
    path = turned[:, 0, :2]
    turned[..., :2] += np.array(position_m) - (path.min(0) + path.max(0)) / 2
    return np.asarray(turned)


def level(joints_m: np.ndarray) -> np.ndarray:
    """The motion (T, 22, 3) of somebody upright with its slow lean taken out; some captures tilt
    as they turn.
    """
    left, right = CMU22.indices("l_hip", "l_shoulder"), CMU22.indices("r_hip", "r_shoulder")
    hips, shoulders = (
        (joints_m[:, a] + joints_m[:, b]) / 2 for a, b in zip(left, right, strict=True)
    )
    trunk = gaussian_filter1d(
        (shoulders - hips).astype(float), _LEAN_FRAMES, axis=0, mode="nearest"
    )
    trunk /= np.linalg.norm(trunk, axis=1, keepdims=True)
    axis = np.cross(trunk, [0, 0, 1])
    sine = np.linalg.norm(axis, axis=1, keepdims=True)
    turn = Rotation.from_rotvec(
        axis / np.maximum(sine, 1e-9) * np.arcsin(sine.clip(0, 1))
    ).as_matrix()
    root = joints_m[:, :1]
    return np.asarray(np.einsum("tij,tkj->tki", turn, joints_m - root) + root)


def vary(rng: np.random.Generator, motions: Motions, frames: int, context: int = 60) -> np.ndarray:
    """(T, 22, 3) a new motion of ``frames``, 30 a second: legs and upper body of different clips
    in half of the cases, mirrored in half, trunk, head and limbs turned, in part steadily and in
    part to and fro (as ``data.augmentation``).

    T is ``context`` frames where clips are long enough: retargeting takes what is upright from the
    whole of a motion.
    """
    length = max(frames, context)
    longest = max(len(clip) for clip in motions.clips.values())
    length = min(length, longest)
    joints_m = np.array(motions.random(rng, length)[1], float)
    if rng.random() < 0.5:
        other = motions.random(rng, length)[1]
        turned = other[:, _UPPER] - other[:, :1]
        turn = _about_vertical(_heading(joints_m) - _heading(other))
        joints_m[:, _UPPER] = turned @ np.swapaxes(turn, 1, 2) + joints_m[:, :1]
    if rng.random() < 0.5:
        joints_m = joints_m[:, [CMU22.index(_other_side(name)) for name in CMU22.joints]] * [
            -1,
            1,
            1,
        ]
    if rng.random() < SEATED:
        joints_m = seated(rng, joints_m)
    time_s = np.arange(length) / 30.0
    much = rng.choice((0.1, 0.3, 0.5), p=(0.3, 0.4, 0.3))
    for pivot, outer, share in ((0, _UPPER, 0.5), (_HEAD[0], _HEAD[1:], 0.5)):
        joints_m = _turn_part(rng, joints_m, time_s, pivot, outer, share * much, 0.05)
    for chain in _LIMBS:
        for pivot in (0, 1):
            joints_m = _turn_part(
                rng, joints_m, time_s, chain[pivot], chain[pivot + 1 :], much, 0.15
            )
    return joints_m


def seated(rng: np.random.Generator, joints_m: np.ndarray) -> np.ndarray:
    """The motion (T, 22, 3) with the legs of somebody who sits: thighs forward, shins down."""
    heading = _heading(joints_m) - np.pi / 2
    moved = joints_m.copy()
    moved[..., :2] -= joints_m[:, :1, :2]
    for side, (hip, knee, ankle, foot) in zip((1, -1), (_LIMBS[0], _LIMBS[2]), strict=True):
        outwards, drop, under = rng.normal((0.15, 0.1, 0.0), (0.2, 0.15, 0.3))
        ahead = heading + side * outwards
        forward = np.stack([np.cos(ahead), np.sin(ahead), np.zeros_like(ahead)], -1)
        for start, end, angle in (
            (hip, knee, drop),
            (knee, ankle, np.pi / 2 + under),
            (ankle, foot, 0.3),
        ):
            length = np.linalg.norm(joints_m[:, end] - joints_m[:, start], axis=-1, keepdims=True)
            moved[:, end] = moved[:, start] + length * (
                np.cos(angle) * forward - np.sin(angle) * np.array([0, 0, 1.0])
            )
    return np.asarray(moved)


def _turn_part(
    rng: np.random.Generator,
    joints_m: np.ndarray,
    time_s: np.ndarray,
    pivot: int,
    outer: list[int],
    steady_rad: float,
    swing_rad: float,
) -> np.ndarray:
    steady, swing = rng.normal(0, 1, (2, 3))
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * time_s / np.exp(
        rng.uniform(np.log(0.6), np.log(4.0))
    )
    turn = Rotation.from_rotvec(
        steady_rad * steady + swing_rad * np.sin(phase)[:, None] * swing
    ).as_matrix()
    moved = joints_m.copy()
    centre = joints_m[:, pivot, None]
    moved[:, outer] = (joints_m[:, outer] - centre) @ np.swapaxes(turn, 1, 2) + centre
    return np.asarray(moved)


def _other_side(name: str) -> str:
    return {"l_": "r_", "r_": "l_"}.get(name[:2], name[:2]) + name[2:]


def _heading(joints_m: np.ndarray) -> np.ndarray:
    left, right = CMU22.indices("l_hip", "r_hip")
    across = joints_m[:, left] - joints_m[:, right]
    return np.asarray(np.arctan2(across[:, 1], across[:, 0]))


def _about_vertical(angle: np.ndarray) -> np.ndarray:
    return np.asarray(Rotation.from_rotvec(angle[:, None] * [0, 0, 1.0]).as_matrix())


def lean(
    rng: np.random.Generator, posed: Posed, sigma_rad: float = 0.12, lying_share: float = 0.06
) -> Posed:
    """The motion tilted about a horizontal axis; a few as far as lying, on the floor."""
    lying = rng.random() < lying_share
    angle = rng.uniform(0.9, 1.7) * rng.choice((-1, 1)) if lying else rng.normal(0, sigma_rad)
    direction = rng.uniform(0, 2 * np.pi)
    turn = Rotation.from_rotvec(
        angle * np.array([np.cos(direction), np.sin(direction), 0])
    ).as_matrix()
    centre = posed.heads[:1, :1]
    heads = (posed.heads - centre) @ turn.T + centre
    leaned = Posed(posed.rig, turn @ posed.rotations, heads)
    lowest = leaned.joints_m[..., 2].min() - _LYING_M
    if lying or lowest < 0:
        heads[..., 2] -= lowest
    return Posed(posed.rig, leaned.rotations, heads)


def placed(posed: Posed, position_m: tuple[float, float], turn_rad: float) -> Posed:
    """The motion turned about the vertical, with the middle of its path over the floor at
    ``position_m``.
    """
    turn = Rotation.from_rotvec([0, 0, turn_rad]).as_matrix()
    heads = posed.heads @ turn.T
    path = heads[:, 0, :2]
    heads[..., :2] += np.array(position_m) - (path.min(0) + path.max(0)) / 2
    return Posed(posed.rig, turn @ posed.rotations, heads)


def cut(posed: Posed, frames: slice) -> Posed:
    """Some of the frames."""
    return Posed(posed.rig, posed.rotations[frames], posed.heads[frames])
