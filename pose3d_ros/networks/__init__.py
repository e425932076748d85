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

"""Torch definitions of the networks; for training and export only, never imported at run time."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from pose3d_ros.networks.context_poseformer import (
    BLAZEPOSE,
    CPN,
    HRNET32,
    HRNET48,
    ContextPoseFormer,
)
from pose3d_ros.networks.hrnet import HRNet
from pose3d_ros.networks.martinez import Martinez
from pose3d_ros.networks.poseformer import PoseFormer
from pose3d_ros.networks.rpsm import RPSM, RPSMFeatures, RPSMKeypoints
from pose3d_ros.networks.videopose3d import VideoPose3D

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "rpsm": RPSM,
    "rpsm-keypoints": RPSMKeypoints,
    "rpsm-features": RPSMFeatures,
    "context-hrnet32": partial(ContextPoseFormer, pyramid=HRNET32),
    "context-hrnet48": partial(ContextPoseFormer, pyramid=HRNET48),
    "context-cpn": partial(ContextPoseFormer, pyramid=CPN),
    "context-blazepose": partial(ContextPoseFormer, pyramid=BLAZEPOSE),
    "hrnet-w32": partial(HRNet, width=32),
    "hrnet-w48": partial(HRNet, width=48),
    "videopose3d": VideoPose3D,
    "poseformer": PoseFormer,
    "martinez": Martinez,
}


def create(name: str, **options: Any) -> nn.Module:
    """Build a network by name; ``ValueError`` names the networks that exist."""
    if name not in NETWORKS:
        raise ValueError(f"no network '{name}'; expected one of {', '.join(NETWORKS)}")
    return NETWORKS[name](**options)
