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

"""Face and feet of ``body30`` on the balancing man, each camera by itself, beside the reference
that four cameras triangulated: heels and toes from the ankle, nose and eyes from the middle of
the ears (the faces of this film are blurred).

Needs the Pose2Sim demo data, as ``benchmarks/pose2sim_single.py``. The reference has no knuckles.

    python benchmarks/extra_joints.py FOLDER [--detector NAME] [--every 2]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from pose2sim_single import GOOD_PX, load_camera, load_truth, subject

from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import transform_points
from pose3d_ros.io.videos import frames
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import BODY25B, BODY30, Skeleton

JOINTS = {
    "heels": ("heel", "ankle"),
    "toes": ("foot", "ankle"),
    "eyes": ("eye", ""),
    "nose": ("nose", ""),
}


def from_anchor(joints_m: np.ndarray, skeleton: Skeleton, point: str, anchor: str) -> np.ndarray:
    """(2, 3) of the left and right joint of (J, 3) from anchors, or from between the ears."""
    sides = [point] * 2 if point == "nose" else [f"l_{point}", f"r_{point}"]
    anchors = [f"l_{anchor}", f"r_{anchor}"] if anchor else ["l_ear", "r_ear"]
    ends, starts = joints_m[skeleton.indices(*sides)], joints_m[skeleton.indices(*anchors)]
    return np.asarray(ends - (starts if anchor else starts.mean(0)))


def main() -> None:
    """Print mean distances in mm, by camera."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default=PipelineSettings.detector)
    parser.add_argument("--every", type=int, default=2, help="every so many frames; default 2")
    options = parser.parse_args()
    reference = np.load(options.folder / "reference_refined.npz")
    joints_m = reference["joints3d"].astype(float)
    joints_m[reference["reprojection_px"] >= GOOD_PX] = np.nan
    reports = []
    for view in range(4):
        camera = load_camera(options.folder, view)
        limbs_px = camera.project(load_truth(options.folder, camera).joints_m[:, 0], "camera")
        truth_m = transform_points(camera.camera_from_world, joints_m)
        film = options.folder / f"video_balancing_cam{view + 1:02d}.mp4"
        found: dict[str, list[np.ndarray]] = {name: [] for name in JOINTS}
        with MonocularPipeline(skeleton="body30", detector=options.detector) as pipeline:
            for number, (image, stamp_ns) in enumerate(frames(film)):
                if number % options.every:
                    continue
                people = pipeline(image, camera, stamp_ns)
                own = subject(people, limbs_px[number])
                if own is None or people.people_2d is None:
                    continue
                row = np.flatnonzero(people.ids == people.people_2d.ids[own])
                if not len(row):
                    continue
                for name, ends in JOINTS.items():
                    error = from_anchor(people.joints_m[row[0]], BODY30, *ends) - from_anchor(
                        truth_m[number], BODY25B, *ends
                    )
                    found[name].append(np.linalg.norm(error, axis=-1))
        reports.append(
            {"camera": view + 1, "frames": len(found["heels"])}
            | {f"{name}_mm": 1e3 * float(np.nanmean(found[name])) for name in JOINTS}
        )
    print(table(reports))


if __name__ == "__main__":
    main()
