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

"""How far from the truth people are placed, by what tells the distance: the assumed stature
alone, the floor given or learned, or a depth image.

Renders people of any stature from 1.1 to 2.0 m in motions of the validation subjects, before
cameras 0.3 to 2.5 m high that look 30 degrees up to 30 down, 1 to 8 m away, with most joints in
the picture; 30 frames at 15 Hz each. Detector and lifter see each picture once, and all sources
share what they say. Prints, for each source, median and 95th percentile of the pelvis' error as a
share of its distance, the shares of joints within 1, 2 and 3 sigma of their covariance
(Mahalanobis' distance; of honest ones .20, .74 and .97), and the error of the stature at the end
of the clips; then the same by height of the camera. Depth has noise of 1 % of the distance.

Then, with ``--learned``, so many cameras that stand still while three people walk by, one after
another, for 8 s each at 6 Hz: the same of the moments in which the floor is known from them.

Sigma by the assumed stature is as honest as ``--person-height`` and ``--person-height-sigma`` are
of the people there: of these here 1.55 and 0.26.

    LP_NUM_THREADS=1 python benchmarks/place.py MAKEHUMAN CMU_MOCAP [--clips 60] [--learned 6]
        [--person-height 1.55 --person-height-sigma 0.26] [--sheet out.png]
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.detection import Detector, create
from pose3d_ros.drawing import draw_people
from pose3d_ros.evaluation.table import table
from pose3d_ros.geometry import look_at, transform_points
from pose3d_ros.lifting import Lifter
from pose3d_ros.lifting import create as create_lifter
from pose3d_ros.people import People3D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.training.rendering import images, textures
from pose3d_ros.training.rendering.body import Assets, Body, Posed
from pose3d_ros.training.rendering.motions import Motions, cut, placed
from pose3d_ros.training.rendering.renderer import Actor, Renderer, Scene
from pose3d_ros.training.rendering.retarget import retarget
from pose3d_ros.training.rendering.scene import (
    Shot,
    random_look,
    random_room,
    random_sensor,
    random_shape,
    random_wardrobe,
)

SIZE, FRAMES, STEP, RATE_HZ = (640, 480), 30, 2, 30
STATURE_M, HEIGHT_M, PITCH_DEG, DISTANCE_M = (1.1, 2.0), (0.3, 2.5), (-30, 30), (1.0, 8.0)
LEAST_INSIDE = 0.7
DEPTH_NOISE = 0.01
LOW_M = 1.0  # cameras below are told apart from those above
WALKERS, WALK_FRAMES, WALK_STEP, PAUSE_S = 3, 240, 5, 4.0


class Remembering(Detector, Lifter):
    """The detector and the lifter of the settings, asked once for each stamp."""

    name = "remembering"

    def __init__(self, settings: PipelineSettings) -> None:
        self._detector, self._lifter = create(settings), create_lifter(settings)
        self.skeleton, self.settings = self._detector.skeleton, settings
        self.reads_depth = self._lifter.reads_depth
        self.gives_depth = self._detector.gives_depth  # type: ignore[misc]
        self._seen: dict[int, Any] = {}
        self._lifted: dict[tuple[int, bool], Any] = {}

    def __call__(self, subject: Any, second: Any, *rest: Any) -> Any:
        """As a detector with an image, as a lifter with people."""
        if isinstance(subject, np.ndarray):
            if second not in self._seen:
                self._seen[second] = self._detector(subject, second, *rest)
            return self._seen[second]
        known = subject.stamp_ns, rest[-1] is None  # whether up is told
        if known not in self._lifted:
            self._lifted[known] = self._lifter(subject, second, *rest)
        return self._lifted[known]

    def begin(self) -> None:
        """Forget the pictures, not the networks."""
        self._seen, self._lifted = {}, {}
        self._detector.reset()
        self._lifter.forget(np.zeros(0, int))


def crown_m(body: Body) -> float:
    """Stature: height of the mesh at rest, without shoes' soles or hats being told apart."""
    return float(body.mesh.vertices[:, 2].max())


def person(rng: np.random.Generator, assets: Assets, layers: int) -> tuple[Body, Any, float]:
    """A body of a random stature, its look, and the stature."""
    shape, stature_m = random_shape(rng), rng.uniform(*STATURE_M)
    wardrobe = random_wardrobe(rng, shape, assets)
    body = assets.build(shape, wardrobe)
    shape = replace(shape, scale=shape.scale * stature_m / crown_m(body))
    return assets.build(shape, wardrobe), random_look(rng, shape, layers), stature_m


def grounded(posed: Posed) -> Posed:
    """The motion with the lower foot on the floor in every frame: captures float and sink by up to
    0.2 m.
    """
    ankles = [posed.rig.index["foot.L"], posed.rig.index["foot.R"]]
    lift = posed.heads[:, ankles, 2].min(1) - posed.rig.heads[ankles, 2].min()
    return replace(posed, heads=posed.heads - lift[:, None, None] * np.array([0, 0, 1.0]))


