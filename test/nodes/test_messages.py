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

"""The layout of the topics is a contract: these tests read the bytes as a stranger would."""

from __future__ import annotations

import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 messages")
from bodies import STANDING_M
from rigs import ring, standing
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField, RegionOfInterest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.geometry import rotation_from_quaternion
from pose3d_ros.io.camera_info import camera_from_info
from pose3d_ros.io.image_encodings import ImageError
from pose3d_ros.io.joints_cloud import people_3d
from pose3d_ros.io.keypoints_cloud import CloudError, people_2d
from pose3d_ros.nodes import image_messages, messages
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.skeleton import H36M17

HEADER = Header(frame_id="camera")
HEADER.stamp.sec, HEADER.stamp.nanosec = 12, 34


def two_people() -> People3D:
    random = np.random.default_rng(0)
    joints = random.normal(size=(2, 17, 3)).astype(np.float32)
    joints[1, 3] = np.nan
    return People3D(
        H36M17,
        joints,
        random.uniform(size=(2, 17)),
        random.uniform(size=(2, 17)),
        random.normal(size=(2, 17, 3)),
        np.array([4, 9]),
        np.array([TrackState.CONFIRMED, TrackState.OCCLUDED]),
        12_000_000_034,
        "camera",
    )


def nobody() -> People3D:
    joints = np.zeros((0, 17, 3))
    return People3D(
        H36M17,
        joints,
        joints[..., 0],
        joints[..., 0],
        joints,
        np.zeros(0),
        np.zeros(0),
        0,
        "camera",
    )


def read(cloud: PointCloud2, row: int, column: int) -> dict[str, float]:
    """One point, from the field table alone."""
    start = row * cloud.row_step + column * cloud.point_step
    letter = {PointField.FLOAT32: "f", PointField.INT32: "i"}
    return {
        field.name: struct.unpack_from(
            "<" + letter[field.datatype], bytes(cloud.data), start + field.offset
        )[0]
        for field in cloud.fields
    }


def test_joints_are_an_organised_cloud() -> None:
    people = two_people()
    cloud = messages.joints_cloud(people, HEADER)
    assert (cloud.height, cloud.width) == (2, 17)
    assert [(field.name, field.datatype) for field in cloud.fields] == [
        *(
            (name, PointField.FLOAT32)
            for name in ("x", "y", "z", "confidence", "sigma", "vx", "vy", "vz")
        ),
        ("person", PointField.INT32),
        ("joint", PointField.INT32),
        ("state", PointField.INT32),
    ]
    assert not cloud.is_dense and not cloud.is_bigendian
    assert len(cloud.data) == cloud.height * cloud.row_step == 2 * 17 * cloud.point_step
    assert cloud.header == HEADER
    for person in range(2):
        for joint in range(17):
            point = read(cloud, person, joint)
            assert np.array_equal(
                [point["x"], point["y"], point["z"]],
                people.joints_m[person, joint],
                equal_nan=True,
            )
            assert [point["vx"], point["vy"], point["vz"]] == people.velocity_mps[
                person, joint
            ].tolist()
            assert point["confidence"] == people.confidence[person, joint]
            assert point["sigma"] == people.sigma_m[person, joint]
            assert (point["person"], point["joint"]) == (people.ids[person], joint)
            assert point["state"] == people.states[person]


def test_sensor_msgs_py_reads_joints() -> None:
    point_cloud2 = pytest.importorskip(
        "sensor_msgs_py.point_cloud2", reason="comes with a ROS distribution only"
    )
    people = two_people()
    # Its reshape_organized_cloud gives (width, height), which mixes people up: reshaping is the
    # reader's.
    points = point_cloud2.read_points(messages.joints_cloud(people, HEADER)).reshape(2, 17)
    assert np.array_equal(points["x"], people.joints_m[..., 0], equal_nan=True)
    assert np.array_equal(points["person"][:, 0], people.ids)


