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

"""The examples for users run: the notebook, and what C++ reads of a message of ours."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from pose3d_ros.people import People3D
from pose3d_ros.resources import share
from pose3d_ros.skeleton import BODY30

MAIN = """
#include <cstdio>
#include <fstream>
#include <iterator>
#include "joints.hpp"

int main(int, char ** argv)
{
  sensor_msgs::msg::PointCloud2 cloud;
  cloud.height = 2, cloud.width = 30, cloud.point_step = std::stoi(argv[2]);
  const char * names[] = {"x", "y", "z", "sigma", "person"};
  for (int i = 0; i < 5; ++i) {
    sensor_msgs::msg::PointField field;
    field.name = names[i], field.offset = std::stoi(argv[3 + i]), field.count = 1;
    field.datatype = i < 4 ? 7 : 5;
    cloud.fields.push_back(field);
  }
  std::ifstream file(argv[1], std::ios::binary);
  cloud.data.assign(std::istreambuf_iterator<char>(file), {});
  for (const auto & person : pose3d::read(cloud)) {
    const auto & wrist = person.joints.at(pose3d::L_WRIST);
    const auto & toe = person.joints.at(pose3d::R_FOOT);
    std::printf("%d %g %g %g %g ", person.id, wrist.x, wrist.y, wrist.z, wrist.sigma);
    std::printf("%g %g %g\\n", toe.x, toe.y, toe.z);
  }
}
"""


def test_notebook_runs() -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient: pip install '.[docs]'")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install '.[docs]'")
    pytest.importorskip("ipykernel", reason="needs ipykernel: pip install '.[docs]'")
    notebook = nbformat.read(ROOT / "examples/quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=120).execute()
    said = str([cell.get("outputs") for cell in notebook.cells])
    assert said.count("image/jpeg") >= 2
    assert "left wrist at" in said


def people() -> People3D:
    """Two people of the demo's clip, with sigma and ids that tell them apart."""
    with np.load(share("demo", "truth.npz")) as truth:
        joints_m = np.concatenate([truth["joints_m"], truth["extra_joints_m"]], 2)[60, :2]
    sigma_m = np.full((2, 30), 0.03) + np.arange(2)[:, None] / 100
    ids, states = np.array([4, 7]), np.ones(2, int)
    return People3D(
        BODY30, joints_m, np.ones((2, 30)), sigma_m, np.zeros((2, 30, 3)), ids, states, 0, "world"
    )


def test_cpp_reads_a_message(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    from pose3d_ros.nodes.messages import joints_cloud

    compiler, include = shutil.which("g++"), Path(sys.prefix) / "include"
    if compiler is None or not (include / "sensor_msgs").is_dir():
        pytest.skip("needs g++ and the headers of sensor_msgs")
    seen = people()
    from std_msgs.msg import Header

    cloud = joints_cloud(seen, Header())
    tmp_path.joinpath("cloud").write_bytes(bytes(cloud.data))
    tmp_path.joinpath("main.cpp").write_text(MAIN)
    folders = [f"-I{folder}" for folder in include.iterdir() if folder.is_dir()]
    program = tmp_path / "main"
    build = (compiler, "-std=c++17", "-Wall", "-Wextra", "-Werror")
    subprocess.run(
        [*build, f"-I{ROOT / 'examples/cpp'}", *folders, tmp_path / "main.cpp", "-o", program],
        check=True,
    )
    offsets = {field.name: str(field.offset) for field in cloud.fields}
    names = ("x", "y", "z", "sigma", "person")
    done = subprocess.run(
        [program, tmp_path / "cloud", str(cloud.point_step), *[offsets[name] for name in names]],
        check=True,
        capture_output=True,
        text=True,
    )
    read = np.array([line.split() for line in done.stdout.splitlines()], float)
    wrist, toe = BODY30.indices("l_wrist", "r_foot")
    np.testing.assert_array_equal(read[:, 0], seen.ids)
    np.testing.assert_allclose(read[:, 1:4], seen.joints_m[:, wrist], atol=1e-4)
    np.testing.assert_allclose(read[:, 4], seen.sigma_m[:, wrist], atol=1e-6)
    np.testing.assert_allclose(read[:, 5:], seen.joints_m[:, toe], atol=1e-4)
