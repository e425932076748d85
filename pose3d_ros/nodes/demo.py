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

"""Play a video through the real nodes, each in a process of its own, watch their topics, and make
a film of both.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from pose3d_ros.camera import Camera
from pose3d_ros.drawing import draw_people, render_view, viewpoint
from pose3d_ros.io.image_sources import is_device
from pose3d_ros.io.joints_cloud import JOINTS
from pose3d_ros.io.keypoints_cloud import KEYPOINTS
from pose3d_ros.io.videos import write_video
from pose3d_ros.nodes import image_messages, process_tuning
from pose3d_ros.nodes.messages import stamp_ns
from pose3d_ros.nodes.process import in_background
from pose3d_ros.nodes.up import up, up_in_process
from pose3d_ros.people import People2D, guessed
from pose3d_ros.place.floor import Floor
from pose3d_ros.place.floor_of_people import floor_of_people
from pose3d_ros.resources import share
from pose3d_ros.skeleton import H36M17

NAMESPACE = "pose3d_demo"
PLACE = f"namespace:={NAMESPACE}"
START_S = 60.0  # loading models on a slow machine
PANE = (640, 360)
UNHEARD = 5  # images that are on their way when it stops, or lost while nodes find each other
BEHIND = 1.15  # times as long as the video: then it is said that this machine takes longer
NEXT = """\
next     in your browser:  {pose3d} demo --view
         your webcam:      {pose3d} demo 0 --view
         your robot:       {pose3d} up monocular viewer image:=/camera/image_raw \
camera_info:=/camera/camera_info
         your data:        {pose3d} track {demo}/cam0.mp4 --calibration {demo}/cam0.yaml \
--output people.csv"""


class Watcher(Node):
    """Subscribes to what the two nodes publish and keeps it by acquisition time.

    It publishes the images' time on /clock: a video that waits for a slow machine has its own.
    """

    def __init__(self) -> None:
        super().__init__("demo", namespace=NAMESPACE)
        self.sent_s: dict[int, float] = {}
        self.heard_s: list[float] = []
        self.images: dict[int, np.ndarray] = {}
        self.joints: dict[int, np.ndarray] = {}
        self.keypoints: dict[int, np.ndarray] = {}
        self.latencies_s: list[float] = []
        self.scale = 1.0
        self._clock = self.create_publisher(Clock, "/clock", QoSProfile(depth=1))
        self.create_subscription(CameraInfo, "camera_info", self._info, QoSProfile(depth=100))
        self.create_subscription(Image, "image", self._image, QoSProfile(depth=5))
        self.create_subscription(PointCloud2, "joints", self._joints, QoSProfile(depth=5))
        self.create_subscription(PointCloud2, "keypoints", self._keypoints, QoSProfile(depth=5))

    def _info(self, message: CameraInfo) -> None:
        self._clock.publish(Clock(clock=message.header.stamp))
        self.sent_s[stamp_ns(message.header)] = time.monotonic()

    def _image(self, message: Image) -> None:
        image = image_messages.to_bgr(message)
        self.scale = PANE[1] / image.shape[0]
        small = cv2.resize(image, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        self.images[stamp_ns(message.header)] = cv2.imencode(".jpg", small)[
            1
        ]  # a long film has to fit into memory

    def _joints(self, message: PointCloud2) -> None:
        now_s = time.monotonic()
        self.heard_s.append(now_s)
        self.latencies_s.append(now_s - self.sent_s.get(stamp_ns(message.header), now_s))
        cloud = np.frombuffer(message.data, JOINTS).reshape(message.height, message.width)
        self.joints[stamp_ns(message.header)] = cloud

    def _keypoints(self, message: PointCloud2) -> None:
        cloud = np.frombuffer(message.data, KEYPOINTS).reshape(message.height, message.width)
        self.keypoints[stamp_ns(message.header)] = cloud


def play(
    source: str | None,
    calibration: str | None,
    seconds: float,
    output: Path,
    assumed_fov_deg: float,
) -> int:
    """Play ``source``, or the shipped clip, for ``seconds`` at most; print what was seen, and
    write the film to ``output``.

    Raises ``ValueError`` for a source or a calibration that is not there, ``ChildProcessError``
    when a node gives up.
    """
    source, lens = _checked(source, calibration, assumed_fov_deg)
    process_tuning.tune()
    # the video node first: the other one shall find somebody who publishes images
    video_words = ["video", f"source:={source}", lens, "wait_for_subscribers:=2", PLACE]
    monocular_words = ["monocular", PLACE]
    if not is_device(source):
        video_words.append("pace:=joints")
        monocular_words.append("use_sim_time:=true")
    with (
        in_background(Watcher) as watcher,
        up_in_process(*video_words) as video,
        up_in_process(*monocular_words) as monocular,
    ):
        _wait(lambda: watcher.count_publishers("joints"), START_S, monocular, video)
        print(f"playing {source}; Ctrl-C stops")
        with suppress(KeyboardInterrupt):  # a live camera ends so: what came until then counts
            _wait(
                lambda: video.poll() == 0 or _played_s(watcher) >= seconds,
                START_S,
                monocular,
                video,
                progress=lambda: len(watcher.joints),
            )
        if video.poll() is None and _played_s(watcher) >= seconds:
            print(f"stopped after {seconds:g} s of it; --seconds plays more")
        time.sleep(0.5)  # joints of the last image
    if not watcher.joints:
        raise ChildProcessError("no joints were published; the lines above say why")
    _report(watcher)
    _film(watcher, output)
    print(next_steps())
    return 0


def next_steps() -> str:
    """What to try after the demo, a command each."""
    beside = Path(sys.executable).with_name("pose3d")
    if shutil.which("pose3d"):
        pose3d = "pose3d"
    else:
        pose3d = _short(beside) if beside.exists() else f"{sys.executable} -m pose3d_ros.cli"
    return NEXT.format(pose3d=pose3d, demo=_short(share("demo")))


def _short(path: Path) -> str:
    """The path as it is written from the working directory."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)


