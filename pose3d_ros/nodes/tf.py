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

"""Where cameras stand, as TF tells."""

from __future__ import annotations

from typing import Any

import numpy as np

from pose3d_ros.errors import Pose3dError, one_line
from pose3d_ros.geometry import rigid, rotation_from_quaternion


class TransformError(Pose3dError, ValueError):
    """TF does not tell."""


def matrix_of(transform: Any) -> np.ndarray:
    """(4, 4) of a geometry_msgs/Transform."""
    t, q = transform.translation, transform.rotation
    return rigid(rotation_from_quaternion([q.x, q.y, q.z, q.w]), [t.x, t.y, t.z])


class TransformLookup:
    """Listens to /tf and /tf_static for a node. Raises ``TransformError`` where tf2_ros is not
    installed.
    """

    def __init__(self, node: Any) -> None:
        try:
            from tf2_ros import Buffer, TransformListener
        except ImportError:
            raise TransformError(
                "the rig file says nothing of where the cameras stand, and asking TF needs "
                "tf2_ros, which comes with a ROS distribution: set rig to a file with position_m "
                "and orientation_xyzw of each camera ('pose3d calibrate extrinsics' writes one)"
            ) from None
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)

    def camera_from(self, fixed_frame: str, camera_frame: str) -> np.ndarray:
        """(4, 4) newest transform of points of the fixed frame into the camera's. Raises
        ``TransformError``.
        """
        from rclpy.time import Time
        from tf2_ros import TransformException

        try:
            return matrix_of(
                self._buffer.lookup_transform(camera_frame, fixed_frame, Time()).transform
            )
        except TransformException as error:
            raise TransformError(
                f"expected a transform from '{fixed_frame}' to '{camera_frame}' on /tf or "
                f"/tf_static ({one_line(error)}); publish it, for instance with tf2_ros' "
                "static_transform_publisher"
            ) from None

    def close(self) -> None:
        """Stop listening."""
        self._listener.unregister()
