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

"""What a lifter gains by knowing which way is up: truly, a few degrees wrong, or learned from
people, in level cameras and in such as look down.

People of motion capture stand and move about before simulated cameras, 40 in each, of different
statures, seen with a detector's held-out errors over half a second. Up is learned from the poses
that the lifter gives without knowing it (``place.learned_floor``), as the node does with
``learn_floor``, sure of it or not. MPJPE / PA-MPJPE in mm.

    python benchmarks/which_way_is_up.py NOISE MOCAP... [--lifter NAME_OR_ONNX ...]
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial.transform import Rotation

from pose3d_ros import lifting
from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import look_at, transform_points
from pose3d_ros.metrics import mpjpe, pa_mpjpe
from pose3d_ros.people import People2D
from pose3d_ros.place import learned_floor
from pose3d_ros.place.root import solve_root
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.augmentation import change_body, proportions, turn
from pose3d_ros.training.data.feature_samples import TILT_RAD, FeatureInputs, read_noise
from pose3d_ros.training.data.mocap import Mocap, as_detected
from pose3d_ros.training.data.windows import Clips, hide

CAMERAS, PEOPLE, SEED = 30, 40, 7
STATURE_SIGMA = 0.06
LOOKS_DOWN_DEG = 20
CAMERA = Camera.from_fov(640, 480, math.radians(70))
VIEW = FeatureInputs(rolled=False)


def before(rng: np.random.Generator, mocap: Mocap, camera_from_world: np.ndarray) -> Clips:
    """People all over the floor before one camera; true poses at the canonical stature."""
    rows = rng.choice(mocap.newest, PEOPLE)
    offsets = np.broadcast_to(mocap.offsets, (PEOPLE, len(mocap.offsets)))
    poses_m = mocap.joints_m[rows[:, None] + offsets].astype(np.float32)
    poses_m = change_body(poses_m, proportions(rng, PEOPLE))
    foot = poses_m[..., 2].min((1, 2))
    poses_m -= np.append(poses_m[:, -1, 0, :2], foot[:, None], 1)[:, None, None]
    poses_m = turn(poses_m, rng.uniform(0, 2 * np.pi, (PEOPLE, 1)))
    size = rng.normal(1, STATURE_SIGMA, (PEOPLE, 1, 1, 1)).astype(np.float32)
    poses_m *= size
    poses_m[..., :2] += rng.uniform(-1.5, 1.5, (PEOPLE, 1, 1, 2))
    joints_m = transform_points(camera_from_world, poses_m).astype(np.float32)
    up = np.broadcast_to(camera_from_world[:3, 2].astype(np.float32), (PEOPLE, 3))
    clips = hide(rng, as_detected(rng, joints_m, up, offsets, mocap.noise))
    return replace(clips, joints_m=joints_m / size)


def lifted(lifter: lifting.Lifter, clips: Clips, up: np.ndarray | None) -> lifting.LiftedPoses:
    """The answer of the newest frame, from a fresh memory."""
    lifter.forget(np.zeros(0, int))
    for frame, offset in enumerate(VIEW.offsets):
        rays, confidence = clips.rays[:, frame], clips.confidence[:, frame]
        depth = clips.root_relative_depth
        size = np.sqrt(((rays - rays.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))[:, None]
        people = People2D(
            H36M17,
            rays,
            confidence,
            round(1e9 + offset / 30 * 1e9),
            CAMERA.size,
            np.arange(len(rays)),
            root_relative_depth_px=None if depth is None else depth[:, frame] * size,
        )
        answer = lifter(people, CAMERA, PipelineSettings(), rays=rays, up=up)
    return answer


def learned(lifter: lifting.Lifter, clips: Clips) -> np.ndarray | None:
    """Up by the floor that these people tell; None if they tell none."""
    poses = lifted(lifter, clips, None)
    rays, confidence = clips.rays[:, -1], clips.confidence[:, -1]
    root_m, _ = solve_root(poses.joints_m, poses.sigma_m, rays, confidence)
    looks = learned_floor.Looks.of(np.arange(len(rays)), root_m, poses.joints_m, confidence > 0.5)
    floor = learned_floor.fit(looks, STATURE_SIGMA)
    return None if floor is None else floor.up


def main() -> None:
    """Print a row for each lifter, folder, kind of camera and knowledge of up."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("noise", type=Path)
    parser.add_argument("mocap", type=Path, nargs="+")
    parser.add_argument("--lifter", nargs="+", default=["rpsm-context"])
    options = parser.parse_args()
    noise, rows = read_noise(options.noise, "val"), []
    for name in options.lifter:
        lifter = lifting.create(
            PipelineSettings(**{"lifter_model" if name.endswith(".onnx") else "lifter": name})
        )
        for folder in options.mocap:
            mocap = Mocap.load(folder, "val", VIEW.offsets, noise)
            errors: dict[str, dict[str, list[Any]]] = {"level": {}, "looks down": {}}
            for number in range(CAMERAS):
                rng = np.random.default_rng([SEED, number])
                # Half of the cameras are carried by a robot, half hang below a ceiling.
                height_m = rng.uniform(2.2, 4.0) if number % 2 else rng.uniform(0.5, 1.6)
                pose = look_at((0, -rng.uniform(3.0, 5.5), height_m), (0, 0, 0.9))
                down = math.degrees(math.asin(pose[2, 2])) < -LOOKS_DOWN_DEG
                of_kind = errors["looks down" if down else "level"]
                clips, true = before(rng, mocap, pose), pose[:3, 2]
                tilt = Rotation.from_rotvec(rng.normal(0, TILT_RAD, 3))
                known = {
                    "unknown": None,
                    "true": true,
                    "3 degrees wrong": tilt.apply(true),
                    "learned": learned(lifter, clips),
                }
                truth_m = clips.joints_m[:, -1] - clips.joints_m[:, -1, :1]
                for what, up in known.items():
                    joints_m = lifted(lifter, clips, up).joints_m
                    off = 0.0 if up is None else math.acos(min(float(up @ true), 1.0))
                    of_kind.setdefault(what, []).append(
                        (
                            1e3 * float(mpjpe(joints_m, truth_m).mean()),
                            1e3 * float(pa_mpjpe(joints_m, truth_m).mean()),
                            math.degrees(off),
                            up is not None,
                        )
                    )
            for kind, of_kind in errors.items():
                for what, values in of_kind.items():
                    of_all, of_pa, off_deg, told = np.mean(values, 0).tolist()
                    rows.append(
                        {
                            "lifter": Path(name).stem,
                            "people": folder.name,
                            "camera": kind,
                            "cameras": len(values),
                            "up": what,
                            "mpjpe_mm": of_all,
                            "pa_mpjpe_mm": of_pa,
                            "off_deg": off_deg / max(told, 1e-9),
                            "told": told,
                        }
                    )
    print(table(rows))


if __name__ == "__main__":
    main()
