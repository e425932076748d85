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

"""Print where a joint of everybody is: a subscriber that needs nothing but standard messages.

Hears `joints` (sensor_msgs/PointCloud2: a row for each person, a column for each joint).

    python3 read_joints.py --ros-args -r __ns:=/pose3d -p joint:=l_wrist
"""

from __future__ import annotations

from typing import Any

import numpy as np
import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

JOINTS = (  # Human3.6M's order, the columns of the message
    *("pelvis", "r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle"),
    *("spine", "thorax", "neck", "head"),
    *("l_shoulder", "l_elbow", "l_wrist", "r_shoulder", "r_elbow", "r_wrist"),
    # with skeleton:=body30 of the node also
    *("nose", "l_eye", "r_eye", "l_ear", "r_ear", "l_index", "r_index", "l_pinky", "r_pinky"),
    *("l_heel", "r_heel", "l_foot", "r_foot"),
)
TYPES = ("", "i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")  # by PointField's number


def read(cloud: PointCloud2) -> np.ndarray:
    """(people, joints) with the fields of the message: x, y, z, sigma, person, ..."""
    fields: Any = {
        "names": [field.name for field in cloud.fields],
        "formats": [TYPES[field.datatype] for field in cloud.fields],
        "offsets": [field.offset for field in cloud.fields],
        "itemsize": cloud.point_step,
    }
    return np.frombuffer(cloud.data, np.dtype(fields)).reshape(cloud.height, cloud.width)


class ReadJoints(Node):
    """Logs one joint of everybody, once a second."""

    def __init__(self) -> None:
        super().__init__("read_joints")
        joint = self.declare_parameter("joint", "l_wrist").value
        if joint not in JOINTS:
            raise SystemExit(f"joint: expected one of {', '.join(JOINTS)}; got '{joint}'")
        self.joint = JOINTS.index(joint)
        self.create_subscription(PointCloud2, "joints", self.hear, 1)

    def hear(self, cloud: PointCloud2) -> None:
        """One message: everybody in one image; nobody is a message without rows."""
        if self.joint >= cloud.width:
            self.get_logger().warning(
                f"no {JOINTS[self.joint]} among {cloud.width} joints: start with skeleton:=body30",
                once=True,
            )
            return
        places = [
            f"person {point['person']} at {point['x']:.2f} {point['y']:.2f} {point['z']:.2f} m, "
            f"sigma {point['sigma']:.2f} m"
            for point in read(cloud)[:, self.joint]
        ]
        self.get_logger().info(
            f"{JOINTS[self.joint]} in {cloud.header.frame_id}: {'; '.join(places) or 'nobody'}",
            throttle_duration_sec=1.0,
        )


def main() -> None:
    """Run until Ctrl-C."""
    rclpy.init()
    try:
        rclpy.spin(ReadJoints())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        if rclpy.ok():
            rclpy.shutdown()


if __name__ == "__main__":
    main()
