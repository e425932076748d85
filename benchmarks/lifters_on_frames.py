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

"""A picture to look at: real frames, and what each lifter makes of them from the camera and from
the side.

Needs the Pose2Sim demo data, as ``pose2sim_single.py`` does. A row for each camera; the reference
is grey, the person's left blue and right red. What errors in millimetres hide shows here: a
mirrored leg, a flat pose, a hand in front.

    python benchmarks/lifters_on_frames.py FOLDER SHEET.png [--frame 50] [--lifters rpsm-context
    martinez ...]
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from pose2sim_single import LIMBS, load_camera, load_truth

from pose3d_ros.evaluation.monocular import LIMB_JOINTS
from pose3d_ros.io.videos import frames
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import LIFTERS
from pose3d_ros.skeleton import H36M17

SIDE = 240
METRES = 2.2  # shown from side to side
LIMBS_OF_A_SIDE = (
    ("shoulder", "elbow"),
    ("elbow", "wrist"),
    ("hip", "knee"),
    ("knee", "ankle"),
    ("shoulder", "hip"),
)
PAIRS = [
    (LIMB_JOINTS.index(f"{side}_{a}"), LIMB_JOINTS.index(f"{side}_{b}"))
    for side in "lr"
    for a, b in LIMBS_OF_A_SIDE
]
HIPS = [LIMB_JOINTS.index("l_hip"), LIMB_JOINTS.index("r_hip")]


def draw(picture: np.ndarray, joints_m: np.ndarray, across: int, grey: bool) -> None:
    """Limbs (12, 3) in the camera's axes relative to the hips; ``across``: the axis to the right,
    0 x or 2 z.
    """
    points = np.rint((joints_m[:, [across, 1]] / METRES + 0.5) * SIDE).astype(int)
    for a, b in PAIRS:
        left = LIMB_JOINTS[a].startswith("l_")
        colour = (190, 190, 190) if grey else (200, 80, 0) if left else (0, 60, 220)
        cv2.line(
            picture, points[a].tolist(), points[b].tolist(), colour, 6 if grey else 3, cv2.LINE_AA
        )


def crop(image: np.ndarray, points_px: np.ndarray) -> np.ndarray:
    """A square around points (J, 2)."""
    low, high = points_px.min(0), points_px.max(0)
    half = 0.7 * (high - low).max()
    left, top = np.maximum((low + high) / 2 - half, 0).astype(int)
    return cv2.resize(image[top : top + int(2 * half), left : left + int(2 * half)], (SIDE, SIDE))


def row(folder: Path, view: int, frame: int, lifters: list[str]) -> np.ndarray:
    """One camera's frame and two pictures for each lifter."""
    camera = load_camera(folder, view)
    truth_m = load_truth(folder, camera).joints_m[frame, 0]
    relative_m = truth_m - truth_m[HIPS].mean(0)
    pictures: list[np.ndarray] = []
    for lifter in lifters:
        pipeline = MonocularPipeline(lifter=lifter)
        for image, stamp_ns in islice(
            frames(folder / f"video_balancing_cam{view + 1:02d}.mp4"), frame + 1
        ):
            people = pipeline(image, camera, stamp_ns)
        pipeline.close()
        if not pictures:
            pictures.append(crop(image, camera.project(truth_m, "camera")))
        limbs_m = people.joints_m[:, LIMBS]
        nearest = np.linalg.norm(limbs_m - truth_m, axis=-1).mean(-1).argmin()
        pelvis = H36M17.index("pelvis")
        for across, name in ((0, "camera"), (2, "side")):
            picture = np.full((SIDE, SIDE, 3), 255, np.uint8)
            draw(picture, relative_m, across, True)
            draw(picture, limbs_m[nearest] - people.joints_m[nearest, pelvis], across, False)
            cv2.putText(
                picture,
                f"{lifter} | {name}",
                (6, 16),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.45,
                (0, 0, 0),
                1,
            )
            pictures.append(picture)
    return np.concatenate(pictures, 1)


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("--frame", type=int, default=50)
    parser.add_argument(
        "--lifters", nargs="+", default=[name for name in LIFTERS if name != "auto"]
    )
    options = parser.parse_args()
    sheet = np.concatenate(
        [row(options.folder, view, options.frame, options.lifters) for view in range(4)]
    )
    if not cv2.imwrite(str(options.sheet), sheet):
        raise SystemExit(f"{options.sheet}: cannot write the picture")


if __name__ == "__main__":
    main()
