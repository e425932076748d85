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

"""The multi-view node: 2D poses of several cameras in, tracked 3D people in a fixed frame out."""

from __future__ import annotations

import time
import traceback
from functools import partial
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from std_msgs.msg import Header

from pose3d_ros.camera import Camera
from pose3d_ros.io.rig_file import RigFile, namespace_of, read_rig
from pose3d_ros.io.rig_time import stamp_offset_ns
from pose3d_ros.multiview import MultiViewTracker, PoseBuffer
from pose3d_ros.multiview.calibration_monitor import CalibrationMonitor, camera_residual
from pose3d_ros.nodes.camera_input import CameraInput
from pose3d_ros.nodes.diagnostics import FrameTimes, report
from pose3d_ros.nodes.managed_node import ManagedNode, in_one_line
from pose3d_ros.nodes.messages import Part, diagnostics, time_of
from pose3d_ros.nodes.outputs import Outputs
from pose3d_ros.nodes.process import run
from pose3d_ros.nodes.rig_checks import RigChecks, clock_offsets
from pose3d_ros.nodes.services import Services
from pose3d_ros.nodes.tf import TransformLookup
from pose3d_ros.people import People2D, People3D
from pose3d_ros.settings import MultiviewNodeSettings
from pose3d_ros.skeleton import PUBLISHED
from pose3d_ros.stopwatch import Stopwatch

POLL_S = 0.02  # between two looks whether waiting for a late camera is over
CHECK_S = 0.5


