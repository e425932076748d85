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

"""Installation: files and commands. pyproject.toml has the rest; colcon and pip read both."""

import sys
from pathlib import Path
from typing import Any

import setuptools

NAME = "pose3d_ros"
ROOT = Path(__file__).parent
SHARED = ("config", "demo", "examples", "launch", "models")
NODES = ("humans", "monocular", "multiview", "recorder", "separation", "video", "viewer")
EXAMPLES = ("read_joints", "speed_and_separation", "stop_when_near")

# A wheel's commands are global: one is enough. colcon's are in lib/, where ros2 run looks.
FOR_A_WHEEL = not {"bdist_wheel", "dist_info", "editable_wheel"}.isdisjoint(sys.argv)


def shared(folder: str) -> list[tuple[str, list[str]]]:
    """Files of a folder and where they are installed: at the same place below share/pose3d_ros."""
    files: dict[str, list[str]] = {}
    for path in sorted(ROOT.joinpath(folder).rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(ROOT)
            files.setdefault(f"share/{NAME}/{relative.parent}", []).append(str(relative))
    return list(files.items())


files = [
    ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
    (f"share/{NAME}", ["package.xml"]),
    *(entry for folder in SHARED for entry in shared(folder)),
]
commands = ["pose3d = pose3d_ros.cli.main:main"]
if not FOR_A_WHEEL:
    files += [
        ("bin", ["bin/pose3d"]),
        (f"lib/{NAME}", [f"examples/{name}.py" for name in EXAMPLES]),
    ]
    commands += [f"{node} = pose3d_ros.nodes.entry:{node}" for node in NODES]

# Ubuntu 22.04's setuptools does not read [project].
# Not tests_require: with it, colcon test runs no test and succeeds.
reads_no_pyproject = int(setuptools.__version__.partition(".")[0]) < 61
said_again: dict[str, Any] = {"extras_require": {"test": ["pytest"]}} if reads_no_pyproject else {}

setuptools.setup(
    name=NAME,
    version="0.1.0",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=setuptools.find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed"]},
    data_files=files,
    entry_points={"console_scripts": commands},
    zip_safe=False,
    **said_again,
)
