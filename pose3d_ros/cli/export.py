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
