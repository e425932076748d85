"""The monocular node: images of one camera in, tracked 3D people out (topics and parameters in the README)."""

from __future__ import annotations

import time
import traceback
from collections import deque
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Header

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.nodes import images
from pose3d_ros.nodes.inputs import SILENCE_S, Input, Newest
from pose3d_ros.nodes.managed import ManagedNode, in_one_line, run
from pose3d_ros.nodes.messages import camera_from_info, diagnostics
from pose3d_ros.nodes.outputs import Outputs
from pose3d_ros.nodes.statistics import Statistics
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import MonocularNodeSettings

DEPTH_TOLERANCE_NS = 20_000_000  # more is another frame at 30 Hz


def stamp_ns(header: Header) -> int:
    """Acquisition time of a message in nanoseconds."""
    return header.stamp.sec * 1_000_000_000 + header.stamp.nanosec


class MonocularNode(ManagedNode[MonocularNodeSettings]):
    """Subscribes to ``image`` and ``camera_info`` (and ``depth``), works on the newest image, publishes ``Outputs``."""

    def __init__(self, **options: Any) -> None:
        self._pipeline: MonocularPipeline | None = None
        self._outputs: Outputs | None = None
        self._inputs: list[Input] = []
        self._diagnose_timer: Any = None
        self._worker: Thread | None = None
        super().__init__("monocular", MonocularNodeSettings, **options)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", QoSProfile(depth=1))

    def configure(self) -> None:
        """Load the models; a wrong path or engine is refused here."""
        self._pipeline = MonocularPipeline(self.settings)
        self._outputs = Outputs(self)
        self.get_logger().info(f"ready: {self.settings.detector} and {self.settings.lifter} on "
                               f"{self._pipeline.engine_name}")

    def activate(self) -> None:
        """Listen and work."""
        self._images: Newest[Any] = Newest()
        self._depths: deque[Image] = deque(maxlen=5)
        self._info: CameraInfo | None = None
        self._info_heard = Event()
        self._camera: Camera | None = None  # of the last frame
        self._last_ns: int | None = None
        self._statistics = Statistics()
        compressed = self.settings.transport == "compressed"
        self._decode = images.compressed_to_bgr if compressed else images.to_bgr
        topic = self.resolve_topic_name("image") + ("/compressed" if compressed else "")
        other = "raw" if compressed else "compressed"
        self._inputs = [
            Input(self, topic, CompressedImage if compressed else Image, self._images.put,
                  f"start the camera, remap image:=TOPIC, or set transport:={other}"),
            Input(self, "camera_info", CameraInfo, self._hear_info, "remap camera_info:=TOPIC, or set assumed_fov_deg",
                  optional=self.settings.assumed_fov_deg > 0 or not self.settings.lift),
            Input(self, "depth", Image, self._depths.append, "remap depth:=TOPIC", optional=True)]
        self._diagnose_timer = self.every(self.settings.diagnostics_period_s, self._diagnose)
        self._worker = Thread(target=self._work, name="monocular", daemon=True)
        self._worker.start()

    def deactivate(self) -> None:
        """Finish the current frame, then stop."""
        if self._worker is not None:
            self._images.close()
            self._info_heard.set()
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
        if self._outputs is not None:
            self._outputs.close()
        self._pipeline = self._outputs = None

    def _hear_info(self, info: CameraInfo) -> None:
        self._info = info
        self._info_heard.set()

    def _work(self) -> None:
        while (message := self._images.take()) is not None:
            try:
                self._process(message)
                self.solved("frame", "restart")
            except Exception as error:  # noqa: BLE001 - whatever is wrong with a frame, the next one gets its chance
                if self.context.ok():
                    self.problem("frame", f"frame skipped: {in_one_line(error)}")
                    self.get_logger().debug(traceback.format_exc())

    def _process(self, message: Any) -> None:
        assert self._pipeline is not None and self._outputs is not None
        started = time.perf_counter()
        image = self._decode(message)
        converted = time.perf_counter()
        acquired_ns = stamp_ns(message.header)
        if not self._in_order(acquired_ns):
            return
        camera = self._camera_of(image, message.header.frame_id)
        if camera is None and self.settings.lift:
            return
        if self._pipeline.settings != self.settings:
            self._pipeline.reconfigure(self.settings)
        people = self._pipeline(image, camera, acquired_ns, self._depth_of(image, acquired_ns))
        found = time.perf_counter()
        self._outputs.publish(people, message.header, image, self.settings.publish_tf)
        stages = {"convert": converted - started, **self._pipeline.seconds, "publish": time.perf_counter() - found}
        self._statistics.add((self.get_clock().now().nanoseconds - acquired_ns) * 1e-9, stages)

    def _in_order(self, acquired_ns: int) -> bool:
        """Whether time advances; when it jumps back (a bag plays again), the past is forgotten."""
        assert self._pipeline is not None
        last, self._last_ns = self._last_ns, acquired_ns
        if last == acquired_ns:
            self.problem("stamp", f"frame skipped: expected every image with its own time, got stamp "
                                  f"{last * 1e-9:.3f} s again; the camera driver must stamp its images")
            return False
        self.solved("stamp")
        if last is not None and acquired_ns < last:
            self.problem("restart", f"time of the images jumps back by {(last - acquired_ns) * 1e-9:.3f} s: tracking "
                                    f"starts again")
            self._depths.clear()
            self._pipeline.reset()
        return True

    def _camera_of(self, image: np.ndarray, frame_id: str) -> Camera | None:
        """The calibrated or assumed camera at the image's size; None, said in a line, when there is none."""
        assert self._pipeline is not None
        height, width = image.shape[:2]
        if not self.settings.lift:
            return None
        if self._camera is None:
            self._info_heard.wait(SILENCE_S)  # the first image may be faster
            self._info_heard.set()
        info = self._info
        try:
            camera = None if info is None else camera_from_info(info).at_resolution(width, height)
            trouble = f"no camera_info on {self.resolve_topic_name('camera_info')}"
        except CameraError as error:
            camera, trouble = None, f"camera_info: {error}"
        if camera is None:
            fov = self.settings.assumed_fov_deg
            self.problem("camera", trouble + (f"; assuming {fov:g} degrees of view" if fov else
                                              "; no 3D without it: calibrate the camera, or set assumed_fov_deg"))
            if not fov:
                return None
            camera = Camera.from_fov(width, height, np.radians(fov))
        else:
            self.solved("camera")
        if not frame_id:
            self.problem("frame_id", "images have an empty frame_id, so nothing can be placed in space: set frame_id "
                                     "in the camera driver")
        return self._unless_changed(replace(camera, frame_id=frame_id))

    def _unless_changed(self, camera: Camera) -> Camera:
        """The last camera while it is the same; otherwise the new one, after forgetting what the last one saw."""
        assert self._pipeline is not None
        last = self._camera
        if last is not None and (last.size, last.frame_id) == (camera.size, camera.frame_id) and np.array_equal(
                last.matrix, camera.matrix) and np.array_equal(last.distortion, camera.distortion):
            return last
        if last is not None:
            self.problem("restart", f"camera changed from {last.size[0]}x{last.size[1]} in '{last.frame_id}' to "
                                    f"{camera.size[0]}x{camera.size[1]} in '{camera.frame_id}': tracking starts again")
            self._pipeline.reset()
        self._camera = camera
        return camera

    def _depth_of(self, image: np.ndarray, acquired_ns: int) -> np.ndarray | None:
        """The depth image taken with this one, if there is one."""
        def apart_ns(depth: Image) -> int:
            return abs(stamp_ns(depth.header) - acquired_ns)

        nearest = min(list(self._depths), key=apart_ns, default=None)
        if nearest is None or apart_ns(nearest) > DEPTH_TOLERANCE_NS:
            return None
        try:
            depth_m = images.to_depth_m(nearest)
            if depth_m.shape != image.shape[:2]:
                raise images.ImageError(f"expected the size of the image, {image.shape[1]}x{image.shape[0]}, got "
                                        f"{depth_m.shape[1]}x{depth_m.shape[0]}; publish depth registered to the image")
        except images.ImageError as error:
            self.problem("depth", f"depth not used: {error}")
            return None
        self.solved("depth")
        return depth_m

    def _diagnose(self) -> None:
        assert self._pipeline is not None
        values = {**self._statistics.report(self.settings.diagnostics_period_s), "dropped": self._images.dropped,
                  "engine": self._pipeline.engine_name, "detector": self.settings.detector,
                  "lifter": self.settings.lifter}
        self._diagnostics.publish(diagnostics(self.get_fully_qualified_name().lstrip("/"),
                                              self.get_clock().now().to_msg(), list(self.problems.values()), values))


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros monocular``."""
    return run([MonocularNode])
