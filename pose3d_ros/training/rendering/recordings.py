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

"""Labelled pictures for anybody: rendered people as a dataset of recordings
(``data.recordings``) with JPEGs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.training.data.recordings import Recording, write
from pose3d_ros.training.rendering import images
from pose3d_ros.training.rendering.measure_noise import visible_joints
from pose3d_ros.training.rendering.renderer import Renderer
from pose3d_ros.training.rendering.scene import Shot
from pose3d_ros.training.rendering.studio import Studio

RATE_HZ = 30.0
SIZE = (640, 480)
_JPEG_QUALITY = 92
_HIDDEN = 0.5  # confidence of joints behind something; detectors often guess them
_OTHERS = 0.4
_STEP = 3  # of 30 a second, in a shard


def render(
    makehuman: Path,
    mocap: Sequence[Path],
    out: Path,
    clips: int,
    frames: int,
    seed: int,
    progress: Callable[[int], object] = lambda clip: None,
    backgrounds: Path | None = None,
) -> list[Path]:
    """Write recordings of ``clips`` clips of the train split's motions and a quarter as many of
    the val split's.

    A clip shows one to three random people before one random camera at 30 Hz; each of them is a
    recording, ``SPLIT_CLIP_PERSON``, and the pictures are theirs in common. Keypoints are the
    projected joints; their confidence is 1 for joints that are seen, a half for those behind
    something, 0 outside of the picture. ``masks/SPLIT_CLIP`` has a PNG for each picture, with 0
    where nobody is and else the person's number plus one. Returns the recordings' paths.
    ``backgrounds``: a folder of pictures to use besides procedural textures. Raises
    ``AssetError``, ``RenderError`` or ``ValueError``.
    """
    if clips < 1 or frames < 1:
        raise ValueError(
            f"expected one clip and one frame or more, got {clips} clips of {frames} frames"
        )
    written: list[Path] = []
    for number, (split, count) in enumerate((("train", clips), ("val", max(clips // 4, 1)))):
        studio = Studio(makehuman, mocap, split, SIZE, backgrounds)
        studio.renew(seed)
        for clip in range(count):
            rng = np.random.default_rng((2 * seed + number, clip))
            shot = studio.shot(rng, frames, _OTHERS, SIZE)
            for recording in _film(rng, studio.renderer, shot, out, f"{split}_{clip:05d}"):
                written.append(write(out, split, recording))
            progress(clip)
        studio.close()
    return written


def shard(
    studio: Studio, out: Path, split: str, seed: Sequence[int], clips: int, frames: int
) -> None:
    """Write recordings of ``clips`` clips of ``frames`` pictures, a tenth of a second apart, that
    follow from the seed alone: people, textures and clips are others than those of other seeds.
    """
    studio.forget()
    studio.renew(int(np.random.default_rng(seed).integers(2**62)))
    for clip in range(clips):
        rng = np.random.default_rng((*seed, clip))
        shot = studio.shot(rng, _STEP * (frames - 1) + 1, _OTHERS, SIZE)
        for recording in _film(rng, studio.renderer, shot, out, f"{split}_{clip:05d}", _STEP):
            write(out, split, recording)


def _film(
    rng: np.random.Generator, renderer: Renderer, shot: Shot, out: Path, name: str, step: int = 1
) -> list[Recording]:
    """Write every ``step``-th picture and its mask. Frames in which less than half of somebody's
    joints are in the picture do not count for that person; the first person is always there,
    others if any frame counts.
    """
    renderer.load(shot.scene)
    camera, view = shot.camera, images.view_of(shot.camera)
    joints_m = np.stack(
        [actor.posed.joints_m[::step] for actor in shot.scene.actors]
    )  # (P, T, 17, 3)
    joints_px = camera.project(joints_m)
    seen = np.zeros(joints_m.shape[:3], bool)
    for frame in range(joints_m.shape[1]):
        image, _ = images.whole(rng, renderer, shot, step * frame, view)
        person, surface_m = renderer.labels(view.camera, step * frame)
        for number, points in enumerate(joints_m[:, frame]):
            depth_m = points @ camera.camera_from_world[2, :3] + camera.camera_from_world[2, 3]
            seen[number, frame] = visible_joints(
                view.camera.project(points), depth_m, person, surface_m, number
            )
        mask = view.bend((person + 1).astype(np.uint8), cv2.INTER_NEAREST)
        _save(
            out / "images" / name / f"{frame:05d}.jpg",
            image,
            [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY],
        )
        _save(out / "masks" / name / f"{frame:05d}.png", mask, [])
    inside = ((joints_px >= 0) & (joints_px <= np.array(camera.size) - 1)).all(-1)
    confidence = np.where(inside, np.where(seen, 1.0, _HIDDEN), 0.0)
    valid = inside.mean(-1) >= 0.5
    return [
        Recording(
            f"{name}_{number}",
            joints_m[number],
            joints_px[number],
            confidence[number],
            camera,
            RATE_HZ / step,
            subject=f"{name}_{number}",
            action="motion",
            images=f"images/{name}/{{frame:05d}}.jpg",
            valid=valid[number],
        )
        for number in range(len(joints_m))
        if number == 0 or valid[number].any()
    ]


def _save(path: Path, image: np.ndarray, options: list[int]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), image, options):
        raise OSError(f"{path}: cannot write the picture")
