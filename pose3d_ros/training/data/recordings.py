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

"""Recordings of people with 3D truth on disk, and training clips from them.

A dataset is a folder with one folder for each split, ``train`` and ``val``, with one ``.npz`` (no
pickles) for each recording: one person seen by one camera for T consecutive frames. Several
cameras that see a person are several recordings. ``numpy.savez_compressed`` is enough to write
one; ``write`` also checks it. Entries:

``joints_m`` float32 (T, 17, 3)
    True joints (``skeleton.H36M17``) in metres in the world; NaN where the source has none.
``keypoints_px`` float32 (T, 17, 2)
    A detector's joints, or the projected true ones; pixel centres at whole numbers; NaN where not
    found.
``confidence`` float32 (T, 17)
    0 to 1; 0 where not found.
``root_relative_depth_px`` float32 (T, 17)
    The detector's, as in ``people.People2D``; left out for detectors that do not tell it.
``valid`` bool (T,)
    Frames that count. The others are shown to lifters, but neither scored nor trained on.
``frame`` int64 (T,)
    Number of each frame in the source's video.
``rate_hz`` float
    Frames per second, evenly spaced.
``camera_matrix`` float64 (3, 3), ``distortion`` float64 (N,), ``distortion_model`` str
``image_size`` int64 (2,)
    Intrinsics in pixels; OpenCV's coefficients for plumb_bob, rational_polynomial or equidistant,
    none for a lens without distortion; width and height.
``camera_from_world`` float64 (4, 4)
    World metres to the optical frame (x right, y down, z forward).
``subject`` str, ``action`` str
    Who, and what scores are averaged by.
``detector`` str
    What made the keypoints; empty for projected joints.
``images`` str
    Path of a frame's image as a Python format string, such as ``S1/img_{frame:06d}.jpg``,
    absolute or relative to the dataset's folder; empty without images.

A source without a common world frame uses the camera's: ``camera_from_world`` is then the
identity.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.errors import Pose3dError, quoted
from pose3d_ros.geometry import transform_points
from pose3d_ros.io.npz import Entry, read_entries
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.augmentation import mirror, scale_of_person, stature
from pose3d_ros.training.data.windows import Clips, hide

SPLITS = ("train", "val")
CLIP_RATE_HZ = 30.0
SLOWEST_HZ = 15.0  # slower recordings are not interpolated: a step takes half a second
STATURES_M = (0.5, 2.6)
FEWEST_JOINTS = 9  # that are known of somebody, the pelvis among them, to be trained on
LARGEST_MISS = (
    0.1  # median distance of keypoints from the projected joints, as a part of the image's width
)
_ARRAYS = {
    "joints_m": np.float32,
    "keypoints_px": np.float32,
    "confidence": np.float32,
    "valid": bool,
    "frame": np.int64,
}
_DEPTH = "root_relative_depth_px"
_TEXTS = ("subject", "action", "detector", "images")
_ENTRIES: dict[str, Entry] = {
    **dict.fromkeys(("joints_m", "keypoints_px", "confidence", "frame", "rate_hz"), ("number",)),
    **dict.fromkeys(("camera_matrix", "image_size", "distortion"), ("number",)),
    "camera_from_world": ("number",),
    _DEPTH: ("number",),
    "valid": ("boolean",),
    **dict.fromkeys(("distortion_model", *_TEXTS), ("text",)),
}
MAX_RATE_HZ = 10_000.0


class RecordingError(Pose3dError, ValueError):
    """A recording that cannot be read, or that no person before a camera can have."""


@dataclass(frozen=True)
class Recording:
    """One person before one camera; the module says what the fields are. Raises ``ValueError``.

    ``name`` is the file's, unique in its split: letters, digits, ``.``, ``-`` and ``_``.
    """

    name: str
    joints_m: np.ndarray
    keypoints_px: np.ndarray
    confidence: np.ndarray
    camera: Camera
    rate_hz: float
    subject: str
    action: str
    detector: str = ""
    images: str = ""
    valid: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))
    frame: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    root_relative_depth_px: np.ndarray | None = None

    def __post_init__(self) -> None:
        frames, joints = len(self.joints_m), len(H36M17)
        if not re.fullmatch(r"[\w.-]+", self.name):
            raise RecordingError(
                f"expected a name of letters, digits, '.', '-' and '_', got '{self.name}'"
            )
        if not frames:
            raise self._error("expected at least one frame, got none")
        defaults = {"valid": np.ones(frames, bool), "frame": np.arange(frames)}
        shapes: dict[str, tuple[int, ...]] = {
            "joints_m": (frames, joints, 3),
            "keypoints_px": (frames, joints, 2),
            "confidence": (frames, joints),
            "valid": (frames,),
            "frame": (frames,),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            value = np.asarray(
                defaults.get(name, value) if not len(value) else value, _ARRAYS[name]
            )
            if value.shape != shape:
                raise self._error(f"expected {name} of shape {shape}, got {value.shape}")
            object.__setattr__(self, name, value)
        if self.root_relative_depth_px is not None:
            depth = np.asarray(self.root_relative_depth_px, np.float32)
            if depth.shape != (frames, joints):
                raise self._error(
                    f"expected {_DEPTH} of shape {(frames, joints)}, got {depth.shape}"
                )
            object.__setattr__(self, _DEPTH, depth)
        if not (self.confidence >= 0).all() or not (self.confidence <= 1).all():
            raise self._error("expected confidence from 0 to 1")
        if (self.confidence[~np.isfinite(self.keypoints_px).all(-1)] > 0).any():
            raise self._error("expected confidence 0 where keypoints_px is NaN")
        if not 0 < self.rate_hz <= MAX_RATE_HZ:
            raise self._error(
                f"expected a positive rate_hz up to {MAX_RATE_HZ:g}, got {self.rate_hz}"
            )
        if not np.isfinite(self.joints_m[self.valid]).all(-1).any(-1).all():
            raise self._error(
                "expected joints_m in every valid frame, got frames without any joint"
            )

    def __len__(self) -> int:
        return len(self.joints_m)

    def _error(self, text: str) -> RecordingError:
        return RecordingError(f"recording {self.name[:60]}: {text}")

    @property
    def joints_camera_m(self) -> np.ndarray:
        """True joints (T, 17, 3) in the camera's optical frame."""
        return transform_points(self.camera.camera_from_world, self.joints_m).astype(np.float32)

    @classmethod
    def load(cls, path: Path) -> Recording:
        """From an npz. Raises ``RecordingError``."""
        try:
            data = read_entries(path, _ENTRIES, (*_TEXTS, _DEPTH))
            camera = Camera(
                data["camera_matrix"],
                (int(data["image_size"][0]), int(data["image_size"][1])),
                data["distortion"],
                str(data["distortion_model"]),
                data["camera_from_world"],
            )
            texts: dict[str, Any] = {name: str(data[name]) for name in _TEXTS if name in data}
            arrays: dict[str, Any] = {name: data[name] for name in _ARRAYS}
            arrays[_DEPTH] = data.get(_DEPTH)
            return cls(path.stem, camera=camera, rate_hz=float(data["rate_hz"]), **texts, **arrays)
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            reason = quoted(error).removeprefix(f"{path}: ")
            raise RecordingError(
                f"{path}: expected a recording of the form of training/data/recordings.py; "
                f"{reason}"
            ) from None

    def resampled(self, rate_hz: float) -> Recording:
        """The same motion at another rate, interpolated linearly; unknown or invalid where a
        neighbour is. Root-relative depth is left out.
        """
        if rate_hz == self.rate_hz:
            return self
        if self.rate_hz < SLOWEST_HZ:
            raise self._error(
                f"expected at least {SLOWEST_HZ:g} Hz to interpolate from, got {self.rate_hz:g} "
                "Hz: convert the source at its full rate, or train on single frames (offsets 0)"
            )
        step = self.rate_hz / rate_hz
        position = np.arange(int((len(self) - 1) / step + 1e-6) + 1) * step
        earlier = np.minimum(np.floor(position + 1e-6).astype(int), len(self) - 1)
        weight = np.maximum(position - earlier, 0)
        later = np.where(weight > 1e-5, np.minimum(earlier + 1, len(self) - 1), earlier)

        def between(values: np.ndarray) -> np.ndarray:
            w = weight[:, None, None]
            return np.asarray(values[earlier] * (1 - w) + values[later] * w)

        keypoints = between(self.keypoints_px)
        confidence = np.minimum(self.confidence[earlier], self.confidence[later])
        return replace(
            self,
            joints_m=between(self.joints_m),
            keypoints_px=keypoints,
            rate_hz=rate_hz,
            confidence=np.where(np.isfinite(keypoints).all(-1), confidence, 0),
            valid=self.valid[earlier] & self.valid[later],
            frame=self.frame[np.where(weight < 0.5, earlier, later)],
            root_relative_depth_px=None,
        )

    def every(self, step: int) -> Recording:
        """Each ``step``-th frame only, at the lower rate."""
        depth = self.root_relative_depth_px
        return replace(
            self,
            rate_hz=self.rate_hz / step,
            root_relative_depth_px=None if depth is None else depth[::step],
            **{name: getattr(self, name)[::step] for name in _ARRAYS},
        )


