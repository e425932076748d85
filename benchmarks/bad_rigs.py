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

"""Several cameras on rigs as they are found: calibration that is off, noisy 2D poses, upper bodies
only, cameras in a row, single moments, clocks that run freely. Needs no data.

Each case is played as a video, where confirmed people count, and as single moments, which
``fuse`` takes on their own, where everybody counts. Scores are means over seeds: people found,
false people per moment, people confirmed, the error of joints, and the shares of joints within 1,
2 and 3 sigma of the truth, which are .20, .74 and .97 where sigma is right (three independent
axes).

    python benchmarks/bad_rigs.py [--seeds N] [--only TEXT] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from multiview_synthetic import PERSON_M, RATE_HZ, Crowd, Faults, detect
from scipy.optimize import linear_sum_assignment

from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import look_at, rigid, rotation_from_vector
from pose3d_ros.multiview import MultiViewTracker, PoseBuffer, fuse
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.skeleton import H36M17

LEGS = H36M17.indices("r_knee", "r_ankle", "l_knee", "l_ankle")
SECONDS, WARM_S = 6.0, 1.0
MOMENTS = 12  # single ones, so many seconds apart that nobody is where they were
DETECTOR = Faults(missed=0.05, ghosts=0.1, exchanged=0.03, split=0.03, hide=True, merged=0.5)


@dataclass(frozen=True)
class Case:
    """A rig, what is wrong with it, and who walks there.

    ``turned_deg`` and ``shifted_m``: of each camera about a random axis and in a random direction;
    ``upper``: knees and ankles are not seen; ``row``: cameras on one line, 1.5 m apart;
    ``clocks_s``: largest constant error of a camera's stamps, and cameras are not triggered.
    """

    cameras: int = 3
    people: int = 4
    turned_deg: float = 0.0
    shifted_m: float = 0.0
    upper: bool = False
    row: bool = False
    clocks_s: float | None = None
    detector: Faults = field(default_factory=lambda: DETECTOR)

    def rig(self) -> list[Camera]:
        """The cameras as they are."""
        matrix = np.array([[900, 0, 640], [0, 900, 480], [0, 0, 1.0]])
        if self.row:
            places = [(1.5 * (i - (self.cameras - 1) / 2), -4.5) for i in range(self.cameras)]
        else:
            angles = 2 * np.pi * np.arange(self.cameras) / max(self.cameras, 3)
            places = [(4.5 * np.cos(a), 4.5 * np.sin(a)) for a in angles]
        return [
            Camera(matrix, (1280, 960), camera_from_world=look_at([x, y, 2.4], [0, 0, 1.0]))
            for x, y in places
        ]

    def calibrated(self, cameras: list[Camera], rng: np.random.Generator) -> list[Camera]:
        """The cameras as the calibration has them."""
        result = []
        for camera in cameras:
            axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
            off = rigid(
                rotation_from_vector(np.radians(self.turned_deg) * axis), self.shifted_m * way
            )
            result.append(replace(camera, camera_from_world=off @ camera.camera_from_world))
        return result

    def seen(
        self, camera: Camera, truth: np.ndarray, stamp_ns: int, rng: np.random.Generator
    ) -> People2D:
        """What the detector finds."""
        people = detect(camera, truth, stamp_ns, rng, self.detector)
        if not self.upper or not len(people):
            return people
        pixels, confidence = people.keypoints_px.copy(), people.confidence.copy()
        pixels[:, LEGS], confidence[:, LEGS] = np.nan, 0
        kept = (confidence > 0).any(1)
        return replace(people, keypoints_px=pixels, confidence=confidence)[kept]


def noisy(noise_px: float) -> Faults:
    """The detector with other noise in the image."""
    return replace(DETECTOR, noise_px=noise_px)


CASES = {
    "good, 3 cameras": Case(),
    "good, 4 cameras": Case(cameras=4),
    "good, 2 cameras": Case(cameras=2),
    "2 cameras, 5 people": Case(cameras=2, people=5),
    "0.5 degree": Case(turned_deg=0.5),
    "1 degree": Case(turned_deg=1.0),
    "1 degree, 5 cameras": Case(cameras=5, turned_deg=1.0),
    "3 cm": Case(shifted_m=0.03),
    "10 px": Case(detector=noisy(10)),
    "20 px": Case(detector=noisy(20)),
    "upper bodies": Case(upper=True),
    "upper, 3 cm, 10 px": Case(upper=True, shifted_m=0.03, detector=noisy(10)),
    "upper, 3 cm, 1 degree, 10 px": Case(
        upper=True, shifted_m=0.03, turned_deg=1.0, detector=noisy(10)
    ),
    "3 in a row": Case(row=True),
    "3 in a row, 0.5 degree": Case(row=True, turned_deg=0.5),
    "free clocks": Case(clocks_s=0.05),
}


def moments(case: Case, crowd: Crowd, rng: np.random.Generator) -> list[People3D]:
    """Single moments."""
    cameras = case.rig()
    known, results = case.calibrated(cameras, rng), []
    for time_s in np.linspace(WARM_S, SECONDS - WARM_S, MOMENTS):
        stamp_ns, truth = round(time_s * 1e9), crowd(time_s)
        results.append(fuse([case.seen(c, truth, stamp_ns, rng) for c in cameras], known))
    return results


def video(case: Case, crowd: Crowd, rng: np.random.Generator) -> list[People3D]:
    """All of the video, through the buffer where clocks run freely."""
    cameras = case.rig()
    known = case.calibrated(cameras, rng)
    tracker, results = MultiViewTracker(known, H36M17), []
    if case.clocks_s is None:
        for frame in range(int(SECONDS * RATE_HZ)):
            stamp_ns, truth = round(frame / RATE_HZ * 1e9), crowd(frame / RATE_HZ)
            seen = [case.seen(camera, truth, stamp_ns, rng) for camera in cameras]
            results.append(tracker.update(seen, stamp_ns))
        return results
    buffer, arrivals = PoseBuffer(len(cameras)), []
    wrong_s = rng.uniform(-case.clocks_s, case.clocks_s, len(cameras))
    for c, phase in enumerate(rng.uniform(0, 1 / RATE_HZ, len(cameras))):
        taken = phase + np.arange(int(SECONDS * RATE_HZ)) / RATE_HZ
        arrivals += [(time_s + rng.uniform(0.02, 0.06), c, time_s) for time_s in taken]
    for now_s, c, taken_s in sorted(arrivals):
        stamp_ns, now_ns = round((taken_s + wrong_s[c]) * 1e9), round(now_s * 1e9)
        buffer.add(c, case.seen(cameras[c], crowd(taken_s), stamp_ns, rng), now_ns)
        while (got := buffer.take(now_ns)) is not None:
            results.append(tracker.update(*got))
    return results


def judge(crowd: Crowd, results: list[People3D], single: bool) -> dict[str, float]:
    """Scores of the people who are not tentative, in ``single`` moments of all, matched one to one
    within ``PERSON_M``.
    """
    errors, sigmas, expected, found, false, judged, confirmed = [], [], 0, 0, 0, 0, 0
    for result in results:
        if result.stamp_ns < WARM_S * 1e9:
            continue
        truth = crowd(result.stamp_ns * 1e-9)
        shown = single | (result.states != TrackState.TENTATIVE)
        each = np.linalg.norm(result.joints_m[shown] - truth[:, None], axis=-1)
        known = np.isfinite(each)
        average = np.where(known, each, 0).sum(-1) / np.maximum(known.sum(-1), 1)
        average = np.where(known.any(-1), average, 9.0)
        own = 0
        for person, row in zip(*linear_sum_assignment(np.minimum(average, 1)), strict=True):
            if average[person, row] < PERSON_M:
                own += 1
                confirmed += int(result.states[shown][row] != TrackState.TENTATIVE)
                errors.append(each[person, row][known[person, row]])
                sigmas.append(result.sigma_m[shown][row][known[person, row]])
        judged, expected = judged + 1, expected + len(truth)
        found, false = found + own, false + int(shown.sum()) - own
    error = np.concatenate(errors) if errors else np.full(1, np.nan)
    sigma = np.concatenate(sigmas) if sigmas else np.full(1, np.nan)
    return {
        "recall": found / expected,
        "false": false / judged,
        "confirmed": confirmed / expected,
        "error_mm": float(error.mean() * 1e3),
        "error_p95_mm": float(np.quantile(error, 0.95) * 1e3),
        "sigma_mm": float(np.median(sigma) * 1e3),
        **{f"within_{k}": float((error < k * sigma).mean()) for k in (1, 2, 3)},
    }


def main() -> None:
    """Print a table of each way to play."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seeds", type=int, default=4, metavar="N", help="runs of each case (default 4)"
    )
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose name has this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports here as well")
    options = parser.parse_args()
    reports: dict[str, list[dict[str, Any]]] = {}
    for title, play in (("single moments", moments), ("video", video)):
        reports[title] = []
        for name, case in CASES.items():
            if options.only not in name:
                continue
            runs = []
            for seed in range(options.seeds):
                crowd = Crowd(case.people, 3.5, seed, seconds=SECONDS + 1)
                results = play(case, crowd, np.random.default_rng(seed))
                runs.append(judge(crowd, results, play is moments))
            means = {key: float(np.mean([run[key] for run in runs])) for key in runs[0]}
            reports[title].append({"case": name, **means})
        rows = [
            {"case": key, **{report["case"]: report[key] for report in reports[title]}}
            for key in reports[title][0]
            if key != "case"
        ]
        print(f"{title}\n{table(rows)}\n", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
