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

"""The video node: what it plays, at which pace, and what it says when it cannot."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
from conftest import wait_for
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.serialization import serialize_message
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from pose3d_ros.io import image_encodings, videos
from pose3d_ros.io.image_sources import SourceError, frames
from pose3d_ros.nodes import image_messages
from pose3d_ros.nodes import video as video_node
from pose3d_ros.nodes.video import VideoNode

COUNT = 6
CALIBRATION = """
image_width: 128
image_height: 96
camera_name: left
camera_matrix: {rows: 3, cols: 3, data: [100.0, 0, 63.5, 0, 100.0, 47.5, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0, 0, 0, 0, 0]}
"""


def picture(index: int) -> np.ndarray:
    """A flat picture whose gray tells its place in the sequence."""
    return np.full((48, 64, 3), 20 + 30 * index, np.uint8)


def place(image: np.ndarray) -> int:
    """Inverse of ``picture``, whatever the codec did."""
    return round((float(image.mean()) - 20) / 30)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "images"
    made.mkdir()
    for index in range(COUNT):
        cv2.imwrite(str(made / f"{index:03}.png"), picture(index))
    (made / "notes.txt").write_text("not an image")
    return made


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 50, (64, 48))
    assert writer.isOpened()
    for index in range(COUNT):
        writer.write(picture(index))
    writer.release()
    return path


def write_bag(path: Path, *topics: str, compressed: bool = False) -> Path:
    """A rosbag2 with the pictures on each topic, 20 ms apart."""
    rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="needs rosbags")
    typesys = pytest.importorskip("rosbags.typesys")
    store = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
    kind = "CompressedImage" if compressed else "Image"
    with rosbag2.Writer(path, version=9) as writer:
        for topic in topics:
            connection = writer.add_connection(topic, f"sensor_msgs/msg/{kind}", typestore=store)
            for index in range(COUNT):
                make = (
                    image_messages.to_compressed_message
                    if compressed
                    else image_messages.to_message
                )
                writer.write(
                    connection,
                    10**18 + index * 20_000_000,
                    serialize_message(make(picture(index), Header())),
                )
    return path


@pytest.fixture
def play(ros: Any) -> Callable[..., Any]:
    """Make a video node, not started yet; parameters as keywords."""

    def make(**parameters: object) -> Any:
        return ros.add(
            VideoNode(
                parameter_overrides=[
                    Parameter(name, value=str(value) if isinstance(value, Path) else value)
                    for name, value in parameters.items()
                ]
            )
        )

    return make


def test_sources_give_every_picture(folder: Path, video: Path) -> None:
    assert [place(frame.image_bgr) for frame in frames(str(folder))] == list(range(COUNT))
    assert [place(frame.image_bgr) for frame in frames(str(video))] == list(range(COUNT))
    assert [frame.due_s for frame in frames(str(video))] == pytest.approx(np.arange(COUNT) / 50)
    assert [frame.due_s for frame in frames(str(folder), rate_hz=4)] == pytest.approx(
        np.arange(COUNT) / 4
    )


@pytest.mark.parametrize("compressed", [False, True])
def test_bags(tmp_path: Path, compressed: bool) -> None:
    bag = write_bag(tmp_path / "bag", "/left/image", compressed=compressed)
    played = list(frames(str(bag)))
    assert [place(frame.image_bgr) for frame in played] == list(range(COUNT))
    assert [frame.due_s for frame in played] == pytest.approx(np.arange(COUNT) * 0.02)


def test_a_bag_of_two_cameras_asks_which(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / "bag", "/left/image", "/right/image")
    with pytest.raises(SourceError, match="bag_topic: expected one of /left/image, /right/image"):
        next(frames(str(bag)))
    assert len(list(frames(str(bag), bag_topic="/right/image"))) == COUNT


def test_bad_sources_are_explained(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.mp4").write_text("not a video")
    for source, words in (
        ("", "which does not exist"),
        (tmp_path / "gone.mp4", "gone.mp4', which does not exist"),
        (tmp_path / "empty", "has no images"),
        (tmp_path / "text.mp4", "cannot be opened as a video"),
        ("/dev/video987", "/dev/video987 cannot be opened"),
    ):
        with pytest.raises(SourceError, match=words):
            next(frames(str(source)))


def test_images_compressed_images_and_calibration(
    ros: Any, play: Any, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "left.yaml").write_text(CALIBRATION)
    node = play(
        source=folder,
        calibration=tmp_path / "left.yaml",
        frame_id="left",
        compressed=True,
        wait_for_subscribers=2,
        rate_hz=100.0,
    )
    sent = ros.collect(Image, "image")
    jpegs = ros.collect(CompressedImage, "image/compressed")
    infos = ros.collect(CameraInfo, "camera_info")
    assert node.start()
    wait_for(
        lambda: node.finished and len(sent) == len(jpegs) == len(infos) == COUNT,
        "all pictures on all topics",
    )
    assert [place(image_messages.to_bgr(message)) for message in sent] == list(range(COUNT))
    assert [place(image_encodings.compressed_to_bgr(message)) for message in jpegs] == list(
        range(COUNT)
    )
    assert (
        [message.header for message in sent]
        == [info.header for info in infos]
        == [jpeg.header for jpeg in jpegs]
    )
    assert sent[0].header.frame_id == "left"
    stamps = [message.header.stamp.sec + message.header.stamp.nanosec * 1e-9 for message in sent]
    assert abs(stamps[0] - time.time()) < 60 and (np.diff(stamps) > 0).all()
    # Calibrated at twice the size: half the focal length; pixel centres are whole numbers.
    assert infos[0].k[0] == pytest.approx(50) and infos[0].k[2] == pytest.approx(31.5)
    assert (infos[0].width, infos[0].height) == (64, 48)
    ros.line("end of", f"{COUNT} images sent")


def test_without_calibration_a_field_of_view_or_nothing(ros: Any, play: Any, folder: Path) -> None:
    infos = ros.collect(CameraInfo, "camera_info")
    ros.collect(Image, "image")
    node = play(source=folder, wait_for_subscribers=1, rate_hz=100.0)
    assert node.start()
    wait_for(lambda: node.finished, "the end")
    assert not infos
    ros.remove(node)
    node = play(source=folder, assumed_fov_deg=90.0, wait_for_subscribers=1, rate_hz=100.0)
    assert node.start()
    wait_for(lambda: infos, "camera_info")
    assert infos[0].k[0] == pytest.approx(32)  # half the width is seen under 45 degrees


def test_an_assumed_field_of_view_is_that_of_every_image(
    ros: Any, play: Any, folder: Path
) -> None:
    cv2.imwrite(str(folder / "last.png"), np.zeros((90, 32, 3), np.uint8))
    infos = ros.collect(CameraInfo, "camera_info")
    ros.collect(Image, "image")
    node = play(source=folder, assumed_fov_deg=90.0, wait_for_subscribers=1, rate_hz=100.0)
    assert node.start()
    wait_for(lambda: node.finished and len(infos) == COUNT + 1, "the end")
    assert not node.failed
    assert [(info.width, info.height) for info in infos[-2:]] == [(64, 48), (32, 90)]
    assert [info.k[0] for info in infos[-2:]] == pytest.approx([32, 16])


def test_loop_starts_again(ros: Any, play: Any, folder: Path) -> None:
    sent = ros.collect(Image, "image", QoSProfile(depth=50))
    node = play(source=folder, loop=True, wait_for_subscribers=1, rate_hz=100.0)
    assert node.start()
    wait_for(lambda: len(sent) > 2 * COUNT, "the second round")
    assert [place(image_messages.to_bgr(message)) for message in sent[: COUNT + 1]] == [
        *range(COUNT),
        0,
    ]
    assert not node.finished


def test_pace_of_the_joints(
    ros: Any, play: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Counted(Event):
        waits = 0

        def wait(self, timeout: float | None = None) -> bool:
            self.waits += 1
            return super().wait(timeout)

    monkeypatch.setattr(video_node, "JOINTS_TIMEOUT_S", 60.0)  # a busy machine must not decide
    node = play(source=folder, pace="joints")
    node._taken = Counted()
    joints = ros.publisher(PointCloud2, "joints", matched=False)
    assert node.start()
    ros.line("waiting for subscribers of /image")
    sent = ros.collect(Image, "image")

    def arrived(count: int) -> bool:
        return len(sent) == count and bool(node._taken.waits == count)

    for count in itertools.count(1):
        wait_for(partial(arrived, count), f"image {count}, and the next one's wait for joints")
        if count == COUNT:
            break
        wait_for(joints.get_subscription_count, "the node's ear")
        joints.publish(PointCloud2(header=sent[-1].header))
    joints.publish(PointCloud2(header=sent[-1].header))
    wait_for(lambda: node.finished, "the end")


def test_videos_of_a_rig_in_step(
    ros: Any, play: Any, folder: Path, video: Path, tmp_path: Path
) -> None:
    """A folder and a video of twice its rate, paths relative to the rig file; one camera without a
    video.
    """
    camera = (
        "camera_matrix: [[50, 0, 32], [0, 50, 24], [0, 0, 1]], image_width: 64, image_height: 48, "
        "orientation_xyzw: [0, 0, 0, 1]"
    )
    (tmp_path / "rig.yaml").write_text(f"""
