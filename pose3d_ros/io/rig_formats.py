"""Other programs' calibration files: Pose2Sim, Qualisys, Caliscope, anipose, Kalibr, OpenCV,
EasyMocap, ROS.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import rigid, rotation_from_vector

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_KALIBR_DISTORTION = {
    "radtan": "plumb_bob",
    "equidistant": "equidistant",
    "equi": "equidistant",
    "none": "plumb_bob",
}


class RigFileError(ValueError):
    """A calibration file that is missing, unreadable or contradicts itself."""


class _OpenCvLoader(yaml.SafeLoader):
    """YAML of cv2.FileStorage: a matrix is a node with a tag of its own."""


def _matrix(loader: yaml.SafeLoader, node: yaml.Node) -> np.ndarray:
    assert isinstance(node, yaml.MappingNode)
    entry = loader.construct_mapping(node, deep=True)
    return np.array(entry["data"], float).reshape(
        entry.get("sizes") or (entry["rows"], entry["cols"])
    )


for _tag in (
    "opencv-matrix",
    "opencv-nd-matrix",
):  # the second is what OpenCV 5 writes for vectors
    _OpenCvLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _matrix)


def load(path: Path) -> dict[str, Any]:
    """The content of a YAML, TOML or JSON file as a mapping; raises ``RigFileError`` when there is
    none.
    """
    try:
        text = path.read_text()
        if path.suffix == ".toml":
            data = tomllib.loads(text)
        elif path.suffix == ".json":
            data = json.loads(text)
        else:  # OpenCV's first line, %YAML:1.0, is no YAML
            data = yaml.load(
                text.partition("\n")[2] if text.startswith("%YAML") else text, _OpenCvLoader
            )
    except OSError as error:
        raise RigFileError(f"{path}: {error.strerror}") from None
    except (UnicodeDecodeError, yaml.YAMLError, ValueError, KeyError) as error:
        raise RigFileError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise RigFileError(f"{path}: expected a calibration, got {type(data).__name__}")
    return data


Cameras = tuple[dict[str, Camera], bool, dict[str, dict[str, str]]]


def foreign_cameras(contents: Mapping[Path, Mapping[str, Any]]) -> Cameras:
    """Cameras by name, whether they have poses, and their sources (``rig_file.SOURCES``) from
    files' contents.
    """
    path, data = next(iter(contents.items()))
    if len(contents) > 1 or "camera_matrix" in data or "camera_name" in data:
        stems = {file.stem for file in contents}
        if stems == {"intri", "extri"}:
            return _easymocap(
                *(next(d for f, d in contents.items() if f.stem == s) for s in ("intri", "extri"))
            )
        return {file.stem: _single(file, entry) for file, entry in contents.items()}, False, {}
    if any(str(key).startswith(("K_", "R_", "Rot_")) for key in data):
        other = path.with_stem("extri" if path.stem == "intri" else "intri")
        if other == path or not other.exists():
            raise RigFileError(
                f"expected {other.name} beside {path.name}: one has intrinsics, the other poses"
            )
        pair = {path.stem: data, other.stem: load(other)}
        return _easymocap(pair["intri"], pair["extri"])
    if path.suffix == ".json" and "cameras" in data:
        return (
            {
                str(name): _krt(str(name), entry, data.get("image_size"))
                for name, entry in sorted(data["cameras"].items())
            },
            True,
            {},
        )
    if any(isinstance(entry, Mapping) and "intrinsics" in entry for entry in data.values()):
        return _kalibr(data)
    tables = {
        str(name): entry
        for name, entry in data.get("cameras", data).items()
        if isinstance(entry, Mapping) and "matrix" in entry and not entry.get("ignore", False)
    }
    if not tables:
        raise RigFileError(
            "expected our rig YAML, TOML of Pose2Sim, Caliscope or anipose, Kalibr's camchain, "
            "OpenCV's "
            f"or ROS camera_info YAML; got {', '.join(map(str, data)) or 'nothing'}"
        )
    return {name: _toml(name, entry) for name, entry in tables.items()}, True, {}


def _camera(
    name: str,
    matrix: object,
    size: object,
    distortion: object,
    model: str,
    rotation: np.ndarray | None = None,
    translation: object = (0, 0, 0),
) -> Camera:
    """A camera whose errors name it; ``rotation`` (3, 3) or a Rodrigues vector, x_camera = R
    x_world + t.
    """
    pose = np.eye(4)
    if rotation is not None:
        turn = np.asarray(rotation, float)
        pose = rigid(
            rotation_from_vector(turn) if turn.size == 3 else turn,
            np.ravel(np.asarray(translation, float)),
        )
    try:
        width, height = (int(value) for value in size)  # type: ignore[attr-defined]
        return Camera(
            np.asarray(matrix, float),
            (width, height),
            np.ravel(np.asarray(distortion, float)),
            model,
            pose,
            f"{name}_optical_frame",
        )
    except (TypeError, ValueError) as error:
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


def _krt(name: str, entry: Mapping[str, Any], size: object) -> Camera:
    distortion = np.ravel(np.array(entry.get("distCoef", []), float))
    return _camera(
        name,
        entry["K"],
        entry.get("resolution", size),
        distortion,
        _model(len(distortion)),
        np.array(entry["R"], float),
        entry["t"],
    )


def _single(path: Path, entry: Mapping[str, Any]) -> Camera:
    """One camera's intrinsics: ROS' camera_info YAML or what OpenCV's calibration example
    writes.
    """
    if isinstance(entry.get("camera_matrix"), Mapping):
        camera = Camera.from_yaml(path)
        return _camera(
            path.stem, camera.matrix, camera.size, camera.distortion, camera.distortion_model
        )
    if "camera_matrix" not in entry:
        raise RigFileError(
            f"{path.name}: expected one camera's intrinsics with camera_matrix, got "
            f"{', '.join(map(str, entry)) or 'nothing'}"
        )
    distortion = np.ravel(entry["distortion_coefficients"])
    fisheye = bool(entry.get("fisheye_model", False))
    return _camera(
        path.stem,
        entry["camera_matrix"],
        (entry["image_width"], entry["image_height"]),
        distortion,
        "equidistant" if fisheye else _model(len(distortion)),
    )


def _easymocap(intri: Mapping[str, Any], extri: Mapping[str, Any]) -> Cameras:
    """``intri.yml`` (K_, dist_, H_, W_ of each name) and ``extri.yml`` (Rot_ or the Rodrigues
    vector R_, T_).
    """
    cameras = {}
    for name in map(str, intri["names"]):
        size = [int(np.ravel(intri.get(f"{side}_{name}", 0))[0]) for side in "WH"]
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
    return cameras, True, {}


def _kalibr(data: Mapping[str, Any]) -> Cameras:
    """Kalibr's camchain: each camera's pose is relative to the one before, so the world is the
    first camera.
    """
    cameras: dict[str, Camera] = {}
    sources = {}
    transform = np.eye(4)
    for name, entry in data.items():
        if entry.get("camera_model", "pinhole") != "pinhole":
            raise RigFileError(
                f"camera {name}: expected camera_model pinhole, got {entry['camera_model']}"
            )
        model = entry.get("distortion_model", "none")
        if model not in _KALIBR_DISTORTION:
            raise RigFileError(
                f"camera {name}: expected a distortion model among "
                f"{', '.join(_KALIBR_DISTORTION)}, "
                f"got {model}"
            )
        if cameras:
            if "T_cn_cnm1" not in entry:
                raise RigFileError(
                    f"camera {name}: misses T_cn_cnm1, its pose relative to the camera before"
                )
            transform = np.array(entry["T_cn_cnm1"], float).reshape(4, 4) @ transform
        fx, fy, cx, cy = entry["intrinsics"]
        cameras[name] = _camera(
            name,
            [[fx, 0, cx], [0, fy, cy], [0, 0, 1]],
            entry["resolution"],
            entry.get("distortion_coeffs", []),
            _KALIBR_DISTORTION[model],
            transform[:3, :3],
            transform[:3, 3],
        )
        if "rostopic" in entry:
            sources[name] = {"image": entry["rostopic"]}
    return cameras, True, sources
