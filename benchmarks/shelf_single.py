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

"""Lifters on Shelf, one camera at a time: recorded 2D poses in, 3D errors in that camera's axes.

Needs a folder with ``calibration.json``, ``gt.npz`` and ``detections_openpose_body25.npz``, as
``evaluation.shelf`` reads them. A pose belongs to the person whose true joints are nearest in
the picture, within a fifth of the person's height; frames in which a limb joint was not detected
count, as what the lifter makes of it. Errors are on 12 limb joints, relative to the middle of the
hips. There are no pictures, so only lifters of keypoints can be measured.

    python benchmarks/shelf_single.py FOLDER [--lifter NAME_OR_ONNX ...] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros import lifting
from pose3d_ros.evaluation.monocular import LIMB_JOINTS
from pose3d_ros.evaluation.shelf import ACTORS, FRAME_RATE_HZ, TRUTH_JOINTS, ShelfRecording
from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import transform_points
from pose3d_ros.metrics import mpjpe, pa_mpjpe
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.tracking import IdentityTracker

FRAMES = range(300, 601)
NEAR = 0.2  # of the person's height in the picture
TRUE_LIMBS = [TRUTH_JOINTS.index(name) for name in LIMB_JOINTS]
LIMBS = H36M17.indices(*LIMB_JOINTS)
HIPS = [LIMB_JOINTS.index("l_hip"), LIMB_JOINTS.index("r_hip")]


def view_errors(
    recording: ShelfRecording, view: int, lifter: lifting.Lifter
) -> dict[str, list[float]]:
    """PA-MPJPE, MPJPE and velocity error in millimetres of every person found in every annotated
    frame of a view.
    """
    camera, settings, identity = recording.cameras[view], PipelineSettings(), IdentityTracker()
    errors: dict[str, list[float]] = {
        name: [] for name in ("pa_mpjpe_mm", "mpjpe_mm", "velocity_error_mm", "people", "found")
    }
    before: dict[int, tuple[int, np.ndarray]] = {}
    for frame in FRAMES:
        people = identity(
            recording.people(frame, view, round(frame / FRAME_RATE_HZ * 1e9)).to(H36M17)
        )
        poses = lifter(people, camera, settings).joints_m[:, LIMBS].astype(float)
        poses -= poses[:, HIPS].mean(1, keepdims=True)
        for row in np.flatnonzero(
            (recording.truth_frame == frame) & np.isin(recording.actor, ACTORS)
        ):
            truth = transform_points(camera.camera_from_world, recording.joints_m[row, TRUE_LIMBS])
            true_px = camera.project(truth, "camera")
            if not ((true_px >= 0) & (true_px < camera.size)).all():
                continue
            errors["people"].append(1.0)
            apart = np.nanmean(
                np.linalg.norm(people.keypoints_px[:, LIMBS] - true_px, axis=-1), axis=1
            )
            if not len(apart) or apart.min() > NEAR * np.ptp(true_px[:, 1]):
                continue
            truth = truth - truth[HIPS].mean(0)
            pose = poses[apart.argmin()]
            errors["found"].append(1.0)
            errors["pa_mpjpe_mm"].append(1e3 * float(pa_mpjpe(pose, truth)))
            errors["mpjpe_mm"].append(1e3 * float(mpjpe(pose, truth)))
            actor = int(recording.actor[row])
            if before.get(actor, (0,))[0] == frame - 1:
                errors["velocity_error_mm"].append(
                    1e3 * float(mpjpe(pose - truth, before[actor][1]))
                )
            before[actor] = (frame, pose - truth)
    return errors


def main() -> None:
    """Print a table for each lifter; write JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lifter", nargs="+", default=["rpsm", "videopose3d", "martinez"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    recording = ShelfRecording.load(arguments.folder)
    reports: list[dict[str, Any]] = []
    for name in arguments.lifter:
        of_lifter = []
        for view in range(len(recording.cameras)):
            lifter = lifting.create(
                PipelineSettings(**{"lifter_model" if name.endswith(".onnx") else "lifter": name})
            )
            errors = view_errors(recording, view, lifter)
            lifter.close()
            of_lifter.append(
                {
                    "lifter": name,
                    "view": view + 1,
                    "people": len(errors.pop("people")),
                    "found": len(errors.pop("found")),
                    **{key: float(np.mean(values)) for key, values in errors.items()},
                }
            )
        mean = {
            key: float(np.mean([report[key] for report in of_lifter]))
            for key in of_lifter[0]
            if key not in ("lifter", "view")
        }
        reports += [*of_lifter, {"lifter": name, "view": "mean", **mean}]
    print(table(reports))
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
