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

"""The place of a lifted pose in space."""

import numpy as np
from bodies import CAMERA, STANDING_M

from pose3d_ros.place.root import solve_root

PLACES_M = np.array([[0, 0, 2.0], [1.5, 0.3, 4.0], [-2.0, -0.2, 7.0]])
SIGMA_M = np.full((3, 17), 0.03)


def _rays(places=PLACES_M, scale=1.0):
    return CAMERA.rays(CAMERA.project(scale * STANDING_M + places[:, None], "camera"))


def _solve(rays, confidence=None):
    joints = np.broadcast_to(STANDING_M, (3, 17, 3))
    return solve_root(
        joints, SIGMA_M, rays, np.ones((3, 17)) if confidence is None else confidence
    )


def test_exact_keypoints_give_the_exact_place():
    root, _ = _solve(_rays())
    np.testing.assert_allclose(root, PLACES_M, atol=1e-6)


def test_a_wrong_wrist_hardly_moves_the_person():
    rays = _rays()
    rays[:, -1] += 0.5  # a wrist half a metre off at one metre
    root, _ = _solve(rays)
    assert np.abs(root - PLACES_M).max() < 0.25  # at seven metres the wrist is three metres off


def test_only_the_upper_body_is_enough():
    confidence = np.ones((3, 17))
    confidence[:, [2, 3, 5, 6]] = 0
    root, _ = _solve(_rays(), confidence)
    np.testing.assert_allclose(root, PLACES_M, atol=1e-6)


def test_too_few_joints_have_no_place():
    confidence = np.zeros((3, 17))
    confidence[:, :3] = 1
    root, covariance = _solve(_rays(), confidence)
    assert np.isnan(root).all() and np.isnan(covariance).all()


def test_covariance_is_that_of_the_errors():
    """300 noisy sightings: the errors' mean square agrees with the covariance (chi-square, within
    sampling error).
    """
    rng = np.random.default_rng(0)
    rays, joints = _rays()[1], STANDING_M
    noise_m = np.hypot(0.03, 0.03)  # keypoint and pose, as the solver assumes
    noisy = rays + rng.normal(0, noise_m / PLACES_M[1, 2], (300, 17, 2))
    root, covariance = solve_root(
        np.broadcast_to(joints, (300, 17, 3)), np.full((300, 17), 0.03), noisy, np.ones((300, 17))
    )
    error = root - PLACES_M[1]
    normalised = np.einsum("pi,pij,pj->p", error, np.linalg.inv(covariance), error)
    assert 2.5 < normalised.mean() < 3.6
