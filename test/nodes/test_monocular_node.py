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

"""The monocular node over real DDS: what it hears, refuses, drops and tells.

A stand-in takes the place of the pipeline, which has tests of its own: it finds one person per
image, at a distance that the image's first pixel tells, and waits or fails when asked to.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Condition, Event
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
import rclpy
from conftest import wait_for
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import (
    inverse_transform,
    look_at,
    quaternion_from_rotation,
    rigid,
)
from pose3d_ros.io.joints_cloud import JOINTS, people_3d
from pose3d_ros.io.rig_file import RigFile, write_rig
from pose3d_ros.nodes import (
    camera_place,
    depth_pairing,
    empty_images,
    image_messages,
    inputs,
    managed_node,
    messages,
    monocular,
    outputs,
)
from pose3d_ros.nodes.tf import TransformError
from pose3d_ros.people import People2D, People3D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.stopwatch import Stopwatch

CAMERA = Camera.from_fov(64, 48, 1.0)
NOBODY = People3D.empty(H36M17, 0, "camera")
SECOND_NS = 1_000_000_000
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)


class StandIn:
    """A pipeline that finds one person at ``image[0, 0, 0]`` metres and remembers its calls."""

    engine_name = "cpu"
    detector_name = "blazepose"

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self.lifter_name = "rpsm-context" if settings.lift else ""
        self.seen: list[int] = []
        self.cameras: list[Camera | None] = []
        self.floors: list[Floor | None] = []
        self.depths: list[np.ndarray | None] = []
        self.resets = 0
        self.stamp_ns = -1
        self.may_go_on = Event()
        self.may_go_on.set()

    def __call__(
        self,
        image: np.ndarray,
        camera: Camera | None,
        stamp_ns: int,
        depth_m: Callable[[], np.ndarray | None],
        stopwatch: Stopwatch,
        floor: Floor | None = None,
    ) -> People3D:
        if stamp_ns <= self.stamp_ns:
            raise ValueError(
                f"expected a stamp after {self.stamp_ns} ns, got {stamp_ns} ns; call reset() first"
            )
        self.stamp_ns = stamp_ns
        self.seen.append(int(image[0, 0, 0]))
        self.cameras.append(camera)
        self.floors.append(floor)
        with stopwatch("pose"):
            self.may_go_on.wait(10)
        self.depths.append(depth_m())
        if image[0, 0, 0] == 255:
            raise FloatingPointError("a frame\nthat nobody can process")
        joints = np.full((1, 17, 3), image[0, 0, 0], np.float32)
        ids = np.array([1])
        people_2d = People2D(
            H36M17, np.full((1, 17, 2), 5.0), np.ones((1, 17)), stamp_ns, (64, 48), ids
        )
        return People3D(
            H36M17,
            joints,
            joints[..., 0],
            joints[..., 0],
            joints,
            ids,
            np.ones(1),
            stamp_ns,
            camera.frame_id if camera else "",
            people_2d,
        )

    def detect(
        self,
        image: np.ndarray,
        stamp_ns: int,
        depth_m: Callable[[], np.ndarray | None],
        stopwatch: Stopwatch,
    ) -> People2D:
        people = self(image, None, stamp_ns, depth_m, stopwatch).people_2d
        assert people is not None
        return people

    def reconfigure(self, settings: PipelineSettings) -> None:
        self.settings = settings

    def reset(self) -> None:
        self.resets += 1
        self.stamp_ns = -1

    def close(self) -> None:
        pass


def header(seconds: int, frame_id: str = "camera") -> Header:
    made = Header(frame_id=frame_id)
    made.stamp.sec = seconds
    return made


def picture(value: int, width: int = 64, height: int = 48) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def image(value: int, seconds: int | None = None, **kwargs: Any) -> Image:
    return image_messages.to_message(
        picture(value, **kwargs), header(value if seconds is None else seconds)
    )


@pytest.fixture
def start(ros: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Start a monocular node with the stand-in; parameters as keywords."""

    def make(**parameters: object) -> Any:
        monkeypatch.setattr(monocular, "MonocularPipeline", StandIn)
        node = monocular.MonocularNode(
            parameter_overrides=[
                Parameter(name, value=value) for name, value in parameters.items()
            ]
        )
        ros.add(node)
        assert node.start()
        return node

    return make


@pytest.fixture
def camera_info(ros: Any) -> Any:
    """The latched calibration of the test camera, published before the node starts."""
    latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    publisher = ros.publisher(CameraInfo, "camera_info", latched, matched=False)
    publisher.publish(messages.camera_info(CAMERA, header(0)))
    return publisher


def depths(clouds: list[PointCloud2]) -> list[float]:
    """z of the first joint of the first person of each cloud."""
    return [np.frombuffer(cloud.data, JOINTS)["z"][0] for cloud in clouds]


@pytest.mark.parametrize("qos", [QoSProfile(depth=5), SENSOR], ids=["reliable", "best effort"])
def test_image_to_joints(ros: Any, start: Any, camera_info: Any, qos: QoSProfile) -> None:
    start()
    joints = ros.collect(PointCloud2, "joints")
    wait_for(lambda: ros.node.count_publishers("joints"), "the joints topic")
    publisher = ros.publisher(Image, "image", qos)
    sent = image(3, seconds=100)
    wait_for(lambda: joints or publisher.publish(sent), "joints")
    assert joints[0].header == sent.header, "acquisition stamp and optical frame are the image's"
    assert (joints[0].height, joints[0].width) == (1, 17)
    assert depths(joints)[0] == 3


