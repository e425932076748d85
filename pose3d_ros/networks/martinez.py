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
