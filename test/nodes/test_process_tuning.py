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
import time
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
while not publisher.get_subscription_count():
    time.sleep(0.01)
time.sleep(0.5)  # best effort: the subscriber has to know its publisher, too
for number in range({COUNT}):
    header = Header()
    header.stamp.sec = number
    publisher.publish(image_messages.to_message(picture, header))
    time.sleep(0.05)
rclpy.shutdown()
"""


def test_best_effort_images_of_another_process_arrive(ros: Any) -> None:
    """Without the shared-memory profile, 0 to 5 of 45 do."""
    received = ros.collect(
        Image, "image", QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    )
    sender = subprocess.Popen([sys.executable, "-c", SENDER], cwd=ROOT)
    assert sender.wait(60) == 0
    wait_for(lambda: received and received[-1].header.stamp.sec == COUNT - 1, "the last image")
    assert len(received) >= 0.9 * COUNT


def test_what_the_user_has_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", "mine.xml")
    monkeypatch.delenv("FASTRTPS_DEFAULT_PROFILES_FILE", raising=False)
    process_tuning.enlarge_shared_memory()
    assert os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] == "mine.xml"
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ
