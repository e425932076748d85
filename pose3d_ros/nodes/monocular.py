"""The monocular node: images of one camera in, tracked 3D people out (topics and parameters in the
README).
"""

from __future__ import annotations

import time
import traceback
from collections import deque
from dataclasses import replace
from functools import partial
from threading import Condition, Event, Thread
from typing import Any, NamedTuple

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.io import image_encodings
from pose3d_ros.io.camera_info import camera_from_info
from pose3d_ros.lifting import LATENCY_FRAMES
from pose3d_ros.nodes import image_messages
from pose3d_ros.nodes.diagnostics import FrameTimes, report
from pose3d_ros.nodes.inputs import SILENCE_S, Input, Newest
from pose3d_ros.nodes.managed_node import ManagedNode, in_one_line
from pose3d_ros.nodes.messages import diagnostics, stamp_ns
from pose3d_ros.nodes.outputs import ImageOutputs
from pose3d_ros.nodes.process import run
from pose3d_ros.people import People3D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import MonocularNodeSettings
from pose3d_ros.stamps import Order, StampOrder
from pose3d_ros.stopwatch import Stopwatch

DEPTH_TOLERANCE_NS = 20_000_000  # more is another frame at 30 Hz
DEPTH_WAIT_S = 0.02  # beyond the time that detection takes
FOCAL_TOLERANCE = 0.05  # autofocus and stabilisation stay below; zoom does not


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
        self._inputs: list[Input] = []
        self._diagnose_timer: Any = None
        self._worker: Thread | None = None
        super().__init__("monocular", MonocularNodeSettings, **options)
        self._diagnostics = self.create_publisher(
            DiagnosticArray, "/diagnostics", QoSProfile(depth=1)
        )

    def configure(self) -> None:
        """Load the models; a wrong path or engine is refused here."""
        self._pipeline = MonocularPipeline(self.settings)
        self._outputs = ImageOutputs(self)
        self.get_logger().info(
            f"ready: {self._pipeline.detector_name} and {self._pipeline.lifter_name} on "
            f"{self._pipeline.engine_name}"
        )

    def activate(self) -> None:
        """Listen and work."""
        assert self._pipeline is not None
        self._pipeline.reset()  # time may start anew
        self._images: Newest[Arrival] = Newest()
        self._depths: deque[Image] = deque(
            maxlen=15
        )  # half a second at 30 Hz: a slow detector's image is that old
        self._depth_came = Condition()
        self._paired_at = time.monotonic()  # when depth had its image last, or was not heard
        self._info: CameraInfo | None = None
        self._info_heard = Event()
        self._camera: Camera | None = None  # of the last frame
        self._order = StampOrder()
        self._late = 0
        self._frame_times = FrameTimes()
        compressed = self.settings.transport == "compressed"
        decode = image_encodings.compressed_to_bgr if compressed else image_messages.to_bgr
        self._decode = partial(decode, depth=image_encodings.BitDepth())
        self._dark_since: float | None = None
        topic = self.resolve_topic_name("image") + ("/compressed" if compressed else "")
        other = "raw" if compressed else "compressed"
        self._inputs = [
            Input(
                self,
                topic,
                CompressedImage if compressed else Image,
                self._hear_image,
                f"start the camera, remap image:=TOPIC, or set transport:={other}",
            ),
            Input(
                self,
                "camera_info",
                CameraInfo,
                self._hear_info,
                "remap camera_info:=TOPIC, or set assumed_fov_deg",
                optional=self.settings.assumed_fov_deg > 0 or not self.settings.lift,
                constant=True,
            ),
            Input(self, "depth", Image, self._hear_depth, "remap depth:=TOPIC", optional=True),
        ]
        self._depth_input = self._inputs[-1]
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

    def _hear_image(self, message: Any) -> None:
        came_s, stopwatch = time.perf_counter(), Stopwatch()
        if (age_s := self.age_s(stamp_ns(message.header))) is not None:
            stopwatch.add("network", came_s - age_s, came_s, "on its way")
        self._images.put(Arrival(message, came_s, stopwatch))

    def _hear_info(self, info: CameraInfo) -> None:
        self._info = info
        self._info_heard.set()

    def _hear_depth(self, depth: Image) -> None:
        with self._depth_came:
            self._depths.append(depth)
            self._depth_came.notify()

    def _work(self) -> None:
        while (arrival := self._images.take()) is not None:
            try:
                self._process(*arrival)
                self.solved("frame", "restart")
            # noqa: BLE001 - whatever is wrong with a frame, the next one gets its chance
            except Exception as error:
                if self.context.ok():
                    self.problem("frame", f"frame skipped: {in_one_line(error)}")
                    self.get_logger().debug(traceback.format_exc())

    def _process(self, message: Any, came_s: float, stopwatch: Stopwatch) -> None:
        assert self._pipeline is not None and self._outputs is not None
        stopwatch.add("wait", came_s, time.perf_counter(), "in line")
        with stopwatch("decode"):
            image = self._decode(message)
        acquired_ns = stamp_ns(message.header)
        if not self._in_order(acquired_ns):
            return
        camera = self._camera_of(image, message.header.frame_id)
        if camera is None and self.settings.lift:
            return
        if self._pipeline.settings != self.settings:
            self._pipeline.reconfigure(self.settings)
        people = self._people(image, camera, acquired_ns, stopwatch)
        self._check_brightness(image, people)
        with stopwatch("publish"):
            self._outputs.publish_with_image(
                people, message.header, self.settings.publish_tf, image
            )
        self._frame_times.add(self.latency_s(acquired_ns), stopwatch)

    def _people(
        self, image: np.ndarray, camera: Camera | None, acquired_ns: int, stopwatch: Stopwatch
    ) -> People3D:
        """The people of an image; with ``lift`` off nobody in space, and who is seen in 2D."""
        assert self._pipeline is not None

        def depth() -> np.ndarray | None:
            return self._depth_of(image, acquired_ns, stopwatch)

        if camera is not None:
            return self._pipeline(image, camera, acquired_ns, depth, stopwatch)
        seen = self._pipeline.detect(image, acquired_ns, depth, stopwatch)
        return replace(People3D.empty(seen.skeleton, acquired_ns, ""), people_2d=seen)

    def _in_order(self, acquired_ns: int) -> bool:
        """Whether time goes on: late frames are dropped; when time jumps back (a bag plays again),
        the past is forgotten.
        """
        assert self._pipeline is not None
        newest_ns = self._order.newest_ns
        order = self._order(acquired_ns)
        if newest_ns == acquired_ns:
            self.problem(
                "stamp",
                f"frame skipped: expected every image with its own time, got stamp "
                f"{acquired_ns * 1e-9:.3f} s again; the camera driver must stamp its images",
            )
            return False
        self.solved("stamp")
        if order is Order.LATE:
            self._late += 1
            return False
        if order is Order.JUMPED_BACK and newest_ns is not None:
            self.problem(
                "restart",
                f"time of the images jumps back by {(newest_ns - acquired_ns) * 1e-9:.3f} s: "
                f"tracking starts again",
            )
            self._depths.clear()
            self._pipeline.reset()
        return True

    def _camera_of(self, image: np.ndarray, frame_id: str) -> Camera | None:
        """The calibrated or assumed camera at the image's size; None, said in a line, when there
        is none.
        """
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
            self.solved("camera size")
            self.problem(
                "camera",
                trouble
                + (
                    f"; assuming {fov:g} degrees of view"
                    if fov
                    else "; no 3D without it: calibrate the camera, or set assumed_fov_deg"
                ),
            )
            if not fov:
                return None
            camera = Camera.from_fov(width, height, np.radians(fov))
        else:
            assert info is not None
            self.solved("camera")
            self._check_size(info, width, height)
        if not frame_id:
            self.problem(
                "frame_id",
                "images have an empty frame_id, so nothing can be placed in space: set frame_id "
                "in the camera driver",
            )
        else:
            self.solved("frame_id")
        return self._follow(replace(camera, frame_id=frame_id))

    def _check_size(self, info: CameraInfo, width: int, height: int) -> None:
        """Say when the calibration is of another size than the image, unless binning explains
        it.
        """
        calibrated = info.roi.width or info.width, info.roi.height or info.height
        binned = calibrated[0] // max(info.binning_x, 1), calibrated[1] // max(info.binning_y, 1)
        if (width, height) in (calibrated, binned):
            self.solved("camera size")
        else:
            self.problem(
                "camera size",
                f"camera_info is of {calibrated[0]}x{calibrated[1]}, the images are {width}x"
                f"{height}: taken as resized; if they are cropped, publish their CameraInfo",
            )

    def _follow(self, camera: Camera) -> Camera:
        """The camera, after forgetting what the last one saw if it is another."""
        assert self._pipeline is not None
        last, self._camera = self._camera, camera

        def say(camera: Camera) -> str:
            return (
                f"{camera.size[0]}x{camera.size[1]} of focal length {camera.matrix[0, 0]:.4g} "
                f"in '{camera.frame_id}'"
            )

        if last is not None and (
            (last.size, last.frame_id) != (camera.size, camera.frame_id)
            or abs(camera.matrix[0, 0] / last.matrix[0, 0] - 1) > FOCAL_TOLERANCE
        ):
            self.problem(
                "restart",
                f"camera changed from {say(last)} to {say(camera)}: tracking starts again",
            )
            self._pipeline.reset()
        return camera

    def _depth_of(
        self, image: np.ndarray, acquired_ns: int, stopwatch: Stopwatch
    ) -> np.ndarray | None:
        """The depth image taken with this one; waits a little for it while depth is being
        heard.
        """
        if not self._depth_input.alive:
            self._paired_at = time.monotonic()
            self.solved("depth")
            return None
        with stopwatch("depth"):
            return self._paired_depth(image, acquired_ns)

    def _paired_depth(self, image: np.ndarray, acquired_ns: int) -> np.ndarray | None:
        def apart_ns(depth: Image) -> int:
            return abs(stamp_ns(depth.header) - acquired_ns)

        def arrived() -> bool:
            return any(
                stamp_ns(depth.header) >= acquired_ns - DEPTH_TOLERANCE_NS
                for depth in self._depths
            )

        with self._depth_came:
            self._depth_came.wait_for(arrived, DEPTH_WAIT_S)
            nearest = min(self._depths, key=apart_ns, default=None)
        if nearest is None or apart_ns(nearest) > DEPTH_TOLERANCE_NS:
            if time.monotonic() - self._paired_at > SILENCE_S:
                self.problem(
                    "depth",
                    f"depth not used: expected each within {DEPTH_TOLERANCE_NS * 1e-6:g} ms of an "
                    f"image, got none for {SILENCE_S:g} s; take both stamps from one clock",
                )
            return None
        self._paired_at = time.monotonic()
        try:
            depth_m = image_encodings.to_depth_m(nearest)
            if depth_m.shape != image.shape[:2]:
                raise image_encodings.ImageError(
                    f"expected the size of the image, {image.shape[1]}x{image.shape[0]}, got "
                    f"{depth_m.shape[1]}x{depth_m.shape[0]}; publish depth registered to the "
                    f"image"
                )
        except image_encodings.ImageError as error:
            self.problem("depth", f"depth not used: {error}")
            return None
        self.solved("depth")
        return depth_m

    def _check_brightness(self, image: np.ndarray, people: People3D) -> None:
        """Say when nobody is found because images have been nearly black for a while."""
        found = people.people_2d is not None and len(people.people_2d) > 0
        if found or not image_encodings.is_nearly_black(image):
            self._dark_since = None
            self.solved("dark")
            return
        self._dark_since = self._dark_since or time.monotonic()
        if time.monotonic() - self._dark_since > SILENCE_S:
            self.problem(
                "dark",
                f"nobody is found: images have been nearly black for {SILENCE_S:g} s; see whether "
                f"there is light, the lens is free and the camera's exposure and encoding are "
                f"right",
            )

    def _diagnose(self) -> None:
        assert self._pipeline is not None
        values = {
            **report(self._frame_times.take(), self.settings.diagnostics_period_s),
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
                (
                    self.get_fully_qualified_name().lstrip("/"),
                    list(self.problems.values()),
                    values,
                ),
            )
        )


def main() -> int:
    """Entry point of ``ros2 run pose3d_ros monocular``."""
    return run([MonocularNode])
