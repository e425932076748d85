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

"""The network of the extra joints of face, hands and feet (``lifting.extra_joints``)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pose3d_ros.skeleton import EXTRA_JOINTS, H36M17

_POINTS = len(EXTRA_JOINTS)
# What differs is centimetres: x, y and confidence of points as they go in, place and the logarithm
# of sigma as they come out.
_INPUT_SCALE, _OUTPUT_SCALE = (10.0, 10.0, 1.0), (0.1, 0.1, 0.1, 1.0)


class ExtraJointsNetwork(nn.Module):
    """Fully connected layers with residual blocks of two, as Martinez et al. (ICCV 2017) have
    them.

    ``forward``: a pose [P x 17 x 3] and the points seen [P x 13 x 3] -> [P x 13 x 4]: a correction
    of x and y, depth behind the anchor, and the logarithm of sigma.
    """

    def __init__(self, channels: int = 224, blocks: int = 2) -> None:
        super().__init__()
        self.entry = nn.Linear(3 * len(H36M17) + 3 * _POINTS, channels)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Linear(channels, channels),
                nn.ReLU(),
                nn.Linear(channels, channels),
                nn.ReLU(),
            )
            for _ in range(blocks)
        )
        self.exit = nn.Linear(channels, 4 * _POINTS)

    def forward(self, body: Tensor, points: Tensor) -> Tensor:
        """Run the network."""
        scaled = points * torch.tensor(_INPUT_SCALE)
        values = torch.cat([body.flatten(1), scaled.flatten(1)], 1)
        values = torch.relu(self.entry(values))
        for block in self.blocks:
            values = values + block(values)
        answer: Tensor = self.exit(values).reshape(-1, _POINTS, 4)
        return answer * torch.tensor(_OUTPUT_SCALE)
