"""Martinez: a residual network of fully connected layers from one frame's 2D keypoints to 3D
(Martinez et al., ICCV 2017).

As VideoPose3D's authors have it: their network with filters of one frame. Parameter names and
shapes are those of their checkpoints.
"""

from __future__ import annotations

from typing import Any

from pose3d_ros.networks.videopose3d import VideoPose3D


class Martinez(VideoPose3D):
    """Residual network of one frame.

    ``forward``: keypoints [B x T x J x F] -> [B x T x J_out x O], each frame by itself.
    ``blocks``: residual blocks of two layers. ``options``: as of ``VideoPose3D``.
    """

    def __init__(self, blocks: int = 2, **options: Any) -> None:
        super().__init__(filter_widths=(1,) * (1 + blocks), **options)
