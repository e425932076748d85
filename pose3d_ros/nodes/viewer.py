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

"""The viewer node: listens to ``joints`` and shows people in a web browser."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import Any

from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from pose3d_ros.browser_view import BrowserView
from pose3d_ros.io.joints_cloud import people_3d
from pose3d_ros.io.rig_file import namespace_of, read_rig
from pose3d_ros.nodes import image_messages
from pose3d_ros.nodes.inputs import START_POSES, Input
from pose3d_ros.nodes.last_good_camera import LastGoodCamera
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.nodes.process import run
from pose3d_ros.settings import ViewerNodeSettings

LOOK_S = 0.5  # between two looks whether a browser has the page open
PICTURE_PERIOD_S = 0.2


class ViewerNode(ManagedNode[ViewerNodeSettings]):
    """Hears ``joints``, ``camera_info`` and each camera's ``overlay``, and only while a browser
    has the page open: until then nobody has to make them.
    """

    def __init__(self, **options: Any) -> None:
        self._view: BrowserView | None = None
        self._timer: Any = None
        self._inputs: list[Input] = []
        super().__init__("viewer", ViewerNodeSettings, **options)

    def configure(self) -> None:
        """Read the rig file, if there is one, and open the page."""
        settings = self.settings
        self._rig = read_rig(settings.rig) if settings.rig else None
        self._view = BrowserView(
            settings.viewer_address, settings.viewer_port, optical=self._rig is None
        )
        self.get_logger().info(f"ready: open {self._view.url} in a browser")

    def activate(self) -> None:
        """Listen while somebody looks."""
        self._camera = LastGoodCamera()
        self._optical_frames: set[str] = set()
        self._pictured_s: dict[str, float] = {}
        self._timer = self.every(LOOK_S, self._look)

    def deactivate(self) -> None:
        """Stop listening."""
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None
        self._stop_listening()

    def cleanup(self) -> None:
        """Close the page."""
        if self._view is not None:
            self._view.close()
            self._view = None

    def _look(self) -> None:
        assert self._view is not None
        if self._view.watched and not self._inputs:
            self._listen()
        elif not self._view.watched and self._inputs:
            self._stop_listening()

    def _listen(self) -> None:
        assert self._view is not None
        self._inputs = [Input(self, "joints", PointCloud2, self._hear_joints, START_POSES)]
        if self._rig is None:
            self._inputs += [
                Input(self, "camera_info", CameraInfo, self._hear_camera_info, optional=True),
                self._overlay("overlay", "camera"),
            ]
            return
        for name, camera in self._rig.cameras.items():
            namespace = namespace_of(name, self._rig.sources.get(name, {}))
            self._inputs.append(self._overlay(f"{namespace}/overlay", name))
            if self._rig.posed:
                self._view.show_camera(name, camera)

    def _overlay(self, topic: str, camera: str) -> Input:
        return Input(self, topic, Image, partial(self._hear_overlay, camera), optional=True)

    def _stop_listening(self) -> None:
        for input_ in self._inputs:
            input_.close()
        self._inputs = []

    def _hear_joints(self, cloud: PointCloud2) -> None:
        assert self._view is not None
        optical = cloud.header.frame_id in self._optical_frames
        if optical != self._view.optical:
            self._view.set_optical(optical)
        self._view.show(people_3d(cloud))

    def _hear_camera_info(self, info: CameraInfo) -> None:
        self._optical_frames.add(info.header.frame_id)
        self._camera.hear(info)

    def _hear_overlay(self, name: str, image: Image) -> None:
        """Show the picture at its camera, unless people are in another frame and nobody tells
        where the camera is in it.
        """
        assert self._view is not None
        self._optical_frames.add(image.header.frame_id)
        if self._rig is not None:
            camera = self._rig.cameras[name] if self._rig.posed else None
        else:
            camera = self._camera.camera if self._view.optical else None
        now = time.monotonic()
        if camera is None or now - self._pictured_s.get(name, -math.inf) < PICTURE_PERIOD_S:
            return
        self._pictured_s[name] = now
        self._view.show_camera(name, camera, image_messages.to_bgr(image))


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros viewer``."""
    return run([ViewerNode])
