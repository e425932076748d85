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
from pose3d_ros.io.rig_file import RigFile, namespace_of, read_cameras, read_rig, write_rig
from pose3d_ros.io.rig_formats import RigFileError

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
        (native({}, {"name": "b", "position": [3000, 0, 0]}), "3000 m apart: .* 3 m if in milli"),
        (
            native({}, {"name": "b", "position": [0.002, 0, 0]}),
            "0.002 m apart: .* a hand and a hall",
        ),
        (native({}, {"name": "a"}), "expected every key once, got 'a' twice"),
        ("cameras: {a: {camera_matrix: 1}, b: 2}", "camera a: misses 'image_width'"),
        (native({}).replace("1280", ".inf"), "camera a: expected .* whole pixels, got infx"),
        (native({}).replace("1280", "1280.5"), "camera a: expected .* whole pixels, got 1280.5x"),
        (native({}).replace("640", "64000"), "camera a: cx: expected -640 to 1920 px"),
        (native({"name": "n" * 200}), "names of cameras of at most 100 characters, got 200"),
        ("a: !!opencv-matrix 3", "expected a matrix with rows, cols and data"),
        ("a: !!opencv-matrix {rows: 1000000, cols: 1000000, data: [1]}", "cannot be read"),
        ("a: " + "[" * 3000, "at most 30 levels"),
        ("a: " + "- " * 3000, "cannot be read"),
        ("a: &a [*a, *a, *a, *a, *a, *a]", "at most 30 levels"),
        ("a: " + "x " * 3000, "texts of at most 4096 characters"),
        ("x: 1\n" * 100_000, "at most 250000 bytes, got more"),
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
    with pytest.raises(RigFileError, match=match) as caught:
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


def test_a_bomb_costs_nothing(tmp_path):
    """Aliases of aliases: 423 bytes that are a billion numbers when written out."""
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    lines += ["cameras: {x: {camera_matrix: *a8, image_width: 1, image_height: 1}}"]
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    with pytest.raises(RigFileError, match="at most 200000 values, got more"):
        read_rig(tmp_path / "bomb.yaml")
    for name, text in (
        ("deep.json", '{"cameras": ' + "[" * 50_000),
        ("deep.toml", "a = " + "[" * 50_000),
        ("key.toml", "a" + ".a" * 50_000 + " = 1"),
        ("digits.json", '{"a": ' + "1" * 50_000 + "}"),
        ("name.json", '{"cameras": {"' + "n" * 100_000 + '": {"K": 1}}}'),
        ("twice.json", '{"cameras": {"a": 1, "a": 2}}'),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(RigFileError) as caught:
            read_rig(tmp_path / name)
        assert len(str(caught.value)) < 1000 and "\n" not in str(caught.value)
        assert str(caught.value).startswith(str(tmp_path / name))


UNITS = [(1000, 0.001), (100, 0.01), (1 / 0.0254, 0.0254), (1 / 0.04, 0.04)]


@pytest.mark.parametrize(("units_per_m", "scale"), UNITS, ids=["mm", "cm", "inches", "squares"])
def test_other_units_are_refused_and_a_scale_mends_them(tmp_path, units_per_m, scale):
    """Two cameras two metres apart in anipose's TOML, whose unit is that of its board."""
    path = tmp_path / "calibration.toml"
    text = "".join(
        f"[cam_{n}]\nname = '{n}'\nsize = [1280, 960]\nmatrix = {K}\n"
        f"distortions = [0.1, 0, 0, 0, 0]\nrotation = [0.0, {0.5 * n}, 0.0]\n"
        f"translation = [{2.0 * n * units_per_m}, 0.0, 0.0]\n"
        for n in (0, 1)
    )
    path.write_text(text)
    with pytest.raises(RigFileError, match="apart: expected positions in metres") as caught:
        read_rig(path)
    assert f"scale {scale:g})" in str(caught.value) or scale == 0.04
    path.write_text(f"scale = {scale}\n{text}")
    for cameras in (read_cameras(path), read_cameras(path, scale)):
        places = [camera.position_m for camera in cameras.values()]
        np.testing.assert_allclose(np.linalg.norm(places[0] - places[1]), 2)
    with pytest.raises(RigFileError, match="expected a scale in metres per unit"):
        read_rig(path, 0.0)


def test_panoptics_json_is_a_list_in_centimetres(tmp_path):
    entries = [
        {
            "name": f"00_0{i}",
            "type": "hd",
            "resolution": [1280, 960],
            "K": camera.matrix.tolist(),
            "distCoef": [0.1, -0.05, 0.001, 0.002, 0.01],
            "R": pose(camera)[0].tolist(),
            "t": (100 * pose(camera)[2][:, None]).tolist(),
        }
        for i, camera in enumerate(ring(3))
    ]
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps({"calibDataSource": "x", "cameras": entries}))
    with pytest.raises(RigFileError, match=r"m if in centimetres \(scale 0.01\)"):
        read_rig(path)
    rig = read_rig(path, 0.01)
    assert list(rig.cameras) == ["00_00", "00_01", "00_02"]
    np.testing.assert_allclose(rig.cameras["00_01"].position_m, ring(3)[1].position_m)


