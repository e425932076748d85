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

"""The separation node: how near people may be to parts of the robot. What it does not know counts
as near.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import Header

from pose3d_ros.io.joints_cloud import people_3d
from pose3d_ros.nodes.inputs import START_POSES, Input
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.nodes.messages import Part, diagnostics, separation_cloud
from pose3d_ros.nodes.process import run
from pose3d_ros.nodes.tf import TransformError, TransformLookup
from pose3d_ros.people import NO_ID, People3D
from pose3d_ros.separation import UNKNOWN, Separation, ends_in, read_shapes, separation
from pose3d_ros.settings import SeparationNodeSettings
from pose3d_ros.skeleton import H36M17

PERIOD_S = 0.1  # of what is said while nothing is heard
LONGEST_STEP_S = 0.5  # between two places of the robot that still tell its speed

Float = npt.NDArray[np.float64]


class SeparationNode(ManagedNode[SeparationNodeSettings]):
    """Hears ``joints``, publishes ``separation`` for each message, and while there is none."""

    def __init__(self, **options: Any) -> None:
        self._transforms: TransformLookup | None = None
        self._joints: Input | None = None
        self._ticks: list[Any] = []
        super().__init__("separation", SeparationNodeSettings, **options)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=1)
        )

    def configure(self) -> None:
        """Read the shapes, and get ready to ask TF."""
        if not self.settings.shapes:
            raise ValueError(
                "expected shapes, a YAML file with the robot's spheres and capsules, got none; "
                "config/robot_shapes.yaml is an example"
            )
        self._shapes = read_shapes(self.settings.shapes)
        self._radii_m = np.array([shape.radius_m for shape in self._shapes])
        try:
            self._transforms = TransformLookup(self, "give the shapes in the frame of joints")
        except TransformError as error:
            self._without_tf = str(error)
        self._publisher = self.create_lifecycle_publisher(
            PointCloud2, "separation", QoSProfile(depth=1)
        )
        names = ", ".join(shape.name for shape in self._shapes[:10])
        self.get_logger().info(f"ready: {len(self._shapes)} shapes ({names})")

    def activate(self) -> None:
        """Listen, and say when nothing is heard."""
        self._newest_ns: int | None = None
        self._before: tuple[int, str, Float] | None = None  # when, in which frame, ends
        self._told = 0
        self._joints = Input(self, "joints", PointCloud2, self._hear, START_POSES)
        self._ticks = [
            self.every(PERIOD_S, self._watch),
            self.every(self.settings.diagnostics_period_s, self._diagnose),
        ]

    def deactivate(self) -> None:
        """Stop."""
        for timer in self._ticks:
            self.destroy_timer(timer)
        if self._joints is not None:
            self._joints.close()
        self._ticks, self._joints = [], None

    def cleanup(self) -> None:
        """Release the topics."""
        if self._transforms is not None:
            self._transforms.close()
        self._transforms = None
        if hasattr(self, "_publisher"):
            self.destroy_lifecycle_publisher(self._publisher)
            del self._publisher

    def _hear(self, cloud: PointCloud2) -> None:
        people = people_3d(cloud, H36M17)
        age_s = self.latency_s(people.stamp_ns)
        self._newest_ns = people.stamp_ns
        if age_s is None or age_s > self.settings.max_age_s:
            self._publish_unknown(people, age_s)
            return
        ends_m = ends_in(self._shapes, self._transforms_to(people))
        velocities_mps = self._velocities(people, ends_m)
        rows = [
            separation(joints_m, sigma_m, velocity, ends_m, self._radii_m, velocities_mps)
            for joints_m, sigma_m, velocity in zip(
                people.joints_m.astype(float),
                people.sigma_m.astype(float),
                people.velocity_mps.astype(float),
                strict=True,
            )
        ]
        self._publish(rows, people.ids, age_s, cloud.header)

    def _transforms_to(self, people: People3D) -> dict[str, Float]:
        """From each shape's frame to that of the people; those that are missing are said."""
        known: dict[str, Float] = {}
        for frame in {shape.frame_id for shape in self._shapes}:
            try:
                if frame == people.frame_id:
                    known[frame] = np.eye(4)
                elif self._transforms is None:
                    raise TransformError(
                        f"shapes are in '{frame}', joints in '{people.frame_id}': "
                        f"{self._without_tf}"
                    )
                else:
                    known[frame] = self._transforms.target_from(
                        frame, people.frame_id, people.stamp_ns
                    )
                self.solved(f"transform {frame}")
            except TransformError as error:
                self.problem(f"transform {frame}", f"everybody counts as near: {error}")
        return known

    def _velocities(self, people: People3D, ends_m: Float) -> Float | None:
        """(S, 2, 3) of the shapes' ends since the message before; None where that tells none."""
        before, now = self._before, (people.stamp_ns, people.frame_id, ends_m)
        self._before = now
        if before is None or before[1] != now[1]:
            return None
        elapsed_s = (now[0] - before[0]) * 1e-9
        return (ends_m - before[2]) / elapsed_s if 0 < elapsed_s < LONGEST_STEP_S else None

    def _watch(self) -> None:
        """Say that nothing is known while ``joints`` are silent or old."""
        now_ns = self.get_clock().now().nanoseconds
        age_s = None if self._newest_ns is None else (now_ns - self._newest_ns) * 1e-9
        if age_s is None or not 0 <= age_s <= self.settings.max_age_s:
            self._publish_unknown(None, age_s)

    def _publish_unknown(self, people: People3D | None, age_s: float | None) -> None:
        ids = np.array([NO_ID]) if people is None or not len(people) else people.ids
        header = Header(stamp=self.get_clock().now().to_msg())
        self._publish([UNKNOWN] * len(ids), ids, math.nan if age_s is None else age_s, header)

    def _publish(
        self, rows: list[Separation], ids: npt.NDArray[Any], age_s: float, header: Header
    ) -> None:
        self._publisher.publish(separation_cloud(rows, ids, age_s, header))
        self._told += 1

    def _diagnose(self) -> None:
        assert self._joints is not None
        self._diagnostics.publish(
            diagnostics(
                self.get_clock().now().to_msg(),
                Part(
                    self.get_fully_qualified_name().lstrip("/"),
                    self._joints.topic,
                    list(self.problems.values()),
                    {"rate_hz": self._told / self.settings.diagnostics_period_s},
                    works=self._joints.alive,
                ),
            )
        )
        self._told = 0


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros separation``."""
    return run([SeparationNode])
