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

"""The humans node: listens to ``joints`` and ``keypoints`` and publishes people as ROS4HRI bodies
(REP-155).
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import TransformStamped
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import Header, String

from pose3d_ros.errors import Pose3dError
from pose3d_ros.geometry import quaternion_from_rotation
from pose3d_ros.io.joints_cloud import people_3d
from pose3d_ros.io.keypoints_cloud import people_2d
from pose3d_ros.nodes import human_model
from pose3d_ros.nodes.human_model import BodySize, ModelJoint
from pose3d_ros.nodes.inputs import START_POSES, Input
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.nodes.messages import tf_message, transform_stamped
from pose3d_ros.nodes.process import run
from pose3d_ros.settings import HumansNodeSettings
from pose3d_ros.skeleton import BODY30, H36M17

try:
    from hri_msgs.msg import (
        IdsList,
        NormalizedRegionOfInterest2D,
        Skeleton2D,
    )
except ImportError as error:  # said by ``configure``, where it is a line and no traceback
    IdsList, _MISSING = None, str(error)

SILENCE_S = 1.0  # of joints, after which nobody is tracked
POSES = 100  # that a size is measured by
REDRAWN_M = 0.03  # a URDF is published again when a length differs by more
ROI_MARGIN = 0.1  # of the keypoints' box: a body is larger than its joints
# Skeleton2D's order, OpenPose's of COCO but with left before right in the face, of which keypoints
# of 17 joints tell nothing.
SKELETON_2D = (
    "nose",
    "thorax",
    *(f"{s}_{joint}" for s in "rl" for joint in ("shoulder", "elbow", "wrist")),
    *(f"{s}_{joint}" for s in "rl" for joint in ("hip", "knee", "ankle")),
    *("l_eye", "r_eye", "l_ear", "r_ear"),
)


@dataclass
class _Body:
    """What is published of a person, and what the size was measured by."""

    name: str
    publishers: dict[str, Any]
    poses: deque[npt.NDArray[np.float32]] = field(default_factory=lambda: deque(maxlen=POSES))
    size: BodySize | None = None
    model: tuple[ModelJoint, ...] = ()


class HumansNode(ManagedNode[HumansNodeSettings]):
    """Hears ``joints`` and, of one camera, ``keypoints``; publishes below ``/humans/bodies``, and
    each body's links on ``/tf``.
    """

    def __init__(self, **options: Any) -> None:
        self._inputs: list[Input] = []
        self._timer: Any = None
        self._bodies: dict[int, _Body] = {}
        super().__init__("humans", HumansNodeSettings, **options)

    def configure(self) -> None:
        """See that the messages are there."""
        if IdsList is None:
            raise Pose3dError(
                f"publishing humans needs hri_msgs, which cannot be imported ({_MISSING}): "
                f"install it with sudo apt install ros-$ROS_DISTRO-hri-msgs (Humble, Jazzy) or "
                f"build https://github.com/ros4hri/hri_msgs, branch humble-devel"
            )
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._latched, self._newest = latched, QoSProfile(depth=1)
        self._tracked = self.create_publisher(IdsList, "/humans/bodies/tracked", self._newest)
        self._tf: Any = None
        self.get_logger().info("ready: bodies on /humans/bodies/tracked")

    def activate(self) -> None:
        """Listen."""
        self._heard_at = time.monotonic()
        self._inputs = [
            Input(self, "joints", PointCloud2, self._hear_joints, START_POSES),
            Input(self, "keypoints", PointCloud2, self._hear_keypoints, optional=True),
        ]
        self._timer = self.every(SILENCE_S / 2, self._watch)

    def deactivate(self) -> None:
        """Stop listening; nobody is tracked any more."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        for input_ in self._inputs:
            input_.close()
        self._inputs = []
        self._forget_all()

    def cleanup(self) -> None:
        """Remove the publishers."""
        if hasattr(self, "_tracked"):
            self.destroy_publisher(self._tracked)
            del self._tracked
            if self._tf is not None:
                self.destroy_publisher(self._tf)

    def _watch(self) -> None:
        if time.monotonic() - self._heard_at > SILENCE_S:
            self._forget_all()

    def _forget_all(self) -> None:
        if self._bodies:
            self._follow(set(), Header(stamp=self.get_clock().now().to_msg()))

    def _follow(self, ids: set[int], header: Header) -> None:
        """Begin to publish those who have come, stop for those who have gone, and tell who is
        there.
        """
        for gone in set(self._bodies) - ids:
            for publisher in self._bodies.pop(gone).publishers.values():
                self.destroy_publisher(publisher)
        for new in ids - set(self._bodies):
            # a token of a topic does not begin with a digit
            self._bodies[new] = self._new_body(f"p{new}")
        names = [self._bodies[person].name for person in sorted(ids)]
        self._tracked.publish(IdsList(header=header, ids=names))

    def _new_body(self, name: str) -> _Body:
        topics = {
            "roi": (NormalizedRegionOfInterest2D, self._newest),
            "skeleton2d": (Skeleton2D, self._newest),
            "joint_states": (JointState, self._newest),
            "urdf": (String, self._latched),
        }
        return _Body(
            name,
            {
                topic: self.create_publisher(kind, f"/humans/bodies/{name}/{topic}", qos)
                for topic, (kind, qos) in topics.items()
            },
        )

    def _hear_joints(self, cloud: PointCloud2) -> None:
        people = people_3d(cloud, H36M17)
        self._heard_at = time.monotonic()
        self._follow({person for person in people.ids.tolist() if person >= 0}, cloud.header)
        transforms: list[TransformStamped] = []
        for person, joints_m in zip(people.ids.tolist(), people.joints_m, strict=True):
            if person in self._bodies:
                transforms += self._publish_body(self._bodies[person], joints_m, cloud.header)
        self._publish_tf(transforms)

    def _publish_body(
        self, body: _Body, joints_m: npt.NDArray[np.float32], header: Header
    ) -> list[TransformStamped]:
        """Publish size and angles; returns the transforms of the links that are known."""
        found = human_model.joint_angles(joints_m)
        if found is None:
            return []
        rotation, angles = found
        self._measure(body, joints_m)
        names = [f"{joint}_{body.name}" for joint in angles]
        body.publishers["joint_states"].publish(
            JointState(header=header, name=names, position=list(angles.values()))
        )
        root = f"body_{body.name}"
        pelvis = joints_m[H36M17.index("pelvis")]
        facing = quaternion_from_rotation(rotation)
        transforms = [transform_stamped(header, root, pelvis, facing)]
        for joint in human_model.placed(body.model, angles):
            at = Header(stamp=header.stamp, frame_id=f"{joint.parent}_{body.name}")
            turn = human_model.quaternion(joint, angles)
            child = f"{joint.child}_{body.name}"
            transforms.append(transform_stamped(at, child, joint.origin_m, turn))
        return transforms

    def _measure(self, body: _Body, joints_m: npt.NDArray[np.float32]) -> None:
        """Publish the URDF when the size is known, and again when it turns out to be another."""
        body.poses.append(joints_m)
        size = human_model.measured_size(np.array(body.poses))
        if body.size is None or human_model.far_from(size, body.size) > REDRAWN_M:
            body.size, body.model = size, human_model.model(size)
            body.publishers["urdf"].publish(String(data=human_model.urdf(size, body.name)))

    def _publish_tf(self, transforms: list[TransformStamped]) -> None:
        if not transforms:
            return
        try:
            message = tf_message(transforms)
        except ImportError:
            self.problem(
                "tf", "no frames of bodies on /tf: tf2_msgs, of a ROS distribution, is missing"
            )
            return
        if self._tf is None:
            self._tf = self.create_publisher(type(message), "/tf", QoSProfile(depth=100))
        self._tf.publish(message)

    def _hear_keypoints(self, cloud: PointCloud2) -> None:
        people = people_2d(cloud, BODY30)
        width, height = people.image_size
        if not width or not height:
            return
        scaled = people.keypoints_px / np.array([width, height], np.float32)
        for person, points, confidence in zip(
            people.ids.tolist(), scaled, people.confidence, strict=True
        ):
            if (body := self._bodies.get(person)) is None or not confidence.any():
                continue
            body.publishers["roi"].publish(roi(points, confidence, cloud.header))
            body.publishers["skeleton2d"].publish(skeleton_2d(points, confidence, cloud.header))


