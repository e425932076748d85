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

"""Calibration on real recordings: intrinsics and extrinsics against references, and a rig refined
from people.

Needs a folder with ``caliscope_charuco``, ``pose2sim_calibration``, ``pose2sim_single``,
``pose2sim_multi`` and ``shelf``; their READMEs say where they come from. Nothing is tuned per
recording.

    python benchmarks/calibration.py FOLDER [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose3d_ros.calibration import extrinsics, from_people, intrinsics, people_matching
from pose3d_ros.calibration.board_images import BoardImages, detect_boards
from pose3d_ros.calibration.boards import Board
from pose3d_ros.calibration.bundle_adjustment import aligned, steps_between
from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.shelf import ShelfRecording, scores, track
from pose3d_ros.evaluation.table import table
from pose3d_ros.io.rig_file import read_cameras

SHELF_FRAMES = range(300, 601)


def board_intrinsics(folder: Path) -> list[dict[str, Any]]:
    """Each camera's photos of a chessboard, beside the calibration of the motion capture
    system.
    """
    board = Board(4, 7, 0.06)
    reports = []
    for i, reference in enumerate(read_cameras(folder / "reference_calibration.toml").values(), 1):
        views = detect_boards(BoardImages.of(f"cam{i}={folder}/cam0{i}_*_int.jpg"), board)
        result = intrinsics.calibrate(views, board)
        ours, theirs = result.camera.matrix, reference.matrix
        reports.append(
            {
                "camera": i,
                "pictures": views.searched,
                "with_board": len(views.indices),
                "used": result.views,
                "rms_px": result.rms_px,
                "fx_px": float(ours[0, 0]),
                "fx_sigma_px": float(result.sigma_px[0]),
                "fx_reference_px": float(theirs[0, 0]),
                "cx_px": float(ours[0, 2]),
                "cx_sigma_px": float(result.sigma_px[2]),
                "cx_reference_px": float(theirs[0, 2]),
                "cy_px": float(ours[1, 2]),
                "cy_sigma_px": float(result.sigma_px[3]),
                "cy_reference_px": float(theirs[1, 2]),
                "fx_off_percent": float(100 * (ours[0, 0] / theirs[0, 0] - 1)),
                "fy_off_percent": float(100 * (ours[1, 1] / theirs[1, 1] - 1)),
                "coverage": result.coverage,
                "warnings": len(result.warnings),
            }
        )
    return reports


def differences(
    cameras: Sequence[Camera], references: Sequence[Camera], scale: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Millimetres and degrees per camera once both rigs lie on each other."""
    ours, theirs = (
        np.stack([c.camera_from_world for c in some]) for some in (cameras, references)
    )
    by = steps_between(theirs, aligned(ours, theirs, 3.0, scale))
    return np.linalg.norm(by[:, 3:], axis=1) * 1e3, np.degrees(np.linalg.norm(by[:, :3], axis=1))


def board_extrinsics(folder: Path) -> list[dict[str, Any]]:
    """A ChArUco board before four webcams: poses and reprojection, and the stored calibration's on
    the same corners.
    """
    references, board = (
        read_cameras(folder / "camera_array.toml"),
        Board(4, 5, 0.054, 0.0405, "DICT_4X4_1000"),
    )
    pictures = [BoardImages.of(f"{name}={folder}/cam_{name}.mp4") for name in references]
    indices = extrinsics.common_indices(pictures)
    start = time.perf_counter()
    views = [detect_boards(p, board, i) for p, i in zip(pictures, indices, strict=True)]
    seen = extrinsics.board_observations(views, indices)
    found_s, start = time.perf_counter() - start, time.perf_counter()
    result = extrinsics.calibrate(references, board, seen)
    solved_s = time.perf_counter() - start
    millimetres, degrees = differences(
        list(result.cameras.values()), list(references.values()), scale=False
    )
    stored = extrinsics.reprojection(references, board, seen)
    return [
        {
            "camera": name,
            "moments": len(result.moments),
            "corners": len(away),
            "median_px": float(np.median(away)),
            "p90_px": float(np.quantile(away, 0.9)),
            "stored_median_px": float(np.median(stored[name])),
            "stored_p90_px": float(np.quantile(stored[name], 0.9)),
            "position_off_mm": float(millimetres[c]),
            "orientation_off_deg": float(degrees[c]),
            "finding_s": found_s,
            "solving_s": solved_s,
        }
        for c, (name, away) in enumerate(result.errors_px.items())
    ]


