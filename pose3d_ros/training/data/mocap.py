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

"""Training samples from motion capture: random bodies before random cameras, with the keypoints of
a noisy detector.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose3d_ros.skeleton import CMU22, H36M17, convert
from pose3d_ros.training.data.augmentation import (
    change_body,
    lean,
    mirror,
    move_limbs,
    proportions,
    recombine,
)
from pose3d_ros.training.data.detector_noise import (
    DetectorNoise,
    facing_angle,
    rms_size,
    true_root_relative_depth,
)
from pose3d_ros.training.data.motion_capture import MotionCaptureError, read_motion_capture
from pose3d_ros.training.data.windows import FRAME_S, Clips, hide

_MOVED, _SWUNG = 0.25, 0.15  # rad, of every limb
_MOVED_FAR = 0.3, 0.5  # share of the windows, and rad: poses that nobody was captured in
_LARGEST_STEP_M = 0.5  # in 1/30 s: 15 m/s
_THORAX, _NECK, _HEAD = H36M17.indices("thorax", "neck", "head")
# A detector's pelvis, thorax and spine are the middles of the joints that it finds.
_MIDDLES = {
    "pelvis": H36M17.indices("l_hip", "r_hip"),
    "thorax": H36M17.indices("l_shoulder", "r_shoulder"),
    "spine": H36M17.indices("l_hip", "r_hip", "l_shoulder", "r_shoulder"),
}


@dataclass(frozen=True)
class Mocap:
    """Motion at 30 Hz: ``joints_m`` (N, 17, 3) with z up, one clip after the other, and the rows
    ``newest`` at which a window can end whose frames are at ``offsets`` (T,) before it, each drawn
    with its ``probability``, all alike without.
    """

    joints_m: np.ndarray
    newest: np.ndarray
    offsets: np.ndarray
    noise: DetectorNoise | None = None
    probability: np.ndarray | None = None

    @classmethod
    def joined(cls, parts: Sequence[Mocap], weights: Sequence[float]) -> Mocap:
        """The motions of all parts, which have the same ``offsets`` and ``noise``; a window of a
        part is drawn as often as the part's weight says.
        """
        first = np.cumsum([0, *(len(part.joints_m) for part in parts[:-1])])
        weight = np.repeat(np.asarray(weights, float), [len(part.newest) for part in parts])
        return cls(
            np.concatenate([part.joints_m for part in parts]),
            np.concatenate([part.newest + row for part, row in zip(parts, first, strict=True)]),
            parts[0].offsets,
            parts[0].noise,
            weight / weight.sum(),
        )

    @classmethod
    def load(
        cls,
        folder: Path,
        split: str,
        offsets: np.ndarray,
        noise: DetectorNoise | None = None,
        without: Collection[str] = (),
    ) -> Mocap:
        """From a folder (``data.motion_capture``); windows with glitches are left out, and clips
        whose ids are in ``without``.

        Raises ``MotionCaptureError`` or ``NpzError``.
        """
        positions, clips = read_motion_capture(folder, split, without)
        joints_m, _ = convert(
            positions, np.asarray(np.isfinite(positions).all(-1), np.float32), CMU22, H36M17
        )
        joints_m[:, _HEAD] = np.where(
            np.isfinite(joints_m[:, _HEAD]),
            joints_m[:, _HEAD],
            joints_m[:, _THORAX] + 1.7 * (joints_m[:, _NECK] - joints_m[:, _THORAX]),
        )
        usable = np.isfinite(joints_m).all((1, 2))
        for clip in clips:
            for frame in clip.glitches:
                usable[max(clip.start, clip.start + frame - 1) : clip.start + frame + 2] = False
        # Jumps that nobody listed, some of over a metre in one frame.
        usable[1:] &= np.linalg.norm(np.diff(joints_m, axis=0), axis=-1).max(-1) < _LARGEST_STEP_M
        newest = []
        past = -int(offsets.min())
        for clip in clips:
            candidates = np.arange(clip.start + past, clip.stop)
            bad = np.concatenate([[0], np.cumsum(~usable[clip.start : clip.stop])])
            newest.append(candidates[bad[past + 1 :] == bad[: len(candidates)]])
        rows = np.concatenate(newest) if newest else np.zeros(0, int)
        if not len(rows):
            raise MotionCaptureError(
                f"{folder}: expected {split} clips of {past + 1} frames or more without glitches, "
                f"got none among {len(clips)}"
            )
        return cls(joints_m, rows, offsets, noise)

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> Clips:
        """Random bodies before random cameras, with the noise of a detector, or exact keypoints
        without.

        ``varied`` also makes new motions of the captured ones, which are few: legs and trunks of
        different people, limbs moved, bodies leaning; and frames that are more than one apart get
        uneven.
        """
        offsets = np.broadcast_to(self.offsets, (size, len(self.offsets)))
        if varied and len(self.offsets) > 1 and self.offsets[-2] < -1:
            offsets = offsets + rng.integers(-1, 2, offsets.shape)
            offsets = np.clip(offsets, self.offsets[0], 0)
            offsets[:, -1] = 0
        poses = self.joints_m[self._drawn(rng, size)[:, None] + offsets].astype(np.float32)
        if varied:
            mixed = np.flatnonzero(rng.random(size) < 0.5)
            others = self.joints_m[self._drawn(rng, len(mixed))[:, None] + offsets[mixed]]
            poses[mixed] = recombine(poses[mixed], others)
            strength = np.where(rng.random(size) < _MOVED_FAR[0], _MOVED_FAR[1], _MOVED)
            poses = move_limbs(rng, poses, offsets * FRAME_S, strength, _SWUNG)
            poses = lean(rng, poses, 0.15, 0.05)
        flip = rng.random(size) < 0.5
        poses[flip] = mirror(poses[flip])
        poses = change_body(poses, proportions(rng, size))
        camera, up = before_random_cameras(rng, poses)
        return hide(rng, as_detected(rng, camera, up, offsets, self.noise))

    def _drawn(self, rng: np.random.Generator, size: int) -> np.ndarray:
        """Newest rows (size,) of random windows."""
        return rng.choice(self.newest, size, p=self.probability)


def before_random_cameras(
    rng: np.random.Generator, poses: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Poses (B, T, 17, 3) with z up, each in the optical frame of a random camera as a robot would
    carry it; and the unit vectors (B, 3) up in that frame. Both float32.
    """
    count = len(poses)
    distance = np.exp(rng.uniform(np.log(1.3), np.log(8.0), count))
    height = rng.uniform(0.3, 2.5, count)
    azimuth = rng.uniform(0, 2 * np.pi, count)
    root = poses[:, -1, 0]
    floor = np.nanmin(poses[:, :, :, 2].reshape(count, -1), 1)
    position = np.stack(
        [
            root[:, 0] + distance * np.cos(azimuth),
            root[:, 1] + distance * np.sin(azimuth),
            floor + height,
        ],
        1,
    )
    forward = root - position
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    yaw, pitch, roll = (
        rng.uniform(-0.5, 0.5, count),
        rng.normal(0, 0.2, count),
        rng.normal(0, 0.07, count),
    )
    cos, sin = np.cos(yaw), np.sin(yaw)
    elevation = np.clip(np.arcsin(forward[:, 2]) + pitch, -1.2, 1.2)
    heading = np.stack(
        [cos * forward[:, 0] - sin * forward[:, 1], sin * forward[:, 0] + cos * forward[:, 1]], 1
    )
    heading /= np.linalg.norm(heading, axis=1, keepdims=True)
    z = np.concatenate([heading * np.cos(elevation)[:, None], np.sin(elevation)[:, None]], 1)
    right = np.stack([heading[:, 1], -heading[:, 0], np.zeros(count)], 1)
    down = np.cross(z, right)
    c, s = np.cos(roll)[:, None], np.sin(roll)[:, None]
    rotation = np.stack([c * right + s * down, c * down - s * right, z], 1).astype(np.float32)
    camera = (poses - position[:, None, None]).astype(np.float32)
    return camera @ np.swapaxes(rotation, 1, 2)[:, None], rotation[..., 2]


