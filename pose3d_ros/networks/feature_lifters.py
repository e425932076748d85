"""Lifters that look at more of a frozen detector than keypoints: RPSM and Context-Aware
PoseFormer.

Both take ``keypoints`` [B x T x 18 x 3] as ``lifting.normalise`` makes them, ``relief`` [B x T x
17], the detector's guess of depth, ``crop_keypoints`` [B x T x 17 x 2], and ``features``, a list
of maps [B x T x C x H x W] or all their values one after the other [B x T x V]. What is None was
not seen: motion capture has no pictures.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from pose3d_ros.networks.context_poseformer import BLAZEPOSE, ContextPoseFormer, Map, at
from pose3d_ros.networks.rpsm import Machine, perceptron

SPREAD = (1.0, 1.0, 1.0, 28.0)
"""What the embedded detector's maps are divided by: all but the last end in a ReLU6."""
JOINTS = 17


class Maps(nn.Module):
    """Feature maps as the layers after it take them: [N x C x H x W] of the deepest ``levels`` of
    a pyramid.

    In training whole channels, and all maps of a person, are left out at ``rate``: renders do not
    look as people do, and what is learnt must not hang on a few channels.
    """

    def __init__(
        self,
        pyramid: Sequence[Map],
        spread: Sequence[float],
        levels: int,
        rate: float,
        instance: bool,
    ) -> None:
        super().__init__()
        self.pyramid, self.spread = (
            tuple(pyramid)[-levels:] if levels else (),
            tuple(spread)[-levels:],
        )
        self.names = [
            f"features{len(pyramid) - len(self.pyramid) + level}"
            for level in range(len(self.pyramid))
        ]
        self.rate, self.instance = rate, instance

    def forward(
        self, features: Tensor | list[Tensor] | None, count: int, like: Tensor
    ) -> list[Tensor]:
        """Maps of ``count`` frames of the type of ``like``."""
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
            level.flatten(0, -4).to(like.dtype) / spread
            for level, spread in zip(features, self.spread, strict=True)
        ]
        if self.instance:
            maps = [
                (level - level.mean((2, 3), keepdim=True))
                / (level.std((2, 3), keepdim=True) + 0.05)
                for level in maps
            ]
        if self.training and self.rate:
            people = torch.rand(count, 1, 1, 1, device=like.device) >= self.rate
            maps = [people * nn.functional.dropout2d(level, self.rate) for level in maps]
        return maps


