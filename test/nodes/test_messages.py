"""The layout of the topics is a contract: these tests read the bytes as a stranger would."""

from __future__ import annotations

import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2 messages")
from sensor_msgs.msg import CameraInfo, PointCloud2, PointField, RegionOfInterest
from std_msgs.msg import Header
from visualization_msgs.msg import Marker

from pose3d_ros.camera import Camera, CameraError
from pose3d_ros.io.camera_info import camera_from_info
from pose3d_ros.io.keypoints_cloud import CloudError, people_2d
from pose3d_ros.nodes import messages
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
    highest = max(
        point.z
        for marker in first
        if (marker.ns, marker.id) == ("joints", 4)
        for point in marker.points
    )
    fixed = {
        m.id: m
        for m in messages.markers(people, HEADER, up=messages.FIXED_UP).markers
        if m.ns == "id"
    }
    assert fixed[4].pose.position.z == pytest.approx(highest + 0.2), "z is up in a fixed frame"
    limbs = {marker.id: marker for marker in first if marker.ns == "limbs"}
    assert len(limbs[4].points) == len(limbs[4].colors) == 2 * 16
    assert len(limbs[9].points) == 2 * 15, "the ankle that is not known ends one limb"
    assert limbs[9].colors[0].a < limbs[4].colors[0].a, "predicted people are translucent"
    ends = [child for _, child in H36M17.limbs]
    left, right = ends.index("l_wrist"), ends.index("r_wrist")
    brightness = [max(c.r, c.g, c.b) for c in limbs[4].colors]
    assert brightness[2 * left] > brightness[2 * right]
    assert all(np.isfinite([p.x, p.y, p.z]).all() for marker in first for p in marker.points)


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
