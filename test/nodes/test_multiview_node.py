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

"""The multi-view node over real DDS: 2D poses of a rig with known truth in, people in the fixed
frame out.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
from conftest import wait_for
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from geometry_msgs.msg import Transform
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rigs import detected, ring, standing
from sensor_msgs.msg import CameraInfo, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import quaternion_from_rotation, transform_points
from pose3d_ros.io.joints_cloud import JOINTS, people_3d
from pose3d_ros.io.keypoints_cloud import KEYPOINTS, people_2d
from pose3d_ros.io.rig_file import RigFile, write_rig
from pose3d_ros.multiview import calibration_monitor, pose_buffer
from pose3d_ros.multiview import tracker as multiview_tracker
from pose3d_ros.nodes import messages, multiview, rig_checks
from pose3d_ros.nodes.tf import TransformError, matrix_of
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import BODY30, EXTRA_JOINTS, H36M17, anchors

PERIOD_S = 0.03
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


class Scene:
    """Cameras that publish what they see of people who walk round, until told otherwise."""

    def __init__(self, ros: Any, folder: Path, cameras: list[Camera], people: int = 2) -> None:
        self.ros, self.folder, self.count = ros, folder, people
        self.names = [camera.frame_id for camera in cameras]
        self.cameras = cameras
        """Where they really are."""
        self.random = np.random.default_rng(0)
        self.joints: list[PointCloud2] = ros.collect(PointCloud2, "joints", QoSProfile(depth=1000))
        self.publishers = {
            name: ros.publisher(PointCloud2, f"{name}/keypoints", matched=False)
            for name in self.names
        }
        self.silent: set[str] = set()
        self.late_ns: dict[str, int] = {}
        self.spoil: dict[str, Callable[[PointCloud2], PointCloud2]] = {}
        self.lifted_sigma_m = 0.0
        """Of depths that cameras tell by themselves, if they do; 10 cm too far each."""

    def rig(self, cameras: Iterable[Camera] | None = None, **options: Any) -> str:
        """A rig file of the cameras, or of what they are thought to be."""
        path = self.folder / "rig.yaml"
        write_rig(
            path,
            RigFile(
                {camera.frame_id: camera for camera in cameras or self.cameras}, "map", **options
            ),
        )
        return str(path)

    def truth(self, stamp_ns: int) -> np.ndarray:
        """(P, 17, 3): people on circles of their own, each round in 12 s, 2 m apart."""
        side = max(1, int(np.ceil(np.sqrt(self.count))))
        middle = 2.0 * (np.stack(np.divmod(np.arange(self.count), side), -1) - (side - 1) / 2)
        turn = 2 * np.pi * (stamp_ns * 1e-9 / 12 % 1)
        angle = turn + np.arange(self.count)
        places = middle + 0.5 * np.stack([np.cos(angle), np.sin(angle)], -1)
        return standing(places, angle + np.pi / 2, 6 * turn)

    def show(self) -> None:
        """One moment."""
        stamp_ns, clouds = time.time_ns(), {}
        for camera, name in zip(self.cameras, self.names, strict=True):
            if name not in self.silent:
                told_ns = stamp_ns + self.late_ns.get(name, 0)
                seen = replace(
                    detected(camera, self.truth(stamp_ns), told_ns, self.random),
                    image_size=camera.size,
                )
                if self.lifted_sigma_m:
                    seen = self.lifted(camera, seen, stamp_ns)
                cloud = messages.keypoints_cloud(
                    seen, Header(stamp=messages.time_of(told_ns), frame_id=name)
                )
                clouds[name] = self.spoil.get(name, lambda cloud: cloud)(cloud)
        for (
            name,
            cloud,
        ) in clouds.items():  # at once: a busy machine must not make one camera later than another
            self.publishers[name].publish(cloud)

    def lifted(self, camera: Camera, seen: People2D, stamp_ns: int) -> People2D:
        """The same with depths, those of the person who is nearest in the picture."""
        truth = self.truth(stamp_ns)
        off = camera.project(truth) - seen.keypoints_px[:, None]
        owner = np.nanmean(np.linalg.norm(off, axis=-1), -1).argmin(1)
        depth = transform_points(camera.camera_from_world, truth)[owner, :, 2] + 0.1
        return replace(
            seen, depth_m=depth, depth_sigma_m=np.full(depth.shape, self.lifted_sigma_m)
        )

    def until(self, condition: Callable[[], Any], what: str, timeout_s: float = 15.0) -> Any:
        """Play until something has come about, then return it."""

        def step() -> Any:
            self.show()
            time.sleep(PERIOD_S)  # the cameras' rate
            return condition()

        return wait_for(step, what, timeout_s)

    def play(self, seconds: float) -> None:
        """Play on, until the people of a moment so many ``seconds`` from now are published."""
        due_ns = time.time_ns() + round(seconds * 1e9)
        self.until(
            lambda: self.joints and messages.stamp_ns(self.joints[-1].header) >= due_ns,
            "people later on",
        )

    def say(self, *words: str) -> str:
        """Play until a line with these words is logged, and return it."""
        self.until(
            lambda: any(all(w in line for w in words) for line in self.ros.log.splitlines()),
            f"{words}",
        )
        return str(self.ros.line(*words))

    def error_m(self, cloud: PointCloud2) -> np.ndarray:
        """(P,) mean distance of each true person's joints from the nearest published person; inf
        if there is none.
        """
        points = np.frombuffer(cloud.data, JOINTS).reshape(cloud.height, cloud.width)
        found = np.stack([points[axis] for axis in "xyz"], -1)
        truth = self.truth(messages.stamp_ns(cloud.header))
        distance = np.linalg.norm(found[None] - truth[:, None], axis=-1)
        return np.nanmean(distance, -1).min(1, initial=np.inf)

    def all_found(self, error_m: float = 0.05) -> bool:
        """Whether everybody, and nobody else, is in the newest message, in place."""
        return bool(
            self.joints
            and self.joints[-1].height == self.count
            and self.error_m(self.joints[-1]).max() < error_m
        )


@pytest.fixture
def scene(ros: Any, tmp_path: Path) -> Scene:
    """Two people before four cameras."""
    return Scene(ros, tmp_path, ring(4))


@pytest.fixture
def start(ros: Any) -> Callable[..., Any]:
    """Start a multi-view node; parameters as keywords."""

    def make(started: bool = True, **parameters: object) -> Any:
        node = ros.add(
            multiview.MultiviewNode(
                parameter_overrides=[
                    Parameter(name, value=value) for name, value in parameters.items()
                ]
            )
        )
        assert node.start() == started
        return node

    return make


def test_people_in_the_fixed_frame(ros: Any, scene: Scene, start: Any) -> None:
    start(rig=scene.rig())
    markers = ros.collect(MarkerArray, "markers")
    scene.until(scene.all_found, "everybody in place")
    before = len(scene.joints)
    scene.play(1.0)
    clouds = scene.joints[before:]
    assert len(clouds) > 10 and all(
        cloud.header.frame_id == "map" and cloud.width == 17 for cloud in clouds
    )
    assert np.mean([scene.error_m(cloud).mean() for cloud in clouds]) < 0.02, (
        "2 px at 5 m are 1 cm"
    )
    ids = {
        int(person) for cloud in clouds for person in np.frombuffer(cloud.data, JOINTS)["person"]
    }
    assert len(ids) == 2
    assert markers[-1].markers[0].header.frame_id == "map"
    assert "WARN" not in ros.log, ros.log


def test_feet_of_two_cameras_beside_two_that_know_none(scene: Scene, start: Any) -> None:
    own = anchors(BODY30)

    def with_extra_joints(cloud: PointCloud2) -> PointCloud2:
        """Each 20 px or 40 px (11 or 22 cm) below the joint that it hangs from."""
        seen = people_2d(cloud, BODY30)
        pixels = seen.keypoints_px[:, own]
        pixels[:, 17:, 1] += [40 if joint[2:] in ("ear", "foot") else 20 for joint in EXTRA_JOINTS]
        seen = replace(seen, keypoints_px=pixels, confidence=seen.confidence[:, own])
        return messages.keypoints_cloud(seen, cloud.header)

    scene.spoil = dict.fromkeys(scene.names[:2], with_extra_joints)
    start(rig=scene.rig(), skeleton="body30")
    scene.until(lambda: scene.joints and scene.joints[-1].height == scene.count, "everybody")
    scene.play(0.5)
    people = people_3d(scene.joints[-1])
    assert people.skeleton is BODY30 and len(people) == scene.count
    below_m = (people.joints_m[:, own] - people.joints_m)[:, 17:, 2]
    assert (below_m > 0.05).all() and (below_m < 0.35).all()


def test_nobody_is_height_zero(scene: Scene, start: Any) -> None:
    start(rig=scene.rig())
    scene.count = 0
    cloud = scene.until(lambda: scene.joints and scene.joints[-1], "an empty message")
    assert (cloud.height, cloud.width) == (0, 17)


def test_a_camera_that_stops_and_comes_back_with_another_qos(
    ros: Any, scene: Scene, start: Any
) -> None:
    start(rig=scene.rig())
    scene.until(scene.all_found, "everybody in place")
    scene.silent = {"cam0"}
    scene.say("no message on /cam0/keypoints for 2 s")
    assert scene.all_found(), "the others go on"
    ros.node.destroy_publisher(scene.publishers["cam0"])
    best_effort = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
    scene.publishers["cam0"] = ros.publisher(
        PointCloud2, "cam0/keypoints", best_effort, matched=False
    )
    scene.silent = {"cam1", "cam2"}  # so that it is needed
    scene.until(scene.publishers["cam0"].get_subscription_count, "the new publisher's match")
    scene.play(1.5)
    scene.until(scene.all_found, "everybody by the camera that is back and the last other one")


def test_a_person_whom_one_camera_alone_sees_keeps_the_id(scene: Scene, start: Any) -> None:
    """Cameras that lift go on alone for longer than two views would be remembered."""
    scene.lifted_sigma_m = 0.2
    start(rig=scene.rig())
    scene.until(scene.all_found, "everybody in place")

    def now() -> tuple[set[int], float]:
        points = np.frombuffer(scene.joints[-1].data, JOINTS)
        return set(points["person"].tolist()), float(np.nanmedian(points["sigma"]))

    ids, sigma_m = now()
    scene.silent = {"cam1", "cam2", "cam3"}
    scene.play(multiview_tracker.ONE_VIEW_S + 1.0)
    assert scene.all_found(0.5), "in place, as well as one camera can tell"
    alone_ids, alone_sigma_m = now()
    assert alone_ids == ids and alone_sigma_m > 2 * sigma_m
    scene.silent = set()
    scene.until(scene.all_found, "everybody in place again")
    assert now()[0] == ids


def test_max_latency_bounds_the_wait_for_a_camera(
    scene: Scene, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A camera that speaks four times and is silent four times: the moments come without it in the
    end.
    """
    monkeypatch.setattr(pose_buffer, "LIVE_S", 1000.0)  # nothing else ends the wait
    start(rig=scene.rig(), max_latency_s=0.05)
    scene.until(scene.all_found, "everybody in place")
    before = len(scene.joints)
    for turn in range(24):
        scene.silent = {"cam3"} if turn % 8 >= 4 else set()
        scene.play(0)
    assert all(scene.error_m(cloud).max() < 0.05 for cloud in scene.joints[before:])


