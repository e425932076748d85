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

"""How well the monocular pipeline does on videos, lifters on recordings with 3D truth, and several
cameras on recorded 2D poses.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.settings import PipelineSettings

if TYPE_CHECKING:
    from pose3d_ros.evaluation.lifters import Report
    from pose3d_ros.training.data.recordings import Recording


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d evaluate``."""
    kinds = parser.add_subparsers(
        dest="what", required=True, metavar="monocular|lifter|multiview", help="what to evaluate"
    )
    one = kinds.add_parser("monocular", help="the monocular pipeline on videos")
    one.add_argument(
        "videos",
        nargs="+",
        type=Path,
        metavar="VIDEO",
        help="video files, folders of images, or bags",
    )
    one.add_argument(
        "--bag-topic",
        default="",
        metavar="TOPIC",
        help="images to take from a bag; by default its only ones",
    )
    one.add_argument(
        "--calibration",
        action="append",
        type=Path,
        default=[],
        metavar="YAML",
        help=(
            "camera_calibration YAML, once for each video; without, a bag's camera_info is taken, "
            "else 60 degrees of view are assumed"
        ),
    )
    one.add_argument(
        "--truth",
        type=Path,
        metavar="NPZ",
        help="reference poses: joints_m "
        "(T, P, J, 3) in the world, camera_from_world (C, 4, 4) of the videos, and optionally "
        "skeleton",
    )
    add_options(one, PipelineSettings)
    defaults = PipelineSettings()
    lifters = kinds.add_parser(
        "lifter",
        help="lifters on recordings with 3D truth, by the protocols of the papers",
        description="Runs lifters frame by frame, as the pipeline does. The shipped models and "
        "those that 'pose3d train' exports have the flip test inside. Millimetres depend on the "
        "height that is assumed; N-MPJPE and PA-MPJPE do not.",
    )
    lifters.add_argument(
        "folder", type=Path, metavar="DATASET", help="folder that 'pose3d dataset' has written"
    )
    lifters.add_argument(
        "--split", choices=("train", "val"), default="val", help="which recordings; default val"
    )
    lifters.add_argument(
        "--lifter",
        nargs="+",
        default=["rpsm"],
        metavar="NAME|ONNX",
        help=(
            "lifters by name (rpsm, videopose3d, martinez; rpsm-context, where the recordings "
            "know root-relative depth) or model file; default rpsm"
        ),
    )
    lifters.add_argument(
        "--person-height-m",
        type=float,
        default=defaults.person_height_m,
        metavar="M",
        help=f"standing height that sets the metric scale; default {defaults.person_height_m:.2f}",
    )
    lifters.add_argument(
        "--threads",
        type=int,
        default=defaults.threads,
        metavar="N",
        help="CPU threads; 0 takes all",
    )
    lifters.add_argument(
        "--up",
        action="store_true",
        help="tell lifters which way is up: the z axis of the recordings' world",
    )
    several = kinds.add_parser(
        "multiview", help="several cameras on recorded 2D poses, or on a bag of them"
    )
    several.add_argument(
        "folder",
        type=Path,
        metavar="DIR",
        help="calibration.json (K, R, t of each camera), gt.npz "
        "(actor, frame, joints3d, eval_frames), detections_openpose_body25.npz (poses, frame, "
        "view); or a rosbag2 with CAMERA/keypoints topics",
    )
    several.add_argument(
        "--rig", type=Path, metavar="FILE", help="the cameras of a bag: a rig file"
    )
    several.add_argument(
        "--truth",
        type=Path,
        metavar="NPZ",
        help="reference poses of a bag: joints_m (T, P, J, 3) in "
        "the rig's frame, stamp_ns (T,), and optionally skeleton",
    )
    several.add_argument(
        "--frames", type=_frame_range, metavar="A-B", help="first and last frame; all by default"
    )
    several.add_argument(
        "--views", type=_numbers, metavar="0,1,2", help="cameras to use; all by default"
    )
    several.add_argument(
        "--detections", type=Path, metavar="FILE", help="other 2D poses than the folder's"
    )
    for kind in (one, lifters, several):
        kind.add_argument(
            "--json", type=Path, metavar="FILE", help="write the reports here as well"
        )


