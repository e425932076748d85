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

"""Keypoints and feature maps of the embedded detector on rendered people, with the truth, to train
lifters.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros import inference
from pose3d_ros.arrays import as_float32
from pose3d_ros.detection import regions
from pose3d_ros.detection.blazepose import landmarks
from pose3d_ros.detection.blazepose.detector import (
    MIN_HEAT,
    MIN_PRESENCE_FOLLOWED,
)
from pose3d_ros.detection.confidence import CALIBRATIONS
from pose3d_ros.geometry import transform_points
from pose3d_ros.lifting.feature_maps import crop_keypoints, crop_rays
from pose3d_ros.model_store.store import locate
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import BLAZEPOSE33, H36M17
from pose3d_ros.training.data.augmentation import canonical_scale, stature
from pose3d_ros.training.data.shards import NOT_STORED, LabelledFeatures, write
from pose3d_ros.training.rendering import crops
from pose3d_ros.training.rendering import images as pictures
from pose3d_ros.training.rendering.measure_noise import own_detection, seen_by_depth
from pose3d_ros.training.rendering.renderer import Renderer
from pose3d_ros.training.rendering.scene import Shot
from pose3d_ros.training.rendering.studio import Studio

VALIDATION = 12  # training clips for each one of the validation subjects
LEVELS = landmarks.LEVELS[NOT_STORED["blazepose"] :]
"""Maps that are kept: (48, 32, 32), (48, 16, 16) and (144, 8, 8)."""
READERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "blazepose": (landmarks.FULL, LEVELS),
    "blazepose-heavy": (landmarks.HEAVY, ()),
}
"""Networks that can read rendered crops, and their feature maps that are kept."""
FRAME_STEP = 3  # of 30 a second
SHARD = 64
PICTURE = (landmarks.SIDE,) * 2
_TEXTURES_FOR = 256  # clips


@dataclass(frozen=True)
class CropDetections:
    """Output of the landmark network on P crops: ``people`` in H36M17 with feature maps; ``heat``
    (P,), the sharpness of its heat maps; ``followed`` (P,), whether the detector would go on
    following them; ``root_relative_depth`` (P, 17) of their joints in sides of the crop.
    """

    people: People2D
    heat: np.ndarray
    followed: np.ndarray
    root_relative_depth: np.ndarray


class CropDetector:
    """The detector's landmark network on crops of our own."""

    def __init__(self, threads: int = 0, detector: str = "blazepose") -> None:
        reader, maps = READERS[detector]
        self._calibration = CALIBRATIONS[reader]
        self._engine = inference.load(
            locate(reader), "auto", threads, ["landmarks", "presence", "heatmap", *maps]
        )

    def __call__(
        self, images: np.ndarray, where: np.ndarray, size: tuple[int, int]
    ) -> CropDetections:
        """``images`` (P, 256, 256, 3) of the regions ``where`` (P, 4) of a picture of ``size``."""
        found = landmarks.decode(self._engine({"image": images}), where, self._calibration)
        people = People2D(
            BLAZEPOSE33,
            found.keypoints_px,
            found.confidence,
            0,
            size,
            features=found.features,
            crop_from_image=regions.region_from_image(where),
            root_relative_depth_px=found.root_relative_depth_px,
        ).to(H36M17)
        assert people.root_relative_depth_px is not None
        followed = (found.presence >= MIN_PRESENCE_FOLLOWED) & (found.heat >= MIN_HEAT)
        return CropDetections(
            people, found.heat, followed, people.root_relative_depth_px / where[:, 2:3]
        )

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


