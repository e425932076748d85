"""Intrinsics, distortion, projection."""

import math

import numpy as np
import pytest

from pose3d_ros.camera import Camera, CameraError

MATRIX = np.array([[900.0, 0, 640], [0, 910, 355], [0, 0, 1]])
LENSES = {
    "none": ("plumb_bob", []),
    "plumb_bob": ("plumb_bob", [-0.25, 0.08, 0.001, -0.0005, 0.01]),
    "rational": ("rational_polynomial", [0.1, -0.05, 0.001, 0.001, 0.02, 0.1, -0.04, 0.01]),
    "equidistant": ("equidistant", [-0.02, 0.01, -0.003, 0.001]),
}


@pytest.mark.parametrize("lens", LENSES.values(), ids=LENSES.keys())
def test_a_ray_through_a_projected_point_meets_the_point(lens):
    camera = Camera(MATRIX, (1280, 720), np.array(lens[1]), lens[0])
    points = np.random.default_rng(0).uniform([-1, -0.6, 2], [1, 0.6, 6], (50, 3))
    rays = camera.rays(camera.project(points, "camera"))
    np.testing.assert_allclose(rays, points[:, :2] / points[:, 2:], atol=1e-5)


def test_known_point_lands_on_known_pixel():
    camera = Camera(MATRIX, (1280, 720))
    np.testing.assert_allclose(
        camera.project(np.array([1.0, -0.5, 2.0]), "camera"), [640 + 450, 355 - 227.5]
    )


def test_points_behind_the_camera_and_nan_have_no_pixel():
    camera = Camera(MATRIX, (1280, 720), np.array([0.1, 0, 0, 0]))
    assert np.isnan(camera.project(np.array([[0, 0, -1.0], [np.nan, 0, 1]]), "camera")).all()
    assert np.isnan(camera.rays(np.array([np.nan, 3.0]))).all()


def test_pose_of_the_camera():
    """A camera two metres up that looks along world +x sees a point three metres ahead and one
    metre to the left.
    """
    camera_from_world = np.eye(4)
    camera_from_world[:3, :3] = [[0, -1, 0], [0, 0, -1], [1, 0, 0]]
    camera_from_world[:3, 3] = [0, 2, 0]
    camera = Camera(MATRIX, (1280, 720), camera_from_world=camera_from_world)
    np.testing.assert_allclose(camera.position_m, [0, 0, 2])
    np.testing.assert_allclose(camera.project(np.array([3.0, 1.0, 2.0])), [640 - 300, 355])


def test_resolution_change_keeps_rays():
    camera = Camera(MATRIX, (1280, 720))
    half = camera.at_resolution(640, 360)
    # The corner of the image, half a pixel outside the first pixel's centre, is the same ray at
    # every resolution.
    np.testing.assert_allclose(
        half.rays(np.array([-0.5, -0.5])), camera.rays(np.array([-0.5, -0.5]))
    )
    with pytest.raises(CameraError, match="640x480.*1280x720"):
        camera.at_resolution(640, 480)


def test_field_of_view():
    camera = Camera.from_fov(1280, 720, math.pi / 2)
    np.testing.assert_allclose(camera.rays(np.array([-0.5, 359.5])), [-1, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrix": np.zeros((3, 3))}, "positive focal lengths, got fx=0"),
        ({"matrix": np.full((3, 3), np.nan)}, r"matrix: expected \(3, 3\) finite"),
        ({"matrix": MATRIX * [[1e-9], [1], [1]]}, "with a focal length in pixels"),
        ({"matrix": np.diag([900.0, 900, 0])}, "with a focal length in pixels"),
        ({"size": (0, 720)}, "positive image size, got 0x720"),
        ({"distortion": np.ones(3)}, r"expected \(4, 5\) coefficients, got 3"),
        ({"distortion": np.ones(5), "distortion_model": "magic"}, "got 'magic'"),
        ({"distortion": np.full(5, np.inf)}, "finite coefficients"),
    ],
)
def test_impossible_cameras_are_refused(change, message):
    with pytest.raises(CameraError, match=message):
        Camera(**{"matrix": MATRIX, "size": (1280, 720), **change})


def test_yaml(tmp_path):
    path = tmp_path / "camera.yaml"
    path.write_text("""
image_width: 640
image_height: 480
camera_name: left
camera_matrix: {rows: 3, cols: 3, data: [500, 0, 320, 0, 500, 240, 0, 0, 1]}
distortion_model: plumb_bob
distortion_coefficients: {rows: 1, cols: 5, data: [0.1, 0, 0, 0, 0]}
""")
    camera = Camera.from_yaml(path)
    assert camera.size == (640, 480) and camera.frame_id == "left" and len(camera.distortion) == 5
    path.write_text("image_width: 640")
    with pytest.raises(CameraError, match="expected camera_calibration YAML"):
        Camera.from_yaml(path)
    with pytest.raises(CameraError, match="No such file"):
        Camera.from_yaml(tmp_path / "missing.yaml")
