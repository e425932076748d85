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

"""The recorder node over real DDS: what it hears is in the file at once."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
from conftest import wait_for
from rclpy.parameter import Parameter
from rigs import standing
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import Header

from pose3d_ros.camera import Camera
from pose3d_ros.nodes import messages
from pose3d_ros.nodes.recorder import RecorderNode
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.skeleton import BODY30, H36M17, Skeleton


def recorder(ros: Any, output: Path) -> RecorderNode:
    node: RecorderNode = ros.add(
        RecorderNode(parameter_overrides=[Parameter("output", value=str(output))])
    )
    return node


def cloud(
    frame: int, frame_id: str = "camera_optical", skeleton: Skeleton = H36M17
) -> PointCloud2:
    """Somebody who stands 4 m before the camera."""
    x, y, z = np.asarray(standing(np.array([[0.0, 4.0]]), np.array([0.0]), 0.0))[0].T  # z up
    joints_m = np.stack([x, 1 - z, y], -1)[None]
    seen = np.ones((1, 17))
    people = People3D(
        H36M17,
        joints_m,
        seen,
        0.02 * seen,
        np.zeros((1, 17, 3)),
        np.array([5]),
        np.array([TrackState.CONFIRMED]),
        10**9 + frame * 10**8,
        frame_id,
    )
    stamp = messages.time_of(people.stamp_ns)
    return messages.joints_cloud(people.to(skeleton), Header(stamp=stamp, frame_id=frame_id))


def test_rows_are_in_the_file_at_once_and_nothing_is_overwritten(ros: Any, tmp_path: Path) -> None:
    output = tmp_path / "people.jsonl"
    joints = ros.publisher(PointCloud2, "joints", matched=False)
    assert recorder(ros, output).start()
    wait_for(joints.get_subscription_count, "the recorder")
    for frame in (0, 1, 1, 2):
        joints.publish(cloud(frame))
    wait_for(lambda: output.read_text().count("\n") == 3, "three frames, before the node ends")
    lines = [json.loads(line) for line in output.read_text().splitlines()]
    assert [line["stamp_ns"] for line in lines] == [10**9, 11 * 10**8, 12 * 10**8]
    assert lines[0]["people"][0]["id"] == 5
    ros.line("do not follow the last ones are left out")
    assert not recorder(ros, output).start()
    ros.line("expected a file that is not there yet", "people.jsonl")


def test_people_of_a_camera_are_turned_upright_and_other_frames_left_out(
    ros: Any, tmp_path: Path
) -> None:
    joints = ros.publisher(PointCloud2, "joints", matched=False)
    info = ros.publisher(CameraInfo, "camera_info", matched=False)
    node = recorder(ros, tmp_path / "people.trc")
    assert node.start()
    for publisher in (joints, info):
        wait_for(publisher.get_subscription_count, "the recorder")
    camera = Camera.from_fov(64, 48, 1.0)
    info.publish(messages.camera_info(camera, Header(frame_id="camera_optical")))
    wait_for(lambda: node._optical_frames, "the camera")
    for message in (cloud(0), cloud(1, "map"), cloud(2)):
        joints.publish(message)
    wait_for(lambda: node._frames == 2, "two frames")
    ros.line("expected joints in camera_optical, as the first ones, got map")
    ros.remove(node)
    ros.line("2 frames recorded")
    rows = list(csv.reader((tmp_path / "people.trc").open(), delimiter="\t"))
    first = np.array(rows[6][2:], float).reshape(17, 3)
    head, ankle = H36M17.indices("head", "l_ankle")
    assert first[head, 1] > first[ankle, 1] + 1000  # mm, y up
    np.testing.assert_allclose(first[0, 0], -4000, atol=1)


def test_people_who_get_hands_and_feet_later_are_recorded_as_they_began(
    ros: Any, tmp_path: Path
) -> None:
    joints = ros.publisher(PointCloud2, "joints", matched=False)
    node = recorder(ros, tmp_path / "people.npz")
    assert node.start()
    wait_for(joints.get_subscription_count, "the recorder")
    for frame, skeleton in enumerate((H36M17, BODY30)):
        joints.publish(cloud(frame, skeleton=skeleton))
    wait_for(lambda: node._frames == 2, "two frames")
    ros.remove(node)
    ros.line("2 frames recorded")
    with np.load(tmp_path / "people.npz") as written:
        assert written["joints"].tolist() == list(H36M17.joints)
        assert written["joints_m"].shape == (2, 17, 3)


def test_file_that_cannot_be_written_is_said(ros: Any, tmp_path: Path) -> None:
    (tmp_path / "taken_3.trc").touch()
    for name, words in (
        ("taken.trc", "that is not there yet, got"),
        ("people.xlsx", "expected a file that ends with .csv"),
        ("nowhere/people.csv", "No such file or directory"),
    ):
        assert not recorder(ros, tmp_path / name).start()
        ros.line("cannot configure", words)
