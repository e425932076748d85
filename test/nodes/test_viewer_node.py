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

"""The viewer node over real DDS: it listens only while somebody looks, and shows what it hears."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
pytest.importorskip("viser", reason="needs viser: pip install viser")
from conftest import wait_for
from rclpy.parameter import Parameter
from rigs import standing
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from pose3d_ros.browser_view import BrowserView
from pose3d_ros.camera import Camera
from pose3d_ros.nodes import image_messages, messages, viewer
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.resources import share
from pose3d_ros.skeleton import H36M17


def started(ros: Any, **parameters: Any) -> viewer.ViewerNode:
    overrides = [Parameter(key, value=value) for key, value in parameters.items()]
    node = ros.add(
        viewer.ViewerNode(parameter_overrides=[Parameter("viewer_port", value=0), *overrides])
    )
    assert node.start()
    return node


def cloud(frame_id: str, *joints: Any) -> PointCloud2:
    people = People3D(
        H36M17,
        np.array(joints, float).reshape(-1, 17, 3),
        np.ones((len(joints), 17)),
        np.full((len(joints), 17), 0.02),
        np.zeros((len(joints), 17, 3)),
        np.arange(len(joints)),
        np.full(len(joints), TrackState.CONFIRMED),
        1_000_000_000,
        frame_id,
    )
    return messages.joints_cloud(people, Header(stamp=messages.time_of(10**9), frame_id=frame_id))


def somebody_looks(monkeypatch: pytest.MonkeyPatch, looks: bool = True) -> None:
    monkeypatch.setattr(BrowserView, "watched", looks)


def standing_person() -> np.ndarray:
    return np.asarray(standing(np.array([[0.0, 4.0]]), np.array([0.0]), 0.0))[0]


def test_nobody_has_to_publish_while_nobody_looks(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    joints = ros.publisher(PointCloud2, "joints", matched=False)
    overlay = ros.publisher(Image, "overlay", matched=False)
    started(ros)
    wait_for(lambda: "ready: open http://localhost:" in ros.log, "the address in the log")
    assert joints.get_subscription_count() == overlay.get_subscription_count() == 0
    somebody_looks(monkeypatch)
    wait_for(lambda: joints.get_subscription_count() == 1, "a look")
    wait_for(lambda: overlay.get_subscription_count() == 1, "a look at the picture")
    somebody_looks(monkeypatch, looks=False)
    wait_for(lambda: joints.get_subscription_count() == 0, "the end of it")


def test_shows_people_and_the_camera_that_sees_them(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody_looks(monkeypatch)
    joints = ros.publisher(PointCloud2, "joints", matched=False)
    info = ros.publisher(CameraInfo, "camera_info", matched=False)
    overlay = ros.publisher(Image, "overlay", matched=False)
    view = started(ros)._view
    assert view is not None
    for publisher in (joints, info, overlay):
        wait_for(publisher.get_subscription_count, "the viewer")
    header = Header(frame_id="camera_optical")
    camera = Camera.from_fov(64, 48, 1.0)
    picture = image_messages.to_message(np.full((48, 64, 3), 90, np.uint8), header)
    info.publish(messages.camera_info(camera, header))

    def camera_shown() -> bool:
        overlay.publish(picture)
        return "camera" in view._frusta

    wait_for(camera_shown, "the camera")
    joints.publish(cloud("camera_optical", standing_person()))
    wait_for(lambda: len(view._limbs.points) == len(H36M17.limbs), "a person")
    assert view.optical
    joints.publish(cloud("map", standing_person()))  # of a robot that knows where its camera is
    wait_for(lambda: not view.optical, "z up")


def test_cameras_of_a_rig_stand_where_the_file_has_them(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    somebody_looks(monkeypatch)
    view = started(ros, rig=str(share("demo", "rig.yaml")))._view
    assert view is not None
    wait_for(lambda: sorted(view._frusta) == ["cam0", "cam1"], "both cameras")
    np.testing.assert_allclose(view._frusta["cam0"].position, [-1.5, -3.7, 1.35], atol=1e-6)


def test_cloud_that_is_none_costs_one_line(ros: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody_looks(monkeypatch)
    joints = ros.publisher(PointCloud2, "joints", matched=False)
    view = started(ros)._view
    assert view is not None
    wait_for(joints.get_subscription_count, "the viewer")
    joints.publish(PointCloud2(height=1, width=5))
    ros.line("skipped a message on /joints", "expected a cloud of width 17")
    joints.publish(cloud("map", standing_person()))
    wait_for(lambda: len(view._limbs.points), "a person all the same")