def view(rng: np.random.Generator, joints_m: np.ndarray) -> Camera:
    """A camera that has most of the joints (T, 17, 3) in its picture."""
    while True:
        camera = Camera.from_fov(*SIZE, math.radians(rng.uniform(50, 90)))
        azimuth, pitch = rng.uniform(0, 2 * np.pi), math.radians(rng.uniform(*PITCH_DEG))
        distance, height = np.exp(rng.uniform(*np.log(DISTANCE_M))), rng.uniform(*HEIGHT_M)
        ahead = np.array([math.cos(azimuth), math.sin(azimuth), 0])
        middle = joints_m.mean((0, 1)) * [1, 1, 0]
        at = middle - distance * ahead + [0, 0, height]
        aside = rng.normal(0, 0.1) * np.array([-ahead[1], ahead[0], 0])
        target = at + ahead + aside - [0, 0, math.tan(pitch)]
        camera = replace(
            camera, camera_from_world=look_at(at, target, roll_rad=rng.normal(0, 0.05))
        )
        pixels = camera.project(joints_m)
        inside = ((pixels >= 0) & (pixels < camera.size)).all(-1)
        if inside.mean() > LEAST_INSIDE:
            return camera


def shots(
    makehuman: Path,
    mocap: Path,
    clips: int,
    seed: int,
    frames: int = FRAMES * STEP,
    alike: int = 1,
) -> Iterator[tuple[Renderer, Shot, float, np.random.Generator]]:
    """Renderer, shot, stature and random numbers of each clip, of so many frames; ``alike`` clips
    after another have the same camera.
    """
    assets, motions = Assets(makehuman), Motions.load([mocap], "val")
    textures_ = textures.make(seed)
    renderer = Renderer(SIZE)
    renderer.use(textures_)
    for clip in range(clips):
        rng = np.random.default_rng((seed, clip))
        body, look, stature_m = person(rng, assets, len(textures_))
        motion = motions.random(rng, 2 * frames)[1]
        posed = grounded(cut(retarget(motion, body), slice(0, frames)))
        actor = Actor(body, placed(posed, (0.0, 0.0), rng.uniform(0, 2 * np.pi)), look)
        joints_m = actor.posed.joints_m
        if clip % alike == 0:
            camera = view(rng, joints_m)
        paths = actor.posed.heads[:, 0, :2]
        line = np.linspace(camera.position_m[:2], paths.mean(0), 10)  # nothing stands in the way
        room = random_room(rng, np.concatenate([paths, line]), len(textures_))
        backdrop = textures.backdrop(rng, textures_, SIZE, SIZE[1] / 2, room.shell[0])
        scene = Scene((actor,), room)
        renderer.load(scene)
        yield renderer, Shot(scene, camera, backdrop, random_sensor(rng), 0.0), stature_m, rng
    renderer.close()


@dataclass
class Score:
    """What came of one source: errors as shares of the distance, errors in sigmas, errors of
    statures, and the cameras' heights.
    """

    place: list[float]
    sigmas: list[np.ndarray]
    stature: list[float]
    camera_m: list[float]
    stature_camera_m: list[float]

    @classmethod
    def empty(cls) -> Score:
        """Nothing yet."""
        return cls([], [], [], [], [])

    def add(self, people: People3D, truth_m: np.ndarray, camera_m: float) -> int | None:
        """Whoever is nearest to the truth (17, 3) as the camera sees them; returns their row."""
        if not len(people):
            return None
        off = np.linalg.norm(
            people.joints_m[..., :2] / people.joints_m[..., 2:] - truth_m[:, :2] / truth_m[:, 2:],
            axis=-1,
        ).mean(1)
        row = int(off.argmin())
        if off[row] > 0.3:
            return None
        off_m = people.joints_m[row] - truth_m
        self.place.append(float(np.linalg.norm(off_m[0])) / float(np.linalg.norm(truth_m[0])))
        assert people.covariance_m2 is not None
        inverse = np.linalg.inv(people.covariance_m2[row])
        self.sigmas.append(np.sqrt(np.einsum("ja,jab,jb->j", off_m, inverse, off_m)))
        self.camera_m.append(camera_m)
        return row

    def report(self, name: str, low_m: float = 0.0, high_m: float = np.inf) -> dict[str, Any]:
        """Of cameras between two heights."""
        inside, of_stature = (
            (np.array(heights) >= low_m) & (np.array(heights) < high_m)
            for heights in (self.camera_m, self.stature_camera_m)
        )
        place, sigmas = 100 * np.array(self.place)[inside], np.array(self.sigmas)[inside]
        stature = 100 * np.abs(np.array(self.stature))[of_stature]
        return {
            "source": name,
            "frames": len(place),
            "place_median_%": float(np.median(place)),
            "place_p95_%": float(np.percentile(place, 95)),
            **{f"within_{n}_sigma": float((sigmas < n).mean()) for n in (1, 2, 3)},
            "stature_median_%": float(np.median(stature)) if len(stature) else np.nan,
            "stature_p95_%": float(np.percentile(stature, 95)) if len(stature) else np.nan,
        }


