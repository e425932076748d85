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

"""Where the camera of the monocular node is, and the floor below it, at the time of an image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.nodes.tf import TransformError, TransformLookup
from pose3d_ros.place.floor import Floor
from pose3d_ros.settings import MonocularNodeSettings

PATIENCE_S = 0.1  # for a transform that is later than its image


class CameraPlace:
    """Asks TF for ``fixed_frame`` and ``floor_frame`` at the images' stamps, but for those that
    ``static`` tells: ``camera_from_frame`` (4, 4) by name of the frame.

    Without tf2_ros, the pipeline takes ``camera_height_m`` and its companions for both: right for
    a camera that does not move. Raises ``TransformError`` where these are missing too.
    """

    def __init__(
        self, node: ManagedNode[MonocularNodeSettings], static: Mapping[str, np.ndarray]
    ) -> None:
        self._node = node
        settings = node.settings
        self._fixed_frame, self._floor_frame = settings.fixed_frame, settings.floor_frame
        self._transforms: TransformLookup | None = None
        self._static = static
        if not settings.lift:
            self._fixed_frame = self._floor_frame = ""
        if not {self._fixed_frame, self._floor_frame} - {"", *static}:
            return
        try:
            self._transforms = TransformLookup(
                node, "set camera_height_m, camera_pitch_deg and camera_roll_deg"
            )
        except TransformError:
            if not settings.camera_height_m:
                raise
            self._fixed_frame = self._floor_frame = ""
            node.get_logger().info(
                "tf2_ros is not installed: floor and fixed frame are as camera_height_m, "
                "camera_pitch_deg and camera_roll_deg say, those of a camera that does not move"
            )

    def of(self, camera: Camera, stamp_ns: int) -> tuple[Camera, Floor | None] | None:
        """The camera with its pose in the fixed frame, and the floor, None where it is not known;
        None, said in a line, when the pose is not known.
        """
        floor = None
        if self._floor_frame:
            camera_from_floor = self._ask(self._floor_frame, camera, stamp_ns, "not used")
            floor = None if camera_from_floor is None else Floor.from_pose(camera_from_floor)
        if self._fixed_frame:
            camera_from_world = self._ask(self._fixed_frame, camera, stamp_ns, "frame skipped")
            if camera_from_world is None:
                return None
            camera = replace(camera, camera_from_world=camera_from_world)
        return camera, floor

    def _ask(
        self, frame: str, camera: Camera, stamp_ns: int, consequence: str
    ) -> np.ndarray | None:
        if frame in self._static:
            return self._static[frame]
        assert self._transforms is not None
        key = f"transform {frame}"
        try:
            found = self._transforms.target_from(frame, camera.frame_id, stamp_ns, PATIENCE_S)
        except TransformError as error:
            self._node.problem(key, f"{frame}: {consequence}: {error}")
            return None
        self._node.solved(key)
        return found

    def close(self) -> None:
        """Stop listening."""
        if self._transforms is not None:
            self._transforms.close()
