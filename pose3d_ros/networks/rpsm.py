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

"""RPSM: recurrent 3D pose sequence machines (Lin et al., CVPR 2017), on images, on keypoints, or
on feature maps.

At stage k and frame t, with zeros for what does not exist (k = 0 or t = 0)::

    f2d[t, k] = P(input[t], f2d[t, k-1])              2D pose module: layers of all stages, then
                                                      layers of the stage
    f3d[t, k] = A(f2d[t, k])                          feature adaption module
    S[t, k] = R(f3d[t, k], H[t-1, k], S[t, k-1])      3D pose recurrent module, H its state

Parameters are shared over frames, not over stages (unless ``sharing``). The authors' code leaves
out the zeros of the first stage; with them all stages have one form, and the outputs are the same.
Their checkpoints are Torch 7 files.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose3d_ros.networks.context_poseformer import BLAZEPOSE, MapShape

SHARED = ((64, 64), (128, 128), (256, 256, 256, 256), (512, 512, 256, 256, 256, 256, 128))
"""Channels of the 3x3 convolutions that all stages share, with 2x2 max-pools between the groups.
"""


class Recurrent(nn.Module):
    """R: one LSTM without peepholes, or for single frames a fully connected layer of its width;
    then a linear layer.
    """

    def __init__(self, units: int, numbers: int, recurrent: bool) -> None:
        super().__init__()
        self.full = None if recurrent else nn.Linear(units + numbers, units)
        self.lstm = nn.LSTM(units + numbers, units, batch_first=True) if recurrent else None
        self.pose = nn.Linear(units, numbers)

    def forward(self, f3d: Tensor, previous: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """f3d [B x T x U], the stage before's S [B x T x N], state [B x 2 x U] -> S [B x T x N],
        state.
        """
        x = torch.cat([f3d, previous], -1)
        if self.full is not None:
            return self.pose(torch.relu(self.full(x))), state
        assert self.lstm is not None
        hidden, cell = state.transpose(0, 1).contiguous().split(1)
        x, (hidden, cell) = self.lstm(x, (hidden, cell))
        return self.pose(x), torch.cat([hidden, cell]).transpose(0, 1)


class Stage(nn.Module):
    """The stage's own layers of P, then A and R."""

    def __init__(self, refine: nn.Module, adaption: nn.Module, recurrent: Recurrent) -> None:
        super().__init__()
        self.refine, self.adaption, self.recurrent = refine, adaption, recurrent