def test_people_are_predicted_to_now_and_beyond(ros: Any, start: Any, camera_info: Any) -> None:
    """The stand-in's person is at 3 m, runs at 3 m/s and has a sigma of 3 m."""
    node = start(prediction_s=0.25, covariance=True)
    predicted = ros.collect(PointCloud2, "predicted")
    publisher = ros.publisher(Image, "image")
    taken_ns: list[int] = []

    def send() -> Any:
        taken_ns.append(node.get_clock().now().nanoseconds - 50_000_000)
        made = image(3)
        made.header.stamp = messages.time_of(taken_ns[-1])
        return publisher.publish(made)

    wait_for(lambda: predicted or send(), "predicted people")
    people = people_3d(predicted[0], H36M17)
    assert people.stamp_ns >= taken_ns[0] + 300_000_000, "50 ms old, and 250 ms ahead of now"
    assert people.stamp_ns <= node.get_clock().now().nanoseconds + 250_000_000
    assert people.frame_id == "camera"
    assert (people.joints_m > 3).all() and (people.sigma_m > 3).all()
    assert "cov_xx" in [field.name for field in predicted[0].fields]


def test_a_camera_of_a_rig_needs_no_camera_info(ros: Any, start: Any, tmp_path: Path) -> None:
    rig = tmp_path / "rig.yaml"
    turned = replace(CAMERA, camera_from_world=look_at([0, 0, 1], [1, 0, 1]))
    write_rig(rig, RigFile({"left": turned}, "map"))
    node = start(rig=str(rig), rig_camera="left")
    joints = ros.collect(PointCloud2, "joints")
    publisher, stamp = ros.publisher(Image, "image"), iter(range(1, 1_000_000))
    wait_for(lambda: joints or publisher.publish(image(3, seconds=next(stamp))), "joints")
    assert joints[0].header.frame_id == "camera", "the image's, not the rig's"
    camera = node._pipeline.cameras[-1]
    np.testing.assert_array_equal(camera.matrix, CAMERA.matrix)
    np.testing.assert_array_equal(camera.camera_from_world, np.eye(4))
    assert "WARN" not in ros.log, ros.log


def test_a_camera_that_the_rig_has_not_is_refused(ros: Any, tmp_path: Path) -> None:
    rig = tmp_path / "rig.yaml"
    write_rig(rig, RigFile({"left": CAMERA}, "map"))
    given = {"rig": str(rig), "rig_camera": "middle"}
    node = monocular.MonocularNode(
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()]
    )
    ros.add(node)
    assert not node.start()
    ros.line("rig_camera: expected one of left", "got 'middle'")


def test_compressed_images(ros: Any, start: Any, camera_info: Any) -> None:
    start(transport="compressed")
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(CompressedImage, "image/compressed", SENSOR)
    wait_for(
        lambda: (
            joints
            or publisher.publish(image_messages.to_compressed_message(picture(7), header(1)))
        ),
        "joints",
    )
    assert depths(joints)[0] == 7


def test_always_the_newest_image(ros: Any, start: Any, camera_info: Any) -> None:
    node = start(diagnostics_period_s=0.2)
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics")
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")

    def waits(value: int) -> bool:
        return (
            node._images._item is not None and node._images._item.message.header.stamp.sec == value
        )

    wait_for(lambda: joints or publisher.publish(image(1)), "joints")
    wait_for(lambda: node._images._item is None, "an idle node")
    pipeline = node._pipeline
    pipeline.may_go_on.clear()
    dropped = node._images.dropped
    publisher.publish(image(10))
    wait_for(lambda: pipeline.seen[-1] == 10, "the frame that takes long")
    for value in range(11, 21):
        publisher.publish(image(value))
        wait_for(partial(waits, value), "its arrival")
    assert node._images.dropped == dropped + 9
    pipeline.may_go_on.set()
    wait_for(lambda: depths(joints)[-1:] == [20], "the newest frame")
    assert [value for value in pipeline.seen if value >= 10] == [10, 20]

    def counted() -> bool:
        values = {
            pair.key: pair.value
            for message in diagnostics[-1:]
            for pair in message.status[0].values
        }
        return values.get("dropped") == str(node._images.dropped)

    wait_for(counted, "the count in diagnostics")


def just_now(value: int) -> Image:
    stamp = time.time_ns()
    made = image(value, seconds=stamp // 10**9)
    made.header.stamp.nanosec = stamp % 10**9
    return made


def test_diagnostics(ros: Any, start: Any, camera_info: Any) -> None:
    start(diagnostics_period_s=0.3)
    received = ros.collect(DiagnosticArray, "/diagnostics")
    publisher = ros.publisher(Image, "image")

    def with_rate() -> DiagnosticStatus | None:
        publisher.publish(just_now(2))
        return next(
            (
                message.status[0]
                for message in received
                if any(value.key == "latency_p95_ms" for value in message.status[0].values)
            ),
            None,
        )

    status = wait_for(with_rate, "diagnostics with a latency")
    values = {pair.key: pair.value for pair in status.values}
    assert status.name == "monocular"
    assert status.level == DiagnosticStatus.OK and status.message == "OK", status.message
    assert float(values["rate_hz"]) > 0
    assert float(values["latency_p50_ms"]) <= float(values["latency_p95_ms"])
    assert {"dropped", "engine", "detector", "lifter"} <= set(values)
    for stage in ("latency", "network", "wait", "decode", "pose", "publish"):
        p50, p95, most = (float(values[f"{stage}_{what}_ms"]) for what in ("p50", "p95", "max"))
        assert 0 <= p50 <= p95 <= most, stage


def test_stamps_of_another_clock_have_no_latency(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(managed_node, "OTHER_CLOCK_PATIENCE_S", 0.0)
    node = start(diagnostics_period_s=0.2)
    received = ros.collect(DiagnosticArray, "/diagnostics")
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))

    def with_rate() -> dict[str, str] | None:
        publisher.publish(image(2, seconds=next(stamp)))
        all_values = [
            {pair.key: pair.value for pair in message.status[0].values} for message in received
        ]
        return next((values for values in all_values if float(values["rate_hz"])), None)

    values = wait_for(with_rate, "a rate")
    assert "pose_p50_ms" in values and not {"latency_p50_ms", "network_p50_ms"} & set(values)
    ros.line("latency unknown", "use_sim_time")
    wait_for(
        lambda: "clock" not in node.problems or publisher.publish(just_now(3)),
        "the end of the problem",
    )


