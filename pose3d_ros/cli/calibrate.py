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

"""Calibrate cameras with a board, find where they stand, and correct that and their clocks from
people who walk.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose3d_ros.calibration.board_images import BoardImages

PICTURES = (
    "NAME=PATH of a video, an image, a folder of images, or a quoted pattern like "
    "'cam0_*.jpg'; one per camera"
)


def _file(*endings: str) -> Callable[[str], Path]:
    """Type of an argument: a file to write, which can be told before the work is done."""

    def checked(text: str) -> Path:
        path = Path(text)
        if path.suffix.lower() not in endings:
            names = " or ".join(endings)
            raise argparse.ArgumentTypeError(
                f"expected a file that ends with {names}, got '{text}'"
            )
        if not path.parent.is_dir():
            raise argparse.ArgumentTypeError(f"expected a folder that is there, got {path.parent}")
        return path

    return checked


RIG = _file(".yaml", ".yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Subcommands ``board``, ``intrinsics``, ``extrinsics``, ``refine``, ``time``, ``convert``."""
    steps = parser.add_subparsers(dest="step", required=True, metavar="STEP")
    sheet = steps.add_parser("board", help="a board to print, as a PDF in true size")
    sheet.add_argument("output", type=_file(".pdf"), help="PDF to write")
    _add_board(sheet, required=False)
    first = steps.add_parser(
        "intrinsics", help="focal length and distortion of each camera, from pictures of a board"
    )
    first.add_argument("pictures", nargs="+", type=_pictures, help=PICTURES)
    _add_board(first, required=True)
    first.add_argument(
        "--fisheye", action="store_true", help="equidistant model, for lenses beyond 120 degrees"
    )
    first.add_argument(
        "--output", type=Path, required=True, help="folder for one camera_info YAML per camera"
    )
    second = steps.add_parser(
        "extrinsics", help="where cameras are, from a board that they see together"
    )
    second.add_argument(
        "pictures", nargs="*", type=_pictures, help=f"{PICTURES}; taken in the same moments"
    )
    _add_board(second, required=False)
    second.add_argument(
        "--points",
        type=Path,
        help="instead of a board: YAML with measured points and their pixels",
    )
    second.add_argument(
        "--intrinsics", required=True, help="folder or file with the cameras' calibration"
    )
    second.add_argument(
        "--world",
        help="frame of the result: a camera's name, 'board' (as it lies in the first "
        "picture, z up from it) or 'board@SECONDS' (of images: 'board@INDEX'); default "
        "board",
    )
    second.add_argument("--frame-id", default="world", help="name of that frame (default world)")
    second.add_argument("--output", type=RIG, required=True, help="rig YAML to write")
    third = steps.add_parser(
        "refine", help="correct where cameras are, from 2D poses of people who walk"
    )
    third.add_argument(
        "rig", type=Path, help="rig YAML, or another calibration file with extrinsics"
    )
    third.add_argument(
        "poses",
        type=Path,
        help="npz file with poses (N, J, 3: px, score), frame (N,) and view (N,); "
        "or a rosbag2 with each camera's keypoints topic",
    )
    third.add_argument(
        "--skeleton",
        help="joints of the poses, where their number does not tell (body25, body25b)",
    )
    third.add_argument(
        "--bone",
        type=_bone,
        help="JOINT-JOINT=METRES, like r_hip-r_knee=0.45: sets the scale, "
        "which is otherwise that of the given rig",
    )
    third.add_argument("--output", type=RIG, required=True, help="rig YAML to write")
    clocks = steps.add_parser(
        "time",
        help="offsets between cameras' clocks, or films' beginnings, from people's motion",
    )
    clocks.add_argument("rig", type=Path, help="rig YAML, or another file with extrinsics")
    clocks.add_argument(
        "poses",
        type=Path,
        nargs="?",
        help="rosbag2 with each camera's keypoints topic; without it, the cameras' videos that "
        "the rig file names are looked at",
    )
    clocks.add_argument("--output", type=RIG, required=True, help="rig YAML to write")
    fourth = steps.add_parser(
        "convert",
        help="write another program's calibration as rig YAML, whose cameras can have videos, "
        "topics and namespaces",
    )
    fourth.add_argument(
        "rig", nargs="+", help="calibration: a file, a folder, or a file for each camera"
    )
    fourth.add_argument("output", type=RIG, help="rig YAML to write")
    fourth.add_argument(
        "--scale",
        type=float,
        help="metres per unit of the calibration: 0.001 of millimetres, 0.01 of centimetres, a "
        "square's side where a board's squares were the unit (default: the file's own, or 1)",
    )
    fourth.add_argument(
        "--video",
        nargs="+",
        default=[],
        type=_video,
        metavar="NAME=VIDEO",
        help="where a camera's images come from: a video, a folder of images, a device or a URL",
    )


def command(options: argparse.Namespace) -> int:
    """Run a step."""
    from pose3d_ros.calibration import steps

    if options.step == "time":
        from pose3d_ros.offline import film_of, seen_in

        folder = options.rig.parent
        return steps.calibrate_time(options, lambda rig, name: seen_in(film_of(rig, name, folder)))
    run = {
        "board": steps.print_board,
        "intrinsics": steps.calibrate_intrinsics,
        "extrinsics": steps.calibrate_extrinsics,
        "refine": steps.refine,
        "convert": steps.convert,
    }[options.step]
    return run(options)


def _add_board(parser: argparse.ArgumentParser, required: bool) -> None:
    kind = parser.add_mutually_exclusive_group(required=required)
    kind.add_argument(
        "--chessboard", type=_size, metavar="CxR", help="inner corners along the rows and columns"
    )
    kind.add_argument(
        "--charuco", type=_size, metavar="CxR", help="squares along the rows and columns"
    )
    parser.add_argument("--square", type=float, metavar="M", help="side of a square in metres")
    parser.add_argument(
        "--marker", type=float, default=0.0, metavar="M", help="side of a ChArUco marker in metres"
    )
    parser.add_argument(
        "--dictionary", default="DICT_4X4_50", help="the markers' dictionary (default DICT_4X4_50)"
    )


def _pictures(text: str) -> BoardImages:
    from pose3d_ros.calibration.board_images import BoardImages

    try:
        return BoardImages.of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _video(text: str) -> tuple[str, str]:
    name, equals, video = text.partition("=")
    if not (name and equals and video):
        raise argparse.ArgumentTypeError(f"expected NAME=VIDEO like left=left.mp4, got '{text}'")
    return name, video


def _size(text: str) -> tuple[int, int]:
    columns, x, rows = text.lower().partition("x")
    if not (x and columns.isdigit() and rows.isdigit()):
        raise argparse.ArgumentTypeError(f"expected columns x rows like 9x6, got '{text}'")
    return int(columns), int(rows)


def _bone(text: str) -> tuple[str, str, float]:
    from pose3d_ros.calibration import people_matching

    joints, _, length = text.partition("=")
    first, _, second = joints.partition("-")
    if (
        first not in people_matching.LIMB_JOINTS
        or second not in people_matching.LIMB_JOINTS
        or first == second
    ):
        raise argparse.ArgumentTypeError(
            f"expected two of {', '.join(people_matching.LIMB_JOINTS)} as A-B=METRES, got '{text}'"
        )
    try:
        metres = float(length)
    except ValueError:
        metres = 0.0
    if not 0.05 < metres < 2:
        raise argparse.ArgumentTypeError(f"expected a length between 0.05 and 2 m, got '{length}'")
    return first, second, metres
