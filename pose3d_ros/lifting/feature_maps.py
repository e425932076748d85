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

"""Inputs of lifters from the detector's crop, besides keypoints: feature maps around each joint, a
root-relative depth.

After Context-Aware PoseFormer (NeurIPS 2023), which samples the maps at and around the joints.
"""

from __future__ import annotations

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.people import People2D

_CENTRE_AND_ABOVE = np.array([[0.5, 0.5], [0.5, 0.4]])  # of a crop


def crop_keypoints(people: People2D) -> np.ndarray:
    """Places (P, J, 2) of the keypoints in their crops: -1 to 1 from side to side; the middle for
    unknown ones.

    Unsure keypoints stay where the detector guesses them: what is seen there tells how wrong they
    are.
    """
    assert people.crop_from_image is not None
    linear, offset = people.crop_from_image[:, :, :2], people.crop_from_image[:, None, :, 2]
    points = 2 * (people.keypoints_px @ np.swapaxes(linear, 1, 2) + offset) - 1
    return np.asarray(np.nan_to_num(points), np.float32)


def root_relative_depth(keypoints: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Root-relative depth (..., J) as lifters take it: relative to the middle of the hips, in
    units of the person's size.

    ``keypoints`` (..., J, 2) in the same units as ``depth``, pixels or any other; 0 where nothing
    is known.
    """
    middle = np.nanmean(keypoints, axis=-2, keepdims=True)
    size = np.sqrt(np.nanmean(((keypoints - middle) ** 2).sum(-1), axis=-1))
    share = np.clip(depth / np.maximum(size, 1e-6)[..., None], -10, 10)
    return np.asarray(np.nan_to_num(share), np.float32)


def crop_rays(camera: Camera, people: People2D) -> np.ndarray:
    """Viewing rays (P, 2, 2) of the crops' centres and of points above them, which tell what is up
    in the crops.
    """
    assert people.crop_from_image is not None
    linear, offset = people.crop_from_image[:, :, :2], people.crop_from_image[:, None, :, 2]
    return camera.rays(
        (_CENTRE_AND_ABOVE - offset) @ np.swapaxes(np.linalg.inv(linear), 1, 2)
    ).astype(np.float32)


def upright(
    features: np.ndarray, rotation: np.ndarray, up: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lifter input (P, T, 18, 3) and rotation (P, 3, 3) of ``normalise``, with the virtual camera
    rolled like the crop.

    ``up`` (P, 2, 2): ``crop_rays``. Keypoints, feature maps and the answer then agree on what is
    up, so that a person in a turned picture is the same person, turned: crops follow the body,
    lying people's lie on the side.
    """
    low, high = np.moveaxis(
        np.concatenate([up, np.ones_like(up[..., :1])], -1) @ np.swapaxes(rotation, 1, 2), 1, 0
    )
    x, y = (high[:, :2] / high[:, 2:] - low[:, :2] / low[:, 2:]).T
    length = np.hypot(x, y)
    cos, sin, zero = -y / length, -x / length, np.zeros_like(x)
    roll = np.stack(
        [
            np.stack([cos, -sin, zero], -1),
            np.stack([sin, cos, zero], -1),
            np.broadcast_to(np.array([0, 0, 1], x.dtype), (len(x), 3)),
        ],
        1,
    )
    turned = features.copy()
    turned[:, :, :-1, :2] = features[:, :, :-1, :2] @ np.swapaxes(roll, 1, 2)[:, None, :2, :2]
    return turned, roll @ rotation
