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

"""Slow a robot down as people come near, in the manner of ISO/TS 15066 (speed and separation
monitoring, 5.5.4).

Hears `separation` (pose3d up separation shapes:=robot.yaml) and publishes `speed_limit`
(std_msgs/Float64, m/s), the largest speed v_r at which the protective separation distance

    S_p = S_h + S_r + S_s + C + Z_d + Z_r

is not larger than the distance that is measured, where

    S_h = v_h (T_r + T_s)   the person's way until the robot stands: v_h is the measured closing
                            speed, at least `person_mps` (1.6 m/s, ISO 13855)
    S_r = v_r T_r           the robot's way until it brakes: T_r is `reaction_s`, and the age of
                            what the distance rests on
    S_s = v_r^2 / (2 a)     its way while it brakes, in T_s = v_r / a, by `braking_mps2` (a)
    C                       `intrusion_m`, how far a part of the body may reach unseen
    Z_d                     three standard deviations of the distance
    Z_r                     `robot_sigma_m` three times: how well the robot's own place is known

It assumes that the robot brakes as constantly as that, that no part of it moves faster than v_r,
that the shapes enclose the robot and what it carries, that cameras see everybody around it, and
that sigma is honest. This is no certified safety function: neither this program nor the package
was developed or assessed to ISO 13849 or IEC 61508, and a risk assessment must not rest on it.

    python3 speed_and_separation.py --ros-args -r __ns:=/pose3d -p braking_mps2:=2.0
"""

from __future__ import annotations

import math
import sys

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Float64

try:
    from sensor_msgs_py.point_cloud2 import read_points
except ImportError:
    sys.exit(
        "speed_and_separation: needs sensor_msgs_py, which is not installed; install "
        "ros-$ROS_DISTRO-sensor-msgs-py"
    )

SIGMAS = 3.0
PARAMETERS = {
    "person_mps": 1.6,
    "reaction_s": 0.1,
    "braking_mps2": 1.0,
    "intrusion_m": 0.1,
    "robot_sigma_m": 0.01,
    "largest_mps": 1.0,
    "timeout_s": 0.5,
}


def speed_limit(
    distance_m: float,
    person_mps: float,
    reaction_s: float,
    braking_mps2: float,
    margin_m: float,
) -> float:
    """The largest v_r >= 0 with S_p <= ``distance_m``, 0 where there is none or a number is not
    known; ``margin_m`` is C + Z_d + Z_r.
    """
    room_m = distance_m - margin_m - person_mps * reaction_s
    if not 0 < room_m < math.inf:  # NaN neither
        return 0.0
    # v^2 / (2 a) + v (T_r + v_h / a) = room
    b = reaction_s + person_mps / braking_mps2
    return braking_mps2 * (math.sqrt(b * b + 2 * room_m / braking_mps2) - b)


class SpeedAndSeparation(Node):
    """Tells the speed limit by whoever is nearest; 0 while nothing is known."""

    def __init__(self) -> None:
        super().__init__("speed_and_separation")
        for name, default in PARAMETERS.items():
            self.declare_parameter(name, default)
        self.limit = self.create_publisher(Float64, "speed_limit", 1)
        self.create_subscription(PointCloud2, "separation", self.hear, 1)
        self.watchdog = self.create_timer(
            self.get_parameter("timeout_s").value, lambda: self.limit.publish(Float64())
        )

    def hear(self, cloud: PointCloud2) -> None:
        """One message with everybody's distance, 0 of whom nothing is known."""
        self.watchdog.reset()
        given = {name: float(self.get_parameter(name).value) for name in PARAMETERS}
        limit = given["largest_mps"]
        for person in read_points(cloud).ravel():
            closing = float(person["closing_speed"])
            margin_m = given["intrusion_m"] + SIGMAS * (
                float(person["sigma"]) + given["robot_sigma_m"]
            )
            allowed = speed_limit(
                float(person["distance"]),
                given["person_mps"] if math.isnan(closing) else max(closing, given["person_mps"]),
                given["reaction_s"] + float(person["age"]),
                given["braking_mps2"],
                margin_m,
            )
            limit = min(limit, allowed)
        self.limit.publish(Float64(data=limit))


def main() -> None:
    """Run until Ctrl-C."""
    rclpy.init()
    try:
        rclpy.spin(SpeedAndSeparation())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if rclpy.ok():
            rclpy.shutdown()


if __name__ == "__main__":
    main()
