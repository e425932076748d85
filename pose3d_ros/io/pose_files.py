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

"""People written to files for analysis: CSV, JSON lines, numpy's npz and OpenSim's TRC."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import Pose3dError
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.skeleton import Skeleton

# OpenSim: x forward, y up, z to the right. From an optical frame (x right, y down, z forward), for
# somebody who faces the camera x is to the camera; from a frame with z up (REP-103).
OPENSIM_FROM_OPTICAL = np.array([[0, 0, -1], [0, -1, 0], [-1, 0, 0]], float)
OPENSIM_FROM_Z_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], float)
CSV_COLUMNS = (
    *("frame", "time_s", "person", "state", "joint"),
    *("x_m", "y_m", "z_m", "confidence", "sigma_m", "vx_mps", "vy_mps", "vz_mps"),
)
SIGHTING = ("ids", "states", "joints_m", "confidence", "sigma_m", "velocity_mps")  # in npz
STATE_NAMES = MappingProxyType({state: state.name.lower() for state in TrackState})


class PoseFileError(Pose3dError, ValueError):
    """A file of poses that cannot be written."""


class PoseWriter(Protocol):
    """Takes the people of each frame in turn; the file is whole after ``close``."""

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""

    def close(self) -> None:
        """Finish the file."""


def pose_writer(path: Path, optical: bool) -> PoseWriter:
    """A writer of the format that the file's ending tells. ``optical``: whether people come in a
    camera's optical frame, else z is up; TRC has y up. Raises ``PoseFileError`` for another ending
    and ``OSError`` where nothing can be written.
    """
    make = WRITERS.get(path.suffix.lower())
    if make is None:
        raise PoseFileError(
            f"output: expected a file that ends with {', '.join(WRITERS)}, got '{path.name}'"
        )
    return make(path, optical)


class CsvWriter:
    """A line for each joint of each person in each frame (``CSV_COLUMNS``); empty where unknown.
    Metres and seconds, in the people's frame; ``time_s`` since the recording's own zero.
    """

    def __init__(self, path: Path, optical: bool) -> None:
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

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


class JsonLinesWriter:
    """A JSON object for each frame: ``stamp_ns``, ``frame_id`` and ``people``; null where
    unknown.
    """

    def __init__(self, path: Path, optical: bool) -> None:
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

    def close(self) -> None:
        """Finish the file."""
        self._file.close()


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

    def __init__(self, path: Path, optical: bool) -> None:
        self._file = path.open("wb")
        self._frames: list[People3D] = []

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""
        self._frames.append(people)

    def close(self) -> None:
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


class TrcWriter:
    """OpenSim's markers, a file for each person: NAME.trc, or NAME_ID.trc where there are several.

    Millimetres, x forward, y up, z to the right; empty where unknown or where the person is away.
    TRC has one rate: joints are taken at the frames' own times, and the rate that is written is
    that of the median step between them.
    """

    def __init__(self, path: Path, optical: bool) -> None:
        path.parent.stat()  # raises where there is no such folder
        self._path = path
        self._opensim_from_frame = OPENSIM_FROM_OPTICAL if optical else OPENSIM_FROM_Z_UP
        self._stamps_ns: list[int] = []
        self._joints_mm: dict[int, dict[int, npt.NDArray[np.float64]]] = {}
        self._skeleton: Skeleton | None = None

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""
        self._skeleton = people.skeleton
        joints = 1000 * people.joints_m.astype(float) @ self._opensim_from_frame.T
        for person, of_person in zip(people.ids.tolist(), joints, strict=True):
            self._joints_mm.setdefault(person, {})[len(self._stamps_ns)] = of_person
        self._stamps_ns.append(people.stamp_ns)

    def close(self) -> None:
        """Write the files."""
        several = len(self._joints_mm) > 1
        for person, joints_mm in self._joints_mm.items():
            name = f"{self._path.stem}_{person}.trc" if several else self._path.name
            self._write_person(self._path.with_name(name), joints_mm)

    def _write_person(self, path: Path, joints_mm: Mapping[int, npt.NDArray[np.float64]]) -> None:
        assert self._skeleton is not None
        names = self._skeleton.joints
        times_s = (np.array(self._stamps_ns) - self._stamps_ns[0]) * 1e-9
        step_s = float(np.median(np.diff(times_s))) if len(times_s) > 1 else 0.0
        rate = f"{1 / step_s:.2f}" if step_s > 0 else "0"
        count = len(times_s)
        lines = [
            f"PathFileType\t4\t(X/Y/Z)\t{path.name}",
            "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame"
            "\tOrigNumFrames",
            f"{rate}\t{rate}\t{count}\t{len(names)}\tmm\t{rate}\t1\t{count}",
            "Frame#\tTime\t" + "\t\t\t".join(names) + "\t\t",
            "\t\t" + "\t".join(f"X{n}\tY{n}\tZ{n}" for n in range(1, len(names) + 1)),
            "",
        ]
        away = np.full((len(names), 3), np.nan)
        for frame, time_s in enumerate(times_s):
            values = joints_mm.get(frame, away).ravel()
            numbers = [f"{value:.2f}" if np.isfinite(value) else "" for value in values]
            lines.append("\t".join([str(frame + 1), f"{time_s:.6f}", *numbers]))
        path.write_text("\n".join(lines) + "\n")


WRITERS: Mapping[str, Callable[[Path, bool], PoseWriter]] = MappingProxyType(
    {".csv": CsvWriter, ".jsonl": JsonLinesWriter, ".npz": NpzWriter, ".trc": TrcWriter}
)
