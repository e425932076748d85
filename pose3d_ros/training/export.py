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

"""Export of trained lifters to ONNX: newest frame, last stage, with or without flip test."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pose3d_ros.networks import onnx_export
from pose3d_ros.networks.feature_lifters import ContextLifter, NewestFrame, RPSMContext
from pose3d_ros.networks.rpsm import PoseSequenceMachine
from pose3d_ros.skeleton import H36M17


class _Flip(nn.Module):
    """Mirrors keypoints or images, and joints."""

    order_in: Tensor
    order_out: Tensor
    signs_in: Tensor
    signs_out: Tensor
    signs_up: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order_in", torch.tensor([*H36M17.flip, len(H36M17)]))
        self.register_buffer("order_out", torch.tensor(H36M17.flip.tolist()))
        signs = torch.ones(len(H36M17) + 1, 3)
        signs[:-1, 0] = -1
        self.register_buffer("signs_in", signs)
        self.register_buffer("signs_out", torch.tensor([-1.0, 1.0, 1.0, 1.0]))
        self.register_buffer("signs_up", torch.tensor([-1.0, 1.0, 1.0]))

    def inputs(self, inputs: Tensor) -> Tensor:
        """Keypoints [B x T x 18 x 3] or images [B x T x 3 x S x S] -> the same shape."""
        return inputs.flip(-1) if inputs.ndim == 5 else inputs[:, :, self.order_in] * self.signs_in

    def joints(self, joints: Tensor) -> Tensor:
        """[B x 17 x 4] -> [B x 17 x 4]."""
        return joints[:, self.order_out] * self.signs_out


class WindowFlipTest(nn.Module):
    """Keypoints [B x T x 18 x 3] -> joints [B x 17 x 4] of the last frame; with ``flip``, the mean
    over both sides.
    """

    def __init__(self, network: nn.Module, flip: bool) -> None:
        super().__init__()
        self.network, self.flip = network, _Flip() if flip else None

    def forward(self, keypoints: Tensor) -> Tensor:
        """Run the network, twice with ``flip``."""
        straight = cast(Tensor, self.network(keypoints)[:, -1])
        if self.flip is None:
            return straight
        mirrored = self.network(self.flip.inputs(keypoints))[:, -1]
        return (straight + self.flip.joints(mirrored)) / 2


class RecurrentFlipTest(nn.Module):
    """Keypoints or images, and state -> joints [B x 17 x 4] of the last frame, state [B x K x 2 x
    U].

    With ``flip`` the state is [B x 2K x 2 x U]: the mirrored person has one as well.
    """

    def __init__(self, machine: PoseSequenceMachine, flip: bool) -> None:
        super().__init__()
        self.machine, self.flip = machine, _Flip() if flip else None

    def first_state(self, batch: int) -> Tensor:
        """The state before the first frame."""
        state = self.machine.first_state(batch)
        return state if self.flip is None else torch.cat([state, state], 1)

    def forward(self, inputs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Run the network on both sides at once."""
        if self.flip is None:
            joints, after = self.machine(inputs, state)
            return joints[:, -1, -1], after
        people = inputs.shape[0]
        both, after = self.machine(
            torch.cat([inputs, self.flip.inputs(inputs)]), torch.cat(state.chunk(2, 1))
        )
        joints = both[:, -1, -1]
        joints = (joints[:people] + self.flip.joints(joints[people:])) / 2
        return joints, torch.cat([after[:people], after[people:]], 1)


