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
    installed, with ``remedy``.
    """

    def __init__(self, node: Any, remedy: str) -> None:
        try:
            from tf2_ros import Buffer, TransformListener
        except ImportError:
            raise TransformError(
                f"asking TF needs tf2_ros, which comes with a ROS distribution: {remedy}"
            ) from None
        self._buffer = Buffer()
        self._listener = TransformListener(self._buffer, node)

    def target_from(
        self, source_frame: str, target_frame: str, stamp_ns: int, patience_s: float = 0.0
    ) -> np.ndarray:
        """(4, 4) transform of points of one frame into another, at the stamp.

        Transforms often arrive later than images: it is waited for ``patience_s``, which must not
        be done in the thread that hears them. Raises ``TransformError``.
        """
        from rclpy.clock import ClockType
        from rclpy.duration import Duration
        from rclpy.time import Time
        from tf2_ros import TransformException

        when = Time(nanoseconds=stamp_ns, clock_type=ClockType.ROS_TIME)
        try:
            return matrix_of(
                self._buffer.lookup_transform(
                    target_frame, source_frame, when, Duration(seconds=patience_s)
                ).transform
            )
        except (TransformException, ValueError) as error:
            raise TransformError(
                f"expected a transform from '{source_frame}' to '{target_frame}' at "
                f"{stamp_ns * 1e-9:.3f} s on /tf or /tf_static ({one_line(error)}); publish it, "
                "for instance with tf2_ros' static_transform_publisher, with the clock of the "
                "images"
            ) from None

    def close(self) -> None:
        """Stop listening."""
        self._listener.unregister()
