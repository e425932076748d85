"""Several cameras: accuracy on Shelf and on the Pose2Sim demos, speed, and growth with cameras and people.

Needs a folder with ``shelf``, ``pose2sim_single`` and ``pose2sim_multi`` (calibration, recorded 2D poses, references;
their READMEs define the scores). Causal, one set of constants for everything.

    python benchmarks/multiview.py FOLDER [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tomllib

from pose3d_ros.camera import Camera
from pose3d_ros.evaluate import table
from pose3d_ros.multiview import MultiViewTracker, triangulate
from pose3d_ros.multiview.evaluation import FRAME_RATE_HZ, Recording, evaluate, scores, track
from pose3d_ros.people import People2D, TrackState
from pose3d_ros.skeleton import BODY25, BODY25B

SHELF_FRAMES = range(300, 601)
SHELF_VIEWS = ([0, 1, 2, 3, 4], [0, 1, 2], [0, 2, 4], [1, 3])
SEEDS = range(5)
SCORE = 0.3             # what Pose2Sim takes for a keypoint
NOISE_PX = 10.0         # the calibration there is no better
CAMERAS, CROWDS = (2, 4, 8, 12), (1, 3, 5, 10, 20)
TRC_JOINTS = ("r_hip", "r_knee", "r_ankle", "r_foot", "r_small_toe", "r_heel", "l_hip", "l_knee", "l_ankle", "l_foot",
              "l_small_toe", "l_heel", "upper_neck", "head_top", "nose", "r_shoulder", "r_elbow", "r_wrist",
              "l_shoulder", "l_elbow", "l_wrist")


def shelf(folder: Path) -> list[dict[str, Any]]:
    """All cameras, some of them, and all with a random one dropped for a second at a time."""
    recording = Recording.load(folder)
    reports = [evaluate(recording, SHELF_FRAMES, views) for views in SHELF_VIEWS]
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        seconds = rng.integers(0, len(recording.cameras), len(SHELF_FRAMES) // int(FRAME_RATE_HZ) + 1)
        dropped = {frame: int(seconds[i // int(FRAME_RATE_HZ)]) for i, frame in enumerate(SHELF_FRAMES)}
        results, spent = track(recording, SHELF_FRAMES, range(len(recording.cameras)), dropped)
        reports.append({"views": f"drop {seed}", **scores(recording, SHELF_FRAMES, results),
                        "ms_per_frame": float(np.median(spent) * 1e3), "ms_p99": float(np.quantile(spent, 0.99) * 1e3)})
    return reports


def pose2sim_cameras(folder: Path) -> list[Camera]:
    """The rig as it was calibrated."""
    cameras = []
    for entry in tomllib.loads((folder / "calibration.toml").read_text()).values():
        if "matrix" in entry:
            transform = np.eye(4)
            transform[:3, :3] = cv2.Rodrigues(np.array(entry["rotation"]))[0]
            transform[:3, 3] = entry["translation"]
            width, height = (int(value) for value in entry["size"])
            cameras.append(Camera(np.array(entry["matrix"]), (width, height), np.array(entry["distortions"]),
                                  camera_from_world=transform))
    return cameras


def read_trc(path: Path) -> np.ndarray:
    """(T, 21, 3) metres in the world of the cameras: trc is y up, with x, y, z = world y, z, x."""
    rows = [[float(value or "nan") for value in line.split("\t")] for line in path.read_text().splitlines()[5:] if line]
    width = 2 + 3 * len(TRC_JOINTS)
    joints = np.array([(row + [np.nan] * width)[2:width] for row in rows]).reshape(len(rows), -1, 3)
    return joints[..., [2, 0, 1]]


def pose2sim_associated(folder: Path, keypoints: str, reference: str, person: int) -> dict[str, Any]:
    """Our triangulation and the peer's of the same associated 2D poses."""
    cameras = pose2sim_cameras(folder)
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
        error = np.stack([np.linalg.norm(camera.project(joints) - pixels, axis=-1)
                          for camera, pixels in zip(cameras, poses[..., :2], strict=True)])
        error = error[(weights > 0) & both]
        report |= {f"reprojection_{name}_px": float(np.mean(error)),
                   f"median_reprojection_{name}_px": float(np.median(error))}
    distance = np.linalg.norm(points - peer, axis=-1)[both] * 1e3
    return report | {"distance_mm": float(distance.mean()), "median_distance_mm": float(np.median(distance)),
                     "known": float(np.isfinite(points).all(-1).mean()), "ms_per_frame": milliseconds}


