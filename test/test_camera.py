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

"""Intrinsics, distortion, projection."""

import math
from typing import Any

import cv2
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


def test_rays_of_pixels_whose_axes_are_not_at_right_angles():
    """With skew s, the ray (x, y) is seen at u = fx x + s y + cx (Hartley and Zisserman, 6.10)."""
    matrix = MATRIX + [[0, 25.0, 0], [0, 0, 0], [0, 0, 0]]
    rays = np.random.default_rng(0).uniform(-0.7, 0.7, (50, 2))
    pixels = (np.c_[rays, np.ones(50)] @ matrix.T)[:, :2]
    np.testing.assert_allclose(Camera(matrix, (1280, 720)).rays(pixels), rays, atol=1e-12)


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
        ({"matrix": MATRIX * [[1e-9], [1], [1]]}, "a focal length in pixels"),
        ({"matrix": np.diag([900.0, 900, 0])}, "matrix: expected"),
        ({"size": (0, 720)}, "positive image size .*, got 0x720"),
        ({"distortion": np.ones(3)}, "expected 4, 5, 8, 12, 14 coefficients, got 3"),
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


GOOD = [985.5, 0, 639.5, 0, 985.5, 359.5, 0, 0, 1.0]


def from_info(
    k: list[float] = GOOD,
    d: Any = (),
    model: str = "plumb_bob",
    size: tuple[int, int] = (1280, 720),
    **options: Any,
) -> Camera:
    width, height = size
    return Camera.from_camera_info(width, height, k, d, model, "camera", **options)


@pytest.mark.parametrize("count", [4, 5, 8, 12, 14])
@pytest.mark.parametrize("model", ["plumb_bob", "rational_polynomial"])
def test_as_many_coefficients_as_opencv_takes_under_either_name(model, count):
    d = np.array([0.09, -0.16, 0.001, -0.002, 0.12, 0.1, 0.1, 0.1, *[1e-4] * 6])[:count]
    camera = from_info(d=d, model=model)
    assert camera.distortion.tolist() == d.tolist()
    at = np.array([[0.4, -0.2, 1.0]])
    expected = cv2.projectPoints(at[:, None], np.zeros(3), np.zeros(3), camera.matrix, d)[0]
    np.testing.assert_allclose(camera.project(at, "camera"), expected[:, 0], atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({0: 1e-30}, "fx: expected a focal length in pixels, .*, got 1e-30"),
        ({0: 14, 4: 14}, "fx: expected 25.6 to .* px for an image of 1280x720, got 14"),
        ({0: 1e9}, "fx: expected .*, got 1e.09"),
        ({4: 1e-30}, "fy: expected .*, got 1e-30"),
        (
            {4: 98},
            "fy: expected 328.5 to 2956 px for an image of 1280x720 beside fx=985.5, got 98",
        ),
        ({2: 1e9}, "cx: expected -640 to 1920 px for an image of 1280x720, got 1e.09"),
        ({2: -2000}, "cx: expected"),
        ({5: 5000}, "cy: expected"),
        ({1: 500}, "skew: expected"),
        ({3: 5}, "matrix: expected"),
        ({8: 0}, "matrix: expected"),
        ({0: float("nan")}, "matrix: expected"),
    ],
)
def test_a_camera_info_that_no_camera_has_is_refused(change, message):
    k = [change.get(i, value) for i, value in enumerate(GOOD)]
    with pytest.raises(CameraError, match=message):
        from_info(k)


@pytest.mark.parametrize(
    ("d", "model"),
    [
        ([-50.0, 0, 0, 0, 0], "plumb_bob"),  # folds a twentieth of the focal length from the axis
        ([50.0, 0, 0, 0, 0], "plumb_bob"),  # a tenth of the field of view
        ([1e9, 0, 0, 0, 0], "plumb_bob"),
        ([0, 0, 10.0, 0], "plumb_bob"),
        ([0.0] * 5 + [-100.0, 0, 0], "rational_polynomial"),
        ([-20.0, 0, 0, 0], "equidistant"),
    ],
)
def test_a_distortion_that_no_lens_has_is_refused(d, model):
    with pytest.raises(CameraError, match="distortion: expected a lens that images at least"):
        from_info(d=d, model=model)


def test_lenses_of_real_cameras_are_accepted():
    anamorphic = [985.5, 0, 639.5, 0, 985.5 / 2, 359.5, 0, 0, 1.0]
    assert from_info(anamorphic).matrix[1, 1] == 985.5 / 2
    circle = [300.0, 0, 639.5, 0, 300.0, 359.5, 0, 0, 1.0]  # 180 degrees within the image
    assert from_info(circle, [0.0] * 4, "equidistant").distortion_model == "equidistant"
    assert from_info(d=[0.0] * 4, model="fisheye").distortion_model == "equidistant"
    assert len(from_info(d=[], model="").distortion) == 0
    telephoto = [9e4, 0, 639.5, 0, 9e4, 359.5, 0, 0, 1.0]
    assert from_info(telephoto, [30.0, 0, 0, 0, 0]).matrix[0, 0] == 9e4


def test_a_region_of_interest_and_binning_keep_the_rays():
    d = [-0.2, 0.05, 0.001, 0.001, 0]
    whole = from_info(d=d)
    part = from_info(d=d, roi=(320, 180, 640, 360), binning=(2, 4))
    assert part.size == (320, 90)
    # The corner of a binned pixel is the corner of the first pixel in it.
    corner = np.array([[-0.5, -0.5], [99.5, 49.5]])
    np.testing.assert_allclose(
        part.rays(corner), whole.rays((corner + 0.5) * (2, 4) + (319.5, 179.5)), atol=1e-12
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"roi": (1000, 0, 640, 360)}, "roi: expected a region within 1280x720 px, got 640x360"),
        ({"roi": (0, 800, 0, 0)}, "roi: expected"),
        ({"binning": (1000, 1)}, "binning: expected 0 to 16"),
        ({"size": (0, 0)}, "positive image size"),
        ({"size": (4_000_000_000, 720)}, "at most 65535 pixels"),
    ],
)
def test_impossible_regions_are_refused(options, message):
    with pytest.raises(CameraError, match=message):
        from_info(**options)


def test_a_change_of_any_intrinsic_is_told_and_noise_is_not():
    before = from_info(d=[-0.2, 0.05, 0, 0, 0])
    for i, value, name in ((0, 1100, "fx"), (4, 900, "fy"), (2, 720, "cx"), (5, 250, "cy")):
        k = [value if j == i else same for j, same in enumerate(GOOD)]
        assert from_info(k, before.distortion).differs_from(before, 0.05).startswith(name)
        k = [same * 1.01 for same in GOOD[:8]] + [1.0]
        assert from_info(k, before.distortion).differs_from(before, 0.05) == ""
    assert from_info(d=[-0.5, 0.05, 0, 0, 0]).differs_from(before, 0.05).startswith("distortion")
    assert from_info(d=[-0.201, 0.05, 0, 0, 0]).differs_from(before, 0.05) == ""
    assert from_info(d=[]).differs_from(before, 0.05).startswith("distortion")
    assert from_info(size=(1280, 960)).differs_from(before, 0.05) == (
        "image size 1280x720 to 1280x960"
    )
    other = Camera.from_camera_info(
        1280, 720, GOOD, before.distortion.tolist(), "plumb_bob", "left"
    )
    assert other.differs_from(before, 0.05) == "frame 'camera' to 'left'"
