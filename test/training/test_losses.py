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

"""What training minimises, by hand-computed cases."""

import numpy as np
import pytest
import torch
from bodies import STANDING_M

from pose3d_ros.skeleton import H36M17
from pose3d_ros.training import losses

STANDING = torch.from_numpy(STANDING_M.astype(np.float32))


def _poses(stages=1, frames=1):
    return STANDING.expand(2, frames, stages, 17, 3).clone(), STANDING.expand(2, frames, 17, 3)


def test_stages_are_summed():
    poses, target = _poses(stages=3)
    poses[:, :, 1, 4, 0] += 0.17
    poses[:, :, 2, :, 1] -= 0.1
    assert losses.mean_distance(poses, target).item() == pytest.approx(0.01 + 0.1, abs=1e-6)
    assert losses.squared_error(poses, target).item() == pytest.approx(
        0.17**2 / 17 + 0.01, abs=1e-6
    )


def test_velocity_sees_what_changes_and_not_what_stays_off():
    poses, target = _poses(frames=3)
    assert losses.velocity(poses + 0.2, target).item() == pytest.approx(0, abs=1e-6)
    poses[:, 1, :, :, 2] += 0.1
    assert losses.velocity(poses, target).item() == pytest.approx(0.1, abs=1e-6)


def test_symmetry_is_of_left_and_right():
    poses, _ = _poses()
    even = losses.symmetry(poses).item()
    knee, ankle = H36M17.indices("l_knee", "l_ankle")
    poses[..., ankle, :] += 0.5 * (poses[..., ankle, :] - poses[..., knee, :])
    shank = (STANDING[ankle] - STANDING[knee]).norm().item()
    assert losses.symmetry(poses).item() - even == pytest.approx(
        2 * 0.5 * shank / len(H36M17.limbs), abs=1e-3
    )


def test_bone_ratio_is_blind_to_size_and_sees_one_long_bone():
    poses, _ = _poses()
    usual = losses.bone_ratio(poses).item()
    assert losses.bone_ratio(1.1 * poses).item() == pytest.approx(1.21 * usual, rel=1e-4)
    elbow, wrist = H36M17.indices("r_elbow", "r_wrist")
    poses[..., wrist, :] += poses[..., wrist, :] - poses[..., elbow, :]
    assert losses.bone_ratio(poses).item() > 2 * usual


def test_likelihood_is_least_at_the_true_sigma_and_leaves_the_pose_alone():
    torch.manual_seed(0)
    target = torch.zeros(4000, 1, 17, 3)
    poses = (0.05 * torch.randn(4000, 1, 1, 17, 3)).requires_grad_()
    values = {
        sigma: losses.sigma_likelihood(
            torch.full((4000, 1, 1, 17), float(np.log(sigma))), poses, target
        ).item()
        for sigma in (0.03, 0.05, 0.08)
    }
    assert min(values, key=lambda sigma: values[sigma]) == 0.05
    log_sigma = torch.zeros(4000, 1, 1, 17, requires_grad=True)
    losses.sigma_likelihood(log_sigma, poses, target).backward()
    assert poses.grad is None and log_sigma.grad is not None


def test_heat_maps_of_one_joint_by_hand():
    """A joint in the middle of four cells: sigma is at least a cell, so each of them has
    exp(-1/4).
    """
    points = torch.zeros(1, 1, 2)
    near, far = np.exp(-0.5 * 0.5**2), np.exp(-0.5 * 1.5**2)
    row = np.array([far, near, near, far])
    truth = torch.tensor(np.outer(row, row), dtype=torch.float32)
    assert losses.heat_maps(truth.expand(1, 2, 1, 4, 4), points).item() == pytest.approx(
        0, abs=1e-6
    )
    # Empty maps in two stages miss all of it twice.
    expected = 2 * (np.outer(row, row) ** 2).sum()
    assert losses.heat_maps(torch.zeros(1, 2, 1, 4, 4), points).item() == pytest.approx(
        expected, rel=1e-5
    )
    # A joint far beyond the border asks for an empty map.
    assert losses.heat_maps(
        torch.zeros(1, 1, 1, 4, 4), torch.full((1, 1, 2), 5.0)
    ).item() == pytest.approx(0, abs=1e-6)


def test_heat_maps_keep_x_and_y_apart():
    """x runs along rows; with 46 cells a Gaussian is 21 of 368 px wide, as the cells are 8."""
    maps = torch.zeros(1, 1, 1, 46, 46, requires_grad=True)
    at = torch.tensor([[[(30 + 0.5) * 2 / 46 - 1, (7 + 0.5) * 2 / 46 - 1]]])
    losses.heat_maps(maps, at).backward()
    assert maps.grad is not None
    truth = -maps.grad[0, 0, 0] / 2  # d (m - t)^2 / dm = -2 t at 0
    assert truth[7, 30].item() == pytest.approx(1, abs=1e-5) and (truth.argmax() == 7 * 46 + 30)
    assert truth[7, 33].item() == pytest.approx(np.exp(-0.5 * (3 * 8 / 21) ** 2), abs=1e-4)


def test_soft_argmax_by_hand():
    maps = torch.zeros(2, 3)
    np.testing.assert_allclose(
        losses.soft_argmax(maps), [0, 0], atol=1e-6
    )  # all cells alike: the middle
    maps[1, 2] = float(
        np.log(5.0)
    )  # five of ten parts; cells of three columns are at -2/3, 0, 2/3, of two rows -+ 1/2
    np.testing.assert_allclose(
        losses.soft_argmax(maps), [2 / 3 * (6 - 2) / 10, 0.5 * (7 - 3) / 10], atol=1e-6
    )


def test_peaks_are_where_the_gaussians_are():
    """Of the maps that the loss wants, to a tenth of a cell; flat maps have none to tell."""
    torch.manual_seed(0)
    points = torch.rand(40, 3, 2) * 1.7 - 0.85
    maps = torch.zeros(40, 1, 3, 16, 16, requires_grad=True)
    losses.heat_maps(maps, points).backward()
    assert maps.grad is not None
    found = losses.peaks(-maps.grad[:, 0])
    assert (found - points).abs().max() < 0.1 * 2 / 16
    assert torch.isfinite(losses.peaks(torch.zeros(2, 4, 4))).all()


def test_integral_counts_what_is_in_the_picture():
    maps = torch.zeros(1, 2, 2, 4, 4)  # both stages say the middle for both joints
    points = torch.tensor([[[0.3, -0.1], [1.2, 0.0]]])
    assert losses.integral(maps, points).item() == pytest.approx(2 * 0.4, abs=1e-6)
    assert losses.integral(maps, points + 5).item() == 0


@pytest.mark.parametrize("loss", [losses.heat_maps, losses.integral])
def test_gradients_of_maps(loss):
    torch.manual_seed(0)
    maps = torch.randn(2, 2, 3, 5, 4, dtype=torch.float64, requires_grad=True)
    points = torch.rand(2, 3, 2, dtype=torch.float64) * 2.4 - 1.2
    assert torch.autograd.gradcheck(lambda m: loss(m, points), maps)
