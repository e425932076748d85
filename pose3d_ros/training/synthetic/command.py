"""Render labelled people with MakeHuman bodies in captured motions: a clip, or what the embedded detector errs by."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from pose3d_ros.training.synthetic import clip, detector_noise


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d render``."""
    parser.add_argument("what", choices=["clip", "noise"], help="clip: the two-camera film of the demo with its truth; "
                        "noise: an npz of the embedded detector's errors on random people, for pose3d train")
    parser.add_argument("output", type=Path, help="folder of the clip, or npz of the noise")
    parser.add_argument("--makehuman", type=Path, required=True, help="folder with base.obj, targets, clothes and hair")
    parser.add_argument("--mocap", type=Path, required=True, help="folder with train.npz and index.json")
    parser.add_argument("--clips", type=int, default=60, help="noise: number of clips; default 60")
    parser.add_argument("--frames", type=int, default=60, help="noise: frames of a clip; default 60")
    parser.add_argument("--seed", type=int, default=1, help="noise: seed of people, cameras and motions; default 1")


def command(options: argparse.Namespace) -> int:
    """Run ``pose3d render``."""
    if options.what == "clip":
        for path in clip.render_clip(options.makehuman, options.mocap, options.output):
            sys.stdout.write(f"{path}\n")
        return 0
    summary = detector_noise.record(
        options.makehuman, options.mocap, options.output, options.clips, options.frames, options.seed,
        lambda done: sys.stderr.write(f"\rclip {done + 1} of {options.clips}"))
    sys.stderr.write("\n")
    for name, value in summary.items():
        sys.stdout.write(f"{name}: {value:.3g}\n")
    return 0
