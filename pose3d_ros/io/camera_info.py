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

"""Cameras out of CameraInfo messages, without ROS: whatever has the attributes of a
sensor_msgs/CameraInfo.
"""

from __future__ import annotations

from typing import Any

from pose3d_ros.camera import Camera


def camera_from_info(info: Any) -> Camera:
    """Camera of the image that a CameraInfo describes: of its region of interest and with its
    binning, where it has them. Raises ``CameraError`` for what no real camera is.
    """
    ros2 = hasattr(info, "k")  # ROS 1 calls them K and D
    k, d = (info.k, info.d) if ros2 else (info.K, info.D)
    roi = info.roi
    return Camera.from_camera_info(
        info.width,
        info.height,
        list(map(float, k)),
        list(map(float, d)),
        info.distortion_model,
        info.header.frame_id,
        (roi.x_offset, roi.y_offset, roi.width, roi.height),
        (info.binning_x, info.binning_y),
    )