def test_stamps_repeated_and_out_of_order(scene: Scene, start: Any) -> None:
    start(rig=scene.rig())
    scene.until(scene.all_found, "everybody in place")
    kept: list[PointCloud2] = []

    def shuffled(cloud: PointCloud2) -> PointCloud2:
        kept.append(cloud)
        turn = len(kept)
        return (
            kept[-3]
            if turn % 3 == 0 and turn > 3
            else kept[-2]
            if turn % 7 == 0 and turn > 7
            else cloud
        )

    scene.spoil = {"cam1": shuffled}
    scene.play(1.0)
    scene.until(scene.all_found, "everybody still in place")
    scene.spoil = {"cam1": lambda cloud: kept[-1]}
    scene.say("camera cam1: not used", "stamp", "again", "must stamp")
    scene.until(scene.all_found, "everybody by the others")
    stamps = [messages.stamp_ns(cloud.header) for cloud in scene.joints]
    assert stamps == sorted(set(stamps))


@pytest.mark.parametrize(("offset_s", "words"), [(7.0, "7.0 s ahead of"), (-3.0, "3.0 s behind")])
def test_a_clock_that_is_off(
    ros: Any, scene: Scene, start: Any, offset_s: float, words: str
) -> None:
    node = start(rig=scene.rig())
    scene.late_ns = {"cam2": round(offset_s * 1e9)}
    scene.say("camera cam2", f"stamps are {words} the other cameras'", "chrony")
    scene.until(scene.all_found, "everybody by the others")
    assert "camera cam0" not in ros.log
    scene.late_ns = {}
    scene.until(lambda: "cam2 clock" not in node.problems, "the end of the problem")


