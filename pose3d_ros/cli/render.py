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

"""Render labelled people with MakeHuman bodies in captured motions: a clip, a dataset, or what the
detector sees.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d render``."""
    parser.add_argument(
        "what",
        choices=["clip", "dataset", "features", "noise"],
        help="clip: the two-camera film of the demo with its truth. For pose3d train, of random "
        "people: dataset: recordings with pictures; features: the embedded detector's keypoints "
        "and feature maps (--lifter context); noise: an npz of its errors",
    )
    parser.add_argument("output", type=Path, help="folder to write, or npz of the noise")
    parser.add_argument(
        "--makehuman",
        type=Path,
        required=True,
        help="folder with base.obj, targets, clothes and hair",
    )
    parser.add_argument(
        "--mocap",
        required=True,
        metavar="FOLDER",
        help="folder with train.npz, val.npz and index.json; several are separated by ':'",
    )
    parser.add_argument(
        "--clips",
        type=int,
        default=60,
        help="number of clips; default 60. A dataset has a "
        "quarter more for validation, features a twelfth",
    )
    parser.add_argument(
        "--frames",
        type=int,
        default=60,
        help="frames of a clip, 30 a second, of features 10; default 60",
    )
    parser.add_argument(
        "--backgrounds",
        type=Path,
        help="folder of pictures (.jpg, .png) for surfaces and what is far "
        "away, besides procedural ones; default none",
    )
    parser.add_argument(
        "--threads",
        type=int,
        default=0,
        help="of the detector's network, for features; default all "
        "cores. LP_NUM_THREADS does it for rendering without a GPU",
    )
    parser.add_argument(
        "--detector",
        choices=["blazepose", "blazepose-heavy"],
        default="blazepose",
        help="whose output features and noise are; default blazepose. Heavy has no feature maps",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="seed of people, cameras and motions; default 1"
    )


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d render``."""
    from pose3d_ros.training.rendering import clip, features, measure_noise, recordings

    mocap = [Path(folder) for folder in options.mocap.split(os.pathsep)]
    if options.what == "clip":
        for path in clip.render_clip(options.makehuman, mocap, options.output):
            sys.stdout.write(f"{path}\n")
        return 0
    if options.what == "dataset":
        written = recordings.render(
            options.makehuman,
            mocap,
            options.output,
            options.clips,
            options.frames,
            options.seed,
            lambda done: sys.stderr.write(f"\rclip {done + 1}"),
            options.backgrounds,
        )
        sys.stdout.write(f"\n{len(written)} recordings in {options.output}\n")
        return 0
    if options.what == "features":
        total = features.record(
            options.makehuman,
            mocap,
            options.output,
            options.clips,
            options.frames,
            options.seed,
            lambda done: sys.stderr.write(f"\rclip {done + 1}"),
            options.backgrounds,
            options.threads,
            options.detector,
        )
        sys.stdout.write(
            f"\n{total['found']:.0f} of {total['frames']:.0f} pictures, "
            f"{total['bytes'] / 1e9:.1f} GB\n"
        )
        return 0
    summary = measure_noise.record(
        options.makehuman,
        mocap,
        options.output,
        options.clips,
        options.frames,
        options.seed,
        lambda done: sys.stderr.write(f"\rclip {done + 1} of {options.clips}"),
        options.detector,
    )
    sys.stderr.write("\n")
    for name, value in summary.items():
        sys.stdout.write(f"{name}: {value:.3g}\n")
    return 0
