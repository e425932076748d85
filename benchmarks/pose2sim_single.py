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

"""The monocular pipeline on four real videos with reference poses: 2D distance, 3D errors, before
and after smoothing.

Needs the Pose2Sim demo data: a folder with calibration.toml, video_balancing_cam0*.mp4,
keypoints_balancing_associated.npz and reference_refined.npz. Scores are those that the data's
README defines: 12 limb joints, frames whose reference reprojects within 20 px. The reference is
triangulated frame by frame, so velocities are also compared with its low-pass (``_lowpass``: 6 Hz,
without delay); ``reference_noise_mm`` is its own error then.

    python benchmarks/pose2sim_single.py FOLDER [--detector NAME] [--lifter NAME] [--json FILE]
        [--person-height 1.5] [--floor-z 0.05]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import butter, filtfilt

from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.monocular import LIMB_JOINTS, CameraTruth, errors
from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import rigid, rotation_from_vector, transform_points
from pose3d_ros.io.rig_file import read_cameras
from pose3d_ros.io.videos import frames
from pose3d_ros.metrics import jitter_mm
from pose3d_ros.people import People3D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import BODY25B, H36M17

GOOD_PX = 20.0
RATE_HZ, LOW_PASS_HZ = 60, 6
BODY, LIMBS = BODY25B.indices(*LIMB_JOINTS), H36M17.indices(*LIMB_JOINTS)


def load_camera(folder: Path, view: int) -> Camera:
    """Intrinsics of the calibration with the refined extrinsics."""
    reference = np.load(folder / "reference_refined.npz")
    camera_from_world = rigid(
        rotation_from_vector(reference["rotation"][view]), reference["translation"][view]
    )
    cameras = read_cameras(folder / "calibration.toml")
    return replace(cameras[f"cam_{view + 1:02d}"], camera_from_world=camera_from_world)


def load_truth(folder: Path, camera: Camera) -> CameraTruth:
    """Limb joints in the camera's frame; frames with a badly reprojected joint are left out."""
    reference = np.load(folder / "reference_refined.npz")
    joints = reference["joints3d"][:, BODY].astype(float)
    joints[(reference["reprojection_px"][:, BODY] >= GOOD_PX).any(1)] = np.nan
    return CameraTruth(transform_points(camera.camera_from_world, joints)[:, None])


def low_passed(truth: CameraTruth) -> CameraTruth:
    """The reference without what is faster than 6 Hz; frames without it are those beside them."""
    joints_m = truth.joints_m.copy()
    known = np.flatnonzero(np.isfinite(joints_m).all((1, 2, 3)))
    nearest = known[np.abs(known - np.arange(len(joints_m))[:, None]).argmin(1)]
    return CameraTruth(
        filtfilt(*butter(2, LOW_PASS_HZ / (RATE_HZ / 2)), joints_m[nearest], axis=0)
    )


def speed_difference_mm(one: CameraTruth, other: CameraTruth) -> float:
    """Mean difference of velocities per frame, relative to the middle of the hips."""
    hips = [LIMB_JOINTS.index("l_hip"), LIMB_JOINTS.index("r_hip")]
    relative = [
        truth.joints_m - truth.joints_m[:, :, hips].mean(2, keepdims=True)
        for truth in (one, other)
    ]
    return float(
        np.nanmean(np.linalg.norm(np.diff(relative[0] - relative[1], axis=0), axis=-1)) * 1e3
    )


def load_openpose(folder: Path, view: int, count: int) -> np.ndarray:
    """(T, 12, 2) keypoints of the person, NaN below a score of 0.2."""
    data = np.load(folder / "keypoints_balancing_associated.npz")
    chosen = data["view"] == view
    keypoints = np.full((count, len(BODY), 3), np.nan)
    keypoints[data["frame"][chosen]] = data["poses"][chosen][:, BODY]
    return np.where(keypoints[..., 2:] >= 0.2, keypoints[..., :2], np.nan)


def subject(result: People3D, truth_px: np.ndarray) -> int | None:
    """Row in ``people_2d`` of the person nearest to the reference, if within 150 px."""
    people = result.people_2d
    if people is None or not len(people):
        return None
    distance = np.nanmedian(
        np.linalg.norm(people.keypoints_px[:, LIMBS] - truth_px, axis=-1), axis=1
    )
    return int(distance.argmin()) if distance.min() < 150 else None