def test_keypoints_that_are_none(ros: Any, scene: Scene, start: Any) -> None:
    start(rig=scene.rig())

    def with_nan(cloud: PointCloud2) -> PointCloud2:
        points = np.frombuffer(cloud.data, KEYPOINTS).copy().reshape(cloud.height, cloud.width)
        points["x"][:, ::2], points["confidence"][:, 1::2], points["y"][:, 3] = (
            np.nan,
            np.nan,
            np.inf,
        )
        cloud.data = points.tobytes()
        return cloud

    def narrow(cloud: PointCloud2) -> PointCloud2:
        cloud.width = 5
        return cloud

    scene.spoil = {"cam0": with_nan, "cam1": narrow}
    scene.say("camera cam1: keypoints not used", "expected a cloud of width 17")
    scene.until(scene.all_found, "everybody by the others")
    assert "camera cam0" not in ros.log and "skipped" not in ros.log


def test_keypoints_of_a_smaller_image_than_calibrated(scene: Scene, start: Any) -> None:
    rig = scene.rig()
    scene.cameras = [
        camera.at_resolution(640, 480) if i == 1 else camera
        for i, camera in enumerate(scene.cameras)
    ]
    scene.silent = {"cam2", "cam3"}
    start(rig=rig)
    scene.until(scene.all_found, "everybody by two cameras, one of half its size")


