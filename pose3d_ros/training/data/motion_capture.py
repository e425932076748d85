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

"""Motion capture on disk: ``train.npz`` and ``val.npz`` with ``index.json`` in one folder.

Each npz has ``positions`` float (N, 22, 3), joints (``skeleton.CMU22``) in metres with z up at
30 Hz, all clips one after the other, and ``clip_start`` and ``clip_len`` int (C,). The index has
under ``clips`` an object for each clip of each split, in the npz' order: ``id``, ``split`` (train
or val), and perhaps ``action``, ``glitch_frames``, numbers of frames in the clip, and
``replaces``, the id of a clip in other folders that this one is a better copy of.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import Pose3dError, quoted
from pose3d_ros.io.npz import read_entries
from pose3d_ros.skeleton import CMU22

INDEX = "index.json"
_MAX_INDEX_BYTES = 1 << 24
_MAX_M = 1000.0


class MotionCaptureError(Pose3dError, ValueError):
    """A folder of motion capture that cannot be used."""


@dataclass(frozen=True)
class MotionClip:
    """A clip: its rows ``start`` to ``stop`` of the positions, and frames with ``glitches``."""

    name: str
    action: str
    start: int
    stop: int
    glitches: tuple[int, ...]


def is_motion_capture(folder: str | Path) -> bool:
    """True for a folder with an index of motion capture."""
    return (Path(folder) / INDEX).is_file()


def read_motion_capture(
    folder: Path, split: str, without: Collection[str] = ()
) -> tuple[npt.NDArray[np.float32], list[MotionClip]]:
    """Positions (N, 22, 3) of a split and its clips, but for those whose ids are in ``without``.

    Raises ``MotionCaptureError``, or ``NpzError`` for an npz that cannot be read.
    """
    data = read_entries(
        folder / f"{split}.npz",
        {
            "positions": ("number", "N", len(CMU22), 3),
            "clip_start": ("integer", "C"),
            "clip_len": ("integer", "C"),
        },
    )
    positions = data["positions"].astype(np.float32, copy=False)
    if (np.abs(positions[np.isfinite(positions)]) > _MAX_M).any():
        raise MotionCaptureError(
            f"{folder}: expected positions in metres, within {_MAX_M:g} m, in {split}.npz, got "
            f"up to {np.nanmax(np.abs(positions)):.3g}: are they in another unit?"
        )
    listed = [clip for clip in _index(folder) if clip["split"] == split]
    starts, lengths = data["clip_start"].tolist(), data["clip_len"].tolist()
    if len(listed) != len(starts):
        raise MotionCaptureError(
            f"{folder}: expected as many {split} clips in {INDEX} as in {split}.npz, got "
            f"{len(listed)} and {len(starts)}"
        )
    clips = [
        MotionClip(
            str(clip["id"]),
            str(clip.get("action") or "motion"),
            start,
            start + length,
            tuple(clip.get("glitch_frames") or ()),
        )
        for clip, start, length in zip(listed, starts, lengths, strict=True)
    ]
    for clip in clips:
        if not 0 <= clip.start <= clip.stop <= len(positions) or not all(
            isinstance(frame, int) for frame in clip.glitches
        ):
            raise MotionCaptureError(
                f"{folder}: expected clip {clip.name[:60]} within the {len(positions)} frames of "
                f"{split}.npz and whole numbers as glitch_frames, got frames {clip.start} to "
                f"{clip.stop}"
            )
    return positions, [clip for clip in clips if clip.name not in without]


def folders_with(folders: Sequence[Path], split: str) -> list[Path]:
    """The folders that have a split. Raises ``MotionCaptureError`` if there is none."""
    found = [folder for folder in folders if (folder / f"{split}.npz").is_file()]
    if not found:
        raise MotionCaptureError(
            f"{os.pathsep.join(map(str, folders))}: expected a folder with {split}.npz, got none; "
            f"name one more that has it"
        )
    return found


def replaced(folder: Path, folders: Sequence[Path]) -> frozenset[str]:
    """Ids of the clips that the other folders have better copies of."""
    return frozenset(
        str(clip["replaces"])
        for other in folders
        if other != folder
        for clip in _index(other)
        if "replaces" in clip
    )


def _index(folder: Path) -> list[dict[str, Any]]:
    path = folder / INDEX
    try:
        if path.stat().st_size > _MAX_INDEX_BYTES:
            raise ValueError(f"{path.stat().st_size / 1e6:.0f} MB")
        clips = json.loads(path.read_text())["clips"]
        if not all({"id", "split"} <= clip.keys() for clip in clips):
            raise ValueError("a clip without id or split")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise MotionCaptureError(
            f"{path}: expected an object with 'clips', each with 'id' and 'split'; got "
            f"{quoted(error)}"
        ) from None
    return list(clips)
