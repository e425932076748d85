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

"""Lens models: the way there and back, the fold, and what has no answer."""

import cv2
import numpy as np
import pytest

from pose3d_ros.camera import Camera

MATRIX = np.array([[1495.3, 0.4, 1424.5], [0, 1494.8, 943.5], [0, 0, 1]])
SIZE = 2880, 1860
LENSES = {
    "none": ("plumb_bob", []),
    "barrel": ("plumb_bob", [-0.25, 0.08, 0.001, -0.0005]),
    "pincushion": ("plumb_bob", [0.1, -0.05, 0.001, 0.002, 0.01]),
    "folds": ("plumb_bob", [-0.35, 0.02, 0.01, -0.01, 0.0]),
    # of a real lens of 120 degrees
    "wide": (
        "rational_polynomial",
        [0.93, 0.1659, -2.4e-5, -1.4e-5, 0.0029, 1.3314, 0.4358, 0.0276],
    ),
    "prism": (
        "thin_prism",
        [0.1, -0.05, 0.001, 0.001, 0.02, 0.1, -0.04, 0.01, 0.01, -0.002, 0.003, 0.001],
    ),
    "tilted": (
        "rational_polynomial",
        [0.1, -0.05, 0.001, 0.001, 0.02, 0.1, -0.04, 0.01, 0.01, -0.002, 0.003, 0.001, 0.05, -0.1],
    ),
    "fisheye": ("equidistant", [-0.02, 0.01, -0.003, 0.001]),
    "fisheye of zeros": ("equidistant", [0.0, 0.0, 0.0, 0.0]),
    "fisheye that folds": ("equidistant", [-0.3, 0.0, 0.0, 0.0]),
}


def camera(lens: str) -> Camera:
    model, coefficients = LENSES[lens]
    return Camera(MATRIX, SIZE, np.array(coefficients), model)


def points(widest_deg: float, count: int = 2000) -> np.ndarray:
    """(N, 3) at z = 1, in all directions up to an angle from the optical axis."""
    rng = np.random.default_rng(0)
    radius = np.tan(np.radians(rng.uniform(0, widest_deg, count)))
    angle = rng.uniform(0, 2 * np.pi, count)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), np.ones(count)], -1)


@pytest.mark.parametrize("lens", LENSES)
def test_rays_are_the_inverse_of_project(lens):
    at = points(85)
    pixels = camera(lens).project(at, "camera")
    seen = np.asarray(np.isfinite(pixels).all(1))
    assert seen[np.hypot(at[:, 0], at[:, 1]) < 0.9].all(), "42 degrees are before every fold here"
    rays = camera(lens).rays(pixels)
    np.testing.assert_allclose(rays[seen], at[seen, :2], atol=1e-6, rtol=1e-6)
    assert np.isnan(rays[~seen]).all()


@pytest.mark.parametrize("lens", LENSES)
def test_every_pixel_has_a_ray_that_meets_it_or_none(lens):
    pixels = np.random.default_rng(1).uniform(-1000, [4000, 3000], (3000, 2))
    rays = camera(lens).rays(pixels)
    known = np.isfinite(rays).all(1)
    assert known.any() and np.isnan(rays[~known]).all()
    back = camera(lens).project(np.insert(rays[known], 2, 1, axis=1), "camera")
    np.testing.assert_allclose(back, pixels[known], atol=1e-6)


@pytest.mark.parametrize("lens", [lens for lens in LENSES if lens != "none"])
def test_projection_is_opencvs(lens):
    model, coefficients = LENSES[lens]
    project = cv2.fisheye.projectPoints if model == "equidistant" else cv2.projectPoints
    straight = MATRIX.copy()
    straight[0, 1] = 0  # OpenCV knows no skew
    at = points(40)
    expected = project(at[:, None], np.zeros(3), np.zeros(3), straight, np.array(coefficients))[0]
    got = Camera(straight, SIZE, np.array(coefficients), model).project(at, "camera")
    np.testing.assert_allclose(got, expected[:, 0], atol=1e-6)


