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

"""A plain standing body for tests, in a camera's axes (x right, y down, z forward), metres,
relative to the pelvis.
"""

from dataclasses import replace

import cv2
import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17

_PLACES = {
    "pelvis": (0, 0, 0),
    "r_hip": (-0.13, 0, 0),
    "r_knee": (-0.14, 0.42, -0.03),
    "r_ankle": (-0.14, 0.82, 0.02),
    "l_hip": (0.13, 0, 0),
    "l_knee": (0.14, 0.42, -0.03),
    "l_ankle": (0.14, 0.82, 0.02),
    "spine": (0, -0.24, 0),
    "thorax": (0, -0.48, 0),
    "neck": (0, -0.62, -0.04),
    "head": (0, -0.74, -0.02),
    "l_shoulder": (0.18, -0.48, 0),
    "l_elbow": (0.24, -0.22, 0.02),
    "l_wrist": (0.26, 0.02, -0.06),
    "r_shoulder": (-0.18, -0.48, 0),
    "r_elbow": (-0.24, -0.22, 0.02),
    "r_wrist": (-0.26, 0.02, -0.06),
}
STANDING_M = np.array([_PLACES[joint] for joint in H36M17.joints], np.float32)
"""Facing the camera: the left hand is at the right of the picture."""

CAMERA = Camera.from_fov(1280, 720, 1.2)


def seen(places_m, stamp_ns, camera=CAMERA, confidence=0.9):
    """People standing with the pelvis at ``places_m`` (P, 3) of the camera frame, as a perfect
    detector sees them.
    """
    bodies = STANDING_M + np.asarray(places_m, float).reshape(-1, 1, 3)
    pixels = camera.project(bodies, "camera")
    return People2D(H36M17, pixels, np.full(pixels.shape[:2], confidence), stamp_ns, camera.size)


def dressed(people, clothes):
    """Picture (H, W, 3) of people, the first of them in front, each in ``clothes``: BGR of the
    shirt and of the trousers.
    """
    image = np.full((people.image_size[1], people.image_size[0], 3), 150, np.uint8)
    at = H36M17.indices
    for keypoints, (shirt, trousers) in list(zip(people.keypoints_px, clothes, strict=True))[::-1]:
        body = keypoints.round().astype(int)
        wide = max(int(0.13 * np.ptp(keypoints[:, 1]) / 1.7), 1)
        for side in "lr":
            leg = body[at(f"{side}_hip", f"{side}_knee", f"{side}_ankle")]
            arm = body[at(f"{side}_shoulder", f"{side}_elbow")]
            cv2.polylines(image, [leg], False, trousers, wide)
            cv2.polylines(image, [arm], False, shirt, wide)
        trunk = body[at("l_shoulder", "r_shoulder", "r_hip", "l_hip")]
        cv2.fillPoly(image, [trunk], shirt)
        cv2.polylines(image, [trunk], True, shirt, wide)
        cv2.circle(image, body[H36M17.index("head")].tolist(), wide, (140, 160, 200), -1)
    return image


def moved(people, where, keypoints_px):
    """The same people with other keypoints at the places ``where`` (an index of the array)."""
    changed = people.keypoints_px.copy()
    changed[where] = keypoints_px
    return replace(people, keypoints_px=changed)
