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

"""Labels of people before several calibrated cameras: joints on which the cameras agree in space.

In the manner of EpipolarPose (Kocabas et al., CVPR 2019), with the package's own fusion for the
triangulation: the cameras' 2D poses are followed through the rig as ever, and of the poses in
space only the joints count of which two cameras say where they are. Moved into a camera's frame
they label what that camera saw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import transform_points
from pose3d_ros.multiview.replay import replay
from pose3d_ros.people import People2D, People3D, TrackState

AGREEMENT_M = 0.06
"""A camera agrees with a joint if the ray of its keypoint passes this near..."""
MIN_CONFIDENCE = 0.5
"""... and if the keypoint has this confidence."""
MAX_SIGMA_M = 0.08  # with what all views have in common (``multiview.measurement_noise``)
MATCH_M = 0.15
"""A 2D pose is of a person if the median of its rays passes this near the joints."""
MAX_SHIFT_S = 0.02
"""Between an image and the moment whose people are moved to its stamp."""


@dataclass(frozen=True)
class ImageLabels:
    """People of one image: number of the camera and of the image, ``rows`` (P,) of its 2D poses,
    track id ``person`` (P,) of each, and ``joints_m`` (P, 17, 3) in the camera's frame, NaN where
    the cameras do not agree.
    """

    camera: int
    image: int
    rows: np.ndarray
    person: np.ndarray
    joints_m: np.ndarray


def label(cameras: Sequence[Camera], images: Sequence[Sequence[People2D]]) -> list[ImageLabels]:
    """Labels of the people (H36M17) that each camera has in each of its images, in order of
    time.

    The cameras need not be synchronised, nor equally fast.
    """
    seen = sorted(
        (
            (people.stamp_ns, c, i)
            for c, observed in enumerate(images)
            for i, people in enumerate(observed)
        )
    )
    results, _ = replay([(stamp, c, images[c][i]) for stamp, c, i in seen], list(cameras))
    stamps = np.array([result.stamp_ns for result in results])
    near = [(c, i, _nearest(stamps, stamp)) for stamp, c, i in seen]
    observed: list[dict[int, People2D]] = [{} for _ in results]
    for c, i, moment in near:
        if moment is not None:
            observed[moment].setdefault(c, images[c][i])
    agreed = [_agreed_joints(cameras, *of) for of in zip(results, observed, strict=True)]
    labels = []
    for c, i, moment in near:
        if moment is None:
            continue
        people, joints_m = agreed[moment]
        moved = joints_m + (images[c][i].stamp_ns - people.stamp_ns) * 1e-9 * people.velocity_mps
        rows, person = _match(cameras[c], images[c][i], moved)
        labels.append(
            ImageLabels(
                c,
                i,
                rows,
                people.ids[person],
                transform_points(cameras[c].camera_from_world, moved[person]),
            )
        )
    return labels


def _nearest(stamps: np.ndarray, stamp_ns: int) -> int | None:
    """Index of the moment nearest to an image, None if it is too far."""
    best = int(np.abs(stamps - stamp_ns).argmin()) if len(stamps) else 0
    return best if len(stamps) and abs(stamps[best] - stamp_ns) <= MAX_SHIFT_S * 1e9 else None


def _ray_distances_m(camera: Camera, people: People2D, joints_m: np.ndarray) -> np.ndarray:
    """Distances (P, Q, 17) of the rays of P 2D poses from the joints (Q, 17, 3) of Q people in the
    world.
    """
    joints = transform_points(camera.camera_from_world, joints_m)
    depth = joints[..., 2]
    apart = camera.rays(people.keypoints_px)[:, None] - joints[..., :2] / depth[..., None]
    return np.where(depth > 0, np.linalg.norm(apart, axis=-1) * depth, np.inf)


def _match(
    camera: Camera, people: People2D, joints_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the 2D poses that match people with ``joints_m`` (Q, 17, 3), and whom they match."""
    if not len(people) or not len(joints_m):
        return np.zeros(0, int), np.zeros(0, int)
    distance_m = _ray_distances_m(camera, people, joints_m)
    distance_m[np.broadcast_to(people.confidence[:, None] < MIN_CONFIDENCE, distance_m.shape)] = (
        np.nan
    )
    known = np.isfinite(distance_m)
    middle = np.nanmedian(
        np.where(known, distance_m, np.where(known.any(-1, keepdims=True), np.nan, np.inf)), -1
    )
    rows, columns = linear_sum_assignment(np.minimum(middle, 1e3))
    near = middle[rows, columns] < MATCH_M
    return rows[near], columns[near]


def _agreed_joints(
    cameras: Sequence[Camera], result: People3D, observed: dict[int, People2D]
) -> tuple[People3D, np.ndarray]:
    """The confirmed people of a moment, and their joints (P, 17, 3) in the world, NaN where fewer
    than two cameras agree.
    """
    people = result[result.states == TrackState.CONFIRMED]
    views = np.zeros(people.joints_m.shape[:2], int)
    for c, seen in observed.items():
        moved = people.joints_m + (seen.stamp_ns - people.stamp_ns) * 1e-9 * people.velocity_mps
        rows, columns = _match(cameras[c], seen, moved)
        distance_m = _ray_distances_m(cameras[c], seen[rows], moved[columns])[
            np.arange(len(rows)), np.arange(len(rows))
        ]
        views[columns] += (distance_m < AGREEMENT_M) & (seen.confidence[rows] >= MIN_CONFIDENCE)
    sure = (views >= 2) & (people.sigma_m < MAX_SIGMA_M)
    return people, np.where(sure[..., None], people.joints_m, np.nan)
