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

"""One camera of the multi-view node: what is heard of it, where it stands, and what it is
worth.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sensor_msgs.msg import CameraInfo, PointCloud2

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.io.keypoints_cloud import CloudError, people_2d
from pose3d_ros.multiview.calibration_monitor import CameraResidual
from pose3d_ros.nodes.inputs import SILENCE_S, Input
from pose3d_ros.nodes.last_good_camera import LastGoodCamera
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.people import MAX_PEOPLE, People2D
from pose3d_ros.skeleton import H36M17, Skeleton

FOCAL_TOLERANCE = 0.05  # two calibrations of one lens differ by less
LEAST_MOMENTS, MOMENTS = 10, 30  # that lag and residual are taken over
# Stamps that advance more slowly than this beside the clock, over so long, are in another unit.
SLOWEST, CLOCK_SPAN_S = 0.005, 0.5


class CameraInput:
    """Hears a camera's ``keypoints`` and ``camera_info``, and hands on each message's people to
    ``deliver``.

    ``calibrated``: the camera of the rig file, or None: intrinsics come from camera_info then.
    ``pose``: gives ``camera_from_world`` of a frame at a stamp in ns, or raises ``ValueError``;
    None when ``calibrated`` has it. ``offset_ns`` is added to stamps, which gives the rig's time.
    ``skeleton``: joints of the people who are handed on.
    """

    def __init__(
        self,
        node: ManagedNode[Any],
        name: str,
        namespace: str,
        info_topic: str,
        calibrated: Camera | None,
        pose: Callable[[str, int], np.ndarray] | None,
        deliver: Callable[[People2D], object],
        offset_ns: int = 0,
        skeleton: Skeleton = H36M17,
    ) -> None:
        self._skeleton = skeleton
        self.node, self.name, self.calibrated = node, name, calibrated
        self._pose, self._deliver, self._offset_ns = pose, deliver, offset_ns
        self._info = LastGoodCamera()
        self._frame_id = ""
        self._size = (0, 0)
        self._resolved: tuple[object, Camera | None] = (None, None)
        self._began = self.in_time_at = time.monotonic()
        self._lags_ns: deque[int] = deque(maxlen=MOMENTS)
        self._clock_ns: deque[tuple[int, int]] = deque(maxlen=MOMENTS)  # stamps and arrivals
        self._residuals: deque[CameraResidual] = deque(maxlen=MOMENTS)
        self.newest_ns: int | None = None
        self.tells_depth = False
        self._heard = self._moments = self._contributed = 0
        self._keypoints = Input(
            node,
            f"{namespace}/keypoints",
            PointCloud2,
            self._hear,
            f"start the camera's node: pose3d up monocular lift:=false namespace:=..., so that it "
            f"publishes the 2D poses of camera {name} here",
        )
        topic = info_topic if info_topic.startswith("/") else f"{namespace}/{info_topic}"
        self._infos = Input(
            node,
            topic,
            CameraInfo,
            self._info.hear,
            "start the camera, or set rig to a file with its intrinsics",
            optional=calibrated is not None,
            constant=True,
        )

    @property
    def topic(self) -> str:
        """Name of its 2D poses' topic."""
        return str(self._keypoints.topic)

    @property
    def alive(self) -> bool:
        """Whether the camera's poses are being heard."""
        return self._keypoints.alive

    @property
    def lag_s(self) -> float | None:
        """Stamps minus a steady clock at their arrival: differences between cameras are those of
        their clocks.
        """
        return (
            float(np.median(self._lags_ns)) * 1e-9 if len(self._lags_ns) >= LEAST_MOMENTS else None
        )

    def problem(self, key: str, text: str, patience_s: float = 0.0) -> None:
        """Say what is wrong with this camera, unless it has begun only just now."""
        if time.monotonic() - self._began >= patience_s:
            self.node.problem(f"{self.name} {key}", f"camera {self.name}: {text}")

    def solved(self, *keys: str) -> None:
        """It is no more."""
        self.node.solved(*(f"{self.name} {key}" for key in keys))

    @property
    def problems(self) -> list[str]:
        """What is wrong with this camera."""
        topics = (self._keypoints.topic, self._infos.topic)
        return [
            text
            for key, text in self.node.problems.items()
            if key.startswith(f"{self.name} ") or key in topics
        ]

    def _hear(self, cloud: PointCloud2) -> None:
        self._heard += 1
        try:
            people = people_2d(cloud, self._skeleton).later(self._offset_ns)
        except CloudError as error:
            self.problem("keypoints", f"keypoints not used: {error}")
            return
        self.solved("keypoints")
        if cloud.height > MAX_PEOPLE:
            self.problem(
                "crowd",
                f"{cloud.height} people in one image: expected at most {MAX_PEOPLE}, so the most "
                f"confident are used; set max_people of the camera's node",
            )
        else:
            self.solved("crowd")
        if people.stamp_ns == self.newest_ns:
            self.problem(
                "stamp",
                "not used: expected 2D poses with their own time, got stamp "
                f"{people.stamp_ns * 1e-9:.3f} s again; the camera driver must stamp its images, "
                "and only one node may publish its keypoints",
            )
            return
        self.solved("stamp")
        self.newest_ns = people.stamp_ns
        if self._slow_clock(people.stamp_ns):
            return
        self._lags_ns.append(people.stamp_ns - time.monotonic_ns())
        self._frame_id = cloud.header.frame_id
        self._size = people.image_size if len(people) and people.image_size[0] else self._size
        self.tells_depth |= people.depth_m is not None
        self._deliver(people)

    def _slow_clock(self, stamp_ns: int) -> bool:
        """Whether stamps hardly advance, said in a line: microseconds for nanoseconds, say."""
        now_ns = time.monotonic_ns()
        if self._clock_ns and now_ns - self._clock_ns[-1][1] > SILENCE_S * 1e9:
            self._clock_ns.clear()  # a recording may have been paused
        self._clock_ns.append((stamp_ns, now_ns))
        told_ns, passed_ns = np.subtract(self._clock_ns[-1], self._clock_ns[0]).tolist()
        if passed_ns < CLOCK_SPAN_S * 1e9:
            return False
        if not 0 < told_ns < SLOWEST * passed_ns:
            self.solved("units")
            return False
        self.problem(
            "units",
            f"not used: its stamps advance by {told_ns * 1e-6:.3g} ms in {passed_ns * 1e-9:.1f} "
            f"s: expected time in seconds and nanoseconds; does the driver take micro- or "
            f"milliseconds for nanoseconds?",
        )
        return True

    def camera(self, stamp_ns: int) -> Camera | None:
        """The camera at the size of its images and where it stood at the stamp; None, said in a
        line, where that is not known.
        """
        if self.newest_ns is None:
            return None
        transform = None
        if self._pose is not None:
            try:
                transform = self._pose(
                    self._frame_id or (self.calibrated.frame_id if self.calibrated else ""),
                    stamp_ns,
                )
                self.solved("pose")
            except ValueError as error:
                self.problem("pose", f"left out: {error}", SILENCE_S)
                return None
        given = (
            self._size,
            id(self._info.camera),
            self._info.error,
            None if transform is None else transform.tobytes(),
        )
        if given != self._resolved[0] or self._resolved[1] is None:
            camera = self._intrinsics()
            if camera is not None and transform is not None:
                camera = replace(camera, camera_from_world=transform)
            self._resolved = given, camera
        return self._resolved[1]

    def _intrinsics(self) -> Camera | None:
        """From the rig file or camera_info, at the size of the images, which the keypoints
        tell.
        """
        told, topic = self._info.camera, self._infos.topic
        camera = self.calibrated or told
        if camera is None:
            trouble = (
                f"camera_info on {topic}: {self._info.error}"
                if self._info.error
                else f"no camera_info on {topic}"
            )
            self.problem(
                "intrinsics",
                f"left out: {trouble}; calibrate it, or set rig to a file with its intrinsics",
                0.0 if self._info.error else SILENCE_S,
            )
            return None
        if self._info.error and self.calibrated is None:
            self.problem(
                "camera_info",
                f"camera_info on {topic} not used, the last good one stays: {self._info.error}",
            )
        else:
            self.solved("camera_info")
        try:
            camera = camera.at_resolution(
                *(self._size if self._size[0] else told.size if told else camera.size)
            )
            self.solved("intrinsics")
        except CameraError as error:
            self.problem("intrinsics", f"left out: {error}")
            return None
        self._compare(camera, told)
        return camera

    def _compare(self, camera: Camera, told: Camera | None) -> None:
        """Say where camera_info contradicts the rig file, which is used."""
        difference = ""
        if told is not None and self.calibrated is not None:
            try:
                resized = told.at_resolution(*camera.size)
                renamed = replace(resized, frame_id=camera.frame_id)
                difference = renamed.differs_from(camera, FOCAL_TOLERANCE)
            except CameraError as error:
                difference = str(error)
        if difference:
            self.problem(
                "focal",
                f"camera_info is of another lens than the rig file, which is used: {difference}; "
                f"if the lens has zoomed or the cameras are exchanged, calibrate again",
            )
        else:
            self.solved("focal")

    def record(self, took_part: bool, contributed: bool, residual: CameraResidual | None) -> None:
        """What came of the camera's poses in one moment, if it had any."""
        self._moments += took_part
        self._contributed += contributed
        if residual is not None:
            self._residuals.append(residual)

    def report(self, period_s: float, offset_s: float | None) -> dict[str, object]:
        """Values for diagnostics since the last report; ``offset_s`` of its clock from the
        others'.
        """
        values: dict[str, object] = {"rate_hz": self._heard / period_s}
        if self.newest_ns is not None:
            values["age_ms"] = (self.node.get_clock().now().nanoseconds - self.newest_ns) * 1e-6
        if self._residuals:
            values["residual_px"] = float(np.median([residual.px for residual in self._residuals]))
        if self._moments:
            values["contribution"] = self._contributed / self._moments
        if offset_s is not None:
            values["clock_offset_ms"] = 1e3 * offset_s
        self._heard = self._moments = self._contributed = 0
        return values

    def close(self) -> None:
        """Stop listening."""
        self._keypoints.close()
        self._infos.close()