class PoseSequenceMachine(nn.Module):
    """Recursion over stages and frames, for any input; subclasses have the modules for theirs.

    ``shared``: input of N frames -> [N x ...]. Of each stage: ``refine``, [shared, previous f2d]
    -> f2d [N x channels x ...]; ``adapt``, called with ``units``, f2d -> [N x units].
    ``recurrent`` false is the form for single frames;
    ``sharing`` uses one stage's parameters for all.
    """

    outputs = ("joints", "next_state")

    def __init__(
        self,
        shared: nn.Module,
        refine: Callable[[], nn.Module],
        adapt: Callable[[int], nn.Module],
        channels: int,
        *,
        stages: int = 3,
        units: int = 1024,
        recurrent: bool = True,
        sharing: bool = False,
        joints_out: int = 17,
        features_out: int = 3,
    ) -> None:
        super().__init__()
        if stages < 1:
            raise ValueError(f"stages: expected 1 or more, got {stages}")
        self.count, self.channels, self.units, self.recurrent = stages, channels, units, recurrent
        self.pose_shape = joints_out, features_out
        self.shared = shared
        numbers = joints_out * features_out
        self.stages = nn.ModuleList(
            Stage(refine(), adapt(units), Recurrent(units, numbers, recurrent))
            for _ in range(1 if sharing else stages)
        )

    def first_state(self, batch: int) -> Tensor:
        """The state before the first frame: [B x K x 2 x units], each stage's LSTM output and
        cell.
        """
        return next(self.parameters()).new_zeros(batch, self.count, 2, self.units)

    def stage(self, k: int) -> Stage:
        """The stage's modules, k from 0."""
        return cast(Stage, self.stages[min(k, len(self.stages) - 1)])

    def f2d(self, inputs: Tensor | list[Tensor]) -> list[Tensor]:
        """Every stage's 2D pose features [N x channels x ...] of N frames; no frame sees
        another.
        """
        shared = self.shared(inputs)
        features = [shared.new_zeros(shared.shape[0], self.channels, *shared.shape[2:])]
        for k in range(self.count):
            features.append(self.stage(k).refine(torch.cat([shared, features[-1]], 1)))
        return features[1:]

    def recur(
        self, inputs: Tensor | list[Tensor], batch: int, state: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Inputs of ``batch`` clips, frame after frame -> S [B x T x K x J x O] and the state
        after the last frame.
        """
        state = self.first_state(batch) if state is None else state
        poses: list[Tensor] = []
        states = []
        for k, f2d in enumerate(self.f2d(inputs)):
            f3d = self.stage(k).adaption(f2d).reshape(batch, -1, self.units)
            previous = (
                poses[-1] if poses else f3d.new_zeros(*f3d.shape[:2], math.prod(self.pose_shape))
            )
            pose, after = self.stage(k).recurrent(f3d, previous, state[:, k])
            poses.append(pose)
            states.append(after)
        return torch.stack(poses, 2).unflatten(3, self.pose_shape), torch.stack(states, 1)


class RPSM(PoseSequenceMachine):
    """RPSM as in the paper, from images.

    ``forward``: images [B x T x 3 x size x size] and, to go on with a clip, the state [B x K x 2 x
    units] after it -> joints [B x T x K x J x O] of every stage (the last one's are the answer),
    state. A clip at once and frame by frame are the same. Images are uint8, blue first, or
    numbers that were made of them by x / 256 - 0.5.

    ``width`` scales the convolutions' channels (the paper's 1 at 368 px; half as wide at 256 px is
    for CPUs). ``released`` takes the adaption module of the authors' code. ``heatmaps``: joints of
    the pre-training head. ``recursion``: the options of ``PoseSequenceMachine``.
    """

    def __init__(
        self,
        size: int = 368,
        width: float = 1.0,
        released: bool = False,
        heatmaps: int = 0,
        **recursion: Any,
    ) -> None:
        if size % 8:
            raise ValueError(f"size: expected a multiple of 8, got {size}")
        groups = [[round(c * width) for c in group] for group in SHARED]
        channels, cells = groups[-1][-1], (size // 8, size // 8)
        layers: list[nn.Module] = []
        for before, group in zip([[3], *groups], groups, strict=False):
            layers += [nn.MaxPool2d(2)] if layers else []
            layers += _convolutions([before[-1], *group])
        super().__init__(
            nn.Sequential(*layers),
            lambda: nn.Sequential(*_convolutions([2 * channels, channels, channels])),
            lambda units: _adaption(channels, cells, units, released),
            channels,
            **recursion,
        )
        self.heatmap_head = _heatmap_head(channels, heatmaps) if heatmaps else None
        self.size = size

    def example(self, batch: int = 1) -> dict[str, Tensor]:
        """Inputs of the right names and shapes, for one frame."""
        return {
            "images": torch.zeros(batch, 1, 3, self.size, self.size),
            "state": self.first_state(batch),
        }

    def forward(self, images: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Poses of clips."""
        return self.recur(_numbers(images.flatten(0, 1)), images.shape[0], state)

    def heat_maps(self, images: Tensor) -> Tensor:
        """For the pre-training of P on labelled images [N x 3 x size x size]: [N x K x J x
        size/8 x size/8].

        ``heatmap_head = None`` removes the head for the training in 3D.
        """
        if self.heatmap_head is None:
            raise ValueError(
                "this network has no heat-map head; build it with heatmaps=JOINTS to pre-train it"
            )
        return torch.stack([self.heatmap_head(f2d) for f2d in self.f2d(_numbers(images))], 1)


class PoseModule(nn.Module):
    """The 2D pose module of an RPSM with a heat-map head, for its pre-training; the modules
    after it are frozen.
    """

    def __init__(self, network: RPSM) -> None:
        super().__init__()
        self.network = network
        for stage in map(network.stage, range(network.count)):
            stage.adaption.requires_grad_(False)
            stage.recurrent.requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B x T x 3 x size x size] -> heat maps [B T x K x J x size/8 x size/8]."""
        return self.network.heat_maps(images.flatten(0, 1))

    def released(self) -> RPSM:
        """The network for the training in 3D: without the head, nothing frozen."""
        self.network.heatmap_head = None
        self.network.requires_grad_(True)
        return self.network


class RPSMKeypoints(PoseSequenceMachine):
    """RPSM over any detector's keypoints, which take the place of the shared layers; P's own
    layers are linear.

    ``forward``: keypoints [B x T x J x F] (F: coordinates, scores) and the state -> as RPSM.
    """

    def __init__(
        self,
        joints_in: int = 17,
        features_in: int = 3,
        channels: int = 1024,
        dropout: float = 0.0,
        **recursion: Any,
    ) -> None:
        numbers = joints_in * features_in
        super().__init__(
            nn.Flatten(),
            lambda: perceptron([numbers + channels, channels, channels], dropout),
            lambda units: perceptron([channels, units], dropout),
            channels,
            **recursion,
        )
        self.inputs = joints_in, features_in

    def example(self, batch: int = 1) -> dict[str, Tensor]:
        """Inputs of the right names and shapes, for one frame."""
        return {"keypoints": torch.zeros(batch, 1, *self.inputs), "state": self.first_state(batch)}

    def forward(self, keypoints: Tensor, state: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Poses of clips."""
        return self.recur(keypoints.flatten(0, 1), keypoints.shape[0], state)


