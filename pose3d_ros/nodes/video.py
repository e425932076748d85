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

"""The video node: a camera, or a rig of them, for everything that is not one (topics and
parameters in the README).
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from threading import Event, Thread
from typing import Any

import numpy as np
from rclpy.duration import Duration
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.io.image_sources import Frame, SourceError, camera_of, frames, is_device
from pose3d_ros.io.rig_file import read_rig, topic_of
from pose3d_ros.io.rig_time import film_start_s, has_film
from pose3d_ros.io.videos import without_password
from pose3d_ros.nodes import image_messages
from pose3d_ros.nodes.managed_node import ManagedNode, in_one_line
from pose3d_ros.nodes.messages import camera_info, time_of
from pose3d_ros.nodes.process import run
from pose3d_ros.nodes.rig_launch import beside
from pose3d_ros.settings import VideoNodeSettings

JOINTS_TIMEOUT_S = 5.0
DISCOVERY_S = 0.5  # subscribers that are found may not have found this node yet
DELIVERY_TIMEOUT_S = 1.0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 5.0  # between attempts at a camera that is not there
CAMERA_RELEASE_S = 1.0  # how long to wait for a camera that blocks before it is left to itself
SAME_TIME_S = (
    1e-3  # frames of several videos that are due this close to each other are of one moment
)


@dataclass
class Channel:
    """A source that is played on one camera's topics, and their publishers. ``camera``: its
    calibration, or None. ``opened``: its images from the first on, where it is a recording that
    was just opened. ``start_s``: when it starts after the rig's first one.
    """

    source: str
    camera: Camera | None
    frame_id: str
    image_topic: str = "image"
    info_topic: str = "camera_info"
    start_s: float = 0.0
    opened: Iterator[Frame] | None = None
    image: Any = None
    info: Any = None
    compressed: Any = None

    def camera_of(self, frame: Frame, assumed_fov_deg: float) -> Camera | None:
        """The camera at the frame's size."""
        height, width = frame.image_bgr.shape[:2]
        if self.camera is not None:
            return self.camera.at_resolution(width, height)
        return (
            Camera.from_fov(width, height, np.radians(assumed_fov_deg))
            if assumed_fov_deg
            else None
        )

    @property
    def name(self) -> str:
        """The source as messages name it."""
        return without_password(self.source)

    @property
    def publishers(self) -> list[Any]:
        """Those that there are."""
        return [
            publisher
            for publisher in (self.image, self.info, self.compressed)
            if publisher is not None
        ]


def in_step(streams: Sequence[Iterator[Frame]]) -> Iterator[list[tuple[int, Frame]]]:
    """Frames with the index of their stream, in the order in which they are due; those of one
    moment together.
    """
    if len(streams) == 1:  # it may be live: nothing may wait for the frame after
        yield from ([(0, frame)] for frame in streams[0])
        return

    def timed(index: int, stream: Iterator[Frame]) -> Iterator[tuple[float, int, Frame]]:
        return ((frame.due_s or 0.0, index, frame) for frame in stream)

    moment: list[tuple[int, Frame]] = []
    began_s = 0.0
    for due_s, index, frame in heapq.merge(
        *map(timed, range(len(streams)), streams), key=lambda entry: entry[:2]
    ):
        if moment and due_s - began_s > SAME_TIME_S:
            yield moment
            moment = []
        began_s = began_s if moment else due_s
        moment.append((index, frame))
    if moment:
        yield moment


