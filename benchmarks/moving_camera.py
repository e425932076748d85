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

"""What a robot that drives and turns makes of people's speed and ids.

The demo's scene, in which a man walks about and a woman directs the traffic where she stands and
sways, before a camera 1.2 m high that drives past them at 0.5 m/s and turns to and fro by 0.5
rad/s for 6 s, then turns away from them for 3 s and back; and the same with both of them stopped
in one pose. Prints the speed of the woman's pelvis beside the true one, and the error of that
velocity, in the camera's frame and in a fixed one, there also with the floor known, and how many
ids each of the two gets. The first second, in which a velocity becomes known, does not count.

    LP_NUM_THREADS=1 python benchmarks/moving_camera.py MAKEHUMAN CMU_MOCAP
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from place import Remembering

from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import look_at, transform_points
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.training.rendering.clip import FPS, SIZE, demo_scene
from pose3d_ros.training.rendering.renderer import Renderer

RATE_HZ, DRIVES_S, AWAY_S = 15, 6.0, 3.0
SPEED_MPS, TURN_RAD_S, HEIGHT_M = 0.5, 0.5, 1.2
SETTLED_S = 1.0
NEAR_RAD = 0.1  # between a person and the truth, as the camera sees them
WOMAN, STOPPED_AT = 1, 60


def cameras() -> Iterator[Camera]:
    """Where the camera is at each image, in the world."""
    still = Camera.from_fov(*SIZE, math.radians(66), frame_id="camera_optical")
    for step in range(round((DRIVES_S + 2 * AWAY_S) * RATE_HZ)):
        now_s = step / RATE_HZ
        at = np.array([-1.5 + SPEED_MPS * min(now_s, DRIVES_S), -4.0, HEIGHT_M])
        to_and_fro = abs((now_s + 0.5) % 2 - 1) - 0.5  # between two turns a second
        away = AWAY_S - abs(now_s - DRIVES_S - AWAY_S)
        yaw_rad = math.pi / 2 + TURN_RAD_S * (to_and_fro if away <= 0 else away)
        ahead = np.array([math.cos(yaw_rad), math.sin(yaw_rad), -0.08])
        yield replace(still, camera_from_world=look_at(at, at + ahead))


def main() -> None:
    """Render, track, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("makehuman", type=Path)
    parser.add_argument("mocap", type=Path)
    options = parser.parse_args()
    path, step = list(cameras()), FPS // RATE_HZ
    scene = demo_scene(options.makehuman, [options.mocap], 240)
    truth_m = np.stack([actor.posed.joints_m for actor in scene.actors], 1)
    # The motion goes to and fro, so that nobody leaps when it is over.
    last = len(truth_m) - 1
    moving = [last - abs(last - number * step % (2 * last)) for number in range(len(path))]
    renderer = Renderer(SIZE)
    renderer.load(scene)
    for name, frames in (("sways", moving), ("stopped", [STOPPED_AT] * len(path))):
        rows = [{"she": name, **row} for row in drive(renderer, path, truth_m, frames)]
        print(table(rows), end="\n\n")
    renderer.close()


@dataclass
class Score:
    """Of one frame of reference: the woman's speeds and errors of velocity, m/s, and the ids of
    each of the two.
    """

    speeds: list[float] = field(default_factory=list)
    errors: list[float] = field(default_factory=list)
    ids: tuple[set[int], set[int]] = field(default_factory=lambda: (set(), set()))

    def add(self, people: People3D, from_camera_m: Any, camera_m: Any, velocity: Any) -> None:
        """Take in who of the two (2, 17, 3) is whom, and, where the woman's true ``velocity`` is
        given, hers.
        """
        true = from_camera_m[:, 0] / np.linalg.norm(from_camera_m[:, 0], axis=-1, keepdims=True)
        for row in np.flatnonzero(people.states == TrackState.CONFIRMED):
            seen = people.joints_m[row, 0] - camera_m
            off = np.linalg.norm(seen / np.linalg.norm(seen) - true, axis=-1)
            person = int(off.argmin())
            if off[person] > NEAR_RAD:
                continue
            self.ids[person].add(int(people.ids[row]))
            if person == WOMAN and velocity is not None:
                told = people.velocity_mps[row, 0]
                self.speeds.append(float(np.linalg.norm(told)))
                self.errors.append(float(np.linalg.norm(told - velocity)))


def drive(
    renderer: Renderer, path: list[Camera], truth_m: np.ndarray, frames: list[int]
) -> list[dict[str, Any]]:
    """A row for each frame of reference, of the camera's way past these frames of the motion."""
    eyes = Remembering(PipelineSettings())
    fixed = eyes.settings.changed(fixed_frame="odom")
    cases = {
        "camera's frame": (eyes.settings, False),
        "fixed frame": (fixed, False),
        "fixed frame, floor": (fixed, True),
    }
    pipelines = {
        name: MonocularPipeline(settings, detector=eyes, lifter=eyes)
        for name, (settings, _) in cases.items()
    }
    scores = {name: Score() for name in cases}
    velocities = np.gradient(truth_m[frames, WOMAN, 0], 1 / RATE_HZ, axis=0)
    for number, (camera, frame) in enumerate(zip(path, frames, strict=True)):
        image = renderer.picture(camera, frame)
        settled = number / RATE_HZ > SETTLED_S
        for name, pipeline in pipelines.items():
            floor = Floor.from_pose(camera.camera_from_world) if cases[name][1] else None
            people = pipeline(image, camera, round(number / RATE_HZ * 1e9), floor=floor)
            there, at, velocity = truth_m[frame], camera.position_m, velocities[number]
            if people.frame_id != "odom":
                there, at = transform_points(camera.camera_from_world, there), np.zeros(3)
                velocity = camera.camera_from_world[:3, :3] @ velocity
            scores[name].add(people, there - at, at, velocity if settled else None)
    true = np.linalg.norm(velocities[round(SETTLED_S * RATE_HZ) :], axis=-1)
    return [
        {
            "velocity in": name,
            "frames": len(score.speeds),
            "true_median_mps": float(np.median(true)),
            "speed_median_mps": float(np.median(score.speeds)),
            "speed_p95_mps": float(np.percentile(score.speeds, 95)),
            "error_median_mps": float(np.median(score.errors)),
            "ids_of_the_man": len(score.ids[0]),
            "ids_of_the_woman": len(score.ids[1]),
        }
        for name, score in scores.items()
    ]


if __name__ == "__main__":
    main()
