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

import numpy as np
import pytest
from rigs import ring

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import look_at
from pose3d_ros.multiview import triangulate
from pose3d_ros.multiview.rig import Rig
from pose3d_ros.multiview.triangulation import triangulate_linear


def seen_by(cameras, points):
    return np.stack([camera.project(points) for camera in cameras])


@pytest.mark.parametrize("count", [2, 3, 5, 12])
@pytest.mark.parametrize("distortion", [(), (-0.2, 0.05, 1e-3, -1e-3, 0.0)])
def test_exact(count, distortion):
    cameras = ring(count, distortion=distortion)
    truth = np.random.default_rng(0).uniform((-1, -1, 0), (1, 1, 2), (3, 17, 3))
    pixels = seen_by(cameras, truth)
    points, _, residual = triangulate(pixels, cameras, np.ones(pixels.shape[:-1]))
    assert points.shape == (3, 17, 3) and residual.shape == (count, 3, 17)
    np.testing.assert_allclose(points, truth, atol=1e-6)
    np.testing.assert_allclose(residual, 0, atol=1e-3)


@pytest.mark.parametrize("count", [2, 3, 5])
def test_sigma_is_honest(count):
    # The sum of squared errors over sigma^2 is 3 per point, whatever the views and weights are.
    rng = np.random.default_rng(1)
    cameras = ring(count)
    truth = rng.uniform((-1, -1, 0), (1, 1, 2), (4000, 3))
    weights = rng.uniform(0.2, 1, (count, 4000))
    pixels = seen_by(cameras, truth) + rng.normal(
        0, 2 / np.sqrt(weights)[..., None], (count, 4000, 2)
    )
    points, sigma, residual = triangulate(pixels, cameras, weights, noise_px=2.0)
    good = np.isfinite(sigma)
    assert good.mean() > 0.99
    squared = ((points - truth)[good] ** 2).sum(-1) / sigma[good] ** 2
    assert squared.mean() == pytest.approx(3, rel=0.08)
    assert (squared > 25).mean() < 0.01
    assert np.nanmedian(residual) < 6


def test_a_near_camera_counts_for_more_in_the_linear_solution():
    """A pixel is less space nearby: of a camera at 1 m and two at 10 m, the near one tells the two
    axes across it.
    """
    rng, target = np.random.default_rng(3), np.array([0, 0, 1.0])
    matrix = np.array([[900, 0, 640], [0, 900, 480], [0, 0, 1.0]])
    cameras = [
        Camera(matrix, (1280, 960), camera_from_world=look_at(target + place, target))
        for place in np.array([[1.0, 0, 0], [0, 10, 0], [0, 10, 1]])
    ]
    truth = target + rng.uniform(-0.1, 0.1, (2000, 3))
    rig = Rig.of(cameras)
    exact = rig.undistort(seen_by(cameras, truth), np.arange(3)).transpose(1, 0, 2)
    error = (
        triangulate_linear(rig, exact + rng.normal(0, 2, exact.shape), np.full((2000, 3), 0.25))
        - truth
    )
    # Two pixels at 1 m are 2.2 mm, at 10 m 22 mm.
    assert np.sqrt((error[:, [1, 2]] ** 2).mean()) < 0.004


def test_wrong_views_are_rejected():
    rng = np.random.default_rng(2)
    cameras = ring(5)
    truth = rng.uniform((-1, -1, 0), (1, 1, 2), (200, 3))
    pixels = seen_by(cameras, truth) + rng.normal(0, 1, (5, 200, 2))
    wrong = rng.permuted(np.tile([True, True, False, False, False], (200, 1)), axis=1).T
    pixels[wrong] += rng.choice([-1, 1], (wrong.sum(), 2)) * rng.uniform(60, 200, (wrong.sum(), 2))
    points, sigma, residual = triangulate(pixels, cameras, np.ones((5, 200)))
    error = np.linalg.norm(points - truth, axis=-1)
    # By chance two wrong views may agree with a third; that is rare.
    assert np.quantile(error, 0.95) < 0.03
    right = error < 0.03
    assert residual[:, right][wrong[:, right]].min() > 20
    assert np.median(sigma) < 0.02


def test_unknown_stays_unknown():
    cameras = ring(3)
    pixels = seen_by(cameras, np.array([[0, 0, 1.0], [0.3, 0, 1], [0, 0.2, 1], [0, 0, 0.5]]))
    weights = np.ones((3, 4))
    pixels[:2, 0] = np.nan  # one view left
    weights[:, 1] = 0  # nobody trusts it
    pixels[0, 2, 1] = np.nan  # two views left
    points, sigma, residual = triangulate(pixels, cameras, weights)
    assert (
        np.isnan(points[:2]).all()
        and np.isnan(sigma[:2]).all()
        and np.isnan(residual[:, :2]).all()
    )
    np.testing.assert_allclose(points[2:], [[0, 0.2, 1], [0, 0, 0.5]], atol=1e-6)
    assert np.isnan(residual[0, 2]) and np.isfinite(residual[1:, 2]).all()
    assert np.isnan(triangulate(pixels[:1], cameras[:1], weights[:1])[0]).all()
    assert triangulate(np.zeros((3, 0, 17, 2)), cameras, np.zeros((3, 0, 17)))[0].shape == (
        0,
        17,
        3,
    )


def test_behind_the_camera_is_nowhere():
    cameras = ring(2)
    pixels = seen_by(cameras, np.array([[0.0, 0, 1]]))
    pixels[0, 0, 0] += 3000
    assert np.isnan(triangulate(pixels, cameras, np.ones((2, 1)))[0]).all()


def test_one_place_says_nothing_about_depth():
    camera = ring(1)[0]
    pixels = seen_by([camera, camera], np.array([[0.1, 0, 1]]))
    points, sigma, residual = triangulate(pixels, [camera, camera], np.ones((2, 1)))
    assert np.isnan(points).all() and np.isnan(sigma).all() and np.isnan(residual).all()


def test_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"expected points_px \(3, ..., 2\)"):
        triangulate(np.zeros((2, 4, 2)), ring(3), np.zeros((2, 4)))
