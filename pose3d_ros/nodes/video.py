"""The video node: a camera for everything that is not one (topics and parameters in the README)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import chain
from threading import Event, Thread
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from pose3d_ros.camera import Camera
from pose3d_ros.nodes import images
from pose3d_ros.nodes.managed import ManagedNode, in_one_line, run
from pose3d_ros.nodes.messages import camera_info
from pose3d_ros.nodes.sources import Frame, frames
from pose3d_ros.settings import VideoNodeSettings

JOINTS_TIMEOUT_S = 5.0
DELIVERY_TIMEOUT_S = 1.0


class VideoNode(ManagedNode[VideoNodeSettings]):
    """Publishes ``image``, ``image/compressed`` and ``camera_info``; every image is stamped when it is sent."""

    def __init__(self, **options: Any) -> None:
        self._worker: Thread | None = None
        self._stop_asked = Event()
        self._taken = Event()
        self._sent: Header | None = None
        self._image: Any = None
        self._info: Any = None
        self._compressed: Any = None
        self._joints: Any = None
        self._camera: Camera | None = None
        self._opened: Iterator[Frame] | None = None
        super().__init__("video", VideoNodeSettings, **options)

    def configure(self) -> None:
        """Open the source, read the calibration, announce the topics."""
        settings = self.settings
        self._camera = Camera.from_yaml(settings.calibration) if settings.calibration else None
        opened = self._frames()
        head = next(opened)
        self._opened = chain([head], opened)  # a camera device takes its time to open: once is enough
        self._camera_of(head)
        qos = QoSProfile(depth=1)  # reliable: whoever listens, nothing is lost on the way
        self._image = self.create_lifecycle_publisher(Image, "image", qos)
        self._info = self.create_lifecycle_publisher(CameraInfo, "camera_info", QoSProfile(depth=5))
        self._compressed = (self.create_lifecycle_publisher(
            CompressedImage, self.resolve_topic_name("image") + "/compressed", qos) if settings.compressed else None)
        self._joints = (self.create_subscription(PointCloud2, "joints", self._hear_joints, QoSProfile(depth=5))
                        if settings.pace == "joints" else None)

    def _frames(self) -> Iterator[Frame]:
        return frames(self.settings.source, self.settings.rate_hz, self.settings.bag_topic)

    def _camera_of(self, frame: Frame) -> Camera | None:
        height, width = frame.image_bgr.shape[:2]
        if self._camera is not None:
            return self._camera.at_resolution(width, height)
        fov_deg = self.settings.assumed_fov_deg
        return Camera.from_fov(width, height, np.radians(fov_deg)) if fov_deg else None

    def activate(self) -> None:
        """Play from the beginning."""
        self._stop_asked.clear()
        self._worker = Thread(target=self._work, name="video", daemon=True)
        self._worker.start()

    def deactivate(self) -> None:
        """Stop playing."""
        self._stop_asked.set()
        self._taken.set()
        if self._worker is not None:
            self._worker.join()
            self._worker = None

    def cleanup(self) -> None:
        """Remove the topics."""
        for publisher in (self._image, self._info, self._compressed):
            if publisher is not None:
                self.destroy_lifecycle_publisher(publisher)
        if self._joints is not None:
            self.destroy_subscription(self._joints)
        self._image = self._info = self._compressed = self._joints = self._opened = None

    def _expected_subscribers_are_there(self) -> bool:
        settings = self.settings
        expected = max(settings.wait_for_subscribers, int(settings.pace == "joints"))
        heard = sum(publisher.get_subscription_count() for publisher in (self._image, self._compressed) if publisher)
        calibrated = bool(settings.calibration or settings.assumed_fov_deg)
        return not expected or heard >= expected and (not calibrated or self._info.get_subscription_count() > 0)

    def _work(self) -> None:
        try:
            self._play()
        except Exception as error:  # noqa: BLE001 - the end of a thread must be told
            if self.context.ok() and not self._stop_asked.is_set():
                self.get_logger().error(f"playing stops: {in_one_line(error)}")
                self.failed = True
        self.finished = not self._stop_asked.is_set()

    def _play(self) -> None:
        settings, sent = self.settings, 0
        if not self._expected_subscribers_are_there():
            self.get_logger().info(f"waiting for subscribers of {self.resolve_topic_name('image')}")
        while not self._expected_subscribers_are_there():
            if self._stop_asked.wait(0.05):
                return
        while True:
            started = time.monotonic()
            opened, self._opened = self._opened or self._frames(), None
            for frame in opened:
                if settings.pace == "realtime" and frame.due_s is not None:
                    self._stop_asked.wait(max(0.0, started + frame.due_s - time.monotonic()))
                if self._stop_asked.is_set():
                    return
                self._publish(frame)
                sent += 1
                if settings.pace == "joints":
                    self._wait_for_joints()
            if not settings.loop:
                break
        self._image.wait_for_all_acked(Duration(seconds=DELIVERY_TIMEOUT_S))
        self.get_logger().info(f"end of {settings.source}: {sent} images sent")

    def _publish(self, frame: Frame) -> None:
        header = Header(stamp=self.get_clock().now().to_msg(), frame_id=self.settings.frame_id)
        self._taken.clear()
        self._sent = header
        if (camera := self._camera_of(frame)) is not None:
            self._info.publish(camera_info(camera, header))
        if self._compressed is not None and self._compressed.get_subscription_count():
            self._compressed.publish(images.to_compressed_message(frame.image_bgr, header))
        if self._image.get_subscription_count():
            self._image.publish(images.to_message(frame.image_bgr, header))

    def _hear_joints(self, cloud: PointCloud2) -> None:
        if self._sent is not None and cloud.header.stamp == self._sent.stamp:
            self._taken.set()

    def _wait_for_joints(self) -> None:
        if self._taken.wait(JOINTS_TIMEOUT_S):
            self.solved("joints")
        else:
            self.problem("joints", f"no {self.resolve_topic_name('joints')} for an image within {JOINTS_TIMEOUT_S:g} "
                                   f"s: see whether the pose node runs and what it says, or set pace to realtime")


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros video``."""
    return run([VideoNode])
