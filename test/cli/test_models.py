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

"""``pose3d models build``: engines made ahead of time, through the command line."""

from __future__ import annotations

import re

import cv2
import numpy as np
import pytest
import toy_networks

from pose3d_ros.cli.main import main as cli
from pose3d_ros.model_store import store


def test_builds_what_is_named(capsys):
    assert cli(["models", "build", "lifter-martinez", "--engine", "cpu"]) == 0
    assert capsys.readouterr().out.startswith("lifter-martinez      ready on cpu after ")


def test_a_file_of_ones_own(tmp_path, capsys):
    path = toy_networks.boxes(tmp_path / "own.onnx", (64, 64))
    assert cli(["models", "build", str(path), "--engine", "cpu"]) == 0
    assert "own " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["magic"], "model 'magic': expected one of"),
        (
            ["lifter-martinez", "--engine", "cpu", "--precision", "fp16"],
            "precision: expected auto, fp32",
        ),
        (["--images", "/nowhere"], "expected pictures .* in /nowhere, found none"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments, said, capsys):
    assert cli(["models", "build", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pose3d models: ") and error.count("\n") == 1
    assert re.search(said, error)


def test_a_file_that_is_no_picture_is_named(tmp_path, capsys):
    if store.verify("blazepose-full"):
        pytest.skip("the embedded detector is not fetched")
    (tmp_path / "notes.jpg").write_text("no picture")
    assert cli(["models", "build", "--images", str(tmp_path)]) == 1
    assert "notes.jpg: expected a picture" in capsys.readouterr().err


def test_networks_of_a_detector_are_calibrated_with_pictures(tmp_path, monkeypatch, capsys):
    """A one-stage toy detector: what it was fed is heard, its network is quantised and kept for
    TensorRT.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    detector = toy_networks.rtmo(tmp_path / "rtmo.onnx", (64, 64))
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    for i in range(3):
        cv2.imwrite(str(pictures / f"{i}.png"), np.full((64, 64, 3), 40 * i, np.uint8))
    code = cli(
        [
            "models",
            "build",
            "--engine",
            "cpu",
            "--images",
            str(pictures),
            "--detector",
            "rtmo",
            "--detector-model",
            str(detector),
        ]
    )
    assert code == 0, capsys.readouterr().err
    assert "rtmo " in capsys.readouterr().out
    assert [
        path.name for path in (tmp_path / "cache" / "pose3d_ros" / "engines").glob("rtmo-*.bin")
    ]
