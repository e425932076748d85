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

"""Conversion apart from the user's packages; Ubuntu's versions, which it leaves as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections import namedtuple

import pytest
from paths import ROOT
from tiny_tflite import OUTPUT, tiny_tflite

from pose3d_ros.model_store import conversion_env, store
from pose3d_ros.model_store.conversion_env import ConversionEnvironmentError, Network, cause
from pose3d_ros.model_store.tflite_to_onnx import convert

Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def no_index(tmp_path, monkeypatch):
    for name, value in {
        "NO_INDEX": "1",
        "FIND_LINKS": str(tmp_path / "nothing"),
        "CONFIG_FILE": "/dev/null",
    }.items():
        monkeypatch.setenv(f"PIP_{name}", value)


def test_a_process_apart_converts_to_the_same_bytes(tmp_path, monkeypatch):
    monkeypatch.setattr(
        conversion_env, "_install", lambda packages, scratch: None
    )  # this environment has them
    network = Network("tflite_to_onnx", [tiny_tflite()], {"outputs": {"y": OUTPUT}, "low": -1.0})
    other = network._replace(options={"outputs": {"y": OUTPUT}})
    assert conversion_env.convert([network, other], tmp_path) == [
        convert(tiny_tflite(), {"y": OUTPUT}, -1.0),
        convert(tiny_tflite(), {"y": OUTPUT}, 0.0),
    ]


def test_what_the_process_says_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(conversion_env, "_install", lambda packages, scratch: None)
    with pytest.raises(
        ConversionEnvironmentError, match="conversion failed: .*expected a TFLite model"
    ):
        conversion_env.convert(
            [Network("tflite_to_onnx", [b"no network"], {"outputs": {}})], tmp_path
        )


def test_without_an_index_it_says_what_pip_said(tmp_path, no_index):
    with pytest.raises(
        ConversionEnvironmentError, match="pip could not install onnx, .*: ERROR: No matching"
    ) as error:
        conversion_env.convert([], tmp_path)
    assert "\n" not in str(error.value)


def test_a_full_disk_is_told_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(2**40, 2**40 - 2**20, 2**20))
    with pytest.raises(
        ConversionEnvironmentError, match="expected 400 MB of free space in .*, found 1 MB"
    ):
        conversion_env.convert([], tmp_path)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "WARNING: Retrying: NewConnectionError('Name or service not known')\n"
            "ERROR: No matching distribution found for onnx",
            "no connection to the package index (WARNING: Retrying: NewConnectionError",
        ),
        (
            "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on "
            "device\n\nERROR: other",
            "the disk is full (ERROR: Could not install",
        ),
        ("/usr/bin/python3: No module named pip", "this Python has no pip"),
        (
            "npm error code ENOTFOUND\nnpm error network request failed\n"
            "npm error A complete log of this run can be found in: /cache/log",
            "no connection to the package index (npm error code ENOTFOUND",
        ),
        (
            "npm error 404 Not Found\nnpm error A complete log of this run can be found in: /log",
            "npm error 404 Not Found",
        ),
        ("ERROR: first\nERROR: second\nWARNING: a newer pip exists", "ERROR: second"),
        ("Traceback\nValueError: x", "ValueError: x"),
        ("", "no reason given"),
    ],
)
def test_the_cause_rather_than_its_consequence(said, told):
    assert cause(said).startswith(told)


def test_its_versions_are_the_pinned_ones():
    pins = [
        line.partition(";")[0]
        for line in (ROOT / "requirements" / "pins.txt").read_text().splitlines()
    ]
    assert {pin for pin in conversion_env.REQUIREMENTS if "==" in pin} <= set(pins)


def test_the_store_converts_apart_where_onnx_is_missing(tmp_path, monkeypatch, no_index):
    monkeypatch.setitem(sys.modules, "pose3d_ros.model_store.tflite_to_onnx", None)
    network = Network("tflite_to_onnx", [tiny_tflite()], {"outputs": {"y": OUTPUT}})
    with pytest.raises(
        store.ModelError,
        match="pip could not install onnx.*or convert with packages of your own",
    ):
        store._convert([network], tmp_path)
    monkeypatch.setattr(conversion_env, "_install", lambda packages, scratch: None)
    shutil.rmtree(tmp_path / "conversion")
    assert store._convert([network], tmp_path) == [convert(tiny_tflite(), {"y": OUTPUT})]


SYSTEMS = {
    "22.04": (
        "3.10",
        ["numpy==1.21.5", "scipy==1.8.0", "opencv-python-headless==4.5.4.60", "PyYAML==5.4.1"],
    ),
    "24.04": (
        "3.12",
        ["numpy==1.26.4", "scipy==1.11.4", "opencv-python-headless==4.6.0.66", "PyYAML==6.0.1"],
    ),
}
PROGRAM = """
import cv2
from pose3d_ros.camera import Camera
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.resources import share
pipeline = MonocularPipeline()
camera = Camera.from_yaml(share("demo", "cam0.yaml"))
video = cv2.VideoCapture(str(share("demo", "cam0.mp4")))
seen = [len(pipeline(video.read()[1], camera, index * 33_000_000).joints_m) for index in range(30)]
print(max(seen))
"""


@pytest.mark.slow
@pytest.mark.skipif(
    "POSE3D_TEST_DOWNLOADS" not in os.environ,
    reason="downloads 200 MB for each system: set POSE3D_TEST_DOWNLOADS=1",
)
@pytest.mark.parametrize("ubuntu", SYSTEMS)
def test_the_readme_s_line_leaves_the_numpy_of_ubuntu_alone(ubuntu, tmp_path):
    version, packages = SYSTEMS[ubuntu]
    python = shutil.which(f"python{version}")
    if not python:
        pytest.skip(f"needs python{version}")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "LD_"))
    }
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
    inside = tmp_path / "venv" / "bin" / "python"

    def run(*words):
        done = subprocess.run(
            [*map(str, words)], capture_output=True, text=True, env=environment, check=False
        )
        assert done.returncode == 0, f"{words}\n{done.stderr}"
        return done.stdout

    run(python, "-m", "venv", tmp_path / "venv")
    pip = (inside, "-m", "pip", "--disable-pip-version-check")
    run(
        *pip,
        "install",
        "-q",
        "--no-deps",
        "--prefer-binary",
        *[p for p in packages if not p.startswith("PyYAML")],
        "PyYAML",
    )
    line = next(
        line
        for line in (ROOT / "README.md").read_text().splitlines()
        if "pip install --user" in line
    )
    assert "onnxruntime" in line
    run(*pip, *[word for word in line.split("#")[0].split()[1:] if word != "--user"])
    run(inside, "-m", "pose3d_ros.cli.main", "models", "fetch")
    assert int(run(inside, "-c", PROGRAM)) == 2
    after = run(*pip, "freeze")
    assert all(package in after for package in packages if not package.startswith("PyYAML"))
    assert not any(f"{name}==" in after for name in ("onnx", "tflite", "ml_dtypes", "protobuf"))
    kept = [
        path.name
        for path in (tmp_path / "cache" / "pose3d_ros" / "models").iterdir()
        if path.is_dir()
    ]
    assert not kept, "what converted is gone"