def roi(
    points: npt.NDArray[np.floating], confidence: npt.NDArray[np.floating], header: Header
) -> Any:
    """hri_msgs/NormalizedRegionOfInterest2D around keypoints (J, 2), of which NaN are unknown, in
    shares of the image.
    """
    known = confidence > 0
    low, high = points[known].min(0), points[known].max(0)
    margin = ROI_MARGIN * (high - low)
    (xmin, ymin), (xmax, ymax) = (low - margin).clip(0, 1), (high + margin).clip(0, 1)
    return NormalizedRegionOfInterest2D(
        header=header,
        xmin=float(xmin),
        ymin=float(ymin),
        xmax=float(xmax),
        ymax=float(ymax),
        c=float(confidence[known].mean()),
    )


def skeleton_2d(
    points: npt.NDArray[np.floating], confidence: npt.NDArray[np.floating], header: Header
) -> Any:
    """hri_msgs/Skeleton2D of keypoints (30, 2) in shares of the image; what is not known, or
    beyond the image, has confidence 0.
    """
    made = Skeleton2D(header=header)
    for place, joint in zip(made.skeleton, SKELETON_2D, strict=True):
        x, y = points[BODY30.index(joint)].tolist()
        if 0 <= x <= 1 and 0 <= y <= 1:
            place.x, place.y = x, y
            place.c = float(confidence[BODY30.index(joint)])
    return made


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros humans``."""
    return run([HumansNode])
