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

"""ROS's linters, with the package's own settings, where they are installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from paths import ROOT

CODE = ("benchmarks", "examples", "launch", "pose3d_ros", "scripts", "setup.py", "test")
# Ruff checks docstrings too, of these folders; the first sentence may describe and take two lines.
DOCUMENTED = ("benchmarks", "examples", "launch", "pose3d_ros", "scripts", "setup.py")
PEP257 = (
    "--convention",
    "pep257",
    "--add-ignore",
    "D105",
    "D107",
    "D205",
    "D400",
    "D401",
    "D402",
    "D403",
    "D413",
)


@pytest.mark.parametrize(
    "command",
    [
        ("ament_copyright", *CODE, "CONTRIBUTING.md", "LICENSE"),
        ("ament_flake8", "--config", "setup.cfg", *CODE),
        ("ament_pep257", *DOCUMENTED, *PEP257),
        ("ament_xmllint", "package.xml", "config"),
    ],
    ids=lambda command: command[0],
)
def test_ament(command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(
            f"{command[0]} comes with a ROS distribution, and with Debian's python3-ament packages"
        )
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-1000:]}"
