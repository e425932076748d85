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

"""PoseFormer: a transformer over joints, then one over frames (Zheng et al., ICCV 2021).

Parameter names and shapes are those of the authors' published checkpoints.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from pose3d_ros.networks.transformer import EPSILON, blocks


class PoseFormer(nn.Module):
    """2D keypoints of a window of frames to the 3D joints of its middle frame.

    ``forward``: keypoints [B x T x J x F] with T = ``frames`` -> [B x 1 x J_out x O]. Which frame
    the output belongs to is the training's choice: no layer is causal, and the frames are weighed
    by one learned mean.
    """

    outputs = ("joints",)

    def __init__(
        self,
        frames: int = 9,
        joints_in: int = 17,
        features_in: int = 2,
        joints_out: int = 17,
        features_out: int = 3,
        channels: int = 32,
        depth: int = 4,
        heads: int = 8,
        drop_path: float = 0.2,
    ) -> None:
        super().__init__()
        self.receptive_field = frames
        self.inputs = joints_in, features_in
        self.joints_out = joints_out
        whole = joints_in * channels
        self.Spatial_patch_to_embedding = nn.Linear(features_in, channels)
        self.Spatial_pos_embed = nn.Parameter(torch.zeros(1, joints_in, channels))
        self.Temporal_pos_embed = nn.Parameter(torch.zeros(1, frames, whole))
        self.Spatial_blocks = blocks(channels, depth, heads, drop_path)
        self.blocks = blocks(whole, depth, heads, drop_path)
        self.Spatial_norm = nn.LayerNorm(channels, eps=EPSILON)
        self.Temporal_norm = nn.LayerNorm(whole, eps=EPSILON)
        self.weighted_mean = nn.Conv1d(frames, 1, 1)
        self.head = nn.Sequential(nn.LayerNorm(whole), nn.Linear(whole, joints_out * features_out))

    def example(self, batch: int = 1) -> dict[str, Tensor]:
        """Inputs of the right names and shapes."""
        return {"keypoints": torch.zeros(batch, self.receptive_field, *self.inputs)}

    def forward(self, keypoints: Tensor) -> Tensor:
        """Joints of one frame from a window of ``frames``."""
        batch, frames = keypoints.shape[:2]
        if frames != self.receptive_field:
            raise ValueError(f"keypoints: expected {self.receptive_field} frames, got {frames}")
        x = self.Spatial_patch_to_embedding(keypoints).flatten(0, 1) + self.Spatial_pos_embed
        for block in self.Spatial_blocks:
            x = block(x)
        x = self.Spatial_norm(x).reshape(batch, frames, -1) + self.Temporal_pos_embed
        for block in self.blocks:
            x = block(x)
        x = self.head(self.weighted_mean(self.Temporal_norm(x)))
        return cast(Tensor, x.unflatten(2, (self.joints_out, -1)))
