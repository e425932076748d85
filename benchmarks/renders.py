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

"""How fast labelled people are rendered, and how real they look to the embedded detector.

    OMP_NUM_THREADS=1 LP_NUM_THREADS=0 python benchmarks/renders.py MAKEHUMAN CMU_MOCAP [--clips
    60] [--sheet sheet.png]

Renders the crops of clips of five pictures as `pose3d render features` does. Prints crops of 256
px for each second that one core is at it (those variables see to it that no other is): the
pictures alone, with the scene that is made anew for each clip, and with the detector's network.
Then the share that the detector goes on following, of these the share of joints within a fifth of
the person's size (PCK), of all and of those that are seen, and the mean heat (how sharply it sees
keypoints). `--sheet` writes 48 crops with the true joints drawn.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import process_time

import cv2
import numpy as np

from pose3d_ros.drawing import draw_people
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.detector_noise import rms_size
from pose3d_ros.training.rendering import crops, images
from pose3d_ros.training.rendering.features import FRAME_STEP, CropDetector
from pose3d_ros.training.rendering.measure_noise import RIGHT, seen_by_depth
from pose3d_ros.training.rendering.studio import Studio

FRAMES, SIDE, COLUMNS = 5, 256, 8


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("makehuman", type=Path)
    parser.add_argument("mocap", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--split", choices=["train", "val"], default="val")
    parser.add_argument("--sheet", type=Path)
    options = parser.parse_args()

    studio, reader = (
        Studio(options.makehuman, [options.mocap], options.split, (SIDE, SIDE)),
        CropDetector(1),
    )
    studio.renew(options.seed)
    seconds = {"scene": 0.0, "picture": 0.0, "network": 0.0}
    right, visible, heat, followed = [], [], [], []
    tiles: list[np.ndarray] = []
    for clip in range(-3, options.clips):  # the first ones read files
        rng = np.random.default_rng((options.seed, clip + 3))
        start = process_time()
        shot = studio.shot(rng, FRAME_STEP * (FRAMES - 1) + 2)
        studio.renderer.load(shot.scene)
        world_m = shot.scene.actors[0].posed.joints_m
        numbers = np.arange(1, len(world_m), FRAME_STEP)
        joints_px = shot.camera.project(world_m)
        where = crops.followed(rng, joints_px[numbers - 1], shot.camera.size)
        made = process_time()
        seen = [
            images.crop(rng, studio.renderer, shot, region, int(number))
            for region, number in zip(where, numbers, strict=True)
        ]
        drawn = process_time()
        found = reader(np.stack([image for image, *_ in seen]), where, shot.camera.size)
        read = process_time()
        if clip < 0:
            continue
        for stage, spent in zip(seconds, (made - start, drawn - made, read - drawn), strict=True):
            seconds[stage] += spent
        error = np.linalg.norm(found.people.keypoints_px - joints_px[numbers], axis=-1)
        right.append(error < RIGHT * rms_size(joints_px[numbers])[:, None])
        for (image, depth_m, camera), points in zip(seen, world_m[numbers], strict=True):
            distance = points @ camera.camera_from_world[2, :3] + camera.camera_from_world[2, 3]
            visible.append(seen_by_depth(camera.project(points), distance, depth_m))
            if len(tiles) < 48 and len(visible) % FRAMES == 1:
                truth = People2D(
                    H36M17,
                    camera.project(points)[None],
                    np.where(visible[-1], 1.0, 0.5)[None],
                    0,
                    (SIDE, SIDE),
                    np.zeros(1, np.int32),
                )
                tiles.append(draw_people(image, truth))
        heat.append(found.heat)
        followed.append(found.followed)
    count = options.clips * FRAMES
    kept = np.concatenate(followed)
    good, shown = np.concatenate(right)[kept], np.array(visible)[kept]
    print(f"{studio.renderer.name}: {count} crops of {SIDE} px")
    print(
        f"crops a second: {count / seconds['picture']:.1f}; with scenes: "
        f"{count / (seconds['picture'] + seconds['scene']):.1f}; and features: "
        f"{count / sum(seconds.values()):.1f}"
    )
    print(
        f"followed: {kept.mean():.1%}; PCK {good.mean():.1%}, of seen joints "
        f"{good[shown].mean():.1%}; mean heat {np.concatenate(heat)[kept].mean():.2f}"
    )
    if options.sheet:
        rows = [
            np.hstack(tiles[i : i + COLUMNS]) for i in range(0, len(tiles) - COLUMNS + 1, COLUMNS)
        ]
        cv2.imwrite(str(options.sheet), np.vstack(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
