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

"""The floor as cameras see it."""

import math

import numpy as np
import pytest
from bodies import CAMERA

from pose3d_ros.geometry import inverse_transform, look_at, transform_points
from pose3d_ros.place.floor import Floor


def test_a_camera_that_looks_down_sees_the_floor_where_its_axis_meets_it():
    floor = Floor.from_tilt(1.0, math.radians(30))
    assert floor.heights(np.array([0, 0, 2.0])) == pytest.approx(0.0)  # 1 m / sin 30
    np.testing.assert_allclose(floor.heights(np.array([[0, 0, 0], [0, 0, 4.0]])), [1, -1])


@pytest.mark.parametrize("pitch_deg", [-30, 0, 30, 80])
def test_up_leans_to_the_right_in_the_picture_of_a_camera_with_positive_roll(pitch_deg):
    floor = Floor.from_tilt(1.0, math.radians(pitch_deg), math.radians(10))
    axis = np.array([0, 0, 3.0])
    foot, head = CAMERA.project(np.stack([axis, axis + 0.5 * floor.up]), "camera")
    assert head[0] > foot[0] and (head[1] < foot[1])


@pytest.mark.parametrize("target_m", [(3, 1, 0.9), (3, 1, 2.5), (0.001, 0, 0), (1, 0, 1.0)])
def test_tilt_and_pose_tell_the_same_floor(target_m):
    camera_from_floor = look_at((0.4, -2.0, 1.2), np.add(target_m, (0.4, -2.0, 0)), roll_rad=0.2)
    floor = Floor.from_pose(camera_from_floor)
    points = np.random.default_rng(0).normal(0, 2, (20, 3))
    np.testing.assert_allclose(
        floor.heights(transform_points(camera_from_floor, points)), points[:, 2], atol=1e-9
    )
    assert floor.height_m == pytest.approx(1.2)


@pytest.mark.parametrize("pitch_deg", [-90, -85, -20, 0, 20, 85, 90])
def test_the_level_frame_is_on_the_floor_below_the_camera(pitch_deg):
    floor = Floor.from_tilt(1.3, math.radians(pitch_deg))
    level_from_camera = inverse_transform(floor.camera_from_level)
    np.testing.assert_allclose(level_from_camera[:3, 3], [0, 0, 1.3], atol=1e-9)
    p = math.radians(pitch_deg)
    axis = level_from_camera[:3, :3] @ [0, 0, 1]  # forward, and down by the pitch; never aside
    np.testing.assert_allclose(axis, [math.cos(p), 0, -math.sin(p)], atol=1e-9)
    assert np.linalg.det(level_from_camera[:3, :3]) == pytest.approx(1)


@pytest.mark.parametrize("up", [np.zeros(3), np.full(3, np.nan), np.ones(2)])
def test_a_floor_without_direction_is_refused(up):
    with pytest.raises(ValueError, match="expected a direction up"):
        Floor(up, 1.0)