def refined(
    what: str, cameras: dict[str, Camera], recording: Path, skeleton: str
) -> tuple[dict[str, Any], from_people.Refinement]:
    """A rig refined from people: errors on frames used and held out, and the cameras' moves."""
    poses = people_matching.load_poses(recording, list(cameras), list(cameras.values()), skeleton)
    start = time.perf_counter()
    result = from_people.refine(list(cameras.values()), list(cameras), poses)
    (seen, seen_after), (unseen, unseen_after) = result.used, result.held_out
    return {
        "recording": what,
        "frames_used": result.frames,
        "used_before_px": seen.median_px,
        "used_after_px": seen_after.median_px,
        "held_out_before_px": unseen.median_px,
        "held_out_after_px": unseen_after.median_px,
        "held_out_p90_before_px": unseen.p90_px,
        "held_out_p90_after_px": unseen_after.p90_px,
        "written": "yes" if result.better else "no",
        "moved_mm": " ".join(f"{m:.0f}" for m in result.moved_mm),
        "turned_deg": " ".join(f"{d:.2f}" for d in result.turned_deg),
        "sigma_mm": " ".join(f"{m:.0f}" for m in result.sigma_mm),
        "seconds": time.perf_counter() - start,
    }, result


def beside_reference(folder: Path, cameras: Sequence[Camera]) -> tuple[np.ndarray, np.ndarray]:
    """How far the refined cameras are from those in ``reference_refined.npz``."""
    with np.load(folder / "reference_refined.npz") as data:
        poses = np.tile(np.eye(4), (len(cameras), 1, 1))
        poses[:, :3, :3] = [cv2.Rodrigues(turn)[0] for turn in data["rotation"].reshape(-1, 3)]
        poses[:, :3, 3] = data["translation"].reshape(-1, 3)
    references = [
        replace(camera, camera_from_world=pose)
        for camera, pose in zip(cameras, poses, strict=True)
    ]
    return differences(cameras, references, scale=True)


def shelf_scores(
    recording: ShelfRecording, cameras: tuple[Camera, ...], what: str
) -> dict[str, Any]:
    """What tracking makes of the recording with these cameras."""
    other = replace(recording, cameras=cameras)
    results, _ = track(other, SHELF_FRAMES, range(len(cameras)))
    report = scores(other, SHELF_FRAMES, results)
    return {
        "cameras": what,
        **{key: report[key] for key in ("pcp", "mpjpe_mm", "recall", "false_people_per_frame")},
    }


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder that holds the recordings")
    parser.add_argument("--json", type=Path, help="write the reports here as well")
    arguments = parser.parse_args()
    single, multi, shelf = (
        arguments.folder / name for name in ("pose2sim_single", "pose2sim_multi", "shelf")
    )
    reports: dict[str, list[dict[str, Any]]] = {}
    print("pose2sim_calibration: intrinsics from 7 photos each")
    reports["intrinsics"] = board_intrinsics(arguments.folder / "pose2sim_calibration")
    print(table(reports["intrinsics"]))
    print("\ncaliscope_charuco: extrinsics from videos, beside the stored ones")
    reports["extrinsics"] = board_extrinsics(arguments.folder / "caliscope_charuco")
    print(table(reports["extrinsics"]))
    print("\nrefine: median reprojection of limb joints")
    recording = ShelfRecording.load(shelf)
    shelf_cameras = {camera.frame_id: camera for camera in recording.cameras}
    rig = read_cameras(single / "calibration.toml")
    one, result = refined("single", rig, single / "keypoints_balancing_associated.npz", "body25b")
    millimetres, degrees = beside_reference(single, result.cameras)
    raw, _ = refined("single raw", rig, single / "keypoints_balancing.npz", "body25b")
    two, _ = refined("two persons", rig, multi / "keypoints_two_persons.npz", "body25b")
    right, at_shelf = refined(
        "shelf", shelf_cameras, shelf / "detections_openpose_body25.npz", "body25"
    )
    reports["refine"] = [one, raw, two, right]
    print(table(reports["refine"]))
    print(
        "single, beside reference_refined.npz (frame and scale aligned): "
        f"{millimetres.max():.0f} mm and {degrees.max():.2f} degrees at most"
    )
    print("\nshelf tracked with the given cameras, and with those that refine would not write")
    reports["shelf"] = [
        shelf_scores(recording, recording.cameras, "given"),
        shelf_scores(recording, at_shelf.cameras, "not written"),
    ]
    print(table(reports["shelf"]))
    if arguments.json:
        arguments.json.write_text(json.dumps(reports, indent=1))


if __name__ == "__main__":
    main()
