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

"""People written to files for analysis: CSV, JSON lines and numpy's npz here, others beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from functools import partial
from glob import escape
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import missing_package
from pose3d_ros.io.bvh_file import write_bvh
from pose3d_ros.io.errors import PoseFileError
from pose3d_ros.io.joints_bag import JointsBagWriter
from pose3d_ros.io.marker_files import write_c3d, write_trc
from pose3d_ros.io.mot_file import write_mot
from pose3d_ros.io.motions import MotionFiles
from pose3d_ros.people import People3D, TrackState

CSV_COLUMNS = (
    *("frame", "time_s", "person", "state", "joint"),
    *("x_m", "y_m", "z_m", "confidence", "sigma_m", "vx_mps", "vy_mps", "vz_mps"),
)
SIGHTING = ("ids", "states", "joints_m", "confidence", "sigma_m", "velocity_mps")  # in npz
STATE_NAMES = MappingProxyType({state: state.name.lower() for state in TrackState})


class PoseWriter(Protocol):
    """Takes the people of each frame in turn; the file is whole after ``close``."""

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""

    def close(self, optical: bool) -> list[str]:
        """Finish the file; returns what is to be said of it, line by line. ``optical``: whether
        people came in a camera's optical frame, else z is up; TRC, C3D and BVH turn them upright.
        """


def pose_writer(path: Path) -> PoseWriter:
    """A writer of the format that the file's ending tells. Raises ``PoseFileError`` as
    ``check_output`` does.
    """
    check_output(path)
    try:
        return WRITERS[path.suffix.lower()](path)
    except OSError as error:
        raise PoseFileError(f"output: cannot write {path}: {error.strerror}") from None


def check_output(path: Path) -> None:
    """Raise ``PoseFileError`` for an ending of no format, a missing package, and a folder in which
    nothing can be written; what is there already stays.
    """
    ending = path.suffix.lower()
    if ending not in WRITERS:
        raise PoseFileError(
            f"output: expected a file that ends with {', '.join(WRITERS)}, got '{path.name}'"
        )
    if ending in NEEDS and find_spec(NEEDS[ending]) is None:
        raise PoseFileError(missing_package(NEEDS[ending]))
    try:
        TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise PoseFileError(f"output: cannot write {path}: {error.strerror}") from None


def files_of(path: Path) -> list[Path]:
    """Files that are there already of those that a writer for ``path`` would write."""
    names = [escape(path.name)]
    if path.suffix.lower() in PER_PERSON:
        names.append(f"{escape(path.stem)}_[0-9]*{path.suffix}")
    return sorted(file for name in names for file in path.parent.glob(name))


class CsvWriter:
    """A line for each joint of each person in each frame (``CSV_COLUMNS``); empty where unknown.
    Metres and seconds, in the people's frame; ``time_s`` since the recording's own zero.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", newline="")
        self._lines = csv.writer(self._file)
        self._lines.writerow(CSV_COLUMNS)
        self._frame = 0

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""
        numbers = np.concatenate(
            [
                people.joints_m,
                people.confidence[..., None],
                people.sigma_m[..., None],
                people.velocity_mps,
            ],
            axis=-1,
        )
        for row, person in enumerate(people.ids.tolist()):
            state = STATE_NAMES[TrackState(int(people.states[row]))]
            for joint, values in zip(people.skeleton.joints, numbers[row], strict=True):
                self._lines.writerow(
                    [self._frame, f"{people.stamp_ns * 1e-9:.6f}", person, state, joint]
                    + [f"{value:.5f}" if np.isfinite(value) else "" for value in values]
                )
        self._frame += 1
        self._file.flush()  # whole frames, should the process be killed

    def close(self, optical: bool) -> list[str]:
        """Finish the file."""
        self._file.close()
        return []


class JsonLinesWriter:
    """A JSON object for each frame: ``stamp_ns``, ``frame_id`` and ``people``; null where
    unknown.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w")

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""
        names = people.skeleton.joints
        described = [
            {
                "id": person,
                "state": STATE_NAMES[TrackState(int(people.states[row]))],
                "joints_m": dict(zip(names, _json(people.joints_m[row]), strict=True)),
                "confidence": dict(zip(names, _json(people.confidence[row]), strict=True)),
                "sigma_m": dict(zip(names, _json(people.sigma_m[row]), strict=True)),
                "velocity_mps": dict(zip(names, _json(people.velocity_mps[row]), strict=True)),
            }
            for row, person in enumerate(people.ids.tolist())
        ]
        line = {"stamp_ns": people.stamp_ns, "frame_id": people.frame_id, "people": described}
        self._file.write(json.dumps(line, allow_nan=False) + "\n")
        self._file.flush()

    def close(self, optical: bool) -> list[str]:
        """Finish the file."""
        self._file.close()
        return []


def _json(values: npt.NDArray[np.floating[Any]]) -> list[Any]:
    """Numbers of five decimals as lists, None for what is not finite."""
    rounded = np.round(values.astype(float), 5).astype(object)
    rounded[~np.isfinite(values)] = None
    return list(rounded.tolist())


class NpzWriter:
    """Arrays: ``stamp_ns`` (T,); for each of N sightings ``frame`` (N,), ``ids``, ``states``,
    ``joints_m`` (N, J, 3), ``confidence`` (N, J), ``sigma_m``, ``velocity_mps``; ``joints``, their
    names; ``frame_id``.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._frames: list[People3D] = []

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""
        self._frames.append(people)

    def close(self, optical: bool) -> list[str]:
        """Finish the file."""
        if self._frames:
            counts = [len(people) for people in self._frames]
            arrays: dict[str, Any] = {
                name: np.concatenate([getattr(people, name) for people in self._frames])
                for name in SIGHTING
            }
            np.savez_compressed(
                self._file,
                stamp_ns=np.array([people.stamp_ns for people in self._frames], np.int64),
                frame=np.repeat(np.arange(len(counts)), counts),
                joints=np.array(self._frames[0].skeleton.joints),
                frame_id=np.array(self._frames[0].frame_id),
                **arrays,
            )
        self._file.close()
        return []


WRITERS: Mapping[str, Callable[[Path], PoseWriter]] = MappingProxyType(
    {
        ".csv": CsvWriter,
        ".jsonl": JsonLinesWriter,
        ".npz": NpzWriter,
        ".trc": partial(MotionFiles, save=write_trc),
        ".c3d": partial(MotionFiles, save=write_c3d),
        ".bvh": partial(MotionFiles, save=write_bvh),
        ".mot": partial(MotionFiles, save=write_mot),
        ".mcap": JointsBagWriter,
    }
)
NEEDS = MappingProxyType({".c3d": "c3d", ".mcap": "rosbags"})
PER_PERSON = frozenset({".trc", ".c3d", ".bvh", ".mot"})
