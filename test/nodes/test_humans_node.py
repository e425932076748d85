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

"""People as ROS4HRI bodies, as a robot's other nodes see them.

The tests need hri_msgs: of a ROS distribution, or built by colcon beside the wheels. Those of
ament_cmake and of the rosidl generators do it, once the Python that their CMake files name
(/opt/python/...) is replaced by one's own.
"""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
from bodies import CAMERA, STANDING_M, seen
from conftest import wait_for
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import Header, String

from pose3d_ros.nodes import humans, messages
from pose3d_ros.nodes.tf import matrix_of
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.skeleton import BODY30, H36M17

HEADER = Header(stamp=messages.time_of(10**9), frame_id="camera_optical")


def test_without_the_messages_one_line_says_where_they_come_from(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(humans, "IdsList", None)
    monkeypatch.setattr(humans, "_MISSING", "No module named 'hri_msgs'", raising=False)
    assert not ros.add(humans.HumansNode()).start()
    ros.line("publishing humans needs hri_msgs", "apt install ros-$ROS_DISTRO-hri-msgs")


def people(*ids: int) -> tuple[PointCloud2, PointCloud2]:
    """``joints`` and ``keypoints`` of people who stand beside each other, 4 m away."""
    places = np.array([[person - 0.5, 0.0, 4.0] for person in range(len(ids))])
    keypoints = seen(places, 10**9)
    joints = STANDING_M + places.reshape(-1, 1, 3)
    known = np.ones(joints.shape[:2])
    told = People3D(
        H36M17,
        joints,
        known,
        0.02 * known,
        np.zeros(joints.shape),
        np.array(ids, int),
        np.full(len(ids), TrackState.CONFIRMED),
        10**9,
        "camera_optical",
    )
    return messages.joints_cloud(told, HEADER), messages.keypoints_cloud(
        replace(keypoints, ids=np.array(ids)), HEADER
    )


@pytest.fixture
def bodies(ros: Any) -> Any:
    """The node, and what it hears; skipped without hri_msgs."""
    hri = pytest.importorskip(
        "hri_msgs.msg", reason="needs hri_msgs, of a ROS distribution or built by colcon"
    )
    tracked = ros.collect(hri.IdsList, "/humans/bodies/tracked")
    node = ros.add(humans.HumansNode())
    assert node.start()
    joints, keypoints = (
        ros.publisher(PointCloud2, "joints"),
        ros.publisher(PointCloud2, "keypoints"),
    )

    def tell(*ids: int) -> None:
        for publisher, cloud in zip((joints, keypoints), people(*ids), strict=True):
            publisher.publish(cloud)

    return tell, tracked, hri


def test_bodies_come_and_go(ros: Any, bodies: Any) -> None:
    tell, tracked, _ = bodies
    tell(3, 7)
    wait_for(lambda: tracked and tracked[-1].ids == ["p3", "p7"], "two bodies")
    assert tracked[-1].header == HEADER
    assert "/humans/bodies/p7/joint_states" in dict(ros.node.get_topic_names_and_types())
    tell(7)
    wait_for(lambda: tracked[-1].ids == ["p7"], "one of them to go")
    wait_for(lambda: tracked[-1].ids == [], "nobody, because joints are silent")


def test_a_body_has_a_region_a_skeleton_and_angles_of_its_model(ros: Any, bodies: Any) -> None:
    tell, tracked, hri = bodies
    tell(3)
    wait_for(lambda: tracked, "a body")
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    urdf = ros.collect(String, "/humans/bodies/p3/urdf", latched)  # though it comes late
    states = ros.collect(JointState, "/humans/bodies/p3/joint_states")
    regions = ros.collect(hri.NormalizedRegionOfInterest2D, "/humans/bodies/p3/roi")
    skeletons = ros.collect(hri.Skeleton2D, "/humans/bodies/p3/skeleton2d")

    def all_heard() -> bool:
        tell(3)
        return bool(urdf and states and regions and skeletons)

    wait_for(all_heard, "all topics of a body")
    moving = {
        joint.get("name")
        for joint in ElementTree.fromstring(urdf[0].data).iter("joint")
        if joint.get("type") != "fixed"
    }
    assert set(states[0].name) == moving and len(states[0].position) == len(moving)
    points = skeletons[0].skeleton
    wrist = seen(np.array([[-0.5, 0.0, 4.0]]), 0).joint("r_wrist")[0] / np.array(CAMERA.size)
    assert [points[4].x, points[4].y] == pytest.approx(wrist.tolist(), abs=1e-3)
    assert points[0].c == 0, "nobody knows the nose"
    region = regions[0]
    assert region.xmin < wrist[0] < region.xmax and 0 <= region.ymin < region.ymax <= 1
    if not importlib.util.find_spec("tf2_msgs"):
        ros.line("no frames of bodies on /tf: tf2_msgs")


def test_a_face_that_keypoints_tell_is_in_the_skeleton(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without hri_msgs too; Skeleton2D has left eyes and ears before right ones."""

    def blank(header: Header) -> Any:
        places = [SimpleNamespace(x=0.0, y=0.0, c=0.0) for _ in range(18)]
        return SimpleNamespace(header=header, skeleton=places)

    monkeypatch.setattr(humans, "Skeleton2D", blank, raising=False)
    points = np.random.default_rng(0).uniform(0, 1, (len(BODY30), 2))
    confidence = np.full(len(BODY30), 0.5)
    hidden = BODY30.index("r_ear")
    points[hidden], confidence[hidden] = np.nan, 0
    told = humans.skeleton_2d(points, confidence, HEADER).skeleton
    for place, joint in zip((0, 14, 15, 16), ("nose", "l_eye", "r_eye", "l_ear"), strict=True):
        assert [told[place].x, told[place].y] == points[BODY30.index(joint)].tolist()
        assert told[place].c == 0.5
    assert told[17].c == 0


def test_frames_of_links_are_where_the_joints_are(
    ros: Any, bodies: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Any] = []

    def noted(transforms: Any) -> Any:
        sent.append(transforms)
        return transforms[0]  # a message of another type, where there is no tf2_msgs

    monkeypatch.setattr(humans, "tf_message", noted)
    tell, _, _ = bodies
    wait_for(lambda: sent or tell(3), "frames")
    poses = {"camera_optical": np.eye(4)}
    for made in sent[0]:
        assert made.header.stamp == HEADER.stamp
        poses[made.child_frame_id] = poses[made.header.frame_id] @ matrix_of(made.transform)
    expected = STANDING_M + np.array([-0.5, 0.0, 4.0])
    for joint, link in (("pelvis", "body"), ("l_wrist", "l_wrist"), ("r_ankle", "r_ankle")):
        np.testing.assert_allclose(
            poses[f"{link}_p3"][:3, 3], expected[H36M17.index(joint)], atol=1e-3
        )
