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

"""Several cameras on scenes with known truth: growth with cameras and people, a detector's faults,
exactness, honesty of sigma, and triangulation beside OpenCV's and aniposelib's (where installed)
in one run. Needs no data.

    python benchmarks/multiview_synthetic.py [--json FILE] [--seeds N]
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.stats import chi2

from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import look_at
from pose3d_ros.metrics import id_switches, jitter_mm
from pose3d_ros.multiview import MultiViewTracker, PoseBuffer, triangulate
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.skeleton import H36M17

STEP_S = 0.01
PERSON_M = 0.35  # a track further from a true person than this on average is not that person
WARM_S = 1.0  # before this nobody is judged
RATE_HZ = 25
# x to the person's left, y forward, z up, metres from the floor; the right side is the mirror
# image.
MIDDLE_M = {
    "pelvis": (0, 0.92),
    "spine": (0, 1.16),
    "thorax": (0, 1.40),
    "neck": (0.04, 1.54),
    "head": (0.02, 1.66),
}
LEFT_M = {
    "hip": (0.13, 0, 0.92),
    "knee": (0.14, 0.03, 0.50),
    "ankle": (0.14, -0.02, 0.10),
    "shoulder": (0.18, 0, 1.40),
    "elbow": (0.24, -0.02, 1.14),
    "wrist": (0.26, 0.06, 0.90),
}
SWING_M = {"knee": 0.1, "ankle": 0.2, "elbow": -0.08, "wrist": -0.15}
LEGS = np.array([joint[2:] in ("hip", "knee", "ankle") for joint in H36M17.joints])


def body(stride: float) -> np.ndarray:
    """(17, 3) a person at the origin who looks along y, in the middle of a step."""
    joints = []
    for name in H36M17.joints:
        if name in MIDDLE_M:
            joints.append((0.0, *MIDDLE_M[name]))
        else:
            sign, (x, y, z) = (1 if name[0] == "l" else -1), LEFT_M[name[2:]]
            joints.append((-sign * x, y + sign * SWING_M.get(name[2:], 0) * np.sin(stride), z))
    return np.array(joints)


class Crowd:
    """People who walk from place to place and make room for each other (social forces, Helbing and
    Molnár, 1995).
    """

    def __init__(
        self, people: int, area_m: float, seed: int, speed: float = 1.0, seconds: float = 15.0
    ) -> None:
        rng = np.random.default_rng(seed)
        place = np.zeros((people, 2))
        for i in range(people):
            places = rng.uniform(-area_m / 2, area_m / 2, (200, 2))
            clear = np.linalg.norm(places[:, None] - place[:i], axis=-1).min(1, initial=9.0)
            place[i] = places[clear.argmax() if clear.max() < 0.6 else (clear >= 0.6).argmax()]
        goal, velocity = rng.uniform(-area_m / 2, area_m / 2, (people, 2)), np.zeros((people, 2))
        pace, heading = speed * rng.uniform(0.4, 1.3, people), rng.uniform(0, 2 * np.pi, people)
        stride, self.size, path = (
            rng.uniform(0, 2 * np.pi, people),
            rng.uniform(0.92, 1.08, people),
            [],
        )
        for _ in range(int(seconds / STEP_S) + 2):
            way = goal - place
            far = np.linalg.norm(way, axis=1)
            goal[far < 0.3] = rng.uniform(-area_m / 2, area_m / 2, ((far < 0.3).sum(), 2))
            gap = place[:, None] - place
            apart = np.linalg.norm(gap, axis=-1) + 99 * np.eye(people)
            aside = gap + 0.5 * np.stack([-gap[..., 1], gap[..., 0]], -1)
            push = (2 * np.exp(np.minimum((0.65 - apart) / 0.12, 4)) / np.maximum(apart, 0.05))[
                ..., None
            ] * aside
            force = (
                pace[:, None] * way / np.maximum(far, 0.1)[:, None] - velocity
            ) / 0.5 + push.sum(1)
            limit = 6 * max(speed, 1.0) / np.maximum(np.linalg.norm(force, axis=1), 1e-6)
            velocity = velocity + STEP_S * force * np.minimum(limit, 1)[:, None]
            place = place + STEP_S * velocity
            moving = np.minimum(np.linalg.norm(velocity, axis=1), 1.5)
            turn = np.arctan2(velocity[:, 1], velocity[:, 0]) - np.pi / 2 - heading
            turn = (turn + np.pi) % (2 * np.pi) - np.pi
            heading = heading + STEP_S * np.clip(2 * turn * np.minimum(moving, 1), -3, 3)
            stride = stride + STEP_S * (1 + 4 * moving)
            path.append(np.column_stack([place, heading, stride]))
        self._path = np.array(path)

    def __call__(self, seconds: float) -> np.ndarray:
        """(P, 17, 3) everybody at a time."""
        step = int(seconds / STEP_S)
        share = seconds / STEP_S - step
        people = []
        for (x, y, heading, stride), size in zip(
            (1 - share) * self._path[step] + share * self._path[step + 1], self.size, strict=True
        ):
            cos, sin = np.cos(heading), np.sin(heading)
            people.append(
                size * body(stride) @ [[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]] + [x, y, 0]
            )
        return np.array(people)


def rig(count: int, radius_m: float = 5.0, height_m: float = 2.5) -> list[Camera]:
    """Cameras on a circle that look at the middle of the scene."""
    cameras = []
    for angle in 2 * np.pi * np.arange(count) / max(count, 3):
        position = [radius_m * np.cos(angle), radius_m * np.sin(angle), height_m]
        cameras.append(
            Camera(
                np.array([[900, 0, 640], [0, 900, 480], [0, 0, 1.0]]),
                (1280, 960),
                camera_from_world=look_at(position, [0, 0, 1]),
            )
        )
    return cameras


@dataclass(frozen=True)
class Faults:
    """What a detector does wrong: noise in pixels and, on the body, in metres; the share of joints
    it misses; false people per image; shares of people whose sides it exchanges, and of whom it
    makes two; of those who stand before others, whether they hide them, and how often it makes one
    of two.
    """

    noise_px: float = 3.0
    body_m: float = 0.015
    missed: float = 0.02
    ghosts: float = 0.0
    exchanged: float = 0.0
    split: float = 0.0
    hide: bool = False
    merged: float = 0.0


def detect(
    camera: Camera, truth: np.ndarray, stamp_ns: int, rng: np.random.Generator, faults: Faults
) -> People2D:
    """What the detector finds in one image."""
    pixels = camera.project(truth + rng.normal(0, faults.body_m, truth.shape))
    pixels += rng.normal(0, faults.noise_px, pixels.shape)
    confidence = rng.uniform(0.5, 1, pixels.shape[:2])
    lost = (rng.random(confidence.shape) < faults.missed) | ~(
        (pixels > 0) & (pixels < camera.size)
    ).all(-1)
    if faults.hide:
        _hide(camera, truth, pixels, confidence, lost, rng, faults)
    found: list[tuple[np.ndarray, np.ndarray]] = []
    for points, weight, gone in zip(pixels, confidence, lost, strict=True):
        if (~gone).sum() < 4:
            continue
        points, weight = np.where(gone[:, None], np.nan, points), np.where(gone, 0, weight)
        if rng.random() < faults.exchanged:
            points, weight = points[H36M17.flip], weight[H36M17.flip]
        if rng.random() < faults.split:
            found += [
                (np.where(half[:, None], points, np.nan), np.where(half, weight, 0))
                for half in (LEGS, ~LEGS)
            ]
        else:
            found.append((points, weight))
    found = _merged(found, rng, faults.merged)
    if rng.random() < faults.ghosts:
        heading = rng.uniform(0, 2 * np.pi)
        turn = [
            [np.cos(heading), np.sin(heading), 0],
            [-np.sin(heading), np.cos(heading), 0],
            [0, 0, 1],
        ]
        ghost = camera.project(body(0.0) @ turn + [*rng.uniform(-3, 3, 2), 0])
        found.append(
            (ghost, np.where(np.isfinite(ghost).all(-1), rng.uniform(0.3, 0.7, len(ghost)), 0))
        )
    if not found:
        return People2D.empty(H36M17, stamp_ns, camera.size)
    order = rng.permutation(len(found))
    return People2D(
        H36M17,
        np.stack([found[i][0] for i in order]),
        np.stack([found[i][1] for i in order]),
        stamp_ns,
        camera.size,
    )


def _hide(
    camera: Camera,
    truth: np.ndarray,
    pixels: np.ndarray,
    confidence: np.ndarray,
    lost: np.ndarray,
    rng: np.random.Generator,
    faults: Faults,
) -> None:
    """Joints behind somebody are lost, or found on the one before them."""
    depth = (truth @ camera.camera_from_world[2, :3] + camera.camera_from_world[2, 3]).mean(1)
    for behind in range(len(truth)):
        for before in np.flatnonzero(depth < depth[behind]):
            if lost[before].all():
                continue
            low, high = pixels[before][~lost[before]].min(0), pixels[before][~lost[before]].max(0)
            inside = (
                np.abs(pixels[behind] - (low + high) / 2) < (high - low) / 2 * [0.55, 1]
            ).all(-1)
            hidden = inside & (rng.random(len(inside)) < 0.7)
            stolen = hidden & (rng.random(len(inside)) < 0.5)
            pixels[behind, stolen] = pixels[before, stolen] + rng.normal(
                0, faults.noise_px, (stolen.sum(), 2)
            )
            confidence[behind, stolen] *= 0.5
            lost[behind] |= hidden & ~stolen


def _merged(
    found: list[tuple[np.ndarray, np.ndarray]], rng: np.random.Generator, share: float
) -> list[tuple[np.ndarray, np.ndarray]]:
    """The detections, of which two that nearly coincide become one with joints of both."""
    kept: list[tuple[np.ndarray, np.ndarray]] = []
    for points, weight in found:
        for i, (others, their_weight) in enumerate(kept):
            apart = np.linalg.norm(points - others, axis=-1)
            close = np.isfinite(apart).any() and np.nanmean(apart) < 0.25 * np.ptp(
                others[np.isfinite(others[:, 1]), 1]
            )
            if close and rng.random() < share:
                take = (weight > 0) & (rng.random(len(weight)) < 0.5)
                kept[i] = (
                    np.where(take[:, None], points, others),
                    np.where(take, weight, their_weight),
                )
                break
        else:
            kept.append((points, weight))
    return kept


def play(
    crowd: Crowd,
    cameras: list[Camera],
    seconds: float,
    faults: Faults,
    seed: int,
    late: float | None = None,
) -> tuple[list[People3D], list[float]]:
    """Results and milliseconds of each; ``late``: so many frames of cameras out of phase arrive
    50-200 ms late.
    """
    rng = np.random.default_rng(seed)
    tracker, results, milliseconds = MultiViewTracker(cameras, H36M17), [], []

    def update(seen: list[People2D | None], stamp_ns: int) -> None:
        begin = time.perf_counter()
        results.append(tracker.update(seen, stamp_ns))
        milliseconds.append((time.perf_counter() - begin) * 1e3)

    if late is None:
        for frame in range(int(seconds * RATE_HZ)):
            truth, stamp_ns = crowd(frame / RATE_HZ), round(frame / RATE_HZ * 1e9)
            update([detect(camera, truth, stamp_ns, rng, faults) for camera in cameras], stamp_ns)
        return results, milliseconds
    buffer, arrivals = PoseBuffer(len(cameras)), []
    for c, phase in enumerate(rng.uniform(0, 1 / RATE_HZ, len(cameras))):
        for frame in range(int(seconds * RATE_HZ)):
            taken = abs(phase + frame / RATE_HZ + rng.normal(0, 0.002))
            delay = rng.uniform(0.015, 0.035) + (
                rng.uniform(0.05, 0.2) if rng.random() < late else 0
            )
            arrivals.append((taken + delay, c, taken))
    for now, c, taken in sorted(arrivals):
        stamp_ns = round(taken * 1e9)
        buffer.add(c, detect(cameras[c], crowd(taken), stamp_ns, rng, faults), round(now * 1e9))
        while (got := buffer.take(round(now * 1e9))) is not None:
            update(*got)
    return results, milliseconds


def judge(crowd: Crowd, results: list[People3D], milliseconds: list[float]) -> dict[str, Any]:
    """Scores after the first second; people are matched one to one within ``PERSON_M``."""
    matches: list[tuple[int, int]] = []
    errors, sigmas, expected, found, false, judged = [], [], 0, 0, 0, 0
    for result in results:
        if result.stamp_ns < WARM_S * 1e9:
            continue
        truth, shown = crowd(result.stamp_ns * 1e-9), result.states != TrackState.TENTATIVE
        joints, ids = result.joints_m[shown], result.ids[shown]
        judged, expected = judged + 1, expected + len(truth)
        each = np.linalg.norm(joints - truth[:, None], axis=-1)
        average = (
            np.nan_to_num(np.nanmean(each, -1), nan=9.0)
            if len(joints)
            else np.zeros((len(truth), 0))
        )
        own = 0
        for person, track in zip(*linear_sum_assignment(np.minimum(average, 1)), strict=True):
            if average[person, track] < PERSON_M:
                own += 1
                matches.append((int(person), int(ids[track])))
                errors.append(each[person, track])
                sigmas.append(result.sigma_m[shown][track])
        found, false = found + own, false + len(joints) - own
    error_mm = np.concatenate(errors) * 1e3 if errors else np.full(1, np.nan)
    pulls = error_mm / (np.concatenate(sigmas) * 1e3 if sigmas else 1.0)
    return {
        "error_mm": float(np.nanmean(error_mm)),
        "error_p95_mm": float(np.nanquantile(error_mm, 0.95)),
        **{f"within_{n}_sigma": float((pulls[pulls > 0] < n).mean()) for n in (1, 2, 3)},
        "recall": found / expected,
        "false_per_frame": false / judged,
        "id_switches": id_switches(matches),
        "jitter_mm": jitter_mm(results),
        "ms_median": float(np.median(milliseconds[1:])),
        "ms_p99": float(np.quantile(milliseconds[1:], 0.99)),
        "ms_first": milliseconds[0],
    }


def growth(cameras: int, people: int) -> dict[str, Any]:
    """Cameras around a space that grows with the people in it; they hide each other."""
    side = max(3.0, 1.6 * people**0.5)
    crowd = Crowd(people, side, 0, seconds=5)
    played = play(crowd, rig(cameras, 2.5 + side, 3.0), 4, Faults(hide=True, merged=0.5), 0)
    return {"cameras": cameras, "people": people, **judge(crowd, *played)}


BAD = Faults(
    noise_px=5,
    body_m=0.03,
    missed=0.2,
    ghosts=0.5,
    exchanged=0.1,
    split=0.15,
    hide=True,
    merged=1.0,
)
USUAL = Faults(missed=0.05, ghosts=0.1, exchanged=0.03, split=0.03, hide=True, merged=0.5)
SCENES: dict[str, dict[str, Any]] = {
    "noise only": {"faults": Faults()},
    "not synchronised": {"faults": Faults(), "late": 0.05},
    "running": {"faults": Faults(), "late": 0.05, "speed": 2.5},
    "false people": {"faults": Faults(ghosts=0.5)},
    "two of one": {"faults": Faults(split=0.5)},
    "sides": {"faults": Faults(exchanged=0.3)},
    "hidden, one of two": {"faults": Faults(hide=True, merged=1.0)},
    "usual": {"faults": USUAL},
    "usual, late": {"faults": USUAL, "late": 0.05},
    "usual, 8 people": {"faults": USUAL, "people": 8},
    "usual, 3 cameras": {"faults": USUAL, "cameras": 3},
    "usual, 2 cameras": {"faults": USUAL, "cameras": 2, "people": 3},
    "eye height": {"faults": USUAL, "height_m": 1.3},
    "bad": {"faults": BAD},
    "bad, late": {"faults": BAD, "late": 0.1, "speed": 1.5},
    "bad, 10 people": {"faults": BAD, "cameras": 6, "people": 10},
}


def scene(
    name: str,
    seeds: int,
    faults: Faults,
    cameras: int = 4,
    people: int = 5,
    speed: float = 1.0,
    late: float | None = None,
    height_m: float = 2.5,
) -> dict[str, Any]:
    """Means over seeds of a scene in a space of 4 m x 4 m."""
    runs = []
    for seed in range(100, 100 + seeds):
        crowd = Crowd(people, 4.0, seed, speed, 13)
        runs.append(
            judge(crowd, *play(crowd, rig(cameras, height_m=height_m), 12, faults, seed, late))
        )
    return {
        "scene": name,
        "cameras": cameras,
        "people": people,
        **{key: float(np.mean([run[key] for run in runs])) for key in runs[0]},
    }


def exactness() -> dict[str, Any]:
    """Noiseless points, and with 2 px of noise the squared errors over the predicted covariance's
    mean variance.
    """
    rng = np.random.default_rng(0)
    report: dict[str, Any] = {}
    for count in (2, 3, 5, 12):
        cameras, points = rig(count), rng.uniform((-1, -1, 0), (1, 1, 2), (4000, 3))
        pixels = np.stack([camera.project(points) for camera in cameras])
        exact = triangulate(pixels, cameras, np.ones(pixels.shape[:-1]))[0]
        found, sigma, _ = triangulate(
            pixels + rng.normal(0, 2, pixels.shape),
            cameras,
            np.ones(pixels.shape[:-1]),
            noise_px=2,
        )
        known = np.isfinite(sigma)
        squared = float((((found - points)[known] ** 2).sum(-1) / sigma[known] ** 2).sum())
        low, high = np.divide(chi2.interval(0.9999, 3 * known.sum()), 3 * known.sum())
        report |= {
            f"largest_error_m, {count} cameras": float(np.abs(exact - points).max()),
            f"chi2_per_dof, {count} cameras": squared / (3 * float(known.sum())),
            f"its bounds, {count} cameras": f"{low:.3f}-{high:.3f}",
        }
    return report


def beside_others(count: int = 10_000) -> list[dict[str, Any]]:
    """Microseconds per point and error of the same points with 2 px noise, and with one view in
    five 100 px off.
    """
    others: dict[str, Callable[[np.ndarray, list[Camera]], np.ndarray]] = {
        "ours": lambda pixels, cameras: triangulate(
            pixels, cameras, np.ones(pixels.shape[:-1]), noise_px=2
        )[0],
        "OpenCV (two views only)": _opencv,
    }
    try:
        import aniposelib.cameras  # noqa: F401

        others |= {
            "aniposelib, linear": lambda pixels, cameras: _anipose(pixels, cameras, "triangulate"),
            "aniposelib, all pairs": lambda pixels, cameras: _anipose(
                pixels, cameras, "triangulate_possible"
            ),
        }
    except ImportError:
        print("aniposelib: not installed (pip install aniposelib), left out\n")
    rng = np.random.default_rng(0)
    points = rng.uniform((-1, -1, 0), (1, 1, 2), (count, 3))
    reports = []
    for views in (2, 5):
        cameras = rig(views)
        pixels = np.stack([camera.project(points) for camera in cameras]) + rng.normal(
            0, 2, (views, count, 2)
        )
        wrong = pixels.copy()
        wrong[rng.integers(0, views, count // 5), rng.permutation(count)[: count // 5]] += 100
        for name, run in others.items():
            if views > 2 and run is _opencv or views == 2 and name.endswith("pairs"):
                continue
            some = count // 10 if name.endswith("pairs") else count  # it takes its time
            run(pixels[:, :100], cameras)  # compiles what is compiled at first use
            begin = time.perf_counter()
            found = run(pixels[:, :some], cameras)
            spent = time.perf_counter() - begin
            robust = _mean_mm(run(wrong[:, :some], cameras), points[:some]) if views > 2 else None
            reports.append(
                {
                    "views": views,
                    "triangulation": name,
                    "us_per_point": spent / some * 1e6,
                    "error_mm": _mean_mm(found, points[:some]),
                    "error_with_wrong_views_mm": robust,
                }
            )
    return reports


def _mean_mm(found: np.ndarray, points: np.ndarray) -> float:
    return float(np.nanmean(np.linalg.norm(found - points, axis=-1)) * 1e3)


def _opencv(pixels: np.ndarray, cameras: list[Camera]) -> np.ndarray:
    matrices = [camera.matrix @ camera.camera_from_world[:3] for camera in cameras]
    homogeneous = cv2.triangulatePoints(*matrices, *(view.T.copy() for view in pixels))
    return (homogeneous[:3] / homogeneous[3]).T


def _anipose(pixels: np.ndarray, cameras: list[Camera], method: str) -> np.ndarray:
    from aniposelib.cameras import Camera as Anipose
    from aniposelib.cameras import CameraGroup

    group = CameraGroup(
        [
            Anipose(
                matrix=camera.matrix,
                dist=np.zeros(5),
                size=camera.size,
                name=str(c),
                rvec=cv2.Rodrigues(camera.camera_from_world[:3, :3])[0].ravel(),
                tvec=camera.camera_from_world[:3, 3],
            )
            for c, camera in enumerate(cameras)
        ]
    )
    if method == "triangulate":
        return np.asarray(group.triangulate(pixels, progress=False))
    return np.asarray(
        group.triangulate_possible(pixels[:, :, None], min_cams=2, progress=False, threshold=10)[0]
    )


def main() -> None:
    """Print every table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the reports here as well")
    parser.add_argument(
        "--seeds", type=int, default=3, metavar="N", help="runs of each scene (default 3)"
    )
    options = parser.parse_args()
    reports: dict[str, list[dict[str, Any]]] = {}
    for title, make in (
        ("exactness and sigma", lambda: [exactness()]),
        ("triangulation", beside_others),
        ("scenes", lambda: [scene(name, options.seeds, **what) for name, what in SCENES.items()]),
        (
            "growth",
            lambda: [
                growth(cameras, people)
                for cameras in (2, 4, 8, 12)
                for people in (1, 3, 5, 10, 20)
            ],
        ),
    ):
        reports[title] = make()
        print(f"{title}\n{table(reports[title])}\n", flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
