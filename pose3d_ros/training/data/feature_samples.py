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

"""Training samples for lifters of features, from shards (``shards``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
from scipy.spatial.transform import Rotation

from pose3d_ros.lifting.feature_maps import root_relative_depth, upright
from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.detector_noise import (
    DepthNoise,
    DetectorNoise,
    facing_angle,
    rig_offsets_m,
    rms_size,
    true_root_relative_depth,
)
from pose3d_ros.training.data.shards import FEATURES_SUFFIX, map_features, read_labels
from pose3d_ros.training.data.windows import Clips, Inputs, LifterInputs, hide

_LABELS = (
    "rays",
    "confidence",
    "joints_m",
    "crop_keypoints",
    "crop_rays",
    "root_relative_depth",
)
TILT_RAD = np.radians(3)
"""Error of a known direction of up about each axis: of a camera on a robot, or by eye."""
RIGHT = 0.2
"""A keypoint within this share of the person's size of the true joint is right."""
FOUND = 0.8
"""A person is found if this share of the keypoints are right."""
FOLLOWED = 0.5
"""People of whom it has less right are mostly somebody else; sigma is learnt of all others."""
_TRUNK = H36M17.indices("pelvis", "thorax")


@dataclass(frozen=True)
class FeatureClips(Clips):
    """B people over T frames with the detector's ``crop_keypoints`` (B, T, 17, 2) and
    ``crop_rays`` (B, T, 2, 2) as in ``lifting.feature_maps``, and its ``features`` (B, T, V)
    float16, the levels' maps one after the other. Unknown joints are NaN.
    """

    crop_keypoints: np.ndarray
    crop_rays: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class FeatureInputs(LifterInputs):
    """Inputs of ``networks.feature_lifters``: frames a tenth of a second apart, each by itself.

    ``rolled``: in a virtual camera rolled like the crop, for lifters of feature maps, which are of
    the crop. For clips without images, crops are supposed to follow the trunk if ``turned``, as
    BlazePose's do, else to be upright, as those of top-down detectors. What a source does not know
    of depth and up is zeros; these and more come in the order of the networks' arguments.
    """

    frames: int = 5
    step: int = 3
    recurrent: bool = True
    rolled: bool = True
    turned: bool = True

    def __call__(self, clips: Clips) -> tuple[Inputs, np.ndarray]:
        """The inputs and targets (B, T, 17, 3) in metres, relative to the pelvis."""
        up = clips.crop_rays if isinstance(clips, FeatureClips) else clips.rays[..., _TRUNK, :]
        shape = clips.confidence.shape[:2]
        keypoints, rotation = normalise(
            clips.rays.reshape(-1, 1, 17, 2), clips.confidence.reshape(-1, 1, 17)
        )
        if self.rolled and (self.turned or isinstance(clips, FeatureClips)):
            keypoints, rotation = upright(keypoints, rotation, up.reshape(-1, 2, 2))
        joints_m = clips.joints_m.reshape(-1, 17, 3)
        target_m = (joints_m - joints_m[:, :1]) @ np.swapaxes(rotation, -1, -2)
        keypoints, target_m = (
            keypoints.reshape(*shape, 18, 3),
            target_m.reshape(*shape, 17, 3).astype(np.float32),
        )
        depth, up = np.zeros((*shape, 17), np.float32), np.zeros((*shape, 3), np.float32)
        if clips.root_relative_depth is not None:
            depth = clips.root_relative_depth
        if clips.up is not None:
            axes = rotation.reshape(*shape, 3, 3)
            up = np.einsum("btij,bj->bti", axes, clips.up).astype(np.float32)
        if not isinstance(clips, FeatureClips):
            return (keypoints, depth, up), target_m
        return (keypoints, depth, up, clips.crop_keypoints, clips.features), target_m

    def varied(self, rng: np.random.Generator, clips: Clips) -> Clips:
        """Clips in half of which up is unknown, and in the others wrong by ``TILT_RAD``."""
        if clips.up is None:
            return clips
        tilt = Rotation.from_rotvec(rng.normal(0, TILT_RAD, clips.up.shape))
        known = rng.random(len(clips.up)) < 0.5
        return replace(
            clips, up=np.where(known[:, None], tilt.apply(clips.up), 0).astype(np.float32)
        )


def read_noise(path: Path, split: str) -> DetectorNoise:
    """The errors of a detector that ``pose3d render noise`` (an npz) or ``pose3d render features``
    (a folder) recorded. Raises ``ValueError``.
    """
    return recorded_noise(path, split) if path.is_dir() else DetectorNoise.load(path, split)


def recorded_noise(folder: Path, split: str) -> DetectorNoise:
    """The errors of the detector on the people of a split, to be replayed onto motion capture."""
    samples = FeatureSamples.load(folder, split, frames=1)
    rows = samples.first[samples.rows[:, 0, 0]] + samples.rows[:, 0, 1]
    labels = {name: samples.labels[name][rows] for name in _LABELS}
    joints_m = labels["joints_m"].astype(float)
    rays = joints_m[..., :2] / joints_m[..., 2:]
    residual = ((labels["rays"] - rays) / rms_size(rays)[:, None, None]).astype(np.float32)
    begins = np.concatenate([[True], np.diff(rows) != 1])
    begins |= np.isin(rows, samples.begins)
    run = np.cumsum(begins) - 1
    depth = DepthNoise.fit(
        root_relative_depth(labels["crop_keypoints"] / 2, labels["root_relative_depth"]),
        true_root_relative_depth(joints_m),
    )
    return DetectorNoise(
        residual,
        labels["confidence"],
        facing_angle(joints_m),
        np.flatnonzero(begins)[run],
        np.bincount(run)[run],
        FeatureInputs.step,
        depth,
    )