class MultiviewNode(ManagedNode[MultiviewNodeSettings]):
    """Hears each camera's ``keypoints``, fuses them at common times, publishes ``Outputs`` in the
    fixed frame.
    """

    def __init__(self, **options: Any) -> None:
        self._rig: RigFile | None = None
        self._transforms: TransformLookup | None = None
        self._outputs: Outputs | None = None
        self._offered: Services | None = None
        self._inputs: list[CameraInput] = []
        self._ticks: list[Any] = []
        super().__init__("multiview", MultiviewNodeSettings, **options)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=1)
        )

    def configure(self) -> None:
        """Read the rig file, or get ready to ask TF."""
        settings = self.settings
        names = settings.cameras.split()
        if bool(settings.rig) == bool(names):
            raise ValueError(
                "expected rig, a file with the cameras, or cameras, their names for poses from "
                "TF; got " + ("both" if names else "neither")
            )
        self._skeleton = PUBLISHED[settings.skeleton]
        self._rig = read_rig(settings.rig) if settings.rig else None
        self._names = list(self._rig.cameras) if self._rig else names
        self._frame_id = settings.fixed_frame or (self._rig.frame_id if self._rig else "world")
        self._transforms = (
            None
            if self._rig and self._rig.posed
            else TransformLookup(
                self,
                "the rig file says nothing of where the cameras stand; set rig to a file with "
                "position_m and orientation_xyzw of each camera ('pose3d calibrate extrinsics' "
                "writes one)",
            )
        )
        self._outputs = Outputs(self)
        self._offered = Services(self, {"reset": self._reset})
        if self._rig is not None and self._rig.posed:
            self._outputs.publish_cameras(self._rig.cameras.values(), self._frame_id)
        self.get_logger().info(
            f"ready: cameras {', '.join(self._names)} in '{self._frame_id}', "
            f"{'poses from TF' if self._transforms else 'poses from ' + settings.rig}"
        )

    def activate(self) -> None:
        """Listen and fuse."""
        count = len(self._names)
        self._buffer = PoseBuffer(count, self.settings.max_latency_s)
        self._cameras: list[Camera | None] = [None] * count
        self._tracker = MultiViewTracker(
            [None] * count, self._skeleton, self._frame_id, self.settings.max_occlusion_s
        )
        self._calibration_monitor = CalibrationMonitor(count)
        self._frame_times = FrameTimes()
        self._inputs = [self._camera_input(index, name) for index, name in enumerate(self._names)]
        self._rig_checks = RigChecks(self, self._inputs)
        self._ticks = [
            self.every(POLL_S, self._fuse),
            self.every(CHECK_S, self._check_rig),
            self.every(self.settings.diagnostics_period_s, self._diagnose),
        ]

    def _camera_input(self, index: int, name: str) -> CameraInput:
        rig, transforms = self._rig, self._transforms
        sources = rig.sources.get(name, {}) if rig else {}
        return CameraInput(
            self,
            name,
            namespace_of(name, sources),
            sources.get("camera_info", "camera_info"),
            rig.cameras[name] if rig else None,
            partial(transforms.target_from, self._frame_id) if transforms else None,
            partial(self._hear, index),
            stamp_offset_ns(rig, name) if rig else 0,
            self._skeleton,
        )

    def deactivate(self) -> None:
        """Stop."""
        for timer in self._ticks:
            self.destroy_timer(timer)
        for camera_input in self._inputs:
            camera_input.close()
        self._ticks, self._inputs = [], []

    def cleanup(self) -> None:
        """Release the topics."""
        for part in (self._offered, self._outputs, self._transforms):
            if part is not None:
                part.close()
        self._offered = self._outputs = self._transforms = None

    def _reset(self) -> str:
        self._tracker.reset()
        return "everybody is forgotten; ids go on counting"

    def _hear(self, index: int, people: People2D) -> None:
        self._buffer.add(index, people, time.monotonic_ns())
        self._fuse()

    def _fuse(self) -> None:
        """Fuse every common time that is complete, or has been waited for long enough."""
        try:
            while (taken := self._buffer.take(time.monotonic_ns())) is not None:
                self._process(*taken)
                self.solved("frame")
        # noqa: BLE001 - whatever is wrong with one moment, the next one gets its chance
        except Exception as error:
            self._tracker.reset()
            self.problem(
                "frame",
                f"2D poses of one moment skipped, tracking starts again: {in_one_line(error)}",
            )
            self.get_logger().debug(traceback.format_exc())

    def _process(self, seen: list[People2D | None], stamp_ns: int) -> None:
        assert self._outputs is not None
        self._rig_checks.heard(sum(poses is not None for poses in seen))
        stopwatch = Stopwatch()
        with stopwatch("fuse"):
            self._update_cameras(stamp_ns)
            seen = [
                None if camera is None else people
                for people, camera in zip(seen, self._cameras, strict=True)
            ]
            self._tracker.max_occlusion_s = self.settings.max_occlusion_s
            tracked = self._tracker.update(seen, stamp_ns)
            people = tracked.without_tentative()
            self._rig_checks.clocks(self._tracker.clocks.used_s.tolist())
        with stopwatch("publish"):
            self._outputs.publish(
                tracked if self.settings.publish_tentative else people,
                Header(stamp=time_of(stamp_ns), frame_id=self._frame_id),
            )
        latency_s = self.latency_s(stamp_ns)
        with stopwatch("residuals"):
            self._record_residuals(seen, people, stamp_ns)
        self._frame_times.add(latency_s, stopwatch)

    def _update_cameras(self, stamp_ns: int) -> None:
        """Give the tracker the cameras as they stood at the stamp."""
        cameras = [camera_input.camera(stamp_ns) for camera_input in self._inputs]
        for index, (camera_input, camera) in enumerate(zip(self._inputs, cameras, strict=True)):
            twin = next(
                (
                    other.name
                    for other, earlier in zip(self._inputs, cameras[:index], strict=False)
                    if camera
                    and earlier
                    and np.array_equal(camera.camera_from_world, earlier.camera_from_world)
                ),
                None,
            )
            if twin is not None:
                camera_input.problem(
                    "twin",
                    f"left out: TF has it exactly where camera {twin} is; correct its transform",
                )
                cameras[index] = None
            else:
                camera_input.solved("twin")
        if any(new is not old for new, old in zip(cameras, self._cameras, strict=True)):
            self._cameras = cameras
            self._tracker.set_cameras(cameras)

    def _record_residuals(
        self, seen: list[People2D | None], people: People3D, stamp_ns: int
    ) -> None:
        """What each camera contributed, and whether they agree."""
        matched = self._tracker.residuals_px
        residuals = [
            camera_residual(px, camera, poses, people) if camera else None
            for px, camera, poses in zip(matched, self._cameras, seen, strict=True)
        ]
        self._calibration_monitor.update(residuals, stamp_ns)
        for camera_input, poses, px, measured in zip(
            self._inputs, seen, matched, residuals, strict=True
        ):
            camera_input.record(poses is not None and len(people) > 0, px is not None, measured)
        self._rig_checks.record(seen, len(people))

    def _check_rig(self) -> None:
        self._rig_checks.check(
            self._calibration_monitor.moved, self._buffer.out_of_step(time.monotonic_ns())
        )

    def _diagnose(self) -> None:
        period_s, name = (
            self.settings.diagnostics_period_s,
            self.get_fully_qualified_name().lstrip("/"),
        )
        offsets = {
            camera_input.name: offset_s
            for camera_input, offset_s in clock_offsets(
                self._inputs, self._buffer.out_of_step(time.monotonic_ns())
            )
        }
        parts = [
            Part(
                f"{name}/{camera_input.name}",
                camera_input.topic,
                camera_input.problems,
                {
                    **camera_input.report(period_s, offsets.get(camera_input.name)),
                    "clock_correction_ms": 1e3 * float(self._tracker.clocks.used_s[index]),
                },
                works=camera_input.alive and self._cameras[index] is not None,
            )
            for index, camera_input in enumerate(self._inputs)
        ]
        of_cameras = {text for part in parts for text in part.problems}
        frames = self._frame_times.take()
        whole = Part(
            name,
            self._frame_id,
            [text for text in self.problems.values() if text not in of_cameras],
            {**report(frames, period_s), "cameras": len(offsets)},
            works=bool(frames),
        )
        self._diagnostics.publish(diagnostics(self.get_clock().now().to_msg(), whole, *parts))


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros multiview``."""
    return run([MultiviewNode])
