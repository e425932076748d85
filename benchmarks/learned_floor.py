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

"""How near the floor that people tell comes to the true one, and what it does for their place.

Each camera of the demo's clip sees two people walk about for 8 s. Prints height and tilt of the
floor that they have told at the end, each with its error in sigmas, and the mean error of the
pelvis and the shares of joints within 1, 2 and 3 sigma (of honest ones .20, .74 and .97) by the
assumed stature, by that floor from the start, and by the true one.

    python benchmarks/learned_floor.py
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from place import Remembering

from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import transform_points
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.offline import recorded
from pose3d_ros.people import TrackState
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings


def evaluate(index: int, camera: Camera, eyes: Remembering) -> list[dict[str, Any]]:
    """Of one camera of the clip."""
    folder = share("demo")
    truth = np.load(folder / "truth.npz")
    true_m = transform_points(truth["camera_from_world"][index], truth["joints_m"])
    true = Floor.from_pose(truth["camera_from_world"][index])
    frames = list(recorded(str(folder / f"cam{index}.mp4"), camera))

    def run(floor: Floor | None, learn: bool) -> tuple[Floor | None, dict[str, float]]:
        settings = eyes.settings.changed(learn_floor=learn)
        pipeline = MonocularPipeline(settings, detector=eyes, lifter=eyes)
        places, sigmas = [], []
        for frame, (image, seen_by, stamp_ns) in enumerate(frames):
            people = pipeline(image, seen_by, stamp_ns, floor=floor)
            for row in np.flatnonzero(people.states == TrackState.CONFIRMED):
                joints = people.joints_m[row]
                aside = (
                    joints[:, :2] / joints[:, 2:] - true_m[frame, ..., :2] / true_m[frame, ..., 2:]
                )
                off = joints - true_m[frame, np.linalg.norm(aside, axis=-1).mean(-1).argmin()]
                assert people.covariance_m2 is not None
                inverse = np.linalg.inv(people.covariance_m2[row])
                places.append(np.linalg.norm(off[0]))
                sigmas.append(np.sqrt(np.einsum("ja,jab,jb->j", off, inverse, off)))
        shares = {f"within_{n}_sigma": float((np.array(sigmas) < n).mean()) for n in (1, 2, 3)}
        return pipeline.learned_floor, {"place_mm": 1e3 * float(np.mean(places)), **shares}

    learned, _ = run(None, True)
    rows: list[dict[str, Any]] = [{"camera": index, "floor": "none", **run(None, False)[1]}]
    if learned is not None:
        off = math.acos(min(float(learned.up @ true.up), 1.0))
        told = {
            "height_m": learned.height_m,
            "true_height_m": true.height_m,
            "height_error_sigmas": (learned.height_m - true.height_m) / learned.height_sigma_m,
            "tilt_error_deg": math.degrees(off),
            "tilt_error_sigmas": off / learned.tilt_sigma_rad,
        }
        rows.append({"camera": index, "floor": "learned", **run(learned, False)[1], **told})
    rows.append({"camera": index, "floor": "true", **run(true, False)[1]})
    return [{**dict.fromkeys(rows[len(rows) // 2]), **row} for row in rows]


def main() -> None:
    """Print a table for each camera."""
    eyes = Remembering(PipelineSettings())
    for index, camera in enumerate(read_rig(share("demo") / "rig.yaml").cameras.values()):
        eyes.begin()
        print(table(evaluate(index, camera, eyes)), end="\n\n")


if __name__ == "__main__":
    main()
