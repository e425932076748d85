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

"""Monitor of the calibration: people's residuals show that a camera has moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import transform_points
from pose3d_ros.people import People2D, People3D

# A camera has moved when its median residual over the window is larger than this,
MAX_RESIDUAL_M = 0.05
WORSE_THAN_OTHERS = 2.0  # and so many times that of the others.
WINDOW_S = 10.0  # people who cross each other are matched wrongly for seconds
MIN_SAMPLES = 50
# A 2D pose that fits this well after a shift is the person's, seen by a camera that has turned.
SAME_POSE_M = 0.10
MIN_JOINTS = 6


class CameraResidual(NamedTuple):
    """Distance of what a camera sees of people from their projection: in pixels, and in metres at
    their distance.
    """

    px: float
    metres: float


class Displacement(NamedTuple):
    """Pixels by which a camera is off, and the stamp since when."""

    px: float
    since_ns: int


def camera_residual(
    matched_px: float | None, camera: Camera, seen: People2D | None, people: People3D
) -> CameraResidual | None:
    """Residual of a camera in one moment; None when there is no evidence.

    ``matched_px``: the tracker's residual of people whom it has matched in the camera's image.
    Where it matched none of the ``people``, because they are too far from their projection, a 2D
    pose that is theirs but for a shift counts.
    """
    if seen is None or not len(people) or not len(seen):
        return None
    joints = people.joints_m + people.velocity_mps * ((seen.stamp_ns - people.stamp_ns) * 1e-9)
    pixels = camera.project(joints)
    with np.errstate(invalid="ignore"):
        inside = np.all((pixels > 0) & (pixels < camera.size), -1)
    depth = transform_points(camera.camera_from_world, joints)[..., 2]
    focal = np.sqrt(camera.matrix[0, 0] * camera.matrix[1, 1])
    if matched_px is not None:
        return (
            CameraResidual(matched_px, matched_px * float(np.median(depth[inside])) / focal)
            if inside.any()
            else None
        )
    shifts = []
    for person in np.flatnonzero(inside.sum(1) >= MIN_JOINTS):
        distance = float(np.median(depth[person, inside[person]]))
        for pose in seen.keypoints_px:
            offset = (pose - pixels[person])[np.isfinite(pose).all(-1) & inside[person]]
            if len(offset) >= MIN_JOINTS:
                shift = np.median(offset, 0)
                if (
                    np.median(np.linalg.norm(offset - shift, axis=-1))
                    < SAME_POSE_M * focal / distance
                ):
                    px = float(np.linalg.norm(shift))
                    shifts.append(CameraResidual(px, px * distance / focal))
    return min(shifts, default=None)


class CalibrationMonitor:
    """Residuals of C cameras over ``WINDOW_S``, and which of the cameras have moved."""

    def __init__(self, cameras: int) -> None:
        self._past: list[deque[tuple[int, CameraResidual]]] = [deque() for _ in range(cameras)]
        self.moved: list[Displacement | None] = [None] * cameras
        """Per camera its displacement as of when it was first found, None where there is none."""

    def update(self, residuals: Sequence[CameraResidual | None], stamp_ns: int) -> None:
        """Add one moment's residuals, None where there is no evidence."""
        for past, new in zip(self._past, residuals, strict=True):
            if new is not None:
                past.append((stamp_ns, new))
            while past and not 0 <= stamp_ns - past[0][0] <= WINDOW_S * 1e9:
                past.popleft()
        medians = [
            float(np.median([r.metres for _, r in past])) if len(past) >= MIN_SAMPLES else np.nan
            for past in self._past
        ]
        for c, mine in enumerate(medians):
            if np.isnan(mine):
                continue
            others = [u for i, u in enumerate(medians) if i != c and np.isfinite(u)]
            # Of two cameras that disagree either may be wrong; of several the one that stands out.
            pair = len(others) < 2
            worst = max([mine, *others]) if pair else mine
            if worst <= MAX_RESIDUAL_M:
                self.moved[c] = None
            elif self.moved[c] is None and (
                pair or mine > WORSE_THAN_OTHERS * float(np.median(others))
            ):
                window = list(self._past[c])
                since = next(
                    (i for i, (_, r) in enumerate(window) if r.metres > MAX_RESIDUAL_M), 0
                )
                self.moved[c] = Displacement(
                    float(np.median([r.px for _, r in window[since:]])), window[since][0]
                )
