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

"""How far from the truth people are predicted, and whether the grown sigma is honest.

People as the pipeline tells them are predicted by a horizon and compared with the truth of that
time: mean error of the joints, beside that of people who are held where they were
(``held_mm``), and the shares of joints within 1, 2 and 3 sigma of their covariance (Mahalanobis'
distance; of honest ones .20, .74 and .97). A horizon of 0 is what the pipeline tells of now.
``demo``: the shipped clip, of two cameras by themselves (camera) and together (rig); with
``--pose2sim`` its four videos; with ``--mocap`` its validation motions as a good camera 4 m away
would measure them, through the filter alone (the constants of ``tracking/prediction.py`` were
fitted to these).

    python benchmarks/prediction.py [--pose2sim FOLDER] [--mocap FOLDER]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pose2sim_single import LIMBS, load_camera, load_truth

from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import transform_points
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.offline import people_of, people_of_rig
from pose3d_ros.people import People3D, TrackState, sigma_of
from pose3d_ros.resources import share
from pose3d_ros.skeleton import CMU22, H36M17, convert
from pose3d_ros.tracking import PoseFilter, ahead
from pose3d_ros.tracking.filter import Measurements
from pose3d_ros.training.rendering.motions import Motions

HORIZONS_S = (0.0, 0.1, 0.2, 0.5)
NEAR = 0.3  # of the distance, between a person and the truth
SETTLED_S = 1.0  # the filter knows velocities from then on


def report(
    name: str, seen: Sequence[People3D], truth_m: np.ndarray, rate_hz: float, joints: list[int]
) -> Iterator[dict[str, Any]]:
    """A row for each horizon. ``truth_m`` (T, P, J, 3) of ``joints`` in the people's frame; people
    without a truth within ``NEAR`` are not counted.
    """
    for horizon_s in HORIZONS_S:
        step = round(horizon_s * rate_hz)
        errors, held, sigmas = [], [], []
        for frame in range(round(SETTLED_S * rate_hz), min(len(seen), len(truth_m)) - step):
            people, now, then = seen[frame], truth_m[frame], truth_m[frame + step]
            here = people.joints_m[:, joints]
            later = ahead(people, horizon_s)
            apart = np.linalg.norm(here[:, None] - now, axis=-1).mean(-1)  # (people, true ones)
            apart /= np.linalg.norm(now, axis=-1).mean(-1)
            for row in np.flatnonzero(people.states == TrackState.CONFIRMED):
                if not (apart[row] < NEAR).any():
                    continue
                true = then[np.nanargmin(apart[row])]
                errors.append(np.linalg.norm(later.joints_m[row, joints] - true, axis=-1))
                held.append(np.linalg.norm(here[row] - true, axis=-1))
                off, spread = later.joints_m[row, joints] - true, later.covariance_m2
                assert spread is not None
                inverse = np.linalg.inv(spread[row, joints])
                sigmas.append(np.sqrt(np.einsum("ja,jab,jb->j", off, inverse, off)))
        known = np.isfinite(errors)
        yield {
            "source": name,
            "ahead_s": horizon_s,
            "error_mm": 1e3 * float(np.mean(np.array(errors)[known])),
            "held_mm": 1e3 * float(np.mean(np.array(held)[known])),
            **{
                f"within_{n}_sigma": float((np.array(sigmas)[known] < n).mean()) for n in (1, 2, 3)
            },
        }


def demo() -> Iterator[dict[str, Any]]:
    """The shipped clip."""
    folder = share("demo")
    truth, rig = np.load(folder / "truth.npz"), read_rig(folder / "rig.yaml")
    rate_hz, every = float(truth["fps"]), list(range(len(H36M17)))
    for index, camera in enumerate(rig.cameras.values()):
        seen = list(people_of(str(folder / f"cam{index}.mp4"), camera))
        there = transform_points(truth["camera_from_world"][index], truth["joints_m"])
        yield from report(f"demo, camera {index}", seen, there, rate_hz, every)
    seen = list(people_of_rig(rig, folder))
    yield from report("demo, rig", seen, truth["joints_m"], rate_hz, every)


def pose2sim(folder: Path) -> Iterator[dict[str, Any]]:
    """The man who balances, before each of four cameras."""
    for view in range(4):
        camera = load_camera(folder, view)
        seen = list(people_of(str(folder / f"video_balancing_cam{view + 1:02d}.mp4"), camera))
        truth_m = load_truth(folder, camera).joints_m
        yield from report(f"pose2sim_single {view + 1}", seen, truth_m, 60, LIMBS)


def measured_motions(
    folder: Path, people: int = 24, frames: int = 240
) -> tuple[list[People3D], np.ndarray]:
    """People 4 m away along y, with the noise of a good camera, and the truth (T, P, 17, 3)."""
    rng, motions = np.random.default_rng(0), Motions.load([folder], "val")
    clips = np.array([motions.random(rng, frames)[1] for _ in range(people)])
    truth_m = np.array(
        [convert(clip, np.ones(clip.shape[:2]), CMU22, H36M17)[0] for clip in clips]
    ).swapaxes(0, 1)
    sight_m, limb_sigma_m = np.array([0, 4.0, 0]), 0.06
    root_sigma_m, stature_sigma_m = np.array([0.01, 0.08, 0.01]), np.array([0, 0.24, 0])
    lasting_m = rng.normal(0, limb_sigma_m, truth_m[0].shape)
    lasting_m += rng.normal(0, stature_sigma_m, (people, 1, 3))
    filter_, seen = PoseFilter(), []
    confirmed = np.full(people, TrackState.CONFIRMED)
    for frame, now in enumerate(truth_m):
        fresh_m = 0.3 * rng.normal(0, root_sigma_m, (people, 1, 3))
        fresh_m = fresh_m + 0.3 * rng.normal(0, limb_sigma_m, now.shape)
        poses = now + lasting_m + fresh_m
        stamp_ns = round(frame / 30 * 1e9)
        filter_.predict(stamp_ns)
        filter_.update(
            Measurements(
                np.arange(people),
                poses[:, 0],
                np.tile(np.diag(root_sigma_m**2), (people, 1, 1)),
                np.tile(np.diag(root_sigma_m**2 + stature_sigma_m**2), (people, 1, 1)),
                poses - poses[:, :1],
                np.full(now.shape[:2], limb_sigma_m),
                np.ones(now.shape[:2]),
                confirmed,
                np.tile(sight_m, (people, 1)),
            ),
            1.0,
        )
        joints, velocity, covariance, confidence = filter_.joints()
        seen.append(
            People3D(
                H36M17,
                joints,
                confidence,
                sigma_of(covariance),
                velocity,
                filter_.ids,
                filter_.states,
                stamp_ns,
                "odom",
                covariance_m2=covariance,
            )
        )
    return seen, truth_m


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pose2sim", type=Path)
    parser.add_argument("--mocap", type=Path)
    options = parser.parse_args()
    rows = list(demo())
    if options.pose2sim:
        rows += pose2sim(options.pose2sim)
    if options.mocap:
        every = list(range(len(H36M17)))
        rows += report("motion capture", *measured_motions(options.mocap), 30, every)
    for source in dict.fromkeys(row["source"] for row in rows):
        print(table([row for row in rows if row["source"] == source]), end="\n\n")


if __name__ == "__main__":
    main()
