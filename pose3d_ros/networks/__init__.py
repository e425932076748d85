"""Torch definitions of the networks; for training and export only, never imported at run time."""

from __future__ import annotations

from typing import Any

from torch import nn

from pose3d_ros.networks.videopose3d import VideoPose3D

NETWORKS: dict[str, Any] = {
    "videopose3d": VideoPose3D,
}


def create(name: str, **options: Any) -> nn.Module:
    """Build a network by name; ``KeyError`` names the networks that exist."""
    if name not in NETWORKS:
        raise KeyError(f"no network '{name}'; expected one of {', '.join(NETWORKS)}")
    network: nn.Module = NETWORKS[name](**options)
    return network