def test_keypoints_of_another_form_of_image_than_calibrated(scene: Scene, start: Any) -> None:
    start(rig=scene.rig())
    scene.cameras[1] = replace(scene.cameras[1], size=(1280, 720))
    scene.say("camera cam1: left out", "1280x720", "calibrated for 1280x960")
    scene.until(scene.all_found, "everybody by the others")


def test_camera_info_that_contradicts_the_rig_file(ros: Any, scene: Scene, start: Any) -> None:
    zoomed = replace(scene.cameras[1], matrix=scene.cameras[1].matrix * [[1.5], [1.5], [1]])
    ros.publisher(CameraInfo, "cam1/camera_info", LATCHED, matched=False).publish(
        messages.camera_info(zoomed, Header(frame_id="cam1"))
    )
    ros.publisher(CameraInfo, "cam2/camera_info", LATCHED, matched=False).publish(
        CameraInfo(width=1280, height=960)
    )
    start(rig=scene.rig())
    scene.say(
        "camera cam1: camera_info is of another lens than the rig file, which is used: fx 900",
        "to 1350 px",
        "calibrate",
    )
    scene.until(scene.all_found, "everybody: the file is right")
    assert "camera cam2" not in ros.log, (
        "a driver without calibration is fine when the rig file has it"
    )


