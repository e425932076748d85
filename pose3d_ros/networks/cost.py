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

"""Parameters and multiply-adds of a network."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pose3d_ros.networks import create


class Cost(NamedTuple):
    """Size of a network, and of one call."""

    parameters: int
    multiply_adds: int
    """Of convolutions and linear layers; biases, norms and activations are not counted."""
    attention: int
    """Multiply-adds of the products between tokens, which publications often leave out."""


def cost(network: Any, *inputs: Any) -> Cost:
    """Count one call of ``network``, with its own ``example`` if no inputs (on the meta device)
    are given.

    Nothing is computed: on the meta device there are shapes alone, and an LSTM there is made of
    matrix products, which the counter sees.
    """
    network = copy.deepcopy(network).to("meta").eval()
    with torch.no_grad(), torch.device("meta"), FlopCounterMode(display=False) as counter:
        network(*(inputs or network.example().values()))
    flops = counter.get_flop_counts()["Global"]
    attention = sum(n for operator, n in flops.items() if "bmm" in str(operator))
    return Cost(parameters(network), (sum(flops.values()) - attention) // 2, attention // 2)


def cost_of(name: str) -> Cost:
    """Cost of the network of this name, with default options; nothing is allocated."""
    with torch.device("meta"):
        return cost(create(name))


def parameters(network: nn.Module) -> int:
    """Numbers that training changes."""
    return sum(value.numel() for value in network.parameters())