def pose2sim_raw(folder: Path, keypoints: str, references: list[str]) -> dict[str, Any]:
    """Who is followed when everybody whom the detector saw goes in; the references are the people of the trial."""
    cameras, data = pose2sim_cameras(folder), np.load(folder / keypoints)
    truth = np.stack([read_trc(folder / name) for name in references], 1)
    tracker = MultiViewTracker(cameras, BODY25B)
    body = BODY25B.indices(*TRC_JOINTS)
    nearest, ids, shown = [], [], []
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
        distance = np.linalg.norm(result.joints_m[people][:, body][:, None] - truth[frame], axis=-1)
        if people.any():
            average = np.nanmean(distance, -1)
            nearest.append(average.min(0))
            ids.append(result.ids[people][average.argmin(0)])
    near, who = np.array(nearest), np.array(ids)
    return {"data": keypoints, "frames": len(truth),
            "right_person": float((near < 0.15).sum() / truth[:, :, 0, 0].size),
            "distance_mm": float(near.mean() * 1e3),
            "ids": ", ".join(str(len(set(column))) for column in np.where(near < 0.15, who, who[-1]).T),
            "people_per_frame": float(np.mean(shown))}


def rig(count: int) -> list[Camera]:
    """Cameras on a circle of 8 m, looking at its centre."""
    cameras = []
    for angle in 2 * np.pi * np.arange(count) / max(count, 3):
        forward = np.array([-8 * np.cos(angle), -8 * np.sin(angle), -1.5]) / np.hypot(8, 1.5)
        right = np.cross(forward, [0, 0, 1.0]) / np.hypot(*forward[:2])
        transform = np.eye(4)
        transform[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        transform[:3, 3] = -transform[:3, :3] @ [8 * np.cos(angle), 8 * np.sin(angle), 2.5]
        cameras.append(Camera(np.array([[1000, 0, 960], [0, 1000, 540], [0, 0, 1.0]]), (1920, 1080),
                              camera_from_world=transform))
    return cameras


def growth(people: int, count: int, body_m: np.ndarray, frames: int = 60) -> dict[str, Any]:
    """Speed, error and identities of ``people`` walking where ``count`` cameras see them, 3 px noise, 5 % missing."""
    rng = np.random.default_rng(0)
    cameras = rig(count)
    start = np.zeros((0, 2))
    while len(start) < people:  # nobody nearer to another than 0.7 m
        place = rng.uniform(-2.5, 2.5, 2)
        if not len(start) or np.linalg.norm(start - place, axis=1).min() > 0.7:
            start = np.concatenate([start, place[None]])
    velocity, heading = rng.uniform(-0.1, 0.1, (people, 2)), rng.uniform(0, 2 * np.pi, people)
    turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]]).transpose(2, 0, 1)
    tracker = MultiViewTracker(cameras, BODY25)
    milliseconds, errors, ids = [], [], set()
    for frame in range(frames):
        stamp_ns = frame * 40_000_000
        truth = np.repeat(body_m[None], people, 0)
        truth[..., :2] = truth[..., :2] @ turn + (start + velocity * frame * 0.04)[:, None]
        seen = []
        for camera in cameras:
            pixels = camera.project(truth) + rng.normal(0, 3, (people, len(BODY25), 2))
            confidence = np.where(rng.random(pixels.shape[:2]) < 0.05, 0, rng.uniform(0.5, 1, pixels.shape[:2]))
            seen.append(People2D(BODY25, pixels, confidence, stamp_ns, camera.size)[rng.permutation(people)])
        begin = time.perf_counter()
        result = tracker.update(seen, stamp_ns)
        milliseconds.append((time.perf_counter() - begin) * 1e3)
        if frame >= 5:
            shown = result.joints_m[result.states != TrackState.TENTATIVE]
            errors.append(np.nanmean(np.linalg.norm(shown[:, None] - truth, axis=-1), -1).min(0))
            ids |= set(result.ids[result.states != TrackState.TENTATIVE].tolist())
    return {"cameras": count, "people": people, "ms_median": float(np.median(milliseconds[1:])),
            "ms_p99": float(np.quantile(milliseconds[1:], 0.99)), "ms_first": milliseconds[0],
            "error_mm": float(np.mean(errors) * 1e3), "ids": len(ids)}


def beside_opencv(count: int = 10_000) -> dict[str, Any]:
    """Microseconds per point from two views, the only case OpenCV has, and the largest difference."""
    rng, cameras = np.random.default_rng(0), rig(2)
    points = rng.uniform((-1, -1, 0), (1, 1, 2), (count, 3))
    pixels = np.stack([camera.project(points) for camera in cameras])
    matrices = [camera.matrix @ camera.camera_from_world[:3] for camera in cameras]
    times = []
    for run in (lambda: triangulate(pixels, cameras, np.ones(pixels.shape[:2]))[0],
                lambda: cv2.triangulatePoints(*matrices, *(p.T.copy() for p in pixels))):
        begin = time.perf_counter()
        run()
        times.append((time.perf_counter() - begin) / count * 1e6)
    error = np.abs(triangulate(pixels, cameras, np.ones(pixels.shape[:2]))[0] - points).max()
    return {"ours_us": times[0], "opencv_us": times[1], "ours_largest_error_m": float(error)}


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder that holds shelf, pose2sim_single and pose2sim_multi")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports here as well")
    arguments = parser.parse_args()
    recording = Recording.load(arguments.folder / "shelf")
    body = recording_body(recording)
    single, multi = arguments.folder / "pose2sim_single", arguments.folder / "pose2sim_multi"
    reports = {
        "shelf": shelf(arguments.folder / "shelf"),
        "pose2sim, associated": [
            pose2sim_associated(single, "keypoints_balancing_associated.npz", "reference_balancing_raw.trc", 0),
            pose2sim_associated(multi, "keypoints_two_persons_associated.npz", "reference_two_persons_P1_0-100.trc", 0),
            pose2sim_associated(multi, "keypoints_two_persons_associated.npz", "reference_two_persons_P2_0-100.trc", 1),
        ],
        "pose2sim, raw": [
            pose2sim_raw(single, "keypoints_balancing.npz", ["reference_balancing_raw.trc"]),
            pose2sim_raw(multi, "keypoints_two_persons.npz",
                         ["reference_two_persons_P1_0-100.trc", "reference_two_persons_P2_0-100.trc"]),
        ],
        "growth": [growth(people, cameras, body) for cameras in CAMERAS for people in CROWDS],
        "two views": [beside_opencv()],
    }
    for title, report in reports.items():
        print(f"{title}\n{table(report)}\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(reports, indent=1) + "\n")


def recording_body(recording: Recording) -> np.ndarray:
    """A real pose (25, 3) to walk about, feet on the floor, from the first frames of the recording."""
    results, _ = track(recording, range(300, 340), range(len(recording.cameras)))
    joints = results[-1].joints_m[0].astype(float)
    joints = np.where(np.isnan(joints), np.nanmean(joints, 0), joints)
    return joints - [*joints[:, :2].mean(0), joints[:, 2].min()]


if __name__ == "__main__":
    main()
