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

"""One camera's 2D poses of people who walk, as a process of its own that faults can be done to.

    python test/faults/camera.py NAMESPACE CAMERA RIG

Commands on stdin: ``offset SECONDS`` sets its clock, ``garbage N`` sends N clouds that are none.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import rclpy
from rigs import detected, standing
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.nodes import messages

RATE_HZ = 10.0
PEOPLE = 2


def people(seconds: float) -> np.ndarray:
    """(P, 17, 3) of people on circles of their own, 2 m apart, each round in 12 s."""
    turn = 2 * np.pi * (seconds / 12 % 1)
    angle = turn + np.arange(PEOPLE)
    middle = np.array([[-1.0, 0.0], [1.0, 0.0]])
    places = middle + 0.5 * np.stack([np.cos(angle), np.sin(angle)], -1)
    return standing(places, angle + np.pi / 2, 6 * turn)


def garbage(number: int) -> PointCloud2:
    """A cloud that no detector sends: huge, empty or with fields outside of its data."""
    cloud = PointCloud2(height=[2_000_000, 1, 3][number % 3], width=17, point_step=12)
    cloud.row_step = [0, 204, 204][number % 3]
    cloud.data = bytes([0, 0, 100][number % 3])
    return cloud


def main(namespace: str, name: str, rig: str) -> None:
    """Publish until killed."""
    camera = read_rig(rig).cameras[name]
    random = np.random.default_rng(0)
    offset, burst = [0.0], [0]

    def listen() -> None:
        for line in sys.stdin:
            word, value = line.split()
            if word == "offset":
                offset[0] = float(value)
            else:
                burst[0] = int(value)

    threading.Thread(target=listen, daemon=True).start()
    rclpy.init(args=[])
    node = rclpy.create_node(f"camera_{name}")
    publisher = node.create_publisher(PointCloud2, f"/{namespace}/{name}/keypoints", 10)
    while True:
        now = time.time()
        stamp_ns = round((now + offset[0]) * 1e9)
        header = Header(stamp=messages.time_of(stamp_ns), frame_id=camera.frame_id)
        seen = detected(camera, people(now), stamp_ns, random)
        publisher.publish(messages.keypoints_cloud(seen, header))
        while burst[0]:
            burst[0] -= 1
            cloud = garbage(burst[0])
            cloud.header = header
            publisher.publish(cloud)
        time.sleep(max(0.0, 1 / RATE_HZ - (time.time() - now)))


if __name__ == "__main__":
    main(*sys.argv[1:])