class VideoNode(ManagedNode[VideoNodeSettings]):
    """Publishes ``image``, ``image/compressed`` and ``camera_info``; every image is stamped when
    it is sent.

    At the pace of the joints it is stamped when it is due: motion shall not look slower where
    computers are. With a rig file the node plays for each camera, images of one moment with one
    stamp. A live camera that is absent or stops is said once and tried again for ever.
    """

    def __init__(self, **options: Any) -> None:
        self._worker: Thread | None = None
        self._stop_asked = Event()
        self._taken = Event()
        self._sent: Header | None = None
        self._channels: list[Channel] = []
        self._joints: Any = None
        super().__init__("video", VideoNodeSettings, **options)

    def configure(self) -> None:
        """Open the sources, read the calibration, announce the topics."""
        settings = self.settings
        self._channels = (
            self._rig_channels()
            if settings.rig
            else [
                Channel(
                    settings.source,
                    Camera.from_yaml(settings.calibration) if settings.calibration else None,
                    settings.frame_id,
                )
            ]
        )
        qos = QoSProfile(depth=1)  # reliable: whoever listens, nothing is lost on the way
        for channel in self._channels:
            if not is_device(channel.source):
                self._open(channel)
            channel.image = self.create_lifecycle_publisher(Image, channel.image_topic, qos)
            if channel.camera is not None or settings.assumed_fov_deg:
                channel.info = self.create_lifecycle_publisher(
                    CameraInfo, channel.info_topic, QoSProfile(depth=5)
                )
            if settings.compressed:
                channel.compressed = self.create_lifecycle_publisher(
                    CompressedImage,
                    self.resolve_topic_name(channel.image_topic) + "/compressed",
                    qos,
                )
        self._joints = (
            self.create_subscription(PointCloud2, "joints", self._hear_joints, QoSProfile(depth=5))
            if settings.pace == "joints"
            else None
        )

    def _open(self, channel: Channel) -> None:
        """Open a recording up to its first image, and take the calibration that it tells of
        itself where none is set.
        """
        opened = self._frames(channel)
        head = next(opened)
        channel.opened = chain([head], opened)
        if channel.camera is None:
            try:
                channel.camera = camera_of(channel.source, self.settings.bag_topic)
            except CameraError as error:
                self.get_logger().warning(
                    f"{channel.name}: its camera_info is not used: {in_one_line(error)}; set "
                    f"calibration to a file"
                )
        channel.camera_of(head, self.settings.assumed_fov_deg)  # raises if it does not fit

    def _rig_channels(self) -> list[Channel]:
        """The cameras of the rig file that have a video which is no live camera."""
        path = self.settings.rig
        rig = read_rig(path)
        channels = [
            Channel(
                beside(path, sources["video"]),
                rig.cameras[name],
                rig.cameras[name].frame_id,
                topic_of("image", name, sources),
                topic_of("camera_info", name, sources),
                film_start_s(rig, name),
            )
            for name, sources in rig.sources.items()
            if has_film(rig, name)
        ]
        if not channels:
            raise SourceError(
                f"rig: expected the file of a video in at least one camera's entry of {path}, got "
                f"none"
            )
        return channels

    def _frames(self, channel: Channel) -> Iterator[Frame]:
        settings = self.settings
        size = (settings.width, settings.height)
        played = frames(channel.source, settings.rate_hz, settings.bag_topic, size)
        if not channel.start_s:
            return played
        return (frame._replace(due_s=(frame.due_s or 0.0) + channel.start_s) for frame in played)

    def activate(self) -> None:
        """Play from the beginning."""
        self._stop_asked = Event()  # its own: a camera that blocks may outlive its worker's node
        self._worker = Thread(
            target=self._work, args=(self._stop_asked,), name="video", daemon=True
        )
        self._worker.start()

    def deactivate(self) -> None:
        """Stop playing."""
        self._stop_asked.set()
        self._taken.set()
        if self._worker is not None:
            live = any(is_device(channel.source) for channel in self._channels)
            self._worker.join(CAMERA_RELEASE_S if live else None)
            self._worker = None

    def cleanup(self) -> None:
        """Remove the topics."""
        for channel in self._channels:
            for publisher in channel.publishers:
                self.destroy_lifecycle_publisher(publisher)
        if self._joints is not None:
            self.destroy_subscription(self._joints)
        self._channels, self._joints = [], None

    def _expected_subscribers_are_there(self) -> bool:
        settings = self.settings
        expected = max(settings.wait_for_subscribers, int(settings.pace == "joints"))

        def heard(channel: Channel) -> bool:
            ears = sum(
                p.get_subscription_count() for p in channel.publishers if p is not channel.info
            )
            calibrated = settings.calibration or settings.assumed_fov_deg
            return ears >= expected and (
                not calibrated or channel.info is None or channel.info.get_subscription_count() > 0
            )

        return not expected or all(heard(channel) for channel in self._channels)

    def _work(self, stop: Event) -> None:
        try:
            self._play(stop)
        except Exception as error:  # noqa: BLE001 - the end of a thread must be told
            if self.context.ok() and not stop.is_set():
                self.get_logger().error(f"playing stops: {in_one_line(error)}")
                self.failed = True
        if not stop.is_set():
            self.finished = True

    def _play(self, stop: Event) -> None:
        channels = self._channels
        if not self._expected_subscribers_are_there():
            topics = ", ".join(
                self.resolve_topic_name(channel.image_topic) for channel in channels
            )
            self.get_logger().info(f"waiting for subscribers of {topics}")
            while not self._expected_subscribers_are_there():
                if stop.wait(0.05):
                    return
            if stop.wait(DISCOVERY_S):
                return
        live = is_device(channels[0].source)
        sent = self._play_live(channels[0], stop) if live else self._play_recorded(stop)
        if stop.is_set():
            return
        for channel in channels:
            channel.image.wait_for_all_acked(Duration(seconds=DELIVERY_TIMEOUT_S))
        self.get_logger().info(
            f"end of {', '.join(channel.name for channel in channels)}: {sent} images sent"
        )

    def _play_live(self, channel: Channel, stop: Event) -> int:
        """Send what a camera delivers until told to stop; a recording behind a URL has an end.
        Returns the number of images sent.
        """
        sent, wait_s = 0, FIRST_RETRY_S
        while not stop.is_set():
            started = time.monotonic()
            try:
                for frame in self._frames(channel):
                    if frame.due_s is not None and self.settings.pace == "realtime":
                        stop.wait(max(0.0, started + frame.due_s - time.monotonic()))
                    if stop.is_set():
                        return sent
                    if channel.source in self.problems:
                        self.solved(channel.source)
                        self.get_logger().info(f"camera {channel.name} delivers images again")
                    wait_s = FIRST_RETRY_S
                    self._send([(0, frame)], self.get_clock().now().nanoseconds)
                    sent += 1
                if not self.settings.loop:
                    return sent
            except SourceError as error:
                if channel.source not in self.problems:
                    self.problem(channel.source, f"{in_one_line(error)}; it is tried again")
            stop.wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_RETRY_S)
        return sent

    def _play_recorded(self, stop: Event) -> int:
        """Send the images of all channels in step, each when it is due; returns their number."""
        settings, channels, sent = self.settings, self._channels, 0
        while True:
            started, started_ns = time.monotonic(), self.get_clock().now().nanoseconds
            streams = [
                self._contained(channel, channel.opened or self._frames(channel))
                for channel in channels
            ]
            for channel in channels:
                channel.opened = None
            for moment in in_step(streams):
                due_s = moment[0][1].due_s or 0.0
                stop.wait(max(0.0, started + due_s - time.monotonic()))
                if stop.is_set():
                    return sent
                joints = settings.pace == "joints"
                now_ns = self.get_clock().now().nanoseconds
                self._send(moment, started_ns + round(due_s * 1e9) if joints else now_ns)
                sent += len(moment)
            if not settings.loop:
                return sent

    def _contained(self, channel: Channel, stream: Iterator[Frame]) -> Iterator[Frame]:
        """The stream of a channel; where there are others, its failure ends it alone."""
        try:
            yield from stream
        except SourceError as error:
            if len(self._channels) == 1:
                raise
            self.problem(channel.source, f"{in_one_line(error)}; the other cameras go on")

    def _send(self, moment: list[tuple[int, Frame]], stamp_ns: int) -> None:
        self._publish(moment, stamp_ns)
        if self.settings.pace == "joints":
            self._wait_for_joints()

    def _publish(self, moment: list[tuple[int, Frame]], stamp_ns: int) -> None:
        stamp = time_of(stamp_ns)
        self._taken.clear()
        self._sent = Header(stamp=stamp)
        for index, frame in moment:
            channel = self._channels[index]
            header = Header(stamp=stamp, frame_id=channel.frame_id)
            camera = channel.camera_of(frame, self.settings.assumed_fov_deg)
            if channel.info is not None and camera is not None:
                channel.info.publish(camera_info(camera, header))
            if channel.compressed is not None and channel.compressed.get_subscription_count():
                channel.compressed.publish(
                    image_messages.to_compressed_message(frame.image_bgr, header)
                )
            if channel.image.get_subscription_count():
                channel.image.publish(image_messages.to_message(frame.image_bgr, header))

    def _hear_joints(self, cloud: PointCloud2) -> None:
        if self._sent is not None and cloud.header.stamp == self._sent.stamp:
            self._taken.set()

    def _wait_for_joints(self) -> None:
        if self._taken.wait(JOINTS_TIMEOUT_S):
            self.solved("joints")
        else:
            self.problem(
                "joints",
                f"no {self.resolve_topic_name('joints')} for an image within {JOINTS_TIMEOUT_S:g} "
                f"s: see whether the pose node runs and what it says, or set pace to realtime",
            )


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros video``."""
    return run([VideoNode])
