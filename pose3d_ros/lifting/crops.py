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

"""Crops for lifters of pictures: each person as a virtual camera that looks at them would.

As for keypoints (``normalise``), its axis goes through the torso and its field of view is as wide
as the person is large. So a crop is what any camera would see, the answer is in the axes of
keypoint lifters, and place in the image and intrinsics drop out.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import numpy.typing as npt

from pose3d_ros.camera import Camera
from pose3d_ros.lifting.normalise import normalise

REACH = 2.6
"""Half the side of a crop in sizes of the person (``lifting.normalise``): the joints of 99 % of
people in the motion capture data are within 2.5.
"""


def virtual_camera(rays: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotations (T, 3, 3) from the camera to those that look at a person with rays (T, 17, 2) and
    confidence (T, 17), and the tangents (T,) of half their fields of view.
    """
    keypoints, rotation = normalise(rays[:, None], confidence[:, None])
    return rotation, tangents(keypoints)


def tangents(keypoints: np.ndarray) -> np.ndarray:
    """Tangents (P,) of half the fields of view of virtual cameras from ``normalise``'s keypoints
    (P, T, 18, 3).
    """
    return np.asarray(REACH * np.exp(keypoints[:, -1, -1, 0]))


def pictures(
    image: np.ndarray, camera: Camera, rotation: np.ndarray, keypoints: np.ndarray, side: int
) -> np.ndarray:
    """(P, 1, 3, side, side) float32, x / 256 - 0.5, blue first: an image (H, W, 3) uint8 as the
    virtual cameras of ``normalise``'s rotations (P, 3, 3) and keypoints (P, T, 18, 3) see it.
    """
    views = zip(rotation, tangents(keypoints), strict=True)
    seen = np.stack([crop(image, camera, turn, tangent, side) for turn, tangent in views])
    planes: npt.NDArray[np.float32] = seen.transpose(0, 3, 1, 2)[:, None].astype(np.float32)
    return np.asarray(planes / np.float32(256) - np.float32(0.5))


def crop(
    image: np.ndarray, camera: Camera, rotation: np.ndarray, tangent: float, side: int
) -> np.ndarray:
    """(side, side, 3) what a virtual camera sees of an image (H, W, 3): turned by ``rotation`` (3,
    3) from the camera, half as wide as ``tangent``, without distortion. Black beyond the image.
    """
    # An image with much finer pixels is shrunk by averaging first: sampling alone shows noise that
    # is not there.
    factor = max(int(2 * tangent * camera.matrix[0, 0] / side), 1)
    width, height = (length // factor for length in camera.size)
    if factor > 1 and min(width, height) > 0:
        whole = replace(camera, size=(factor * width, factor * height))
        image = cv2.resize(
            image[: whole.size[1], : whole.size[0]], (width, height), interpolation=cv2.INTER_AREA
        )
        camera = whole.at_resolution(width, height)
    cells = ((np.arange(side) + 0.5) * (2 / side) - 1) * tangent
    rays = np.stack([*np.meshgrid(cells, cells), np.ones((side, side))], -1) @ rotation
    pixels = (
        np.nan_to_num(camera.project(rays, "camera"), nan=-1e4).clip(-1e4, 1e4).astype(np.float32)
    )
    x, y = cv2.split(pixels)
    return np.asarray(cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT))
