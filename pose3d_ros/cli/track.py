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

"""Write the people of a recording to a file: of one camera, or of a rig of recorded cameras."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.settings import PipelineSettings

if TYPE_CHECKING:
    from pose3d_ros.people import People3D

RIG_SUFFIXES = (".yaml", ".yml", ".json", ".toml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d track``."""
    parser.add_argument(
        "source",
        type=Path,
        help="video file, folder of images or bag; or a rig file that names its cameras' videos",
    )
    parser.add_argument(
        "--output",
        required=True,
        type=Path,
        metavar="FILE",
        help="NAME.csv, NAME.jsonl (a line per frame), NAME.npz (numpy), NAME.mcap (a bag); or, a "
        "file per person, NAME.trc (OpenSim), NAME.c3d, NAME.bvh (Blender)",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="YAML",
        help="the camera's calibration; without, a bag's camera_info is taken, else 60 degrees of "
        "view are assumed",
    )
    parser.add_argument(
        "--bag-topic",
        default="",
        metavar="TOPIC",
        help="images to take from a bag; by default its only ones",
    )
    add_options(parser, PipelineSettings)


def command(options: argparse.Namespace) -> int:
    """Track, write, and say how fast."""
    from pose3d_ros.io.pose_files import pose_writer

    settings = from_options(options, PipelineSettings)
    rig = options.source.suffix.lower() in RIG_SUFFIXES and options.source.is_file()
    optical = not rig and not settings.fixed_frame
    began_s, frames, ids = time.perf_counter(), 0, set()
    writer = pose_writer(options.output)
    try:
        for people in _people(options, settings, rig):
            writer.write(people)
            frames += 1
            ids.update(people.ids.tolist())
            if sys.stderr.isatty() and frames % 10 == 0:
                sys.stderr.write(f"\r{frames} frames, {len(ids)} people ")
    finally:
        said = writer.close(optical)
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    if not frames:
        raise ValueError(f"{options.source}: no frame could be read")
    rate = frames / (time.perf_counter() - began_s)
    sys.stdout.writelines(f"{line}\n" for line in said)
    sys.stdout.write(
        f"{options.output}: {frames} frames, {len(ids)} people, {rate:.1f} frames/s\n"
    )
    return 0


def _people(
    options: argparse.Namespace, settings: PipelineSettings, rig: bool
) -> Iterator[People3D]:
    from pose3d_ros.camera import Camera
    from pose3d_ros.io.rig_file import read_rig
    from pose3d_ros.offline import people_of, people_of_rig

    if rig:
        return people_of_rig(read_rig(options.source), options.source.parent, settings)
    camera = Camera.from_yaml(options.calibration) if options.calibration else None
    return people_of(str(options.source), camera, settings, options.bag_topic)
