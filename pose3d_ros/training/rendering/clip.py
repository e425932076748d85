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

"""The clip that the demo plays: two people before two calibrated cameras, with exact ground
truth.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import yaml

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import look_at
from pose3d_ros.io.rig_file import RigFile, write_rig
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.rendering import textures
from pose3d_ros.training.rendering.body import Assets, Shape, Wardrobe
from pose3d_ros.training.rendering.extra_points import body30_m
from pose3d_ros.training.rendering.motions import Motions, level, place
from pose3d_ros.training.rendering.renderer import (
    Actor,
    Appearance,
    Renderer,
    Room,
    Scene,
    Surface,
)
from pose3d_ros.training.rendering.retarget import retarget

FPS = 30
SIZE = 1280, 720


def render_clip(
    makehuman: Path, mocap: Sequence[Path], out: Path, seconds: float = 8.0
) -> list[Path]:
    """Write cam0.mp4, cam1.mp4, their calibration, rig.yaml, truth.npz and README.md to ``out``;
    returns the files.

    ``makehuman`` is the folder of assets, ``mocap`` folders of motions. ``truth.npz``: ``joints_m``
    (T, P, 17, 3) float32 in the world (metres, z up, H36M17's order), ``extra_joints_m`` (T, P,
    13, 3) those that BODY30 has beyond, ``camera_from_world`` (C, 4, 4), ``fps``. The scene is
    fixed: the same assets give the same clip. Raises ``AssetError``, ``RenderError``.
    """
    out.mkdir(parents=True, exist_ok=True)
    frames = round(seconds * FPS)
    scene, cameras = demo_scene(makehuman, mocap, frames), demo_cameras()
    renderer = Renderer(SIZE)
    renderer.load(scene)
    for camera in cameras:
        write_video(
            out / f"{camera.frame_id}.mp4",
            (renderer.picture(camera, frame) for frame in range(frames)),
        )
        (out / f"{camera.frame_id}.yaml").write_text(calibration_yaml(camera))
    renderer.close()
    joints_m = np.stack([body30_m(actor.posed, actor.body) for actor in scene.actors], 1)
    np.savez_compressed(
        out / "truth.npz",
        joints_m=joints_m[:, :, : len(H36M17)],
        extra_joints_m=joints_m[:, :, len(H36M17) :],
        camera_from_world=np.stack([camera.camera_from_world for camera in cameras]),
        fps=FPS,
    )
    names = [camera.frame_id for camera in cameras]
    write_rig(
        out / "rig.yaml",
        RigFile(
            dict(zip(names, cameras, strict=True)),
            sources={name: {"video": f"{name}.mp4"} for name in names},
        ),
    )
    (out / "README.md").write_text(_README)
    return sorted(out.iterdir())


def demo_scene(makehuman: Path, mocap: Sequence[Path], frames: int) -> Scene:
    """The man, the woman and the room of the clip, for so many frames at ``FPS``."""
    actors = _actors(Assets(makehuman), Motions.load(mocap, "train"), frames)
    boxes = [
        [[-2.6, 3.6, 0], [-1.4, 4.4, 0.9]],
        [[2.6, 3.2, 0], [3.3, 4.2, 1.6]],
        [[-4.6, 0.5, 0], [-4.0, 2.2, 0.75]],
    ]
    surfaces = (
        Surface((0.60, 0.47, 0.34), (0.38, 0.30, 0.22), textures.PLANKS, 1.0, 0.1),
        Surface((0.72, 0.76, 0.78), (0.60, 0.64, 0.66), textures.BRICKS, 1.0),
        Surface((0.9, 0.9, 0.9)),
        Surface((0.45, 0.42, 0.40), (0.35, 0.33, 0.31), textures.GRAIN, 1.0),
    )
    room = Room(
        surfaces,
        boxes=np.array(boxes),
        to_light=(-0.2, -0.5, 0.75),
        light_colour=(0.95, 0.92, 0.86),
    )
    return Scene(actors, room)


def demo_cameras() -> tuple[Camera, ...]:
    """Two cameras at the height of a robot's head, 52 degrees apart around the scene."""
    target = np.array((-0.1, 0.0, 0.93))
    return tuple(
        replace(
            Camera.from_fov(*SIZE, math.radians(66), frame_id=name),
            camera_from_world=look_at(position, target),
        )
        for name, position in (("cam0", (-1.5, -3.7, 1.35)), ("cam1", (2.0, -3.7, 1.5)))
    )


