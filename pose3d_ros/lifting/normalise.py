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

"""Keypoint input of lifters: viewing rays turned to the person, centred and scaled, so that no
camera or place is special.

Following the perspective crop layers of Yu et al. (CVPR 2021): each frame is seen by a virtual
camera that looks at the person, so position in the image and intrinsics drop out.
"""

from __future__ import annotations

import numpy as np

from pose3d_ros.geometry import CAMERA_DOWN, look_along
from pose3d_ros.skeleton import H36M17

# The centre is the torso's; other joints count only where no torso joint is seen.
_CENTRE_WEIGHT = np.full(len(H36M17), 1e-3, np.float32)
_CENTRE_WEIGHT[H36M17.indices("l_hip", "r_hip", "l_shoulder", "r_shoulder")] = 1.0


def normalise(rays: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lifter input from viewing rays (..., T, 17, 2) (x/z, y/z) with confidence (..., T, 17); NaN
    and 0 mean unseen.

    Returns features (..., T, 18, 3) float32 and the rotation (..., 3, 3) from the camera to the
    virtual camera of the last frame, in whose axes the lifter answers. Per joint: the ray relative
    to the torso's centre divided by the person's size over the window, and the confidence. The
    last row holds the logarithm of that size (the strength of perspective).
    """
    rays = np.asarray(rays, np.float32)
    seen = np.isfinite(rays).all(-1)
    weight = np.where(seen, confidence, 0).astype(np.float32)
    rays = np.where(seen[..., None], rays, 0)
    centre_weight = weight * _CENTRE_WEIGHT + 1e-9 * seen
    centre = (rays * centre_weight[..., None]).sum(-2) / np.maximum(centre_weight.sum(-1), 1e-12)[
        ..., None
    ]
    rotation = look_along(np.concatenate([centre, np.ones_like(centre[..., :1])], -1), CAMERA_DOWN)

    x, y = rays[..., 0], rays[..., 1]
    turned = [
        rotation[..., i, 0, None] * x + rotation[..., i, 1, None] * y + rotation[..., i, 2, None]
        for i in range(3)
    ]
    depth = np.maximum(turned[2], 0.1)
    points = np.stack([turned[0] / depth, turned[1] / depth], -1)

    total = weight.sum((-2, -1))
    square = (weight * (points**2).sum(-1)).sum((-2, -1)) / np.maximum(total, 1e-9)
    size = np.sqrt(np.maximum(square, 1e-8))
    features = np.zeros((*weight.shape[:-1], len(H36M17) + 1, 3), np.float32)
    features[..., :-1, :2] = np.clip(points / size[..., None, None, None], -5, 5)
    features[..., :-1, :2] *= (weight > 0)[..., None]
    features[..., :-1, 2] = weight
    features[..., -1, 0] = np.log(size)[..., None]
    return features, rotation[..., -1, :, :]
