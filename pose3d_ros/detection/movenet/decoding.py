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

"""Decoding of MoveNet's heads, in numpy: people's centres, their keypoints by regression, and
those keypoints moved to the heat around them.

After the published graphs (TF Hub ``movenet/multipose/lightning`` and
``movenet/singlepose/thunder``), whose decoding stops at six people; this one at ``most``. The
heads have a cell for every ``STRIDE`` pixels of the network's picture; their coordinates count
from the picture's corner, so a pixel's centre is at a half.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.special import expit

from pose3d_ros.detection.poses import Poses

STRIDE = 4
JOINTS = 17
SPREAD = 0.3
"""Variance of the Gaussian around a rough joint, in parts of half the shorter side of the map."""
MIN_KEYPOINT = 0.127
"""Keypoints below this score say nothing about whether there is a person (published graph)."""
SINGLE_REACH = 1.8
"""Cells by which the weights of Thunder's heads fall off: 1 / (distance + ``SINGLE_REACH``)."""
Array = npt.NDArray[Any]


def decode_people(heads: Mapping[str, Array], most: int, min_centre: float) -> Poses:
    """People in one picture, best first, at most ``most``, in its pixels from its corner; some may
    be there twice.

    ``heads``: ``center`` (1, H, W), ``box_scale`` (2, H, W), ``box_offset`` (2, H, W), ``heat``
    (17, H, W), ``regress`` and ``offset`` (34, H, W), y before x. ``min_centre``: least score of a
    centre.
    """
    centre = expit(heads["center"][0])
    height, width = centre.shape
    peaks = np.where(centre >= cv2.dilate(centre, np.ones((5, 5), np.uint8)) - 1e-6, centre, 0)
    best = np.argsort(-peaks.ravel(), kind="stable")[:most]
    best = best[peaks.ravel()[best] > min_centre]
    y, x = best // width, best % width
    count = len(best)
    middle = heads["box_offset"][:, y, x] + (y, x)
    half = np.maximum(heads["box_scale"][:, y, x], 0) / 2
    low, high = (np.clip(middle + side, 0, [[height], [width]]) for side in (-half, half))
    rough = heads["regress"][:, y, x].reshape(JOINTS, 2, count) + np.stack([y, x])
    variance = SPREAD * min(height, width)
    heat = expit(heads["heat"])
    rows, columns = np.zeros((2, JOINTS, count), int)
    scores = np.zeros((JOINTS, count))
    joints = np.arange(JOINTS)
    for person in range(count):  # each within their own box
        top, left = np.ceil(low[:, person]).astype(int)
        bottom, right = np.ceil(high[:, person]).astype(int)
        if bottom <= top or right <= left:
            continue
        down, across = np.arange(top, bottom), np.arange(left, right)
        near_y = np.exp(-((down - rough[:, 0, person, None]) ** 2) / variance)
        near_x = np.exp(-((across - rough[:, 1, person, None]) ** 2) / variance)
        window = heat[:, top:bottom, left:right] * near_y[:, :, None] * near_x[:, None]
        flat = window.reshape(JOINTS, -1)
        at = flat.argmax(1)
        rows[:, person], columns[:, person] = np.divmod(at, right - left) + np.array(
            [[top], [left]]
        )
        scores[:, person] = flat[joints, at]
    keypoints = _with_offsets(heads["offset"], rows, columns)
    sure = scores > MIN_KEYPOINT
    mean = np.where(sure, scores, 0).sum(0) / np.maximum(sure.sum(0), 1)
    return Poses(
        keypoints.swapaxes(0, 1),
        scores.T,
        np.stack([low[1], low[0], high[1], high[0]], -1) * STRIDE,
        peaks.ravel()[best] * mean,
    )


def _with_offsets(offset: Array, rows: Array, columns: Array) -> Array:
    """Keypoints (17, P, 2) x y in pixels of cells (17, P), moved within them."""
    joint = np.arange(JOINTS)[:, None]
    moves = offset.reshape(JOINTS, 2, *offset.shape[1:])
    y = rows + moves[joint, 0, rows, columns]
    x = columns + moves[joint, 1, rows, columns]
    return np.stack([x, y], -1) * float(STRIDE)


def without_twins(poses: Poses, same: float = 0.08, share: float = 0.45) -> Array:
    """Rows of different people, best first: of two poses, the worse one is a twin when ``share``
    of their keypoints (weighted by both scores) are within ``same`` of the square root of its
    box.
    """
    kept: list[int] = []
    for row in np.argsort(-poses.person, kind="stable").tolist():
        apart = np.linalg.norm(poses.keypoints_px[kept] - poses.keypoints_px[row], axis=-1)
        weight = poses.scores[kept] * poses.scores[row]
        close = (weight * (apart < same * poses.sides_px[row])).sum(1)
        if not (close > share * np.maximum(weight.sum(1), 1e-9)).any():
            kept.append(row)
    return np.array(kept, int)


def decode_single(heads: Mapping[str, Array]) -> tuple[Array, Array, Array]:
    """The person nearest to the middle of each of P square crops: keypoints (P, 17, 2) x y in the
    unit square, scores (P, 17), score of the centre (P,).

    ``heads``: ``center`` (P, 1, H, W), ``heat`` (P, 17, H, W), ``regress`` and ``offset``
    (P, 34, H, W).
    """
    people, _, height, width = heads["center"].shape
    y, x = np.mgrid[:height, :width]
    weight = 1 / (np.hypot(y - height // 2, x - width // 2) + SINGLE_REACH)
    centre = expit(heads["center"][:, 0])
    at = (centre * weight).reshape(people, -1).argmax(1)
    row, column, person = at // width, at % width, np.arange(people)
    rough = heads["regress"][person, :, row, column].reshape(people, JOINTS, 2) + np.stack(
        [row, column], -1
    )[:, None].astype(np.float32)
    heat = expit(heads["heat"])
    distance = np.hypot(
        np.arange(height, dtype=np.float32)[:, None] - rough[..., 0, None, None],
        np.arange(width, dtype=np.float32) - rough[..., 1, None, None],
    )
    best = (heat / (distance + np.float32(SINGLE_REACH))).reshape(people, JOINTS, -1).argmax(-1)
    rows, columns = best // width, best % width
    person, joint = person[:, None], np.arange(JOINTS)
    moves = heads["offset"].reshape(people, JOINTS, 2, height, width)
    keypoints = np.stack(
        [
            columns + moves[person, joint, 1, rows, columns],
            rows + moves[person, joint, 0, rows, columns],
        ],
        -1,
    )
    size = np.array([width, height])
    return keypoints / size, heat[person, joint, rows, columns], centre.reshape(people, -1).max(1)