def test_a_camera_that_has_moved(
    ros: Any, scene: Scene, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_monitor, "WINDOW_S", 1.0)
    monkeypatch.setattr(calibration_monitor, "MIN_SAMPLES", 10)
    node = start(rig=scene.rig(), diagnostics_period_s=0.3)
    diagnostics = ros.collect(DiagnosticArray, "/diagnostics")
    scene.until(scene.all_found, "everybody in place")
    scene.play(2.0)
    assert not node.problems
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.radians([0, 5.0, 0]))[0]
    original = scene.cameras[3]
    scene.cameras[3] = replace(original, camera_from_world=turn @ original.camera_from_world)
    line = scene.say(
        "camera cam3: has moved",
        "px from where the other cameras see them",
        "pose3d calibrate refine",
    )
    px = float(line.split("sees people ")[1].split(" px")[0])
    assert px == pytest.approx(900 * np.tan(np.radians(5)), rel=0.35), (
        "5 degrees at 900 px focal length"
    )
    assert scene.all_found(), "the others go on"
    assert "cam0 moved" not in node.problems

    def told() -> bool:
        return any(
            status.name == "multiview/cam3"
            and status.level == DiagnosticStatus.WARN
            and "has moved" in status.message
            for status in diagnostics[-1].status
        )

    scene.until(told, "the alarm in diagnostics")
    scene.cameras[3] = original
    scene.until(lambda: "cam3 moved" not in node.problems, "the end of the alarm")