def completed(joints_m: np.ndarray) -> np.ndarray:
    """Poses (..., 17, 3) with the joints that some sources lack: the spine between pelvis and
    thorax, the neck between thorax and head.
    """
    joints = joints_m.copy()
    pelvis, spine, thorax, neck, head = H36M17.indices("pelvis", "spine", "thorax", "neck", "head")
    for joint, start, end, part in ((spine, pelvis, thorax, 0.5), (neck, thorax, head, 1 / 1.7)):
        made = joints[..., start, :] + part * (joints[..., end, :] - joints[..., start, :])
        joints[..., joint, :] = np.where(
            np.isfinite(joints[..., joint, :]), joints[..., joint, :], made
        )
    return np.asarray(joints)


def canonical(recording: Recording) -> tuple[np.ndarray, np.ndarray]:
    """Joints (T, 17, 3) in the camera's frame, the person scaled together with its distance to the
    canonical stature, so that the rays stay; and which frames (T,) are valid and complete.
    """
    poses = completed(recording.joints_camera_m)
    usable = recording.valid & np.isfinite(poses).all((1, 2))
    return poses * np.float32(scale_of_person(poses[recording.valid])), usable


def enough(joints_m: np.ndarray) -> np.ndarray:
    """True (...) for poses (..., 17, 3) of which enough joints are known to train on."""
    known = np.isfinite(joints_m).all(-1)
    return np.asarray(known[..., 0] & (known.sum(-1) >= FEWEST_JOINTS))


