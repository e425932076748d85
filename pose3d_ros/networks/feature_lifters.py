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

"""Lifters of a frozen detector's keypoints, root-relative depth and feature maps: RPSM and
Context-Aware PoseFormer.

Both take ``keypoints`` [B x T x 18 x 3] as ``lifting.normalise`` makes them,
``root_relative_depth`` [B x T x 17] in units of the person's size, ``up`` [B x T x 3], the unit
vector against gravity in the virtual camera's axes, ``crop_keypoints`` [B x T x 17 x 2] in [-1, 1]
of the crop, and ``features``, a list of maps [B x T x C x H x W] or all their values one after the
other [B x T x V]. An input that is None counts as zeros: motion capture has no images, and not
every camera knows which way is up.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from pose3d_ros.networks.context_poseformer import (
    BLAZEPOSE,
    ContextPoseFormer,
    MapShape,
    sample_maps,
)
from pose3d_ros.networks.rpsm import PoseSequenceMachine, perceptron
from pose3d_ros.skeleton import H36M17

BLAZEPOSE_SCALE = (1.0, 1.0, 1.0, 28.0)
"""Divisors of the embedded detector's maps: all but the last end in a ReLU6."""
JOINTS = 17
_OLD_PARAMETERS = {"looks.": "feature_projections."}


def current_parameter_name(name: str) -> str:
    """A parameter's name today; files until version 0.1 have others."""
    for old, new in _OLD_PARAMETERS.items():
        name = re.sub(rf"(?<![\w]){re.escape(old)}", new, name)
    return name


class FeatureMaps(nn.Module):
    """Scaled feature maps [N x C x H x W], one for each of the deepest ``levels`` of a pyramid.

    In training single channels, and all maps of a person, are zeroed at the rate
    ``feature_dropout``: renders do not look as people do, and a lifter must not depend on a few
    channels. ``instance_norm`` standardises every channel of a person.
    """

    def __init__(
        self,
        pyramid: Sequence[MapShape],
        scale: Sequence[float],
        levels: int,
        feature_dropout: float,
        instance_norm: bool,
    ) -> None:
        super().__init__()
        self.pyramid, self.scale = (
            tuple(pyramid)[-levels:] if levels else (),
            tuple(scale)[-levels:],
        )
        self.names = [
            f"features{len(pyramid) - len(self.pyramid) + level}"
            for level in range(len(self.pyramid))
        ]
        self.feature_dropout, self.instance_norm = feature_dropout, instance_norm

    def forward(
        self, features: Tensor | list[Tensor] | None, count: int, like: Tensor
    ) -> list[Tensor]:
        """Maps of ``count`` frames, of the dtype of ``like``."""
        if not self.pyramid:
            return []
        if features is None:
            return [like.new_zeros(count, channels, 1, 1) for channels, _, _ in self.pyramid]
        if isinstance(features, Tensor):
            values = features[..., -sum(map(math.prod, self.pyramid)) :]
            parts = values.split([math.prod(shape) for shape in self.pyramid], -1)
            features = [
                part.unflatten(-1, shape) for part, shape in zip(parts, self.pyramid, strict=True)
            ]
        maps = [
            level.flatten(0, -4).to(like.dtype) / scale
            for level, scale in zip(features, self.scale, strict=True)
        ]
        if self.instance_norm:
            maps = [
                (level - level.mean((2, 3), keepdim=True))
                / (level.std((2, 3), keepdim=True) + 0.05)
                for level in maps
            ]
        if self.training and self.feature_dropout:
            people = torch.rand(count, 1, 1, 1, device=like.device) >= self.feature_dropout
            maps = [
                people * nn.functional.dropout2d(level, self.feature_dropout) for level in maps
            ]
        return maps


class Depth(nn.Module):
    """Root-relative depth [N x 17] as the networks take it; ``of_sides``: half of the difference
    between each joint and its counterpart, 0 on the trunk.

    That part tells how somebody is turned. How far they lean, detectors guess with an error that
    depends on the camera's view.
    """

    flip: Tensor

    def __init__(self, of_sides: bool) -> None:
        super().__init__()
        self.of_sides = of_sides
        self.register_buffer("flip", torch.tensor(H36M17.flip.tolist()), persistent=False)

    def forward(self, depth: Tensor) -> Tensor:
        """The same shape."""
        return (depth - depth[:, self.flip]) / 2 if self.of_sides else depth


