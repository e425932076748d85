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

"""Images between processes: what the nodes set up, and that it delivers."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from paths import ROOT

pytest.importorskip("rclpy", reason="needs rclpy")
from conftest import wait_for
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

from pose3d_ros.nodes import process_tuning

COUNT = 30
SENDER = f"""
import select, sys, time
from pose3d_ros.nodes import image_messages
from pose3d_ros.nodes import process_tuning
process_tuning.tune()
import numpy as np, rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Header
rclpy.init()
node = rclpy.create_node("sender")
quality = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
publisher = node.create_publisher(Image, "image", quality)
picture = np.zeros((720, 1280, 3), np.uint8)
def send(number):
    header = Header()
    header.stamp.sec = number
    publisher.publish(image_messages.to_message(picture, header))
while not select.select([sys.stdin], [], [], 0.05)[0]:
    send(0)  # best effort: until the subscriber says that one arrived
for number in range(1, {COUNT} + 1):
    send(number)
    time.sleep(0.05)  # a camera of 20 Hz
sys.stdin.read()  # until all that arrive have arrived
rclpy.shutdown()
"""


def test_best_effort_images_of_another_process_arrive(ros: Any) -> None:
    """Without the shared-memory profile, 0 to 5 of 45 do."""
    received = ros.collect(
        Image, "image", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    command = [sys.executable, "-c", SENDER]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE) as sender:
        assert sender.stdin is not None
        wait_for(lambda: received, "the first image", 60)
        sender.stdin.write(b"it arrived\n")
        sender.stdin.flush()
        wait_for(
            lambda: sum(image.header.stamp.sec > 0 for image in received) >= 0.9 * COUNT,
            "nine of ten images",
            20,
        )
        sender.stdin.close()
        assert sender.wait(60) == 0


def test_what_the_user_has_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    process_tuning.enlarge_shared_memory()
    assert os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] == "mine.xml"
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ
