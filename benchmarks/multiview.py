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

"""Several cameras: accuracy and speed on Shelf and on the Pose2Sim demos.

Needs a folder with ``shelf``, ``pose2sim_single`` and ``pose2sim_multi`` (calibration, recorded 2D
poses, references; their READMEs define the scores). Causal, one set of constants for everything.
``multiview_synthetic.py`` has the rest.

    python benchmarks/multiview.py FOLDER [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose3d_ros.evaluation.shelf import FRAME_RATE_HZ, ShelfRecording, evaluate, scores, track
from pose3d_ros.evaluation.table import table
from pose3d_ros.io.rig_file import read_cameras
from pose3d_ros.multiview import MultiViewTracker, triangulate
from pose3d_ros.people import People2D, TrackState
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.skeleton import BODY25B, H36M17

SHELF_FRAMES = range(300, 601)
SHELF_VIEWS = ([0, 1, 2, 3, 4], [0, 1, 2], [0, 2, 4], [1, 3])
SEEDS = range(5)
SCORE = 0.3  # what Pose2Sim takes for a keypoint
NOISE_PX = 10.0  # the calibration there is no better
TRC_JOINTS = (
    "r_hip",
    "r_knee",
    "r_ankle",
    "r_foot",
    "r_small_toe",
    "r_heel",
    "l_hip",
    "l_knee",
    "l_ankle",
    "l_foot",
    "l_small_toe",
    "l_heel",
    "upper_neck",
    "head_top",
    "nose",
    "r_shoulder",
    "r_elbow",
    "r_wrist",
    "l_shoulder",
    "l_elbow",
    "l_wrist",
)


def shelf(folder: Path) -> list[dict[str, Any]]:
    """All cameras, some of them, and all with a random one dropped for a second at a time."""
    recording = ShelfRecording.load(folder)
    reports = [evaluate(recording, SHELF_FRAMES, views) for views in SHELF_VIEWS]
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        seconds = rng.integers(
            0, len(recording.cameras), len(SHELF_FRAMES) // int(FRAME_RATE_HZ) + 1
        )
        dropped = {
            frame: int(seconds[i // int(FRAME_RATE_HZ)]) for i, frame in enumerate(SHELF_FRAMES)
        }
        results, spent = track(recording, SHELF_FRAMES, range(len(recording.cameras)), dropped)
        reports.append(
            {
                "views": f"drop {seed}",
                **scores(recording, SHELF_FRAMES, results),
                "ms_per_frame": float(np.median(spent) * 1e3),
                "ms_p99": float(np.quantile(spent, 0.99) * 1e3),
            }
        )
    return reports


def read_trc(path: Path) -> np.ndarray:
    """(T, 21, 3) metres in the world of the cameras: trc is y up, with x, y, z = world y, z, x."""
    rows = [
        [float(value or "nan") for value in line.split("\t")]
        for line in path.read_text().splitlines()[5:]
        if line
    ]
    width = 2 + 3 * len(TRC_JOINTS)
    joints = np.array([(row + [np.nan] * width)[2:width] for row in rows]).reshape(
        len(rows), -1, 3
    )
    return joints[..., [2, 0, 1]]


def pose2sim_associated(
    folder: Path, keypoints: str, reference: str, person: int
) -> dict[str, Any]:
    """Our triangulation and the peer's of the same associated 2D poses."""
    cameras = list(read_cameras(folder / "calibration.toml").values())
    peer = read_trc(folder / reference)
    data = np.load(folder / keypoints)
    poses = np.full((len(cameras), len(peer), len(BODY25B), 3), np.nan)
    chosen = (data["person"] == person) & (data["frame"] < len(peer))
    poses[data["view"][chosen], data["frame"][chosen]] = data["poses"][chosen]
    poses = poses[:, :, BODY25B.indices(*TRC_JOINTS)]
    weights = np.where(poses[..., 2] >= SCORE, poses[..., 2], 0)
    start = time.perf_counter()
    points, _, _ = triangulate(poses[..., :2], cameras, weights, noise_px=NOISE_PX)
    milliseconds = (time.perf_counter() - start) * 1e3 / len(peer)
    both = np.isfinite(points).all(-1) & np.isfinite(peer).all(-1)
    report: dict[str, Any] = {"data": reference}
    for name, joints in (("ours", points), ("peer", peer)):
        error = np.stack(
            [
                np.linalg.norm(camera.project(joints) - pixels, axis=-1)
                for camera, pixels in zip(cameras, poses[..., :2], strict=True)
            ]
        )
        error = error[(weights > 0) & both]
        report |= {
            f"reprojection_{name}_px": float(np.mean(error)),
            f"median_reprojection_{name}_px": float(np.median(error)),
        }
    distance = np.linalg.norm(points - peer, axis=-1)[both] * 1e3
    return report | {
        "distance_mm": float(distance.mean()),
        "median_distance_mm": float(np.median(distance)),
        "known": float(np.isfinite(points).all(-1).mean()),
        "ms_per_frame": milliseconds,
    }


def pose2sim_raw(folder: Path, keypoints: str, references: list[str]) -> dict[str, Any]:
    """Who is followed when everybody whom the detector saw goes in; the references are the people
    of the trial.
    """
    cameras = list(read_cameras(folder / "calibration.toml").values())
    data = np.load(folder / keypoints)
    truth = np.stack([read_trc(folder / name) for name in references], 1)
    tracker = MultiViewTracker(cameras, BODY25B)
    body = BODY25B.indices(*TRC_JOINTS)
    nearest, ids, shown, anybody = [], [], [], []
    for frame in range(len(truth)):
        stamp_ns = round(frame / 60 * 1e9)
        seen = []
        for view, camera in enumerate(cameras):
            poses = data["poses"][(data["frame"] == frame) & (data["view"] == view)]
            known = poses[..., 2:] > 0
            pixels = np.where(known, poses[..., :2], np.nan)
            seen.append(People2D(BODY25B, pixels, poses[..., 2], stamp_ns, camera.size))
        result = tracker.update(seen, stamp_ns)
        people = result.states != TrackState.TENTATIVE
        shown.append(int(people.sum()))
        distance = np.linalg.norm(result.joints_m[:, body][:, None] - truth[frame], axis=-1)
        anybody.append(np.nanmean(distance, -1).min(0, initial=np.inf))
        if people.any():
            average = np.nanmean(distance[people], -1)
            nearest.append(average.min(0))
            ids.append(result.ids[people][average.argmin(0)])
    near, who = np.array(nearest), np.array(ids)
    return {
        "data": keypoints,
        "frames": len(truth),
        "right_person": float((near < 0.15).sum() / truth[:, :, 0, 0].size),
        "right_person, tentative ones too": float((np.array(anybody) < 0.15).mean()),
        "distance_mm": float(near.mean() * 1e3),
        "ids": ", ".join(
            str(len(set(column))) for column in np.where(near < 0.15, who, who[-1]).T
        ),
        "people_per_frame": float(np.mean(shown)),
    }


def handover(folder: Path, camera: int) -> list[dict[str, Any]]:
    """What the monocular lifter of one camera is good for, against all four cameras: arms that
    only this camera sees, and 1.5 s in which nobody else sees the man at all.
    """
    cameras = list(read_cameras(folder / "calibration.toml").values())
    with np.load(folder / "reference_refined.npz") as refined:
        poses = np.tile(np.eye(4), (len(cameras), 1, 1))
        poses[:, :3, :3] = [cv2.Rodrigues(rotation)[0] for rotation in refined["rotation"]]
        poses[:, :3, 3] = refined["translation"].reshape(-1, 3)
    cameras = [replace(c, camera_from_world=pose) for c, pose in zip(cameras, poses, strict=True)]
    data = np.load(folder / "keypoints_balancing_associated.npz")
    video, pipeline = (
        cv2.VideoCapture(str(folder / f"video_balancing_cam{camera + 1:02}.mp4")),
        MonocularPipeline(),
    )
    arms = H36M17.indices("l_elbow", "l_wrist", "r_elbow", "r_wrist")
    trackers = {
        case: MultiViewTracker(cameras, H36M17)
        for case in (
            "all",
            "arms, without lifter",
            "arms, with lifter",
            "alone, without lifter",
            "alone, with lifter",
        )
    }
    errors: dict[str, list[float]] = {case: [] for case in trackers}
    sigmas: dict[str, list[float]] = {case: [] for case in trackers}
    for frame in range(100):
        stamp_ns = round(frame / 60 * 1e9)
        found = [
            data["poses"][(data["frame"] == frame) & (data["view"] == view)]
            for view in range(len(cameras))
        ]
        openpose: list[People2D | None] = [
            People2D(
                BODY25B, np.where(p[..., 2:] > 0, p[..., :2], np.nan), p[..., 2], stamp_ns, c.size
            ).to(H36M17)
            for p, c in zip(found, cameras, strict=True)
        ]
        own = pipeline(video.read()[1], cameras[camera], stamp_ns).people_2d
        assert own is not None
        reference = trackers["all"].update(openpose, stamp_ns)
        for case, tracker in list(trackers.items())[1:]:
            seen = list(openpose)
            seen[camera] = (
                own
                if case.endswith("with lifter")
                else replace(own, depth_m=None, depth_sigma_m=None)
            )
            for view, people in enumerate(openpose):
                if frame >= 10 and view != camera and people is not None:
                    hidden = people.keypoints_px.copy()
                    hidden[:, arms] = np.nan
                    seen[view] = (
                        replace(people, keypoints_px=hidden) if case.startswith("arms") else None
                    )
            result = tracker.update(seen, stamp_ns)
            if frame >= 30 and len(reference):
                joints = arms if case.startswith("arms") else np.arange(len(H36M17))
                away = np.linalg.norm(
                    result.joints_m[:, joints] - reference.joints_m[0, joints], axis=-1
                )
                person = int(np.nanmean(away, 1).argmin()) if len(away) else None
                errors[case].append(np.nan if person is None else float(np.nanmean(away[person])))
                sigmas[case].append(
                    np.nan if person is None else float(np.nanmean(result.sigma_m[person, joints]))
                )
    pipeline.close()
    return [
        {
            "camera": camera + 1,
            "seen by one": case,
            "error_mm": float(np.nanmean(errors[case]) * 1e3),
            "error_at_the_end_mm": errors[case][-1] * 1e3,
            "sigma_mm": float(np.nanmean(sigmas[case]) * 1e3),
        }
        for case in list(trackers)[1:]
    ]


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "folder", type=Path, help="folder that holds shelf, pose2sim_single and pose2sim_multi"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports here as well")
    arguments = parser.parse_args()
    single, multi = arguments.folder / "pose2sim_single", arguments.folder / "pose2sim_multi"
    reports: dict[str, list[dict[str, Any]]] = {
        "shelf": shelf(arguments.folder / "shelf"),
        "pose2sim, associated": [
            pose2sim_associated(
                single, "keypoints_balancing_associated.npz", "reference_balancing_raw.trc", 0
            ),
            pose2sim_associated(
                multi,
                "keypoints_two_persons_associated.npz",
                "reference_two_persons_P1_0-100.trc",
                0,
            ),
            pose2sim_associated(
                multi,
                "keypoints_two_persons_associated.npz",
                "reference_two_persons_P2_0-100.trc",
                1,
            ),
        ],
        "pose2sim, raw": [
            pose2sim_raw(single, "keypoints_balancing.npz", ["reference_balancing_raw.trc"]),
            pose2sim_raw(
                multi,
                "keypoints_two_persons.npz",
                ["reference_two_persons_P1_0-100.trc", "reference_two_persons_P2_0-100.trc"],
            ),
        ],
        "handover to one camera": [row for camera in (2, 3) for row in handover(single, camera)],
    }
    for title, report in reports.items():
        print(f"{title}\n{table(report)}\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