def test_nothing_is_made_for_topics_without_subscribers(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def noting(name: str, make: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any) -> Any:
            made.append(name)
            return make(*given)

        return noted

    for module, name in (
        (outputs, "draw_people"),
        (messages, "joints_cloud"),
        (messages, "keypoints_cloud"),
        (messages, "markers"),
    ):
        monkeypatch.setattr(module, name, noting(name, getattr(module, name)))
    node = start()
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))
    wait_for(
        lambda: len(node._pipeline.depths) > 2 or publisher.publish(image(2, seconds=next(stamp))),
        "frames",
    )
    assert not made
    joints = ros.collect(PointCloud2, "joints")
    wait_for(lambda: joints or publisher.publish(image(2, seconds=next(stamp))), "joints")
    assert set(made) == {"joints_cloud"}
    overlay, markers = ros.collect(Image, "overlay"), ros.collect(MarkerArray, "markers")
    keypoints = ros.collect(PointCloud2, "keypoints")
    wait_for(
        lambda: (
            overlay and markers and keypoints or publisher.publish(image(2, seconds=next(stamp)))
        ),
        "the rest",
    )
    assert not np.array_equal(image_messages.to_bgr(overlay[0]), picture(2)), "a skeleton is drawn"
    assert markers[0].markers[0].header.frame_id == "camera"
    assert keypoints[0].width == 17


def test_the_engine_is_told_as_it_is_now(ros: Any, start: Any, camera_info: Any) -> None:
    node = start(diagnostics_period_s=0.2)
    received = ros.collect(DiagnosticArray, "/diagnostics")

    def engines() -> set[str]:
        return {
            pair.value
            for message in received
            for pair in message.status[0].values
            if pair.key == "engine"
        }

    wait_for(lambda: "cpu" in engines(), "the engine")
    node._pipeline.engine_name = "tensorrt"  # built meanwhile
    wait_for(lambda: "tensorrt" in engines(), "the other engine")


def test_time_that_jumps_back_starts_again(ros: Any, start: Any, camera_info: Any) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(1, seconds=1000)), "joints")
    before = node._pipeline.resets
    publisher.publish(image(5, seconds=10))
    wait_for(lambda: 5 in depths(joints), "joints after the jump")
    assert node._pipeline.resets == before + 1
    ros.line("jumps back by 990.000 s", "tracking starts again")


def test_a_frame_some_milliseconds_late_is_dropped(ros: Any, start: Any, camera_info: Any) -> None:
    """Drivers that round stamps send such frames; nobody gets another id for them."""
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(1, seconds=1000)), "joints")
    before = node._pipeline.resets
    late = image(5, seconds=999)
    late.header.stamp.nanosec = 997_000_000
    publisher.publish(late)
    wait_for(lambda: node._late == 1, "the late frame")
    publisher.publish(image(7, seconds=1001))
    wait_for(lambda: 7 in depths(joints), "joints of the next frame")
    assert 5 not in depths(joints) and node._pipeline.resets == before
    assert "jumps back" not in ros.log


def test_images_without_stamps(ros: Any, start: Any, camera_info: Any) -> None:
    start()
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: publisher.publish(image(1, seconds=0)) or "again" in ros.log, "two images")
    ros.line("every image with its own time", "must stamp")


def test_image_that_changes_size(ros: Any, start: Any, camera_info: Any) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(1)), "joints")
    before = node._pipeline.resets
    publisher.publish(image(2, width=32, height=24))
    wait_for(lambda: 2 in depths(joints), "joints of the small image")
    ros.line("camera changed, image size 64x48 to 32x24: tracking starts again")
    assert node._pipeline.resets == before + 1
    ros.line("camera_info is of 64x48, the images are 32x24", "publish their CameraInfo")
    assert node._pipeline.cameras[-1].size == (32, 24)
    publisher.publish(image(3, width=48, height=48))
    ros.line("camera_info", "48x48", "64x48", "publish the CameraInfo of this image")
    wait_for(
        lambda: 4 in depths(joints) or publisher.publish(image(4, seconds=50)), "life after it"
    )


def test_binning_explains_another_size(ros: Any, start: Any) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    infos, publisher = ros.publisher(CameraInfo, "camera_info"), ros.publisher(Image, "image")
    info = messages.camera_info(CAMERA, header(0))
    infos.publish(info)
    stamp = iter(range(1, 1_000_000))

    def said() -> bool:
        publisher.publish(image(2, seconds=next(stamp), width=32, height=24))
        return "camera size" in node.problems

    wait_for(said, "a word about the size")
    info.binning_x = info.binning_y = 2
    infos.publish(info)
    wait_for(lambda: not said(), "the end of the problem")
    assert joints


def test_only_zoom_starts_tracking_again(ros: Any, start: Any, camera_info: Any) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))
    wait_for(lambda: joints or publisher.publish(image(3, seconds=next(stamp))), "joints")
    pipeline, before = node._pipeline, node._pipeline.resets
    for zoom, resets in ((1.01, 0), (1.25, 1)):
        matrix = CAMERA.matrix * [[zoom], [zoom], [1]]
        camera_info.publish(messages.camera_info(Camera(matrix, CAMERA.size), header(0)))

        def arrived(matrix: np.ndarray = matrix) -> bool:
            publisher.publish(image(3, seconds=next(stamp)))
            return bool(np.array_equal(pipeline.cameras[-1].matrix, matrix))

        wait_for(arrived, "the new camera")
        assert pipeline.resets - before == resets
    ros.line(
        "camera changed, fx",
        "to 73.22 px",
        "starts again",
    )


