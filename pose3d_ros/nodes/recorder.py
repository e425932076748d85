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

"""The recorder node: writes the people of ``joints`` to a file for analysis."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from sensor_msgs.msg import CameraInfo, PointCloud2

from pose3d_ros.io.errors import PoseFileError
from pose3d_ros.io.joints_cloud import people_3d
from pose3d_ros.io.pose_files import PoseWriter, files_of, pose_writer
from pose3d_ros.nodes.inputs import START_POSES, Input
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.nodes.process import run
from pose3d_ros.settings import RecorderNodeSettings
from pose3d_ros.skeleton import Skeleton


class RecorderNode(ManagedNode[RecorderNodeSettings]):
    """Hears ``joints`` and writes them; ``camera_info`` tells whether they are in a camera's
    optical frame. The file has the joints of the first message, and is finished when the node is
    cleaned up or ends.
    """

    def __init__(self, **options: Any) -> None:
        self._writer: PoseWriter | None = None
        self._inputs: list[Input] = []
        super().__init__("recorder", RecorderNodeSettings, **options)

    def configure(self) -> None:
        """Open the file, which must not be there yet."""
        path = Path(self.settings.output).expanduser()
        if not self.settings.output:
            raise PoseFileError("output: expected a file to write (output:=people.csv), got none")
        if there := files_of(path):
            raise PoseFileError(
                f"output: expected a file that is not there yet, got {there[0]}; move it, or give "
                f"another name"
            )
        self._writer = pose_writer(path)
        self._frames = 0
        self._frame_id: str | None = None
        self._skeleton: Skeleton | None = None
        self._last_ns: int | None = None
        self._optical_frames: set[str] = set()
        self.get_logger().info(f"ready: people go to {path}")

    def activate(self) -> None:
        """Listen."""
        self._inputs = [
            Input(self, "joints", PointCloud2, self._hear_joints, START_POSES),
            Input(self, "camera_info", CameraInfo, self._hear_camera_info, optional=True),
        ]

    def deactivate(self) -> None:
        """Stop listening; the file goes on when the node is activated again."""
        for input_ in self._inputs:
            input_.close()
        self._inputs = []

    def cleanup(self) -> None:
        """Finish the file."""
        writer, self._writer = self._writer, None
        if writer is None:
            return
        for line in writer.close(optical=self._frame_id in self._optical_frames):
            self._say(line)
        self._say(f"{self._frames} frames recorded")

    def _say(self, line: str) -> None:
        if self.context.ok():
            self.get_logger().info(line)
        else:  # Ctrl-C has ended ROS and its log
            sys.stderr.write(f"recorder: {line}\n")

    def _hear_joints(self, cloud: PointCloud2) -> None:
        assert self._writer is not None
        people = people_3d(cloud, self._skeleton)
        self._skeleton = people.skeleton
        self._frame_id = self._frame_id or people.frame_id
        if people.frame_id != self._frame_id:
            self.problem(
                "frame",
                f"expected joints in {self._frame_id}, as the first ones, got {people.frame_id}; "
                f"they are left out: record them to another file",
            )
        elif self._last_ns is not None and people.stamp_ns <= self._last_ns:
            self.problem(
                "stamps",
                "joints whose stamps do not follow the last ones are left out: did a recording "
                "begin again, or do two nodes publish?",
            )
        else:
            self.solved("frame", "stamps")
            self._last_ns = people.stamp_ns
            self._frames += 1
            self._writer.write(people)

    def _hear_camera_info(self, info: CameraInfo) -> None:
        self._optical_frames.add(info.header.frame_id)


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros recorder``."""
    return run([RecorderNode])