def with_covariance() -> People3D:
    """Two people whose joints have ellipsoids of axes of 1, 2 and 3 dm, turned any way."""
    people = two_people()
    turns = np.random.default_rng(1).normal(size=(2, 17, 4))
    turns = np.array([[rotation_from_quaternion(q) for q in row] for row in turns])
    covariance = turns @ np.diag([0.01, 0.04, 0.09]) @ turns.swapaxes(-1, -2)
    covariance[1, 3] = np.nan
    return replace(people, covariance_m2=covariance)


def test_covariance_crosses_the_cloud() -> None:
    people = with_covariance()
    cloud = messages.joints_cloud(people, HEADER, covariance=True)
    point = read(cloud, 1, 5)
    assert people.covariance_m2 is not None
    assert point["cov_xy"] == people.covariance_m2[1, 5, 0, 1]
    assert point["cov_zz"] == people.covariance_m2[1, 5, 2, 2]
    back = people_3d(cloud, H36M17)
    assert back.covariance_m2 is not None
    np.testing.assert_array_equal(back.covariance_m2, people.covariance_m2)
    assert people_3d(messages.joints_cloud(people, HEADER), H36M17).covariance_m2 is None
    unknown = people_3d(messages.joints_cloud(two_people(), HEADER, covariance=True), H36M17)
    assert unknown.covariance_m2 is not None and np.isnan(unknown.covariance_m2).all()


def test_an_ellipsoid_is_the_covariance_of_its_joint() -> None:
    people = with_covariance()
    assert people.covariance_m2 is not None
    made = messages.markers(people, HEADER, covariance=True).markers
    balls = [marker for marker in made if marker.ns.startswith("covariance")]
    assert len(balls) == 2 * 17 - 1, "none where it is not known"
    ball = next(marker for marker in balls if (marker.ns, marker.id) == ("covariance_9", 5))
    turn, size = ball.pose.orientation, ball.scale
    axes = rotation_from_quaternion([turn.x, turn.y, turn.z, turn.w])
    drawn = axes @ np.diag(np.array([size.x, size.y, size.z]) / 2) ** 2 @ axes.T
    np.testing.assert_allclose(drawn, people.covariance_m2[1, 5], atol=1e-6)
    assert not any(m.ns.startswith("covariance") for m in messages.markers(people, HEADER).markers)


def test_nobody_is_a_cloud_of_height_zero() -> None:
    cloud = messages.joints_cloud(nobody(), HEADER)
    assert (cloud.height, cloud.width, len(cloud.data)) == (0, 17, 0)


def test_keypoints_have_the_same_layout_in_pixels() -> None:
    pixels = np.arange(34, dtype=np.float32).reshape(1, 17, 2)
    people = People2D(H36M17, pixels, np.full((1, 17), 0.5), 0, (640, 480), np.array([7]))
    cloud = messages.keypoints_cloud(people, HEADER)
    assert (cloud.height, cloud.width) == (1, 17)
    point = read(cloud, 0, 5)
    assert np.isnan([point.pop("depth"), point.pop("depth_sigma")]).all()
    assert point == {
        "x": 10.0,
        "y": 11.0,
        "confidence": 0.5,
        "person": 7,
        "joint": 5,
        "image_width": 640,
        "image_height": 480,
        "state": 1,
    }


def test_keypoints_there_and_back() -> None:
    pixels = np.random.default_rng(0).uniform(0, 400, (3, 17, 2)).astype(np.float32)
    people = People2D(
        H36M17, pixels, np.full((3, 17), 0.5), 12_000_000_034, (640, 480), np.array([7, 2, 5])
    )
    back = people_2d(messages.keypoints_cloud(people, HEADER), H36M17)
    assert np.array_equal(back.keypoints_px, pixels) and np.array_equal(
        back.confidence, people.confidence
    )
    assert (back.ids.tolist(), back.stamp_ns, back.image_size) == (
        [7, 2, 5],
        12_000_000_034,
        (640, 480),
    )
    assert back.depth_m is None
    assert len(people_2d(messages.keypoints_cloud(people[:0], HEADER), H36M17)) == 0
    depth = np.full((3, 17), 4.0)
    depth[1, 2] = np.nan
    told = replace(people, depth_m=depth, depth_sigma_m=np.where(np.isnan(depth), np.nan, 0.04))
    back = people_2d(messages.keypoints_cloud(told, HEADER), H36M17)
    assert back.depth_m is not None and np.array_equal(back.depth_m, depth, equal_nan=True)