def info_with(**values: float) -> CameraInfo:
    """The test camera's calibration with some of k, by name."""
    info = messages.camera_info(CAMERA, header(0))
    for name, value in values.items():
        info.k[{"fx": 0, "skew": 1, "cx": 2, "fy": 4, "cy": 5}[name]] = value
    return info


@pytest.mark.parametrize(
    "wrong", [{"fy": 1e-30}, {"cx": 1e9}, {"cy": -900.0}, {"fy": 5.0}, {"skew": 40.0}, {"fx": 0.0}]
)
def test_a_wrong_camera_info_leaves_the_last_good_one(
    ros: Any, start: Any, camera_info: Any, wrong: dict[str, float]
) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))
    wait_for(lambda: joints or publisher.publish(image(3, seconds=next(stamp))), "joints")
    pipeline, before = node._pipeline, node._pipeline.resets
    camera_info.publish(info_with(**wrong))
    ros.line("camera_info on /camera_info not used, the last good one stays", next(iter(wrong)))
    last = next(stamp)
    wait_for(
        lambda: pipeline.stamp_ns > last * 10**9 or publisher.publish(image(3, next(stamp))),
        "an image after it",
    )
    assert pipeline.resets == before
    assert np.array_equal(pipeline.cameras[-1].matrix, CAMERA.matrix)
    camera_info.publish(info_with())
    wait_for(lambda: "camera_info" not in node.problems, "the end of the problem")


@pytest.mark.parametrize("changed", [{"fy": 66.0}, {"cx": 40.0}, {"cy": 30.0}, {"skew": 5.0}])
def test_another_lens_of_any_kind_starts_tracking_again(
    ros: Any, start: Any, camera_info: Any, changed: dict[str, float]
) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))
    wait_for(lambda: joints or publisher.publish(image(3, seconds=next(stamp))), "joints")
    before = node._pipeline.resets
    camera_info.publish(info_with(**changed))
    wait_for(
        lambda: node._pipeline.resets > before or publisher.publish(image(3, next(stamp))),
        "a new start",
    )
    ros.line(f"camera changed, {next(iter(changed))}", "tracking starts again")
    assert node._pipeline.resets == before + 1


def test_two_publishers_of_one_topic_are_named(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "PATIENCE_S", 0.3)
    node = start()
    ros.publisher(Image, "image")
    other = ros.add(rclpy.create_node("second_camera"))
    other.create_publisher(Image, "image", 1)
    ros.line("2 publishers of /image: /second_camera, /tester", "stop the others")
    ros.remove(other)
    wait_for(lambda: "/image publishers" not in node.problems, "the end of the problem")


def test_frame_ids_are_cut_in_messages(ros: Any, start: Any, camera_info: Any) -> None:
    start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(3)), "joints")
    made = image(4)
    made.header.frame_id = "x" * 1_000_000
    publisher.publish(made)
    ros.line("camera changed, frame 'camera'")
    assert max(map(len, ros.log.splitlines())) < 1000


def status_of(ros: Any, received: list[DiagnosticArray], level: bytes) -> DiagnosticStatus:
    return wait_for(
        lambda: next(
            (
                message.status[0]
                for message in reversed(received)
                if message.status[0].level == level
            ),
            None,
        ),
        f"diagnostics of level {level!r}",
    )


def test_images_without_anybody_are_a_warning(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(empty_images, "NOBODY_S", 0.5)
    monkeypatch.setattr(monocular.MonocularNode, "_people", lambda *_: NOBODY)
    start(diagnostics_period_s=0.1)
    received = ros.collect(DiagnosticArray, "/diagnostics")
    publisher = ros.publisher(Image, "image")
    ros.node.create_timer(0.05, lambda: publisher.publish(just_now(2)))
    status = status_of(ros, received, DiagnosticStatus.WARN)
    assert status.message.startswith("nobody was found yet, in ")
    assert "see in overlay" in status.message
    assert status.hardware_id == "/image"


def test_a_node_of_which_nothing_comes_is_an_error(ros: Any, start: Any, camera_info: Any) -> None:
    start(diagnostics_period_s=0.1)
    received = ros.collect(DiagnosticArray, "/diagnostics")
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))

    def send() -> None:
        broken = image(3, seconds=next(stamp))
        broken.encoding = "rgb9"
        publisher.publish(broken)

    ros.node.create_timer(0.05, send)
    assert "expected an encoding" in status_of(ros, received, DiagnosticStatus.ERROR).message


def test_time_may_start_anew_after_deactivation(ros: Any, start: Any, camera_info: Any) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(1, seconds=1000)), "joints")
    node.trigger_deactivate()
    node.trigger_activate()
    wait_for(
        lambda: 5 in depths(joints) or publisher.publish(image(5, seconds=10)),
        "joints of an earlier time",
    )


def as_bayer(good: Image) -> None:
    good.encoding, good.width, good.height = "bayer_rggb8", 1, 1


BAD_IMAGES = {
    "bayer": (as_bayer, ("1x1 bayer_rggb8", "at least 2x2")),
    "encoding": (
        lambda good: setattr(good, "encoding", "rgb9"),
        ("expected an encoding", "'rgb9'", "publish bgr8"),
    ),
    "step": (lambda good: setattr(good, "step", 10), ("step of at least 192", "got 10")),
    "empty": (lambda good: setattr(good, "height", 0), ("expected an image with pixels", "64x0")),
    "truncated": (lambda good: setattr(good, "data", good.data[:100]), ("9216 bytes", "got 100")),
}


