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

"""Damaged rigs and calibrations: a rig, or one error class of one line, within seconds and with
little memory.
"""

import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mutations import CASES, SEED, run_all

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.io.rig_formats import RigFileError

K = [[900.0, 0.0, 640.0], [0.0, 910.0, 480.0], [0.0, 0.0, 1.0]]
NATIVE = {
    "frame_id": "world",
    "scale": 1.0,
    "cameras": {
        f"cam{n}": {
            "frame_id": f"cam{n}",
            "image_width": 1280,
            "image_height": 960,
            "camera_matrix": K,
            "distortion_model": "plumb_bob",
            "distortion_coefficients": [0.1, -0.05, 0.001, 0.002, 0.01],
            "position_m": [float(n), 0.0, 2.0],
            "orientation_xyzw": [0.0, 0.0, 0.0, 1.0],
            "video": "cam.mp4",
        }
        for n in range(2)
    },
}
KALIBR = {
    f"cam{n}": {
        "camera_model": "pinhole",
        "intrinsics": [900, 910, 640, 480],
        "resolution": [1280, 960],
        "distortion_model": "equidistant",
        "distortion_coeffs": [0.1, 0.01, 0, 0],
        "T_cn_cnm1": [[1, 0, 0, 0.2], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]],
    }
    for n in range(3)
}
ROS = {
    "image_width": 1280,
    "image_height": 960,
    "camera_name": "left",
    "camera_matrix": {"rows": 3, "cols": 3, "data": sum(K, [])},
    "distortion_model": "rational_polynomial",
    "distortion_coefficients": {"rows": 1, "cols": 8, "data": [0.1] * 8},
}
ECHO = {
    "header": {"frame_id": "left"},
    "height": 960,
    "width": 1280,
    "distortion_model": "plumb_bob",
    "d": [0.1, 0, 0, 0, 0],
    "k": sum(K, []),
    "binning_x": 2,
    "roi": {"x_offset": 2, "width": 640, "height": 480},
}
KRT = {
    "image_size": [1280, 960],
    "cameras": [
        {"name": str(n), "K": K, "R": [[1, 0, 0], [0, 1, 0], [0, 0, 1]], "t": [[n], [0], [0]]}
        for n in range(3)
    ],
}
TOML = "".join(
    f"[cam_{n}]\nname = '{n}'\nsize = [1280, 960]\nmatrix = {K}\ndistortions = [0.1, 0, 0, 0, 0]\n"
    f"rotation = [0.0, {n}.5, 0.0]\ntranslation = [{n}.0, 0.0, 0.0]\n"
    for n in range(2)
)
OPENCV = f"""%YAML:1.0
---
image_width: 1280
image_height: 960
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: {sum(K, [])}
distortion_coefficients: !!opencv-matrix
   rows: 5
   cols: 1
   dt: d
   data: [ 0.1, 0.2, 0., 0., 0.3 ]
"""
OST = """[image]

width
1280

height
960

[narrow_stereo]

camera matrix
900.0 0.0 640.0
0.0 910.0 480.0
0.0 0.0 1.0

distortion
0.1 0.0 0.0 0.0 0.0
"""
SEEDS = {
    "native.yaml": yaml.safe_dump(NATIVE),
    "kalibr.yaml": yaml.safe_dump(KALIBR),
    "ros.yaml": yaml.safe_dump(ROS),
    "echo.yaml": yaml.safe_dump(ECHO) + "---\n",
    "opencv.yml": OPENCV,
    "krt.json": json.dumps(KRT),
    "pose2sim.toml": TOML,
    "ost.txt": OST,
}
TOKENS = (
    *(
        "nan",
        ".nan",
        ".inf",
        "-.inf",
        "inf",
        "1e400",
        "-1e308",
        "1e-320",
        "0",
        "-1",
        "1e9",
        "true",
    ),
    *("null", "~", "''", "[]", "{}", "[[]]", "*a", "&a", "<<: *a", "!!python/object:os.system x"),
    *("!!opencv-matrix", "!!set", "!!binary x", "? ", "- ", ": ", "---\n", "...\n", "%YAML 1.2\n"),
    *("9" * 30, "1:2:3", "0x7fffffffffffffff", "2001-13-45", "\x00", "\ufeff", "é" * 50, "[" * 40),
    *("a" * 300, "cam0", "cameras", "scale", "K", "k", "d", "names", "intrinsics", "matrix"),
)


def damaged(rng: random.Random, text: str) -> bytes:
    """A text with a few of its parts cut, doubled, exchanged or replaced."""
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        i = rng.randrange(len(text) + 1)
        j = min(i + rng.choice((0, 1, 3, 10, 80)), len(text))
        kind = rng.randrange(5)
        if kind == 0:
            text = text[:i] + text[j:]
        elif kind == 1:
            text = text[:j] + text[i:j] * rng.choice((1, 2, 30)) + text[j:]
        elif kind == 2:
            text = text[:i] + rng.choice(TOKENS) + text[j:]
        elif kind == 3:
            numbers = [n for n, c in enumerate(text) if c.isdigit()] or [0]
            n = rng.choice(numbers)
            text = text[:n] + rng.choice(TOKENS) + text[n + 1 :]
        else:
            text = text[:i] + chr(rng.choice((0, 9, 10, 34, 39, 91, 123, 0x2028))) + text[i:]
    raw = text.encode("utf-8", "surrogatepass")
    return raw[: rng.randrange(len(raw) + 1)] if rng.random() < 0.05 else raw


@pytest.mark.parametrize("name", SEEDS)
@pytest.mark.filterwarnings("error")
def test_damaged_calibrations_end_in_a_rig_or_in_one_line(tmp_path: Path, name: str) -> None:
    rng = random.Random(f"{name} {SEED}")
    path = tmp_path / name
    path.write_text(SEEDS[name])
    assert read_rig(path).cameras, "the file without damage is a rig"

    def load(raw: bytes, read: Callable[[Path], object]) -> None:
        path.write_bytes(raw)
        read(path)

    cases = [damaged(rng, SEEDS[name]) for _ in range(CASES // 2)]
    run_all(lambda raw: load(raw, read_rig), cases, RigFileError, name)
    run_all(lambda raw: load(raw, Camera.from_yaml), cases, CameraError, name)