def test_keypoints_of_another_maker() -> None:
    """The three fields that are needed, in another order, wider and padded."""
    dtype = np.dtype(
        {
            "names": ["confidence", "y", "x"],
            "formats": ["<f4", "<f8", "<f8"],
            "offsets": [0, 8, 16],
            "itemsize": 32,
        }
    )
    points = np.zeros((1, 17), dtype)
    points["x"], points["y"], points["confidence"] = 3, 4, 0.5
    points["x"][0, 1], points["confidence"][0, 2], points["confidence"][0, 3] = np.inf, np.nan, 7
    cloud = PointCloud2(
        header=HEADER,
        height=1,
        width=17,
        point_step=32,
        row_step=32 * 17,
        data=points.tobytes(),
        fields=[
            PointField(name=n, offset=o, datatype=t, count=1)
            for n, o, t in (
                ("confidence", 0, PointField.FLOAT32),
                ("y", 8, PointField.FLOAT64),
                ("x", 16, PointField.FLOAT64),
            )
        ],
    )
    people = people_2d(cloud, H36M17)
    assert people.keypoints_px[0, 0].tolist() == [3, 4] and people.image_size == (0, 0)
    assert people.confidence[0, :4].tolist() == [0.5, 0, 0, 1]
    assert np.isnan(people.keypoints_px[0, 1:3]).all()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: setattr(c, "width", 5), "expected a cloud of width 17.*got 5x1"),
        (
            lambda c: c.fields.pop(2),
            "expected the fields x, y and confidence.*: confidence missing",
        ),
        (lambda c: setattr(c, "fields", []), "got none"),
        (lambda c: setattr(c, "data", c.data[:100]), "got 100 bytes"),
        (lambda c: setattr(c.fields[0], "datatype", 99), "as the field x, got"),
        (lambda c: setattr(c.fields[0], "offset", 9999), "as the field x, got"),
    ],
)
def test_clouds_that_are_no_keypoints(spoil: Any, message: str) -> None:
    cloud = messages.keypoints_cloud(
        People2D(H36M17, np.ones((1, 17, 2)), np.ones((1, 17)), 0, (640, 480)), HEADER
    )
    spoil(cloud)
    with pytest.raises(CloudError, match=message) as error:
        people_2d(cloud, H36M17)
    assert "\n" not in str(error.value)


def test_markers_are_stable_and_deleted() -> None:
    people = two_people()
    first = messages.markers(people, HEADER).markers
    again = messages.markers(people, HEADER, gone=[3]).markers
    key = [(marker.ns, marker.id) for marker in first]
    assert sorted(key) == sorted(
        (ns, person) for ns in ("limbs", "joints", "id") for person in (4, 9)
    )
    assert [(m.ns, m.id) for m in again if m.action == Marker.DELETE] == [
        ("limbs", 3),
        ("joints", 3),
        ("id", 3),
    ]
    assert [(m.ns, m.id) for m in again if m.action == Marker.ADD] == key
    assert all(marker.lifetime.sec > 0 for marker in first)
    fixed = {
        m.id: m
        for m in messages.markers(people, HEADER, up=messages.FIXED_UP).markers
        if m.ns == "id"
    }
    head_m = people.joints_m[0, H36M17.index("head")]
    assert fixed[4].pose.position.z == pytest.approx(head_m[2] + 0.25), "z is up in a fixed frame"
    limbs = {marker.id: marker for marker in first if marker.ns == "limbs"}
    assert len(limbs[4].points) == len(limbs[4].colors) == 2 * 16
    assert len(limbs[9].points) == 2 * 15, "the ankle that is not known ends one limb"
    ends = [child for _, child in H36M17.limbs]
    left, right = ends.index("l_wrist"), ends.index("r_wrist")
    brightness = [max(c.r, c.g, c.b) for c in limbs[4].colors]
    assert brightness[2 * left] > brightness[2 * right]
    assert all(np.isfinite([p.x, p.y, p.z]).all() for marker in first for p in marker.points)