def view(source: str | None, calibration: str | None, assumed_fov_deg: float) -> int:
    """Play ``source``, or the shipped clip, again and again, and serve the browser view of it,
    until Ctrl-C. Returns the exit code.

    Raises ``ValueError`` for a source or a calibration that is not there.
    """
    source, lens = _checked(source, calibration, assumed_fov_deg)
    return up(["monocular", "viewer", f"video:={source}", lens, "loop:=true", PLACE])


def _checked(
    source: str | None, calibration: str | None, assumed_fov_deg: float
) -> tuple[str, str]:
    """The source, by default the shipped clip, and the argument that tells of its lens."""
    if source is None:
        source, calibration = str(share("demo", "cam0.mp4")), str(share("demo", "cam0.yaml"))
    _check_source(source)
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if calibration is None:
        return source, f"assumed_fov_deg:={assumed_fov_deg}"
    Camera.from_yaml(calibration)
    return source, f"calibration:={calibration}"


def _check_source(source: str) -> None:
    path = Path(f"/dev/video{source}" if source.isdecimal() else source).expanduser()
    if "://" in source or path.exists():
        return
    hint = ""
    if path.parent == Path("/dev"):
        cameras = sorted(str(device) for device in Path("/dev").glob("video*"))
        hint = f"; cameras of this machine: {', '.join(cameras) or 'none'}"
    raise ValueError(
        f"source: expected a video, a folder of images, a camera or a bag, got {path}, which does "
        f"not exist{hint}"
    )


def _wait(
    done: Callable[[], Any],
    timeout_s: float,
    monocular: subprocess.Popen[bytes],
    video: subprocess.Popen[bytes],
    progress: Callable[[], int] = lambda: 0,
) -> None:
    """Wait until it is done; raises when a node ends, or nothing goes on for ``timeout_s``."""
    reached, end = progress(), time.monotonic() + timeout_s
    while not done():
        if progress() > reached:
            reached, end = progress(), time.monotonic() + timeout_s
        for name, node in (("video", video), ("monocular", monocular)):
            if node.poll() is not None:
                raise ChildProcessError(f"the {name} node gave up; its last line above says why")
        if time.monotonic() > end:
            raise TimeoutError(f"waited {timeout_s:g} s for the nodes in vain")
        time.sleep(0.05)