class Pyramid(nn.Module):
    """Maps of different sizes as one: each level to ``channels`` by a 1x1 convolution, to one
    size, summed.
    """

    def __init__(self, pyramid: Sequence[MapShape], channels: int, cells: tuple[int, int]) -> None:
        super().__init__()
        self.cells = cells
        self.levels = nn.ModuleList(nn.Conv2d(c, channels, 1) for c, _, _ in pyramid)

    def forward(self, features: list[Tensor]) -> Tensor:
        """List of [N x C_l x H_l x W_l] -> [N x channels x cells]; smaller maps are repeated,
        larger ones averaged.
        """
        resized = []
        for project, maps in zip(self.levels, features, strict=True):
            x = project(maps)
            if x.shape[-1] < self.cells[-1]:
                resized.append(functional.interpolate(x, self.cells))
            else:
                resized.append(functional.avg_pool2d(x, x.shape[-1] // self.cells[-1]))
        return torch.relu(torch.stack(resized).sum(0))


class RPSMFeatures(PoseSequenceMachine):
    """RPSM over a frozen detector's feature maps, which take the place of the shared layers.

    ``forward``: features, list of [B x T x C_l x H_l x W_l] whose sizes are powers of two apart,
    and the state -> as RPSM. ``level``: the map whose size the stages work on.
    """

    def __init__(
        self,
        pyramid: Sequence[MapShape] = BLAZEPOSE,
        level: int = 2,
        channels: int = 128,
        released: bool = False,
        **recursion: Any,
    ) -> None:
        cells = pyramid[level][1:]
        super().__init__(
            Pyramid(pyramid, channels, cells),
            lambda: nn.Sequential(*_convolutions([2 * channels, channels, channels])),
            lambda units: _adaption(channels, cells, units, released),
            channels,
            **recursion,
        )
        self.pyramid = tuple(pyramid)

    def example(self, batch: int = 1) -> dict[str, Tensor | list[Tensor]]:
        """Inputs of the right names and shapes, for one frame."""
        return {
            "features": [torch.zeros(batch, 1, *shape) for shape in self.pyramid],
            "state": self.first_state(batch),
        }

    def forward(
        self, features: list[Tensor], state: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Poses of clips."""
        return self.recur([maps.flatten(0, 1) for maps in features], features[0].shape[0], state)


def _numbers(images: Tensor) -> Tensor:
    return images.float() / 256 - 0.5 if images.dtype == torch.uint8 else images


def _convolutions(channels: Sequence[int], size: int = 3, stride: int = 1) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        convolution = nn.Conv2d(before, after, size, stride, size // 2)
        # In torch's own initialisation each layer of so many passes on 0.4 of the signal: nothing
        # is left at the end.
        nn.init.kaiming_normal_(convolution.weight, nonlinearity="relu")
        layers += [convolution, nn.ReLU()]
    return layers


def perceptron(channels: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear layers of these widths, each with a ReLU and dropout."""
    layers: list[nn.Module] = []
    for before, after in pairwise(channels):
        layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers)


def _adaption(channels: int, cells: tuple[int, int], units: int, released: bool) -> nn.Sequential:
    """A: the paper's two 5x5 convolutions of stride 2, each with a max-pool, or the released
    code's; then a layer.

    The paper tells no padding. Convolutions here pad by half their size and pools round up, as in
    the released code, where 46 cells become 12; in the paper's form they become 3.
    """
    pool = nn.MaxPool2d(2, ceil_mode=True)
    layers = _convolutions([channels, channels], 5, 2)
    layers += (
        _convolutions([channels, channels])
        if released
        else [pool, *_convolutions([channels, channels], 5, 2)]
    )
    height, width = (math.ceil(side / (4 if released else 16)) for side in cells)
    return nn.Sequential(
        *layers, pool, nn.Flatten(), nn.Linear(channels * height * width, units), nn.ReLU()
    )


def _heatmap_head(channels: int, joints: int) -> nn.Sequential:
    """Two 1x1 convolutions, as in the convolutional pose machines that the authors pre-trained
    with.
    """
    return nn.Sequential(
        nn.Conv2d(channels, 4 * channels, 1), nn.ReLU(), nn.Conv2d(4 * channels, joints, 1)
    )
