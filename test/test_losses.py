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
    assert losses.squared_error(poses, target).item() == pytest.approx(0.17**2 / 17 + 0.01, abs=1e-6)


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
    assert losses.symmetry(poses).item() - even == pytest.approx(2 * 0.5 * shank / len(H36M17.limbs), abs=1e-3)


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
    values = {sigma: losses.sigma_likelihood(torch.full((4000, 1, 1, 17), float(np.log(sigma))), poses, target).item()
              for sigma in (0.03, 0.05, 0.08)}
    assert min(values, key=lambda sigma: values[sigma]) == 0.05
    log_sigma = torch.zeros(4000, 1, 1, 17, requires_grad=True)
    losses.sigma_likelihood(log_sigma, poses, target).backward()
    assert poses.grad is None and log_sigma.grad is not None
