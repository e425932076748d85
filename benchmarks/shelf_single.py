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
hips. There are no pictures, so only lifters of keypoints can be measured. A second table has all
views by person, and by how many of the limb joints were not detected, with the shares of joints
within 1, 2 and 3 sigma (of honest ones .20, .74 and .97).

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
PER_POSE = ("actor", "lost", "within_1_sigma", "within_2_sigma", "within_3_sigma")
LOST = {"none lost": (0, 0), "1 or 2 lost": (1, 2), "3 or more lost": (3, len(LIMB_JOINTS))}
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
        name: []
        for name in ("pa_mpjpe_mm", "mpjpe_mm", "velocity_error_mm", "people", "found", *PER_POSE)
    }
    before: dict[int, tuple[int, np.ndarray]] = {}
    for frame in FRAMES:
        people = identity(
            recording.people(frame, view, round(frame / FRAME_RATE_HZ * 1e9)).to(H36M17)
        )
        lifted = lifter(people, camera, settings)
        poses = lifted.joints_m[:, LIMBS].astype(float)
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
            pose, nearest = poses[apart.argmin()], apart.argmin()
            errors["found"].append(1.0)
            errors["pa_mpjpe_mm"].append(1e3 * float(pa_mpjpe(pose, truth)))
            errors["mpjpe_mm"].append(1e3 * float(mpjpe(pose, truth)))
            actor = int(recording.actor[row])
            sigmas = np.linalg.norm(pose - truth, axis=-1) / lifted.sigma_m[nearest, LIMBS]
            errors["actor"].append(actor)
            errors["lost"].append(int((people.confidence[nearest, LIMBS] == 0).sum()))
            for n in (1, 2, 3):
                errors[f"within_{n}_sigma"].append(float((sigmas < n).mean()))
            if before.get(actor, (0,))[0] == frame - 1:
                errors["velocity_error_mm"].append(
                    1e3 * float(mpjpe(pose - truth, before[actor][1]))
                )
            before[actor] = (frame, pose - truth)
    return errors


def by_group(lifter: str, views: list[dict[str, list[float]]]) -> list[dict[str, Any]]:
    """Errors of all views by person and by number of joints that were not detected."""
    names = ("pa_mpjpe_mm", "mpjpe_mm", *PER_POSE)
    pose = {name: np.concatenate([errors[name] for errors in views]) for name in names}
    groups = {f"person {actor + 1}": pose["actor"] == actor for actor in ACTORS}
    groups |= {
        name: (pose["lost"] >= least) & (pose["lost"] <= most)
        for name, (least, most) in LOST.items()
    }
    return [
        {
            "lifter": lifter,
            "group": group,
            "poses": int(chosen.sum()),
            **{name: float(pose[name][chosen].mean()) for name in names if name != "actor"},
        }
        for group, chosen in groups.items()
        if chosen.any()
    ]


def main() -> None:
    """Print two tables of all lifters; write JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lifter", nargs="+", default=["rpsm", "videopose3d", "martinez"])
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    recording = ShelfRecording.load(arguments.folder)
    reports: list[dict[str, Any]] = []
    groups: list[dict[str, Any]] = []
    for name in arguments.lifter:
        of_lifter = []
        views = []
        for view in range(len(recording.cameras)):
            lifter = lifting.create(
                PipelineSettings(**{"lifter_model" if name.endswith(".onnx") else "lifter": name})
            )
            errors = view_errors(recording, view, lifter)
            lifter.close()
            views.append(errors)
            of_lifter.append(
                {
                    "lifter": name,
                    "view": view + 1,
                    "people": len(errors["people"]),
                    "found": len(errors["found"]),
                    **{
                        key: float(np.mean(errors[key]))
                        for key in ("pa_mpjpe_mm", "mpjpe_mm", "velocity_error_mm")
                    },
                }
            )
        mean = {
            key: float(np.mean([report[key] for report in of_lifter]))
            for key in of_lifter[0]
            if key not in ("lifter", "view")
        }
        reports += [*of_lifter, {"lifter": name, "view": "mean", **mean}]
        groups += by_group(name, views)
    print(table(reports), table(groups), sep="\n\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
