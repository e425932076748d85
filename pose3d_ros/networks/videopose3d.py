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

"""VideoPose3D: temporal convolutions from 2D keypoints to 3D (Pavllo et al., CVPR 2019).

Parameter names and shapes are those of the authors' published checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional


class VideoPose3D(nn.Module):
    """Dilated temporal convolutional network.

    ``forward``: keypoints [B x T x J x F] -> [B x (T - receptive_field + 1) x J_out x O]. Output t
    belongs to input frame t + receptive_field - 1 when ``causal``, to the window's middle
    otherwise. An input of exactly one receptive field takes strided convolutions: the same numbers
    in a fraction of the operations.
    """

    outputs = ("joints",)

    def __init__(
        self,
        joints_in: int = 17,
        features_in: int = 2,
        joints_out: int = 17,
        features_out: int = 3,
        filter_widths: Sequence[int] = (3, 3, 3),
        causal: bool = False,
        dropout: float = 0.25,
        channels: int = 1024,
    ) -> None:
        super().__init__()
        if not filter_widths or any(width % 2 == 0 for width in filter_widths):
            raise ValueError(f"filter_widths: expected odd numbers, got {list(filter_widths)}")
        self.filter_widths = tuple(filter_widths)
        self.causal = causal
        self.inputs = joints_in, features_in
        self.joints_out, self.features_out = joints_out, features_out
        self.dropout = nn.Dropout(dropout)
        self.expand_conv = nn.Conv1d(
            joints_in * features_in, channels, filter_widths[0], bias=False
        )
        self.expand_bn = nn.BatchNorm1d(channels, momentum=0.1)
        convolutions, norms = [], []
        for width in filter_widths[1:]:
            convolutions += [
                nn.Conv1d(channels, channels, width, bias=False),
                nn.Conv1d(channels, channels, 1, bias=False),
            ]
            norms += [
                nn.BatchNorm1d(channels, momentum=0.1),
                nn.BatchNorm1d(channels, momentum=0.1),
            ]
        self.layers_conv = nn.ModuleList(convolutions)
        self.layers_bn = nn.ModuleList(norms)
        self.shrink = nn.Conv1d(channels, joints_out * features_out, 1)

    @property
    def receptive_field(self) -> int:
        """Frames that one output depends on."""
        return math.prod(self.filter_widths)

    def example(self, batch: int = 1) -> dict[str, Tensor]:
        """Inputs of the right names and shapes, for one output."""
        return {"keypoints": torch.zeros(batch, self.receptive_field, *self.inputs)}

    def forward(self, keypoints: Tensor) -> Tensor:
        """One output for each input frame that a whole receptive field belongs to."""
        batch, frames = keypoints.shape[:2]
        strided = frames == self.receptive_field

        def temporal(x: Tensor, convolution: nn.Conv1d, width: int, dilation: int) -> Tensor:
            return functional.conv1d(
                x,
                convolution.weight,
                stride=width if strided else 1,
                dilation=1 if strided else dilation,
            )

        x = keypoints.reshape(batch, frames, -1).transpose(1, 2)
        x = temporal(x, self.expand_conv, self.filter_widths[0], 1)
        x = self.dropout(torch.relu(self.expand_bn(x)))
        dilation = self.filter_widths[0]
        for block, width in enumerate(self.filter_widths[1:]):
            # The residual is the frame of each filter that the output belongs to: its last if
            # causal, else its middle.
            tap = width - 1 if self.causal else width // 2
            if strided:
                residual = x[:, :, tap::width]
            else:
                residual = x[:, :, tap * dilation : x.shape[2] - (width - 1 - tap) * dilation]
            x = temporal(x, cast(nn.Conv1d, self.layers_conv[2 * block]), width, dilation)
            x = self.dropout(torch.relu(self.layers_bn[2 * block](x)))
            x = self.layers_conv[2 * block + 1](x)
            x = residual + self.dropout(torch.relu(self.layers_bn[2 * block + 1](x)))
            dilation *= width
        x = self.shrink(x).transpose(1, 2)
        return cast(Tensor, x.reshape(batch, x.shape[1], self.joints_out, self.features_out))
