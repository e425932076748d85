"""Write a trained lifter as ONNX."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


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
        help="fix the number of people; any number by default",
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
    from pose3d_ros.training.checkpoint import interpolate_weights, load  # need torch
    from pose3d_ros.training.export import export

    network = interpolate_weights(*load(options.folder))
    sys.stdout.write(f"{export(network, options.output, options.flip_test, options.people)}\n")
    return 0
