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

"""Skeletons drawn into pictures and seen in space, and the colours that tell people and sides
apart.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import CAMERA_DOWN, camera_pose, look_along
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import Skeleton

_GOLDEN_RATIO = 0.618034  # steps around the colour circle that never come close to one another
DASH_WIDTHS, MOST_DASHES = 4, 30
MOST_PX = 8000  # pixels far outside would overflow OpenCV's 16-bit coordinates
_VALUE = {"l": 1.0, "r": 0.55}  # left limbs bright, right limbs dark


def colour(person: int, joint: str = "") -> tuple[float, float, float]:
    """RGB in 0..1 of a person's limb that ends at ``joint``: the hue is the person's, the
    brightness tells the side.
    """
    value = _VALUE.get(joint[0], 0.8) if joint[1:2] == "_" else 0.8
    return colorsys.hsv_to_rgb(person * _GOLDEN_RATIO % 1.0, 0.85, value)


def limb_colours(skeleton: Skeleton, person: int) -> np.ndarray:
    """(L, 3) RGB in 0..1 of a person's limbs."""
    return np.array([colour(person, child) for _, child in skeleton.limbs])


def draw_people(
    image_bgr: np.ndarray, people: People2D, min_confidence: float = 0.3
) -> np.ndarray:
    """A copy of the (H, W, 3) uint8 picture with limbs, joints and track ids of people.

    Joints below ``min_confidence`` are not marked and their limbs are dashed; those without any
    confidence are left out.
    """
    picture: npt.NDArray[np.uint8] = np.array(image_bgr, order="C")
    width = max(2, round(picture.shape[0] / 240))
    for person, keypoints, confidence in zip(
        people.ids.tolist(), people.keypoints_px, people.confidence, strict=True
    ):
        known = np.isfinite(keypoints).all(-1) & (confidence > 0)
        shown = known & (confidence >= min_confidence)
        points = np.clip(np.nan_to_num(keypoints), -MOST_PX, MOST_PX).round().astype(int)
        bgr = 255 * limb_colours(people.skeleton, person)[:, ::-1]
        for (parent, child), limb_bgr in zip(people.skeleton.limb_indices, bgr, strict=True):
            if known[parent] and known[child]:
                whole = bool(shown[parent] and shown[child])
                _line(picture, points[[parent, child]], limb_bgr.tolist(), width, dashed=not whole)
        for joint in np.flatnonzero(shown):
            cv2.circle(picture, points[joint].tolist(), width, (255, 255, 255), -1, cv2.LINE_AA)
        if shown.any():
            top = points[shown][points[shown][:, 1].argmin()]
            cv2.putText(
                picture,
                str(person),
                (int(top[0]), int(top[1]) - 4 * width),
                cv2.FONT_HERSHEY_SIMPLEX,
                0.4 * width,
                (255, 255, 255),
                width,
                cv2.LINE_AA,
            )
    return picture


