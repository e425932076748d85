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

"""Poses as finders give them: rough keypoints of everybody in a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.arrays import Rows
from pose3d_ros.skeleton import COCO17

Array = npt.NDArray[Any]
REACH = 0.2
"""Standard deviation of a keypoint for ``likeness``, in parts of the square root of the box."""


@dataclass
class Poses(Rows):
    """P people: COCO ``keypoints_px`` (P, 17, 2) with ``scores`` (P, 17), ``box_px`` (P, 4)
    x0 y0 x1 y1, and ``person`` (P,), the score of the whole; all scores in 0 to 1.
    """

    keypoints_px: Array
    scores: Array
    box_px: Array
    person: Array

    @classmethod
    def nobody(cls) -> Poses:
        """No poses."""
        joints = len(COCO17)
        return cls(np.zeros((0, joints, 2)), np.zeros((0, joints)), np.zeros((0, 4)), np.zeros(0))

    @property
    def sides_px(self) -> Array:
        """Square roots (P,) of the boxes' areas, at least a pixel."""
        return np.sqrt(np.maximum(np.prod(self.box_px[:, 2:] - self.box_px[:, :2], axis=-1), 1))

    def moved(self, by_px: Array) -> Poses:
        """The same poses elsewhere: each moved by x and y (P, 2)."""
        return Poses(
            self.keypoints_px + by_px[:, None],
            self.scores,
            self.box_px + np.tile(by_px, 2),
            self.person,
        )


def likeness(poses: Poses, keypoints_px: Array, confidence: Array) -> Array:
    """Likeness (P, Q) in 0 to 1 of P poses to Q others with keypoints (Q, 17, 2) and their
    confidence (Q, 17): COCO's object keypoint similarity with one constant for all joints,
    weighted by the scores of both.
    """
    apart = np.linalg.norm(poses.keypoints_px[:, None] - keypoints_px, axis=-1)
    similar = np.exp(-np.square(apart / (REACH * poses.sides_px[:, None, None])) / 2)
    weight = np.where(np.isfinite(apart), poses.scores[:, None] * confidence, 0)
    total = (np.where(np.isfinite(apart), similar, 0) * weight).sum(-1)
    return np.asarray(total / np.maximum(weight.sum(-1), 1e-9))


def mirrored_likeness(poses: Poses, keypoints_px: Array, confidence: Array) -> Array:
    """``likeness`` (P, Q) to the others with left and right exchanged."""
    return likeness(poses, keypoints_px[:, COCO17.flip], confidence[:, COCO17.flip])


def sideless_likeness(poses: Poses, keypoints_px: Array, confidence: Array) -> Array:
    """The larger one (P, Q) of the two: whether they are one body, whichever side is which."""
    others = keypoints_px, confidence
    return np.maximum(likeness(poses, *others), mirrored_likeness(poses, *others))