def record(
    makehuman: Path,
    mocap: Sequence[Path],
    out: Path,
    clips: int,
    frames: int,
    seed: int,
    progress: Callable[[int], object] = lambda clip: None,
    backgrounds: Path | None = None,
    threads: int = 0,
    detector: str = "blazepose",
) -> dict[str, float]:
    """Run a detector's reader on ``clips`` rendered clips of the training subjects, and first on a
    twelfth as many of the validation ones.

    Each has ``frames`` images, a tenth of a second apart. Writes shards of 64 clips as they are
    ready to ``out/train`` and ``out/val`` (``write``); returns how many frames and bytes they are.
    ``backgrounds``: a folder of pictures to use besides procedural textures.
    """
    crop_detector = CropDetector(threads, detector)
    total = {"frames": 0, "found": 0, "bytes": 0}
    done = 0
    for split, number in (("val", -(-clips // VALIDATION)), ("train", clips)):
        studio = Studio(makehuman, mocap, split, PICTURE, backgrounds)
        seen: list[LabelledFeatures] = []
        shards = 0
        for clip in range(number):
            if clip % _TEXTURES_FOR == 0:
                studio.renew(seed + 2**32 * (split == "val") + 2**33 * clip)
            labels, maps = film(
                np.random.default_rng((seed, split == "val", clip)),
                crop_detector,
                studio,
                frames,
                clip,
            )
            total["frames"] += frames
            total["found"] += len(maps)
            total["bytes"] += maps.nbytes
            if len(maps):
                seen.append((labels, maps))
            if seen and (len(seen) == SHARD or clip == number - 1):
                write(out / split / f"{shards:05d}.npz", seen)
                shards += 1
                seen = []
            progress(done)
            done += 1
        studio.close()
    crop_detector.close()
    return {name: float(value) for name, value in total.items()}


def shard(
    crop_detector: CropDetector,
    studio: Studio,
    out: Path,
    seed: Sequence[int],
    clips: int,
    frames: int,
) -> None:
    """Write the shard ``out/00000.npz`` that follows from the seed alone: people, textures and
    clips of its own.

    It has ``clips`` clips of up to ``frames`` pictures, in which the detector follows somebody.
    """
    studio.forget()
    studio.renew(int(np.random.default_rng(seed).integers(2**62)))
    seen = (
        film(np.random.default_rng((*seed, clip)), crop_detector, studio, frames, clip)
        for clip in count()
    )
    write(out / "00000.npz", list(islice((look for look in seen if len(look[1])), clips)))


def film(
    rng: np.random.Generator, crop_detector: CropDetector, studio: Studio, frames: int, clip: int
) -> LabelledFeatures:
    """Labels, with ``clip`` (N,), and feature maps of a random clip of ``frames`` images."""
    labels, maps = look(
        rng, crop_detector, studio.renderer, studio.shot(rng, FRAME_STEP * (frames - 1) + 2)
    )
    return labels | {"clip": np.full(len(maps), clip)}, maps


def look(
    rng: np.random.Generator, crop_detector: CropDetector, renderer: Renderer, shot: Shot
) -> LabelledFeatures:
    """Labels, as ``data.shards`` has them but for ``clip``, and feature maps of a shot's first
    person in images a tenth of a second apart.

    Images that show less than half of the joints, or in which the detector would lose the person,
    are left out. Features: (N, V) float16, the maps of ``LEVELS`` one after the other.
    """
    renderer.load(shot.scene)
    camera = shot.camera
    world_m = shot.scene.actors[0].posed.joints_m
    numbers = np.arange(1, len(world_m), FRAME_STEP)
    joints_m = transform_points(camera.camera_from_world, world_m)
    joints_px = camera.project(joints_m, "camera")
    where = crops.followed(rng, joints_px[numbers - 1], camera.size)
    images, visible = [], []
    for region, number in zip(where, numbers, strict=True):
        image, depth_m, crop = pictures.crop(rng, renderer, shot, region, int(number))
        images.append(image)
        visible.append(
            seen_by_depth(crop.project(world_m[number]), joints_m[number, :, 2], depth_m)
        )
    inside = ((joints_px[numbers] >= 0) & (joints_px[numbers] < camera.size)).all(-1)
    seen = crop_detector(np.stack(images), where, camera.size)
    people = seen.people
    kept = (
        seen.followed
        & (inside.mean(1) >= 0.5)
        & np.array(
            [
                own_detection(people[[row]], joints_px[number]) is not None
                for row, number in enumerate(numbers)
            ]
        )
    )
    scale = canonical_scale(stature(joints_m[numbers]))[:, None, None]
    labels: dict[str, Any] = {
        "rays": camera.rays(people.keypoints_px),
        "confidence": people.confidence,
        "crop_keypoints": crop_keypoints(people),
        "crop_rays": crop_rays(camera, people),
        "root_relative_depth": seen.root_relative_depth,
        "joints_m": scale * joints_m[numbers],
        "visible": np.stack(visible) & inside,
        "frame": np.arange(len(numbers)),
    }
    features = np.concatenate(
        [
            np.zeros((len(numbers), 0), np.float32),
            *(level.reshape(len(numbers), -1) for level in people.features),
        ],
        1,
    )
    return as_float32({name: value[kept] for name, value in labels.items()}), features[
        kept
    ].astype(np.float16)
