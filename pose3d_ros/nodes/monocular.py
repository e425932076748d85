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

"""The monocular node: images of one camera in, tracked 3D people out (topics and parameters in the
README).
"""

from __future__ import annotations

import time
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose3d_ros.camera import Camera
from pose3d_ros.io import image_encodings
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.lifting import LATENCY_FRAMES
from pose3d_ros.nodes import image_messages
from pose3d_ros.nodes.camera_place import CameraPlace
from pose3d_ros.nodes.depth_pairing import DepthPairing
from pose3d_ros.nodes.diagnostics import FrameTimes, report
from pose3d_ros.nodes.empty_images import EmptyImages
from pose3d_ros.nodes.image_camera import ImageCamera
from pose3d_ros.nodes.inputs import Input, Newest
from pose3d_ros.nodes.managed_node import ManagedNode, in_one_line
from pose3d_ros.nodes.messages import Part, diagnostics, stamp_ns
from pose3d_ros.nodes.outputs import ImageOutputs
from pose3d_ros.nodes.process import run
from pose3d_ros.nodes.services import Services
from pose3d_ros.people import People3D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.settings import MonocularNodeSettings
from pose3d_ros.stamps import JUMP_BACK_S, Order, RateLimit, StampOrder
from pose3d_ros.stopwatch import Stopwatch


class Arrival(NamedTuple):
    """An image message, when it came (``time.perf_counter``), and what its time went into until
    then.
    """

    message: Any
    came_s: float
    stopwatch: Stopwatch


