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

"""The size of people, assumed and measured."""

import numpy as np
import pytest
from bodies import CAMERA, STANDING_M

from pose3d_ros.place.depth_image import (
    PATIENCE,
    DepthCheck,
    joint_depths,
    measure,
    root_depths,
)
from pose3d_ros.place.root import refine

PRIOR = 0.06**2
PLACES_M = np.array([[0, 0, 2.0], [1.5, 0.3, 4.0], [-2.0, -0.2, 6.0]])
LARGER = 1.1
IDS = np.array([4, 7, 9])


def _seen(scale=LARGER):
    """Pixels (3, 17, 2) of people who stand and are larger and farther away than assumed, and the
    depth of each.
    """
    points = scale * (STANDING_M + PLACES_M[:, None])
    return CAMERA.project(points, "camera"), points[..., 2]


def _depth_image(pixels, depth_m, flesh_m=0.08):
    image = np.full((720, 1280), np.nan, np.float32)
    for (x, y), z in zip(
        pixels.reshape(-1, 2).round().astype(int), depth_m.reshape(-1), strict=True
    ):
        if 0 <= x < 1280 and 0 <= y < 720:
            image[y, x] = z - flesh_m
    return image


def _measure(pixels, image):
    depths = joint_depths(pixels, np.ones((3, 17)), image)
    return measure(PLACES_M, np.broadcast_to(STANDING_M, (3, 17, 3)), depths)


def test_depth_tells_how_large_people_are():
    scale, variance = _measure(_seen()[0], _depth_image(*_seen()))
    np.testing.assert_allclose(scale, LARGER, atol=0.03)
    assert (np.abs(scale - LARGER) < 3 * np.sqrt(variance)).all() and (variance < PRIOR).all()


def test_something_in_front_of_some_joints_does_not_count():
    pixels, depth = _seen()
    depth = depth.copy()
    depth[:, :6] = 0.5
    scale, _ = _measure(pixels, _depth_image(pixels, depth))
    np.testing.assert_allclose(scale, LARGER, atol=0.04)


def test_a_frame_with_depth_puts_people_where_the_sensor_sees_them():
    pixels, depth = _seen()
    depths = joint_depths(pixels, np.ones((3, 17)), _depth_image(pixels, depth))
    covariance = np.broadcast_to(np.diag([1e-3, 1e-3, 0.04]), (3, 3, 3))
    joints = LARGER * np.broadcast_to(STANDING_M, (3, 17, 3))
    thought = PLACES_M * [1, 1, 1.05]
    root, refined = refine(thought, covariance, *root_depths(thought, joints, depths))
    np.testing.assert_allclose(root[:, 2], LARGER * PLACES_M[:, 2], atol=0.06)
    assert (refined[:, 2, 2] < 0.01).all()


@pytest.mark.parametrize("nothing", [0.0, np.nan, np.inf])
def test_a_depth_image_without_measurements_tells_nothing(nothing):
    scale, _ = _measure(_seen()[0], np.full((720, 1280), nothing, np.float32))
    assert np.isnan(scale).all()


@pytest.mark.parametrize("factor", [4.0, 0.25, 1000.0, 0.001])
def test_depth_in_another_unit_is_refused_and_said_once(caplog, factor):
    """Nobody is 7 m tall, nor 0.4 m; the factor that would mend it is in the message."""
    pixels, image = _seen(1.0)[0], _depth_image(*_seen(1.0))
    joints = np.broadcast_to(STANDING_M, (3, 17, 3))
    check = DepthCheck()
    for _ in range(2 * PATIENCE):
        depths = joint_depths(pixels, np.ones((3, 17)), image * factor)
        scale, _ = measure(PLACES_M, joints, depths)
        assert np.isnan(check.by_stature(depths, scale, 1.7)).all()
    (record,) = caplog.records
    assert "depth not used" in record.getMessage() and "set depth_scale" in record.getMessage()
    depths = joint_depths(pixels, np.ones((3, 17)), image * factor, 1 / factor)
    scale, _ = measure(PLACES_M, joints, depths)
    np.testing.assert_allclose(scale, 1, atol=0.03)
    np.testing.assert_array_equal(check.by_stature(depths, scale, 1.7), depths)


def test_one_person_behind_a_box_makes_no_warning(caplog):
    pixels, depth = _seen(1.0)
    depth = depth.copy()
    depth[0] = 0.3
    check = DepthCheck()
    for _ in range(2 * PATIENCE):
        depths = joint_depths(pixels, np.ones((3, 17)), _depth_image(pixels, depth))
        scale, _ = measure(PLACES_M, np.broadcast_to(STANDING_M, (3, 17, 3)), depths)
        used = check.by_stature(depths, scale, 1.7)
        assert np.isnan(used[0]).all() and np.array_equal(used[1:], depths[1:], equal_nan=True)
    assert not caplog.records


def test_depth_beyond_what_cameras_measure_is_refused_without_3d_too(caplog):
    check = DepthCheck()
    for _ in range(2 * PATIENCE):
        assert np.isnan(check.by_range(np.array([[4000.0, 3900.0, np.nan]]))).all()
    (record,) = caplog.records
    assert "set depth_scale" in record.getMessage()
    assert check.by_range(np.array([[4.0, 3.9]])).tolist() == [[4.0, 3.9]]