def test_what_is_not_seen_is_translucent() -> None:
    """A predicted person, and of one who is seen a wrist that is hidden and an ankle of which
    little is known.
    """
    wrist, ankle = H36M17.indices("l_wrist", "r_ankle")
    confidence, sigma = np.full((2, 17), 0.9), np.full((2, 17), 0.1)
    confidence[0, wrist], sigma[0, ankle] = 0.1, 0.3
    people = replace(
        people_of(np.stack([STANDING_M, STANDING_M]), "c"),
        confidence=confidence,
        sigma_m=sigma,
        states=np.array([TrackState.CONFIRMED, TrackState.OCCLUDED]),
    )
    drawn = {(m.ns, m.id): m for m in messages.markers(people, HEADER).markers}
    for joint, colour in enumerate(drawn["joints", 0].colors):
        assert (colour.a < 0.5) == (joint in (wrist, ankle)), H36M17.joints[joint]
    ends = [child for _, child in H36M17.limbs]
    for limb, colour in zip(ends, drawn["limbs", 0].colors[::2], strict=True):
        assert (colour.a < 0.5) == (limb in ("l_wrist", "r_ankle")), limb
    assert all(c.a < 0.5 for ns in ("limbs", "joints") for c in drawn[ns, 1].colors)


def people_of(joints_m: np.ndarray, frame_id: str) -> People3D:
    count = len(joints_m)
    return People3D(
        H36M17,
        joints_m,
        np.ones((count, 17)),
        np.zeros((count, 17)),
        0 * joints_m,
        np.arange(count),
        np.full(count, TrackState.CONFIRMED),
        0,
        frame_id,
    )


def test_the_id_floats_above_the_head_not_above_a_raised_hand() -> None:
    raised = STANDING_M.copy()
    raised[H36M17.index("l_wrist")] = 0.3, -1.2, 0.0  # y points down
    unknown = raised.copy()
    unknown[H36M17.index("head")] = np.nan
    texts = [
        marker.pose.position
        for marker in messages.markers(people_of(np.stack([raised, unknown]), "c"), HEADER).markers
        if marker.ns == "id"
    ]
    head, neck = (STANDING_M[H36M17.index(name)] for name in ("head", "neck"))
    assert (texts[0].x, texts[0].y) == pytest.approx((head[0], head[1] - 0.25))
    assert texts[1].y == pytest.approx(neck[1] - 0.25)


def axes(transform: Any) -> np.ndarray:
    """Columns: where a frame's axes point in its parent."""
    turn = transform.transform.rotation
    return rotation_from_quaternion([turn.x, turn.y, turn.z, turn.w])


@pytest.mark.parametrize("heading_deg", [0.0, 40.0, 170.0, -90.0])
def test_a_body_frame_is_at_mid_hips_x_forward_z_up(heading_deg: float) -> None:
    heading = np.radians(heading_deg)
    joints = standing(np.array([[2.0, 1.0]]), np.array([heading]))
    (body,) = messages.body_transforms(
        people_of(joints, "map"), Header(frame_id="map"), False, "pose3d/", messages.FIXED_UP
    )
    assert (body.header.frame_id, body.child_frame_id) == ("map", "pose3d/body_0")
    place = body.transform.translation
    assert (place.x, place.y, place.z) == pytest.approx(joints[0, 0].tolist())
    forward = [np.sin(heading), -np.cos(heading), 0]  # as rigs.standing turns people
    np.testing.assert_allclose(axes(body)[:, 0], forward, atol=0.15)
    np.testing.assert_allclose(axes(body)[:, 2], [0, 0, 1], atol=0.15)


def test_a_body_frame_in_an_optical_frame_faces_the_camera_with_the_person() -> None:
    """Somebody before the camera who looks into it: forward is -z, up is -y."""
    transforms = messages.body_transforms(people_of(STANDING_M[None], "camera"), HEADER, True)
    names = [transform.child_frame_id for transform in transforms]
    assert len(names) == 17 and names[0] == "body_0/pelvis" and "body_0/l_wrist" in names
    for transform in transforms:
        np.testing.assert_allclose(axes(transform)[:, 0], [0, 0, -1], atol=1e-5)
        np.testing.assert_allclose(axes(transform)[:, 2], [0, -1, 0], atol=1e-5)