def as_detected(
    rng: np.random.Generator,
    joints_m: np.ndarray,
    up: np.ndarray,
    offsets: np.ndarray,
    noise: DetectorNoise | None,
) -> Clips:
    """People (B, T, 17, 3) before cameras in which ``up`` (B, 3) is up, with the ``noise`` of a
    detector, or exact keypoints without; ``offsets`` (B, T) from the newest frame in thirtieths of
    a second.
    """
    count = len(joints_m)
    rays = joints_m[..., :2] / np.maximum(joints_m[..., 2:], 0.2)
    confidence = np.ones(rays.shape[:-1], np.float32)
    depth = None
    if noise is not None:
        residual, confidence, depth_residual = noise(rng, facing_angle(joints_m[:, -1]), offsets)
        if depth_residual is not None and noise.depth is not None:
            depth = noise.depth(true_root_relative_depth(joints_m), depth_residual)
        residual = residual * rng.uniform(0.2, 1.0, (count, 1, 1, 1)).astype(np.float32)
        # Other detectors and other people: each places a joint a little elsewhere, always the
        # same way.
        residual += rng.normal(0, 0.03, (count, 1, 17, 2)).astype(np.float32)
        rays = rays + residual * rms_size(rays).mean(1)[:, None, None, None]
    for joint, joints in _MIDDLES.items():
        rays[..., H36M17.index(joint), :] = rays[..., joints, :].mean(-2)
    return Clips(rays, confidence, joints_m, root_relative_depth=depth, up=up)
