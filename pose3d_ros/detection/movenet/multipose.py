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

"""MoveNet MultiPose: finds the people in a whole picture, any number of them, near and far."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from pose3d_ros.detection.movenet.decoding import decode_people, without_twins
from pose3d_ros.detection.poses import Poses
from pose3d_ros.inference import Engine

MODEL = "movenet-multipose"
MULTIPLE = 32
MOST = 64
MIN_CENTRE = 0.1
MIN_PERSON = 0.1


def letterbox(
    image_bgr: npt.NDArray[np.uint8], side: int
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64]]:
    """The picture with its longer side ``side`` pixels long, padded in black at the right and
    below to multiples of 32; and the scale (2,) of x and y.
    """
    height, width = image_bgr.shape[:2]
    scale = side / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    padded = [-(-length // MULTIPLE) * MULTIPLE for length in size]
    picture = np.zeros((padded[1], padded[0], 3), np.uint8)
    picture[: size[1], : size[0]] = cv2.resize(image_bgr, size, interpolation=how)
    return picture, np.array(size) / (width, height)


def find(engine: Engine, picture: npt.NDArray[np.uint8], scale: npt.NDArray[np.float64]) -> Poses:
    """People in a ``letterbox``, best first, in pixels of the picture that it was made of."""
    heads = {name: head[0] for name, head in engine({"image": picture[None]}).items()}
    poses = decode_people(heads, MOST, MIN_CENTRE)
    found = Poses(
        poses.keypoints_px / scale - 0.5,
        poses.scores,
        poses.box_px / np.tile(scale, 2) - 0.5,
        poses.person,
    )
    found = found[found.person > MIN_PERSON]
    return found[without_twins(found)]
