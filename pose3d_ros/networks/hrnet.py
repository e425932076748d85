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

"""HRNet, the high-resolution backbone of 2D pose (Sun et al., CVPR 2019).

Parameter names and shapes are those of the authors' published pose checkpoints, with or without
their final 1x1 convolution to heat maps.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

MODULES = {2: 1, 3: 4, 4: 3}
"""Exchanges between resolutions in each stage."""


def _norm(channels_in: int, channels_out: int, size: int = 3, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(channels_in, channels_out, size, stride, padding=size // 2, bias=False)
    return [convolution, nn.BatchNorm2d(channels_out)]


def _relu(channels_in: int, channels_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(*_norm(channels_in, channels_out, 3, stride), nn.ReLU())


class Basic(nn.Module):
    """Two 3x3 convolutions, residual."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _norm(channels, channels)
        self.conv2, self.bn2 = _norm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B x C x H x W] -> the same."""
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(x + self.bn2(self.conv2(y)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, residual, to four times ``channels``."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = _norm(channels_in, channels, 1)
        self.conv2, self.bn2 = _norm(channels, channels)
        self.conv3, self.bn3 = _norm(channels, 4 * channels, 1)
        projected = channels_in != 4 * channels
        self.downsample = (
            nn.Sequential(*_norm(channels_in, 4 * channels, 1)) if projected else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B x channels_in x H x W] -> [B x 4 channels x H x W]."""
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        return torch.relu(self.downsample(x) + self.bn3(self.conv3(y)))


class Exchange(nn.Module):
    """Four residual blocks at each resolution, then each of the first ``outputs`` resolutions sums
    all of them.
    """

    def __init__(self, channels: list[int], outputs: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*[Basic(c) for _ in range(4)]) for c in channels
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(channels, source, target) for source in range(len(channels)))
            for target in range(outputs)
        )

    @staticmethod
    def _path(channels: list[int], source: int, target: int) -> nn.Module:
        if source == target:
            return nn.Identity()
        if source > target:
            return nn.Sequential(*_norm(channels[source], channels[target], 1))
        shrinking = [
            _relu(channels[source], channels[source], 2) for _ in range(target - source - 1)
        ]
        return nn.Sequential(
            *shrinking, nn.Sequential(*_norm(channels[source], channels[target], 3, 2))
        )

    def refine(self, maps: list[Tensor]) -> list[Tensor]:
        """The residual blocks of each resolution."""
        return [branch(x) for branch, x in zip(self.branches, maps, strict=True)]

    def fuse(self, maps: list[Tensor]) -> list[Tensor]:
        """Each resolution's sum over all of them."""
        fused = []
        for target, paths in enumerate(self.fuse_layers):
            parts = []
            for source, path in enumerate(cast(nn.ModuleList, paths)):
                part = path(maps[source])
                if source > target:
                    part = functional.interpolate(part, scale_factor=2.0 ** (source - target))
                parts.append(part)
            fused.append(torch.relu(cast(Tensor, sum(parts))))
        return fused

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """One map per resolution, each half the size of the one before."""
        return self.fuse(self.refine(maps))


class HRNet(nn.Module):
    """The four feature maps that Context-Aware PoseFormer takes; before them, heat maps of
    ``joints`` if there are any.

    ``forward``: image [B x 3 x H x W], H and W multiples of 32 -> list of [B x width 2^i x H/(4
    2^i) x W/(4 2^i)]: the last stage's output at the highest resolution, and at the lower ones its
    first residual blocks' outputs. The paper and the fixtures' text call these the stage's inputs,
    but the released code writes over its inputs before it returns them; the published lifters were
    trained on what it returned. Heat maps [B x joints x H/4 x W/4] are made of the first.
    """

    def __init__(self, width: int = 32, joints: int = 0) -> None:
        super().__init__()
        self.outputs = (
            *(["heatmaps"] if joints else []),
            "features0",
            "features1",
            "features2",
            "features3",
        )
        self.ignored = () if joints else ("final_layer.",)
        """Parameters that published checkpoints have beside these."""
        channels = [width * 2**i for i in range(4)]
        self.conv1, self.bn1 = _norm(3, 64, 3, 2)
        self.conv2, self.bn2 = _norm(64, 64, 3, 2)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *[Bottleneck(256, 64) for _ in range(3)])
        self.transition1 = nn.ModuleList(
            [_relu(256, channels[0]), nn.Sequential(_relu(256, channels[1], 2))]
        )
        self.stage2 = self._stage(channels[:2], 2)
        self.transition2 = self._new_resolution(channels[:3])
        self.stage3 = self._stage(channels[:3], 3)
        self.transition3 = self._new_resolution(channels)
        self.stage4 = self._stage(channels, 4)
        self.final_layer = nn.Conv2d(width, joints, 1) if joints else None

    @staticmethod
    def _stage(channels: list[int], stage: int) -> nn.Sequential:
        outputs = [len(channels)] * MODULES[stage]
        if stage == 4:
            outputs[-1] = 1  # pose is read from the highest resolution alone
        return nn.Sequential(*[Exchange(channels, n) for n in outputs])

    @staticmethod
    def _new_resolution(channels: list[int]) -> nn.ModuleList:
        new = nn.Sequential(_relu(channels[-2], channels[-1], 2))
        return nn.ModuleList([*[nn.Identity() for _ in channels[:-1]], new])

    def example(self, batch: int = 1) -> dict[str, Tensor]:
        """Inputs of the right names and of the usual size."""
        return {"image": torch.zeros(batch, 3, 256, 192)}

    def forward(self, image: Tensor) -> list[Tensor]:
        """RGB picture, normalised as ImageNet's."""
        x = torch.relu(self.bn1(self.conv1(image)))
        x = self.layer1(torch.relu(self.bn2(self.conv2(x))))
        maps = self.stage2([path(x) for path in self.transition1])
        maps = self.stage3([*maps, self.transition2[-1](maps[-1])])
        first = cast(Exchange, self.stage4[0])
        refined = first.refine([*maps, self.transition3[-1](maps[-1])])
        maps = [*self.stage4[1:](first.fuse(refined)), *refined[1:]]
        return maps if self.final_layer is None else [self.final_layer(maps[0]), *maps]
