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

"""Joint sets that only datasets use, and what they are in H36M17's place.

Joints that a dataset does not have become NaN in the truth (it is not scored by what it does not
know), and are made as for every detector in the 2D keypoints.
"""

from __future__ import annotations

import numpy as np

from pose3d_ros.skeleton import COCO17, H36M17, Skeleton, convert

# Human3.6M's 32 joints, of which the others are doubles or fingers and toes.
H36M17_OF_32 = [0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27]

# HumanEva-I, as VideoPose3D's ConvertHumanEva.m exports it: its head is the end of the head.
HUMANEVA15 = Skeleton(
    "humaneva15",
    (
        "pelvis",
        "thorax",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
        "r_shoulder",
        "r_elbow",
        "r_wrist",
        "l_hip",
        "l_knee",
        "l_ankle",
        "r_hip",
        "r_knee",
        "r_ankle",
        "head",
    ),
    (),
)

# The 16 joints of MPII Human Pose: neck and head are the upper neck and the top of the head.
MPII16 = Skeleton(
    "mpii16",
    (
        "r_ankle",
        "r_knee",
        "r_hip",
        "l_hip",
        "l_knee",
        "l_ankle",
        "pelvis",
        "thorax",
        "neck",
        "head",
        "r_wrist",
        "r_elbow",
        "r_shoulder",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
    ),
    (),
)

# MPI-INF-3DHP's 28 joints (mpii_get_joint_set.m). Named as papers map them on Human3.6M: its neck
# is the thorax, its head the neck, and its head_top the head.
MPI_INF_3DHP28 = Skeleton(
    "mpi_inf_3dhp28",
    (
        "spine3",
        "spine4",
        "spine2",
        "spine",
        "pelvis",
        "thorax",
        "neck",
        "head",
        "l_clavicle",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
        "l_hand",
        "r_clavicle",
        "r_shoulder",
        "r_elbow",
        "r_wrist",
        "r_hand",
        "l_hip",
        "l_knee",
        "l_ankle",
        "l_foot",
        "l_toe",
        "r_hip",
        "r_knee",
        "r_ankle",
        "r_foot",
        "r_toe",
    ),
    (),
)

# Its test set has 17 of them ("relevant").
MPI_INF_3DHP17 = Skeleton(
    "mpi_inf_3dhp17",
    (
        "head",
        "thorax",
        "r_shoulder",
        "r_elbow",
        "r_wrist",
        "l_shoulder",
        "l_elbow",
        "l_wrist",
        "r_hip",
        "r_knee",
        "r_ankle",
        "l_hip",
        "l_knee",
        "l_ankle",
        "pelvis",
        "spine",
        "neck",
    ),
    (),
)

DETECTED = {"h36m": H36M17, "coco": COCO17, "mpii": MPII16, "humaneva15": HUMANEVA15}
"""Skeletons by the ``layout_name`` of VideoPose3D's detections."""


def truth(joints: np.ndarray, source: Skeleton) -> np.ndarray:
    """Joints (..., J, 3) as H36M17 (..., 17, 3), NaN for those that the source does not name."""
    result = np.full((*joints.shape[:-2], len(H36M17), 3), np.nan, np.float32)
    named = [joint for joint in H36M17.joints if joint in source.joints]
    result[..., H36M17.indices(*named), :] = joints[..., source.indices(*named), :]
    return result


def keypoints(points: np.ndarray, source: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (T, J, 2 or 3) in pixels, with a score where there are three, as H36M17 with
    confidence (T, 17).
    """
    if points.ndim != 3 or points.shape[1] != len(source) or points.shape[2] not in (2, 3):
        raise ValueError(
            f"expected keypoints (T, {len(source)}, 2 or 3) of {source.name}, got {points.shape}"
        )
    known = np.isfinite(points).all(-1)
    scores = np.clip(points[..., 2], 0, 1) if points.shape[2] == 3 else np.ones(known.shape)
    pixels, confidence = convert(
        points[..., :2], np.where(known, scores, 0).astype(np.float32), source, H36M17
    )
    return pixels, np.where(np.isfinite(pixels).all(-1), confidence, 0)
