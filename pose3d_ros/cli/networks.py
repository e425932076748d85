"""Print the networks' parameters and multiply-adds, of one person in one frame and with default
options.
"""

from __future__ import annotations

import argparse
import copy
import sys
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pose3d_ros.networks import NETWORKS, create


class Cost(NamedTuple):
    """What a network costs."""

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


def parameters(network: nn.Module) -> int:
    """Numbers that training changes."""
    return sum(value.numel() for value in network.parameters())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d networks``."""
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help=f"one of {', '.join(NETWORKS)}; default all"
    )


def command(options: argparse.Namespace) -> int:
    """One line for each network."""
    sys.stdout.write(
        f"{'network':18} {'parameters/M':>12} {'multiply-adds/M':>15} {'attention/M':>11}\n"
    )
    for name in options.names or NETWORKS:
        with torch.device("meta"):
            found = cost(create(name))
        sys.stdout.write(
            f"{name:18} {found.parameters / 1e6:12.2f} {found.multiply_adds / 1e6:15.1f} "
            f"{found.attention / 1e6:11.1f}\n"
        )
    return 0
