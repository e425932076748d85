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

"""Why cameras that see people never see the same ones: clocks, calibration, or views apart."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, permutations

import numpy as np

from pose3d_ros.calibration import time_offsets
from pose3d_ros.calibration.epipolar import CameraPair
from pose3d_ros.calibration.people_matching import LIMB_JOINTS
from pose3d_ros.camera import Camera
from pose3d_ros.errors import CalibrationError
from pose3d_ros.geometry import inverse_transform, transform_points
from pose3d_ros.people import People2D

TOGETHER_S = 0.1  # between two images of one moment
DEPTHS_M = np.geomspace(0.5, 20, 24)  # where somebody may be along a ray
MISS = 0.02  # distance of rays in radians that no calibration in use has
OFFSET_S = 0.1  # between clocks, by which people who walk are lost


def cause(
    cameras: Sequence[Camera], names: Sequence[str], seen: Sequence[Sequence[People2D]]
) -> str:
    """Most probable cause and its remedy, of what C cameras saw in the last seconds in order of
    time, while nobody was found.
    """
    some = [c for c in range(len(cameras)) if any(len(people) for people in seen[c])]
    cameras, names = [cameras[c] for c in some], [names[c] for c in some]
    seen = [[people for people in seen[c] if len(people)] for c in some]
    pairs = list(permutations(range(len(cameras)), 2))
    near = [(a, b) for a, b in pairs if _in_view(cameras[a], cameras[b], seen[a])]
    if not near:
        return (
            f"where they see people, the views of {' and '.join(names)} do not overlap, as they "
            f"are calibrated: turn them to a common place, or correct where they stand ('pose3d "
            f"calibrate extrinsics')"
        )
    told = exchanged(cameras, names, seen)
    if told:
        return told
    for a, b in (pair for pair in near if pair[0] < pair[1] or pair[::-1] not in near):
        offset_s = _offset_s([cameras[a], cameras[b]], [names[a], names[b]], [seen[a], seen[b]])
        if abs(offset_s) > OFFSET_S:
            return (
                f"as people move, stamps of camera {names[b]} are {abs(offset_s):.1f} s "
                f"{'behind' if offset_s > 0 else 'ahead of'} those of {names[a]}: synchronise "
                f"the clocks (chrony, PTP), or 'pose3d calibrate time'"
            )
    return (
        "the rays at which they see people do not meet: the calibration is wrong ('pose3d "
        "calibrate refine', or 'extrinsics' anew), or each sees other people"
    )


def exchanged(
    cameras: Sequence[Camera], names: Sequence[str], seen: Sequence[Sequence[People2D]]
) -> str:
    """Which two cameras see the same people only when they are exchanged, and the remedy; empty
    where that is not so. Arguments as of ``cause``.
    """
    for a, b in combinations(range(len(cameras)), 2):
        if not any(map(len, seen[a])) or not any(map(len, seen[b])):
            continue
        given, other = ([cameras[i], cameras[j]] for i, j in ((a, b), (b, a)))
        if _miss(other, seen[a], seen[b]) < MISS < _miss(given, seen[a], seen[b]):
            return (
                f"cameras {names[a]} and {names[b]} are exchanged, for then they would see the "
                f"same people: exchange their topics, or their places in the rig file"
            )
    return ""


def _in_view(a: Camera, b: Camera, seen: Sequence[People2D]) -> bool:
    """Whether anybody whom a sees may be in b's picture."""
    middles = np.array(
        [
            np.nanmedian(p, 0)
            for people in seen
            for p in people.keypoints_px
            if np.isfinite(p).any()
        ]
    )
    if not len(middles):
        return False
    rays = np.concatenate([a.rays(middles), np.ones((len(middles), 1))], -1)
    points = (rays[:, None] * DEPTHS_M[:, None]).reshape(-1, 3)
    pixels = b.project(transform_points(inverse_transform(a.camera_from_world), points))
    with np.errstate(invalid="ignore"):
        return bool(((pixels > 0) & (pixels < b.size)).all(-1).any())


def _offset_s(
    cameras: list[Camera], names: list[str], seen: Sequence[Sequence[People2D]]
) -> float:
    """Seconds to add to the second camera's stamps; 0 where people's motion does not tell."""
    try:
        return float(time_offsets.estimate(cameras, names, seen).offset_s[1])
    except CalibrationError:
        return 0.0


def _miss(cameras: list[Camera], seen_a: Sequence[People2D], seen_b: Sequence[People2D]) -> float:
    """Distance in radians of people from the nearest ones of another camera, those of the camera
    that sees fewer; median of them and of moments.
    """
    (a, b), pair = cameras, CameraPair.of(cameras, 0, 1)
    joints = seen_a[0].skeleton.indices(*LIMB_JOINTS)
    stamps = np.array([people.stamp_ns for people in seen_b])
    away = []
    for people in seen_a:
        other = seen_b[int(np.abs(stamps - people.stamp_ns).argmin())]
        if abs(other.stamp_ns - people.stamp_ns) <= TOGETHER_S * 1e9:
            rays_a = a.rays(people.keypoints_px[:, joints])[:, None]
            apart = pair.mean_distance(rays_a, b.rays(other.keypoints_px[:, joints])[None])
            nearest = apart.min(int(apart.shape[0] <= apart.shape[1]), initial=np.inf)
            away.append(float(np.median(nearest)))
    return float(np.median(away)) if away else np.inf