def test_stamps_in_microseconds(ros: Any, scene: Scene, start: Any) -> None:
    def in_microseconds(cloud: PointCloud2) -> PointCloud2:
        cloud.header.stamp = messages.time_of(messages.stamp_ns(cloud.header) // 1000)
        return cloud

    start(rig=scene.rig())
    scene.spoil = dict.fromkeys(scene.names, in_microseconds)
    for name in scene.names:
        scene.say(f"camera {name}: not used: its stamps advance by", "does the driver take micro-")
    before = len(scene.joints)
    for _ in range(10):
        scene.show()
        time.sleep(PERIOD_S)
    assert len(scene.joints) <= before + 1, "nobody is made of them"
    scene.spoil = {}
    scene.until(scene.all_found, "everybody, once the stamps are right")


def test_cameras_that_are_exchanged_in_the_rig_file(
    ros: Any, scene: Scene, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibration_monitor, "WINDOW_S", 1.0)
    monkeypatch.setattr(calibration_monitor, "MIN_SAMPLES", 10)
    first, second, *others = scene.cameras
    exchanged = [replace(second, frame_id="cam0"), replace(first, frame_id="cam1"), *others]
    start(rig=scene.rig(exchanged))
    scene.say("has moved, or its calibration is wrong", "cameras cam0 and cam1 are exchanged")


def test_cameras_that_do_not_fit_together(
    ros: Any, tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig_checks, "DISAGREEMENT_S", 1.0)
    scene = Scene(ros, tmp_path, ring(2))
    wrong = scene.cameras[1].camera_from_world.copy()
    wrong[:3, 3] += [3.0, 1.0, 2.0]
    start(rig=scene.rig([scene.cameras[0], replace(scene.cameras[1], camera_from_world=wrong)]))
    scene.say("several cameras see people", "no two see the same", "calibration")


def test_clock_that_the_rig_file_knows_to_be_off(ros: Any, scene: Scene, start: Any) -> None:
    scene.late_ns = {"cam1": 250_000_000}
    offsets_s = {"cam0": 0.0, "cam1": -0.25, "cam2": 0.0, "cam3": 0.0}
    node = start(rig=scene.rig(time_offsets_s=offsets_s))
    scene.until(scene.all_found, "everybody in place")
    before = len(scene.joints)
    scene.play(1.0)
    clouds = scene.joints[before:]
    assert np.mean([scene.error_m(cloud).mean() for cloud in clouds]) < 0.02
    assert "cam1 clock" not in node.problems and "cam1 moved" not in node.problems


def test_cameras_that_tell_of_moments_of_their_own(
    ros: Any, tmp_path: Path, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig_checks, "APART_S", 1.0)
    scene = Scene(ros, tmp_path, ring(2))
    node = start(rig=scene.rig(), max_latency_s=0.05)

    def one_after_the_other() -> bool:
        for name in scene.names:
            scene.silent = set(scene.names) - {name}
            scene.show()
            time.sleep(0.25)  # each is slow, and the other's moments lie between its own
        return "of most moments only one camera sent its poses" in ros.log

    wait_for(one_after_the_other, "a line that says so", 20.0)
    assert "max_latency_s (0.05 s)" in ros.log
    scene.silent = set()
    scene.until(lambda: scene.all_found() and "apart" not in node.problems, "everybody")


def test_one_camera_alone(ros: Any, tmp_path: Path, start: Any) -> None:
    scene = Scene(ros, tmp_path, ring(1))
    start(rig=scene.rig())
    scene.say("only camera cam0 is heard", "the monocular node")
    assert scene.joints and all(cloud.height == 0 for cloud in scene.joints)


def test_one_camera_with_depth_is_enough(ros: Any, tmp_path: Path, start: Any) -> None:
    scene = Scene(ros, tmp_path, ring(1))
    camera = scene.cameras[0]

    def with_depth(cloud: PointCloud2) -> PointCloud2:
        people = people_2d(cloud, H36M17)
        truth = scene.truth(people.stamp_ns)
        apart = np.linalg.norm(people.keypoints_px[:, None] - camera.project(truth), axis=-1)
        joints = truth[np.nanmean(apart, -1).argmin(1)]  # the detector's order is random
        depth = joints @ camera.camera_from_world[2, :3] + camera.camera_from_world[2, 3]
        depth = depth + scene.random.normal(0, 0.03, depth.shape)
        return messages.keypoints_cloud(
            replace(people, depth_m=depth, depth_sigma_m=np.full(depth.shape, 0.04)), cloud.header
        )

    scene.spoil = {"cam0": with_depth}
    start(rig=scene.rig())
    scene.until(lambda: scene.all_found(0.1), "everybody in place")
    scene.play(2.5)
    assert "only camera" not in ros.log


def test_forty_people(ros: Any, tmp_path: Path, start: Any) -> None:
    scene = Scene(ros, tmp_path, ring(4, radius=14.0, height=6.0), people=40)
    start(rig=scene.rig())
    scene.until(
        lambda: (
            scene.joints
            and scene.joints[-1].height >= 38
            and np.median(scene.error_m(scene.joints[-1])) < 0.05
        ),
        "forty people",
        30,
    )
    assert "skipped" not in ros.log


def test_diagnostics(ros: Any, scene: Scene, start: Any) -> None:
    start(rig=scene.rig(), diagnostics_period_s=0.4)
    received = ros.collect(DiagnosticArray, "/diagnostics")
    scene.late_ns = {"cam1": -150_000_000}

    def measured() -> dict[str, dict[str, float]] | None:
        if not received:
            return None
        values = {
            status.name: {v.key: float(v.value) for v in status.values}
            for status in received[-1].status
        }
        camera = values["multiview/cam1"]
        # A busy node hears the cameras of one moment some time after each other, which looks like
        # their clocks.
        settled = (
            abs(camera.get("clock_offset_ms", 0) + 150) < 75
            and camera.get("contribution", 0) > 0.9
        )
        return values if settled and "residual_px" in values["multiview/cam3"] else None

    values = scene.until(
        measured, "the offset of a clock that is 150 ms behind, and all cameras' residuals"
    )
    assert set(values) == {"multiview", *(f"multiview/cam{i}" for i in range(4))}
    assert {
        "rate_hz",
        "latency_p50_ms",
        "latency_p95_ms",
        "fuse_p50_ms",
        "publish_max_ms",
        "cameras",
    } <= set(values["multiview"])
    camera = values["multiview/cam1"]
    assert camera["rate_hz"] > 5 and 0 <= camera["age_ms"] < 1000
    assert 0.5 < camera["residual_px"] < 10, "the noise has 2 px"


def test_cameras_that_send_while_nobody_is_found_are_a_warning(
    ros: Any, scene: Scene, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rig_checks, "NOBODY_S", 0.5)
    start(rig=scene.rig(), diagnostics_period_s=0.2)
    received = ros.collect(DiagnosticArray, "/diagnostics")
    scene.count = 0

    def warned() -> str | None:
        status = received[-1].status[0] if received else None
        return status.message if status and "nobody was found" in status.message else None

    scene.until(warned, "a warning in /diagnostics")
    assert "no camera has seen anybody" in str(warned())
    assert received[-1].status[0].level == DiagnosticStatus.WARN
    assert received[-1].status[1].hardware_id == "/cam0/keypoints"
    scene.count = 2
    scene.until(lambda: not warned() and scene.all_found(), "the end of it")


def test_a_subscriber_that_asks_for_too_much(ros: Any, scene: Scene, start: Any) -> None:
    start(rig=scene.rig())
    ros.collect(PointCloud2, "joints", LATCHED)
    scene.say("a subscriber of /joints gets nothing", "DURABILITY")
    scene.until(scene.all_found, "everybody for the others")


def test_a_moment_that_fails_costs_a_line(
    ros: Any, scene: Scene, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = start(rig=scene.rig())
    scene.until(scene.all_found, "everybody in place")
    update = node._tracker.update

    def fail(people: list[People2D | None], stamp_ns: int) -> None:
        node._tracker.update = update
        raise FloatingPointError("out of\nthis world")

    node._tracker.update = fail
    scene.say(
        "2D poses of one moment skipped, tracking starts again: FloatingPointError: out of this "
        "world"
    )
    scene.until(scene.all_found, "everybody again")


def test_down_and_up_again(scene: Scene, start: Any) -> None:
    node = start(rig=scene.rig())
    scene.until(scene.all_found, "everybody in place")
    node.trigger_deactivate()
    node.trigger_cleanup()
    node.trigger_configure()
    node.trigger_activate()
    before = len(scene.joints)
    scene.until(lambda: len(scene.joints) > before and scene.all_found(), "everybody in place")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, ("No such file",)),
        ("frame_id: map", ("expected our rig YAML",)),
        (
            "cameras: {left: {camera_matrix: [[0, 0, 0], [0, 0, 0], [0, 0, 1]], image_width: 640, "
            "image_height: 480}}",
            ("camera left", "positive focal lengths"),
        ),
        (
            "cameras: {left door: {camera_matrix: [[500, 0, 320], [0, 500, 240], [0, 0, 1]], "
            "image_width: 640, image_height: 480,"
            " position_m: [0, 0, 0], orientation_xyzw: [0, 0, 0, 1]}}",
            ("camera left door", "expected a namespace", "rig file"),
        ),
    ],
)
def test_rig_files_that_are_none(
    ros: Any, tmp_path: Path, start: Any, text: str | None, words: tuple[str, ...]
) -> None:
    path = tmp_path / "rig.yaml"
    if text:
        path.write_text(text)
    start(started=False, rig=str(path))
    ros.line("cannot", *words)


