"""Rig files and other programs' calibration: tiny files of each format, and what is wrong with bad
ones.
"""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from rigs import ring

from pose3d_ros.camera import Camera
from pose3d_ros.io.rig_file import RigFile, read_cameras, read_rig, write_rig

CAMERAS = {"left": ring(3, distortion=(0.1, -0.05, 0.001, 0.002, 0.01))[0], "right": ring(3)[1]}
K = [[900.0, 0.0, 640.0], [0.0, 910.0, 480.0], [0.0, 0.0, 1.0]]


def same(camera: Camera, other: Camera) -> None:
    assert camera.size == other.size
    assert camera.distortion_model == other.distortion_model
    np.testing.assert_allclose(camera.matrix, other.matrix, atol=1e-9)
    np.testing.assert_allclose(camera.distortion, other.distortion, atol=1e-12)
    np.testing.assert_allclose(camera.camera_from_world, other.camera_from_world, atol=1e-9)


def pose(camera: Camera) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rotation, translation = camera.camera_from_world[:3, :3], camera.camera_from_world[:3, 3]
    return rotation, cv2.Rodrigues(rotation)[0].ravel(), translation


def test_written_and_read_back(tmp_path):
    rig = RigFile(CAMERAS, "map", sources={"left": {"image": "/left/image_raw"}, "right": {}})
    write_rig(tmp_path / "rig.yaml", rig)
    again = read_rig(tmp_path / "rig.yaml")
    assert again.frame_id == "map"
    assert again.posed
    assert again.sources == rig.sources
    assert list(again.cameras) == ["left", "right"]
    for name, camera in CAMERAS.items():
        same(again.cameras[name], camera)
        assert again.cameras[name].frame_id == camera.frame_id


def test_position_is_the_optical_frame_in_the_world(tmp_path):
    write_rig(tmp_path / "rig.yaml", RigFile(CAMERAS))
    entry = yaml.safe_load((tmp_path / "rig.yaml").read_text())["cameras"]["left"]
    np.testing.assert_allclose(
        entry["position_m"], [5, 0, 2.2], atol=1e-9
    )  # where ``ring`` puts its first camera
    x, y, z, w = entry["orientation_xyzw"]
    forward = [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)]
    np.testing.assert_allclose(forward, np.array([-5, 0, -1.2]) / np.hypot(5, 1.2), atol=1e-9)


def test_turned_by_half_a_turn_and_by_next_to_nothing(tmp_path):
    turns = [
        np.diag([1.0, -1, -1]),
        np.diag([-1.0, -1, 1]),
        cv2.Rodrigues(np.array([1e-7, 0, 0]))[0],
    ]
    for turn in turns:
        transform = np.eye(4)
        transform[:3, :3], transform[:3, 3] = turn, [1, 2, 3]
        write_rig(
            tmp_path / "rig.yaml",
            RigFile({"a": Camera(np.array(K), (1280, 960), camera_from_world=transform)}),
        )
        got = read_cameras(tmp_path / "rig.yaml")["a"].camera_from_world
        np.testing.assert_allclose(got, transform, atol=1e-12)


def test_pose2sim_toml(tmp_path):
    lines = []
    for name, camera in CAMERAS.items():
        _, vector, translation = pose(camera)
        lines += [
            f"[{name}]",
            f'name = "{name}"',
            "size = [ 1280.0, 960.0]",
            f"matrix = {camera.matrix.tolist()}",
            f"distortions = {camera.distortion.tolist()}",
            f"rotation = {vector.tolist()}",
            f"translation = {translation.tolist()}",
            "fisheye = false",
        ]
    (tmp_path / "calibration.toml").write_text(
        "\n".join([*lines, "[metadata]", "adjusted = false"])
    )
    for name, camera in read_cameras(tmp_path / "calibration.toml").items():
        same(camera, CAMERAS[name])


def test_caliscope_toml_leaves_out_ignored_cameras(tmp_path):
    rotation, _, translation = pose(CAMERAS["left"])
    (tmp_path / "camera_array.toml").write_text(
        f"[cameras.0]\nsize = [1280, 960]\nmatrix = {K}\ndistortions = [0.1, -0.05, 0.001, 0.002, "
        f"0.01]\n"
        f"rotation = {rotation.tolist()}\ntranslation = {translation.tolist()}\nignore = false\n"
        f"[cameras.1]\nignore = true\nsize = [1280, 960]\nmatrix = {K}\n"
    )
    cameras = read_cameras(tmp_path / "camera_array.toml")
    assert list(cameras) == ["0"]
    same(cameras["0"], CAMERAS["left"])