@pytest.mark.parametrize("kind", BAD_IMAGES)
def test_bad_images_cost_a_line_not_the_node(
    ros: Any, start: Any, camera_info: Any, kind: str
) -> None:
    spoil, words = BAD_IMAGES[kind]
    start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    bad = image(9)
    spoil(bad)
    for _ in range(5):
        publisher.publish(bad)
    line = ros.line("frame skipped", *words)
    wait_for(lambda: joints or publisher.publish(image(3)), "life after it")
    assert ros.log.count(line.split("frame skipped")[1]) == 1, "once"


def test_a_frame_that_fails_in_the_pipeline(ros: Any, start: Any, camera_info: Any) -> None:
    start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    publisher.publish(image(255, seconds=1))
    ros.line(
        "frame skipped, on /image: FloatingPointError: a frame that nobody can process "
        "(test_monocular_node.py"
    )
    wait_for(lambda: joints or publisher.publish(image(3, seconds=2)), "life after it")


def test_intrinsics_of_zeros(ros: Any, start: Any) -> None:
    start()
    ros.publisher(CameraInfo, "camera_info").publish(CameraInfo(width=64, height=48))
    publisher = ros.publisher(Image, "image")
    publisher.publish(image(1))
    ros.line("camera_info", "fx=0", "not calibrated", "assumed_fov_deg")


def test_intrinsics_that_are_not_numbers(ros: Any, start: Any) -> None:
    start()
    ros.publisher(CameraInfo, "camera_info").publish(
        CameraInfo(width=64, height=48, k=[float("nan")] * 9)
    )
    ros.publisher(Image, "image").publish(image(1))
    ros.line("camera_info", "finite", "nan", "assumed_fov_deg")


def test_a_field_of_view_is_assumed_only_if_allowed(ros: Any, start: Any) -> None:
    node = start(assumed_fov_deg=60.0)
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(3)), "joints")
    ros.line("no camera_info on /camera_info", "assuming 60 degrees")
    # Half the width is seen under half the angle: 32 px / tan(30 degrees).
    assert node._pipeline.cameras[-1].matrix[0, 0] == pytest.approx(55.4256, abs=1e-3)


def test_no_camera_info_is_said(ros: Any, start: Any) -> None:
    start()
    ros.publisher(Image, "image").publish(image(1))
    ros.line("no camera_info on /camera_info", "no 3D", "assumed_fov_deg")


def test_keypoints_need_no_camera_info(ros: Any, start: Any) -> None:
    start(lift=False)
    ros.line("ready: blazepose on cpu")
    keypoints = ros.collect(PointCloud2, "keypoints")
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))
    wait_for(lambda: keypoints or publisher.publish(image(3, seconds=next(stamp))), "keypoints")


def test_nobody_publishes(ros: Any, start: Any) -> None:
    ros.node.create_publisher(Image, "/other/image_raw", 1)
    start()
    ros.line(
        "nobody publishes /image (sensor_msgs/msg/Image)", "remap image:=", "/other/image_raw"
    )
    ros.line("nobody publishes /camera_info", "assumed_fov_deg")


def test_the_wrong_type_is_published(ros: Any, start: Any) -> None:
    ros.node.create_publisher(CompressedImage, "image", 1)
    start()
    ros.line(
        "expected sensor_msgs/msg/Image on /image, got sensor_msgs/msg/CompressedImage",
        "transport:=compressed",
    )


def test_an_image_that_stops(ros: Any, start: Any, camera_info: Any) -> None:
    start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image", SENSOR)
    wait_for(lambda: joints or publisher.publish(image(3)), "joints")
    ros.line("no message on /image for 2 s", "tester offers it", "best effort, volatile")
    before = len(joints)
    wait_for(lambda: len(joints) > before or publisher.publish(image(4)), "joints again")


def test_no_silence_is_told_while_the_node_is_at_work_itself(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SILENCE_S", 0.3)
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    pipeline = node._pipeline
    pipeline.may_go_on.clear()
    wait_for(lambda: pipeline.seen or publisher.publish(image(3)), "an image is at work")
    time.sleep(1.0)
    assert "no message on" not in ros.log
    pipeline.may_go_on.set()
    wait_for(lambda: joints, "joints")
    ros.line("no message on /image for 0.3 s")


def test_one_latched_camera_info_is_enough(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inputs, "SILENCE_S", 0.3)
    looks: list[str] = []
    look = inputs.Input.check

    def counted(topic: inputs.Input) -> None:
        look(topic)
        looks.append(topic.topic)

    monkeypatch.setattr(inputs.Input, "check", counted)
    start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(3)), "joints")
    ros.line("no message on /image for 0.3 s")
    looks.clear()
    wait_for(
        lambda: looks.count("/camera_info") == 2,
        "two more looks at it, of which one began just now",
    )
    assert "no message on /camera_info" not in ros.log


def test_a_publisher_that_comes_back_with_another_qos(
    ros: Any, start: Any, camera_info: Any
) -> None:
    start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image", QoSProfile(depth=5))
    wait_for(lambda: joints or publisher.publish(image(3)), "joints")
    ros.node.destroy_publisher(publisher)
    wait_for(lambda: not ros.node.count_publishers("image"), "the end of the publisher")
    before = len(joints)
    publisher = ros.publisher(Image, "image", SENSOR, matched=False)
    wait_for(lambda: len(joints) > before or publisher.publish(image(4)), "joints again")


