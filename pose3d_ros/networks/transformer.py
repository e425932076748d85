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

"""The pre-norm transformer block that the PoseFormer family shares, with the parameter names of
its checkpoints.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

EPSILON = 1e-6
"""Of the norms within these blocks; torch's default is larger."""


class Attention(nn.Module):
    """Multi-head self-attention: [B x N x C] -> [B x N x C]. ``causal``: token n sees no token
    after n.
    """

    def __init__(self, channels: int, heads: int, causal: bool = False) -> None:
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Attend."""
        query, key, value = (
            self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        )
        weights = query @ key.transpose(-2, -1) * query.shape[-1] ** -0.5
        if self.causal:
            later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device).triu(1)
            weights = weights.masked_fill(later, -torch.inf)
        attended: Tensor = self.proj((weights.softmax(-1) @ value).transpose(1, 2).flatten(2))
        return attended


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, hidden)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[... x C] -> [... x C]."""
        y: Tensor = self.fc2(functional.gelu(self.fc1(x)))
        return y


class DropPath(nn.Module):
    """Stochastic depth: leaves a residual branch out for whole samples, in training only (Huang et
    al., ECCV 2016).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """[B x ...] -> [B x ...], with the expected value of the input."""
        if not self.training or self.rate == 0:
            return x
        keep = torch.rand(x.shape[0], *[1] * (x.dim() - 1), device=x.device) >= self.rate
        return x * keep / (1 - self.rate)


class Block(nn.Module):
    """Attention and a perceptron of twice the width, each a residual: [B x N x C] -> [B x N x
    C].
    """

    def __init__(
        self, channels: int, heads: int, drop_path: float = 0.0, causal: bool = False
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=EPSILON)
        self.attn = Attention(channels, heads, causal)
        self.norm2 = nn.LayerNorm(channels, eps=EPSILON)
        self.mlp = Mlp(channels, 2 * channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """One layer of the transformer."""
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return cast(Tensor, x + self.drop_path(self.mlp(self.norm2(x))))


def depth_rates(depth: int, last: float) -> list[float]:
    """Drop rates of blocks that rise from 0 to ``last`` with depth."""
    return [last * block / max(depth - 1, 1) for block in range(depth)]


def blocks(
    channels: int, depth: int, heads: int, drop_path: float, causal: bool = False
) -> nn.ModuleList:
    """``depth`` blocks whose stochastic depth rises to ``drop_path``."""
    return nn.ModuleList(
        Block(channels, heads, rate, causal) for rate in depth_rates(depth, drop_path)
    )
