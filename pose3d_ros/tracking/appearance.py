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

"""What people wear: colours of body parts, which tell them apart where motion does not.

A part's colours are described by quantiles of L, a and b (CIE 1976) of pixels along it. The mean
distance of two people's quantiles is the earth mover's distance of their histograms, exactly (in
one dimension it compares sorted values), and the mean of quantiles is a mean of histograms.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from pose3d_ros.arrays import ImageBgr, Rows
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17

SAMPLES, QUANTILES = 24, 6
LIGHTNESS_WEIGHT = 0.5  # L changes with the light where a and b do not
SURE = 0.3  # confidence of the joints at a part's ends
LEARN_S = 1.0  # colours are those of this time
FREE_SHARE = 0.2  # of a part's pixels may lie in another person's box where its colours are learnt


def _between(
    corners: Sequence[str], across: Sequence[float], along: Sequence[float]
) -> np.ndarray:
    """Weights (samples, 17) of the joints for points in the quadrilateral of four joints: first
    two, last two.
    """
    rows = []
    for u, v in itertools.product(across, along):
        row = np.zeros(len(H36M17))
        for joint, weight in zip(
            H36M17.indices(*corners),
            ((1 - u) * (1 - v), u * (1 - v), (1 - u) * v, u * v),
            strict=True,
        ):
            row[joint] += weight
        rows.append(row)
    return np.array(rows)


def _limbs(upper: str, lower: str) -> np.ndarray:
    """The same for points along both limbs from one joint to the next."""
    along = np.linspace(0.15, 0.85, SAMPLES // 2)
    corners = f"l_{upper}", f"r_{upper}", f"l_{lower}", f"r_{lower}"
    return _between(corners, (0, 1), along.tolist())


_TRUNK = _between(
    ("l_shoulder", "r_shoulder", "l_hip", "r_hip"),
    np.linspace(0.2, 0.8, 4).tolist(),
    np.linspace(0.1, 0.9, SAMPLES // 4).tolist(),
)
_POINTS = np.stack(
    [
        _TRUNK,
        _limbs("shoulder", "elbow"),
        _limbs("elbow", "wrist"),
        _limbs("hip", "knee"),
        _limbs("knee", "ankle"),
    ]
)
"""Weights (parts, SAMPLES, 17) of the joints for the points of each part."""
_ENDS = _POINTS.any(1)  # (parts, 17)
PARTS = len(_POINTS)


@dataclass
class Appearance(Rows):
    """Colours of P people: ``quantiles`` (P, parts, QUANTILES, 3) of L, a and b; ``known`` (P,
    parts) which parts were seen, ``free`` (P, parts) which of them nobody else is near.
    """

    quantiles: np.ndarray
    known: np.ndarray
    free: np.ndarray

    @classmethod
    def unknown(cls, people: int) -> Appearance:
        """Of people whose colours nobody has seen."""
        none = np.zeros((people, PARTS), bool)
        return cls(np.zeros((people, PARTS, QUANTILES, 3)), none, none)

    @classmethod
    def of(cls, people: People2D, image_bgr: ImageBgr) -> Appearance:
        """What people (in Human3.6M's joints) look like in their image (H, W, 3) uint8."""
        if not len(people):
            return cls.unknown(0)
        height, width = image_bgr.shape[:2]
        seen = (people.confidence >= SURE) & np.isfinite(people.keypoints_px).all(-1)
        keypoints = np.where(seen[..., None], people.keypoints_px, 0)
        points = np.einsum("msj,pjx->pmsx", _POINTS, keypoints)
        x, y = np.rint(points).clip(-1, [width, height]).astype(int).transpose(3, 0, 1, 2)
        inside = ((x >= 0) & (x < width) & (y >= 0) & (y < height)).all(2)
        known = inside & (seen[:, None] | ~_ENDS).all(2)
        pixels = image_bgr[y.clip(0, height - 1), x.clip(0, width - 1)].reshape(1, -1, 3)
        lab = cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_BGR2LAB)
        ordered = np.sort(lab.reshape(len(people), PARTS, SAMPLES, 3), axis=2)
        quantiles = ordered.reshape(len(people), PARTS, QUANTILES, -1, 3).mean(3)
        boxes = people.boxes_px(SURE)[:, None, None, None]  # of the others
        within = (points >= boxes[..., :2]) & (points <= boxes[..., 2:])
        shared = within.all(-1).mean(-1)  # (others, P, parts)
        shared[np.arange(len(people)), np.arange(len(people))] = 0
        return cls(quantiles, known, known & (shared <= FREE_SHARE).all(0))

    def distance(self, others: Appearance) -> np.ndarray:
        """Mean difference (P, O) of the colours of parts that both show, NaN where there are
        none.
        """
        apart = np.abs(self.quantiles[:, None] - others.quantiles).mean(3)  # (P, O, parts, 3)
        apart = apart @ [LIGHTNESS_WEIGHT, 1.0, 1.0]
        both = self.known[:, None] & others.known
        number = both.sum(2)
        return np.where(number > 0, (apart * both).sum(2) / np.maximum(number, 1), np.nan)

    def learnt(self, seen: Appearance, share: np.ndarray) -> Appearance:
        """These people's colours after they were ``seen`` so, of which the ``share`` (P,) is
        taken over where they are free; all of what was not known before.
        """
        weight = np.where(self.known, share[:, None], 1.0) * seen.free
        quantiles = self.quantiles + weight[..., None, None] * (seen.quantiles - self.quantiles)
        return Appearance(quantiles, self.known | seen.free, seen.free)