def _frame_range(text: str) -> range:
    first, _, last = text.partition("-")
    if not first.isdigit() or not last.isdigit() or int(last) < int(first):
        raise argparse.ArgumentTypeError(f"expected FIRST-LAST, such as 300-600, got '{text}'")
    return range(int(first), int(last) + 1)


def _numbers(text: str) -> list[int]:
    numbers = text.split(",")
    if not all(number.isdigit() for number in numbers) or len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(
            f"expected different numbers, such as 0,1,2, got '{text}'"
        )
    return [int(number) for number in numbers]


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d evaluate``: a column per video, a table per lifter, or a column for the cameras
    together.
    """
    from pose3d_ros.evaluation.table import table

    whole: dict[str, Any]
    if options.what == "lifter":
        whole = _lifters(options)
        tables = [_lifter_table(name, report) for name, report in whole.items()]
    elif options.what == "monocular":
        whole = {"videos": _monocular(options)}
        tables = [table(whole["videos"])]
    else:
        whole = _multiview(options)
        tables = [table([whole])]
    sys.stdout.write("\n\n".join(tables) + "\n")
    if options.json is not None:
        options.json.write_text(json.dumps(whole, indent=1) + "\n")
    return 0


def _lifters(options: argparse.Namespace) -> dict[str, Report]:
    from pose3d_ros.evaluation.lifters import evaluate
    from pose3d_ros.training.data.recordings import read

    settings = PipelineSettings(person_height_m=options.person_height_m, threads=options.threads)
    return {
        lifter: evaluate(
            lifter,
            _counted(lifter, read(options.folder, options.split)),
            settings,
            options.folder,
            options.up,
        )
        for lifter in options.lifter
    }


def _counted(lifter: str, recordings: Iterator[Recording]) -> Iterator[Recording]:
    """The recordings, counted on the terminal: Human3.6M's take minutes."""
    terminal = sys.stderr.isatty()
    for number, recording in enumerate(recordings, 1):
        if terminal:
            sys.stderr.write(f"\r{lifter}: recording {number} ")
        yield recording
    if terminal:
        sys.stderr.write("\n")


def _lifter_table(lifter: str, report: Report) -> str:
    """A line per action and average, a column per protocol."""
    from pose3d_ros.evaluation.lifters import COLUMNS
    from pose3d_ros.evaluation.table import table

    return table(
        [
            {lifter: column, **{action: means[column] for action, means in report.items()}}
            for column in (*COLUMNS, "frames")
        ]
    )


def _monocular(options: argparse.Namespace) -> list[dict[str, object]]:
    from pose3d_ros.camera import Camera
    from pose3d_ros.evaluation.monocular import CameraTruth, evaluate_video

    settings = from_options(options, PipelineSettings)
    if options.calibration and len(options.calibration) != len(options.videos):
        raise ValueError(
            f"expected one calibration for each of {len(options.videos)} videos, "
            f"got {len(options.calibration)}"
        )
    reports = []
    for number, video in enumerate(options.videos):
        camera = Camera.from_yaml(options.calibration[number]) if options.calibration else None
        truth = CameraTruth.load(options.truth, number) if options.truth else None
        reports.append(evaluate_video(video, camera, truth, settings, options.bag_topic))
    return reports


def _multiview(options: argparse.Namespace) -> dict[str, object]:
    from pose3d_ros.evaluation import multiview_bag, shelf
    from pose3d_ros.io.bags import is_bag
    from pose3d_ros.io.rig_file import read_rig

    if is_bag(options.folder):
        if options.rig is None:
            raise ValueError(
                f"{options.folder} is a bag: expected --rig with the file of its cameras"
            )
        truth = multiview_bag.RigTruth.load(options.truth) if options.truth else None
        return multiview_bag.evaluate(options.folder, read_rig(options.rig), truth, options.views)
    recording = shelf.ShelfRecording.load(options.folder, options.detections)
    frames = options.frames or range(int(recording.frame.min()), int(recording.frame.max()) + 1)
    views = options.views if options.views is not None else range(len(recording.cameras))
    return shelf.evaluate(recording, frames, views)
