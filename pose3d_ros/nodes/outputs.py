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

"""The topics that nodes publish people on, each made only while somebody listens."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_policy_name_from_kind
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from pose3d_ros.camera import Camera
from pose3d_ros.drawing import draw_people
from pose3d_ros.errors import Pose3dError
from pose3d_ros.nodes import image_messages, messages
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.people import People2D, People3D
from pose3d_ros.tracking import ahead

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks


class Outputs:
    """Publishers of ``joints``, ``predicted``, ``markers`` and, if asked for, ``/tf``. ``up``:
    where up is in the people's frame.
    """

    def __init__(
        self, node: ManagedNode[Any], up: tuple[float, float, float] = messages.FIXED_UP
    ) -> None:
        self.node, self.up = node, up
        namespace = node.get_namespace().strip("/")
        self._prefix = f"{namespace}/" if namespace else ""
        self._publishers: dict[str, Any] = {}
        self.joints = self._publisher(PointCloud2, "joints")
        self.predicted = self._publisher(PointCloud2, "predicted")
        self.markers = self._publisher(MarkerArray, "markers")
        self._tf: Any = None
        self._tf_static: Any = None
        self._marked: set[int] = set()
        self._timer = node.every(1.0, self._clear_qos_warnings)

    def _publisher(self, message_type: type, topic: str, depth: int = 5) -> Any:
        name = self.node.resolve_topic_name(topic)

        def incompatible(event: Any) -> None:
            policy = qos_policy_name_from_kind(event.last_policy_kind)
            self.node.problem(
                f"{topic} qos",
                f"a subscriber of {name} gets nothing: it requests another {policy} than "
                f"the reliable, volatile that is offered; subscribe with volatile durability",
            )

        self._publishers[topic] = self.node.create_lifecycle_publisher(
            message_type,
            topic,
            QoSProfile(depth=depth),
            event_callbacks=PublisherEventCallbacks(incompatible_qos=incompatible),
        )
        return self._publishers[topic]

    def _clear_qos_warnings(self) -> None:
        """DDS tells of an incompatible subscriber that comes, but not of one that goes."""
        for topic in self._publishers:
            subscribers = self.node.get_subscriptions_info_by_topic(
                self.node.resolve_topic_name(topic)
            )
            if all(
                subscriber.qos_profile.durability == DurabilityPolicy.VOLATILE
                for subscriber in subscribers
            ):
                self.node.solved(f"{topic} qos")

    def publish(self, people: People3D, header: Header) -> None:
        """Publish people as the node's settings say."""
        settings = self.node.settings
        if self.joints.get_subscription_count():
            self.joints.publish(messages.joints_cloud(people, header, settings.covariance))
        if self.predicted.get_subscription_count():
            self.predicted.publish(self._prediction(people, header))
        ids = set(people.ids.tolist())
        if self.markers.get_subscription_count():
            self.markers.publish(
                messages.markers(
                    people, header, sorted(self._marked - ids), self.up, settings.covariance
                )
            )
            self._marked = ids
        if settings.publish_tf == "none":
            self.node.solved("tf")
        elif len(people):
            self._publish_tf(people, header, settings.publish_tf == "joints")

    def _prediction(self, people: People3D, header: Header) -> PointCloud2:
        """``predicted``: people as they will be ``prediction_s`` from now, which is the stamp, or,
        where another clock stamps the images, from their acquisition.
        """
        settings = self.node.settings
        latency_s = self.node.latency_s(people.stamp_ns) or 0.0
        later = ahead(people, max(latency_s, 0.0) + settings.prediction_s)
        header = Header(stamp=messages.time_of(later.stamp_ns), frame_id=header.frame_id)
        return messages.joints_cloud(later, header, settings.covariance)

    def _publish_tf(self, people: People3D, header: Header, per_joint: bool) -> None:
        try:
            message = messages.tf_message(
                messages.body_transforms(people, header, per_joint, self._prefix, self.up)
            )
        except ImportError:
            self.node.problem(
                "tf",
                "publish_tf needs tf2_msgs, which is not installed; use a ROS distribution that "
                "has it, or set publish_tf to none",
            )
            return
        if self._tf is None:
            self._tf = self.node.create_lifecycle_publisher(
                type(message), "/tf", QoSProfile(depth=100)
            )
            self._tf.on_activate(None)  # made while the node is active
        self._tf.publish(message)

    def publish_cameras(self, cameras: Iterable[Camera], world: str) -> None:
        """Tell where a rig's cameras stand, on /tf_static; nothing where tf2_msgs is missing."""
        try:
            header = Header(stamp=self.node.get_clock().now().to_msg(), frame_id=world)
            message = messages.tf_message(messages.camera_transforms(cameras, header))
        except ImportError:
            self.node.get_logger().debug("tf2_msgs is missing: no cameras on /tf_static")
            return
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._tf_static = self.node.create_publisher(type(message), "/tf_static", latched)
        self._tf_static.publish(message)

    def close(self) -> None:
        """Remove the publishers."""
        if self._tf_static is not None:
            self.node.destroy_publisher(self._tf_static)
        self.node.destroy_timer(self._timer)
        for publisher in (*self._publishers.values(), self._tf):
            if publisher is not None:
                self.node.destroy_lifecycle_publisher(publisher)


class ImageOutputs(Outputs):
    """Of a camera: ``keypoints`` and ``overlay`` as well. People are in ``fixed_frame``, or, where
    that is empty, in the images' own.
    """

    def __init__(self, node: ManagedNode[Any], fixed_frame: str = "") -> None:
        super().__init__(node, messages.FIXED_UP if fixed_frame else messages.OPTICAL_UP)
        self._fixed_frame = fixed_frame
        self._newest: tuple[Header, People2D, npt.NDArray[np.uint8]] | None = None
        self.keypoints = self._publisher(PointCloud2, "keypoints")
        self.overlay = self._publisher(Image, "overlay", depth=1)

    def publish_with_image(self, people: People3D, header: Header, image_bgr: np.ndarray) -> None:
        """Publish what was found in an image as the node's settings say."""
        seen = people.people_2d
        if seen is not None:
            self._newest = header, seen, image_bgr
        if seen is not None and self.keypoints.get_subscription_count():
            self.keypoints.publish(messages.keypoints_cloud(seen, header))
        frame_id = self._fixed_frame or header.frame_id
        self.publish(people, Header(stamp=header.stamp, frame_id=frame_id))
        if seen is not None and self.overlay.get_subscription_count():
            self.overlay.publish(image_messages.to_message(draw_people(image_bgr, seen), header))

    def write_overlay(self, folder: Path) -> Path:
        """Write the newest image with its skeletons as a PNG named by its stamp; returns its path.

        Raises ``Pose3dError`` before the first image, ``OSError`` where it cannot be written.
        """
        if self._newest is None:
            raise Pose3dError("expected an image before a snapshot, none has come yet")
        header, seen, image_bgr = self._newest
        stamp = f"{header.stamp.sec}.{header.stamp.nanosec // 1_000_000:03d}"
        path = folder / f"pose3d_{stamp}.png"
        path.write_bytes(cv2.imencode(".png", draw_people(image_bgr, seen))[1].tobytes())
        return path