def test_kalibr_goes_by_the_cameras_numbers(tmp_path):
    """Eleven cameras 0.2 m apart in a row; YAML writers sort cam10 before cam2."""
    step = np.eye(4)
    step[0, 3] = -0.2
    entry = {"camera_model": "pinhole", "intrinsics": [900, 910, 640, 480]}
    entry |= {"resolution": [1280, 960], "distortion_model": "none"}
    chain = {"cam0": entry} | {
        f"cam{i}": entry | {"T_cn_cnm1": step.tolist()} for i in range(1, 11)
    }
    path = tmp_path / "camchain.yaml"
    path.write_text(yaml.safe_dump(chain, sort_keys=True))
    assert path.read_text().index("cam10") < path.read_text().index("cam2")
    rig = read_rig(path)
    assert list(rig.cameras) == [f"cam{i}" for i in range(11)]
    np.testing.assert_allclose(
        [c.position_m[0] for c in rig.cameras.values()], 0.2 * np.arange(11)
    )
    del chain["cam4"]
    path.write_text(yaml.safe_dump(chain))
    with pytest.raises(RigFileError, match="camera cam5: its pose is relative to camera 4"):
        read_rig(path)


ECHO = """\
header:
  stamp:
    sec: 1
    nanosec: 2
  frame_id: left_optical
height: 960
width: 1280
distortion_model: plumb_bob
d:
- 0.1
- 0.0
- 0.0
- 0.0
- 0.0
k:
- 900.0
- 0.0
- 640.0
- 0.0
- 910.0
- 480.0
- 0.0
- 0.0
- 1.0
r: []
p: []
binning_x: 0
binning_y: 0
roi:
  x_offset: 0
  y_offset: 0
  height: 0
  width: 0
  do_rectify: false
---
"""
OST = """\
# oST version 5.0 parameters


[image]

width
1280

height
960

[narrow_stereo]

camera matrix
900.000000 0.000000 640.000000
0.000000 910.000000 480.000000
0.000000 0.000000 1.000000

distortion
0.100000 0.000000 0.000000 0.000000 0.000000

rectification
1.000000 0.000000 0.000000
0.000000 1.000000 0.000000
0.000000 0.000000 1.000000

projection
900.000000 0.000000 640.000000 0.000000
0.000000 910.000000 480.000000 0.000000
0.000000 0.000000 1.000000 0.000000
"""


@pytest.mark.parametrize(
    ("name", "text", "frame"),
    [
        ("left.yaml", ROS_YAML, "whatever"),
        ("left.yaml", ECHO + ECHO, "left_optical"),
        ("left.yaml", ECHO.replace("\nk:", "\nK:").replace("\nd:", "\nD:"), "left_optical"),
        ("ost.txt", OST, "narrow_stereo"),
        ("left.yml", "%YAML:1.0\n---\n" + ROS_YAML, "whatever"),
    ],
    ids=["camera_info_manager", "ros2 topic echo", "rostopic echo", "ost.txt", "opencv"],
)
def test_one_cameras_calibration_as_ros_tools_write_it(tmp_path, name, text, frame, monkeypatch):
    path = tmp_path / "share" / "my_robot" / name
    path.parent.mkdir(parents=True)
    path.write_text(text)
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}/none:{tmp_path}")
    for given in (path, f"file://{path}", f"package://my_robot/{name}"):
        camera = Camera.from_yaml(given)
        assert camera.frame_id == frame
        assert camera.size == (1280, 960) and camera.distortion[0] == 0.1
        np.testing.assert_allclose(camera.matrix, K)
        rig = read_rig(given)
        assert not rig.posed
        np.testing.assert_allclose(rig.cameras[path.stem].matrix, K)
    with pytest.raises(RigFileError, match="expected a ROS package 'other' below AMENT_PREFIX"):
        read_rig(f"package://other/{name}")


