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

"""The example controllers: they stop for who is near, and for what they do not know."""

from __future__ import annotations

import importlib.util
import math
import subprocess
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from paths import ROOT

pytest.importorskip("rclpy", reason="needs rclpy")
from conftest import wait_for
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Bool, Float64, Header

from pose3d_ros.nodes.messages import SEPARATION, separation_cloud
from pose3d_ros.separation import UNKNOWN, Separation
from pose3d_ros.skeleton import BODY30

pytestmark = pytest.mark.installed

EXAMPLES = ("stop_when_near", "speed_and_separation")


def loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """An example as a module; sensor_msgs_py is as it is installed, or as simple as can be."""
    try:
        import sensor_msgs_py.point_cloud2  # noqa: F401
    except ImportError:
        reader = ModuleType("point_cloud2")
        reader.read_points = lambda cloud: np.frombuffer(  # type: ignore[attr-defined]
            cloud.data, SEPARATION
        )
        monkeypatch.setitem(sys.modules, "sensor_msgs_py", ModuleType("sensor_msgs_py"))
        monkeypatch.setitem(sys.modules, "sensor_msgs_py.point_cloud2", reader)
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def near(
    distance_m: float, sigma_m: float = 0.0, closing_mps: float = 0.0, age_s: float = 0.0
) -> PointCloud2:
    """Somebody at this distance, and somebody else far away."""
    rows = [Separation(d, sigma_m, closing_mps, 13, 0, True) for d in (9.0, distance_m)]
    return separation_cloud(rows, np.arange(2), age_s, Header())


def unknown() -> PointCloud2:
    """Nobody knows."""
    return separation_cloud([UNKNOWN], np.array([-1]), math.nan, Header())


def test_stops_for_who_is_near_and_for_silence(ros: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    decisions = ros.collect(Bool, "stop")
    ros.add(loaded("stop_when_near", monkeypatch).StopWhenNear())
    wait_for(lambda: decisions and decisions[-1].data, "a stop before anything was heard")
    separation = ros.publisher(PointCloud2, "separation")

    def becomes(decision: bool, cloud: PointCloud2) -> bool:
        separation.publish(cloud)
        return bool(decisions) and decisions[-1].data is decision

    wait_for(lambda: becomes(False, near(2.0)), "going on")
    wait_for(lambda: becomes(True, near(0.8)), "a stop")
    wait_for(lambda: becomes(False, near(1.1)), "going on again")
    wait_for(lambda: becomes(True, near(1.1, 0.1)), "a stop: they may be nearer than measured")
    wait_for(lambda: becomes(False, near(2.0)), "going on again")
    wait_for(lambda: becomes(True, unknown()), "a stop, since nothing is known")
    wait_for(lambda: becomes(False, near(2.0)), "going on again")
    wait_for(lambda: becomes(True, near(math.nan)), "a stop: NaN is not far")
    wait_for(lambda: becomes(False, near(2.0)), "going on again")
    wait_for(lambda: decisions[-1].data, "a stop, since nobody tells where people are")


def test_the_speed_limit_keeps_the_protective_separation_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limit = loaded("speed_and_separation", monkeypatch).speed_limit
    v_h, t_r, a, margin = 1.6, 0.2, 1.5, 0.25
    for distance in (1.0, 2.0, 4.0):
        v = limit(distance, v_h, t_r, a, margin)
        needed = v_h * (t_r + v / a) + v * t_r + v**2 / (2 * a) + margin
        assert v > 0 and needed == pytest.approx(distance)
    for nothing in (0.0, 0.5, math.nan):
        assert limit(nothing, v_h, t_r, a, margin) == 0
    assert limit(4.0, v_h, math.nan, a, margin) == 0 == limit(4.0, v_h, t_r, a, math.inf)


def test_the_robot_slows_down_as_people_come(ros: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = ros.collect(Float64, "speed_limit")
    module = loaded("speed_and_separation", monkeypatch)
    monkeypatch.setitem(module.PARAMETERS, "timeout_s", 60.0)  # silence is another test's
    ros.add(module.SpeedAndSeparation())
    separation = ros.publisher(PointCloud2, "separation")

    def told(cloud: PointCloud2) -> float:
        before = len(limits)
        separation.publish(cloud)
        wait_for(lambda: len(limits) > before, "a limit")
        return float(limits[-1].data)

    assert told(separation_cloud([], np.zeros(0, int), 0.0, Header())) == 1.0
    assert told(near(9.0)) == 1.0 > told(near(2.0)) > told(near(1.2)) > told(near(0.2)) == 0
    assert told(near(2.0)) > told(near(2.0, closing_mps=3.0))
    assert told(near(2.0)) > told(near(2.0, sigma_m=0.1)) > told(near(2.0, 0.1, age_s=0.3))
    assert told(unknown()) == 0


@pytest.mark.parametrize("name", EXAMPLES)
def test_without_sensor_msgs_py_it_says_so(name: str) -> None:
    path = ROOT / "examples" / f"{name}.py"
    hidden = (
        "import sys, runpy; sys.modules['sensor_msgs_py'] = None; "
        f"runpy.run_path({str(path)!r}, run_name='__main__')"
    )
    ended = subprocess.run(
        [sys.executable, "-c", hidden], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert ended.stderr.strip().endswith(
        "needs sensor_msgs_py, which is not installed; install ros-$ROS_DISTRO-sensor-msgs-py"
    )
    assert "Traceback" not in ended.stderr


def test_reader_of_joints_knows_the_column_of_each(monkeypatch: pytest.MonkeyPatch) -> None:
    assert BODY30.joints == loaded("read_joints", monkeypatch).JOINTS
