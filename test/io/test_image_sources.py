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

"""Sources of images: order, times, what is broken, what is a camera, and what is said of it."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rosbags", reason="needs rosbags")
pytest.importorskip("av", reason="needs PyAV")
from clips import flat, number_of, write_clip
from image_bags import TYPES, compressed, jpeg, raw, write_bag, write_ros1_bag
from rosbags.rosbag2 import StoragePlugin

from pose3d_ros.io import image_sources
from pose3d_ros.io.bags import only_image_topic
from pose3d_ros.io.image_sources import SourceError, camera_of, frames, is_device
from pose3d_ros.io.pose_files import pose_writer

START_NS = 1_700_000_000_250_000_000


def numbers(source: Path, **options: Any) -> list[int]:
    return [number_of(frame.image_bgr) for frame in frames(str(source), **options)]


def dues(source: Path, **options: Any) -> list[float | None]:
    return [frame.due_s for frame in frames(str(source), **options)]


def folder_of(path: Path, *names: str) -> Path:
    path.mkdir()
    for number, name in enumerate(names):
        cv2.imwrite(str(path / name), flat(number))
    return path


@pytest.mark.parametrize(
    "names",
    [
        [f"{n}.png" for n in range(1, 13)],
        [f"frame{n}.jpg" for n in range(1, 13)],
        [f"take2_{n}.png" for n in range(98, 110)],
        ["a1b9.png", "a1b10.png", "a2b1.png", "a10b1.png"],
    ],
)
def test_folders_are_read_in_natural_order(tmp_path, names, caplog):
    folder = folder_of(tmp_path / "images", *names)
    with caplog.at_level(logging.WARNING, "pose3d_ros"):
        assert numbers(folder) == list(range(len(names)))
    assert "30 images per second are assumed" in caplog.text
    assert dues(folder) == pytest.approx(np.arange(len(names)) / 30)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["1403636579763555584", "1403636579813555456", "1403636580763555584"], [0, 0.05, 1]),
        (["1305031102.175304", "1305031102.211214", "1305031103.5"], [0, 0.03591, 1.324696]),
        (["left_1700000000123456", "left_1700000000223456"], [0, 0.1]),
        (["1700000000123", "1700000000223"], [0, 0.1]),
    ],
    ids=["EuRoC", "TUM", "us", "ms"],
)
def test_stamps_in_names_are_times(tmp_path, names, expected):
    folder = folder_of(tmp_path / "images", *(f"{name}.png" for name in names))
    assert dues(folder) == pytest.approx(expected, abs=1e-6)
    assert dues(folder, rate_hz=10) == pytest.approx(np.arange(len(names)) / 10)


def test_stamps_of_some_names_only_are_said_to_be_ignored(tmp_path, caplog):
    folder = folder_of(tmp_path / "images", "1403636579763555584.png", "last.png")
    with caplog.at_level(logging.WARNING, "pose3d_ros"):
        assert dues(folder) == pytest.approx([0, 1 / 30])
    assert "stamps in the names of 1 of 2" in caplog.text


def test_pipes_are_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(SourceError, match="which is neither"):
        next(frames(str(tmp_path / "pipe.mp4")))
    os.mkfifo(tmp_path / "1.png")
    cv2.imwrite(str(tmp_path / "2.png"), np.full((4, 6, 3), 50, np.uint8))
    assert len(list(frames(str(tmp_path)))) == 1


def test_a_broken_image_of_a_folder_is_left_out_and_said(tmp_path, caplog):
    folder = folder_of(tmp_path / "images", *(f"{n}.png" for n in range(6)))
    (folder / "2.png").write_bytes((folder / "2.png").read_bytes()[:60])
    with caplog.at_level(logging.WARNING, "pose3d_ros"):
        assert numbers(folder) == [0, 1, 3, 4, 5]
    assert dues(folder) == pytest.approx([0, 1 / 30, 3 / 30, 4 / 30, 5 / 30])
    assert "2.png cannot be decoded" in caplog.text


def test_images_of_12_bits_are_no_black_ones(tmp_path):
    (tmp_path / "images").mkdir()
    for n in range(3):
        grey = (np.linspace(0, 4095, 64 * 96).reshape(64, 96) / (1 + n)).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "images" / f"{n}.png"), grey)
    means = [frame.image_bgr.mean() for frame in frames(str(tmp_path / "images"))]
    assert means == pytest.approx([127, 63, 42], abs=2), "one scale for all images of a camera"


@pytest.mark.parametrize("suffix", ["", ".mcap", ".db3", ".bag"])
def test_bags_and_their_files(tmp_path, suffix):
    """The topic that is asked for, at the times of the stamps, not of the arrival."""
    stamps_ns = [START_NS + round(t * 1e9) for t in (0, 0.1, 0.15, 0.9)]
    topics = {
        "/left/image_raw/compressed": [jpeg(flat(n), t) for n, t in enumerate(stamps_ns)],
        "/right/image_raw": [raw(flat(9), t) for t in stamps_ns],
    }
    if suffix == ".bag":
        bag = write_ros1_bag(tmp_path / "both.bag", topics)
    else:
        storage = StoragePlugin.SQLITE3 if suffix == ".db3" else StoragePlugin.MCAP
        bag = write_bag(tmp_path / "both", topics, storage, jitter_ns=10_000_000)
        bag = next(bag.glob(f"*{suffix}")) if suffix else bag
    topic = {"bag_topic": "/left/image_raw/compressed"}
    assert numbers(bag, **topic) == [0, 1, 2, 3]
    assert dues(bag, **topic) == pytest.approx([0, 0.1, 0.15, 0.9])
    assert dues(bag, rate_hz=5, **topic) == pytest.approx([0, 0.2, 0.4, 0.6])
    with pytest.raises(SourceError, match="bag_topic: expected one of /left.*, /right"):
        next(frames(str(bag)))


def test_a_bag_of_a_depth_camera_gives_its_colours(tmp_path):
    depth = np.full((48, 64), 1500, np.uint16)
    topics = {
        "/color/image_raw": [raw(flat(7), START_NS)],
        "/color/image_raw/compressed": [jpeg(flat(8), START_NS)],
        "/depth/image_rect": [raw(depth, START_NS, "16UC1")],
    }
    assert numbers(write_bag(tmp_path / "rgbd", topics)) == [7]


def test_a_camera_that_tells_no_encoding_is_not_taken_for_a_depth_camera(tmp_path):
    topics = {
        "/color/image_raw": [raw(flat(7), START_NS, "")],
        "/depth/image_rect": [raw(np.full((48, 64), 1500, np.uint16), START_NS, "16UC1")],
    }
    assert only_image_topic(write_bag(tmp_path / "rgbd", topics)) == "/color/image_raw"


def test_a_bag_without_images_is_said(tmp_path):
    pose_writer(tmp_path / "people.mcap").close(optical=True)
    with pytest.raises(SourceError, match="expected a bag with images, got one without"):
        next(frames(str(tmp_path / "people.mcap")))


def test_a_bag_without_its_metadata(tmp_path):
    bag = write_bag(tmp_path / "bag", {"/image": [jpeg(flat(3), START_NS)]})
    (bag / "metadata.yaml").unlink()
    assert numbers(bag) == [3]


def test_broken_images_of_a_bag_are_left_out_and_said(tmp_path, caplog):
    messages = [jpeg(flat(n), START_NS + n * 10**8) for n in range(5)]
    messages[2] = compressed(np.asarray(messages[2].data)[:200], START_NS + 2 * 10**8)
    bag = write_bag(tmp_path / "bag", {"/image/compressed": messages})
    with caplog.at_level(logging.WARNING, "pose3d_ros"):
        assert numbers(bag) == [0, 1, 3, 4]
    assert "an image is left out: expected a JPEG or PNG" in caplog.text
    bad = write_bag(tmp_path / "bad", {"/image/compressed": [messages[2]]})
    with pytest.raises(
        SourceError, match="expected images, got 1 that cannot be used: .*before its pixels"
    ):
        list(frames(str(bad)))


def test_a_topic_without_messages_is_said(tmp_path):
    bag = write_bag(tmp_path / "bag", {"/a/image": [], "/b/image": [raw(flat(0), START_NS)]})
    with pytest.raises(SourceError, match="/a/image: expected images, got no message"):
        next(frames(str(bag), bag_topic="/a/image"))


def test_images_without_stamps_come_when_they_arrived(tmp_path, caplog):
    bag = write_bag(
        tmp_path / "bag", {"/image": [raw(flat(n), 0) for n in range(3)]}, step_ns=10**8
    )
    with caplog.at_level(logging.WARNING, "pose3d_ros"):
        assert dues(bag) == pytest.approx([0, 0.1, 0.2])
    assert "images have no stamp" in caplog.text


def test_a_late_image_is_dropped_and_a_jump_back_goes_on(tmp_path, caplog):
    offsets_ms = [0, 100, 97, 200, -60_000, -59_900]
    stamps = [START_NS + t * 1_000_000 for t in offsets_ms]
    bag = write_bag(
        tmp_path / "bag",
        {"/image": [raw(flat(n), t) for n, t in enumerate(stamps)]},
        arrivals_ns=[START_NS + n * 100_000_000 for n in range(6)],
    )
    with caplog.at_level(logging.WARNING, "pose3d_ros"):
        assert numbers(bag) == [0, 1, 3, 4, 5]
        assert dues(bag) == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert "jump back by 60.200 s" in caplog.text


@pytest.mark.parametrize("ros1", [False, True])
def test_the_camera_of_a_bag(tmp_path, ros1):
    kind = "sensor_msgs/msg/CameraInfo"
    info = TYPES[kind](
        jpeg(flat(0), START_NS).header,
        64,
        96,
        "plumb_bob",
        np.zeros(5),
        np.array([80.0, 0, 47.5, 0, 81, 31.5, 0, 0, 1]),
        np.eye(3).ravel(),
        np.eye(3, 4).ravel(),
        0,
        0,
        TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
    )
    topics = {
        "/left/image_raw/compressed": [jpeg(flat(0), START_NS)],
        "/left/camera_info": [info],
        "/right/image_raw": [raw(flat(0), START_NS)],
    }
    write = write_ros1_bag if ros1 else write_bag
    bag = write(tmp_path / "b.bag", topics)
    camera = camera_of(str(bag), "/left/image_raw/compressed")
    assert camera is not None and camera.size == (96, 64)
    assert camera.matrix[[0, 1], [0, 1]].tolist() == [80, 81]
    assert camera_of(str(bag), "/right/image_raw") is None


def test_bags_of_noise_end_in_one_line(tmp_path):
    whole = write_bag(tmp_path / "bag", {"/image": [raw(flat(n), START_NS + n) for n in range(3)]})
    ros1 = write_ros1_bag(tmp_path / "ros1.bag", {"/image": [raw(flat(0), START_NS)]})
    rng = np.random.default_rng(0)
    for original in (next(whole.glob("*.mcap")), ros1):
        data = original.read_bytes()
        for trial in range(40):
            broken = bytearray(data)
            if trial % 2:
                broken = broken[: int(rng.integers(0, len(data)))]
            for at in rng.integers(0, max(len(broken), 1), 8):
                broken[at : at + 4] = rng.bytes(4)
            path = tmp_path / f"broken{original.suffix}"
            path.write_bytes(broken)
            try:
                for frame in frames(str(path), bag_topic="/image"):
                    assert frame.image_bgr.ndim == 3
            except SourceError as error:
                assert "\n" not in str(error) and len(str(error)) < 1000


class CameraDevice:
    """cv2.VideoCapture of a camera that delivers a few pictures and is unplugged."""

    opened: list[object] = []
    asked: dict[int, float] = {}

    def __init__(self, source: object) -> None:
        self.opened.append(source)
        self.left = 3

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def set(self, which: int, value: float) -> bool:
        self.asked[which] = value
        return True

    def get(self, which: int) -> float:
        return {cv2.CAP_PROP_FRAME_WIDTH: 640, cv2.CAP_PROP_FRAME_HEIGHT: 480}.get(which, 30)

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.left -= 1
        return (True, flat(self.left)) if self.left >= 0 else (False, None)

    def release(self) -> None:
        """There is nothing to release."""


@pytest.fixture
def device(monkeypatch):
    CameraDevice.opened, CameraDevice.asked = [], {}
    monkeypatch.setattr(cv2, "VideoCapture", CameraDevice)
    return CameraDevice


def test_a_link_to_a_device_is_a_device(tmp_path, device):
    link = tmp_path / "cam_left"
    os.symlink("/dev/null", link)  # as udev makes them: any character device
    got = []
    with pytest.raises(SourceError, match="cam_left stopped delivering images.*unplugged"):
        for frame in frames(str(link)):
            assert frame.due_s is None
            got.append(number_of(frame.image_bgr))
    assert got == [2, 1, 0] and device.opened == ["/dev/null"] and not device.asked


def test_a_camera_is_asked_for_size_and_rate(device, caplog):
    with caplog.at_level(logging.WARNING, "pose3d_ros"), pytest.raises(SourceError):
        list(frames("/dev/video0", rate_hz=15, size=(1280, 720)))
    assert device.asked[cv2.CAP_PROP_FRAME_WIDTH] == 1280
    assert device.asked[cv2.CAP_PROP_FRAME_HEIGHT] == 720
    assert device.asked[cv2.CAP_PROP_FPS] == 15
    assert "delivers 640x480 at 30 Hz, asked for 1280x720 at 15" in caplog.text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("0", True),
        ("/dev/video7", True),
        ("/dev/v4l/by-id/usb-of-a-camera-that-is-unplugged", True),
        ("rtsp://camera/stream", True),
        ("/dev/shm/clip.mp4", False),
        ("clip.mp4", False),
        ("", False),
    ],
)
def test_which_sources_are_cameras(source, expected):
    assert is_device(source) is expected


def test_an_absent_camera_is_explained():
    with pytest.raises(SourceError, match="/dev/video987 cannot be opened: .*does not exist"):
        next(frames("/dev/video987"))


def test_videos_at_their_own_times_or_at_a_rate(tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", [0, 40, 500])
    assert dues(clip) == pytest.approx([0, 0.04, 0.5])
    assert dues(clip, rate_hz=4) == pytest.approx([0, 0.25, 0.5])


def test_natural_order():
    names = ["b", "a10", "a2", "A1", "2", "10", "1"]
    assert sorted(names, key=image_sources.natural_key) == ["1", "2", "10", "A1", "a2", "a10", "b"]
