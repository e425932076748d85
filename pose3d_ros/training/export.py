"""Trained lifters as ONNX files, as the node runs them: newest frame, last stage, with or without
flip test.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from pose3d_ros.networks import onnx_export
from pose3d_ros.networks.feature_lifters import ContextLifter, NewestFrame, RPSMContext
from pose3d_ros.networks.rpsm import Machine
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.build import kept, load


class _Flip(nn.Module):
    """Keypoints or pictures, and joints, seen in a mirror."""

    order_in: Tensor
    order_out: Tensor
    signs_in: Tensor
    signs_out: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order_in", torch.tensor([*H36M17.flip, len(H36M17)]))
        self.register_buffer("order_out", torch.tensor(H36M17.flip.tolist()))
        signs = torch.ones(len(H36M17) + 1, 3)
        signs[:-1, 0] = -1
        self.register_buffer("signs_in", signs)
        self.register_buffer("signs_out", torch.tensor([-1.0, 1.0, 1.0, 1.0]))

    def inputs(self, inputs: Tensor) -> Tensor:
        """Keypoints [B x T x 18 x 3] or pictures [B x T x 3 x S x S] to the same."""
        return inputs.flip(-1) if inputs.ndim == 5 else inputs[:, :, self.order_in] * self.signs_in

    def joints(self, joints: Tensor) -> Tensor:
        """[B x 17 x 4] to the same."""
        return joints[:, self.order_out] * self.signs_out


class Window(nn.Module):
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


class Recurrent(nn.Module):
    """Keypoints or pictures, and state -> joints [B x 17 x 4] of the last frame, state [B x K x 2
    x U].

    With ``flip`` the state is [B x 2K x 2 x U]: the mirrored person has one as well.
    """

    def __init__(self, machine: Machine, flip: bool) -> None:
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


class BothSides(nn.Module):
    """A recurrent lifter of keypoints and guesses of depth, averaged with the mirrored person, who
    has a state as well.

    Not one that looks at feature maps: those of a mirrored picture are not the mirrored maps.
    """

    def __init__(self, newest: NewestFrame) -> None:
        super().__init__()
        self.newest, self.mirror = newest, _Flip()

    def forward(
        self,
        keypoints: Tensor,
        root_relative_depth: Tensor | None = None,
        crop_keypoints: None = None,
        features: None = None,
        state: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run the network on both sides at once."""
        assert state is not None
        people = keypoints.shape[0]
        depth = root_relative_depth
        sides = None if depth is None else torch.cat([depth, depth[:, self.mirror.order_out]])
        both, after = self.newest(
            torch.cat([keypoints, self.mirror.inputs(keypoints)]),
            sides,
            state=torch.cat(state.chunk(2, 1)),
        )
        joints = (both[:people] + self.mirror.joints(both[people:])) / 2
        return joints, torch.cat([after[:people], after[people:]], 1)


class FromTheFirstFrame(nn.Module):
    """A lifter that looks at more than keypoints, over whole clips -> joints [B x 17 x 4] of the
    newest frame.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, *inputs: Tensor | None) -> Tensor:
        """Run the network."""
        return cast(Tensor, self.network(*inputs)[0][:, -1, -1])


def flip_test(network: nn.Module) -> nn.Module:
    """Features [B x T x 18 x 3] or pictures [B x T x 3 x S x S] -> joints [B x 17 x 4] of the
    newest frame, averaged over both sides.

    Not so with feature maps: those of the mirrored picture would have to be computed, at twice the
    detector's price.
    """
    if isinstance(network, (ContextLifter, RPSMContext)):
        return FromTheFirstFrame(network)
    if not isinstance(network, Machine):
        return Window(network, flip=True)
    recurrent = Recurrent(network, flip=True)

    class FromTheFirstState(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return cast(Tensor, recurrent(inputs, recurrent.first_state(len(inputs)))[0])

    return FromTheFirstState()


def export(network: nn.Module, path: Path, flip: bool = True, people: int | None = None) -> Path:
    """Write a lifter as ONNX: ``keypoints`` (people, T, 18, 3), or ``images`` (people, 1, 3, S, S)
    of numbers as ``networks.rpsm.RPSM`` has them -> ``joints`` (people, 17, 4).

    A recurrent one takes one frame at a time and has ``state`` and ``next_state`` as well; zeros
    are the first state. One that looks at the detector's guess of depth has
    ``root_relative_depth``; one that looks at feature maps has ``crop_keypoints`` and
    ``features0`` and on, and no flip test. ``people`` fixes how many there are; by default any
    number.
    """
    module, inputs, outputs = exported(network, flip, 2 if people is None else people)
    return onnx_export.export(module, path, inputs, outputs, people is None)


def exported(
    network: nn.Module, flip: bool, count: int
) -> tuple[nn.Module, dict[str, Tensor | dict[str, Tensor] | None], list[str]]:
    """What ``export`` writes: the module, inputs of ``count`` people as its arguments are, and the
    outputs' names.
    """
    if isinstance(network, (ContextLifter, RPSMContext)):
        newest = NewestFrame(network)
        outputs = ["joints", "next_state"] if newest.stateful else ["joints"]
        seen = newest.example(count)
        if flip and seen["features"] is None and newest.stateful:
            return (
                BothSides(newest),
                {**seen, "state": torch.cat([cast(Tensor, seen["state"])] * 2, 1)},
                outputs,
            )
        return newest, seen, outputs
    if not isinstance(network, Machine):
        keypoints = cast(Tensor, network.example(count)["keypoints"])  # type: ignore[operator]
        return Window(network, flip), {"keypoints": keypoints}, ["joints"]
    recurrent = Recurrent(network, flip)
    example: dict[str, Any] = network.example(count)  # type: ignore[operator]
    inputs = {**example, "state": recurrent.first_state(count)}
    return recurrent, inputs, ["joints", "next_state"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d export``."""
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="output folder of 'pose3d train'"
    )
    parser.add_argument("output", type=Path, metavar="FILE", help="ONNX file to write")
    parser.add_argument(
        "--people",
        type=int,
        metavar="N",
        help="fix how many people there are; any number by default",
    )
    parser.add_argument(
        "--flip-test",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average with the mirrored person: better, at twice the operations",
    )


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d export``."""
    if options.people is not None and options.people < 1:
        raise ValueError(f"people: expected 1 or more, got {options.people}")
    network = kept(*load(options.folder))
    sys.stdout.write(f"{export(network, options.output, options.flip_test, options.people)}\n")
    return 0
