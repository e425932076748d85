"""Trained lifters as ONNX files, as the node runs them: newest frame, last stage, with or without flip test."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from pose3d_ros.networks import export as onnx_file
from pose3d_ros.networks.rpsm import Machine
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.context import ContextLifter, NewestFrame
from pose3d_ros.training.lifter import load


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
    """Keypoints [B x T x 18 x 3] -> joints [B x 17 x 4] of the last frame; with ``flip``, the mean over both sides."""

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
    """Keypoints or pictures, and state -> joints [B x 17 x 4] of the last frame, state [B x K x 2 x U].

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
        both, after = self.machine(torch.cat([inputs, self.flip.inputs(inputs)]),
                                   torch.cat(state.chunk(2, 1)))
        joints = both[:, -1, -1]
        joints = (joints[:people] + self.flip.joints(joints[people:])) / 2
        return joints, torch.cat([after[:people], after[people:]], 1)


def flip_test(network: nn.Module) -> nn.Module:
    """Features [B x T x 18 x 3] or pictures [B x T x 3 x S x S] -> joints [B x 17 x 4] of the newest frame, averaged
    over both sides.

    Not so with feature maps: those of the mirrored picture would have to be computed, at twice the detector's price.
    """
    if isinstance(network, ContextLifter):
        return NewestFrame(network)
    if not isinstance(network, Machine):
        return Window(network, flip=True)
    recurrent = Recurrent(network, flip=True)

    class FromTheFirstFrame(nn.Module):
        def forward(self, inputs: Tensor) -> Tensor:
            return cast(Tensor, recurrent(inputs, recurrent.first_state(len(inputs)))[0])

    return FromTheFirstFrame()


def export(network: nn.Module, path: Path, flip: bool = True, people: int | None = None) -> Path:
    """Write a lifter as ONNX: ``keypoints`` (people, T, 18, 3), or ``images`` (people, 1, 3, S, S) of numbers as
    ``networks.rpsm.RPSM`` has them -> ``joints`` (people, 17, 4).

    A recurrent one takes one frame at a time and has ``state`` and ``next_state`` as well; zeros are the first state.
    One that looks at feature maps has ``crop_keypoints`` and ``features0`` and on as well, and no flip test.
    ``people`` fixes how many there are; by default any number.
    """
    count = 2 if people is None else people
    if isinstance(network, ContextLifter):
        return onnx_file.export(NewestFrame(network), path, network.example(count), ["joints"], people is None)
    if not isinstance(network, Machine):
        example = cast(Tensor, network.example(count)["keypoints"])  # type: ignore[operator]
        return onnx_file.export(Window(network, flip), path, {"keypoints": example}, ["joints"], people is None)
    recurrent = Recurrent(network, flip)
    inputs = {**network.example(count), "state": recurrent.first_state(count)}  # type: ignore[operator]
    return onnx_file.export(recurrent, path, inputs, ["joints", "next_state"], people is None)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d export``."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="output folder of 'pose3d train'")
    parser.add_argument("output", type=Path, metavar="FILE", help="ONNX file to write")
    parser.add_argument("--people", type=int, metavar="N", help="fix how many people there are; any number by default")
    parser.add_argument("--flip-test", action=argparse.BooleanOptionalAction, default=True,
                        help="average with the mirrored person: better, at twice the operations")


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d export``."""
    if options.people is not None and options.people < 1:
        raise ValueError(f"people: expected 1 or more, got {options.people}")
    network, _ = load(options.folder)
    sys.stdout.write(f"{export(network, options.output, options.flip_test, options.people)}\n")
    return 0
