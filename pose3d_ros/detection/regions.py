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

"""Square, turned regions of interest: arrays (P, 4) of centre x, centre y and side in pixels, and
angle in radians.

A region with angle 0 is upright; a positive angle turns it clockwise in the picture. Coordinates
inside a region are (0, 0) at its top left and (1, 1) at its bottom right corner.
"""

from __future__ import annotations

import cv2
import numpy as np


def from_alignment(centre_px: np.ndarray, top_px: np.ndarray, scale: float) -> np.ndarray:
    """Regions (P, 4) around ``centre_px`` (P, 2) that reach ``scale`` times as far as ``top_px``
    (P, 2), which is up.

    MediaPipe's AlignmentPointsRectsCalculator followed by RectTransformationCalculator.
    """
    x, y = (top_px - centre_px).T
    return np.column_stack([centre_px, 2 * scale * np.hypot(x, y), np.arctan2(x, -y)])


def image_from_region(regions: np.ndarray) -> np.ndarray:
    """(P, 2, 3) affine maps from coordinates in the regions (P, 4) to pixels."""
    x, y, side, angle = np.asarray(regions, float).reshape(-1, 4).T
    cos, sin = side * np.cos(angle), side * np.sin(angle)
    return np.stack(
        [
            np.stack([cos, -sin, x - (cos - sin) / 2], -1),
            np.stack([sin, cos, y - (sin + cos) / 2], -1),
        ],
        1,
    )


def region_from_image(regions: np.ndarray) -> np.ndarray:
    """(P, 2, 3) affine maps from pixels to coordinates in the regions (P, 4)."""
    maps = image_from_region(regions)
    inverse = np.linalg.inv(maps[:, :, :2])
    return np.concatenate([inverse, -inverse @ maps[:, :, 2:]], 2)


def transform(maps: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (P, J, 2) through affine maps (P, 2, 3)."""
    return np.asarray(points @ maps[:, :, :2].swapaxes(1, 2) + maps[:, None, :, 2])


def crop(
    image: np.ndarray, regions: np.ndarray, side: int, within: np.ndarray | None = None
) -> np.ndarray:
    """(P, side, side, 3) pictures of the regions (P, 4); black outside of the image, and outside
    of the boxes ``within`` (P, 4) x0 y0 x1 y1, if given.

    A region much larger than its picture is shrunk by averaging first: sampling it alone shows
    noise that is not there, which costs keypoints a sixth more jitter.
    """
    pictures = np.empty((len(regions), side, side, 3), np.uint8)
    size = np.array([image.shape[1], image.shape[0]])
    boxes = np.tile(size, (len(regions), 2)) * [0, 0, 1, 1] if within is None else within
    for picture, region, box in zip(pictures, regions, boxes, strict=True):
        low = np.clip(np.floor(box[:2]), 0, size - 1).astype(int)
        high = np.clip(np.ceil(box[2:]), low + 1, size).astype(int)
        source, factor = image[low[1] : high[1], low[0] : high[0]], int(region[2] // side)
        region = region - [*low, 0, 0]
        (map_,) = image_from_region(region)
        if factor > 1:
            source, corner = _shrunk(source, region, factor)
            map_ = np.column_stack([map_[:, :2], map_[:, 2] + 0.5 - corner]) / factor - [
                [0, 0, 0.5]
            ]
        # Pixel centres of the picture are at (i + 0.5) / side in the region; those of the image at
        # whole numbers.
        linear = map_[:, :2] / side
        offset = map_[:, 2] + linear.sum(1) / 2
        cv2.warpAffine(
            source,
            np.column_stack([linear, offset]),
            (side, side),
            dst=picture,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
    return pictures


def _shrunk(image: np.ndarray, region: np.ndarray, factor: int) -> tuple[np.ndarray, np.ndarray]:
    """The part of the image around a region (4,), ``factor`` times smaller, and its top left pixel
    (x, y).
    """
    size = np.array([image.shape[1], image.shape[0]])
    reach = region[2] / 2 * (abs(np.cos(region[3])) + abs(np.sin(region[3]))) + factor
    low = np.clip(region[:2] - reach, 0, size - 1).astype(int)
    high = np.clip(region[:2] + reach, low + 1, size).astype(int)
    width, height = np.maximum((high - low) // factor, 1)
    part = image[low[1] : low[1] + height * factor, low[0] : low[0] + width * factor]
    return cv2.resize(part, (int(width), int(height)), interpolation=cv2.INTER_AREA), low