class RPSMContext(PoseSequenceMachine):
    """RPSM over a detector's keypoints, its root-relative depth, the direction of up, and its
    feature maps at the joints; output as of ``RPSM``.

    ``feature_channels``: channels that each map is projected to at a joint. ``depth_of_sides``: as
    ``Depth`` has it. P's layers are linear,
    as in ``RPSMKeypoints``.
    """

    def __init__(
        self,
        pyramid: Sequence[MapShape] = BLAZEPOSE,
        scale: Sequence[float] = BLAZEPOSE_SCALE,
        levels: int = 1,
        root_relative_depth: bool = True,
        depth_of_sides: bool = False,
        up: bool = False,
        feature_channels: int = 8,
        feature_dropout: float = 0.2,
        instance_norm: bool = False,
        channels: int = 1024,
        dropout: float = 0.0,
        **recursion: Any,
    ) -> None:
        numbers = (
            3 * (JOINTS + 1)
            + JOINTS * root_relative_depth
            + 3 * up
            + JOINTS * feature_channels * levels
        )
        super().__init__(
            nn.Identity(),
            lambda: perceptron([numbers + channels, channels, channels], dropout),
            lambda units: perceptron([channels, units], dropout),
            channels,
            **recursion,
        )
        self.maps = FeatureMaps(pyramid, scale, levels, feature_dropout, instance_norm)
        self.feature_projections = nn.ModuleList(
            nn.Linear(shape[0], feature_channels, bias=False) for shape in self.maps.pyramid
        )
        self.root_relative_depth, self.up = root_relative_depth, up
        self.depth = Depth(depth_of_sides)
        register: Any = self.register_load_state_dict_pre_hook  # which torch has not typed
        register(_rename_parameters)

    @torch.no_grad()
    def take_weights(self, base: PoseSequenceMachine) -> None:
        """Copy the weights of a trained ``RPSMKeypoints``; those of the other inputs become zero,
        so that the output is the same.
        """
        known = base.state_dict()
        for name, value in self.state_dict().items():
            if name not in known:
                continue
            if value.shape == known[name].shape:
                value.copy_(known[name])
            else:  # the first layer of each stage: keypoints, the other inputs, the stage before
                numbers = 3 * (JOINTS + 1)
                value.zero_()
                value[:, :numbers] = known[name][:, :numbers]
                value[:, -self.channels :] = known[name][:, -self.channels :]

    def forward(
        self,
        keypoints: Tensor,
        root_relative_depth: Tensor | None = None,
        up: Tensor | None = None,
        crop_keypoints: Tensor | None = None,
        features: Tensor | list[Tensor] | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Poses of clips."""
        frames = keypoints.flatten(0, 1)
        seen = [frames.flatten(1)]
        if self.root_relative_depth:
            seen.append(
                frames.new_zeros(frames.shape[0], JOINTS)
                if root_relative_depth is None
                else self.depth(root_relative_depth.flatten(0, 1))
            )
        if self.up:
            seen.append(frames.new_zeros(frames.shape[0], 3) if up is None else up.flatten(0, 1))
        if self.feature_projections:
            points = (
                frames.new_zeros(frames.shape[0], JOINTS, 2)
                if crop_keypoints is None
                else crop_keypoints.flatten(0, 1)
            )[:, :, None]
            seen += [
                project(sample_maps(level, points, "border")[:, :, 0]).flatten(1)
                for project, level in zip(
                    self.feature_projections,
                    self.maps(features, frames.shape[0], frames),
                    strict=True,
                )
            ]
        return self.recur(torch.cat(seen, 1), keypoints.shape[0], state)


def _rename_parameters(module: nn.Module, state: dict[str, Any], *_: object) -> None:
    for name in list(state):
        state[current_parameter_name(name)] = state.pop(name)


class ContextLifter(nn.Module):
    """Context-Aware PoseFormer of one frame or over ``frames``, with the inputs of this module.

    With ``base``, a trained lifter of keypoints [B x 1 x 18 x 3] -> [B x 1 x 17 x 4], the output
    of the base is one more input, and the network learns a correction that is added to it; the
    base is frozen. It learns from motion capture without end, so that few images are enough for
    the correction. ``frames``: number of frames that a pose depends on, causal, with zeros before
    the first. ``network``: the options of ``ContextPoseFormer``.
    """

    outputs = ("joints", "next_state")

    def __init__(
        self,
        pyramid: Sequence[MapShape] = BLAZEPOSE,
        scale: Sequence[float] = BLAZEPOSE_SCALE,
        levels: int = 1,
        root_relative_depth: bool = True,
        depth_of_sides: bool = False,
        up: bool = False,
        feature_dropout: float = 0.2,
        instance_norm: bool = False,
        frames: int = 1,
        base: nn.Module | None = None,
        **network: Any,
    ) -> None:
        super().__init__()
        self.maps = FeatureMaps(pyramid, scale, levels, feature_dropout, instance_norm)
        self.root_relative_depth, self.up, self.frames = root_relative_depth, up, frames
        self.depth = Depth(depth_of_sides)
        self.network = ContextPoseFormer(
            self.maps.pyramid,
            frames=frames,
            features_out=4,
            features_in=4 + root_relative_depth + 3 * up + (0 if base is None else 4),
            **network,
        )
        self.base = base
        if base is not None:
            base.requires_grad_(False)
            for parameter in self.network.head[-1].parameters():
                nn.init.zeros_(parameter)

    def train(self, mode: bool = True) -> ContextLifter:
        """Set the mode of all modules but the base, which stays in evaluation mode."""
        super().train(mode)
        if self.base is not None:
            self.base.eval()
        return self

    def first_state(self, batch: int) -> Tensor:
        """The state before the first frame: [B x (frames - 1) x 17 x D], the tokens of the frames
        before.
        """
        width = cast(nn.LayerNorm, self.network.head[0]).normalized_shape[0]
        return next(self.parameters()).new_zeros(batch, self.frames - 1, JOINTS, width)

    def forward(
        self,
        keypoints: Tensor,
        root_relative_depth: Tensor | None = None,
        up: Tensor | None = None,
        crop_keypoints: Tensor | None = None,
        features: Tensor | list[Tensor] | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Joints [B x T x 1 x 17 x 4] of every frame, and the state after the last."""
        batch, count = keypoints.shape[:2]
        points = keypoints.flatten(0, 1)
        seen = [points[:, :-1], points[:, -1:, :1].expand(-1, JOINTS, 1)]
        if self.root_relative_depth:
            depth = (
                points.new_zeros(points.shape[0], JOINTS)
                if root_relative_depth is None
                else self.depth(root_relative_depth.flatten(0, 1))
            )
            seen.append(depth[..., None])
        if self.up:
            vector = points.new_zeros(points.shape[0], 3) if up is None else up.flatten(0, 1)
            seen.append(vector[:, None].expand(-1, JOINTS, 3))
        known = None
        if self.base is not None:
            known = self.base(points[:, None])[:, -1]
            seen.append(known)
        places = (
            points.new_zeros(points.shape[0], JOINTS, 2)
            if crop_keypoints is None
            else crop_keypoints.flatten(0, 1)
        )
        tokens = self.network.tokens(
            torch.cat(seen, -1), places, self.maps(features, points.shape[0], points)
        )
        if self.frames == 1:
            joints, after = self.network.head(tokens), self.first_state(batch)
        else:
            before = self.first_state(batch) if state is None else state
            line = torch.cat([before.to(tokens.dtype), tokens.unflatten(0, (batch, count))], 1)
            windows = torch.cat([line[:, first : first + self.frames] for first in range(count)])
            joints = (
                self.network.over_time(windows)[:, -1]
                .unflatten(0, (count, batch))
                .transpose(0, 1)
                .flatten(0, 1)
            )
            after = line[:, count:]
        if known is not None:
            joints = known + joints
        return joints.unflatten(0, (batch, count))[:, :, None], after


class NewestFrame(nn.Module):
    """A lifter of this module in the form that is exported: inputs of one frame, joints [B x 17 x
    4] and, if it has one, the state.
    """

    def __init__(self, network: RPSMContext | ContextLifter) -> None:
        super().__init__()
        self.network = network
        self.stateful = (
            network.recurrent if isinstance(network, RPSMContext) else network.frames > 1
        )

    def example(self, batch: int = 1) -> dict[str, Tensor | dict[str, Tensor] | None]:
        """Inputs of the right names and shapes; None for those that the network does not have."""
        network = self.network
        has_maps = bool(network.maps.pyramid)
        return {
            "keypoints": torch.zeros(batch, 1, JOINTS + 1, 3),
            "root_relative_depth": torch.zeros(batch, JOINTS)
            if network.root_relative_depth
            else None,
            "up": torch.zeros(batch, 3) if network.up else None,
            "crop_keypoints": torch.zeros(batch, JOINTS, 2) if has_maps else None,
            "features": {
                name: torch.zeros(batch, *shape)
                for name, shape in zip(network.maps.names, network.maps.pyramid, strict=True)
            }
            if has_maps
            else None,
            "state": network.first_state(batch) if self.stateful else None,
        }

    def forward(
        self,
        keypoints: Tensor,
        root_relative_depth: Tensor | None = None,
        up: Tensor | None = None,
        crop_keypoints: Tensor | None = None,
        features: dict[str, Tensor] | None = None,
        state: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the network."""
        seen = (
            None if value is None else value[:, None]
            for value in (root_relative_depth, up, crop_keypoints)
        )
        maps = None if features is None else [level[:, None] for level in features.values()]
        joints, after = self.network(keypoints, *seen, maps, state)
        newest = cast(Tensor, joints[:, -1, -1])
        return (newest, after) if self.stateful else newest
