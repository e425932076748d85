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

"""The separation node over real DDS: what it measures, and that what it does not know is near."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
from bodies import STANDING_M
from conftest import wait_for
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from pose3d_ros.nodes.messages import SEPARATION, joints_cloud
from pose3d_ros.nodes.separation import SeparationNode
from pose3d_ros.people import People3D
from pose3d_ros.separation import FLESH_M
from pose3d_ros.skeleton import H36M17

L_WRIST = H36M17.index("l_wrist")
NOWHERE = np.full((17, 3), np.nan)
IN_FRONT = STANDING_M + [0, 0, 3.0]  # of the camera


class Controller:
    """Publishes joints and reads what the node says of them."""

    def __init__(self, ros: Any) -> None:
        self.ros, self.heard = ros, ros.collect(PointCloud2, "separation")
        self._joints: Any = None

    def rows(self, joints_m: Any = None, age_s: float = 0.0) -> np.ndarray:
        """Publish people (P, 17, 3), and wait for what is said next."""
        joints_m = np.zeros((0, 17, 3)) if joints_m is None else np.array(joints_m)
        self._joints = self._joints or self.ros.publisher(PointCloud2, "joints")
        count = len(joints_m)
        people = People3D(
            H36M17,
            joints_m,
            np.ones((count, 17)),
            np.full((count, 17), 0.05),
            0 * joints_m,
            7 + np.arange(count),
            np.ones(count),
            0,
            "camera",
        )
        now = self.ros.node.get_clock().now()
        stamp = type(now)(
            nanoseconds=now.nanoseconds - round(age_s * 1e9), clock_type=now.clock_type
        )
        before = len(self.heard)
        self._joints.publish(joints_cloud(people, Header(stamp=stamp.to_msg(), frame_id="camera")))
        wait_for(lambda: len(self.heard) > before, "separation")
        return self.last

    @property
    def last(self) -> np.ndarray:
        """What was said last."""
        return np.frombuffer(self.heard[-1].data, SEPARATION)


@pytest.fixture
def start(ros: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Controller]:
    """Start the node with a sphere in a frame, without tf2_ros."""
    monkeypatch.setitem(__import__("sys").modules, "tf2_ros", None)

    def make(frame: str = "camera", **parameters: object) -> Controller:
        file = tmp_path / "robot.yaml"
        file.write_text(f"shapes: [{{frame_id: {frame}, center_m: [0, 0, 0], radius_m: 0.2}}]")
        given = {"shapes": str(file), **parameters}
        node = ros.add(
            SeparationNode(
                parameter_overrides=[Parameter(key, value=value) for key, value in given.items()]
            )
        )
        assert node.start()
        return Controller(ros)

    return make


def test_the_nearest_part_of_each_person(start: Callable[..., Controller]) -> None:
    controller = start(max_age_s=5.0)
    hand = IN_FRONT.copy()
    hand[L_WRIST] = 0, 0, 1.0
    near, far = controller.rows([hand, IN_FRONT])
    assert near["distance"] == pytest.approx(1.0 - 0.2 - FLESH_M[L_WRIST], abs=1e-4)
    assert (near["person"], near["joint"], near["shape"], near["measured"]) == (7, L_WRIST, 0, 1)
    assert 0 <= near["age"] < 5 and near["sigma"] == pytest.approx(0.05)
    assert far["person"] == 8 and far["distance"] > 2
    assert not len(controller.rows())  # nobody is nobody


def test_what_is_not_known_is_near(start: Callable[..., Controller]) -> None:
    controller = start(max_age_s=2.0)
    (row,) = controller.rows([NOWHERE])
    assert row["distance"] == 0 and row["measured"] == 0
    (row,) = controller.rows([IN_FRONT], age_s=4.0)
    assert row["distance"] == 0 and row["age"] >= 4


def test_silence_is_said(start: Callable[..., Controller]) -> None:
    controller = start(max_age_s=0.3)
    wait_for(lambda: controller.heard, "something")
    (row,) = controller.last
    assert row["person"] == -1 and row["distance"] == 0 and np.isnan(row["age"])
    controller.rows([IN_FRONT])
    wait_for(
        lambda: controller.last["person"].tolist() == [-1] and controller.last["age"] > 0.3,
        "that the joints are old",
    )


def test_a_shape_whose_place_nobody_tells_is_near_everybody(
    ros: Any, start: Callable[..., Controller]
) -> None:
    controller = start(frame="base_link", max_age_s=5.0)
    (row,) = controller.rows([IN_FRONT])
    assert row["distance"] == 0
    ros.line("everybody counts as near", "needs tf2_ros")


def test_a_cloud_that_is_none_is_near(ros: Any, start: Callable[..., Controller]) -> None:
    controller = start(max_age_s=0.3)
    ros.publisher(PointCloud2, "joints").publish(PointCloud2(height=3, width=17))
    ros.line("skipped a message on /joints", "expected the fields")
    assert controller.last["distance"] == 0


@pytest.mark.parametrize("shapes", ["", "/nowhere.yaml"])
def test_without_shapes_it_does_not_start(ros: Any, shapes: str) -> None:
    node = ros.add(SeparationNode(parameter_overrides=[Parameter("shapes", value=shapes)]))
    assert not node.start()
    ros.line("cannot configure", "shapes")
