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

"""Training clips of images from recordings on disk, in the virtual cameras of lifters of images
(``lifting.crops``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.errors import Pose3dError
from pose3d_ros.geometry import CAMERA_DOWN, look_along
from pose3d_ros.lifting.crops import crop, virtual_camera
from pose3d_ros.training.data.augmentation import mirror
from pose3d_ros.training.data.recordings import CLIP_RATE_HZ, Recording, canonical, read
from pose3d_ros.training.data.windows import Clips, LifterInputs

_IMAGES = re.compile(r"(?:[^{}\0]|\{frame(?::0?\d?d?)?\})+")  # such as S1/img_{frame:06d}.jpg
_FEWEST_JOINTS = 6  # that a detector found, to know where and how large the person is


class ImageFileError(Pose3dError, ValueError):
    """An image that cannot be used.

    Processes that load data pass on an exception as a traceback, whose last line is what the user
    should read.
    """

    def __init__(self, text: str) -> None:
        super().__init__(
            text.rstrip().splitlines()[-1].removeprefix(f"{__name__}.ImageFileError: ")
        )


@dataclass(frozen=True)
class ImageClips(Clips):
    """B people over T frames as virtual cameras see them: ``images`` (B, T, 3, S, S) uint8, blue
    first, and ``joints_m`` in each frame's virtual camera. ``rays`` are these joints in the
    image, -1 and 1 at its borders.
    """

    images: np.ndarray


@dataclass(frozen=True)
class ImageInputs(LifterInputs):
    """Images, each with its own axes. The targets are poses, or with ``points`` the joints in
    the image.
    """

    recurrent: bool = True
    points: bool = False

    def __call__(self, clips: Clips) -> tuple[np.ndarray, np.ndarray]:
        """Images (B, T, 3, S, S), and poses (B, T, 17, 3) relative to the pelvis or points (B, T,
        17, 2).
        """
        assert isinstance(clips, ImageClips)
        return clips.images, clips.rays if self.points else clips.joints_m - clips.joints_m[
            ..., :1, :
        ]


def read_image(path: Path, size: tuple[int, int]) -> np.ndarray:
    """(H, W, 3) uint8, blue first. Raises ``ImageFileError`` where there is none of this width and
    height.
    """
    try:
        image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error) as error:
        raise ImageFileError(
            f"{path}: expected an image, got {getattr(error, 'strerror', None) or 'an empty file'}"
        ) from None
    if image is None:
        raise ImageFileError(
            f"{path}: expected an image that OpenCV can read, such as JPEG or PNG"
        )
    if image.shape[1::-1] != size:
        raise ImageFileError(
            f"{path}: expected an image of {size[0]}x{size[1]} as its recording says, got "
            f"{image.shape[1]}x{image.shape[0]}"
        )
    return image


def image_path(folder: Path, recording: Recording, frame: int) -> Path:
    """Path of the image of a frame in a dataset. Raises ``ValueError`` or
    ``ImageFileError``.
    """
    if not recording.images:
        raise ValueError(
            f"{folder}: recording {recording.name} has no images: expected its entry images to "
            f"say where they are"
        )
    if not _IMAGES.fullmatch(recording.images):
        raise ImageFileError(
            f"recording {recording.name}: expected images to be a path with {{frame}} in it, got "
            f"'{recording.images[:100]}'"
        )
    return folder / recording.images.format(frame=frame)


@dataclass(frozen=True)
class _Seen:
    """A recording with images: ``joints_m`` (T, 17, 3) in the camera's frame at the canonical
    stature, its virtual cameras, and its ``clips`` as rows of frames (N, frames of a clip).
    """

    recording: Recording
    folder: Path
    joints_m: np.ndarray
    rotation: np.ndarray
    tangent: np.ndarray
    clips: np.ndarray

    def path(self, row: int) -> Path:
        return image_path(self.folder, self.recording, self.recording.frame[row])


@dataclass(frozen=True)
class ImageSamples:
    """Clips of images of ``side`` x ``side`` from a split of recordings. There is none between
    two frames, so clips have those that are nearest in time.
    """

    recordings: tuple[_Seen, ...]
    side: int

    @classmethod
    def load(cls, folder: Path, split: str, offsets: np.ndarray, side: int) -> ImageSamples:
        """``offsets`` (T,): frames of a clip in 1/30 s from the newest one; frames of a slower
        recording follow each other. Raises ``ValueError``; ``ImageFileError`` when any image is
        missing.
        """
        return cls.read([folder], split, offsets, side)

    @classmethod
    def read(
        cls, folders: Sequence[Path], split: str, offsets: np.ndarray, side: int
    ) -> ImageSamples:
        """As ``load``, from several folders."""
        seen = [
            _seen(folder, recording, offsets)
            for folder in folders
            for recording in read(folder, split)
        ]
        if not any(len(each.clips) for each in seen):
            raise ValueError(
                f"{folders[0] / split}: expected recordings with valid frames at "
                f"{offsets.tolist()} / 30 s in which the person was found, got none"
            )
        return cls(tuple(seen), side)

    def sample(self, rng: np.random.Generator, size: int, varied: bool = True) -> ImageClips:
        """Random clips. ``varied`` mirrors half of them and changes view and brightness of each as
        a whole; else none comes twice, and there may be fewer.
        """
        ends = np.cumsum([len(seen.clips) for seen in self.recordings])
        numbers = rng.choice(ends[-1], size if varied else min(size, ends[-1]), replace=varied)
        clips = []
        for number in numbers:
            which = int(np.searchsorted(ends, number, "right"))
            seen = self.recordings[which]
            clips.append(self._clip(rng, seen, seen.clips[number - ends[which]], varied))
        rays, joints_m, images = (np.stack(values) for values in zip(*clips, strict=True))
        return ImageClips(rays, np.ones(rays.shape[:-1], np.float32), joints_m, images)

    def _clip(
        self, rng: np.random.Generator, seen: _Seen, rows: np.ndarray, varied: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Points (T, 17, 2), joints (T, 17, 3) and images (T, 3, S, S)."""
        rotation, tangent, colour = (
            seen.rotation[rows],
            seen.tangent[rows],
            np.arange(256.0)[:, None],
        )
        if varied:
            # Detectors find the same person at another place and size, and cameras expose
            # otherwise.
            aside = tangent[:, None] * rng.normal(0, 0.05, 2)
            rotation = look_along(
                np.einsum("tij,ti->tj", rotation, np.column_stack([aside, np.ones(len(rows))])),
                CAMERA_DOWN,
            )
            tangent = tangent * np.exp(rng.normal(0, 0.1))
            colour = (
                rng.uniform(0.6, 1.4) * rng.uniform(0.9, 1.1, 3) * (colour - 128)
                + 128
                + rng.normal(0, 20)
            )
        table = np.broadcast_to(colour.clip(0, 255), (256, 3)).astype(np.uint8)[None]
        camera = seen.recording.camera
        images = np.stack(
            [
                cv2.LUT(
                    crop(
                        read_image(seen.path(row), camera.size),
                        camera,
                        rotation[i],
                        tangent[i],
                        self.side,
                    ),
                    table,
                )
                for i, row in enumerate(rows)
            ]
        )
        joints_m = seen.joints_m[rows] @ rotation.swapaxes(1, 2)
        points = joints_m[..., :2] / np.maximum(joints_m[..., 2:], 1e-3) / tangent[:, None, None]
        if varied and rng.random() < 0.5:
            images, joints_m, points = images[:, :, ::-1], mirror(joints_m), mirror(points)
        return points.astype(np.float32), joints_m.astype(np.float32), images.transpose(0, 3, 1, 2)


def _seen(folder: Path, recording: Recording, offsets: np.ndarray) -> _Seen:
    joints_m, usable = canonical(recording)
    rays = recording.camera.rays(recording.keypoints_px)
    usable &= (recording.confidence > 0).sum(1) >= _FEWEST_JOINTS
    steps = np.minimum(
        np.rint(offsets * recording.rate_hz / CLIP_RATE_HZ).astype(int),
        np.arange(1 - len(offsets), 1),
    )
    clips = np.arange(-steps[0], len(recording))[:, None] + steps
    clips = clips[usable[clips].all(1)]
    seen = _Seen(recording, folder, joints_m, *virtual_camera(rays, recording.confidence), clips)
    used = np.unique(clips)
    for path in map(seen.path, used):
        if not path.is_file():
            raise ImageFileError(
                f"{path}: expected an image there, as the recording {recording.name} says"
            )
    if len(used):
        read_image(seen.path(used[0]), recording.camera.size)
    return seen
