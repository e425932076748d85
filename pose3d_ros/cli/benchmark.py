"""Measure where the milliseconds of a frame go on this machine, from image to people in space."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

import cv2

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.cli import doctor
from pose3d_ros.profiling.report import Measured, Report, comparison, scene_report, scene_table
from pose3d_ros.profiling.run import FRAMES, ROUNDS, WARM_UP, choose, measure
from pose3d_ros.profiling.scenes import PLACES, clip, crowd
from pose3d_ros.profiling.timeline import timeline
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.description = (
        f"Prints for each stage its median, 95th percentile and maximum in the frames in which it "
        f"ran, over {ROUNDS} "
        f"rounds of {FRAMES} frames, after others to warm up. Frames follow each other without a "
        f"pause. With engine "
        f"auto it first tries which engine runs each network fastest on this CPU, and pipelines "
        f"and nodes on this "
        f"machine remember it."
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
        help=f"measure on N people instead (1 to {PLACES}; "
        "several numbers take turns): cut out of the clip and put side by side",
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
    settings = from_options(options, PipelineSettings)
    earlier = _read(options.compare) if options.compare else None
    video = options.video or share("demo", "cam0.mp4")
    if options.node and options.people:
        raise ValueError("expected --node with a video, got --people: the nodes play files only")
    scenes = []
    if not options.node:
        scenes = (
            [crowd(count) for count in options.people] if options.people else [clip(video, FRAMES)]
        )
    if settings.engine == "auto":
        for network, best in choose(settings).items():
            threads = f"{best.threads} threads" if best.threads else "as many threads as usual"
            sys.stdout.write(f"fastest for {network} on this CPU: {best.engine} with {threads}\n")
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
        picture = timeline([(one.scene, one.rounds[-1]) for one in measured])
        if not cv2.imwrite(str(options.png), picture):
            raise OSError(
                f"{options.png}: cannot be written as a picture; expected a name that ends in "
                f".png, in a "
                f"folder that there is"
            )
        sys.stderr.write(f"look at {options.png}\n")
    if earlier is not None:
        sys.stdout.write(f"\n{comparison(earlier, report)}\n")
    return 0


def _through_nodes(video: Path, settings: PipelineSettings) -> Measured:
    from pose3d_ros.nodes.profiled import play  # needs rclpy

    size = clip(video, 1).camera.size
    played = play(video, settings, WARM_UP, ROUNDS * FRAMES)
    rounds = [
        played.watches[start : start + FRAMES] for start in range(0, ROUNDS * FRAMES, FRAMES)
    ]
    return Measured(f"{video.name} through nodes", rounds, played.people, size, played.engine)


def _report(measured: list[Measured], settings: PipelineSettings) -> Report:
    default = asdict(PipelineSettings())
    return {
        "machine": dict(doctor.versions()),
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
