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

"""Context-Aware PoseFormer: one 2D pose and the detector's feature maps to 3D (Zhao et al.,
NeurIPS 2023).

Parameter names and shapes of the one-frame lifter are those of the authors' published checkpoints
(their ``volume_net``). Their temporal extension is described, not published: here it is a
transformer over frames for each joint, before the head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from pose3d_ros.networks.transformer import EPSILON, DropPath, Mlp, blocks, depth_rates

MapShape = tuple[int, int, int]
"""Channels, height and width of a feature map."""

HRNET32: tuple[MapShape, ...] = ((32, 64, 48), (64, 32, 24), (128, 16, 12), (256, 8, 6))
HRNET48: tuple[MapShape, ...] = ((48, 64, 48), (96, 32, 24), (192, 16, 12), (384, 8, 6))
CPN: tuple[MapShape, ...] = ((256, 64, 48),) * 4
BLAZEPOSE: tuple[MapShape, ...] = ((48, 64, 64), (48, 32, 32), (48, 16, 16), (144, 8, 8))
"""The embedded detector's features0 to features3."""


def sample_maps(maps: Tensor, points: Tensor, padding: str) -> Tensor:
    """Bilinear samples of maps [B x C x H x W] at points [B x N x M x 2] in [-1, 1] of the crop:
    [B x N x M x C].

    -1 and 1 are the centres of the outermost cells. What is beyond them is 0 (``padding`` zeros)
    or as the nearest cell (border). The same numbers as of torch's grid_sample with align_corners,
    but as a product of matrices, which every engine runs fast: no cell further than one from a
    point has a weight.
    """
    weights = []
    for place, cells in ((points[..., 1], maps.shape[2]), (points[..., 0], maps.shape[3])):
        place = (place + 1) * ((cells - 1) / 2)
        if padding == "border":
            place = place.clamp(0, cells - 1)
        away = place[..., None] - torch.arange(cells, device=points.device, dtype=points.dtype)
        weights.append((1 - away.abs()).clamp(min=0))
    both = (weights[0][..., None] * weights[1][..., None, :]).flatten(3).to(maps.dtype)
    return cast(
        Tensor,
        (both.flatten(1, 2) @ maps.flatten(2).transpose(1, 2)).unflatten(1, points.shape[1:3]),
    )


class DeformableContext(nn.Module):
    """Gathers context around each joint: at points that each level's token chooses, weighed by its
    attention.
    """

    def __init__(
        self,
        pyramid: Sequence[MapShape],
        channels: int,
        heads: int,
        samples: int,
        drop_path: float,
    ) -> None:
        super().__init__()
        self.heads, self.samples = heads, samples
        self.norm1 = nn.LayerNorm(channels)
        self.attention_weights = nn.Linear(channels, heads * samples)
        self.sampling_offsets = nn.Linear(channels, 2 * heads * samples)
        self.embed_proj = nn.ModuleList(nn.Linear(c, channels // heads) for c, _, _ in pyramid)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, 2 * channels)
        self.drop_path = DropPath(drop_path)
        self._initialise_offsets()

    @torch.no_grad()
    def _initialise_offsets(self) -> None:
        """Set even weights, a direction for each head, and each sample one step (1 % of the crop)
        further.
        """
        for layer in (self.attention_weights, self.sampling_offsets):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], -1)
        directions = directions / directions.abs().amax(-1, keepdim=True)
        steps = 0.01 * torch.arange(1, self.samples + 1)
        self.sampling_offsets.bias.copy_((directions[:, None] * steps[:, None]).flatten())

    def forward(self, tokens: Tensor, points: Tensor, features: list[Tensor]) -> Tensor:
        """Tokens [B x (1 + L) x J x C], points [B x J x 2], L maps [B x C_l x H_l x W_l] ->
        tokens.
        """
        pose, levels = tokens[:, :1], tokens[:, 1:]
        query = self.norm1(levels + pose)
        weights = (
            self.attention_weights(query).unflatten(3, (self.heads, self.samples)).softmax(-1)
        )
        offsets = self.sampling_offsets(query).unflatten(3, (-1, 2)).tanh()
        around = points[:, None, :, None] + offsets
        gathered = torch.stack(
            [
                project(sample_maps(maps, around[:, level], "border"))
                for level, (maps, project) in enumerate(
                    zip(features, self.embed_proj, strict=True)
                )
            ],
            dim=1,
        ).unflatten(3, (self.heads, self.samples))
        levels = levels + self.drop_path((weights[..., None] * gathered).sum(-2).flatten(3))
        levels = levels + self.drop_path(self.mlp(self.norm2(levels)))
        return torch.cat([pose, levels], 1)


