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

"""Several calibrated cameras as arrays.

Undistorted pixels are viewing rays times the focal length: their principal point is at (0, 0).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pose3d_ros.camera import Camera

NEAR_M = 0.05  # points closer to a camera's plane than this, or behind it, are not seen


@dataclass(frozen=True)
class Rig:
    """C cameras, of which those ``absent`` (indices) see nothing: their entries only keep the
    arrays' shapes.

    Raises ``ValueError`` without any camera.
    """

    cameras: tuple[Camera, ...]
    absent: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        if not self.cameras:
            raise ValueError("expected at least one camera, got none")

    @classmethod
    def of(cls, cameras: Sequence[Camera | None]) -> Rig:
        """From any sequence of cameras, None where one is absent."""
        blank = Camera.from_fov(640, 480, 1.0)
        return cls(
            tuple(camera or blank for camera in cameras),
            frozenset(index for index, camera in enumerate(cameras) if camera is None),
        )

    @cached_property
    def present(self) -> npt.NDArray[np.bool_]:
        """Mask (C,) of cameras that are not absent."""
        return np.array([index not in self.absent for index in range(len(self))])

    def __len__(self) -> int:
        return len(self.cameras)

    @cached_property
    def rotation(self) -> np.ndarray:
        """(C, 3, 3) from the world to the optical frame."""
        return np.stack([camera.camera_from_world[:3, :3] for camera in self.cameras])

    @cached_property
    def translation(self) -> np.ndarray:
        """(C, 3) in metres."""
        return np.stack([camera.camera_from_world[:3, 3] for camera in self.cameras])

    @cached_property
    def _rotations(self) -> np.ndarray:
        """(3, 3 C) all rotations side by side, for one multiplication."""
        return np.ascontiguousarray(self.rotation.reshape(-1, 3).T)

    @cached_property
    def _projection_rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Parts of a pixel's derivative by the point: axes x and y times the focal length (C, 2,
        3), and axis z (C, 1, 3).
        """
        return self.focal_px[:, None, None] * self.rotation[:, :2], self.rotation[:, 2:]

    def derivative(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Derivative (M, C, 2, 3) in px/m of undistorted pixels (M, C, 2) at ``depth`` (M, C) by
        the point.
        """
        across, along = self._projection_rows
        return np.asarray((across - pixels[..., None] * along) / depth[..., None, None])

    @cached_property
    def position_m(self) -> np.ndarray:
        """(C, 3) the cameras' centres in the world, metres."""
        return np.stack([camera.position_m for camera in self.cameras])

    @cached_property
    def focal_px(self) -> np.ndarray:
        """(C,) geometric mean of both focal lengths."""
        return np.array(
            [np.sqrt(camera.matrix[0, 0] * camera.matrix[1, 1]) for camera in self.cameras]
        )

    @cached_property
    def _affine(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Scale (C, 2) and origin (C, 2) that undistort, where no camera has lens distortion."""
        if any(len(camera.distortion) or camera.matrix[0, 1] for camera in self.cameras):
            return None
        diagonal = np.stack([np.diag(camera.matrix)[:2] for camera in self.cameras])
        return self.focal_px[:, None] / diagonal, np.stack(
            [camera.matrix[:2, 2] for camera in self.cameras]
        )

    @cached_property
    def _bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Smallest and largest undistorted pixel (C, 2) at the middles of the image's sides; no
        bound where a lens sees further than undistorted pixels reach.
        """
        sides = np.array(
            [
                [[0, h / 2], [w, h / 2], [w / 2, 0], [w / 2, h]]
                for w, h in (camera.size for camera in self.cameras)
            ],
            float,
        )
        flat = self.undistort(sides, np.arange(len(self)))
        return (
            np.nan_to_num(flat.min(1), nan=-np.inf),
            np.nan_to_num(flat.max(1), nan=np.inf),
        )

    def inside(self, pixels: np.ndarray, depth: np.ndarray) -> np.ndarray:
        """Mask (C, ...) of projected points, ``pixels`` (C, ..., 2) and ``depth`` (C, ...), that
        lie inside the camera's image.
        """
        low, high = (b.reshape(len(self), *(1,) * (pixels.ndim - 2), 2) for b in self._bounds)
        present = self.present.reshape(len(self), *(1,) * (pixels.ndim - 2))
        return np.asarray(((pixels > low) & (pixels < high)).all(-1) & (depth > NEAR_M) & present)

    def undistort(self, points_px: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Undistorted pixels (N, ..., 2) of image pixels (N, ..., 2) of cameras ``view`` (N,)."""
        if self._affine is not None:
            scale, origin = (
                a[view].reshape(len(view), *(1,) * (points_px.ndim - 2), 2) for a in self._affine
            )
            return np.asarray((points_px - origin) * scale)
        flat = np.empty(points_px.shape)
        for c in np.unique(view):
            flat[view == c] = self.cameras[c].rays(points_px[view == c]) * self.focal_px[c]
        return flat

    def project(self, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Undistorted pixels (C, ..., 2) and depth (C, ...) of points (..., 3); NaN in, NaN out.

        Points that a camera has behind it have a depth below ``NEAR_M`` and pixels without
        meaning.
        """
        pixels, depth = self.project_by_point(points_m.reshape(-1, 3))
        shape = points_m.shape[:-1]
        return (
            pixels.swapaxes(0, 1).reshape(len(self), *shape, 2),
            depth.T.reshape(len(self), *shape),
        )

    def project_by_point(self, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``project`` with the points first: (M, C, 2) and (M, C) of points (M, 3)."""
        seen = (points_m @ self._rotations).reshape(-1, len(self), 3) + self.translation
        depth = seen[..., 2]
        return seen[..., :2] * (self.focal_px / np.maximum(depth, NEAR_M))[..., None], depth

    def directions(self, points: np.ndarray, view: np.ndarray) -> np.ndarray:
        """Unit vectors (N, ..., 3) in the world along the rays of undistorted pixels (N, ...,
        2).
        """
        rays = np.concatenate(
            [
                points / self.focal_px[view].reshape(len(view), *(1,) * (points.ndim - 1)),
                np.ones((*points.shape[:-1], 1)),
            ],
            -1,
        )
        rotated = rays.reshape(len(view), -1, 3) @ self.rotation[view]
        rotated /= np.sqrt((rotated * rotated).sum(-1, keepdims=True))
        return np.asarray(rotated.reshape(*points.shape[:-1], 3))