def test_kalibr_camchain(tmp_path):
    left, right = CAMERAS.values()
    chain = {
        "cam0": {
            "camera_model": "pinhole",
            "intrinsics": [900, 910, 640, 480],
            "resolution": [1280, 960],
            "distortion_model": "radtan",
            "distortion_coeffs": [0.1, -0.05, 0.001, 0.002],
            "rostopic": "/left/image_raw",
        },
        "cam1": {
            "camera_model": "pinhole",
            "intrinsics": [900, 910, 640, 480],
            "resolution": [1280, 960],
            "distortion_model": "equidistant",
            "distortion_coeffs": [0.1, 0.01, 0, 0],
            "T_cn_cnm1": (
                right.camera_from_world @ np.linalg.inv(left.camera_from_world)
            ).tolist(),
        },
    }
    (tmp_path / "camchain.yaml").write_text(yaml.safe_dump(chain))
    rig = read_rig(tmp_path / "camchain.yaml")
    assert rig.sources == {"cam0": {"image": "/left/image_raw"}}
    assert [camera.distortion_model for camera in rig.cameras.values()] == [
        "plumb_bob",
        "equidistant",
    ]
    np.testing.assert_allclose(rig.cameras["cam0"].camera_from_world, np.eye(4))
    np.testing.assert_allclose(
        rig.cameras["cam1"].camera_from_world @ left.camera_from_world,
        right.camera_from_world,
        atol=1e-9,
    )
    del chain["cam1"]["T_cn_cnm1"]
    (tmp_path / "camchain.yaml").write_text(yaml.safe_dump(chain))
    with pytest.raises(ValueError, match=r"camera cam1: misses T_cn_cnm1"):
        read_rig(tmp_path / "camchain.yaml")


def opencv_file(path: Path, values: dict) -> None:
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for key, value in values.items():
        storage.write(key, value)
    storage.release()


@pytest.mark.parametrize("first_line", ["%YAML:1.0", "%YAML 1.2"])  # OpenCV 4's and 5's
def test_opencv_intri_and_extri(tmp_path, first_line):
    intri: dict = {"names": list(CAMERAS)}
    extri: dict = {"names": list(CAMERAS)}
    for name, camera in CAMERAS.items():
        distortion = np.resize(np.append(camera.distortion, np.zeros(5)), 5)[None]
        rotation, vector, translation = pose(camera)
        intri |= {
            f"K_{name}": camera.matrix,
            f"dist_{name}": distortion,
            f"W_{name}": 1280,
            f"H_{name}": 960,
        }
        extri |= {f"R_{name}": vector, f"Rot_{name}": rotation, f"T_{name}": translation}
    opencv_file(tmp_path / "intri.yml", intri)
    opencv_file(tmp_path / "extri.yml", extri)
    for path in tmp_path.iterdir():
        path.write_text(first_line + "\n" + path.read_text().partition("\n")[2])
    for given in (tmp_path, tmp_path / "extri.yml"):
        for name, camera in read_cameras(given).items():
            same(camera, CAMERAS[name])
    (tmp_path / "intri.yml").unlink()
    with pytest.raises(ValueError, match=r"expected intri.yml beside extri.yml"):
        read_rig(tmp_path / "extri.yml")


def test_opencv_calibration_of_one_camera(tmp_path):
    opencv_file(
        tmp_path / "camera.yml",
        {
            "image_width": 1280,
            "image_height": 960,
            "camera_matrix": np.array(K),
            "distortion_coefficients": np.array([[0.1], [0.2], [0], [0], [0.3]]),
        },
    )
    rig = read_rig(tmp_path / "camera.yml")
    assert not rig.posed
    np.testing.assert_allclose(rig.cameras["camera"].distortion, [0.1, 0.2, 0, 0, 0.3])
    np.testing.assert_allclose(rig.cameras["camera"].matrix, K)