class RPSMContext(Machine):
    """RPSM over a detector's keypoints, its guess of depth, and its feature maps at the joints; ->
    as ``RPSM``.

    ``look``: channels of each joint's look at each map. P's layers are linear, as in
    ``RPSMKeypoints``.
    """

    def __init__(
        self,
        pyramid: Sequence[Map] = BLAZEPOSE,
        spread: Sequence[float] = SPREAD,
        levels: int = 1,
        relief: bool = True,
        look: int = 8,
        rate: float = 0.2,
        instance: bool = False,
        channels: int = 1024,
        dropout: float = 0.0,
        **recursion: Any,
    ) -> None:
        numbers = 3 * (JOINTS + 1) + JOINTS * relief + JOINTS * look * levels
        super().__init__(
            nn.Identity(),
            lambda: perceptron([numbers + channels, channels, channels], dropout),
            lambda units: perceptron([channels, units], dropout),
            channels,
            **recursion,
        )
        self.maps = Maps(pyramid, spread, levels, rate, instance)
        self.looks = nn.ModuleList(
            nn.Linear(shape[0], look, bias=False) for shape in self.maps.pyramid
        )
        self.relief = relief

    @torch.no_grad()
    def start_from(self, base: Machine) -> None:
        """Take over a trained ``RPSMKeypoints``: the same answers until something is learnt from
        what is new.
        """
        known = base.state_dict()
        for name, value in self.state_dict().items():
            if name not in known:
                continue
            if value.shape == known[name].shape:
                value.copy_(known[name])
            else:  # the first layer of each stage: keypoints, what is new, the stage before
                seen = 3 * (JOINTS + 1)
                value.zero_()
                value[:, :seen] = known[name][:, :seen]
                value[:, -self.channels :] = known[name][:, -self.channels :]

    def forward(
        self,
        keypoints: Tensor,
        relief: Tensor | None = None,
        crop_keypoints: Tensor | None = None,
        features: Tensor | list[Tensor] | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Poses of clips."""
        frames = keypoints.flatten(0, 1)
        seen = [frames.flatten(1)]
        if self.relief:
            seen.append(
                frames.new_zeros(frames.shape[0], JOINTS)
                if relief is None
                else relief.flatten(0, 1)
            )
        if self.looks:
            points = (
                frames.new_zeros(frames.shape[0], JOINTS, 2)
                if crop_keypoints is None
                else crop_keypoints.flatten(0, 1)
            )[:, :, None]
            seen += [
                look(at(level, points, "border")[:, :, 0]).flatten(1)
                for look, level in zip(
                    self.looks, self.maps(features, frames.shape[0], frames), strict=True
                )
            ]
        return self.recur(torch.cat(seen, 1), keypoints.shape[0], state)


class ContextLifter(nn.Module):
    """Context-Aware PoseFormer, of one frame or over ``frames``, with the inputs that our lifters
    have.

    With ``base``, a trained lifter of keypoints [B x 1 x 18 x 3] -> [B x 1 x 17 x 4], its answer
    is one more input, and the network learns what to add to it; the base stays as it is. So what
    keypoints tell comes from motion capture without end, and few pictures are enough for the rest.
    ``frames``: how many a pose is made of, causal, with zeros before the first. ``network``: the
    options of ``ContextPoseFormer``.
    """

    outputs = ("joints", "next_state")

    def __init__(
        self,
        pyramid: Sequence[Map] = BLAZEPOSE,
        spread: Sequence[float] = SPREAD,
        levels: int = 1,
        relief: bool = True,
        rate: float = 0.2,
        instance: bool = False,
        frames: int = 1,
        base: nn.Module | None = None,
        **network: Any,
    ) -> None:
        super().__init__()
        self.maps = Maps(pyramid, spread, levels, rate, instance)
        self.relief, self.frames = relief, frames
        self.network = ContextPoseFormer(
            self.maps.pyramid,
            frames=frames,
            features_out=4,
            features_in=4 + relief + (0 if base is None else 4),
            **network,
        )
        self.base = base
        if base is not None:
            base.requires_grad_(False)
            for parameter in self.network.head[-1].parameters():
                nn.init.zeros_(parameter)

    def train(self, mode: bool = True) -> ContextLifter:
        """As every module, but the base is not trained."""
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
        relief: Tensor | None = None,
        crop_keypoints: Tensor | None = None,
        features: Tensor | list[Tensor] | None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Joints [B x T x 1 x 17 x 4] of every frame, and the state after the last."""
        batch, count = keypoints.shape[:2]
        points = keypoints.flatten(0, 1)
        seen = [points[:, :-1], points[:, -1:, :1].expand(-1, JOINTS, 1)]
        if self.relief:
            depth = (
                points.new_zeros(points.shape[0], JOINTS)
                if relief is None
                else relief.flatten(0, 1)
            )
            seen.append(depth[..., None])
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
    """A lifter of this module as it is exported: inputs of one frame, joints [B x 17 x 4] and
    perhaps a state.
    """

    def __init__(self, network: RPSMContext | ContextLifter) -> None:
        super().__init__()
        self.network = network
        self.stateful = (
            network.recurrent if isinstance(network, RPSMContext) else network.frames > 1
        )

    def example(self, batch: int = 1) -> dict[str, Tensor | dict[str, Tensor] | None]:
        """Inputs of the right names and shapes; None for what it does not look at."""
        network = self.network
        looks = bool(network.maps.pyramid)
        return {
            "keypoints": torch.zeros(batch, 1, JOINTS + 1, 3),
            "root_relative_depth": torch.zeros(batch, JOINTS) if network.relief else None,
            "crop_keypoints": torch.zeros(batch, JOINTS, 2) if looks else None,
            "features": {
                name: torch.zeros(batch, *shape)
                for name, shape in zip(network.maps.names, network.maps.pyramid, strict=True)
            }
            if looks
            else None,
            "state": network.first_state(batch) if self.stateful else None,
        }

    def forward(
        self,
        keypoints: Tensor,
        root_relative_depth: Tensor | None = None,
        crop_keypoints: Tensor | None = None,
        features: dict[str, Tensor] | None = None,
        state: Tensor | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Run the network."""
        seen = (
            None if value is None else value[:, None]
            for value in (root_relative_depth, crop_keypoints)
        )
        maps = None if features is None else [level[:, None] for level in features.values()]
        joints, after = self.network(keypoints, *seen, maps, state)
        newest = cast(Tensor, joints[:, -1, -1])
        return (newest, after) if self.stateful else newest
