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

"""Networks of the lifters that can be trained, by their settings."""

from __future__ import annotations

from typing import Any

from torch import nn

from pose3d_ros.networks.context_poseformer import BLAZEPOSE, HRNET32, HRNET48, MapShape
from pose3d_ros.networks.feature_lifters import BLAZEPOSE_SCALE, ContextLifter, RPSMContext
from pose3d_ros.networks.martinez import Martinez
from pose3d_ros.networks.poseformer import PoseFormer
from pose3d_ros.networks.rpsm import RPSM, RPSMKeypoints
from pose3d_ros.networks.videopose3d import VideoPose3D
from pose3d_ros.training.settings import FEATURE_LIFTERS, TrainSettings

FEATURE_MAPS: dict[str, tuple[tuple[MapShape, ...], tuple[float, ...]]] = {
    "blazepose": (BLAZEPOSE, BLAZEPOSE_SCALE),
    "hrnet-w32": (HRNET32, (1.0,) * 4),
    "hrnet-w48": (HRNET48, (1.0,) * 4),
}
"""Of each source: shapes of its feature maps, and the numbers that they are divided by."""


def build(settings: TrainSettings, base: nn.Module | None = None, heatmaps: int = 0) -> nn.Module:
    """Build the network of ``settings.lifter``, with random weights.

    Its output has four numbers for each of 17 joints: x, y, z and the logarithm of sigma.
    ``base``: for lifters of features, the trained network to correct (context) or to begin with
    (rpsm-context). ``heatmaps``: joints of the head for the pre-training of rpsm-images. Raises
    ``ValueError`` when settings do not fit together.
    """
    output: dict[str, Any] = {"joints_out": 17, "features_out": 4}
    keypoints: dict[str, Any] = {"joints_in": 18, "features_in": 3, **output}
    recursion: dict[str, Any] = {
        "units": settings.channels,
        "stages": settings.stages,
        "recurrent": settings.clip > 1,
    }
    if settings.lifter == "rpsm-images":
        return RPSM(settings.size, settings.width, heatmaps=heatmaps, **recursion, **output)
    if settings.lifter == "rpsm":
        return RPSMKeypoints(
            channels=settings.channels, dropout=settings.dropout, **recursion, **keypoints
        )
    if settings.lifter == "rpsm-context":
        return _rpsm_context(settings, base, {**recursion, **output})
    if settings.lifter in FEATURE_LIFTERS:
        return _context(settings, base)
    if settings.lifter == "poseformer":
        return PoseFormer(frames=9, drop_path=settings.dropout, **keypoints)
    if settings.lifter == "martinez":
        return Martinez(channels=settings.channels, dropout=settings.dropout, **keypoints)
    return VideoPose3D(
        causal=True, channels=settings.channels, dropout=settings.dropout, **keypoints
    )


def _feature_inputs(settings: TrainSettings) -> dict[str, Any]:
    pyramid, scale = FEATURE_MAPS[settings.feature_source]
    return {
        "pyramid": pyramid,
        "scale": scale,
        "levels": settings.levels if settings.uses_feature_maps else 0,
        "root_relative_depth": settings.root_relative_depth,
        "depth_of_sides": settings.depth_part == "sides",
        "up": settings.up,
        "feature_dropout": settings.feature_dropout,
        "instance_norm": settings.instance_norm,
    }


def _rpsm_context(
    settings: TrainSettings, base: nn.Module | None, recursion: dict[str, Any]
) -> RPSMContext:
    network = RPSMContext(
        feature_channels=settings.feature_channels,
        channels=settings.channels,
        dropout=settings.dropout,
        **_feature_inputs(settings),
        **recursion,
    )
    if isinstance(base, RPSMKeypoints):
        network.take_weights(base)
    elif base is not None:
        raise ValueError(
            f"base: expected the folder of an rpsm for rpsm-context, got {settings.base}"
        )
    return network


def _context(settings: TrainSettings, base: nn.Module | None) -> ContextLifter:
    tokens_width = 8 * (1 + settings.levels)
    if settings.channels < tokens_width:
        raise ValueError(
            f"channels: expected {tokens_width} or more for {settings.lifter} with "
            f"{settings.levels} levels, got {settings.channels}"
        )
    return ContextLifter(
        frames=settings.clip if settings.lifter == "context-t" else 1,
        base=base,
        context=settings.context,
        fusion=settings.fusion,
        channels=settings.channels // tokens_width * 8,
        drop_path=settings.dropout,
        **_feature_inputs(settings),
    )