def test_a_subscriber_that_asks_for_too_much(
    ros: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[outputs.Outputs] = []
    look = outputs.Outputs._clear_qos_warnings

    def counted(topics: outputs.Outputs) -> None:
        look(topics)
        looks.append(topics)

    monkeypatch.setattr(outputs.Outputs, "_clear_qos_warnings", counted)
    node = start()
    ros.collect(PointCloud2, "joints")
    ros.collect(
        PointCloud2, "joints", QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    )
    ros.line("a subscriber of /joints gets nothing", "DURABILITY", "volatile")
    looks.clear()
    wait_for(
        lambda: len(looks) == 2, "two more looks at the subscribers, of which one began just now"
    )
    assert "joints qos" in node.problems
    ros.node.destroy_subscription(list(ros.node.subscriptions)[-1])
    wait_for(lambda: "joints qos" not in node.problems, "the end of the problem")


def test_depth_is_paired_and_checked(ros: Any, start: Any, camera_info: Any) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher, depth = ros.publisher(Image, "image"), ros.publisher(Image, "depth")
    stamp = iter(range(1, 1_000_000))

    def both(width: int) -> Any:
        now = header(next(stamp))
        millimetres = np.full((48, width), 2000, np.uint16)
        depth.publish(
            Image(
                header=now,
                width=width,
                height=48,
                step=2 * width,
                encoding="16UC1",
                data=millimetres.tobytes(),
            )
        )
        wait_for(
            lambda: any(d.header.stamp == now.stamp for d in node._depths._depths),
            "the depth image",
        )
        publisher.publish(image_messages.to_message(picture(3), now))

    wait_for(
        lambda: any(d is not None for d in node._pipeline.depths) or both(64),
        "depth in the pipeline",
    )
    paired = next(d for d in node._pipeline.depths if d is not None)
    assert paired.shape == (48, 64) and (paired == 2).all()
    both(32)
    ros.line("depth not used", "64x48", "32x48", "registered")
    assert joints


def test_depth_that_comes_after_its_image(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(depth_pairing, "WAIT_S", 10.0)  # a busy machine must not decide
    waiting = Event()

    class Told(Condition):
        def wait(self, timeout: float | None = None) -> bool:
            waiting.set()
            return super().wait(timeout)

    node = start()
    node._depths._arrived = Told()
    publisher, depth = ros.publisher(Image, "image"), ros.publisher(Image, "depth")

    def depth_at(seconds: int) -> Image:
        return Image(
            header=header(seconds),
            width=64,
            height=48,
            step=256,
            encoding="32FC1",
            data=np.full((48, 64), 2, np.float32).tobytes(),
        )

    wait_for(lambda: node._depth_input.heard or depth.publish(depth_at(1)), "depth")
    publisher.publish(image(3, seconds=5))
    assert waiting.wait(10), "the image is in the pipeline, which asks for its depth"
    depth.publish(depth_at(5))
    wait_for(lambda: node._pipeline.depths, "depth in the pipeline")
    assert node._pipeline.depths[0] is not None and (node._pipeline.depths[0] == 2).all()


def test_depth_of_another_time_is_said_until_it_stops(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (inputs, depth_pairing):
        monkeypatch.setattr(module, "SILENCE_S", 0.5)
    node = start()
    publisher, depth = ros.publisher(Image, "image"), ros.publisher(Image, "depth")
    stamp = iter(range(1, 1_000_000))
    far = image_messages.to_message(picture(0), header(5_000_000))

    def said() -> bool:
        depth.publish(far)
        publisher.publish(image(3, seconds=next(stamp)))
        return "depth" in node.problems

    wait_for(said, "a problem with depth")
    ros.line("depth not used", "within 20 ms", "one clock")
    wait_for(
        lambda: "depth" not in node.problems or publisher.publish(image(3, seconds=next(stamp))),
        "its end",
    )


def test_the_pipeline_asks_for_depth_after_detection() -> None:
    pipeline = MonocularPipeline(max_people=1)
    asked: list[list[str]] = []
    stopwatch = Stopwatch()

    def depth() -> None:
        asked.append(list(stopwatch.seconds))

    pipeline(picture(0, 640, 480), CAMERA, 1, depth, stopwatch)
    pipeline.close()
    assert asked == [["detect", "track"]] and "lift" in stopwatch.seconds


def test_an_empty_frame_id_is_said(ros: Any, start: Any, camera_info: Any) -> None:
    node = start()
    publisher = ros.publisher(Image, "image")
    publisher.publish(image_messages.to_message(picture(3), header(1, frame_id="")))
    ros.line("empty frame_id", "set frame_id in the camera driver")
    publisher.publish(image(4, seconds=2))
    wait_for(lambda: "frame_id" not in node.problems, "the end of the problem")


def test_tf_without_tf2_msgs_is_one_line(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2_msgs.msg", None)
    node = start(publish_tf="person")
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(3)), "joints")
    ros.line("publish_tf needs tf2_msgs", "not installed")
    assert node.set_parameters([Parameter("publish_tf", value="none")])[0].successful
    publisher.publish(image(4))
    wait_for(lambda: "tf" not in node.problems, "the end of the problem")


def test_live_parameters_reach_the_pipeline(ros: Any, start: Any, camera_info: Any) -> None:
    node = start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    assert node.set_parameters([Parameter("smoothing", value=0.25)])[0].successful
    wait_for(lambda: joints or publisher.publish(image(3)), "joints")
    assert node._pipeline.settings.smoothing == 0.25


def test_lifecycle(ros: Any, monkeypatch: pytest.MonkeyPatch, camera_info: Any) -> None:
    from lifecycle_msgs.msg import State, Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    monkeypatch.setattr(monocular, "MonocularPipeline", StandIn)
    node = ros.add(
        monocular.MonocularNode(parameter_overrides=[Parameter("autostart", value=False)])
    )
    assert node.start()
    change = ros.node.create_client(ChangeState, "monocular/change_state")
    get = ros.node.create_client(GetState, "monocular/get_state")
    assert change.wait_for_service(10) and get.wait_for_service(10)

    def state_after(transition: int | None) -> int:
        if transition is not None:
            request = ChangeState.Request()
            request.transition.id = transition
            future = change.call_async(request)
            wait_for(future.done, "the transition")
            assert future.result().success
        future = get.call_async(GetState.Request())
        wait_for(future.done, "the state")
        return int(future.result().current_state.id)

    joints = ros.collect(PointCloud2, "joints")
    stamp = iter(range(1, 1_000_000))
    publisher = ros.publisher(Image, "image", matched=False)
    assert state_after(None) == State.PRIMARY_STATE_UNCONFIGURED
    for _ in range(2):  # a manager may take it down and up again
        assert state_after(Transition.TRANSITION_CONFIGURE) == State.PRIMARY_STATE_INACTIVE
        assert publisher.get_subscription_count() == 0
        assert state_after(Transition.TRANSITION_ACTIVATE) == State.PRIMARY_STATE_ACTIVE
        joints.clear()
        wait_for(lambda: joints or publisher.publish(image(3, seconds=next(stamp))), "joints")
        assert state_after(Transition.TRANSITION_DEACTIVATE) == State.PRIMARY_STATE_INACTIVE
        wait_for(lambda: publisher.get_subscription_count() == 0, "the end of the subscription")
        assert state_after(Transition.TRANSITION_CLEANUP) == State.PRIMARY_STATE_UNCONFIGURED
    assert (
        state_after(Transition.TRANSITION_UNCONFIGURED_SHUTDOWN) == State.PRIMARY_STATE_FINALIZED
    )


def test_simulated_time(ros: Any, start: Any, camera_info: Any) -> None:
    """Latency is told in the clock of the images, and nothing waits for it to tick."""
    start(use_sim_time=True, diagnostics_period_s=0.2)
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics")
    publisher, clock = ros.publisher(Image, "image"), ros.publisher(Clock, "/clock")
    now = header(1000)
    now.stamp.nanosec = 500_000_000

    def latency() -> str | None:
        clock.publish(Clock(clock=now.stamp))
        publisher.publish(image(3, seconds=1000))
        values = [value for message in diagnostics for value in message.status[0].values]
        return next((value.value for value in values if value.key == "latency_p50_ms"), None)

    assert wait_for(latency, "a latency") == "500"


def test_tf_per_person_and_per_joint(ros: Any, start: Any, camera_info: Any) -> None:
    tf2_msgs = pytest.importorskip("tf2_msgs.msg", reason="comes with a ROS distribution only")
    node = start(publish_tf="person")
    frames = ros.collect(tf2_msgs.TFMessage, "/tf", 100)
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))
    wait_for(lambda: frames or publisher.publish(image(3, seconds=next(stamp))), "transforms")
    transform = frames[0].transforms[0]
    assert (transform.header.frame_id, transform.child_frame_id) == ("camera", "body_1")
    assert transform.transform.translation.z == 3
    assert node.set_parameters([Parameter("publish_tf", value="joints")])[0].successful
    wait_for(
        lambda: (
            len(frames[-1].transforms) == 17 or publisher.publish(image(3, seconds=next(stamp)))
        ),
        "joints",
    )
    assert "body_1/l_wrist" in {transform.child_frame_id for transform in frames[-1].transforms}


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"detector": "rtmo", "detector_model": "{folder}/missing.onnx"}, ("missing.onnx",)),
        ({"detector": "rtmo", "detector_model": "{folder}/corrupt.onnx"}, ("corrupt.onnx",)),
        ({"engine": "cuda"}, ("cuda",)),
        (
            {"lifter": "martinez", "cache": "/dev/null/cache"},
            ("cannot write to the model cache", "XDG_CACHE_HOME"),
        ),
    ],
)
def test_what_cannot_be_configured_is_refused_in_one_line(
    ros: Any,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    parameters: dict[str, str],
    words: tuple[str, ...],
) -> None:
    """With the real pipeline: models and engines that are not there, and a cache that cannot be
    written.
    """
    (tmp_path / "corrupt.onnx").write_bytes(b"no network")
    given = {name: value.format(folder=tmp_path) for name, value in parameters.items()}
    if cache := given.pop("cache", None):
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
    node = ros.add(
        monocular.MonocularNode(
            parameter_overrides=[Parameter(name, value=value) for name, value in given.items()]
        )
    )
    assert not node.start()
    ros.line("cannot configure", *words)


