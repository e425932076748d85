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

"""BlazePose's landmark network: 33 keypoints and two auxiliary points of each person's crop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from pose3d_ros.detection import regions
from pose3d_ros.detection.confidence import Calibration
from pose3d_ros.inference import Engine

FULL, HEAVY = "blazepose-full", "blazepose-heavy"
SIDE = 256
LANDMARKS = 33
REGION_SCALE = 1.25
"""Crops reach so much further than the circle around the body."""
REFINE_WINDOW = 7
MIN_HEAT = 0.5
LEVELS = ("features0", "features1", "features2", "features3")


@dataclass(frozen=True)
class Landmarks:
    """The network's answer about P crops.

    ``keypoints_px`` (P, 33, 2); ``confidence`` (P, 33); ``auxiliary_px`` (P, 2, 2) mid-hip and the
    top of the circle around the body; ``presence`` (P,) probability that the crop shows a person;
    ``heat`` (P,) how sharply it sees the keypoints that it calls visible, 0 to 1;
    ``root_relative_depth_px`` (P, 33) as in ``People2D``; ``features`` (P, C, H, W) per level, as
    asked for.
    """

    keypoints_px: np.ndarray
    confidence: np.ndarray
    auxiliary_px: np.ndarray
    presence: np.ndarray
    heat: np.ndarray
    root_relative_depth_px: np.ndarray
    features: tuple[np.ndarray, ...]

    def __getitem__(self, rows: np.ndarray) -> Landmarks:
        """The crops chosen by indices or a mask."""
        return Landmarks(
            self.keypoints_px[rows],
            self.confidence[rows],
            self.auxiliary_px[rows],
            self.presence[rows],
            self.heat[rows],
            self.root_relative_depth_px[rows],
            tuple(level[rows] for level in self.features),
        )


def read(
    engine: Engine,
    image_bgr: np.ndarray,
    where: np.ndarray,
    calibration: Calibration,
    within: np.ndarray | None = None,
) -> Landmarks:
    """Landmarks in the regions ``where`` (P, 4) of an image (H, W, 3) uint8, of which the network
    sees what is ``within`` the boxes (P, 4).
    """
    crops = regions.crop(image_bgr, where, SIDE, within)
    return decode(engine({"image": crops}), where, calibration)


def decode(
    raw: Mapping[str, np.ndarray],
    where: np.ndarray,
    calibration: Calibration,
) -> Landmarks:
    """Landmarks from the network's outputs for crops of the regions ``where`` (P, 4)."""
    values = raw["landmarks"].reshape(len(where), -1, 5)  # 39 x (x, y, z, visibility, presence)
    points = refine(values[..., :2] / SIDE, raw["heatmap"])
    points_px = regions.transform(regions.image_from_region(where), points)
    visibility, presence = values[:, :LANDMARKS, 3], values[:, :LANDMARKS, 4]
    peak = raw["heatmap"][:, :LANDMARKS].max((2, 3))
    visible = expit(visibility.astype(float)) * expit(presence.astype(float))
    heat = (visible * expit(peak.astype(float))).sum(1) / np.maximum(visible.sum(1), 1e-6)
    return Landmarks(
        points_px[:, :LANDMARKS],
        calibration(peak, visibility),
        points_px[:, LANDMARKS : LANDMARKS + 2],
        raw["presence"][:, 0],
        heat,
        values[:, :LANDMARKS, 2] * (where[:, 2:3] / SIDE),
        tuple(raw[level] for level in LEVELS if level in raw),
    )


def refine(points: np.ndarray, heatmap: np.ndarray) -> np.ndarray:
    """Points (P, J, 2) in the unit square, moved to the centre of heat around them.

    ``heatmap`` (P, J, H, W) holds logits. A point without heat of ``MIN_HEAT`` near it stays, as
    one outside does. After MediaPipe's RefineLandmarksFromHeatmapCalculator, but with the window
    around the nearest cell instead of the one to the top left, which draws points there.
    """
    people, joints, height, width = heatmap.shape
    size = np.array([width, height])
    centre = np.rint(points * size).astype(int)
    inside = ((centre >= 0) & (centre < size)).all(-1)
    reach = np.arange(REFINE_WINDOW) - REFINE_WINDOW // 2
    column, row = centre[..., None, 0] + reach, centre[..., None, 1] + reach  # (P, J, 7)
    valid = ((row >= 0) & (row < height))[..., :, None] & ((column >= 0) & (column < width))[
        ..., None, :
    ]
    window = heatmap[
        np.arange(people)[:, None, None, None],
        np.arange(joints)[:, None, None],
        np.clip(row, 0, height - 1)[..., :, None],
        np.clip(column, 0, width - 1)[..., None, :],
    ]
    heat = np.where(valid, expit(window.astype(float)), 0)
    total = heat.sum((-2, -1))
    moment = np.stack([(heat.sum(-2) * column).sum(-1), (heat.sum(-1) * row).sum(-1)], -1)
    mean = moment / np.maximum(total, 1e-9)[..., None]
    hot = inside & (heat.max((-2, -1)) >= MIN_HEAT)
    return np.where(hot[..., None], mean / size, points)