class ContextPoseFormer(nn.Module):
    """2D keypoints and feature maps to 3D joints.

    ``forward`` with ``frames`` = 1: keypoints [B x J x F] (normalised image coordinates),
    crop_keypoints [B x J x 2] (in [-1, 1] of the crop), features: list of [B x C_l x H_l x W_l] ->
    [B x 1 x J x O]. With more frames each input has T = ``frames`` as its second dimension and the
    output is [B x T x J x O], one pose for each frame.

    ``pyramid``: the maps; only their channels matter to the layers. ``context``: "deformable" is
    the paper's; "sampled" takes the maps at the joints alone; "none" ignores crop_keypoints and
    features, which is PoseFormer of one frame. ``fusion``: whether the levels of a joint attend to
    each other. ``causal``: a frame sees none after it.
    """

    outputs = ("joints",)

    def __init__(
        self,
        pyramid: Sequence[MapShape] = HRNET32,
        context: str = "deformable",
        fusion: bool = True,
        frames: int = 1,
        causal: bool = True,
        joints: int = 17,
        features_in: int = 2,
        features_out: int = 3,
        channels: int = 128,
        depth: int = 4,
        heads: int = 8,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        if context not in ("none", "sampled", "deformable"):
            raise ValueError(f"context: expected none, sampled or deformable; got '{context}'")
        if frames < 1:
            raise ValueError(f"frames: expected 1 or more, got {frames}")
        self.pyramid, self.frames, self.causal = tuple(pyramid), frames, causal
        self.inputs = joints, features_in
        whole = channels * (1 + len(pyramid))
        if context == "none":
            pyramid, fusion, channels = (), False, whole
        self.coord_embed = nn.Linear(features_in, channels)
        self.feat_embed = nn.ModuleList(nn.Linear(c, channels) for c, _, _ in pyramid)
        self.Spatial_pos_embed = nn.Parameter(torch.zeros(1, 1 + len(pyramid), joints, channels))
        rates = depth_rates(depth, drop_path) if context == "deformable" else []
        self.context_blocks = nn.ModuleList(
            DeformableContext(pyramid, channels, 4, 4, rate) for rate in rates
        )
        self.res_blocks = blocks(channels, depth if fusion else 0, heads, drop_path)
        self.joint_blocks = blocks(whole, depth, heads, drop_path)
        if frames > 1:
            self.temporal_pos_embed = nn.Parameter(torch.zeros(1, frames, whole))
            self.temporal_blocks = blocks(whole, depth, heads, drop_path, causal)
            self.temporal_norm = nn.LayerNorm(whole, eps=EPSILON)
        self.head = nn.Sequential(nn.LayerNorm(whole), nn.Linear(whole, features_out))

    def forward(self, keypoints: Tensor, crop_keypoints: Tensor, features: list[Tensor]) -> Tensor:
        """A pose for each frame."""
        if self.frames == 1:
            joints: Tensor = self.head(self.tokens(keypoints, crop_keypoints, features))[:, None]
            return joints
        if keypoints.shape[1] != self.frames:
            raise ValueError(f"keypoints: expected {self.frames} frames, got {keypoints.shape[1]}")
        tokens = self.tokens(
            keypoints.flatten(0, 1),
            crop_keypoints.flatten(0, 1),
            [x.flatten(0, 1) for x in features],
        )
        return self.over_time(tokens.unflatten(0, (-1, self.frames)))

    def example(self, batch: int = 1) -> dict[str, Tensor | list[Tensor]]:
        """Inputs of the right names and shapes."""
        many = (batch,) if self.frames == 1 else (batch, self.frames)
        return {
            "keypoints": torch.zeros(*many, *self.inputs),
            "crop_keypoints": torch.zeros(*many, self.inputs[0], 2),
            "features": [torch.zeros(*many, *shape) for shape in self.pyramid],
        }

    def tokens(self, keypoints: Tensor, crop_keypoints: Tensor, features: list[Tensor]) -> Tensor:
        """Tokens [B x J x D] of the joints of one frame."""
        levels = [self.coord_embed(keypoints)]
        for embed, maps in zip(self.feat_embed, features[: len(self.feat_embed)], strict=True):
            levels.append(embed(sample_maps(maps, crop_keypoints[:, :, None], "zeros")[:, :, 0]))
        x = torch.stack(levels, 1) + self.Spatial_pos_embed
        for block in self.context_blocks:
            x = block(x, crop_keypoints, features)
        batch, count, joints, channels = x.shape
        x = x.transpose(1, 2).reshape(batch * joints, count, channels)
        for block in self.res_blocks:
            x = block(x)
        x = x.reshape(batch, joints, -1)
        for block in self.joint_blocks:
            x = block(x)
        return x

    def over_time(self, tokens: Tensor) -> Tensor:
        """Tokens of a window [B x T x J x D] -> joints [B x T x J x O], by a transformer over each
        joint's frames.
        """
        batch, frames, joints = tokens.shape[:3]
        x = tokens.transpose(1, 2).reshape(batch * joints, frames, -1) + self.temporal_pos_embed
        for block in self.temporal_blocks:
            x = block(x)
        x = self.head(self.temporal_norm(x))
        return cast(Tensor, x.reshape(batch, joints, frames, -1).transpose(1, 2))
