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

"""Play a video through the real nodes, each in a process of its own, watch their topics, and make
a film of both.
"""

from __future__ import annotations

import argparse
from pathlib import Path

ASSUMED_FOV_DEG = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d demo``."""
    parser.add_argument(
        "source",
        nargs="?",
        help="video file, folder of images, camera or rosbag2; by default a clip "
        "of two people that comes with the package",
    )
    parser.add_argument(
        "--calibration",
        metavar="YAML",
        help="the camera's calibration; without one, "
        f"{ASSUMED_FOV_DEG:g} degrees of horizontal view are assumed",
    )
    parser.add_argument(
        "--seconds",
        type=_seconds,
        default=30.0,
        metavar="S",
        help="stop after so much of it (default 30)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("output"),
        help="folder of the results (default output)",
    )
    parser.add_argument(
        "--view",
        action="store_true",
        help="show people in a web browser instead, again and again until Ctrl-C",
    )


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise argparse.ArgumentTypeError(f"expected a time above 0, such as 30, got '{text}'")
    return seconds


def command(options: argparse.Namespace) -> int:
    """Play, watch, report; or show in a browser."""
    from pose3d_ros.nodes import demo

    if options.view:
        return demo.view(options.source, options.calibration, ASSUMED_FOV_DEG)
    return demo.play(
        options.source, options.calibration, options.seconds, options.output, ASSUMED_FOV_DEG
    )
