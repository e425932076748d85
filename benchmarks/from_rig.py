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

"""Fine-tuning of a lifter on one's own cameras: one video split in time, errors on the rest before
and after.

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
from pose3d_ros.training.rig.finetune import finetune, store
from pose3d_ros.training.rig.labels import ImageLabels, label
from pose3d_ros.training.rig.observations import CameraObservations, detect_in
from pose3d_ros.training.rig.observations import video as images
from pose3d_ros.training.settings import FEATURE_LIFTERS, TrainSettings

TAUGHT = 60
VIEWS = range(4)
SHOWN = ("pa_mpjpe_mm", "mpjpe_mm", "velocity_error_mm")


def video(folder: Path, view: int) -> Path:
    """The camera's recording."""
    return folder / f"video_balancing_cam{view + 1:02d}.mp4"


def taught(
    folder: Path, scratch: Path, features: bool
) -> tuple[list[CameraObservations], list[ImageLabels]]:
    """What the cameras saw in the taught frames, and the labels of it."""
    observed = [
        detect_in(name, camera, images(video(folder, view)), scratch if features else None)
        for view, (name, camera) in zip(
            VIEWS, read_cameras(folder / "calibration.toml").items(), strict=True
        )
    ]
    observed = [replace(one, images=one.images[:TAUGHT]) for one in observed]
    return observed, label([one.camera for one in observed], [one.images for one in observed])


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
        observed, labels = taught(options.folder, Path(scratch), options.lifter in FEATURE_LIFTERS)
        for name, views in (("camera 1", [0]), ("all cameras", list(VIEWS))):
            output = Path(scratch, name.replace(" ", ""))
            print(store(observed, [one for one in labels if one.camera in views], output / "own"))
            path = finetune(
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