def write(folder: Path, split: str, recording: Recording) -> Path:
    """Write a recording into a split's folder; ``ValueError`` where its units, axes or camera
    cannot be right.
    """
    if split not in SPLITS:
        raise ValueError(f"expected a split among {', '.join(SPLITS)}, got '{split}'")
    heights = stature(completed(recording.joints_m[recording.valid]))
    height = (
        float(np.median(heights[np.isfinite(heights)])) if np.isfinite(heights).any() else np.nan
    )
    if height < STATURES_M[0] or height > STATURES_M[1]:
        raise ValueError(
            f"recording {recording.name}: expected a person of {STATURES_M[0]} to {STATURES_M[1]} "
            f"m, got "
            f"{height:.3g} m: are joints_m in metres and in the order of H36M17?"
        )
    miss = np.linalg.norm(
        recording.camera.project(recording.joints_m) - recording.keypoints_px, axis=-1
    )
    sure = (
        (recording.confidence > 0.5)
        & np.isfinite(recording.joints_m).all(-1)
        & recording.valid[:, None]
    )
    # Behind the camera is missed by more than any distance.
    far = float(np.median(np.nan_to_num(miss[sure], nan=np.inf))) if sure.any() else 0.0
    if far > LARGEST_MISS * recording.camera.size[0]:
        raise ValueError(
            f"recording {recording.name}: expected keypoints_px near the projected joints_m, got "
            f"a median distance of {far:.0f} px: check the axes, camera_from_world and the camera"
        )
    camera = recording.camera
    path = folder / split / f"{recording.name}.npz"
    path.parent.mkdir(parents=True, exist_ok=True)
    entries: dict[str, Any] = {
        name: np.array(getattr(recording, name)) for name in (*_ARRAYS, *_TEXTS)
    }
    if recording.root_relative_depth_px is not None:
        entries[_DEPTH] = recording.root_relative_depth_px
    np.savez_compressed(
        path,
        rate_hz=recording.rate_hz,
        camera_matrix=camera.matrix,
        distortion=camera.distortion,
        distortion_model=camera.distortion_model,
        image_size=np.array(camera.size),
        camera_from_world=camera.camera_from_world,
        **entries,
    )
    return path