def learned(
    makehuman: Path, mocap: Path, cameras: int, seed: int, eyes: Remembering
) -> list[dict[str, Any]]:
    """A row for each source, of the moments in which the floor is learned."""
    scores = {name: Score.empty() for name in ("stature only", "floor learned", "floor given")}
    sure = 0
    clips = shots(makehuman, mocap, cameras * WALKERS, seed, WALK_FRAMES, WALKERS)
    for clip, (renderer, shot, _, rng) in enumerate(clips):
        camera, joints_m = shot.camera, shot.scene.actors[0].posed.joints_m
        if clip % WALKERS == 0:
            eyes.begin()
            pipelines = {
                name: MonocularPipeline(
                    eyes.settings.changed(learn_floor=name == "floor learned"),
                    detector=eyes,
                    lifter=eyes,
                )
                for name in scores
            }
        view_of, floor = images.view_of(camera), Floor.from_pose(camera.camera_from_world)
        start_s = clip % WALKERS * (WALK_FRAMES / RATE_HZ + PAUSE_S)
        for frame in range(0, len(joints_m), WALK_STEP):
            image, _ = images.whole(rng, renderer, shot, frame, view_of)
            truth_m = transform_points(camera.camera_from_world, joints_m[frame])
            stamp_ns = round((start_s + frame / RATE_HZ) * 1e9)
            found = {
                name: pipeline(
                    image, camera, stamp_ns, floor=floor if name == "floor given" else None
                )
                for name, pipeline in pipelines.items()
            }
            if pipelines["floor learned"].learned_floor is not None:
                for name, people in found.items():
                    scores[name].add(people, truth_m, camera.position_m[2])
        if clip % WALKERS == WALKERS - 1:
            sure += pipelines["floor learned"].learned_floor is not None
    print(f"floor learned before {sure} of {cameras} cameras; while it is:")
    return [score.report(name) for name, score in scores.items() if score.place]


def main() -> int:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("makehuman", type=Path)
    parser.add_argument("mocap", type=Path)
    parser.add_argument("--clips", type=int, default=60)
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--learned", type=int, default=0, metavar="CAMERAS")
    parser.add_argument("--person-height", type=float, default=PipelineSettings.person_height_m)
    parser.add_argument(
        "--person-height-sigma", type=float, default=PipelineSettings.person_height_sigma_m
    )
    parser.add_argument("--sheet", type=Path, help="write the last picture of each clip")
    options = parser.parse_args()
    settings = PipelineSettings(
        threads=1,
        person_height_m=options.person_height,
        person_height_sigma_m=options.person_height_sigma,
    )
    eyes = Remembering(settings)
    scores = {name: Score.empty() for name in ("stature only", "floor given", "depth")}
    tiles = []
    for renderer, shot, stature_m, rng in shots(
        options.makehuman, options.mocap, options.clips, options.seed
    ):
        eyes.begin()
        camera, joints_m = shot.camera, shot.scene.actors[0].posed.joints_m
        short = settings.changed(learn_floor=False)
        pipelines = {name: MonocularPipeline(short, detector=eyes, lifter=eyes) for name in scores}
        view_of, floor = images.view_of(camera), Floor.from_pose(camera.camera_from_world)
        rows: dict[str, tuple[People3D, int | None]] = {}
        for frame in range(0, len(joints_m), STEP):
            image, depth_m = images.whole(rng, renderer, shot, frame, view_of)
            truth_m = transform_points(camera.camera_from_world, joints_m[frame])
            noisy = depth_m * (1 + DEPTH_NOISE * rng.standard_normal(depth_m.shape))
            stamp_ns = round(frame / RATE_HZ * 1e9)
            for name, pipeline in pipelines.items():
                people = pipeline(
                    image,
                    camera,
                    stamp_ns,
                    depth_m=noisy if name == "depth" else None,
                    floor=floor if name == "floor given" else None,
                )
                row = scores[name].add(people, truth_m, camera.position_m[2])
                rows[name] = people, row
        for name, (people, row) in rows.items():
            if row is not None:
                measured_m = pipelines[name].statures(people.ids[row : row + 1])[0][0]
                scores[name].stature.append(measured_m / stature_m - 1)
                scores[name].stature_camera_m.append(camera.position_m[2])
        seen = rows["floor given"][0].people_2d
        assert seen is not None
        tiles.append(cv2.resize(draw_people(image, seen), (320, 240)))
        if options.sheet and len(tiles) % 5 == 0:
            lines = [np.hstack(tiles[i : i + 5]) for i in range(0, len(tiles), 5)]
            cv2.imwrite(str(options.sheet), np.vstack(lines))
    if options.clips:
        print(table([score.report(name) for name, score in scores.items()]))
        print(table([score.report(f"{name}, low", 0, LOW_M) for name, score in scores.items()]))
        print(table([score.report(f"{name}, high", LOW_M) for name, score in scores.items()]))
    if options.learned:
        print(
            table(learned(options.makehuman, options.mocap, options.learned, options.seed, eyes))
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
