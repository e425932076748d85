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

"""Measure where the milliseconds of a frame go on this machine, from image to people in space."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings

if TYPE_CHECKING:
    from pose3d_ros.profiling.report import Measured, Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = (
        "Prints for each stage its median, 95th percentile and maximum in the frames in which it "
        "ran, over several rounds of frames, after others to warm up. Frames follow each other "
        "without a pause. With engine auto it first tries which engine runs each network fastest "
        "on this CPU, and pipelines and nodes on this machine remember it."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "video",
        nargs="?",
        type=Path,
        help="video to measure on; by default a clip of two people that comes with the package",
    )
    what.add_argument(
        "--people",
        type=int,
        nargs="+",
        metavar="N",
        help="measure on N people instead (several numbers take turns): cut out of the clip and "
        "put side by side",
    )
    parser.add_argument(
        "--node",
        action="store_true",
        help="measure through the nodes: one in a process of its own "
        "plays the video at its own rate, and the pose node publishes joints; needs rclpy",
    )
    parser.add_argument(
        "--png", type=Path, metavar="FILE", help="draw when each stage ran in some frames"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write what was measured, and on which machine"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        metavar="FILE",
        help="show what has changed since an earlier --json, and whether by more than the noise",
    )
    add_options(parser, PipelineSettings)


def command(options: argparse.Namespace) -> int:
    """Measure, print, write."""
    from pose3d_ros.detection import choice
    from pose3d_ros.profiling import scenes as scene_sources
    from pose3d_ros.profiling.report import comparison, scene_table
    from pose3d_ros.profiling.run import FRAMES, choose, measure
    from pose3d_ros.profiling.timeline import write_timeline

    settings = from_options(options, PipelineSettings)
    earlier = _read(options.compare) if options.compare else None
    video = options.video or share("demo", "cam0.mp4")
    if options.node and options.people:
        raise ValueError("expected --node with a video, got --people: the nodes play files only")
    scenes = []
    if not options.node:
        scenes = (
            [scene_sources.crowd(count) for count in options.people]
            if options.people
            else [scene_sources.clip(video, FRAMES)]
        )
    if settings.engine == "auto":
        for network, best in choose(settings).items():
            threads = f"{best.threads} threads" if best.threads else "as many threads as usual"
            sys.stdout.write(f"fastest for {network} on this CPU: {best.engine} with {threads}\n")
    if settings.detector == "auto":
        chosen = choice.chosen(settings)
        sys.stdout.write(f"detector auto is {chosen.name}: {chosen.reason}\n")
    measured = [_through_nodes(video, settings)] if options.node else measure(scenes, settings)
    report = _report(measured, settings)
    tables = [scene_table(name, scene) for name, scene in report["scenes"].items()]
    machine = report["machine"]
    sys.stdout.write(
        "\n\n".join([*tables, f"{machine['processor']}; GPU: {machine['GPU']}"]) + "\n"
    )
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    if options.png:
        write_timeline(options.png, [(one.scene, one.rounds[-1]) for one in measured])
        sys.stderr.write(f"look at {options.png}\n")
    if earlier is not None:
        sys.stdout.write(f"\n{comparison(earlier, report)}\n")
    return 0


def _through_nodes(video: Path, settings: PipelineSettings) -> Measured:
    from pose3d_ros.nodes.profiled import play
    from pose3d_ros.profiling.report import Measured
    from pose3d_ros.profiling.run import FRAMES, ROUNDS, WARM_UP
    from pose3d_ros.profiling.scenes import clip

    size = clip(video, 1).camera.size
    played = play(video, settings, WARM_UP, ROUNDS * FRAMES)
    rounds = [
        played.stopwatches[start : start + FRAMES] for start in range(0, ROUNDS * FRAMES, FRAMES)
    ]
    return Measured(f"{video.name} through nodes", rounds, played.people, size, played.engine)


def _report(measured: list[Measured], settings: PipelineSettings) -> Report:
    from pose3d_ros.profiling import machine
    from pose3d_ros.profiling.report import scene_report

    default = asdict(PipelineSettings())
    return {
        "machine": dict(machine.versions()),
        "settings": {
            name: value for name, value in asdict(settings).items() if value != default[name]
        },
        "scenes": {one.scene: scene_report(one) for one in measured},
    }


def _read(path: Path) -> Report:
    try:
        report: Report = json.loads(path.read_bytes())
        if not {"machine", "settings", "scenes"} <= report.keys():
            raise ValueError("it lacks machine, settings or scenes")
    except (ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: expected a report that 'pose3d benchmark --json' wrote ({error})"
        ) from None
    return report