def test_a_body_of_which_little_is_known_has_a_frame_all_the_same() -> None:
    joints = np.full((1, 17, 3), np.nan, np.float32)
    joints[0, 0] = 1, 2, 3
    (body,) = messages.body_transforms(people_of(joints, "map"), HEADER, False, up=(0, 0, 1))
    np.testing.assert_allclose(axes(body)[:, 2], [0, 0, 1], atol=1e-6)
    assert np.linalg.det(axes(body)) == pytest.approx(1)


def test_cameras_of_a_rig_in_its_world() -> None:
    """A transform maps points of the camera's frame into the world, as tf2 has it."""
    cameras = ring(3)
    world = Header(frame_id="map")
    for camera, transform in zip(cameras, messages.camera_transforms(cameras, world), strict=True):
        assert (transform.header.frame_id, transform.child_frame_id) == ("map", camera.frame_id)
        place = transform.transform.translation
        world_from_camera = np.linalg.inv(camera.camera_from_world)
        np.testing.assert_allclose([place.x, place.y, place.z], world_from_camera[:3, 3])
        np.testing.assert_allclose(axes(transform), world_from_camera[:3, :3], atol=1e-9)


@pytest.mark.parametrize(
    ("model", "distortion"),
    [
        ("plumb_bob", [0.1, -0.2, 0.001, 0.002, 0.05]),
        ("rational_polynomial", [0.1, -0.2, 0.001, 0.002, 0.05, 0.01, 0.02, 0.03]),
        ("equidistant", [0.1, 0.01, 0.001, 0.0001]),
        ("plumb_bob", []),
    ],
)
def test_camera_info_there_and_back(model: str, distortion: list[float]) -> None:
    camera = Camera(
        np.array([[500, 0, 320], [0, 510, 240], [0, 0, 1.0]]),
        (640, 480),
        np.array(distortion),
        model,
        frame_id="camera",
    )
    back = camera_from_info(messages.camera_info(camera, HEADER))
    assert np.array_equal(back.matrix, camera.matrix)
    assert np.array_equal(back.distortion, camera.distortion)
    assert (back.size, back.frame_id) == (camera.size, "camera")


def test_region_of_interest_moves_the_principal_point() -> None:
    info = CameraInfo(
        width=640,
        height=480,
        k=[500.0, 0.0, 320.0, 0.0, 500.0, 240.0, 0.0, 0.0, 1.0],
        roi=RegionOfInterest(x_offset=100, y_offset=50, width=400, height=300),
    )
    camera = camera_from_info(info)
    assert camera.size == (400, 300)
    assert camera.matrix[:2, 2].tolist() == [220.0, 190.0]
    info.binning_x = info.binning_y = 2
    binned = camera_from_info(info)
    assert binned.size == (200, 150)
    assert binned.at_resolution(400, 300).matrix.tolist() == camera.matrix.tolist()


def test_intrinsics_of_zeros_are_refused() -> None:
    with pytest.raises(CameraError, match="not calibrated"):
        camera_from_info(CameraInfo(width=640, height=480))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)", "crashes with signal 11"),
        ("raise ImportError('numpy.core.multiarray failed to import')", "multiarray failed"),
    ],
)
def test_a_cv_bridge_that_crashes_does_so_in_a_process_of_its_own(
    code: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cv_bridge.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}")
    image_messages._cv_bridge.cache_clear()
    image = Image(width=1, height=1, encoding="rgba16", step=8, data=bytes(8))
    try:
        for _ in range(2):
            with pytest.raises(ImageError, match=f"cv_bridge cannot convert here.*{said}"):
                image_messages.to_bgr(image)
        assert image_messages._cv_bridge.cache_info().misses == 1, "tried once"
    finally:
        image_messages._cv_bridge.cache_clear()
