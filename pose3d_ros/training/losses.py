"""What training minimises. Poses are [B x T x K x J x 3] of K stages and targets [B x T x J x 3], in metres."""

from __future__ import annotations

import torch
from torch import Tensor

from pose3d_ros.skeleton import H36M17

_LIMBS = H36M17.limb_indices
_PARENTS, _CHILDREN = torch.from_numpy(_LIMBS[:, 0]), torch.from_numpy(_LIMBS[:, 1])
_MIRRORED = [_LIMBS.tolist().index([H36M17.flip[a], H36M17.flip[b]]) for a, b in _LIMBS.tolist()]
# Bones whose lengths have a nearly fixed ratio in all people (Zhou et al., 2017): arms, legs, shoulders, hips.
_GROUPS = [[i for i, (_, child) in enumerate(H36M17.limbs) if child[2:] in names]
           for names in (("elbow", "wrist"), ("knee", "ankle"), ("shoulder",), ("hip",))]
# Their lengths as parts of the stature (de Leva, 1996). Within a group only the ratios matter.
_USUAL = {"hip": 0.1, "knee": 0.235, "ankle": 0.249, "shoulder": 0.1, "elbow": 0.160, "wrist": 0.153}
_SPAN = torch.tensor([_USUAL.get(child[2:], 1.0) for _, child in H36M17.limbs])


def mean_distance(poses: Tensor, target: Tensor) -> Tensor:
    """Mean distance of joints, summed over stages: the loss of Martinez' successors and of Context-Aware PoseFormer."""
    return (poses - target[:, :, None]).norm(dim=-1).mean((0, 1, 3)).sum()


def squared_error(poses: Tensor, target: Tensor) -> Tensor:
    """Squared distance, of every frame and every stage with weights 1: RPSM's (Lin et al., 2017, equation 6)."""
    return (poses - target[:, :, None]).square().sum(-1).mean((0, 1, 3)).sum()


def velocity(poses: Tensor, target: Tensor) -> Tensor:
    """Mean error of the joints' change from frame to frame, summed over stages (Hossain and Little, ECCV 2018)."""
    if target.shape[1] < 2:
        raise ValueError("velocity loss: expected clips of 2 frames or more; this lifter answers single frames")
    return mean_distance(poses.diff(dim=1), target.diff(dim=1))


def bone_ratio(poses: Tensor) -> Tensor:
    """Variance of the bones' lengths over their usual ones, within arms, legs, shoulders and hips; summed over stages.

    The geometric loss of Zhou et al. (ICCV 2017, equation 5), which needs no truth.
    """
    ratio = _lengths(poses) / _SPAN.to(poses.device)
    return torch.stack([ratio[..., group].var(-1, unbiased=False) for group in _GROUPS]).sum(0).mean((0, 1)).sum()


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


def _lengths(poses: Tensor) -> Tensor:
    return (poses[..., _CHILDREN, :] - poses[..., _PARENTS, :]).norm(dim=-1)