class MonocularNode(ManagedNode[MonocularNodeSettings]):
    """Hears ``image`` and ``camera_info`` (and ``depth``), works on the newest image, publishes
    ``ImageOutputs``.
    """

    def __init__(self, **options: Any) -> None:
        self._pipeline: MonocularPipeline | None = None
        self._outputs: ImageOutputs | None = None
        self._place: CameraPlace | None = None
        self._offered: Services | None = None
        self._inputs: list[Input] = []
        self._diagnose_timer: Any = None
        self._worker: Thread | None = None
        super().__init__("monocular", MonocularNodeSettings, **options)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=1)
        )

    def configure(self) -> None:
        """Load the models; a wrong path or engine is refused here."""
        self._of_rig, static = _camera_of_rig(self.settings.rig, self.settings.rig_camera)
        self._pipeline = MonocularPipeline(self.settings)
        self._outputs = ImageOutputs(self, self.settings.fixed_frame)
        self._place = CameraPlace(self, static)
        self._offered = Services(self, {"reset": self._reset, "snapshot": self._snapshot})
        pipeline = self._pipeline
        networks = " and ".join(filter(None, (pipeline.detector_name, pipeline.lifter_name)))
        self.get_logger().info(f"ready: {networks} on {pipeline.engine_name}")

    def activate(self) -> None:
        """Listen and work."""
        settings = self.settings
        self._begin_anew()  # time may start anew
        self._images: Newest[Arrival] = Newest()
        self._depths = DepthPairing(self)
        self._camera = ImageCamera(
            self,
            self.resolve_topic_name("camera_info"),
            settings.assumed_fov_deg,
            self._begin_anew,
            self._of_rig,
        )
        self._order = StampOrder()
        self._rate_limit = RateLimit()
        self._reset_asked = False
        self._late = 0
        self._empty_images = EmptyImages(self)
        self._frame_times = FrameTimes()
        compressed = settings.transport == "compressed"
        decode = image_encodings.compressed_to_bgr if compressed else image_messages.to_bgr
        self._decode = partial(decode, depth=image_encodings.BitDepth())
        image = self.resolve_topic_name("image")
        self._images_topic = f"{image}/compressed" if compressed else image
        other = "raw" if compressed else "compressed"
        self._inputs = [
            Input(
                self,
                self._images_topic,
                CompressedImage if compressed else Image,
                self._hear_image,
                f"start the camera, remap image:=TOPIC, or set transport:={other}",
                busy=lambda: self._images.busy,
            ),
            Input(
                self,
                "camera_info",
                CameraInfo,
                self._camera.hear,
                "remap camera_info:=TOPIC, or set assumed_fov_deg",
                optional=settings.assumed_fov_deg > 0 or bool(self._of_rig) or not settings.lift,
                constant=True,
            ),
            Input(self, "depth", Image, self._depths.hear, "remap depth:=TOPIC", optional=True),
        ]
        self._depth_input = self._inputs[-1]
        self._diagnose_timer = self.every(settings.diagnostics_period_s, self._diagnose)
        self._worker = Thread(target=self._work, name="monocular", daemon=True)
        self._worker.start()

    def deactivate(self) -> None:
        """Finish the current frame, then stop."""
        if self._worker is not None:
            self._images.close()
            self._camera.stop_waiting()
            self._worker.join()
            self._worker = None
            self.destroy_timer(self._diagnose_timer)
        for input_ in self._inputs:
            input_.close()
        self._inputs = []

    def cleanup(self) -> None:
        """Release models and topics."""
        if self._pipeline is not None:
            self._pipeline.close()
        for part in (self._offered, self._outputs, self._place):
            if part is not None:
                part.close()
        self._pipeline = self._offered = self._outputs = self._place = None

    def _begin_anew(self) -> None:
        assert self._pipeline is not None
        self._pipeline.reset()

    def _reset(self) -> str:
        self._reset_asked = True  # the worker may be at work on a frame
        return "everybody is forgotten; ids go on counting"

    def _snapshot(self) -> str:
        assert self._outputs is not None
        return f"wrote {self._outputs.write_overlay(Path.cwd())}"

    def _hear_image(self, message: Any) -> None:
        came_s, stopwatch = time.perf_counter(), Stopwatch()
        if (age_s := self.age_s(stamp_ns(message.header))) is not None:
            stopwatch.add("network", came_s - age_s, came_s, "on its way")
        self._images.put(Arrival(message, came_s, stopwatch))

    def _work(self) -> None:
        while (arrival := self._images.take()) is not None:
            try:
                self._process(*arrival)
                self.solved("frame", "restart")
            # noqa: BLE001 - whatever is wrong with a frame, the next one gets its chance
            except Exception as error:
                if self.context.ok():
                    self.problem(
                        "frame", f"frame skipped, on {self._images_topic}: {in_one_line(error)}"
                    )
                    self.get_logger().debug(traceback.format_exc())

    def _process(self, message: Any, came_s: float, stopwatch: Stopwatch) -> None:
        assert self._pipeline is not None and self._outputs is not None
        assert self._place is not None
        stopwatch.add("wait", came_s, time.perf_counter(), "in line")
        acquired_ns = stamp_ns(message.header)
        if not self._in_order(acquired_ns):
            return
        if not self._rate_limit(acquired_ns, self.settings.max_fps):
            return
        if self._reset_asked:
            self._reset_asked = False
            self._begin_anew()
        with stopwatch("decode"):
            image = self._decode(message)
        height, width = image.shape[:2]
        lift = self.settings.lift
        camera = self._camera.of(width, height, message.header.frame_id) if lift else None
        if camera is None and lift:
            return
        floor = None
        if camera is not None:
            placed = self._place.of(camera, acquired_ns)
            if placed is None:
                return
            camera, floor = placed
        if self._pipeline.settings != self.settings:
            self._pipeline.reconfigure(self.settings)
        people = self._people(image, camera, floor, acquired_ns, stopwatch)
        if not self.settings.publish_tentative:
            people = people.without_tentative()
        found = people.people_2d is not None and len(people.people_2d) > 0
        self._empty_images.update(image, found)
        with stopwatch("publish"):
            self._outputs.publish_with_image(people, message.header, image)
        self._frame_times.add(self.latency_s(acquired_ns), stopwatch)

    def _people(
        self,
        image: npt.NDArray[np.uint8],
        camera: Camera | None,
        floor: Floor | None,
        acquired_ns: int,
        stopwatch: Stopwatch,
    ) -> People3D:
        """The people of an image; with ``lift`` off nobody in space, and who is seen in 2D."""
        assert self._pipeline is not None
        size = image.shape[1], image.shape[0]

        def depth() -> npt.NDArray[np.float32] | None:
            return self._depth_of(size, acquired_ns, stopwatch)

        if camera is not None:
            return self._pipeline(image, camera, acquired_ns, depth, stopwatch, floor)
        seen = self._pipeline.detect(image, acquired_ns, depth, stopwatch)
        return replace(People3D.empty(seen.skeleton, acquired_ns, ""), people_2d=seen)

    def _in_order(self, acquired_ns: int) -> bool:
        """Whether time advances. A late frame is dropped; where time jumps back (a bag plays
        again), the past is forgotten.
        """
        newest_ns = self._order.newest_ns
        order = self._order(acquired_ns)
        if order is Order.ADVANCES:
            self.solved("stamp")
            return True
        assert newest_ns is not None
        if order is Order.LATE:
            self._late += 1
            if acquired_ns == newest_ns:
                self.problem(
                    "stamp",
                    f"frame skipped: expected every image with its own time, got stamp "
                    f"{acquired_ns * 1e-9:.3f} s again; the camera driver must stamp its images, "
                    f"and only one node may publish {self._images_topic}",
                )
            return False
        self.problem(
            "restart",
            f"time of the images jumps back by {(newest_ns - acquired_ns) * 1e-9:.3f} s (more "
            f"than {JUMP_BACK_S:g} s): tracking starts again",
        )
        self._depths.clear()
        self._begin_anew()
        return True

    def _depth_of(
        self, size: tuple[int, int], acquired_ns: int, stopwatch: Stopwatch
    ) -> npt.NDArray[np.float32] | None:
        if not self._depth_input.alive:
            self._depths.not_heard()
            return None
        with stopwatch("depth"):
            return self._depths.of(size, acquired_ns)

    def _diagnose(self) -> None:
        assert self._pipeline is not None
        frames = self._frame_times.take()
        self._empty_images.check()
        values = {
            **report(frames, self.settings.diagnostics_period_s),
            "dropped": self._images.dropped,
            "late": self._late,
            "engine": self._pipeline.engine_name,
            "detector": self._pipeline.detector_name,
            "lifter": self._pipeline.lifter_name,
            "lifter_latency_frames": LATENCY_FRAMES,
        }
        self._diagnostics.publish(
            diagnostics(
                self.get_clock().now().to_msg(),
                Part(
                    self.get_fully_qualified_name().lstrip("/"),
                    self._images_topic,
                    list(self.problems.values()),
                    values,
                    works=bool(frames),
                ),
            )
        )


def _camera_of_rig(
    path: str, name: str
) -> tuple[Camera | None, dict[str, npt.NDArray[np.float64]]]:
    """Intrinsics of a rig file's camera, and its ``camera_from_world`` by the name of the world;
    none where no file is given. Raises ``ValueError``.
    """
    if not path:
        return None, {}
    rig = read_rig(path)
    if name not in rig.cameras:
        raise ValueError(
            f"rig_camera: expected one of {', '.join(rig.cameras)}, as in {path}, got '{name}'"
        )
    camera = rig.cameras[name]
    static = {rig.frame_id: camera.camera_from_world} if rig.posed else {}
    return replace(camera, camera_from_world=np.eye(4)), static


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros monocular``."""
    return run([MonocularNode])
