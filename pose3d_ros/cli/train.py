"""Train a lifter, on motion capture before simulated cameras or on recordings with 3D truth."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.training.settings import OLD_NAMES, TrainSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d train``."""
    parser.add_argument(
        "--from-rig",
        type=Path,
        metavar="RECORDING",
        help="fine-tune the shipped lifter, or the one of --init-from, on people whom several "
        "cameras label together, beside --data: a rig file whose cameras have videos, or a "
        "rosbag2 with their images or keypoints (and --rig)",
    )
    parser.add_argument(
        "--rig", type=Path, metavar="FILE", help="rig file of the cameras in the rosbag2"
    )
    add_options(parser, TrainSettings, OLD_NAMES)


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d train``."""
    settings = from_options(options, TrainSettings)
    if options.from_rig is None:
        from pose3d_ros.training.loop import train  # needs torch, which --help does not

        sys.stdout.write(f"{train(settings)}\n")
        return 0
    if settings.makehuman:
        raise ValueError("makehuman: expected it empty with from-rig, which has its own people")
    from pose3d_ros.training.rig.finetune import finetune_from_rig

    sys.stdout.write(f"{finetune_from_rig(settings, options.from_rig, options.rig)}\n")
    return 0
