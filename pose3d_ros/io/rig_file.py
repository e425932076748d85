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

"""The rig file: the cameras of one place, calibrated, and where they stand."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pose3d_ros.camera import Camera, image_size
from pose3d_ros.geometry import (
    inverse_transform,
    quaternion_from_rotation,
    rigid,
    rotation_from_quaternion,
)
from pose3d_ros.io.rig_formats import SOURCES, RigContent, RigFileError, foreign_rig, sources_of
from pose3d_ros.text_files import TextFileError, local_path, read_mapping, shortened

SMALLEST_M, LARGEST_M = 0.04, 45.0  # between the cameras of a rig: less than a hand, and a hall
MOST_CAMERAS = 1000
LONGEST_NAME = 100
LONGEST_S = 86400.0  # between two cameras' clocks
_SUFFIXES = (".yaml", ".yml", ".toml", ".json")
_UNITS = {"millimetres": 0.001, "centimetres": 0.01, "inches": 0.0254, "feet": 0.3048}
_USUAL_M = 0.5, 30.0  # between the cameras of a rig, to guess its unit
_KEYS = {
    "frame_id",
    "image_width",
    "image_height",
    "camera_matrix",
    "distortion_model",
    "distortion_coefficients",
    "position_m",
    "orientation_xyzw",
    "time_offset_s",
    *SOURCES,
}


@dataclass(frozen=True)
class RigFile:
    """Cameras by name, in the file's order, with ``camera_from_world`` of the fixed frame
    ``frame_id``.

    ``posed`` is false when the file says nothing of where the cameras are: then TF must.
    ``sources``: per camera name what the file says of ``rig_formats.SOURCES``.
    ``time_offsets_s``: per camera name the seconds to add to its stamps, or to the times in its
    film, which gives the rig's time; 0 where it is missing. Raises ``RigFileError`` for poses that
    contradict each other or cannot be in metres.
    """

    cameras: dict[str, Camera]
    frame_id: str = "world"
    posed: bool = True
    sources: dict[str, dict[str, str]] = field(default_factory=dict)
    time_offsets_s: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < len(self.cameras) <= MOST_CAMERAS:
            raise RigFileError(
                f"expected at least one camera and at most {MOST_CAMERAS}, got "
                f"{len(self.cameras) or 'none'}"
            )
        for name, camera in self.cameras.items():
            if len(name) > LONGEST_NAME:
                raise RigFileError(
                    f"expected names of cameras of at most {LONGEST_NAME} characters, got "
                    f"{len(name)}"
                )
            rotation = camera.camera_from_world[:3, :3]
            with np.errstate(all="ignore"):
                turned = np.abs(rotation @ rotation.T - np.eye(3)).max()
            if not turned <= 1e-3 or np.linalg.det(rotation) < 0:
                raise RigFileError(
                    f"camera {name}: expected a right-handed rotation, got {rotation.tolist()}"
                )
        self._check_unique("frame_id", [c.frame_id for c in self.cameras.values()])
        self._check_unique(
            "namespace", [_namespace(name, self.sources.get(name, {})) for name in self.cameras]
        )
        if self.posed and len(self.cameras) > 1:
            self._check_places()

    def _check_unique(self, key: str, values: list[str]) -> None:
        value, times = Counter(values).most_common(1)[0]
        if times > 1:
            what = "frame" if key == "frame_id" else key
            raise RigFileError(
                f"expected a {what} of its own for every camera, got '{value}' {times} times: "
                f"give each camera another {key}"
            )

    def _check_places(self) -> None:
        names = list(self.cameras)
        places = np.stack([camera.position_m for camera in self.cameras.values()])
        with np.errstate(over="ignore"):
            distances = np.linalg.norm(places[:, None] - places, axis=-1)
        poses = [camera.camera_from_world for camera in self.cameras.values()]
        for i, j in np.argwhere(np.triu(distances == 0, 1)):
            if np.array_equal(poses[i], poses[j]):
                raise RigFileError(
                    f"cameras {names[i]} and {names[j]} have the same pose: expected extrinsics "
                    f"of each camera; 'pose3d calibrate extrinsics' measures them"
                )
        first, second = np.unravel_index(distances.argmax(), distances.shape)
        farthest = float(distances[first, second])
        if not SMALLEST_M <= farthest <= LARGEST_M:
            guesses = [
                f"{farthest * scale:.2g} m if in {unit} (scale {scale:g})"
                for unit, scale in _UNITS.items()
                if _USUAL_M[0] <= farthest * scale <= _USUAL_M[1]
            ]
            raise RigFileError(
                f"cameras {names[first]} and {names[second]} are {farthest:.4g} m apart: expected "
                f"positions in metres, {SMALLEST_M:g} to {LARGEST_M:g} m between the farthest "
                f"cameras, a hand and a hall; {', '.join([*guesses, _OTHER_UNIT])}: set scale in "
                f"the file, or 'pose3d calibrate convert FILE rig.yaml --scale SCALE'"
            )


_OTHER_UNIT = "if in squares of a board, scale is a square's side in metres"


def read_rig(path: str | Path | Sequence[str | Path], scale: float | None = None) -> RigFile:
    """The rig of a file, a folder or several files; raises ``RigFileError`` (a ``ValueError``)
    in one line that names the file.

    Formats, told apart by their content: our YAML (``write_rig``); TOML of Pose2Sim (Qualisys),
    Caliscope and anipose; Kalibr's camchain YAML (the world is the first camera); OpenCV
    FileStorage YAML (``intri.yml`` with ``extri.yml`` beside it, or one camera's calibration);
    JSON with K, R, t per camera (CMU Panoptic's too); one file per camera (not ``posed``) of ROS
    camera_info YAML, ``ost.txt``, or a CameraInfo message as ``ros2 topic echo`` writes it. A
    folder means all YAML, TOML and JSON files in it, in natural order. ``file://`` and
    ``package://`` URLs are paths.

    ``scale``: metres per unit of the file's positions (0.01 for centimetres); None takes the
    file's own ``scale``, or metres.
    """
    given = [path] if isinstance(path, str | Path) else list(path)
    where = shortened(", ".join(map(str, given)), 300)
    try:
        if not given:
            raise RigFileError("expected a calibration file, got none")
        contents = {file: read_mapping(file) for file in _files([local_path(p) for p in given])}
        if not contents:
            raise RigFileError(f"expected calibration files ({', '.join(_SUFFIXES)}), got none")
        with np.errstate(all="ignore"):  # what overflows is found not to be finite
            return _rig(contents, scale)
    except OSError as error:
        raise RigFileError(f"{where}: {error.strerror}") from None
    except (
        *(KeyError, IndexError, TypeError, ValueError, AttributeError),
        *(OverflowError, RecursionError),
    ) as error:
        what = shortened(error) or type(error).__name__
        what = f"misses {what}" if isinstance(error, KeyError) else what
        named = isinstance(error, TextFileError) or str(error).startswith(where)
        raise RigFileError(what if named else f"{where}: {what}") from None


def read_cameras(
    path: str | Path | Sequence[str | Path], scale: float | None = None
) -> dict[str, Camera]:
    """Cameras by name whose file also says where they are; everything else is as in
    ``read_rig``.
    """
    rig = read_rig(path, scale)
    if not rig.posed:
        raise RigFileError(
            f"{path}: has intrinsics only, expected extrinsics too: 'pose3d calibrate extrinsics' "
            f"measures them and writes a rig file"
        )
    return rig.cameras


def _files(paths: Sequence[Path]) -> list[Path]:
    def natural(path: Path) -> list[tuple[int, str]]:
        parts = re.split(r"([0-9]+)", path.name)
        return [(int(p[:15]), "") if p.isdigit() else (-1, p) for p in parts]

    found = []
    for path in paths:
        inside = (
            [file for file in path.iterdir() if file.suffix in _SUFFIXES] if path.is_dir() else []
        )
        if len(inside) > MOST_CAMERAS:
            raise RigFileError(f"expected at most {MOST_CAMERAS} calibrations, got {len(inside)}")
        found += sorted(inside, key=natural) if path.is_dir() else [path]
    return found


def _rig(contents: Mapping[Path, Mapping[str, Any]], scale: float | None) -> RigFile:
    if scale is None:
        scale = next((data["scale"] for data in contents.values() if "scale" in data), 1.0)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 1e-6 < scale < 1e6:
        raise RigFileError(f"expected a scale in metres per unit, such as 0.001, got {scale}")
    data = next(iter(contents.values()))
    if len(contents) == 1 and _is_native(data):
        content, frame_id = _native(data), str(data.get("frame_id", "world"))
    else:
        content, frame_id = foreign_rig(contents), "world"
    cameras = {name: _scaled(camera, scale) for name, camera in content.cameras.items()}
    return RigFile(cameras, frame_id, content.posed, content.sources, content.time_offsets_s)


def _scaled(camera: Camera, scale: float) -> Camera:
    camera_from_world = camera.camera_from_world.copy()
    camera_from_world[:3, 3] *= scale
    return replace(camera, camera_from_world=camera_from_world)


def _namespace(camera: str, sources: Mapping[str, str]) -> str:
    usual = camera if not camera[:1].isdigit() else f"cam_{camera}"
    return sources.get("namespace", usual)


def namespace_of(camera: str, sources: Mapping[str, str]) -> str:
    """Namespace of a camera's topics: what the rig file says, or the camera's name, after ``cam_``
    where it begins with a digit. ``RigFileError`` when it cannot be one.
    """
    namespace = _namespace(camera, sources)
    if not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", namespace, re.ASCII):
        raise RigFileError(
            f"camera {shortened(camera, 60)}: expected a namespace of letters, digits and _ that "
            f"begins with a letter, got '{shortened(namespace, 60)}': set namespace in the "
            f"camera's entry of the rig file; 'pose3d calibrate convert FILE rig.yaml' writes "
            f"one that has such entries"
        )
    return namespace


def topic_of(topic: str, camera: str, sources: Mapping[str, str]) -> str:
    """Topic of a camera's images or calibration, relative to the rig's namespace if the rig file
    says no absolute one.
    """
    name = sources.get(topic, topic)
    return name if name.startswith("/") else f"{namespace_of(camera, sources)}/{name}"


def write_rig(path: str | Path, rig: RigFile) -> None:
    """Write YAML that ``read_rig`` reads back to the last digit."""
    cameras: dict[str, Any] = {}
    for name, camera in rig.cameras.items():
        cameras[name] = {
            "frame_id": camera.frame_id,
            "image_width": camera.size[0],
            "image_height": camera.size[1],
            "camera_matrix": camera.matrix.tolist(),
            "distortion_model": camera.distortion_model,
            "distortion_coefficients": camera.distortion.tolist(),
        }
        if rig.posed:
            cameras[name] |= {
                "position_m": camera.position_m.tolist(),
                "orientation_xyzw": quaternion_from_rotation(
                    camera.camera_from_world[:3, :3].T
                ).tolist(),
            }
        if name in rig.time_offsets_s:
            cameras[name]["time_offset_s"] = float(rig.time_offsets_s[name])
        cameras[name] |= rig.sources.get(name, {})
    text = yaml.safe_dump(
        {"frame_id": rig.frame_id, "cameras": cameras},
        sort_keys=False,
        default_flow_style=None,
        width=120,
    )
    Path(path).write_text(
        "# Position and orientation: the optical frame (x right, y down, z forward) in the "
        f"fixed one,\n# as TF would say it.\n{text}"
    )


def _is_native(data: Mapping[str, Any]) -> bool:
    cameras = data.get("cameras")
    return isinstance(cameras, Mapping) and any(
        isinstance(c, Mapping) and "camera_matrix" in c for c in cameras.values()
    )


def _native(data: Mapping[str, Any]) -> RigContent:
    cameras, sources, posed, offsets = {}, {}, [], {}
    for name, entry in data["cameras"].items():
        if not isinstance(entry, Mapping):
            raise RigFileError(f"camera {name}: expected its entries, got {entry}")
        unknown = sorted(map(str, set(entry) - _KEYS))
        if unknown:
            raise RigFileError(
                f"camera {name}: unknown {', '.join(unknown)}; it can have "
                f"{', '.join(sorted(_KEYS))}"
            )
        pose = np.eye(4)
        posed.append("position_m" in entry)
        if posed[-1] != ("orientation_xyzw" in entry):
            raise RigFileError(
                f"camera {name}: expected position_m and orientation_xyzw, or neither"
            )
        if posed[-1]:
            position, quaternion = (
                np.array(entry["position_m"], float),
                np.array(entry["orientation_xyzw"], float),
            )
            if (
                position.shape != (3,)
                or quaternion.shape != (4,)
                or abs(np.linalg.norm(quaternion) - 1) > 0.01
            ):
                raise RigFileError(
                    f"camera {name}: expected position_m [x, y, z] and orientation_xyzw of "
                    f"length 1, got {position.tolist()} and {quaternion.tolist()}"
                )
            pose = inverse_transform(rigid(rotation_from_quaternion(quaternion), position))
        try:
            distortion = entry.get("distortion_coefficients", [])
            cameras[str(name)] = Camera(
                np.array(entry["camera_matrix"], float),
                image_size(entry["image_width"], entry["image_height"]),
                np.ravel(np.array(distortion, float)),
                str(entry.get("distortion_model", "plumb_bob")),
                pose,
                str(entry.get("frame_id", f"{name}_optical_frame")),
            ).checked()
        except KeyError as error:
            raise RigFileError(f"camera {name}: misses {error}") from None
        except (ValueError, TypeError, OverflowError) as error:
            raise RigFileError(f"camera {name}: {error}") from None
        sources[str(name)] = sources_of(str(name), entry)
        if "time_offset_s" in entry:
            offsets[str(name)] = _time_offset_s(str(name), entry["time_offset_s"])
    if len(set(posed)) > 1:
        missing = [name for name, has in zip(cameras, posed, strict=True) if not has]
        raise RigFileError(
            f"expected position_m of every camera or of none, but {', '.join(missing)} have none"
        )
    return RigContent(cameras, all(posed), sources, offsets)


def _time_offset_s(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < LONGEST_S:
        raise RigFileError(
            f"camera {name}: expected time_offset_s in seconds between -{LONGEST_S:g} and "
            f"{LONGEST_S:g}, got {value}"
        )
    return float(value)
