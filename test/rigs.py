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

"""Rigs of cameras and walking people with known truth, for the multi-view tests."""

from __future__ import annotations

import numpy as np
from bodies import STANDING_M

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import look_at
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17


def ring(
    count: int, radius: float = 5.0, height: float = 2.2, distortion: tuple[float, ...] = ()
) -> list[Camera]:
    """Cameras on a circle, 1280x960, all looking at a point one metre above the origin."""
    angles = 2 * np.pi * np.arange(count) / max(count, 3)  # two are not opposite each other
    matrix = np.array([[900, 0, 640], [0, 910, 480], [0, 0, 1.0]])
    return [
        Camera(
            matrix,
            (1280, 960),
            np.array(distortion),
            frame_id=f"cam{i}",
            camera_from_world=look_at([radius * np.cos(a), radius * np.sin(a), height], [0, 0, 1]),
        )
        for i, a in enumerate(angles)
    ]


def standing(places_m: np.ndarray, heading_rad: np.ndarray, stride: float = 0.0) -> np.ndarray:
    """People (P, 17, 3) in a world with z up, pelvis above ``places_m`` (P, 2); arms and legs
    swing with ``stride``.
    """
    body = np.stack([STANDING_M[:, 0], STANDING_M[:, 2], 0.92 - STANDING_M[:, 1]], -1).astype(
        float
    )
    for side, sign in (("l", 1), ("r", -1)):
        knee, ankle, elbow, wrist = H36M17.indices(
            *(f"{side}_{n}" for n in ("knee", "ankle", "elbow", "wrist"))
        )
        body[[knee, ankle, elbow, wrist], 1] += (
            sign * np.sin(stride) * np.array([0.1, 0.2, -0.08, -0.15])
        )
    cos, sin = np.cos(heading_rad), np.sin(heading_rad)
    turned = np.stack(
        [
            np.outer(cos, body[:, 0]) - np.outer(sin, body[:, 1]),
            np.outer(sin, body[:, 0]) + np.outer(cos, body[:, 1]),
            np.tile(body[:, 2], (len(cos), 1)),
        ],
        -1,
    )
    turned[..., :2] += np.asarray(places_m, float)[:, None]
    return turned


def detected(
    camera: Camera,
    people_m: np.ndarray,
    stamp_ns: int,
    rng: np.random.Generator,
    noise_px: float = 2.0,
    missed: float = 0.0,
    false_people: float = 0.0,
) -> People2D:
    """What a detector finds in one image, in random order: joints ``missed`` at random, and false
    people.
    """
    pixels = camera.project(people_m) + rng.normal(0, noise_px, (*people_m.shape[:2], 2))
    inside = ((pixels > 0) & (pixels < camera.size)).all(-1)
    pixels[~inside | (rng.random(inside.shape) < missed)] = np.nan
    pixels = pixels[inside.sum(1) >= 4]
    if rng.random() < false_people:
        ghost = camera.project(standing(rng.uniform(-3, 3, (1, 2)), rng.uniform(0, 6, 1)))
        pixels = np.concatenate([pixels, ghost])
    confidence = np.where(np.isfinite(pixels).all(-1), rng.uniform(0.5, 1, pixels.shape[:2]), 0)
    order = rng.permutation(len(pixels))
    return People2D(H36M17, pixels[order], confidence[order], stamp_ns, camera.size)
