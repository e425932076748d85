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

"""The example controller stops for a near wrist, and for silence."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from paths import ROOT

pytest.importorskip("rclpy", reason="needs rclpy")
from conftest import wait_for
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Bool, Header

from pose3d_ros.nodes.messages import joints_cloud
from pose3d_ros.people import People3D
from pose3d_ros.skeleton import H36M17

pytestmark = pytest.mark.installed

EXAMPLE = ROOT / "examples" / "stop_when_near.py"


def person(wrist_m: float, sigma_m: float = 0.0) -> PointCloud2:
    """Somebody 5 m away whose left wrist is at ``wrist_m``, and whose right wrist is not known."""
    joints = np.tile(np.array([0.0, 0.0, 5.0], np.float32), (1, 17, 1))
    joints[0, H36M17.index("l_wrist"), 2] = wrist_m
    joints[0, H36M17.index("r_wrist")] = np.nan
    sigma = np.full((1, 17), sigma_m)
    people = People3D(
        H36M17, joints, np.ones((1, 17)), sigma, 0 * joints, np.zeros(1), np.ones(1), 0, "camera"
    )
    return joints_cloud(people, Header())


def test_stops_for_a_near_wrist_and_for_silence(ros: Any) -> None:
    pytest.importorskip("sensor_msgs_py", reason="comes with a ROS distribution only")
    spec = importlib.util.spec_from_file_location("stop_when_near", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    ros.add(module.StopWhenNear())
    decisions = ros.collect(Bool, "stop")
    joints = ros.publisher(PointCloud2, "joints")

    def becomes(decision: bool, cloud: PointCloud2) -> bool:
        joints.publish(cloud)
        return bool(decisions) and decisions[-1].data is decision

    wait_for(lambda: becomes(False, person(2.0)), "going on")
    wait_for(lambda: becomes(True, person(0.8)), "a stop")
    wait_for(lambda: becomes(False, person(1.1)), "going on again")
    wait_for(
        lambda: becomes(True, person(1.1, sigma_m=0.1)),
        "a stop, since the wrist may be nearer than measured",
    )
    wait_for(lambda: becomes(False, person(2.0)), "going on again")
    wait_for(lambda: decisions[-1].data, "a stop, since nobody tells where people are")


def test_without_sensor_msgs_py_it_says_so() -> None:
    hidden = (
        "import sys, runpy; sys.modules['sensor_msgs_py'] = None; "
        f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(
        "needs sensor_msgs_py, which is not installed; install ros-$ROS_DISTRO-sensor-msgs-py"
    )
    assert "Traceback" not in ended.stderr
