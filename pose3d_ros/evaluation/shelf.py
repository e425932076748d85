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

"""Evaluation of the multi-view tracker on recorded 2D poses of the Shelf data set: PCP, MPJPE,
recall, identity, jitter.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import rigid
from pose3d_ros.io.npz import read_npz
from pose3d_ros.metrics import id_switches, jitter_mm
from pose3d_ros.multiview.association import (
    GATE_M,
    NOBODY,
    RigDetections,
    agreement,
    assign,
    expected_in_view,
)
from pose3d_ros.multiview.rig import Rig
from pose3d_ros.multiview.tracker import MultiViewTracker
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.skeleton import BODY25, Skeleton

# The 14 joints of the ground truth, and the parts that PCP counts: the last is from the middle of
# the hips.
TRUTH_JOINTS = (
    "r_ankle",
    "r_knee",
    "r_hip",
    "l_hip",
    "l_knee",
    "l_ankle",
    "r_wrist",
    "r_elbow",
    "r_shoulder",
    "l_shoulder",
    "l_elbow",
    "l_wrist",
    "bottom_head",
    "top_head",
)
PARTS = ((0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 8), (9, 10), (10, 11), (12, 13))
HIPS, NECK = (2, 3), 12
ACTORS = (0, 1, 2)  # the average that the literature reports
PERSON_M = 0.5  # a person whose joints are this far from the truth on average is somebody else
FRAME_RATE_HZ = 25.0


@dataclass(frozen=True)
class ShelfRecording:
    """Cameras, 2D poses (N, J, 3) in px and score with their ``frame`` (N,) and ``view`` (N,), and
    the truth: ``joints_m`` (G, 14, 3) of ``actor`` (G,) in ``truth_frame`` (G,).
    """

    cameras: tuple[Camera, ...]
    skeleton: Skeleton
    poses: np.ndarray
    frame: np.ndarray
    view: np.ndarray
    joints_m: np.ndarray
    actor: np.ndarray
    truth_frame: np.ndarray

    @classmethod
    def load(cls, folder: Path, detections: Path | None = None) -> ShelfRecording:
        """Read ``calibration.json``, ``gt.npz`` and ``detections_openpose_body25.npz``, or another
        file of detections.

        Raises ``ValueError`` that names the file that is missing or has other content.
        """
        path = folder / "calibration.json"
        try:
            entries = json.loads(path.read_text())
            width, height = entries["image_size"]
            cameras = []
            for name, entry in sorted(entries["cameras"].items(), key=lambda item: int(item[0])):
                cameras.append(
                    Camera(
                        np.array(entry["K"]),
                        (width, height),
                        camera_from_world=rigid(entry["R"], np.ravel(entry["t"])),
                        frame_id=f"cam{name}",
                    )
                )
            path = detections or folder / "detections_openpose_body25.npz"
            data = read_npz(path, ("poses", "frame", "view"))
            poses, frame, view = (
                data["poses"],
                data["frame"].astype(int),
                data["view"].astype(int),
            )
            path = folder / "gt.npz"
            data = read_npz(path, ("joints3d", "actor", "frame", "eval_frames"))
            joints, actor, truth_frame = (
                data["joints3d"].astype(float),
                data["actor"],
                data["frame"],
            )
            chosen = np.isin(truth_frame, data["eval_frames"])
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: expected a folder with calibration.json, gt.npz and "
                f"detections_openpose_body25.npz; {error!r}"
            ) from None
        if poses.ndim != 3 or poses.shape[1:] != (len(BODY25), 3):
            raise ValueError(f"{path}: expected poses (N, {len(BODY25)}, 3), got {poses.shape}")
        return cls(
            tuple(cameras),
            BODY25,
            poses,
            frame,
            view,
            joints[chosen],
            actor[chosen],
            truth_frame[chosen],
        )

    def people(self, frame: int, view: int, stamp_ns: int) -> People2D:
        """2D poses detected in one image; zeros in the file mean a missing joint."""
        poses = self.poses[(self.frame == frame) & (self.view == view)]
        known = (poses[..., 2:] > 0) & (poses[..., :2] != 0).any(-1, keepdims=True)
        return People2D(
            self.skeleton,
            np.where(known, poses[..., :2], np.nan),
            poses[..., 2] * known[..., 0],
            stamp_ns,
            self.cameras[view].size,
        )


def truth_joints(joints_m: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """The 14 joints (P, 14, 3) of the ground truth; the head's ends are made from shoulders, ears
    and nose.

    One ear stands for both where only one is known, and nose and ears for each other.
    """
    body = joints_m[:, skeleton.indices(*TRUTH_JOINTS[:12])].astype(float)
    left, right, nose, left_ear, right_ear = np.moveaxis(
        joints_m[:, skeleton.indices("l_shoulder", "r_shoulder", "nose", "l_ear", "r_ear")].astype(
            float
        ),
        1,
        0,
    )
    shoulders, ears = (left + right) / 2, (left_ear + right_ear) / 2
    for instead in (left_ear, right_ear, nose):
        ears = np.where(np.isnan(ears), instead, ears)
    nose = np.where(np.isnan(nose), ears, nose)
    low, to_nose = (shoulders + ears) / 2, nose - shoulders
    high = low + 2 * (ears - low)
    top = 0.75 * (shoulders + to_nose * [0.75, 0.75, 1.5]) + 0.25 * high
    bottom = 0.75 * (shoulders + 0.5 * to_nose) + 0.25 * low
    return np.concatenate([body, bottom[:, None], top[:, None]], 1)


def _supported(recording: ShelfRecording, frame: int, joints_m: np.ndarray) -> np.ndarray:
    """Mask (P,) of people (P, J, 3) with a 2D pose of their own in two of the recording's views,
    or in the only one that can see them.
    """
    rig = Rig.of(recording.cameras)
    seen = [recording.people(frame, view, 0) for view in range(len(rig))]
    view = np.repeat(np.arange(len(rig)), [len(people) for people in seen])
    pixels = np.concatenate([people.keypoints_px for people in seen]).astype(float)
    detections = RigDetections(
        np.nan_to_num(rig.undistort(pixels, view)),
        np.concatenate([people.confidence for people in seen]).astype(float),
        view,
    )
    known = np.isfinite(joints_m).all(-1)
    projected, depth = rig.project(np.nan_to_num(joints_m).astype(float))
    score = agreement(rig, detections, projected, depth, known, np.full(known.shape, GATE_M))
    views = (assign(score, view, len(rig)) != NOBODY).sum(1)
    possible = expected_in_view(rig, projected, depth, known).sum(1)
    return np.asarray(views >= np.clip(possible, 1, 2))


def right_parts(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mask (10,) of the parts that are right: the mean error of both ends is at most half the
    part's length.
    """

    def ends(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first, second = (np.array(side) for side in zip(*PARTS, strict=True))
        return (
            np.concatenate([joints[first], joints[list(HIPS)].mean(0, keepdims=True)]),
            np.concatenate([joints[second], joints[NECK : NECK + 1]]),
        )

    (a, b), (p, q) = ends(truth), ends(predicted)
    error = (np.linalg.norm(p - a, axis=-1) + np.linalg.norm(q - b, axis=-1)) / 2
    return np.asarray(error <= 0.5 * np.linalg.norm(b - a, axis=-1))  # NaN is not right


def track(
    recording: ShelfRecording,
    frames: Sequence[int],
    views: Sequence[int],
    dropped: dict[int, int] | None = None,
) -> tuple[list[People3D], np.ndarray]:
    """People of every frame and the seconds that each took; ``dropped`` says which view is silent
    in a frame.
    """
    tracker = MultiViewTracker([recording.cameras[v] for v in views], recording.skeleton)
    results, seconds = [], np.zeros(len(frames))
    for i, frame in enumerate(frames):
        stamp_ns = round(frame / FRAME_RATE_HZ * 1e9)
        silent = (dropped or {}).get(frame)
        seen = [None if v == silent else recording.people(frame, v, stamp_ns) for v in views]
        start = time.perf_counter()
        results.append(tracker.update(seen, stamp_ns))
        seconds[i] = time.perf_counter() - start
    return results, seconds


def evaluate(
    recording: ShelfRecording, frames: Sequence[int], views: Sequence[int]
) -> dict[str, Any]:
    """Report of a run over ``frames`` with some ``views``: scores and milliseconds per frame."""
    absent = sorted(set(views) - set(range(len(recording.cameras))))
    if absent:
        raise ValueError(f"expected views among 0 to {len(recording.cameras) - 1}, got {absent}")
    results, seconds = track(recording, frames, views)
    return {
        "views": ",".join(map(str, views)),
        **scores(recording, frames, results),
        "ms_per_frame": float(np.median(seconds) * 1e3),
        "ms_p99": float(np.quantile(seconds, 0.99) * 1e3),
    }


def scores(
    recording: ShelfRecording, frames: Sequence[int], results: Sequence[People3D]
) -> dict[str, Any]:
    """Scores of confirmed and occluded people in the frames that have a ground truth.

    PCP takes for every actor the nearest person. Everything else matches people one to one within
    ``PERSON_M``. Not everybody in the pictures is in the truth: an unmatched person is false when
    fewer than two of all the recording's views, used or not, have a 2D pose for them alone (fewer
    than one, when only one can see them).
    """
    right: dict[int, list[np.ndarray]] = {int(a): [] for a in np.unique(recording.actor)}
    errors: list[float] = []
    sigmas: list[float] = []  # errors by their sigma, of joints that both have
    matches: list[tuple[int, int]] = []
    unmatched, false, found, expected, judged = 0, 0, 0, 0, 0
    for frame, result in zip(frames, results, strict=True):
        rows = np.flatnonzero(recording.truth_frame == frame)
        if not len(rows):
            continue
        judged += 1
        shown = result.states != TrackState.TENTATIVE
        people, ids = truth_joints(result.joints_m[shown], result.skeleton), result.ids[shown]
        shared = TRUTH_JOINTS[:12]
        sigma = result.sigma_m[shown][:, result.skeleton.indices(*shared)]
        truth = recording.joints_m[rows]
        each = np.linalg.norm(people[None] - truth[:, None], axis=-1)
        known = np.isfinite(each)
        average = np.where(
            known.any(-1), np.where(known, each, 0).sum(-1) / np.maximum(known.sum(-1), 1), np.inf
        )
        for row, actor in enumerate(recording.actor[rows]):
            best = (
                people[average[row].argmin()] if len(people) else np.full(truth[row].shape, np.nan)
            )
            right[int(actor)].append(right_parts(best, truth[row]))
        expected += len(rows)
        own = np.zeros(len(people), bool)
        for row, column in zip(*linear_sum_assignment(np.minimum(average, 1e3)), strict=True):
            if average[row, column] < PERSON_M:
                own[column] = True
                errors.extend(each[row, column][known[row, column]])
                off = each[row, column, : len(shared)] / sigma[column]
                sigmas.extend(off[np.isfinite(off)])
                matches.append((int(recording.actor[rows[row]]), int(ids[column])))
        found += int(own.sum())
        unmatched += int((~own).sum())
        false += int((~own & ~_supported(recording, frame, result.joints_m[shown])).sum())
    pcp = {actor: float(np.mean(parts) * 100) for actor, parts in right.items() if parts}
    means = [pcp[actor] for actor in ACTORS if actor in pcp]
    return {
        "frames": len(frames),
        "judged_frames": judged,
        **{f"pcp_{actor}": value for actor, value in pcp.items()},
        "pcp": float(np.mean(means)) if means else None,
        "mpjpe_mm": float(np.mean(errors) * 1e3) if errors else None,
        **{f"within_{n}_sigma": float(np.mean(np.array(sigmas) < n)) for n in (1, 2, 3) if sigmas},
        "recall": found / max(expected, 1),
        "id_switches": id_switches(matches),
        "unmatched_people_per_frame": unmatched / max(judged, 1),
        "false_people_per_frame": false / max(judged, 1),
        "jitter_mm": jitter_mm(results),
        "ids": len({int(i) for r in results for i in r.ids[r.states != TrackState.TENTATIVE]}),
    }
