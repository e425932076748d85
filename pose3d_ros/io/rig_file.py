"""The rig file: the cameras of one place, calibrated, and where they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import (
    inverse_transform,
    quaternion_from_rotation,
    rigid,
    rotation_from_quaternion,
)
from pose3d_ros.io.rig_formats import RigFileError, foreign_cameras, load

SOURCES = (
    "namespace",
    "video",
    "image",
    "camera_info",
)  # where a camera's pictures come from; for launching only
FARTHEST_M = 200.0  # cameras further apart than this were given in millimetres
_KEYS = {
    "frame_id",
    "image_width",
    "image_height",
    "camera_matrix",
    "distortion_model",
    "distortion_coefficients",
    "position_m",
    "orientation_xyzw",
    *SOURCES,
}


@dataclass(frozen=True)
class RigFile:
    """Cameras by name, in the file's order, with ``camera_from_world`` of the fixed frame
    ``frame_id``.

    ``posed`` is false when the file says nothing of where the cameras are: then TF must.
    ``sources``: per camera name what the file says of ``SOURCES``. Raises ``RigFileError`` for
    poses that contradict each other.
    """

    cameras: dict[str, Camera]
    frame_id: str = "world"
    posed: bool = True
    sources: dict[str, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.cameras:
            raise RigFileError("expected at least one camera, got none")
        for name, camera in self.cameras.items():
            rotation = camera.camera_from_world[:3, :3]
            if (
                np.abs(rotation @ rotation.T - np.eye(3)).max() > 1e-3
                or np.linalg.det(rotation) < 0
            ):
                raise RigFileError(
                    f"camera {name}: expected a right-handed rotation, got {rotation.tolist()}"
                )
        frames = [camera.frame_id for camera in self.cameras.values()]
        for frame in frames:
            if frames.count(frame) > 1:
                raise RigFileError(
                    f"expected a frame of its own for every camera, got '{frame}' "
                    f"{frames.count(frame)} "
                    f"times: give each camera another frame_id"
                )
        if self.posed:
            self._check_places()

    def _check_places(self) -> None:
        names, cameras = list(self.cameras), list(self.cameras.values())
        for i, first in enumerate(cameras):
            for name, second in zip(names[i + 1 :], cameras[i + 1 :], strict=True):
                if np.array_equal(first.camera_from_world, second.camera_from_world):
                    raise RigFileError(
                        f"cameras {names[i]} and {name} have the same pose: expected extrinsics "
                        f"of each "
                        f"camera; 'pose3d calibrate extrinsics' measures them"
                    )
                distance = float(np.linalg.norm(first.position_m - second.position_m))
                if distance > FARTHEST_M:
                    raise RigFileError(
                        f"cameras {names[i]} and {name} are {distance:.0f} m apart: expected "
                        f"positions "
                        f"in metres; are these millimetres?"
                    )


def read_rig(path: str | Path | Sequence[str | Path]) -> RigFile:
    """The rig of a file, a folder or several files; raises ``RigFileError`` (a ``ValueError``)
    naming the file.

    Formats, told apart by their content: our YAML (``write_rig``); TOML of Pose2Sim (Qualisys),
    Caliscope and anipose; Kalibr's camchain YAML (the world is the first camera); OpenCV
    FileStorage YAML (``intri.yml`` with ``extri.yml`` beside it, or one camera's calibration);
    JSON with K, R, t per camera; ROS camera_info YAML, one file per camera (not ``posed``). A
    folder means all files of these kinds in it.
    """
    paths = [Path(p).expanduser() for p in ([path] if isinstance(path, str | Path) else path)]
    where = ", ".join(str(p) for p in paths)
    files = [
        file
        for p in paths
        for file in (sorted(p.iterdir()) if p.is_dir() else [p])
        if not p.is_dir() or file.suffix in (".yaml", ".yml", ".toml", ".json")
    ]
    if not files:
        raise RigFileError(
            f"{where}: expected calibration files (.yaml, .yml, .toml or .json), got none"
        )
    try:
        contents = {file: load(file) for file in files}
        if len(files) == 1 and _is_native(contents[files[0]]):
            return _native(contents[files[0]])
        cameras, posed, sources = foreign_cameras(contents)
        return RigFile(cameras, posed=posed, sources=sources)
    except (KeyError, TypeError, IndexError, ValueError, AttributeError) as error:
        what = (
            f"misses {error}"
            if isinstance(error, KeyError)
            else " ".join(str(error).split()) or repr(error)
        )
        raise RigFileError(what if what.startswith(where) else f"{where}: {what}") from None


def read_cameras(path: str | Path | Sequence[str | Path]) -> dict[str, Camera]:
    """Cameras by name whose file also says where they are; everything else is as in
    ``read_rig``.
    """
    rig = read_rig(path)
    if not rig.posed:
        raise RigFileError(
            f"{path}: has intrinsics only, expected extrinsics too: 'pose3d calibrate extrinsics' "
            f"measures them and writes a rig file"
        )
    return rig.cameras


def namespace_of(camera: str, sources: Mapping[str, str]) -> str:
    """Of a camera's topics: what the rig file says, or the camera's name. ``ValueError`` when it
    cannot be one.
    """
    namespace = sources.get("namespace", camera)
    if not re.fullmatch(r"/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*", namespace, re.ASCII):
        raise ValueError(
            f"camera {camera}: expected a namespace of letters, digits and _ that begins with a "
            f"letter, "
            f"got '{namespace}': set namespace in the camera's entry of the rig file"
        )
    return namespace


def topic_of(topic: str, camera: str, sources: Mapping[str, str]) -> str:
    """Of a camera's images or calibration, relative to the rig's namespace if the rig file says no
    absolute one.
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
        cameras[name] |= rig.sources.get(name, {})
    text = yaml.safe_dump(
        {"frame_id": rig.frame_id, "cameras": cameras},
        sort_keys=False,
        default_flow_style=None,
        width=120,
    )
    Path(path).write_text(
        "# Position and orientation: the optical frame (x right, y down, z forward) in the fixed "
        "one,"
        f"\n# as TF would say it.\n{text}"
    )


def _is_native(data: Mapping[str, Any]) -> bool:
    cameras = data.get("cameras")
    return isinstance(cameras, Mapping) and any(
        isinstance(c, Mapping) and "camera_matrix" in c for c in cameras.values()
    )


def _native(data: Mapping[str, Any]) -> RigFile:
    cameras, sources, posed = {}, {}, []
    for name, entry in data["cameras"].items():
        unknown = sorted(set(entry) - _KEYS)
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
                    f"camera {name}: expected position_m [x, y, z] and orientation_xyzw of length "
                    f"1, "
                    f"got {position.tolist()} and {quaternion.tolist()}"
                )
            pose = inverse_transform(rigid(rotation_from_quaternion(quaternion), position))
        try:
            cameras[str(name)] = Camera(
                np.array(entry["camera_matrix"], float),
                (int(entry["image_width"]), int(entry["image_height"])),
                np.array(entry.get("distortion_coefficients", []), float),
                entry.get("distortion_model", "plumb_bob"),
                pose,
                str(entry.get("frame_id", f"{name}_optical_frame")),
            )
        except KeyError as error:
            raise RigFileError(f"camera {name}: misses {error}") from None
        except ValueError as error:
            raise RigFileError(f"camera {name}: {error}") from None
        sources[str(name)] = {key: str(entry[key]) for key in SOURCES if key in entry}
    if len(set(posed)) > 1:
        missing = [name for name, has in zip(cameras, posed, strict=True) if not has]
        raise RigFileError(
            f"expected position_m of every camera or of none, but {', '.join(missing)} have none"
        )
    return RigFile(cameras, str(data.get("frame_id", "world")), all(posed), sources)