def test_json(tmp_path):
    entries = {
        name: {
            "K": camera.matrix.tolist(),
            "R": pose(camera)[0].tolist(),
            "t": pose(camera)[2].tolist(),
            "distCoef": camera.distortion.tolist(),
        }
        for name, camera in CAMERAS.items()
    }
    (tmp_path / "calibration.json").write_text(
        json.dumps({"image_size": [1280, 960], "cameras": entries})
    )
    for name, camera in read_cameras(tmp_path / "calibration.json").items():
        same(camera, CAMERAS[name])


ROS_YAML = """\
image_width: 1280
image_height: 960
camera_name: whatever
camera_matrix: {rows: 3, cols: 3, data: [900, 0, 640, 0, 910, 480, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}
"""


def test_folder_of_ros_camera_info_has_no_poses(tmp_path):
    for name in ("left", "right"):
        (tmp_path / f"{name}.yaml").write_text(ROS_YAML)
    rig = read_rig(tmp_path)
    assert list(rig.cameras) == ["left", "right"]
    assert not rig.posed
    assert (
        read_rig([tmp_path / "right.yaml", tmp_path / "left.yaml"]).cameras["left"].frame_id
        == "left_optical_frame"
    )
    with pytest.raises(ValueError, match=r"has intrinsics only, expected extrinsics too"):
        read_cameras(tmp_path)
    write_rig(tmp_path / "rig.yml", rig)
    assert not read_rig(tmp_path / "rig.yml").posed


CAMERA_YAML = """\
  {name}:
    image_width: 1280
    image_height: 960
    camera_matrix: [[900, 0, 640], [0, 910, 480], [0, 0, 1]]
    position_m: {position}
    orientation_xyzw: {orientation}
"""


def native(*cameras: dict) -> str:
    default = {"name": "a", "position": [0, 0, 0], "orientation": [0, 0, 0, 1]}
    return "cameras:\n" + "".join(CAMERA_YAML.format(**(default | camera)) for camera in cameras)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (native({}, {"name": "b"}), "a and b have the same pose"),
        (native({}, {"name": "b", "position": [3000, 0, 0]}), "3000 m apart: .* millimetres"),
        (native({"orientation": [0, 0, 0, 2]}), "camera a: expected .* of length 1"),
        (native({"position": [0, 0]}), r"camera a: expected position_m \[x, y, z\]"),
        (
            native({}).replace("    position_m: [0, 0, 0]\n", ""),
            "camera a: expected position_m and orientation_xyzw, or",
        ),
        (native({}).replace("900", "0"), "camera a: expected positive focal lengths, got fx=0"),
        (native({}).replace("image_width", "width"), "camera a: unknown width"),
        (native({}).replace("    image_width: 1280\n", ""), "camera a: misses 'image_width'"),
        (
            native({}, {"name": "b"}).replace("960", "960\n    frame_id: cam"),
            "frame of its own for every camera",
        ),
        ("cameras: {}", "expected our rig YAML, TOML of Pose2Sim"),
        ("- 1\n", "expected a calibration, got list"),
        ("a: [1, 2", "cannot be read"),
        ("", "expected a calibration, got NoneType"),
    ],
)
def test_bad_rigs_say_what_is_wrong(tmp_path, text, match):
    path = tmp_path / "rig.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=match) as caught:
        read_rig(path)
    assert str(caught.value).startswith(str(path))
    assert str(caught.value).count(str(path)) == 1


def test_bad_poses_in_other_formats(tmp_path):
    path = tmp_path / "calibration.toml"
    mirrored = np.diag([1.0, 1, -1]).tolist()
    path.write_text(
        f"[a]\nsize = [1280, 960]\nmatrix = {K}\nrotation = {mirrored}\ntranslation = [0, 0, 1]\n"
    )
    with pytest.raises(ValueError, match=r"camera a: expected a right-handed rotation"):
        read_rig(path)
    path.write_text(f"[a]\nsize = [1280, 960]\nmatrix = {K}\n")
    with pytest.raises(ValueError, match=r"camera a: misses rotation, translation"):
        read_rig(path)
    with pytest.raises(ValueError, match=r"none.toml: No such file"):
        read_rig(tmp_path / "none.toml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"expected calibration files .* got none"):
        read_rig(tmp_path / "empty")
