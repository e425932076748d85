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

"""The camera that camera_info messages tell, as long as they tell one."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.io.camera_info import camera_from_info


class LastGoodCamera:
    """``camera``: of the last camera_info that a real camera can have, or None. ``error``: what is
    wrong with the newest one, or empty.
    """

    def __init__(self) -> None:
        self.camera: Camera | None = None
        self.error = ""
        self._key: tuple[object, ...] | None = None

    def hear(self, info: CameraInfo) -> None:
        """Take a message; one that says the same as the last costs nothing."""
        roi = info.roi
        key = (
            *(info.width, info.height, info.distortion_model, info.header.frame_id),
            *(info.k.tobytes(), info.d.tobytes(), info.binning_x, info.binning_y),
            *(roi.x_offset, roi.y_offset, roi.width, roi.height),
        )
        if key == self._key:
            return
        self._key = key
        try:
            self.camera, self.error = camera_from_info(info), ""
        except CameraError as error:
            self.error = str(error)