def _actors(assets: Assets, motions: Motions, frames: int) -> tuple[Actor, ...]:
    people = (
        (
            "seq_train_walking_extra_50",
            78,
            (0.0, 0.0),
            0.0,
            Shape(male=1, muscle=0.6, weight=0.45, ancestry=(0, 0, 1), scale=1.02),
            Wardrobe(("male_casualsuit02", "shoes03"), "short02"),
            (
                (0.86, 0.67, 0.56),
                (1, 1, 1),
                (0.22, 0.15, 0.1),
                (0.75, 0.22, 0.18),
                (0.16, 0.18, 0.26),
                (0.85, 0.85, 0.85),
            ),
            (0, 0, 0, textures.STRIPES, 0, 0),
        ),
        (
            "seq_train_directing_traffic_4",
            220,
            (-0.6, -0.1),
            4.7,
            Shape(male=0, muscle=0.5, weight=0.45, ancestry=(0.6, 0.1, 0.3), scale=1.03),
            Wardrobe(("female_casualsuit01", "shoes02"), "ponytail01"),
            (
                (0.55, 0.38, 0.28),
                (1, 1, 1),
                (0.1, 0.07, 0.06),
                (0.9, 0.82, 0.45),
                (0.2, 0.32, 0.5),
                (0.25, 0.25, 0.28),
            ),
            (0, 0, 0, 0, 0, 0),
        ),
    )
    actors = []
    for name, start, position, turn, shape, wardrobe, colours, pattern in people:
        body = assets.build(shape, wardrobe)
        joints_m = place(level(motions.clips[name][start : start + frames]), position, turn)
        look = Appearance(
            tuple(
                replace(plain, first=colour, second=(0.85, 0.85, 0.85), texture=cloth, scale=3.0)
                if cloth
                else replace(plain, first=colour, second=colour)
                for plain, colour, cloth in zip(
                    Appearance().surfaces, colours, pattern, strict=True
                )
            )
        )
        actors.append(Actor(body, retarget(joints_m, body), look))
    return tuple(actors)


def write_video(path: Path, frames: Iterable[np.ndarray], crf: int = 23) -> None:
    """H.264 at 30 fps of BGR frames. Needs the ``av`` package."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(
            "libx264", rate=FPS, options={"crf": str(crf), "preset": "slow"}
        )
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode())


def calibration_yaml(camera: Camera) -> str:
    """The camera in the format of ROS' camera_calibration."""

    def matrix(rows: np.ndarray) -> dict[str, object]:
        return {
            "rows": rows.shape[0],
            "cols": rows.shape[1],
            "data": [round(float(v), 6) for v in rows.ravel()],
        }

    return yaml.safe_dump(
        {
            "image_width": camera.size[0],
            "image_height": camera.size[1],
            "camera_name": camera.frame_id,
            "camera_matrix": matrix(camera.matrix),
            "distortion_model": "plumb_bob",
            "distortion_coefficients": matrix(np.zeros((1, 5))),
            "rectification_matrix": matrix(np.eye(3)),
            "projection_matrix": matrix(np.hstack([camera.matrix, np.zeros((3, 1))])),
        },
        sort_keys=False,
        default_flow_style=None,
    )


_README = """# Demo clip

Two people before two calibrated cameras (1280x720, 30 fps, no distortion), rendered with exact ground truth.

- `cam0.mp4`, `cam1.mp4`: synchronised videos (H.264). `cam0.yaml`, `cam1.yaml`: their intrinsics. `rig.yaml`: both,
  where they stand, and their videos.
- `truth.npz`: `joints_m` (T, P, 17, 3) metres in a world with z up, joints as `pose3d_ros.skeleton.H36M17`: the joint
  centres of the rendered bodies, exact to float32; `extra_joints_m` (T, P, 13, 3), the joints of `BODY30` beyond these;
  `camera_from_world` (C, 4, 4); `fps`.

Made in the repository's root, with both data sets at hand, in the environment of `scripts/venv train`, by

    pose3d render clip demo --makehuman MAKEHUMAN --mocap CMU_MOCAP

The scene is fixed, so there is no seed. The man walks CMU's seq_train_walking_extra_50, the woman
seq_train_directing_traffic_4 (names of the exponential-map release).

Bodies, clothes and hair: MakeHuman community assets, CC0 1.0 (github.com/makehumancommunity/makehuman). The rendered
video is CC0 1.0 too. Motions: CMU Graphics Lab Motion Capture Database, free to use and to include in products:
"The data used in this project was obtained from mocap.cs.cmu.edu. The database was created with funding from NSF
EIA-0196217."
"""
