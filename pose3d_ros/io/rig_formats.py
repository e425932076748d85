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

"""Other programs' calibration files: Pose2Sim, Qualisys, Caliscope, anipose, Kalibr, OpenCV,
EasyMocap, CMU Panoptic, ROS.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from pose3d_ros.camera import Camera, image_size
from pose3d_ros.errors import Pose3dError
from pose3d_ros.geometry import rigid, rotation_from_vector
from pose3d_ros.text_files import read_mapping

SOURCES = ("namespace", "video", "image", "camera_info")
"""Keys of a camera's entry that say where its images come from; for launching only."""

_KALIBR_DISTORTION = {
    "radtan": "plumb_bob",
    "equidistant": "equidistant",
    "equi": "equidistant",
    "none": "plumb_bob",
}


class RigFileError(Pose3dError, ValueError):
    """A calibration file that is missing, unreadable or contradicts itself."""


class RigContent(NamedTuple):
    """Cameras by name, whether they have poses, and per camera what its entry says of
    ``SOURCES`` and of the offset of its time.
    """

    cameras: dict[str, Camera]
    posed: bool
    sources: dict[str, dict[str, str]]
    time_offsets_s: dict[str, float] = {}  # noqa: RUF012 - read only


def sources_of(name: str, entry: Mapping[str, Any]) -> dict[str, str]:
    """What a camera's entry says of ``SOURCES``; raises ``RigFileError`` for what is no text."""
    sources = {key: entry[key] for key in SOURCES if key in entry}
    for key, value in sources.items():
        if not isinstance(value, str | int | float):
            raise RigFileError(f"camera {name}: expected a text as {key}, got {value}")
    return {key: str(value) for key, value in sources.items()}


def foreign_rig(contents: Mapping[Path, Mapping[str, Any]]) -> RigContent:
    """The rig of files of other programs, told apart by their content."""
    path, data = next(iter(contents.items()))
    keys = {str(key).lower() for key in data}
    if len(contents) > 1 or keys & {"camera_matrix", "camera_name"} or {"k", "d"} <= keys:
        stems = {file.stem for file in contents}
        if stems == {"intri", "extri"}:
            return _easymocap(
                *(next(d for f, d in contents.items() if f.stem == s) for s in ("intri", "extri"))
            )
        if len(stems) < len(contents):
            raise RigFileError("expected a file name of its own for every camera")
        return RigContent(
            {f.stem: _single(f.stem, data) for f, data in contents.items()}, False, {}
        )
    if any(key.startswith(("k_", "r_", "rot_")) for key in keys):
        other = path.with_stem("extri" if path.stem == "intri" else "intri")
        if other == path or not other.exists():
            raise RigFileError(
                f"expected {other.name} beside {path.name}: one has intrinsics, the other poses"
            )
        pair = {path.stem: data, other.stem: read_mapping(other)}
        return _easymocap(pair["intri"], pair["extri"])
    entries = _entries(data)
    if any("K" in entry for entry in entries.values()):
        size = data.get("image_size")
        return _posed({name: _krt(name, e, size) for name, e in entries.items()}, entries)
    if any(isinstance(entry.get("intrinsics"), list) for entry in entries.values()):
        return _kalibr(entries)
    tables = {
        name: entry
        for name, entry in entries.items()
        if "matrix" in entry and not entry.get("ignore", False)
    }
    if not tables:
        raise RigFileError(
            f"expected our rig YAML, TOML of Pose2Sim, Caliscope or anipose, Kalibr's camchain, "
            f"OpenCV's or ROS camera_info YAML, or JSON with K, R and t; got "
            f"{', '.join(map(str, data)) or 'nothing'}"
        )
    return _posed({name: _toml(name, entry) for name, entry in tables.items()}, tables)