def _windows(length: int, frames: int) -> np.ndarray:
    """Indices (W, ``frames``) of all windows of a clip; of a shorter clip one, which begins with
    copies of the first frame.
    """
    return np.asarray(
        np.maximum(np.arange(min(frames, length), length + 1)[:, None] + np.arange(-frames, 0), 0)
    )


def _as_detected(labels: dict[str, np.ndarray], share: float) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, 17, 3) where the detector places them, and of which people (N,) it has ``share``
    of them right.
    """
    joints_m = labels["joints_m"].astype(np.float32)
    found, complete = np.ones(len(joints_m), bool), np.isfinite(joints_m).all((1, 2))
    if complete.sum() > 100:  # those of real people are triangulated from what was detected
        rays = joints_m[complete, :, :2] / joints_m[complete, :, 2:]
        size = rms_size(rays)[:, None, None]
        joints_m[complete] += rig_offsets_m(
            joints_m[complete],
            (labels["rays"][complete] - rays) / size,
            labels["confidence"][complete],
        ).astype(np.float32)
        rays = joints_m[complete, :, :2] / joints_m[complete, :, 2:]
        right = np.linalg.norm(labels["rays"][complete] - rays, axis=-1) < RIGHT * size[..., 0]
        found[complete] = right.mean(1) >= share
    return joints_m, found


class FeatureSamples:
    """The clips of a split of shards. Feature maps stay on the disk until they are needed.

    Joints are moved to where the detector places them: every skeleton has its own idea of where a
    shoulder is.
    """

    def __init__(
        self,
        labels: dict[str, np.ndarray],
        files: list[np.ndarray],
        rows: np.ndarray,
        values: int,
        begins: np.ndarray,
    ) -> None:
        """``rows`` (N, T, 2): file and row of every clip's frames; of each row of features the
        last ``values``.

        ``begins``: the labels' first rows of clips.
        """
        self.labels, self.files, self.rows, self.values, self.begins = (
            labels,
            files,
            rows,
            values,
            begins,
        )
        self.first = np.concatenate([[0], np.cumsum([len(file) for file in files])])

    @classmethod
    def load(
        cls,
        folder: Path,
        split: str,
        frames: int = 5,
        values: int = 0,
        limit: int = 0,
        found: float = FOUND,
    ) -> FeatureSamples:
        """All windows of ``frames`` frames; those of shorter clips begin with copies of the first.

        People of whom the detector found less than ``found`` of the joints are left out.
        ``values``: how many of the features of a person to take, the last ones. ``limit``: number
        of clips to take, the first; 0 takes all. Raises ``ValueError``.
        """
        paths = sorted((folder / split).glob("*.npz"))
        if not paths or not paths[0].with_suffix(FEATURES_SUFFIX).is_file():
            raise ValueError(
                f"{folder / split}: expected keypoints and feature maps of people (NAME.npz and "
                f"NAME{FEATURES_SUFFIX}), as 'pose3d render features' or 'pose3d dataset "
                f"features' writes them"
            )
        return cls.read(paths, frames, values, limit, found)

    @classmethod
    def read(
        cls,
        paths: Sequence[Path],
        frames: int = 5,
        values: int = 0,
        limit: int = 0,
        found: float = FOUND,
    ) -> FeatureSamples:
        """As ``load``, from the files NAME.npz, with NAME.features.npy beside them."""
        files = [map_features(path) for path in paths]
        loaded = [read_labels(path, (*_LABELS, "clip")) for path in paths]
        for path, file, part in zip(paths, files, loaded, strict=True):
            if len(file) != len(part["clip"]) or file.shape[1] != files[0].shape[1]:
                raise ValueError(
                    f"{path}: expected {len(part['clip'])} rows of {files[0].shape[1]} values in "
                    f"its feature maps, got {file.shape[0]} of {file.shape[1]}"
                )
        labels = {name: np.concatenate([part[name] for part in loaded]) for name in _LABELS}
        labels["joints_m"], seen = _as_detected(labels, found)
        place = np.concatenate(
            [
                np.stack([np.full(len(file), number), np.arange(len(file))], 1)
                for number, file in enumerate(files)
            ]
        )
        clip = np.concatenate([part["clip"] for part in loaded])
        new = np.concatenate([[True], (np.diff(clip) != 0) | (np.diff(place[:, 0]) != 0)])
        clips = np.split(np.arange(len(clip)), np.flatnonzero(new)[1:])[: limit or None]
        rows = [
            place[kept[window]]
            for kept in (of_clip[seen[of_clip]] for of_clip in clips)
            if len(kept)
            for window in _windows(len(kept), frames)
        ]
        if not rows:
            raise ValueError(
                f"{paths[0].parent}: expected people whom the detector found, got none in "
                f"{len(clip)} images"
            )
        return cls(labels, files, np.stack(rows), values, np.flatnonzero(new))

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> FeatureClips:
        """Random clips, with joints lost if ``varied``; else each at most once, and there may be
        fewer.
        """
        chosen = self.rows[
            rng.choice(
                len(self.rows), size if varied else min(size, len(self.rows)), replace=varied
            )
        ]
        index = self.first[chosen[..., 0]] + chosen[..., 1]
        features = np.stack(
            [
                np.stack(
                    [
                        self.files[file][row, -self.values :]
                        if self.values
                        else np.zeros(0, np.float16)
                        for file, row in clip
                    ]
                )
                for clip in chosen
            ]
        )
        labels = {name: self.labels[name][index] for name in _LABELS}
        depth = labels.pop("root_relative_depth")
        clips = FeatureClips(
            **labels,
            features=features,
            root_relative_depth=root_relative_depth(labels["crop_keypoints"] / 2, depth),
        )
        return cast(FeatureClips, hide(rng, clips)) if varied else clips
