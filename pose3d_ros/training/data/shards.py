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

"""Shards: a detector's keypoints and feature maps of labelled people, on disk as ``NAME.npz`` and,
of as many people, ``NAME.features.npy``.

Labels of N people, as ``rendering.features`` and ``rig.samples`` write them:

``rays`` float32 (N, 17, 2), ``confidence`` float32 (N, 17)
    The detector's keypoints as viewing rays (x/z, y/z, undistorted).
``joints_m`` float32 (N, 17, 3)
    True joints in the camera's frame at the canonical stature; NaN where unknown.
``crop_keypoints`` float32 (N, 17, 2), ``crop_rays`` float32 (N, 2, 2)
    As in ``lifting.feature_maps``.
``root_relative_depth`` float32 (N, 17)
    The detector's, in sides of the crop (``landmark_z`` in files until version 0.1); zeros if it
    has none.
``visible`` bool (N, 17), ``frame`` (N,) in tenths of a second, ``clip`` (N,)
    Frames of one person in one clip follow each other.

Features are float16 (N, V), all maps of a person one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import quoted
from pose3d_ros.io.npz import Entry, NpzError, read_entries

NOT_STORED = {"blazepose": 1}
"""Number of a detector's feature maps, the finest, that are left out: BlazePose's is 3/4 of the
bytes.
"""
FEATURES_SUFFIX = ".features.npy"
_OLD_NAMES = {"root_relative_depth": "landmark_z"}
_LABELS: dict[str, Entry] = {
    "rays": ("number", "N", 17, 2),
    "confidence": ("number", "N", 17),
    "joints_m": ("number", "N", 17, 3),
    "crop_keypoints": ("number", "N", 17, 2),
    "crop_rays": ("number", "N", 2, 2),
    "root_relative_depth": ("number", "N", 17),
    "landmark_z": ("number", "N", 17),
    "clip": ("number", "N"),
}

LabelledFeatures = tuple[dict[str, npt.NDArray[Any]], npt.NDArray[np.float16]]
"""Labels of N people and their feature maps (N, V)."""


def write(path: Path, parts: Sequence[LabelledFeatures]) -> None:
    """Write parts, one after the other, to ``NAME.npz`` and ``NAME.features.npy``.

    A process that lists the folder meanwhile finds ``NAME.npz`` once both are complete.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path.with_suffix(FEATURES_SUFFIX), np.concatenate([maps for _, maps in parts]))
    labels: dict[str, Any] = {
        name: np.concatenate([part[name] for part, _ in parts]) for name in parts[0][0]
    }
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, **labels)
    partial.rename(path)


def read_labels(path: Path, names: Sequence[str]) -> dict[str, npt.NDArray[Any]]:
    """The labels ``names`` of ``NAME.npz``. Raises ``NpzError``."""
    entries = {_OLD_NAMES.get(name, name): _LABELS[name] for name in names}
    entries |= {name: _LABELS[name] for name in names}
    renamed = {name for name in names if name in _OLD_NAMES}
    data = read_entries(path, entries, {*renamed, *(_OLD_NAMES[name] for name in renamed)})
    labels = {name: data.get(name, data.get(_OLD_NAMES.get(name, name))) for name in names}
    if absent := [name for name, value in labels.items() if value is None]:
        raise NpzError(f"{path}: expected an npz with {', '.join(absent)}, got one without")
    return {name: value for name, value in labels.items() if value is not None}


def map_features(path: Path) -> npt.NDArray[np.float16]:
    """The features (N, V) beside ``NAME.npz``, on the disk until they are needed.

    Raises ``NpzError``.
    """
    features_path = path.with_suffix(FEATURES_SUFFIX)
    try:
        features: npt.NDArray[np.float16] = np.load(features_path, mmap_mode="r")
    except Exception as error:  # Python's own parser reads the header, and fails in its ways
        raise NpzError(
            f"{features_path}: expected feature maps as 'pose3d render features' writes them; "
            f"{quoted(error)}"
        ) from None
    if features.ndim != 2 or features.dtype != np.float16:
        raise NpzError(
            f"{features_path}: expected feature maps (N, V) of type float16, got "
            f"{features.shape} of type {features.dtype}"
        )
    return features