def test_a_fisheye_of_zeros_puts_a_point_at_f_theta():
    fisheye = Camera(
        np.array([[400.0, 0, 640], [0, 400, 400], [0, 0, 1]]), (1280, 800), np.zeros(4)
    )
    assert fisheye.project([2.0, 0, 2.0], "camera")[0] == 1040, "plumb_bob of zeros is a pinhole"
    for coefficients in (np.zeros(4), np.zeros(0)):
        fisheye = Camera(fisheye.matrix, fisheye.size, coefficients, "equidistant")
        edge = 640 + 400 * np.pi / 4
        np.testing.assert_allclose(fisheye.project([2.0, 0, 2.0], "camera"), [edge, 400])
        np.testing.assert_allclose(fisheye.rays([edge, 400]), [1, 0], atol=1e-9)


def test_a_fisheye_has_no_ray_at_ninety_degrees_and_beyond():
    fisheye = camera("fisheye of zeros")
    radius = 1495.3 * np.radians([89.0, 91.0, 150.0])
    rays = fisheye.rays(np.stack([1424.5 + radius, np.full(3, 943.5)], -1))
    np.testing.assert_allclose(rays[0], [np.tan(np.radians(89.0)), 0], rtol=1e-6, atol=1e-9)
    assert np.isnan(rays[1:]).all()


def test_nothing_is_seen_beyond_the_fold():
    """r - 0.3 r^3 grows until r = 1 / sqrt(0.9) and reaches two thirds of that; a point further
    out would be shown mirrored, further in.
    """
    lens = Camera(MATRIX, SIZE, np.array([-0.3, 0, 0, 0]))
    fold = 1 / np.sqrt(0.9)
    radii = fold * np.array([0.999, 1.001, 1.5, 3.0])
    at = np.stack([radii, np.zeros(4), np.ones(4)], -1)
    assert np.isfinite(lens.project(at, "camera")).all(1).tolist() == [True, False, False, False]
    border = np.array([0.666, 0.667]) * fold * 1495.3 + 1424.5
    rays = lens.rays(np.stack([border, np.full(2, 943.5)], -1))
    assert np.isfinite(rays).all(1).tolist() == [True, False]
    np.testing.assert_allclose(rays[0, 0], fold, rtol=0.05)


def test_unknown_pixels_and_points_have_no_answer():
    for lens in ("barrel", "wide", "fisheye"):
        rays = camera(lens).rays([[np.nan, 3.0], [3.0, np.nan], [np.inf, 3.0], [1424.5, 943.5]])
        assert np.isnan(rays).all(1).tolist() == [True, True, True, False]
        pixels = camera(lens).project([[np.nan, 0, 1], [0, 0, -1.0], [0, 0, 0.0]], "camera")
        assert np.isnan(pixels).all()
        assert camera(lens).rays(np.zeros((0, 2))).shape == (0, 2)
        assert camera(lens).project(np.zeros((2, 0, 3))).shape == (2, 0, 2)


def test_random_lenses_are_inverted_up_to_the_fold_that_a_fine_search_finds():
    rng = np.random.default_rng(5)
    radius = np.linspace(0, np.tan(np.radians(89)), 200_001)
    for _ in range(60):
        k = rng.normal(0, [0.3, 0.15, 0, 0, 0.05, 0.3, 0.15, 0.05])
        square = radius**2
        upper = 1 + k[0] * square + k[1] * square**2 + k[4] * square**3
        lower = 1 + k[5] * square + k[6] * square**2 + k[7] * square**3
        with np.errstate(all="ignore"):
            ends = (np.diff(radius * upper / lower) <= 0) | (lower[1:] <= 0)
        fold = radius[ends.argmax()] if ends.any() else np.inf
        lens = Camera(MATRIX, SIZE, k, "rational_polynomial")
        at = points(88, 300)
        away = np.hypot(at[:, 0], at[:, 1])
        pixels = lens.project(at, "camera")
        seen = np.asarray(np.isfinite(pixels).all(1))
        assert (seen[away < fold - 0.005]).all() and not seen[away > fold + 0.005].any()
        seen &= away < fold - 0.005
        np.testing.assert_allclose(lens.rays(pixels[seen]), at[seen, :2], rtol=1e-6, atol=1e-6)