def test_a_rig_or_names_are_needed(ros: Any, start: Any) -> None:
    start(started=False)
    ros.line("cannot configure: expected rig", "got neither")


class KnownTransforms:
    """In the place of tf2_ros, which comes with a ROS distribution only: a table, through the same
    message.
    """

    table: dict[str, np.ndarray] = {}

    def __init__(self, node: Any, remedy: str) -> None:
        pass

    def target_from(self, fixed_frame: str, camera_frame: str, stamp_ns: int) -> np.ndarray:
        if camera_frame not in self.table:
            raise TransformError(f"expected a transform from '{fixed_frame}' to '{camera_frame}'")
        matrix, message = self.table[camera_frame], Transform()
        message.translation.x, message.translation.y, message.translation.z = matrix[
            :3, 3
        ].tolist()
        rotation = message.rotation
        rotation.x, rotation.y, rotation.z, rotation.w = quaternion_from_rotation(
            matrix[:3, :3]
        ).tolist()
        return matrix_of(message)

    def close(self) -> None:
        pass


@pytest.fixture
def transforms(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> dict[str, np.ndarray]:
    """Where the cameras are according to TF."""
    table = {camera.frame_id: camera.camera_from_world for camera in scene.cameras}
    monkeypatch.setattr(KnownTransforms, "table", table)
    monkeypatch.setattr(multiview, "TransformLookup", KnownTransforms)
    return table


def informed(ros: Any, camera: Camera, **changes: Any) -> None:
    """Publish a camera's calibration."""
    info = messages.camera_info(camera, Header(frame_id=camera.frame_id))
    for name, value in changes.items():
        setattr(info, name, value)
    ros.publisher(CameraInfo, f"{camera.frame_id}/camera_info", LATCHED, matched=False).publish(
        info
    )


def test_poses_from_tf_and_intrinsics_from_camera_info(
    ros: Any, scene: Scene, start: Any, transforms: dict[str, np.ndarray]
) -> None:
    for camera in scene.cameras[:3]:
        informed(ros, camera)
    informed(ros, scene.cameras[3], k=[0.0] * 9)
    missing = transforms.pop("cam2")
    node = start(cameras="cam0 cam1 cam2 cam3", fixed_frame="odom")
    scene.say("camera cam2: left out: expected a transform from 'odom' to 'cam2'")
    scene.say("camera cam3: left out: camera_info on /cam3/camera_info", "fx=0", "not calibrated")
    scene.until(scene.all_found, "everybody by the two others")
    assert scene.joints[-1].header.frame_id == "odom"
    transforms["cam2"] = missing
    scene.silent = {"cam0"}
    scene.until(lambda: "cam2 pose" not in node.problems, "the end of the problem")
    scene.play(1.0)
    scene.until(scene.all_found, "everybody by the one that has joined")


def test_intrinsics_from_the_rig_file_and_poses_from_tf(
    scene: Scene, start: Any, transforms: dict[str, np.ndarray]
) -> None:
    start(rig=scene.rig(posed=False))
    scene.until(scene.all_found, "everybody in place")


def test_two_cameras_at_one_place(
    ros: Any, scene: Scene, start: Any, transforms: dict[str, np.ndarray]
) -> None:
    transforms["cam3"] = transforms["cam1"]
    start(rig=scene.rig(posed=False))
    scene.say("camera cam3: left out: TF has it exactly where camera cam1 is")
    scene.until(scene.all_found, "everybody by the others")


def test_tf_without_tf2_ros_is_one_line(
    ros: Any, scene: Scene, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tf2_ros", None)
    start(started=False, rig=scene.rig(posed=False))
    ros.line("cannot configure", "needs tf2_ros", "set rig")


def test_the_real_tf(ros: Any, scene: Scene, start: Any) -> None:
    tf2_ros = pytest.importorskip("tf2_ros", reason="comes with a ROS distribution only")
    from geometry_msgs.msg import TransformStamped

    broadcaster = tf2_ros.StaticTransformBroadcaster(ros.node)
    sent = []
    for camera in scene.cameras:
        message = TransformStamped(header=Header(frame_id="map"), child_frame_id=camera.frame_id)
        t, q = message.transform.translation, message.transform.rotation
        t.x, t.y, t.z = camera.position_m.tolist()
        q.x, q.y, q.z, q.w = quaternion_from_rotation(camera.camera_from_world[:3, :3].T).tolist()
        sent.append(message)
    start(rig=scene.rig(posed=False))
    scene.say("camera cam0: left out: expected a transform from 'map' to 'cam0'")
    broadcaster.sendTransform(sent)
    scene.until(scene.all_found, "everybody in place")
