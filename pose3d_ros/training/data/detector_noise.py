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

"""Recorded noise of a 2D detector, replayed onto other people."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose3d_ros.geometry import CAMERA_DOWN, look_along
from pose3d_ros.io.npz import NpzError, read_entries
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.augmentation import mirror

_LEGS = H36M17.indices("l_hip", "l_knee", "l_ankle", "r_hip", "r_knee", "r_ankle")
_MIN_DEPTH_M, _MAX_M, _MAX_RESIDUAL = 0.05, 100.0, 100.0


def facing_alike(
    rng: np.random.Generator, recorded: np.ndarray, facing: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For people (B,) who face at angles ``facing``, somebody of those ``recorded`` (N,) who faced
    about alike: of a few drawn at random the best, and whether (B,) they are to be mirrored.
    """
    tries = rng.choice(len(recorded), (len(facing), 12))
    mirrored = rng.random(tries.shape) < 0.5
    angle = np.where(mirrored, -recorded[tries], recorded[tries]) - facing[:, None]
    best = np.abs((angle + np.pi) % (2 * np.pi) - np.pi).argmin(1)
    rows = np.arange(len(facing))
    return tries[rows, best], mirrored[rows, best]


class DetectorNoise:
    """Errors of a detector on labelled images, replayed onto other people who face the same way.

    ``residual`` (N, 17, 2): detected minus true keypoints divided by the person's size (root mean
    square distance of the joints from their mean) in the image; ``confidence`` (N, 17);
    ``facing`` (N,) the angle of the body about the vertical in the camera's frame; ``first`` and
    ``length`` (N,): the run of consecutive frames that a row belongs to, ``step`` thirtieths of a
    second apart. ``depth``: the noise of its root-relative depth, if known.
    """

    def __init__(
        self,
        residual: np.ndarray,
        confidence: np.ndarray,
        facing: np.ndarray,
        first: np.ndarray,
        length: np.ndarray,
        step: int = 1,
        depth: DepthNoise | None = None,
    ) -> None:
        self.residual, self.confidence, self.facing, self.first, self.length = (
            residual,
            confidence,
            facing,
            first,
            length,
        )
        self.step, self.depth = step, depth

    @classmethod
    def load(cls, path: Path, split: str) -> DetectorNoise:
        """From the npz that ``rendering.measure_noise`` writes; every sixth clip is for
        validation. Raises ``NpzError``.
        """
        data = read_entries(
            path,
            {
                "found": ("boolean", "N"),
                "clip": ("integer", "N"),
                "frame": ("integer", "N"),
                "joints_m": ("number", "N", len(H36M17), 3),
                "residual": ("number", "N", len(H36M17), 2),
                "confidence": ("number", "N", len(H36M17)),
            },
        )
        found = data["found"].astype(bool) & ((data["clip"] % 6 == 5) == (split == "val"))
        if not found.any():
            raise NpzError(f"{path}: expected people who were found in {split} clips, got none")
        joints_m, residual = data["joints_m"][found].astype(float), data["residual"][found]
        confidence, clip, frame = (data[name][found] for name in ("confidence", "clip", "frame"))
        near = (np.abs(joints_m) < _MAX_M).all() and (joints_m[..., 2] > _MIN_DEPTH_M).all()
        if not near or not (np.abs(residual) < _MAX_RESIDUAL).all():
            raise NpzError(
                f"{path}: expected people before the camera with joints_m within {_MAX_M:g} m and "
                f"residual within {_MAX_RESIDUAL:g} sizes of the person"
            )
        try:
            offsets = rig_offsets(joints_m, residual, confidence)
        except np.linalg.LinAlgError:
            raise NpzError(
                f"{path}: expected people with trunks in joints_m, got others"
            ) from None
        residual = (residual - offsets).astype(np.float32)
        begins = np.concatenate([[True], (np.diff(clip) != 0) | (np.diff(frame) != 1)])
        run = np.cumsum(begins) - 1
        return cls(
            residual,
            confidence,
            facing_angle(joints_m),
            np.flatnonzero(begins)[run],
            np.bincount(run)[run],
        )

    def __call__(
        self, rng: np.random.Generator, facing: np.ndarray, offsets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Residuals (B, T, 17, 2), confidence (B, T, 17) and, if known, residuals (B, T, 17) of
        the root-relative depth, of somebody who faced about the same way; in half of the rows the
        legs are somebody else's, as recorded people are few.

        ``facing`` (B,) at the newest frame; ``offsets`` (B, T) of the frames to it. At the end of
        a recorded run time turns round.
        """
        residual, confidence, depth = self._replayed(rng, facing, offsets)
        mixed = np.flatnonzero(rng.random(len(facing)) < 0.5)[:, None, None]
        others = self._replayed(rng, facing[mixed[:, 0, 0]], offsets[mixed[:, 0, 0]])
        frames = np.arange(offsets.shape[1])[:, None]
        for values, other in zip((residual, confidence, depth), others, strict=True):
            if values is not None and other is not None:
                values[mixed, frames, _LEGS] = other[:, :, _LEGS]
        return residual, confidence, depth

    def _replayed(
        self, rng: np.random.Generator, facing: np.ndarray, offsets: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """As a call, of one recorded person each."""
        chosen, flip = facing_alike(rng, self.facing, facing)
        newest = chosen[:, None]
        first, length = self.first[newest], self.length[newest]
        period = np.maximum(2 * length - 2, 1)
        step = (newest - first + np.rint(offsets / self.step).astype(int)) % period
        frames = first + np.minimum(step, period - step) % length
        residual, confidence = self.residual[frames], self.confidence[frames]
        residual[flip] = mirror(residual[flip])
        confidence[flip] = confidence[flip][:, :, H36M17.flip]
        if self.depth is None:
            return residual, confidence, None
        depth = self.depth.residual[frames]
        depth[flip] = depth[flip][:, :, H36M17.flip]
        return residual, confidence, depth


@dataclass(frozen=True)
class DepthNoise:
    """A detector's root-relative depth (N, 17), in units of the person's size, as a linear
    function of the true one: ``slope`` (17,) times it, plus ``bias`` (17,), plus a ``residual``
    (N, 17).
    """

    slope: np.ndarray
    bias: np.ndarray
    residual: np.ndarray

    @classmethod
    def fit(cls, detected: np.ndarray, truth: np.ndarray) -> DepthNoise:
        """By least squares, the same for left and right."""
        slope, bias = np.zeros(17, np.float32), np.zeros(17, np.float32)
        for joint in range(17):
            both = [joint, H36M17.flip[joint]]
            matrix = np.stack([truth[:, both].ravel(), np.ones(2 * len(truth))], 1)
            slope[joint], bias[joint] = np.linalg.lstsq(
                matrix, detected[:, both].ravel(), rcond=None
            )[0]
        return cls(slope, bias, (detected - slope * truth - bias).astype(np.float32))

    def __call__(self, truth: np.ndarray, residual: np.ndarray) -> np.ndarray:
        """Root-relative depth of a detector with these residuals (..., 17) on such people."""
        return np.asarray((self.slope * truth + self.bias + residual).astype(np.float32))


def true_root_relative_depth(joints_m: np.ndarray) -> np.ndarray:
    """Depth (..., 17) of joints (..., 17, 3) relative to the pelvis along the line of sight to it,
    in units of the person's size across that line.
    """
    relative = (joints_m - joints_m[..., :1, :]) @ np.swapaxes(
        look_along(joints_m[..., 0, :], CAMERA_DOWN), -1, -2
    )
    return np.asarray(relative[..., 2] / rms_size(relative[..., :2])[..., None])


def rig_offsets(joints_m: np.ndarray, residual: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """The constant part (N, 17, 2) of residuals (N, 17, 2): where the rendered rig's joints are
    not the detector's.
    """
    offsets_m = rig_offsets_m(joints_m, residual, confidence)
    rays, depth_m = joints_m[..., :2] / joints_m[..., 2:], joints_m[..., 2:]
    return np.asarray(
        (offsets_m[..., :2] - rays * offsets_m[..., 2:]) / depth_m / rms_size(rays)[:, None, None]
    )


def rig_offsets_m(
    joints_m: np.ndarray, residual: np.ndarray, confidence: np.ndarray
) -> np.ndarray:
    """Offsets of the detector's joints from the rendered rig's: metres (N, 17, 3) in the camera's
    axes.

    Every rig has its own idea of where a shoulder is. One offset per joint in the body's own axes
    (up, across, forward), the same for left and right, is fitted to poses (N, 17, 3) in the
    camera's frame: by least squares with the weights of Geman and McClure, because a detector that
    errs takes left for right, and shoulders would come out narrow.
    """
    trunk = joints_m[:, H36M17.index("thorax")] - joints_m[:, 0]
    left, right = H36M17.indices("l_hip", "l_shoulder"), H36M17.indices("r_hip", "r_shoulder")
    across = (joints_m[:, left] - joints_m[:, right]).mean(1)
    forward = np.cross(across, trunk)
    axes = np.stack([trunk, across, forward], 1)
    axes /= np.linalg.norm(axes, axis=-1, keepdims=True)
    rays = joints_m[..., :2] / joints_m[..., 2:]
    # What a metre along each axis is in the image, in units of the person's size: (N, 17, 2, 3).
    slopes = (axes[:, None, :, :2] - rays[:, :, None] * axes[:, None, :, 2:]) / joints_m[
        :, :, 2, None, None
    ]
    slopes = np.swapaxes(slopes, -1, -2) / rms_size(rays)[:, None, None, None]
    mirrored = np.ones((17, 3))
    mirrored[H36M17.symmetric_pairs[:, 1], 1] = -1
    slopes = slopes * mirrored[:, None]
    offsets = np.empty((17, 3))
    for joint in range(17):
        both = [joint, H36M17.flip[joint]]
        sure = confidence[:, both].reshape(-1) > 0.5
        matrix, moved = (
            slopes[:, both].reshape(-1, 2, 3)[sure],
            residual[:, both].reshape(-1, 2)[sure],
        )
        away = np.linalg.norm(moved, axis=1)
        for _ in range(10):
            root = 1 / (
                1 + (away / max(np.median(away), 1e-6)) ** 2
            )  # the square root of the weight
            offsets[joint] = np.linalg.lstsq(
                (root[:, None, None] * matrix).reshape(-1, 3),
                (root[:, None] * moved).reshape(-1),
                rcond=None,
            )[0]
            away = np.linalg.norm(moved - matrix @ offsets[joint], axis=1)
    return np.asarray(np.einsum("ja,nak->njk", mirrored * offsets, axes))


def facing_angle(joints_camera_m: np.ndarray) -> np.ndarray:
    """Angle (...,) about the vertical of bodies (..., 17, 3) in camera axes; 0 faces away, pi the
    camera.

    It changes sign when the image is mirrored.
    """
    left, right = H36M17.indices("l_hip", "l_shoulder"), H36M17.indices("r_hip", "r_shoulder")
    across = (joints_camera_m[..., right, :] - joints_camera_m[..., left, :]).mean(-2)
    return np.asarray(np.arctan2(-across[..., 2], across[..., 0]))


def rms_size(points: np.ndarray) -> np.ndarray:
    """Root mean square distance (...,) of points (..., J, 2) from their mean."""
    return np.asarray(np.sqrt(((points - points.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1)))