class TransformsByTime:
    """In the place of tf2_ros, which comes with a ROS distribution only: frames that are known up
    to a stamp, as tf2's buffer knows them.
    """

    known_until_ns: dict[str, int] = {}
    pose = Floor.from_tilt(1.2, 0.3).camera_from_level
    asked: list[tuple[str, int, float]] = []

    def __init__(self, node: Any, remedy: str) -> None:
        pass

    def target_from(
        self, source_frame: str, target_frame: str, stamp_ns: int, patience_s: float
    ) -> np.ndarray:
        self.asked.append((target_frame, stamp_ns, patience_s))
        if stamp_ns > self.known_until_ns.get(source_frame, -1):
            raise TransformError(f"expected a transform from '{source_frame}' to '{target_frame}'")
        return self.pose

    def close(self) -> None:
        pass


@pytest.fixture
def transforms(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Until when each frame is known, ns."""
    known: dict[str, int] = {}
    monkeypatch.setattr(TransformsByTime, "known_until_ns", known)
    monkeypatch.setattr(TransformsByTime, "asked", [])
    monkeypatch.setattr(camera_place, "TransformLookup", TransformsByTime)
    return known


def test_people_are_in_the_fixed_frame_at_the_image_s_stamp_or_nowhere(
    ros: Any, start: Any, camera_info: Any, transforms: dict[str, int]
) -> None:
    transforms["odom"] = 4 * SECOND_NS
    node = start(fixed_frame="odom", floor_frame="base_footprint")
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    publisher.publish(image(3, seconds=4))
    wait_for(lambda: joints, "joints")
    assert joints[-1].header.frame_id == "odom"
    assert TransformsByTime.asked[-1] == ("camera", 4 * SECOND_NS, camera_place.PATIENCE_S)
    pipeline = node._pipeline
    camera = pipeline.cameras[-1]
    assert camera is not None and np.allclose(camera.camera_from_world, TransformsByTime.pose)
    assert pipeline.floors == [None]
    ros.line("base_footprint: not used: expected a transform")
    # A late transform: the frame is not published in any other frame.
    publisher.publish(image(3, seconds=5))
    ros.line("odom: frame skipped: expected a transform from 'odom' to 'camera'")
    assert len(joints) == 1 and pipeline.seen == [3]
    transforms["odom"] = transforms["base_footprint"] = 9 * SECOND_NS
    publisher.publish(image(3, seconds=6))
    wait_for(lambda: len(joints) == 2, "joints again")
    floor = pipeline.floors[-1]
    assert floor is not None and floor.height_m == pytest.approx(1.2)


def test_the_real_tf_of_a_driving_robot(ros: Any, start: Any, camera_info: Any) -> None:
    """tf2 interpolates between the poses beside the image's stamp, and does not extrapolate."""
    tf2_ros = pytest.importorskip("tf2_ros", reason="comes with a ROS distribution only")
    from geometry_msgs.msg import TransformStamped

    def transform(parent: str, child: str, world_from_child: np.ndarray, at_s: int) -> Any:
        stamp = header(at_s).stamp
        message = TransformStamped(header=Header(stamp=stamp, frame_id=parent))
        message.child_frame_id = child
        t, q = message.transform.translation, message.transform.rotation
        t.x, t.y, t.z = world_from_child[:3, 3].tolist()
        q.x, q.y, q.z, q.w = quaternion_from_rotation(world_from_child[:3, :3]).tolist()
        return message

    def drive(at_s: int) -> None:
        """At 0.5 m/s along x, from x = 0 at 4 s."""
        place = rigid(np.eye(3), [0.5 * (at_s - 4), 0, 0])
        driving.sendTransform(transform("odom", "base_link", place, at_s))

    node = start(fixed_frame="odom", floor_frame="base_link")
    still, driving = (
        tf2_ros.StaticTransformBroadcaster(ros.node),
        tf2_ros.TransformBroadcaster(ros.node),
    )
    looks = inverse_transform(look_at([0, 0, 1.2], [5, 0, 1.2]))
    still.sendTransform(transform("base_link", "camera", looks, 0))
    wait_for(lambda: driving.pub_tf.get_subscription_count() > 0, "the node hears /tf")
    drive(4)
    drive(6)
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    publisher.publish(image(3, seconds=5))
    wait_for(lambda: joints, "joints")
    camera, floor = node._pipeline.cameras[-1], node._pipeline.floors[-1]
    np.testing.assert_allclose(camera.position_m, [0.5, 0, 1.2], atol=1e-9)
    assert floor.height_m == pytest.approx(1.2)
    publisher.publish(image(3, seconds=7))
    ros.line("odom: frame skipped: expected a transform from 'odom' to 'camera' at 7.000 s")
    drive(8)
    publisher.publish(image(3, seconds=8))
    wait_for(lambda: len(joints) == 2, "joints again")
    np.testing.assert_allclose(node._pipeline.cameras[-1].position_m, [2, 0, 1.2], atol=1e-9)


def test_without_tf2_ros_the_camera_s_height_serves(
    ros: Any, start: Any, camera_info: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2_ros", None)
    node = start(fixed_frame="floor", camera_height_m=1.2)
    ros.line("tf2_ros is not installed", "a camera that does not move")
    joints = ros.collect(PointCloud2, "joints")
    ros.publisher(Image, "image").publish(image(3))
    wait_for(lambda: joints, "joints")
    assert joints[-1].header.frame_id == "floor" and node._pipeline.floors == [None]


def test_a_rig_file_tells_where_its_camera_stands_without_tf(
    ros: Any, start: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2_ros", None)
    stands = replace(CAMERA, camera_from_world=look_at([1, 2, 1.5], [5, 2, 1]))
    write_rig(tmp_path / "rig.yaml", RigFile({"left": stands}, "lab"))
    given = {"rig": str(tmp_path / "rig.yaml"), "rig_camera": "left"}
    node = start(**given, fixed_frame="lab", floor_frame="lab")
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    wait_for(lambda: joints or publisher.publish(image(3)), "joints")
    assert joints[-1].header.frame_id == "lab"
    camera, floor = node._pipeline.cameras[-1], node._pipeline.floors[-1]
    np.testing.assert_allclose(camera.camera_from_world, stands.camera_from_world, atol=1e-9)
    assert floor is not None and floor.height_m == pytest.approx(1.5)


def test_a_fixed_frame_that_nothing_tells_is_refused(
    ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2_ros", None)
    monkeypatch.setattr(monocular, "MonocularPipeline", StandIn)
    node = ros.add(
        monocular.MonocularNode(parameter_overrides=[Parameter("fixed_frame", value="odom")])
    )
    assert not node.start()
    ros.line("cannot configure", "needs tf2_ros", "set camera_height_m")


def test_a_camera_of_a_rig_needs_no_transforms(
    ros: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``pose3d up multiview fixed_frame:=map`` tells the frame to its 2D nodes as well."""
    monkeypatch.setitem(__import__("sys").modules, "tf2_ros", None)
    start(fixed_frame="map", lift=False)
    keypoints = ros.collect(PointCloud2, "keypoints")
    ros.publisher(Image, "image").publish(image(3))
    wait_for(lambda: keypoints, "keypoints")
    assert keypoints[-1].header.frame_id == "camera"