def evaluate_view(
    folder: Path, view: int, settings: PipelineSettings, floor_z_m: float | None = None
) -> dict[str, Any]:
    """One camera, with and without smoothing; ``floor_z_m`` of the world, if it is to be used."""
    camera = load_camera(folder, view)
    floor = None
    if floor_z_m is not None:
        world_from_floor = rigid(np.eye(3), [0, 0, floor_z_m])
        floor = Floor.from_pose(camera.camera_from_world @ world_from_floor)
    truth = load_truth(folder, camera)
    slow = low_passed(truth)
    report: dict[str, Any] = {
        "view": view + 1,
        "reference_noise_mm": speed_difference_mm(truth, slow),
    }
    for name, smoothing in (("", settings.smoothing), ("_unsmoothed", 0.0)):
        pipeline = MonocularPipeline(replace(settings, smoothing=smoothing))
        results = [
            pipeline(image, camera, stamp_ns, floor=floor)
            for image, stamp_ns in frames(folder / f"video_balancing_cam{view + 1:02d}.mp4")
        ]
        pipeline.close()
        if not name:
            report.update(_two_d(folder, view, results, truth, camera))
        scores = errors(results, truth)
        report.update(
            {
                key + name: scores[key]
                for key in (
                    "pa_mpjpe_mm",
                    "mpjpe_mm",
                    "velocity_error_mm",
                    "root_mm",
                    "recall",
                    "id_switches",
                )
            }
        )
        shares = sigma_shares(results, truth)
        report.update({f"within_{n}_sigma{name}": shares[n - 1] for n in (1, 2, 3)})
        report["velocity_error_mm_lowpass" + name] = errors(results, slow)["velocity_error_mm"]
        report["jitter_mm" + name] = jitter_mm(results, H36M17.index("pelvis"))
    return report


def sigma_shares(results: list[People3D], truth: CameraTruth) -> list[float]:
    """Shares of the limb joints whose place is within 1, 2 and 3 sigma of the truth; of honest
    ones .20, .74 and .97 (three axes).
    """
    errors_sigma = []
    for result, people in zip(results, truth.joints_m, strict=False):
        if len(result) and np.isfinite(people).all():
            off = np.linalg.norm(result.joints_m[:, LIMBS] - people, axis=-1)
            nearest = off.mean(1).argmin()
            errors_sigma.append(off[nearest] / result.sigma_m[nearest, LIMBS])
    return [float((np.array(errors_sigma) < n).mean()) for n in (1, 2, 3)]


def _two_d(
    folder: Path, view: int, results: list[People3D], truth: CameraTruth, camera: Camera
) -> dict[str, Any]:
    openpose = load_openpose(folder, view, len(results))
    distances, found = [], 0
    for number, result in enumerate(results):
        reference_px = camera.project(truth.joints_m[number, 0], "camera")
        row = subject(
            result, reference_px if np.isfinite(reference_px).all() else openpose[number]
        )
        if row is not None and result.people_2d is not None:
            found += 1
            distances.append(
                np.linalg.norm(
                    result.people_2d.keypoints_px[row, LIMBS] - openpose[number], axis=-1
                )
            )
    return {
        "found": found / len(results),
        "px_mean": float(np.nanmean(distances)),
        "px_median": float(np.nanmedian(distances)),
        "frames": len(results),
    }


def main() -> None:
    """Print the table; write JSON if asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default=PipelineSettings.detector)
    parser.add_argument("--lifter", default=PipelineSettings().lifter)
    parser.add_argument("--lifter-model", default="", help="path of another ONNX lifter")
    parser.add_argument("--person-height", type=float, default=PipelineSettings.person_height_m)
    parser.add_argument(
        "--floor-z",
        type=float,
        help="use the floor, at this height in the world; the beam that he balances on has 0.05",
    )
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    settings = PipelineSettings(
        detector=arguments.detector,
        lifter=arguments.lifter,
        lifter_model=arguments.lifter_model,
        person_height_m=arguments.person_height,
    )
    reports = [
        evaluate_view(arguments.folder, view, settings, arguments.floor_z) for view in range(4)
    ]
    mean = {
        key: float(np.mean([report[key] for report in reports]))
        for key in reports[0]
        if key != "view"
    }
    reports.append({"view": "mean", **mean})
    print(table(reports))
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
