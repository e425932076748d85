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

"""Losses. Poses are [B x T x K x J x 3] of K stages and targets [B x T x J x 3], in metres.

Heat maps are [N x K x J x H x W] and points [N x J x 2]: x and y, -1 and 1 at the image's borders.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.settings import TrainSettings

_LIMBS = H36M17.limb_indices
_PARENTS, _CHILDREN = torch.from_numpy(_LIMBS[:, 0]), torch.from_numpy(_LIMBS[:, 1])
_MIRRORED = [_LIMBS.tolist().index([H36M17.flip[a], H36M17.flip[b]]) for a, b in _LIMBS.tolist()]
# Bones whose lengths have a nearly fixed ratio in all people (Zhou et al., 2017): arms, legs,
# shoulders, hips.
_GROUPS = [
    [i for i, (_, child) in enumerate(H36M17.limbs) if child[2:] in names]
    for names in (("elbow", "wrist"), ("knee", "ankle"), ("shoulder",), ("hip",))
]
# Their lengths as parts of the stature (de Leva, 1996). Within a group only the ratios matter.
_USUAL = {
    "hip": 0.1,
    "knee": 0.235,
    "ankle": 0.249,
    "shoulder": 0.1,
    "elbow": 0.160,
    "wrist": 0.153,
}
_SPAN = torch.tensor([_USUAL.get(child[2:], 1.0) for _, child in H36M17.limbs])
_SIGMA = 2 * 21 / 368  # of heat maps' Gaussians: 21 px in an image of 368


def objective(output: Tensor, target_m: Tensor, settings: TrainSettings) -> Tensor:
    """The loss of a training for output [B x T x K x J x 4], joints and the logarithm of sigma,
    and target [B x T x J x 3], of whose joints some may be NaN.
    """
    if not (known := target_m.isfinite().all(-1)).all():
        return _objective_of_known(output, target_m, known, settings)
    poses = output[..., :3]
    if settings.loss == "sigma":
        return sigma_likelihood(output[..., 3], poses, target_m)
    main = mean_distance if settings.loss == "mpjpe" else squared_error
    value = main(poses, target_m) + 0.01 * sigma_likelihood(output[..., 3], poses, target_m)
    if settings.bone_ratio:
        value = value + settings.bone_ratio * bone_ratio(poses)
    if settings.symmetry:
        value = value + settings.symmetry * symmetry(poses)
    if settings.velocity:
        value = value + settings.velocity * velocity(poses, target_m)
    return value


def _objective_of_known(
    output: Tensor, target_m: Tensor, known: Tensor, settings: TrainSettings
) -> Tensor:
    """Mean distance and likelihood of the ``known`` [B x T x J] joints alone, as if there were no
    others.
    """
    stages = output.transpose(2, 3)[known][None, None].transpose(2, 3)  # [1 x 1 x K x N x 4]
    truth = target_m[known][None, None]
    likelihood = sigma_likelihood(stages[..., 3], stages[..., :3], truth)
    if settings.loss == "sigma":
        return likelihood
    return mean_distance(stages[..., :3], truth) + 0.01 * likelihood


def mean_distance(poses: Tensor, target: Tensor) -> Tensor:
    """Mean distance of joints, summed over stages: the loss of Martinez' successors and of
    Context-Aware PoseFormer.
    """
    return cast(Tensor, (poses - target[:, :, None]).norm(dim=-1).mean((0, 1, 3)).sum())


def squared_error(poses: Tensor, target: Tensor) -> Tensor:
    """Squared distance, of every frame and every stage with weights 1: RPSM's (Lin et al., 2017,
    equation 6).
    """
    return (poses - target[:, :, None]).square().sum(-1).mean((0, 1, 3)).sum()


def velocity(poses: Tensor, target: Tensor) -> Tensor:
    """Mean error of the joints' change from frame to frame, summed over stages (Hossain and
    Little, ECCV 2018).
    """
    if target.shape[1] < 2:
        raise ValueError(
            "velocity loss: expected clips of 2 frames or more; this lifter answers single frames"
        )
    return mean_distance(poses.diff(dim=1), target.diff(dim=1))


def bone_ratio(poses: Tensor) -> Tensor:
    """Variance of the bones' lengths over their usual ones, within arms, legs, shoulders and hips;
    summed over stages.

    The geometric loss of Zhou et al. (ICCV 2017, equation 5), which needs no truth.
    """
    ratio = _lengths(poses) / _SPAN.to(poses.device)
    return (
        torch.stack([ratio[..., group].var(-1, unbiased=False) for group in _GROUPS])
        .sum(0)
        .mean((0, 1))
        .sum()
    )


def symmetry(poses: Tensor) -> Tensor:
    """Mean difference of the lengths of left and right bones in metres, summed over stages."""
    lengths = _lengths(poses)
    return (lengths - lengths[..., _MIRRORED]).abs().mean((0, 1, 3)).sum()


def sigma_likelihood(log_sigma: Tensor, poses: Tensor, target: Tensor) -> Tensor:
    """Negative log likelihood that teaches log sigma [B x T x K x J] without pulling at the pose.

    Sigma is per axis: the mean of the squared distance is 3 sigma^2.
    """
    square = (poses.detach() - target[:, :, None]).square().sum(-1)
    log_sigma = log_sigma.clamp(-6, 1)
    return (3 * log_sigma + square / (2 * (2 * log_sigma).exp())).mean((0, 1, 3)).sum()


def heat_maps(maps: Tensor, points: Tensor) -> Tensor:
    """Squared error of maps to a Gaussian of height 1 about each joint, summed over cells and
    stages.

    The intermediate supervision of convolutional pose machines (Wei et al., CVPR 2016), by which
    RPSM's 2D pose module is trained first. A joint beyond the border has what of its Gaussian lies
    within. On coarse maps the Gaussian is at least a cell wide.
    """
    height, width = maps.shape[-2:]
    x, y = _centres(width, maps), _centres(height, maps)
    sigma_x, sigma_y = (max(_SIGMA, 2 / cells) for cells in (width, height))
    across = (-((points[..., 0, None] - x) / sigma_x).square() / 2).exp()
    down = (-((points[..., 1, None] - y) / sigma_y).square() / 2).exp()
    truth = down[..., :, None] * across[..., None, :]
    return (maps - truth[:, None]).square().sum((-2, -1)).mean((0, 2)).sum()


def soft_argmax(maps: Tensor) -> Tensor:
    """Points [... x 2] of maps [... x H x W]: the expected cell under their softmax (Sun et al.,
    ECCV 2018).
    """
    height, width = maps.shape[-2:]
    shares = maps.flatten(-2).softmax(-1).unflatten(-1, (height, width))
    return torch.stack(
        [shares.sum(-2) @ _centres(width, maps), shares.sum(-1) @ _centres(height, maps)], -1
    )


def peaks(maps: Tensor) -> Tensor:
    """Points [... x 2] of the largest cells of maps [... x H x W], between cells by the parabola
    through three.
    """
    height, width = maps.shape[-2:]
    values = maps.flatten(-2)
    best = values.argmax(-1)
    x, y = best % width, best // width

    def value(across: int, down: int) -> Tensor:
        cell = (y + down).clamp(0, height - 1) * width + (x + across).clamp(0, width - 1)
        return values.gather(-1, cell[..., None])[..., 0]

    def shift(before: Tensor, after: Tensor) -> Tensor:
        return (after - before) / (2 * (2 * value(0, 0) - before - after)).clamp(min=1e-9)

    return torch.stack(
        [
            _centres(width, maps)[x] + shift(value(-1, 0), value(1, 0)) * (2 / width),
            _centres(height, maps)[y] + shift(value(0, -1), value(0, 1)) * (2 / height),
        ],
        -1,
    )


def integral(maps: Tensor, points: Tensor) -> Tensor:
    """Absolute error of the soft-argmax, summed over x, y and stages: integral regression (Sun et
    al.).

    Joints beyond the border, which no map has, do not count.
    """
    within = (points.abs() <= 1).all(-1)[:, None]
    error = (soft_argmax(maps) - points[:, None]).abs().sum(-1) * within
    return error.sum((0, 2)).sum() / within.sum().clamp(min=1)


def _centres(cells: int, like: Tensor) -> Tensor:
    return (torch.arange(cells, dtype=like.dtype, device=like.device) + 0.5) * (2 / cells) - 1


def _lengths(poses: Tensor) -> Tensor:
    return cast(Tensor, (poses[..., _CHILDREN, :] - poses[..., _PARENTS, :]).norm(dim=-1))
