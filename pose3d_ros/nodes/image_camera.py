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

"""The camera of the monocular node's images: from camera_info, or as assumed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from threading import Event
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.nodes.last_good_camera import LastGoodCamera
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.text_files import shortened

FIRST_INFO_S = 2.0  # the first image may be faster than its camera_info
CHANGE_TOLERANCE = 0.05  # autofocus and stabilisation stay below; zoom does not


class ImageCamera:
    """Hears ``camera_info`` and tells the camera of each image.

    One that is ``known`` otherwise needs no camera_info. A camera_info that no real camera has is
    said and not used: the last good one stays.
    ``changed`` is called when the camera is another than the one before, beyond
    ``CHANGE_TOLERANCE``: what was tracked with it says nothing any more.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        topic: str,
        fov_deg: float,
        changed: Callable[[], None],
        known: Camera | None = None,
    ) -> None:
        self._node, self._topic, self._fov_deg, self._changed = node, topic, fov_deg, changed
        self._known = known
        self._arrived = Event()
        self._info = LastGoodCamera()
        self._reference: Camera | None = None

    def hear(self, info: CameraInfo) -> None:
        """Take a camera_info message, if it can be one."""
        self._info.hear(info)
        if self._info.error and self._info.camera is not None:
            self._node.problem(
                "camera_info",
                f"camera_info on {self._topic} not used, the last good one stays: "
                f"{self._info.error}",
            )
        else:
            self._node.solved("camera_info")
        self._arrived.set()

    def stop_waiting(self) -> None:
        """Let the image go on that waits for a first camera_info."""
        self._arrived.set()

    def of(self, width: int, height: int, frame_id: str) -> Camera | None:
        """The calibrated or assumed camera of an image; None, said in a line, when there is
        none.
        """
        if self._reference is None and self._known is None:
            self._arrived.wait(FIRST_INFO_S)
            self._arrived.set()
        camera = self._calibrated(width, height)
        if camera is None:
            if not self._fov_deg:
                return None
            camera = Camera.from_fov(width, height, np.radians(self._fov_deg))
        if not frame_id:
            self._node.problem(
                "frame_id",
                "images have an empty frame_id, so nothing can be placed in space: set frame_id "
                "in the camera driver",
            )
        else:
            self._node.solved("frame_id")
        camera = replace(camera, frame_id=frame_id)
        reference = self._reference
        difference = camera.differs_from(reference, CHANGE_TOLERANCE) if reference else "the first"
        if difference:
            self._reference = camera
        if difference and reference is not None:
            self._node.problem("restart", f"camera changed, {difference}: tracking starts again")
            self._changed()
        return camera

    def _calibrated(self, width: int, height: int) -> Camera | None:
        told, node = self._known or self._info.camera, self._node
        source = "the rig file" if self._known else f"camera_info on {self._topic}"
        trouble = f"{source}: {self._info.error}" if self._info.error else f"no {source}"
        if told is not None:
            try:
                camera = told.at_resolution(width, height)
                node.solved("camera")
                if told.size == (width, height):
                    node.solved("camera size")
                else:
                    node.problem(
                        "camera size",
                        f"{'rig file' if self._known else 'camera_info'} is of "
                        f"{told.size[0]}x{told.size[1]}, the images are {width}x{height}: taken "
                        f"as resized; if they are cropped, publish their CameraInfo",
                    )
                return camera
            except CameraError as error:
                trouble = f"{source}: {error}"
        node.solved("camera size")
        node.problem(
            "camera",
            f"{shortened(trouble, 300)}; "
            + (
                f"assuming {self._fov_deg:g} degrees of view"
                if self._fov_deg
                else "no 3D without it: calibrate the camera, or set assumed_fov_deg"
            ),
        )
        return None
