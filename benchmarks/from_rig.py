"""What a user's own cameras teach a lifter: one video split in time, errors on the rest before and
after.

    python benchmarks/from_rig.py FOLDER --data CMU_MOCAP --noise noise.npz [--lifter NAME] [--json
    FILE]

FOLDER is that of the Pose2Sim demo data (see pose2sim_single.py). The people in the first 60 of
100 frames (one second) are labelled by the four cameras' own detections and the given calibration,
as `pose3d train --from-rig` does it; what camera 1 saw of it, and then what all cameras saw,
trains the lifter. Scores are of the frames after that, each camera by itself, against
reference_refined.npz; what is trained here is for no other use.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pose2sim_single import load_camera, load_truth

from pose3d_ros.evaluation.monocular import CameraTruth, errors
from pose3d_ros.evaluation.table import table
from pose3d_ros.io.rig_file import read_cameras
from pose3d_ros.io.videos import frames
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.training.build import SIGHTED, TrainSettings
from pose3d_ros.training.rig.finetune import go_on, store
from pose3d_ros.training.rig.labels import Label, label
from pose3d_ros.training.rig.observations import Watched, watch
from pose3d_ros.training.rig.observations import video as pictures

TAUGHT = 60
VIEWS = range(4)
SHOWN = ("pa_mpjpe_mm", "mpjpe_mm", "velocity_error_mm")


def video(folder: Path, view: int) -> Path:
    """The camera's recording."""
    return folder / f"video_balancing_cam{view + 1:02d}.mp4"


def taught(folder: Path, scratch: Path, sighted: bool) -> tuple[list[Watched], list[Label]]:
    """What the cameras saw in the taught frames, and the labels of it."""
    watched = [
        watch(name, camera, pictures(video(folder, view)), scratch if sighted else None)
        for view, (name, camera) in zip(
            VIEWS, read_cameras(folder / "calibration.toml").items(), strict=True
        )
    ]
    watched = [replace(one, pictures=one.pictures[:TAUGHT]) for one in watched]
    return watched, label([one.camera for one in watched], [one.pictures for one in watched])


def rest(folder: Path, model: str, lifter: str) -> dict[str, float]:
    """Scores of each camera in the frames after those that were taught."""
    report: dict[str, float] = {}
    for view in VIEWS:
        camera = load_camera(folder, view)
        truth = load_truth(folder, camera).joints_m.copy()
        truth[:TAUGHT] = np.nan
        pipeline = MonocularPipeline(PipelineSettings(lifter=lifter, lifter_model=model))
        found = errors(
            [pipeline(image, camera, stamp_ns) for image, stamp_ns in frames(video(folder, view))],
            CameraTruth(truth),
        )
        pipeline.close()
        report |= {f"{name} {view + 1}": found[name] for name in SHOWN}
    return report | {
        f"{name} mean": float(np.mean([report[f"{name} {view + 1}"] for view in VIEWS]))
        for name in SHOWN
    }


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="", help="as of 'pose3d train': what is trained beside")
    parser.add_argument("--noise", default="", help="as of 'pose3d train'")
    parser.add_argument("--lifter", default="martinez")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    reports: list[dict[str, Any]] = [
        {"taught by": "nobody", **rest(options.folder, "", options.lifter)}
    ]
    with tempfile.TemporaryDirectory() as scratch:
        watched, labels = taught(options.folder, Path(scratch), options.lifter in SIGHTED)
        for name, views in (("camera 1", [0]), ("all cameras", list(VIEWS))):
            output = Path(scratch, name.replace(" ", ""))
            print(store(watched, [one for one in labels if one.camera in views], output / "own"))
            path = go_on(
                TrainSettings(
                    lifter=options.lifter,
                    data=options.data,
                    noise=options.noise,
                    output=str(output),
                    amp=True,
                ),
                output / "own",
            )
            reports.append({"taught by": name, **rest(options.folder, str(path), options.lifter)})
    print(table(reports))
    if options.json:
        options.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
