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

"""What the benchmarks of the nodes share: a node of their own that listens, and the other
process's memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2

from pose3d_ros.nodes import process_tuning
from pose3d_ros.nodes.messages import stamp_ns


@contextmanager
def listener(name: str) -> Iterator[tuple[Node, SingleThreadedExecutor]]:
    """A node and what spins it, alone with the nodes that this process starts."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))
    process_tuning.tune()
    rclpy.init()
    node, executor = rclpy.create_node(name), SingleThreadedExecutor()
    executor.add_node(node)
    try:
        yield node, executor
    finally:
        node.destroy_node()
        if rclpy.ok():
            rclpy.shutdown()


def age_s(cloud: PointCloud2) -> float:
    """Time since the acquisition of the image that the message is about."""
    return time.time() - stamp_ns(cloud.header) * 1e-9


def memory_mb(process: int, which: str) -> float:
    """Resident memory of a process (Linux): now (``VmRSS``), or the most so far (``VmHWM``)."""
    status = Path(f"/proc/{process}/status").read_text()
    return (
        float(next(line for line in status.splitlines() if line.startswith(which)).split()[1])
        / 1024
    )
