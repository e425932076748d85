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

"""What becomes of people whom one camera of a rig alone sees.

The demo's clip, whose second camera is silent from the third second to the fifth: by keypoints
alone, by the depth that the cameras lift as well, and by that with the floor known. Prints, of the
moments before and after and of the silence, how often the two people are told, the mean error of
their joints and the shares within 1, 2 and 3 sigma (of honest ones .20, .74 and .97), and how many
of them kept their id through the silence.

    python benchmarks/handover.py
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from place import Remembering

from pose3d_ros.evaluation.table import table
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.multiview import MultiViewTracker
from pose3d_ros.offline import recorded
from pose3d_ros.people import People2D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17

SILENT = range(60, 150)  # frames of 30 a second
NEAR_M = 0.6  # of the truth


def seen_by_cameras(eyes: Remembering, with_floor: bool) -> list[list[People2D]]:
    """What each camera sees in each frame, with the depth that it lifts."""
    folder = share("demo")
    seen: list[list[People2D]] = []
    for index, camera in enumerate(read_rig(folder / "rig.yaml").cameras.values()):
        eyes.begin()
        floor = Floor.from_pose(camera.camera_from_world) if with_floor else None
        pipeline = MonocularPipeline(eyes.settings, detector=eyes, lifter=eyes)
        seen.append([])
        for image, there, stamp_ns in recorded(str(folder / f"cam{index}.mp4"), camera):
            people = pipeline(image, there, stamp_ns, floor=floor).people_2d
            assert people is not None
            seen[-1].append(people)
    return seen


def evaluate(name: str, seen: list[list[People2D]], lifted: bool) -> dict[str, Any]:
    """The row of one way."""
    folder = share("demo")
    truth_m, rig = np.load(folder / "truth.npz")["joints_m"], read_rig(folder / "rig.yaml")
    tracker = MultiViewTracker(list(rig.cameras.values()), H36M17, rig.frame_id)
    errors: dict[bool, list[float]] = {False: [], True: []}
    sigmas, told, moments, ids = [], {False: 0, True: 0}, {False: 0, True: 0}, {}
    for frame, of_both in enumerate(zip(*seen, strict=True)):
        silent = frame in SILENT
        poses: list[People2D | None] = [
            people if lifted else replace(people, depth_m=None, depth_sigma_m=None)
            for people in of_both
        ]
        poses[1] = None if silent else poses[1]
        people = tracker.update(poses, of_both[0].stamp_ns).without_tentative()
        for person in range(2):
            moments[silent] += 1
            if not len(people):
                continue
            off = np.linalg.norm(people.joints_m - truth_m[frame, person], axis=-1)
            row = int(np.nanmean(off, 1).argmin())
            if np.nanmean(off[row]) > NEAR_M:
                continue
            told[silent] += 1
            ids[person, frame] = int(people.ids[row])
            errors[silent].append(float(np.nanmean(off[row])))
            if silent:
                sigmas.append(off[row] / people.sigma_m[row])
    before, last = SILENT.start - 1, SILENT.stop - 1
    kept = [ids.get((person, before)) == ids.get((person, last), -1) for person in range(2)]
    return {
        "by": name,
        "told": told[False] / moments[False],
        "error_mm": 1e3 * float(np.mean(errors[False])),
        "told_alone": told[True] / moments[True],
        "error_alone_mm": 1e3 * float(np.mean(errors[True])),
        **{f"within_{n}_sigma_alone": float((np.array(sigmas) < n).mean()) for n in (1, 2, 3)},
        "ids_kept": sum(kept),
    }


def main() -> None:
    """Print the table."""
    eyes = Remembering(PipelineSettings(learn_floor=False))
    seen, on_floor = (seen_by_cameras(eyes, with_floor) for with_floor in (False, True))
    print(
        table(
            [
                evaluate("keypoints", seen, False),
                evaluate("and lifted depth", seen, True),
                evaluate("and the floor", on_floor, True),
            ]
        )
    )


if __name__ == "__main__":
    main()