def _line(
    picture: np.ndarray, ends: np.ndarray, bgr: list[float], width: int, *, dashed: bool
) -> None:
    """Draw a line between two pixels (2, 2), or as thin dashes of ``DASH_WIDTHS``."""
    pieces = ends[None]
    if dashed:
        length = float(np.linalg.norm(ends[1] - ends[0]))
        count = min(max(int(length / (DASH_WIDTHS * width)), 2), MOST_DASHES)
        stops = np.linspace(0, 1, 2 * count)[:, None] * (ends[1] - ends[0]) + ends[0]
        pieces, width = stops.round().astype(int).reshape(-1, 2, 2), max(1, width // 2)
    for start, end in pieces.tolist():
        cv2.line(picture, start, end, bgr, width, cv2.LINE_AA)


BACKGROUND, GRID, SHADOW = (40, 36, 32), (78, 72, 66), (24, 22, 20)  # BGR
TEXT = (200, 200, 200)
CELL_M = 0.5


def viewpoint(
    focus_m: np.ndarray,
    distance_m: float,
    size: tuple[int, int],
    azimuth_rad: float = 0.7,
    elevation_rad: float = 0.3,
) -> Camera:
    """A camera that looks at ``focus_m`` from the side and from above, for ``render_view``.

    ``focus_m`` (3,) in the optical frame of the real camera, which stands for the world here:
    ``azimuth_rad`` 0 looks from where that camera is, and its y axis is taken for down. ``size``
    (width, height) of the picture.
    """
    forward = np.array(
        [
            -math.sin(azimuth_rad) * math.cos(elevation_rad),
            math.sin(elevation_rad),
            math.cos(azimuth_rad) * math.cos(elevation_rad),
        ]
    )
    rotation = look_along(forward, CAMERA_DOWN)
    return replace(
        Camera.from_fov(*size, math.radians(50)),
        camera_from_world=camera_pose(rotation, focus_m - distance_m * forward),
    )


def render_view(
    joints_m: np.ndarray,
    ids: np.ndarray,
    skeleton: Skeleton,
    view: Camera,
    floor_m: float,
    guessed: np.ndarray | None = None,
) -> np.ndarray:
    """Picture (H, W, 3) uint8 of people in space on a floor with a grid of half a metre.

    ``joints_m`` (P, J, 3) in the optical frame of the real camera, NaN where unknown; ``ids``
    (P,); ``floor_m`` the floor's height there (y points down). ``view`` from ``viewpoint``. Limbs
    of joints that are ``guessed`` (P, J), as ``people.guessed`` tells, are dashed.
    """
    if guessed is None:
        guessed = np.zeros(joints_m.shape[:2], bool)
    solid = np.zeros(1, bool)

    picture = np.full((view.size[1], view.size[0], 3), BACKGROUND, np.uint8)
    thick = max(2, view.size[1] // 120)
    middle = np.round(view.position_m + 5 * view.camera_from_world[2, :3]) * [1, 0, 1]
    steps = np.arange(-4, 4 + CELL_M, CELL_M)
    ends = np.array(
        [
            [[s, 0, t], [s, 0, t + CELL_M], [t, 0, s], [t + CELL_M, 0, s]]
            for s in steps
            for t in steps[:-1]
        ]
    )
    grid = ends.reshape(-1, 2, 3) + middle + [0, floor_m, 0]
    _segments(picture, view, grid, [GRID], 1, solid)
    for shadow in (True, False):
        for person, joints, unseen in zip(ids.tolist(), joints_m, guessed, strict=True):
            limbs = joints[skeleton.limb_indices] * ([1, 0, 1] if shadow else 1) + [
                0,
                floor_m if shadow else 0,
                0,
            ]
            colours: Any = [SHADOW] if shadow else 255 * limb_colours(skeleton, person)[:, ::-1]
            dashed = unseen[skeleton.limb_indices].any(1)
            _segments(picture, view, limbs, colours, thick, solid if shadow else dashed)
            if not shadow and np.isfinite(joints).any():
                top = view.project(joints[np.nanargmin(joints[:, 1])])
                if np.isfinite(top).all() and np.abs(top).max() < MOST_PX:
                    _text(picture, str(person), top - [0, 4 * thick])
    _text(picture, f"grid {CELL_M:g} m", np.array([8.0, view.size[1] - 8.0]))
    return picture


def _text(picture: np.ndarray, text: str, place_px: np.ndarray) -> None:
    x, y = place_px.round().astype(int).tolist()
    cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, TEXT, 1, cv2.LINE_AA)


def _segments(
    picture: np.ndarray,
    view: Camera,
    ends_m: np.ndarray,
    bgr: Sequence[Any],
    width: int,
    dashed: np.ndarray,
) -> None:
    """Draw lines (L, 2, 3) where both ends are known and before the camera, far ones first; one
    colour or L of them, and as many times whether it is ``dashed``.
    """
    pixels = view.project(ends_m)
    depth = (ends_m.mean(1) - view.position_m) @ view.camera_from_world[2, :3]
    drawn = np.isfinite(pixels).all((1, 2)) & (np.abs(pixels).max((1, 2)) < MOST_PX)
    for i in sorted(np.flatnonzero(drawn), key=lambda line: -depth[line]):
        ends = pixels[i].round().astype(int)
        shade = [float(c) for c in bgr[i % len(bgr)]]
        _line(picture, ends, shade, width, dashed=bool(dashed[i % len(dashed)]))
