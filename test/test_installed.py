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

"""The package as colcon has installed it: its files and commands, and that the tests run these."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from paths import ROOT

import pose3d_ros
from pose3d_ros.resources import NAME, share

pytestmark = pytest.mark.installed
FOLDERS = ("config", "demo", "examples", "launch", "models")


@pytest.fixture
def prefix() -> Path:
    """Where colcon has installed the package."""
    for prefix in map(Path, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)):
        if (prefix / "share" / "ament_index" / "resource_index" / "packages" / NAME).is_file():
            return prefix.resolve()
    pytest.skip("needs an installation by colcon whose setup.bash has been sourced")


def test_the_tests_run_what_is_installed(prefix: Path) -> None:
    assert prefix in Path(pose3d_ros.__file__).parents, (
        "set PYTHONSAFEPATH=1: the sources hide the installation"
    )


def test_every_file_is_installed(prefix: Path) -> None:
    files = [
        path.relative_to(ROOT)
        for folder in FOLDERS
        for path in ROOT.joinpath(folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    assert len(files) > len(FOLDERS)
    assert not [file for file in files if not (prefix / "share" / NAME / file).is_file()]
    assert share() == prefix / "share" / NAME


@pytest.mark.parametrize(
    "command", ["monocular", "multiview", "pose3d", "stop_when_near.py", "video"]
)
def test_commands_of_ros2_run(prefix: Path, command: str) -> None:
    assert os.access(prefix / "lib" / NAME / command, os.X_OK)


def test_one_command_on_the_path(prefix: Path, tmp_path: Path) -> None:
    assert [path.name for path in prefix.joinpath("bin").iterdir()] == ["pose3d"]
    found = shutil.which("pose3d")
    assert found and Path(found).parent == prefix / "bin"
    done = subprocess.run(
        [found, "models", "path", "lifter-rpsm"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()) == prefix / "share" / NAME / "models" / "lifter-rpsm.onnx"
