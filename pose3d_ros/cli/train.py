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
    parser.add_argument(
        "--extra-joints",
        action="store_true",
        help="train the small network that hangs face, hands and feet onto lifted poses instead "
        "of a lifter, on --makehuman bodies in the motions of --data; of the other options it "
        "reads --output, --seed, --steps, --batch and --learning-rate",
    )
    add_options(parser, TrainSettings, OLD_NAMES)


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d train``."""
    settings = from_options(options, TrainSettings)
    if options.extra_joints:
        if not settings.makehuman or not settings.data:
            raise ValueError(
                "extra-joints: expected --makehuman FOLDER of bodies and --data FOLDER of motion "
                "capture, got one of them or none"
            )
        from pose3d_ros.training import extra_joints

        sys.stdout.write(f"{extra_joints.train(settings)}\n")
        return 0
    if options.from_rig is None:
        from pose3d_ros.training.loop import train  # needs torch, which --help does not

        sys.stdout.write(f"{train(settings)}\n")
        return 0
    if settings.makehuman:
        raise ValueError("makehuman: expected it empty with from-rig, which has its own people")
    from pose3d_ros.training.rig.finetune import finetune_from_rig

    sys.stdout.write(f"{finetune_from_rig(settings, options.from_rig, options.rig)}\n")
    return 0
