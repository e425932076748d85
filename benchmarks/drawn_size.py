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

"""Distance of rendered people by a detector's keypoints, where their true bodies are known.

    OMP_NUM_THREADS=1 LP_NUM_THREADS=0 python benchmarks/drawn_size.py MAKEHUMAN CMU_MOCAP

Renders crops of people as `pose3d render features` does, reads them, and puts the true bodies
onto the keypoints' rays, all joints alike. That distance is above the true one where a
detector draws people too small. No lifter and no assumed stature have a part in it.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from confidence import READERS

from pose3d_ros.detection.following import Reader
from pose3d_ros.geometry import transform_points
from pose3d_ros.place.root import KEYPOINT_SIGMA_M, solve_root
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17, convert
from pose3d_ros.training.data.detector_noise import rms_size
from pose3d_ros.training.rendering import crops, images
from pose3d_ros.training.rendering.features import FRAME_STEP
from pose3d_ros.training.rendering.studio import Studio

FRAMES, SIDE = 3, 256
WHOLE = np.array([(SIDE - 1) / 2, (SIDE - 1) / 2, SIDE, 0.0])  # the crop as a region of itself
RIGHT = 0.15  # median distance of joints, in the person's root mean square size
SURE = 0.3  # confidence of the joints that are used
NEAREST_M, MOST_OFF = 0.4, 0.3


def measure(
    readers: dict[str, Reader], options: argparse.Namespace
) -> tuple[np.ndarray, dict[str, tuple[np.ndarray, np.ndarray]]]:
    """True joints (N, 17, 3) in metres before each crop's camera; rays (N, 17, 2) and confidence
    (N, 17) of each reader.
    """
    truth: list[np.ndarray] = []
    seen: dict[str, list[Any]] = {name: [] for name in readers}
    for seed in options.seeds:
        studio = Studio(options.makehuman, [options.mocap], "train", (SIDE, SIDE))
        studio.renew(seed)
        for clip in range(options.clips):
            rng = np.random.default_rng((seed, clip))
            shot = studio.shot(rng, FRAME_STEP * (FRAMES - 1) + 2)
            studio.renderer.load(shot.scene)
            world_m = shot.scene.actors[0].posed.joints_m
            numbers = np.arange(1, len(world_m), FRAME_STEP)
            before_px = shot.camera.project(world_m[numbers - 1])
            where = crops.followed(rng, before_px, shot.camera.size)
            shown = [
                images.crop(rng, studio.renderer, shot, region, int(number))
                for region, number in zip(where, numbers, strict=True)
            ]
            for (image, _, camera), number in zip(shown, numbers, strict=True):
                truth.append(transform_points(camera.camera_from_world, world_m[number]))
                for name, reader in readers.items():
                    reading = reader(image, WHOLE[None])
                    keypoints, confidence = convert(
                        reading.keypoints_px, reading.confidence, reader.skeleton, H36M17
                    )
                    seen[name].append((camera.rays(keypoints)[0], confidence[0]))
        studio.close()
    return np.array(truth), {
        name: (np.array([ray for ray, _ in rows]), np.array([sure for _, sure in rows]))
        for name, rows in seen.items()
    }


def ratio_of_distances(
    joints_m: np.ndarray, rays: np.ndarray, confidence: np.ndarray
) -> tuple[float, float]:
    """Mean and its standard error."""
    sigma = np.full(confidence.shape, KEYPOINT_SIGMA_M)
    sure = np.where(confidence > SURE, confidence, 0)
    placed, _ = solve_root(joints_m - joints_m[:, :1], sigma, rays, sure)
    ratio = np.linalg.norm(placed, axis=1) / np.linalg.norm(joints_m[:, 0], axis=1)
    ratio = ratio[np.abs(ratio - 1) < MOST_OFF]
    return float(ratio.mean()), float(ratio.std() / np.sqrt(len(ratio)))


def main() -> None:
    """Print a line for each detector."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("makehuman", type=Path)
    parser.add_argument("mocap", type=Path)
    parser.add_argument("--detector", nargs="+", choices=READERS, default=list(READERS))
    parser.add_argument("--clips", type=int, default=100, help="of each seed")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    options = parser.parse_args()
    settings = PipelineSettings(engine="cpu", threads=1)
    readers = {name: READERS[name](settings) for name in options.detector}
    joints_m, seen = measure(readers, options)
    true_rays = joints_m[..., :2] / joints_m[..., 2:]
    size = rms_size(true_rays)
    for name, (rays, confidence) in seen.items():
        apart = np.linalg.norm(rays - true_rays, axis=-1) / size[:, None]
        good = (np.median(apart, axis=1) < RIGHT) & (joints_m[..., 2] > NEAREST_M).all(1)
        ratio = ratio_of_distances(joints_m[good], rays[good], confidence[good])
        print(
            f"{name}: distance {ratio[0]:.4f} +- {ratio[1]:.4f} of the true one, "
            f"{good.sum()} of {len(good)} crops"
        )


if __name__ == "__main__":
    main()
