#!/usr/bin/env python3
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

"""Stop a robot when somebody may be near: a controller that needs nothing but standard messages.

Hears `separation` (pose3d up separation shapes:=robot.yaml). Publishes `stop` (std_msgs/Bool) for
every message, and zeros on `cmd_vel` (geometry_msgs/Twist) while true. It stops when it does not
know: before the first message, when `separation` is silent, when joints are old or unknown. It
goes on when cameras see nobody, so they must see everything around the robot. This is no certified
safety function.

    python3 stop_when_near.py --ros-args -r __ns:=/pose3d -p distance_m:=1.0
"""

from __future__ import annotations

import sys

import rclpy
from geometry_msgs.msg import Twist
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Bool

try:
    from sensor_msgs_py.point_cloud2 import read_points
except ImportError:
    sys.exit(
        "stop_when_near: needs sensor_msgs_py, which is not installed; install "
        "ros-$ROS_DISTRO-sensor-msgs-py"
    )

SIGMAS = 2.0  # how many standard deviations nearer than measured somebody is taken to be


class StopWhenNear(Node):
    """Compares the distance of whoever is nearest; with a silent `separation` it stops, too."""

    def __init__(self) -> None:
        super().__init__("stop_when_near")
        self.declare_parameter("distance_m", 1.0)
        self.declare_parameter("timeout_s", 0.5)
        self.stop = self.create_publisher(Bool, "stop", 1)
        self.velocity = self.create_publisher(Twist, "cmd_vel", 1)
        self.create_subscription(PointCloud2, "separation", self.hear, 1)
        self.watchdog = self.create_timer(
            self.get_parameter("timeout_s").value, lambda: self.tell(True)
        )
        self.tell(True)

    def hear(self, cloud: PointCloud2) -> None:
        """One message with everybody's distance, 0 of whom nothing is known."""
        self.watchdog.reset()
        people = read_points(cloud)
        far = (
            people["distance"] - SIGMAS * people["sigma"] >= self.get_parameter("distance_m").value
        )
        self.tell(not far.all())  # NaN is not far

    def tell(self, stop: bool) -> None:
        """Publish the decision."""
        self.stop.publish(Bool(data=stop))
        if stop:
            self.velocity.publish(Twist())


def main() -> None:
    """Run until Ctrl-C."""
    rclpy.init()
    try:
        rclpy.spin(StopWhenNear())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if rclpy.ok():
            rclpy.shutdown()


if __name__ == "__main__":
    main()