cameras:
  a: {{{camera}, position_m: [0, 0, 1], video: images, frame_id: frame_of_a}}
  b: {{{camera}, position_m: [1, 0, 1], video: {video}, image: /b/raw}}
  c: {{{camera}, position_m: [2, 0, 1]}}
""")
    node = play(rig=tmp_path / "rig.yaml", wait_for_subscribers=1)
    first, second = ros.collect(Image, "a/image"), ros.collect(Image, "/b/raw")
    infos = ros.collect(CameraInfo, "a/camera_info")
    assert node.start()
    wait_for(
        lambda: node.finished and len(first) == len(second) == COUNT and infos,
        "all pictures of both",
    )
    stamps = [
        [message.header.stamp.sec * 10**9 + message.header.stamp.nanosec for message in sent]
        for sent in (first, second)
    ]
    assert stamps[0][0] == stamps[1][0], "one moment, one stamp"
    assert stamps[0][3] == stamps[1][5], "0.1 s later: 30 and 50 pictures per second"
    assert {message.header.frame_id for message in first} == {"frame_of_a"}
    assert infos[0].k[0] == 50
    assert not ros.node.count_publishers("c/image")


def test_at_the_pace_of_the_joints_stamps_are_when_images_are_due(
    ros: Any, play: Any, folder: Path
) -> None:
    node = play(source=folder, pace="joints", rate_hz=4.0)
    sent, joints = ros.collect(Image, "image"), ros.publisher(PointCloud2, "joints", matched=False)
    assert node.start()

    def answered() -> bool:
        joints.publish(PointCloud2(header=sent[-1].header if sent else Header()))
        return bool(node.finished)

    wait_for(answered, "the end")
    stamps = np.array(
        [message.header.stamp.sec + message.header.stamp.nanosec * 1e-9 for message in sent]
    )
    assert np.diff(stamps) == pytest.approx(0.25, abs=1e-6)


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"source": "/nowhere/clip.mp4"}, ("cannot configure", "/nowhere/clip.mp4")),
        ({"calibration": "/nowhere/left.yaml"}, ("cannot configure", "/nowhere/left.yaml")),
    ],
)
def test_refusals(
    ros: Any, play: Any, folder: Path, parameters: dict[str, str], words: tuple[str, ...]
) -> None:
    assert not play(**{"source": folder, **parameters}).start()
    ros.line(*words)


def test_calibration_of_another_camera_is_refused(
    ros: Any, play: Any, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "wide.yaml").write_text(
        CALIBRATION.replace("image_height: 96", "image_height: 60")
    )
    assert not play(source=folder, calibration=tmp_path / "wide.yaml").start()
    ros.line("cannot configure", "64x48", "128x60", "aspect")


class Camera:
    """cv2.VideoCapture of cameras by their path: pictures for a while each time they are there."""

    there: dict[str, list[int]] = {}

    def __init__(self, source: str) -> None:
        left = self.there.get(source)
        self.left = left.pop(0) if left else 0
        self.opened = bool(self.left)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return self.opened

    def get(self, _: int) -> float:
        return 30.0

    def set(self, *_: object) -> bool:
        return True

    def read(self) -> tuple[bool, np.ndarray | None]:
        time.sleep(0.01)
        self.left -= 1
        return (True, picture(self.left % COUNT)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        """There is nothing to release."""


@pytest.fixture
def cameras(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[int]]:
    """Pictures that each camera delivers when it is opened the first time, the second, ..."""
    Camera.there = {}
    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    return Camera.there


def test_the_password_of_a_network_camera_is_told_to_nobody(
    ros: Any, play: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[str] = []

    def stream(url: str) -> Iterator[tuple[np.ndarray, None]]:
        given.append(url)
        yield picture(0), None
        raise SourceError(f"camera {videos.without_password(url)} stopped delivering images")

    monkeypatch.setattr(videos, "stream_frames", stream)
    url = "rtsp://user:secret@camera/stream"
    node = play(source=url, wait_for_subscribers=0)
    assert node.start()
    ros.line("camera rtsp://camera/stream delivers images again")
    assert given[:2] == [url, url] and "secret" not in ros.log


def test_a_camera_that_is_unplugged_is_said_once_and_tried_again(
    ros: Any, play: Any, cameras: dict[str, list[int]]
) -> None:
    cameras["/dev/video7"] = [5, 0, 0, 10**6]
    sent = ros.collect(Image, "image", QoSProfile(depth=50))
    node = play(source="/dev/video7", wait_for_subscribers=1)
    assert node.start()
    ros.line("/dev/video7 stopped delivering images", "tried again")
    ros.line("/dev/video7 delivers images again")
    wait_for(lambda: len(sent) > 20, "images after it was plugged in again")
    assert not node.finished and not node.failed and not node.problems
    assert (
        sum(
            "stopped delivering" in line or "cannot be opened" in line
            for line in ros.log.splitlines()
        )
        == 1
    )


def test_a_camera_that_is_not_there_yet_is_waited_for(
    ros: Any, play: Any, cameras: dict[str, list[int]]
) -> None:
    sent = ros.collect(Image, "image")
    node = play(source="/dev/video7", wait_for_subscribers=1)
    assert node.start()
    ros.line("/dev/video7 cannot be opened", "does not exist", "tried again")
    cameras["/dev/video7"] = [10**6]
    wait_for(lambda: sent, "images once it is there")
    assert ros.node.count_publishers("camera_info") == 0, "nothing is known of the camera"


def test_a_camera_that_is_there_again_after_a_new_activation(
    ros: Any, play: Any, cameras: dict[str, list[int]]
) -> None:
    cameras["/dev/video7"] = [10**6, 10**6]
    sent = ros.collect(Image, "image")
    node = play(source="/dev/video7", wait_for_subscribers=1)
    assert node.start()
    wait_for(lambda: sent, "images")
    node.deactivate()
    count = len(sent)
    node.activate()
    wait_for(lambda: len(sent) > count + 5, "images after the activation")


def test_a_video_that_breaks_ends_alone(
    ros: Any, play: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two videos of a rig one ends in an error; the other is played to its end."""
    camera = (
        "camera_matrix: [[50, 0, 32], [0, 50, 24], [0, 0, 1]], image_width: 64, image_height: 48, "
        "orientation_xyzw: [0, 0, 0, 1]"
    )
    (tmp_path / "rig.yaml").write_text(f"""
cameras:
  a: {{{camera}, position_m: [0, 0, 1], video: images}}
  b: {{{camera}, position_m: [1, 0, 1], video: broken}}
""")
    (tmp_path / "broken").mkdir()

    def breaking(source: str, *options: Any) -> Any:
        yield from itertools.islice(frames(str(folder), *options), 2)
        if source.endswith("broken"):
            raise SourceError("the disk is gone")
        yield from itertools.islice(frames(str(folder), *options), 2, None)

    monkeypatch.setattr(video_node, "frames", breaking)
    first, second = ros.collect(Image, "a/image"), ros.collect(Image, "b/image")
    node = play(rig=tmp_path / "rig.yaml", wait_for_subscribers=1)
    assert node.start()
    wait_for(lambda: node.finished and len(first) == COUNT, "all pictures of the other")
    assert len(second) == 2 and not node.failed
    ros.line("the disk is gone; the other cameras go on")


