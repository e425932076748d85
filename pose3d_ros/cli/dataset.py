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

"""Make a folder of recordings with 3D truth, for training and evaluation, from a dataset as it is
distributed.

Or (features) what a detector sees in the pictures of such recordings.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from pose3d_ros.arguments import describe
from pose3d_ros.settings import PipelineSettings

if TYPE_CHECKING:
    from pose3d_ros.training.data.recordings import Recording

DETECTOR = ("detector", "detector_model", "person_model")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d dataset``."""
    kinds = parser.add_subparsers(
        dest="source", required=True, metavar="DATASET", help="which dataset"
    )
    official = kinds.add_parser("human36m", help="Human3.6M's official D3 Positions")
    official.add_argument(
        "folder",
        type=Path,
        metavar="SOURCE",
        help="folder with S1/MyPoseFeatures/D3_Positions/*.cdf or *.cdf.mat, and so on",
    )
    official.add_argument(
        "--detections",
        type=Path,
        metavar="NPZ",
        help="VideoPose3D's data_2d_h36m_*.npz; without, keypoints are the projected joints",
    )
    studio = kinds.add_parser("mpi-inf-3dhp", help="MPI-INF-3DHP's training and test set")
    studio.add_argument(
        "folder",
        type=Path,
        metavar="SOURCE",
        help="folder with S1/Seq1/annot.mat and "
        "camera.calibration and so on, and mpi_inf_3dhp_test_set",
    )
    eva = kinds.add_parser(
        "humaneva", help="HumanEva-I as VideoPose3D's ConvertHumanEva.m exports it"
    )
    eva.add_argument(
        "folder", type=Path, metavar="SOURCE", help="folder converted_15j with Train and Validate"
    )
    archives = kinds.add_parser(
        "videopose3d", help="VideoPose3D's archives of Human3.6M or HumanEva-I"
    )
    archives.add_argument(
        "sources",
        type=Path,
        nargs="+",
        metavar="SOURCE",
        help="data_3d_*.npz, then its data_2d_*.npz",
    )
    captured = kinds.add_parser("mocap", help="motion capture before simulated cameras")
    captured.add_argument(
        "folder", type=Path, metavar="MOCAP", help="folder with val.npz and index.json"
    )
    captured.add_argument(
        "--noise",
        type=Path,
        metavar="NPZ|FOLDER",
        help="a detector's errors (pose3d render noise), or a folder of pose3d render features, "
        "which knows root-relative depth as well; without, keypoints are exact",
    )
    captured.add_argument(
        "--split", choices=("train", "val"), default="val", help="whose motions; default val"
    )
    for kind in kinds.choices.values():
        kind.add_argument(
            "out", type=Path, metavar="OUT", help="folder to write train/ and val/ into"
        )
        kind.add_argument(
            "--rate-hz",
            type=float,
            metavar="HZ",
            help="keep so many frames per second (2 in RPSM's "
            "protocol on Human3.6M); all by default",
        )
    seen = kinds.add_parser(
        "features",
        help="what a detector sees in the pictures of recordings, for lifters that "
        "look at more than keypoints",
    )
    seen.add_argument(
        "folder", type=Path, metavar="RECORDINGS", help="folder of recordings with pictures"
    )
    seen.add_argument("out", type=Path, metavar="OUT", help="folder to write train/ and val/ into")
    for spec in fields(PipelineSettings):
        if spec.name in DETECTOR:
            seen.add_argument(
                f"--{spec.name.replace('_', '-')}", default=spec.default, help=describe(spec)
            )


def _recordings(options: argparse.Namespace) -> Iterable[tuple[str, Recording]]:
    from pose3d_ros.training.data.converters import (
        human36m,
        humaneva,
        mocap,
        mpi_inf_3dhp,
        videopose3d,
    )

    if options.source == "human36m":
        detections = (
            videopose3d.load_detections(options.detections) if options.detections else None
        )
        return videopose3d.human36m_recordings(human36m.load(options.folder), detections)
    if options.source == "mpi-inf-3dhp":
        return mpi_inf_3dhp.convert(options.folder)
    if options.source == "humaneva":
        return humaneva.recordings(humaneva.load(options.folder))
    if options.source == "videopose3d":
        return videopose3d.convert(options.sources)
    return mocap.convert(options.folder, options.noise, options.split)


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d dataset``: write the recordings, or what is seen in them, and say how many
    there are.
    """
    if options.source == "features":
        from pose3d_ros.training.data.extract_features import extract_features

        settings = PipelineSettings(**{name: getattr(options, name) for name in DETECTOR})
        for line in extract_features(options.folder, options.out, settings):
            sys.stdout.write(f"{line}\n")
        return 0
    from tqdm import tqdm

    from pose3d_ros.training.data.recordings import write

    recordings = _recordings(options)
    files: Counter[str] = Counter()
    frames: Counter[str] = Counter()
    for split, recording in tqdm(
        recordings, desc=options.source, unit=" recordings", disable=None
    ):
        step = recording.rate_hz / options.rate_hz if options.rate_hz else 1
        if step < 1 or abs(step - round(step)) > 1e-6:
            raise ValueError(
                f"expected a rate that divides {recording.rate_hz:g} Hz, got {options.rate_hz:g} "
                f"Hz"
            )
        kept = recording.every(round(step))
        write(options.out, split, kept)
        files[split] += 1
        frames[split] += int(kept.valid.sum())
    if not files:
        raise ValueError("expected recordings in the source, got none")
    for split in files:
        sys.stdout.write(
            f"{options.out / split}: {files[split]} recordings, {frames[split]} frames\n"
        )
    return 0