def test_toml_and_json_can_name_videos_and_namespaces(tmp_path):
    """Cameras '0' and '1' have topics below cam_0 and cam_1 where the file names nothing else."""
    entries = []
    for n in (0, 1):
        entries.append(
            f"[cameras.{n}]\nsize = [1280, 960]\nmatrix = {K}\nrotation = [0.0, {n / 2}, 0.0]\n"
            f"translation = [{n}.0, 0.0, 0.0]\n"
        )
    path = tmp_path / "rig.toml"
    path.write_text("".join(entries))
    rig = read_rig(path)
    assert [namespace_of(name, {}) for name in rig.cameras] == ["cam_0", "cam_1"]
    said = ["namespace = 'left'\nvideo = 'left.mp4'\n", "namespace = 'right'\n"]
    path.write_text("".join(a + b for a, b in zip(entries, said, strict=True)))
    rig = read_rig(path)
    assert rig.sources["0"] == {"namespace": "left", "video": "left.mp4"}
    assert [namespace_of(name, rig.sources[name]) for name in rig.cameras] == ["left", "right"]
    path.write_text("".join(entry + "namespace = 'left'\n" for entry in entries))
    with pytest.raises(RigFileError, match="a namespace of its own .* got 'left' 2 times"):
        read_rig(path)
    with pytest.raises(RigFileError, match="got 'cam-left': set namespace in the camera's entry"):
        namespace_of("cam-left", {})


def test_a_fisheye_of_zeros_is_one_in_every_format(tmp_path):
    """r = f theta: a point 45 degrees aside is at 640 + 400 pi / 4, not at 640 + 400."""
    matrix = "[[400.0, 0, 640], [0, 400.0, 480], [0, 0, 1]]"
    pose = "rotation = [0.0, 0.0, 0.0]\ntranslation = [0.0, 0.0, 0.0]"
    chain = {"camera_model": "pinhole", "intrinsics": [400, 400, 640, 480]}
    chain |= {
        "resolution": [1280, 960],
        "distortion_model": "equi",
        "distortion_coeffs": [0.0] * 4,
    }
    size = "image_width: 1280\nimage_height: 960\n"
    data = f"camera_matrix: {matrix}\nfisheye_model: 1\ndistortion_coefficients: [0, 0, 0, 0]\n"
    files = {
        "a.toml": f"[a]\nsize = [1280, 960]\nmatrix = {matrix}\ndistortions = [0.0]\n"
        f"fisheye = true\n{pose}\n",
        "kalibr.yaml": yaml.safe_dump({"cam0": chain}),
        "ros.yaml": ROS_YAML.replace("plumb_bob", "equidistant")
        .replace("[0.1, 0, 0, 0, 0]", "[0, 0, 0, 0]")
        .replace("900", "400")
        .replace("910", "400"),
        "opencv.yml": f"%YAML:1.0\n---\n{size}{data}",
        "older.yml": f"%YAML:1.0\n---\n{size}{data}".replace("image_w", "image_W").replace(
            "camera_m", "Camera_M"
        ),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
        rig = read_rig(tmp_path / name)
        write_rig(tmp_path / "again.yaml", rig)
        for read in (rig, read_rig(tmp_path / "again.yaml")):
            (camera,) = read.cameras.values()
            pixel = camera.project([1.0, 0, 1.0], "camera")
            np.testing.assert_allclose(pixel, [640 + 100 * np.pi, 480], err_msg=name)