class RecurrentFeatureFlipTest(nn.Module):
    """A recurrent lifter of keypoints, root-relative depth and up, averaged with the mirrored
    person, who has a state as well.

    Not for lifters of feature maps: the maps of a mirrored image are not the mirrored maps.
    """

    def __init__(self, newest: NewestFrame) -> None:
        super().__init__()
        self.newest, self.mirror = newest, _Flip()

    def forward(
        self,
        keypoints: Tensor,
        root_relative_depth: Tensor | None = None,
        up: Tensor | None = None,
        crop_keypoints: None = None,
        features: None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the network on both sides at once."""
        assert state is not None
        people = keypoints.shape[0]
        depth = root_relative_depth
        both, after = self.newest(
            torch.cat([keypoints, self.mirror.inputs(keypoints)]),
            None if depth is None else torch.cat([depth, depth[:, self.mirror.order_out]]),
            None if up is None else torch.cat([up, up * self.mirror.signs_up]),
            state=torch.cat(state.chunk(2, 1)),
        )
        joints = (both[:people] + self.mirror.joints(both[people:])) / 2
        return joints, torch.cat([after[:people], after[people:]], 1)


class WholeClip(nn.Module):
    """A lifter of features over whole clips -> joints [B x 17 x 4] of the newest frame."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor | None) -> Tensor:
        """Run the network."""
        return cast(Tensor, self.network(*inputs)[0][:, -1, -1])


def flip_test(network: nn.Module) -> nn.Module:
    """Module from keypoints [B x T x 18 x 3] or images [B x T x 3 x S x S] to joints [B x 17 x 4]
    of the newest frame, averaged with those of the mirrored person.

    Lifters of feature maps are not averaged: the maps of the mirrored image would have to be
    computed, at twice the detector's cost.
    """
    if isinstance(network, (ContextLifter, RPSMContext)):
        return WholeClip(network)
    if not isinstance(network, PoseSequenceMachine):
        return WindowFlipTest(network, flip=True)
    recurrent = RecurrentFlipTest(network, flip=True)

    class FromTheFirstState(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return cast(Tensor, recurrent(inputs, recurrent.first_state(len(inputs)))[0])

    return FromTheFirstState()


def export(network: nn.Module, path: Path, flip: bool = True, people: int | None = None) -> Path:
    """Write a lifter as ONNX: ``keypoints`` (people, T, 18, 3), or ``images`` (people, 1, 3, S, S)
    of numbers as ``networks.rpsm.RPSM`` has them -> ``joints`` (people, 17, 4).

    A recurrent one takes one frame at a time and has ``state`` and ``next_state`` as well; zeros
    are the first state. Lifters of features have ``root_relative_depth`` (people, 17) and ``up``
    (people, 3) if their network takes them, and with feature maps ``crop_keypoints`` (people, 17,
    2), ``features0`` and on, and no flip test. ``people`` fixes the number of people; by default
    any number.
    """
    module, inputs, outputs = export_form(network, flip, 2 if people is None else people)
    return onnx_export.export(module, path, inputs, outputs, people is None)


def export_form(
    network: nn.Module, flip: bool, count: int
) -> tuple[nn.Module, dict[str, Tensor | dict[str, Tensor] | None], list[str]]:
    """The module that ``export`` writes, example inputs of ``count`` people in the order of its
    arguments, and the names of its outputs.
    """
    if isinstance(network, (ContextLifter, RPSMContext)):
        newest = NewestFrame(network)
        outputs = ["joints", "next_state"] if newest.stateful else ["joints"]
        seen = newest.example(count)
        if flip and seen["features"] is None and newest.stateful:
            return (
                RecurrentFeatureFlipTest(newest),
                {**seen, "state": torch.cat([cast(Tensor, seen["state"])] * 2, 1)},
                outputs,
            )
        return newest, seen, outputs
    if not isinstance(network, PoseSequenceMachine):
        keypoints = cast(Tensor, network.example(count)["keypoints"])  # type: ignore[operator]
        return WindowFlipTest(network, flip), {"keypoints": keypoints}, ["joints"]
    recurrent = RecurrentFlipTest(network, flip)
    example: dict[str, Any] = network.example(count)  # type: ignore[operator]
    inputs = {**example, "state": recurrent.first_state(count)}
    return recurrent, inputs, ["joints", "next_state"]
