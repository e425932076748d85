"""Training samples for lifters that look at more than keypoints: what the embedded detector saw of
labelled people.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from pose3d_ros.lifting.feature_maps import root_relative_depth, upright
from pose3d_ros.lifting.normalise import normalise
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.detector_noise import (
    Depth,
    Detector,
    facing_angle,
    rig_offsets_m,
    rms_size,
    true_relief,
)
from pose3d_ros.training.data.windows import Clips, Inputs, View, hide

_LABELS = ("rays", "confidence", "joints_m", "crop_keypoints", "crop_rays", "landmark_z")
RIGHT, FOUND = 0.2, 0.8
"""A keypoint within this share of the person's size is right; a picture with fewer right ones was
not understood.
"""
_TRUNK = H36M17.indices("pelvis", "thorax")


@dataclass(frozen=True)
class Crops(Clips):
    """B people over T frames and what the detector saw of each: ``crop_keypoints`` (B, T, 17, 2)
    and ``crop_rays`` (B, T, 2, 2) as in ``lifting.context``, ``landmark_z`` (B, T, 17) its guess
    of depth in sides of the crop, and ``features`` (B, T, V) float16, the levels' maps one after
    the other. Unknown joints are NaN.
    """

    crop_keypoints: np.ndarray
    crop_rays: np.ndarray
    landmark_z: np.ndarray
    features: np.ndarray


@dataclass(frozen=True)
class CropView(View):
    """Frames a tenth of a second apart, each by itself; if ``rolled``, in a virtual camera rolled
    like the crop.

    That is for lifters of feature maps, which are of the crop. Without pictures, the crop follows
    the trunk if crops are ``turned``, as BlazePose's are; those of top-down detectors are upright.
    """

    frames: int = 5
    step: int = 3
    recurrent: bool = True
    rolled: bool = True
    turned: bool = True

    def __call__(self, clips: Clips) -> tuple[Inputs, np.ndarray]:
        """The inputs of ``networks.sight`` and targets (B, T, 17, 3)."""
        up = clips.crop_rays if isinstance(clips, Crops) else clips.rays[..., _TRUNK, :]
        shape = clips.confidence.shape[:2]
        keypoints, rotation = normalise(
            clips.rays.reshape(-1, 1, 17, 2), clips.confidence.reshape(-1, 1, 17)
        )
        if self.rolled and (self.turned or isinstance(clips, Crops)):
            keypoints, rotation = upright(keypoints, rotation, up.reshape(-1, 2, 2))
        joints_m = clips.joints_m.reshape(-1, 17, 3)
        target_m = (joints_m - joints_m[:, :1]) @ np.swapaxes(rotation, -1, -2)
        keypoints, target_m = (
            keypoints.reshape(*shape, 18, 3),
            target_m.reshape(*shape, 17, 3).astype(np.float32),
        )
        if not isinstance(clips, Crops):
            return (keypoints,) if clips.relief is None else (keypoints, clips.relief), target_m
        return (
            keypoints,
            cast(np.ndarray, clips.relief),
            clips.crop_keypoints,
            clips.features,
        ), target_m


def recorded_detector(folder: Path, split: str) -> Detector:
    """How the detector erred on such people, to be replayed onto motion capture."""
    seen = SeenPeople.load(folder, split, frames=1)
    rows = seen.first[seen.rows[:, 0, 0]] + seen.rows[:, 0, 1]
    labels = {name: seen.labels[name][rows] for name in _LABELS}
    joints_m = labels["joints_m"].astype(float)
    rays = joints_m[..., :2] / joints_m[..., 2:]
    residual = ((labels["rays"] - rays) / rms_size(rays)[:, None, None]).astype(np.float32)
    begins = np.concatenate([[True], np.diff(rows) != 1])
    begins |= np.isin(rows, seen.begins)
    run = np.cumsum(begins) - 1
    depth = Depth.fit(
        root_relative_depth(labels["crop_keypoints"] / 2, labels["landmark_z"]),
        true_relief(joints_m),
    )
    return Detector(
        residual,
        labels["confidence"],
        facing_angle(joints_m),
        np.flatnonzero(begins)[run],
        np.bincount(run)[run],
        CropView.step,
        depth,
    )


def _windows(length: int, frames: int) -> np.ndarray:
    """Indices (W, ``frames``) of all runs of a clip; of a shorter clip one, which stands still at
    first.
    """
    return np.maximum(
        np.arange(min(frames, length), length + 1)[:, None] + np.arange(-frames, 0), 0
    )


def _as_detected(labels: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Joints (N, 17, 3) where the detector has them, and in which of the N pictures it found
    them.
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
        found[complete] = right.mean(1) >= FOUND
    return joints_m, found


class SeenPeople:
    """The clips of a split of what ``training.synthetic.features`` wrote. Feature maps stay on the
    disk until needed.

    Joints are moved to where the detector has them: every rig has its own idea of where a shoulder
    is.
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
        cls, folder: Path, split: str, frames: int = 5, values: int = 0, limit: int = 0
    ) -> SeenPeople:
        """Every ``frames`` frames on end of a clip; before the first one of a shorter clip stand
        its copies.

        Pictures in which the detector found less than ``FOUND`` of the joints are left out.
        ``limit``: of the first so many clips. Raises ``ValueError``.
        """
        paths = sorted((folder / split).glob("*.npz"))
        if not paths or not paths[0].with_suffix(".features.npy").is_file():
            raise ValueError(
                f"{folder / split}: expected keypoints and feature maps of people (NAME.npz and "
                f"NAME."
                f"features.npy), as 'pose3d render features' writes them, or 'pose3d dataset "
                f"features'"
            )
        return cls.read(paths, frames, values, limit)

    @classmethod
    def read(
        cls, paths: Sequence[Path], frames: int = 5, values: int = 0, limit: int = 0
    ) -> SeenPeople:
        """As ``load``, from the files NAME.npz, with NAME.features.npy beside them."""
        files = [np.load(path.with_suffix(".features.npy"), mmap_mode="r") for path in paths]
        loaded = []
        for path in paths:
            with np.load(path) as data:
                loaded.append({name: data[name] for name in (*_LABELS, "clip")})
        labels = {name: np.concatenate([part[name] for part in loaded]) for name in _LABELS}
        labels["joints_m"], found = _as_detected(labels)
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
            for kept in (of_clip[found[of_clip]] for of_clip in clips)
            if len(kept)
            for window in _windows(len(kept), frames)
        ]
        if not rows:
            raise ValueError(
                f"{paths[0].parent}: expected people whom the detector found, got none in "
                f"{len(clip)} "
                f"pictures"
            )
        return cls(labels, files, np.stack(rows), values, np.flatnonzero(new))

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> Crops:
        """Random clips, with joints lost if ``varied``; else each at most once, so that there may
        be fewer.
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
        seen = {name: self.labels[name][index] for name in _LABELS}
        crops = Crops(
            **seen,
            features=features,
            relief=root_relative_depth(seen["crop_keypoints"] / 2, seen["landmark_z"]),
        )
        return cast(Crops, hide(rng, crops)) if varied else crops