def _entries(data: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Cameras' entries by name: of a mapping, or of a list whose entries have names."""
    cameras = data.get("cameras", data)
    if isinstance(cameras, Mapping):
        named: Iterable[tuple[Any, Any]] = cameras.items()
    else:
        named = [(entry.get("name"), entry) for entry in cameras]
        names = [name for name, _ in named]
        if None in names or len(set(names)) < len(names):
            raise RigFileError("expected a name of its own in every camera's entry")
    return {str(name): entry for name, entry in named if isinstance(entry, Mapping)}


def _posed(cameras: dict[str, Camera], entries: Mapping[str, Mapping[str, Any]]) -> RigContent:
    sources = {name: sources_of(name, entries[name]) for name in cameras}
    return RigContent(cameras, True, {name: said for name, said in sources.items() if said})


def _camera(
    name: str,
    matrix: npt.ArrayLike,
    size: Iterable[Any] | None,
    distortion: npt.ArrayLike,
    model: str,
    rotation: npt.ArrayLike | None = None,
    translation: npt.ArrayLike = (0, 0, 0),
) -> Camera:
    """A camera whose errors name it; ``rotation`` (3, 3) or a rotation vector (3,) with
    x_camera = R x_world + t.
    """
    if size is None:
        raise RigFileError(f"camera {name}: expected the image's size, got none")
    try:
        pose = np.eye(4)
        if rotation is not None:
            turn = np.asarray(rotation, float)
            turn = rotation_from_vector(turn) if turn.size == 3 else turn
            pose = rigid(turn, np.ravel(np.asarray(translation, float)))
        width, height = size
        return Camera(
            np.asarray(matrix, float),
            image_size(width, height),
            np.ravel(np.asarray(distortion, float)),
            model,
            pose,
            f"{name}_optical_frame",
        ).checked()
    except (TypeError, ValueError, OverflowError) as error:
        raise RigFileError(f"camera {name}: {error}") from None


def _toml(name: str, entry: Mapping[str, Any]) -> Camera:
    """Pose2Sim and Qualisys (rotation vector), Caliscope (matrix or vector)."""
    missing = [key for key in ("size", "rotation", "translation") if entry.get(key) is None]
    if missing:
        raise RigFileError(
            f"camera {name}: misses {', '.join(missing)}; was it left out of the calibration?"
        )
    fisheye = bool(entry.get("fisheye", False))
    distortion = np.array(entry.get("distortions", []), float)
    return _camera(
        name,
        entry["matrix"],
        entry["size"],
        distortion[:4] if fisheye else distortion,
        "equidistant" if fisheye else _model(len(distortion)),
        np.array(entry["rotation"], float),
        entry["translation"],
    )


def _model(coefficients: int) -> str:
    return "plumb_bob" if coefficients <= 5 else "rational_polynomial"


def _krt(name: str, entry: Mapping[str, Any], size: Iterable[Any] | None) -> Camera:
    """JSON of CMU Panoptic and others."""
    missing = [key for key in ("K", "R", "t") if key not in entry]
    if missing:
        raise RigFileError(f"camera {name}: misses {', '.join(missing)}")
    distortion = np.ravel(np.array(entry.get("distCoef", []), float))
    return _camera(
        name,
        entry["K"],
        entry.get("resolution", size),
        distortion,
        _model(len(distortion)),
        entry["R"],
        entry["t"],
    )


def _single(name: str, data: Mapping[str, Any]) -> Camera:
    """One camera's intrinsics: ROS' camera_info YAML, a CameraInfo as ``ros2 topic echo`` writes
    it, or what OpenCV's calibration example writes.
    """
    header = data.get("header")
    frame_id = header.get("frame_id") if isinstance(header, Mapping) else None
    try:
        camera = Camera.from_mapping(data, name)
    except ValueError as error:
        raise RigFileError(f"camera {name}: {error}") from None
    return replace(camera, frame_id=str(frame_id or f"{name}_optical_frame"))


def _easymocap(intri: Mapping[str, Any], extri: Mapping[str, Any]) -> RigContent:
    """``intri.yml`` (K_, dist_, H_, W_ of each name) and ``extri.yml`` (Rot_ or the Rodrigues
    vector R_, T_).
    """
    cameras = {}
    for name in map(str, intri["names"]):
        size = [np.ravel(intri.get(f"{side}_{name}", 0))[0] for side in "WH"]
        if not all(size):
            raise RigFileError(
                f"camera {name}: expected the image size as W_{name} and H_{name} in intri.yml"
            )
        distortion = np.ravel(intri[f"dist_{name}"])
        turn = extri.get(f"Rot_{name}", extri.get(f"R_{name}"))
        if turn is None or f"T_{name}" not in extri:
            raise RigFileError(
                f"camera {name}: extri.yml misses Rot_{name} (or R_{name}) and T_{name}"
            )
        cameras[name] = _camera(
            name,
            intri[f"K_{name}"],
            size,
            distortion,
            _model(len(distortion)),
            np.array(turn),
            extri[f"T_{name}"],
        )
    return RigContent(cameras, True, {})


def _kalibr(entries: Mapping[str, Mapping[str, Any]]) -> RigContent:
    """Kalibr's camchain: each camera's pose is relative to the one with the number before, in
    whatever order the file has them. The world is the first camera.
    """
    cameras: dict[str, Camera] = {}
    pose = np.eye(4)
    for name, entry in _by_number(entries):
        if entry.get("camera_model", "pinhole") != "pinhole":
            raise RigFileError(
                f"camera {name}: expected camera_model pinhole, got {entry['camera_model']}"
            )
        model = entry.get("distortion_model", "none")
        if model not in _KALIBR_DISTORTION:
            raise RigFileError(
                f"camera {name}: expected a distortion model among "
                f"{', '.join(_KALIBR_DISTORTION)}, got {model}"
            )
        if cameras:
            if "T_cn_cnm1" not in entry:
                raise RigFileError(
                    f"camera {name}: misses T_cn_cnm1, its pose relative to the camera before"
                )
            pose = np.array(entry["T_cn_cnm1"], float).reshape(4, 4) @ pose
        fx, fy, cx, cy = entry["intrinsics"]
        cameras[name] = _camera(
            name,
            [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
            entry.get("resolution"),
            entry.get("distortion_coeffs", []),
            _KALIBR_DISTORTION[model],
            pose[:3, :3],
            pose[:3, 3],
        )
    topics = {
        name: {"image": entry["rostopic"], **entry} if "rostopic" in entry else entry
        for name, entry in entries.items()
    }
    return _posed(cameras, topics)


def _by_number(
    entries: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, Mapping[str, Any]]]:
    """Entries cam0, cam1, ..., cam10 in the order of their numbers."""
    numbers = {name: re.search(r"[0-9]{1,9}$", name) for name in entries}
    if not all(numbers.values()):
        raise RigFileError(f"expected Kalibr's names cam0, cam1, ..., got {', '.join(entries)}")
    ordered = sorted((int(number[0]), name) for name, number in numbers.items() if number)
    first = ordered[0][0]
    for place, (number, name) in enumerate(ordered):
        if number != first + place:
            raise RigFileError(
                f"camera {name}: its pose is relative to camera {number - 1}, which is not there "
                f"once: a chain cannot do without a camera in its middle"
            )
    return [(name, entries[name]) for _, name in ordered]