def test_the_camera_info_of_a_bag(ros: Any, play: Any, tmp_path: Path) -> None:
    from image_bags import TYPES, raw
    from image_bags import write_bag as write

    stamps = [10**18 + n * 20_000_000 for n in range(COUNT)]
    images = [raw(picture(n), stamp) for n, stamp in enumerate(stamps)]
    info = TYPES["sensor_msgs/msg/CameraInfo"](
        images[0].header,
        48,
        64,
        "plumb_bob",
        np.zeros(5),
        np.array([70.0, 0, 31.5, 0, 70, 23.5, 0, 0, 1]),
        np.eye(3).ravel(),
        np.eye(3, 4).ravel(),
        0,
        0,
        TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )
    bag = write(tmp_path / "bag", {"/left/image_raw": images, "/left/camera_info": [info]})
    infos = ros.collect(CameraInfo, "camera_info")
    ros.collect(Image, "image")
    node = play(source=bag, wait_for_subscribers=1)
    assert node.start()
    wait_for(lambda: len(infos) == COUNT, "camera_info beside each image")
    assert infos[0].k[0] == 70
    ros.remove(node)
    (tmp_path / "left.yaml").write_text(CALIBRATION)
    infos.clear()
    node = play(source=bag, wait_for_subscribers=1, calibration=tmp_path / "left.yaml")
    assert node.start()
    wait_for(lambda: infos, "camera_info of the file")
    assert infos[0].k[0] == pytest.approx(50), "a calibration that is set comes first"
