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

"""Faults of a source of images before a real monocular node, each in a process of its own: the
shipped clip of two people.

    python test/faults/camera_faults.py         every scenario, a line each: minutes
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from pose3d_ros.camera import Camera
from pose3d_ros.io.joints_cloud import JOINTS
from pose3d_ros.nodes import image_messages, messages
from pose3d_ros.resources import share

NAMESPACE = "camera_faults"
FARTHEST_M = 20.0  # nobody of the clip is further away
START_S, RECOVERY_S = 60.0, 60.0  # at most, on a busy machine


class Outcome(NamedTuple):
    """``recovered_s`` from the end of the fault until somebody is shown again, None when never."""

    alive: bool
    recovered_s: float | None
    farthest_m: float


class Bench:
    """The node, the video node that plays to it, and a disturber on the same topics."""

    def __init__(self) -> None:
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
        self.node = self._up("monocular")
        self.video = self._video()
        rclpy.init(args=[])
        self._ros = rclpy.create_node("disturber")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._ros)
        self._ros.create_subscription(PointCloud2, f"/{NAMESPACE}/joints", self._hear, 50)
        self.images = self._ros.create_publisher(Image, f"/{NAMESPACE}/image", 5)
        self.infos = self._ros.create_publisher(CameraInfo, f"/{NAMESPACE}/camera_info", 5)
        self.camera = Camera.from_yaml(share("demo", "cam0.yaml"))
        self.shown_at, self.farthest_m = 0.0, 0.0

    def _up(self, *words: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "pose3d_ros.cli", "up", *words]
        return subprocess.Popen([*command, f"namespace:={NAMESPACE}"])

    def _video(self) -> subprocess.Popen[bytes]:
        clip, calibration = share("demo", "cam0.mp4"), share("demo", "cam0.yaml")
        return self._up(
            "video",
            f"source:={clip}",
            f"calibration:={calibration}",
            "rate_hz:=10",
            "loop:=true",
            "frame_id:=cam0",
        )

    def _hear(self, cloud: PointCloud2) -> None:
        if cloud.height:
            people = np.frombuffer(cloud.data, JOINTS)
            self.shown_at = time.monotonic()
            self.farthest_m = max(self.farthest_m, float(np.nanmax(np.abs(people["z"]))))

    def spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float | None:
        """Seconds until the condition, or None."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if until():
                return time.monotonic() - began
            self._executor.spin_once(timeout_sec=0.02)
        return None

    def somebody(self) -> bool:
        """Whether somebody was shown since the mark."""
        return self.shown_at > 0

    def header(self, offset_s: float = 0.0) -> Header:
        """Of a message of the disturber."""
        return Header(stamp=messages.time_of(time.time_ns() + round(offset_s * 1e9)))

    def restart_video(self) -> None:
        """Start the video node that was killed."""
        self.video = self._video()

    def close(self) -> None:
        """End every process that was started here."""
        for process in (self.video, self.node):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self._executor.shutdown()
        self._ros.destroy_node()
        rclpy.shutdown()


def kill_and_restart(bench: Bench) -> None:
    """The source dies and comes back."""
    bench.video.kill()
    bench.video.wait()
    bench.spin(2.0)
    bench.restart_video()


def stop_for_a_while(bench: Bench) -> None:
    """The source stands still for three seconds."""
    bench.video.send_signal(signal.SIGSTOP)
    bench.spin(3.0)
    bench.video.send_signal(signal.SIGCONT)


def broken_images(bench: Bench) -> None:
    """Somebody else sends 200 images that are none."""
    for number in range(200):
        image = Image(header=bench.header(), width=640, height=480, step=1920, encoding="bgr8")
        image.encoding = ["bgr8", "rgb9", "16UC1", "bayer_rggb8"][number % 4]
        image.data = bytes([0, 10, 100, 7][number % 4])
        bench.images.publish(image)
        bench.spin(0.005)


def another_camera(bench: Bench) -> None:
    """Somebody else sends images of another size on the same topic for two seconds."""
    picture = np.zeros((48, 64, 3), np.uint8)
    end = time.monotonic() + 2
    while time.monotonic() < end:
        bench.images.publish(image_messages.to_message(picture, bench.header()))
        bench.spin(0.05)


def wrong_camera_info(index: int, value: float) -> Callable[[Bench], None]:
    """Somebody else sends a calibration that no camera has, for two seconds."""

    def fault(bench: Bench) -> None:
        end = time.monotonic() + 2
        while time.monotonic() < end:
            info = messages.camera_info(bench.camera, bench.header())
            info.k[index] = value
            bench.infos.publish(info)
            bench.spin(0.05)

    return fault


def one_stamp(offset_s: float) -> Callable[[Bench], None]:
    """Somebody else sends one image of another time."""

    def fault(bench: Bench) -> None:
        picture = np.zeros((720, 1280, 3), np.uint8)
        bench.images.publish(image_messages.to_message(picture, bench.header(offset_s)))
        bench.spin(0.2)

    return fault


SCENARIOS = {
    "source killed and restarted": kill_and_restart,
    "source stopped for 3 s": stop_for_a_while,
    "200 broken images": broken_images,
    "a second camera on the topic": another_camera,
    "camera_info with fy 1e-30": wrong_camera_info(4, 1e-30),
    "camera_info with cx 1e9": wrong_camera_info(2, 1e9),
    "camera_info of zeros": wrong_camera_info(0, 0.0),
    "one image an hour ahead": one_stamp(3600),
    "one image an hour behind": one_stamp(-3600),
    "one image at 1970": one_stamp(-time.time() + 1),
}


def run(bench: Bench, fault: Callable[[Bench], None]) -> Outcome:
    """Do it, and see what comes of it."""
    bench.farthest_m = 0.0
    fault(bench)
    bench.shown_at = 0.0
    recovered_s = bench.spin(RECOVERY_S, bench.somebody)
    bench.spin(1.0)
    return Outcome(bench.node.poll() is None, recovered_s, bench.farthest_m)


def good(outcome: Outcome) -> bool:
    """Whether the node survived as it should."""
    recovered = outcome.recovered_s is not None
    return outcome.alive and recovered and outcome.farthest_m < FARTHEST_M


def main() -> int:
    """Every scenario on one bench. Returns 1 when one failed."""
    failed = 0
    bench = Bench()
    try:
        if bench.spin(START_S, bench.somebody) is None:
            raise AssertionError(f"nobody was shown in {START_S:g} s")
        for name, fault in SCENARIOS.items():
            outcome = run(bench, fault)
            failed += not good(outcome)
            took = "never" if outcome.recovered_s is None else f"{outcome.recovered_s:.2f} s"
            sys.stdout.write(
                f"{name:30} {'ok' if good(outcome) else 'FAILED':7} alive {outcome.alive}, "
                f"somebody again after {took}, farthest {outcome.farthest_m:.1f} m\n"
            )
            sys.stdout.flush()
    finally:
        bench.close()
    sys.stdout.write(f"{len(SCENARIOS) - failed} of {len(SCENARIOS)} survived\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
