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

"""Scenes to measure on: a video, or people cut out of the shipped clip and put side by side."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.io.videos import frames
from pose3d_ros.offline import ASSUMED_FOV_RAD
from pose3d_ros.resources import share

SIZE = (1280, 720)
TILE = (256, 360)  # a place on the canvas, width and height
CUT_OUT = (240, 450)  # of the clip around a person
PASTED = (192, 360)
PLACES = (SIZE[0] // TILE[0]) * (SIZE[1] // TILE[1])
CUT_OUT_FRAMES = 30
GREY = 114


@dataclass(frozen=True)
class Scene:
    """Images (H, W, 3) uint8 of one size, played forwards and backwards in turn so that nobody
    jumps.

    ``people``: how many there are; 0 where that is not known.
    """

    name: str
    images: Sequence[np.ndarray]
    camera: Camera
    people: int = 0

    def endless(self) -> Iterator[np.ndarray]:
        """Frame after frame."""
        while True:
            yield from self.images
            yield from self.images[-2:0:-1]


def clip(path: Path, count: int) -> Scene:
    """The first ``count`` frames of a video, seen with an assumed field of view. Raises
    ``ValueError``.
    """
    images = [image for image, _ in islice(frames(path), count)]
    if not images:
        raise ValueError(f"video {path}: no frame could be read")
    height, width = images[0].shape[:2]
    return Scene(path.name, images, Camera.from_fov(width, height, ASSUMED_FOV_RAD))


def crowd(count: int) -> Scene:
    """``count`` people before a grey wall in a picture of 1280x720, whatever their number."""
    if not 1 <= count <= PLACES:
        raise ValueError(
            f"people: expected 1 to {PLACES}, as many as there is room for in a picture of "
            f"{SIZE[0]}x{SIZE[1]}, got {count}"
        )
    people = cut_outs()
    images = [canvas(people, range(count), number) for number in range(CUT_OUT_FRAMES)]
    return Scene(
        f"{count} {'person' if count == 1 else 'people'}",
        images,
        Camera.from_fov(*SIZE, ASSUMED_FOV_RAD),
        count,
    )


def cut_outs() -> list[np.ndarray]:
    """People of the shipped clip, (CUT_OUT_FRAMES, H, W, 3) uint8 each, alone in their picture,
    which follows them.
    """
    with np.load(share("demo", "truth.npz")) as truth:
        joints, transforms = truth["joints_m"], truth["camera_from_world"]
    found = []
    for number, transform in enumerate(transforms):
        camera = Camera.from_yaml(share("demo", f"cam{number}.yaml"))
        pixels = replace(camera, camera_from_world=transform).project(joints)
        low, high = pixels.min(2), pixels.max(2)  # (T, P, 2)
        corners = np.clip((low + high - CUT_OUT) / 2, 0, np.array(camera.size) - CUT_OUT).astype(
            int
        )
        starts = [
            (start, person)
            for person, other in ((0, 1), (1, 0))
            if (start := _alone(corners[:, person, 0], low[:, other, 0], high[:, other, 0]))
            is not None
        ]
        last = max(start for start, _ in starts) + CUT_OUT_FRAMES
        images = [image for image, _ in islice(frames(share("demo", f"cam{number}.mp4")), last)]
        found += [
            np.stack(
                [
                    cv2.resize(
                        image[y : y + CUT_OUT[1], x : x + CUT_OUT[0]],
                        PASTED,
                        interpolation=cv2.INTER_AREA,
                    )
                    for image, (x, y) in zip(images[start:], corners[start:, person], strict=False)
                ][:CUT_OUT_FRAMES]
            )
            for start, person in starts
        ]
    return found


def _alone(left: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> int | None:
    """First frame of the first CUT_OUT_FRAMES in which nobody else is in the cut-out that begins
    at ``left`` (T,).
    """
    free = (other_high < left) | (other_low > left + CUT_OUT[0])
    starts = np.flatnonzero(
        np.convolve(free, np.ones(CUT_OUT_FRAMES), "valid") > CUT_OUT_FRAMES - 0.5
    )
    return int(starts[0]) if len(starts) else None


def canvas(people: Sequence[np.ndarray], places: Sequence[int], number: int) -> np.ndarray:
    """The picture (720, 1280, 3) uint8 of frame ``number`` with somebody at each of the
    ``places``, each in a pose of their own.
    """
    picture = np.full((SIZE[1], SIZE[0], 3), GREY, np.uint8)
    columns = SIZE[0] // TILE[0]
    for place in places:
        person, lag = people[place % len(people)], 7 * (place // len(people))
        period = 2 * (CUT_OUT_FRAMES - 1)
        phase = (number + lag) % period
        x, y = place % columns * TILE[0] + (TILE[0] - PASTED[0]) // 2, place // columns * TILE[1]
        picture[y : y + PASTED[1], x : x + PASTED[0]] = person[min(phase, period - phase)]
    return picture