def _played_s(watcher: Watcher) -> float:
    stamps = list(watcher.joints)
    return (stamps[-1] - stamps[0]) * 1e-9 if stamps else 0.0


def _report(watcher: Watcher) -> None:
    counts = np.array([len(people) for people in watcher.joints.values()])
    ids = sorted(
        {int(person) for people in watcher.joints.values() for person in people["person"].ravel()}
    )
    p50, p95 = 1000 * np.percentile(watcher.latencies_s, [50, 95])
    took_s = watcher.heard_s[-1] - watcher.heard_s[0]
    since = sum(sent_s > watcher.heard_s[0] for sent_s in watcher.sent_s.values())
    sent = max(since + 1, len(counts))
    dropped = ", others dropped for newer ones" if sent > len(counts) + UNHEARD else ""
    print(
        f"images   {sent} sent, {len(counts)} processed{dropped}\n"
        f"rate     {(len(counts) - 1) / max(took_s, 1e-9):.1f} Hz\n"
        f"latency  {p50:.0f} ms p50, {p95:.0f} ms p95, from sending an image to receiving its "
        f"joints\n"
        f"people   {counts.mean():.1f} on average, {counts.max()} at once at most; track ids {ids}"
    )
    if took_s > BEHIND * (played_s := _played_s(watcher)):
        print(
            f"slower   {played_s:.1f} s of video took {took_s:.1f} s here: each image waited for "
            f"the joints of the last one, so that the result is as on any computer"
        )


def _film(watcher: Watcher, folder: Path) -> None:
    """``demo.mp4`` and, its richest moment, ``demo.png``: the picture with 2D poses, and the 3D
    poses from the side, upright on the floor that they stand on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamps = sorted(set(watcher.images) & set(watcher.joints) & set(watcher.keypoints))
    if not stamps:
        raise ChildProcessError(
            "no image arrived together with its joints, so there is nothing to show"
        )
    joints = {
        stamp: np.stack([watcher.joints[stamp][axis] for axis in "xyz"], -1) for stamp in stamps
    }
    everybody = np.concatenate([joints[stamp].reshape(-1, len(H36M17), 3) for stamp in stamps])
    floor = floor_of_people(everybody)
    if floor is None:  # nobody stands: as if the camera were level
        lowest_m = np.nanmax(everybody[..., 1], initial=1.0)
        floor = Floor.from_tilt(float(lowest_m))
    upright = floor.upright_from_camera.T
    joints = {stamp: seen_m @ upright for stamp, seen_m in joints.items()}
    focus, reach = np.array([0.0, 0.0, 4.0]), 1.0
    if len(everybody):
        pelvises_m = everybody[:, 0] @ upright
        focus = np.nanmedian(pelvises_m, 0)
        reach = float(np.nanpercentile(np.linalg.norm(pelvises_m - focus, axis=1), 95))
    view = viewpoint(focus, 3.5 + 1.5 * reach, PANE)
    best = max(stamps, key=lambda stamp: np.nansum(watcher.joints[stamp]["confidence"]))

    def pictures() -> Iterator[np.ndarray]:
        for stamp in stamps:
            image = np.asarray(cv2.imdecode(watcher.images[stamp], cv2.IMREAD_COLOR))
            cloud = watcher.keypoints[stamp]
            pixels = np.stack([cloud["x"], cloud["y"]], -1) * watcher.scale
            size = (image.shape[1], image.shape[0])
            ids = cloud["person"][:, 0]
            seen = People2D(H36M17, pixels, cloud["confidence"], stamp, size, ids)
            people = watcher.joints[stamp]
            unseen = guessed(people["confidence"], people["sigma"], people["state"][:, 0])
            space = render_view(
                joints[stamp], people["person"][:, 0], H36M17, view, floor.height_m, unseen
            )
            both = np.hstack([draw_people(image, seen), space])
            if stamp == best:
                cv2.imwrite(str(folder / "demo.png"), both)
            yield both

    rate_hz = max(1.0, len(stamps) / max((stamps[-1] - stamps[0]) * 1e-9, 0.1))
    write_video(folder / "demo.mp4", pictures(), rate_hz)
    print(f"look at  {folder / 'demo.mp4'} and {folder / 'demo.png'}")
