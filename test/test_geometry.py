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

import cv2
import numpy as np
import pytest

from pose3d_ros.geometry import (
    CAMERA_DOWN,
    inverse_transform,
    look_along,
    look_at,
    quaternion_from_rotation,
    rigid,
    rotation_from_quaternion,
    rotation_from_vector,
    transform_points,
)

RVECS = np.array([[0, 0, 0], [0.3, -1.2, 2.0], [np.pi, 0, 0], [0, -3.1, 0.1]])


def test_a_camera_that_looks_at_a_point_has_it_on_its_axis_and_the_floor_below():
    position, target = np.array([2.0, -3.0, 1.5]), np.array([0.5, 1.0, 0.2])
    seen = transform_points(look_at(position, target), np.array([target, position, [2, -3, 0]]))
    np.testing.assert_allclose(
        seen[0], np.array([0, 0, np.linalg.norm(target - position)]), atol=1e-12
    )
    np.testing.assert_allclose(seen[1], 0, atol=1e-12)
    assert seen[2, 0] == pytest.approx(0)
    assert seen[2, 1] > 0  # y points down


def test_roll_turns_about_the_optical_axis():
    level, rolled = (look_at([2, -3, 1.5], [0, 0, 1], roll_rad=roll) for roll in (0.0, 0.1))
    about = angle_of(rolled[:3, :3] @ level[:3, :3].T)
    assert about == pytest.approx(0.1)
    np.testing.assert_allclose(rolled[2], level[2])


def angle_of(rotation: np.ndarray) -> float:
    return float(np.arccos((np.trace(rotation) - 1) / 2))


def test_transforms_undo_and_compose():
    a_from_b = rigid(rotation_from_vector(RVECS[1]), [1, 2, 3])
    b_from_c = rigid(rotation_from_vector(RVECS[3]), [-4, 0, 1])
    points = np.random.default_rng(0).normal(size=(2, 5, 3))
    there = transform_points(a_from_b, points)
    np.testing.assert_allclose(transform_points(inverse_transform(a_from_b), there), points)
    np.testing.assert_allclose(
        transform_points(a_from_b @ b_from_c, points),
        transform_points(a_from_b, transform_points(b_from_c, points)),
    )
    many = np.stack([a_from_b, b_from_c])
    np.testing.assert_allclose(inverse_transform(many) @ many, [np.eye(4)] * 2, atol=1e-12)


@pytest.mark.parametrize("rvec", RVECS.tolist())
def test_rotations_are_those_of_opencv_and_come_back_from_quaternions(rvec):
    rotation = rotation_from_vector(np.reshape(rvec, (3, 1)))
    np.testing.assert_allclose(rotation, cv2.Rodrigues(np.array(rvec))[0], atol=1e-12)
    xyzw = quaternion_from_rotation(rotation)
    assert xyzw[3] >= 0
    assert np.linalg.norm(xyzw) == pytest.approx(1)
    np.testing.assert_allclose(rotation_from_quaternion(2 * xyzw), rotation, atol=1e-12)


def test_a_quarter_turn_to_the_left_as_ros_writes_it():
    xyzw = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]
    np.testing.assert_allclose(rotation_from_quaternion(xyzw) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_optical_axes_along_many_directions_have_no_roll_and_keep_their_dtype():
    forward = np.random.default_rng(1).normal(size=(3, 4, 3)).astype(np.float32)
    rotation = look_along(forward, CAMERA_DOWN)
    assert rotation.dtype == np.float32
    along = (rotation @ forward[..., None])[..., 0]
    np.testing.assert_allclose(along[..., :2], 0, atol=1e-6)
    np.testing.assert_allclose(rotation[..., 0, 1], 0, atol=1e-7)
    np.testing.assert_allclose(np.linalg.det(rotation), 1, atol=1e-5)