def read(folder: Path, split: str) -> Iterator[Recording]:
    """The recordings of a split by name; ``ValueError`` when there are none."""
    paths = sorted((folder / split).glob("*.npz"))
    if not paths:
        raise ValueError(
            f"{folder / split}: expected a folder with recordings (*.npz), as 'pose3d dataset' "
            f"makes it"
        )
    return (Recording.load(path) for path in paths)


@dataclass(frozen=True)
class Recordings:
    """Training clips from a split: ``rays`` (N, 17, 2), ``confidence`` (N, 17) and ``joints_m``
    (N, 17, 3) of all recordings at 30 Hz, one after another, and the rows ``newest`` at which a
    clip can end whose frames are at ``offsets`` (T,) before it.

    Joints are in the camera's frame, people scaled together with their distance to the canonical
    stature, so that the rays stay. Some of the joints may be NaN.
    """

    rays: np.ndarray
    confidence: np.ndarray
    joints_m: np.ndarray
    newest: np.ndarray
    offsets: np.ndarray

    @classmethod
    def load(cls, folder: Path, split: str, offsets: Sequence[int] | np.ndarray) -> Recordings:
        """``offsets``: frames of a clip in 1/30 s, rising, the last one 0, as in (-6, -3, 0).

        Recordings at another rate are interpolated, unless clips are single frames. Raises
        ``ValueError``.
        """
        steps = np.asarray(offsets, int)
        if steps.ndim != 1 or not len(steps) or steps[-1] != 0 or (np.diff(steps) <= 0).any():
            raise ValueError(
                f"expected rising whole offsets that end with 0, such as -6, -3, 0; got "
                f"{list(offsets)}"
            )
        rays, confidence, joints, newest = [], [], [], []
        count = 0
        for source in read(folder, split):
            recording = source.resampled(CLIP_RATE_HZ) if len(steps) > 1 else source
            poses, _ = canonical(recording)
            usable = recording.valid & enough(poses)
            if not usable.any():
                continue
            rays.append(
                np.nan_to_num(recording.camera.rays(recording.keypoints_px)).astype(np.float32)
            )
            confidence.append(recording.confidence)
            joints.append(poses)
            ends = np.arange(-steps[0], len(recording))
            newest.append(count + ends[usable[ends[:, None] + steps].all(1)])
            count += len(recording)
        rows = np.concatenate(newest) if newest else np.zeros(0, int)
        if not len(rows):
            raise ValueError(
                f"{folder / split}: expected recordings with valid frames at {steps.tolist()} / "
                "30 s, got none"
            )
        return cls(
            np.concatenate(rays), np.concatenate(confidence), np.concatenate(joints), rows, steps
        )

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> Clips:
        """Random clips; unseen keypoints have confidence 0. ``varied`` mirrors half of them and
        loses more joints.
        """
        rows = rng.choice(self.newest, size)[:, None] + self.offsets
        rays, confidence, joints_m = self.rays[rows], self.confidence[rows], self.joints_m[rows]
        if not varied:
            return Clips(rays, confidence, joints_m)
        flip = rng.random(size) < 0.5
        rays[flip], joints_m[flip] = mirror(rays[flip]), mirror(joints_m[flip])
        confidence[flip] = confidence[flip][..., H36M17.flip]
        return hide(rng, Clips(rays, confidence, joints_m))
