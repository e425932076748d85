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

"""Measurement noise of each camera's keypoints: assumed, and adapted to people's residuals."""

from __future__ import annotations

import numpy as np

from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import OUTLIER_SIGMAS

# Detectors place a joint on the body this well, and differently from each side,
KEYPOINT_SIGMA_M = 0.025
PIXEL_SIGMA_PX = 2.0  # and in the image not better than this.
UNMODELLED_MPS2 = 10.0  # acceleration between a camera's stamp and the common time
MEMORY_S = 1.0  # time constant over which residuals count
MAX_INFLATION = 100.0


class AdaptiveNoise:
    """Keypoint variance of C cameras, ``inflation`` (C,) times the assumed one: 1 to
    ``MAX_INFLATION``.

    A camera that was pushed disagrees with the others for long, and then weighs less; where a
    whole rig is badly calibrated, people's sigma grows. Adaptive measurement noise after Mehra
    (1970), per camera.
    """

    def __init__(self, cameras: int) -> None:
        self.inflation = np.ones(cameras)
        self.begin_frame()

    def begin_frame(self) -> None:
        """Forget the last frame's residuals."""
        self._squared_px, self._observed = np.zeros((2, 0, len(self.inflation), 0))

    @property
    def residuals_px(self) -> list[float | None]:
        """Median residual of each camera in this frame, None where there is none."""
        seen = self._observed.astype(bool)
        return [
            float(np.sqrt(np.median(self._squared_px[:, c][seen[:, c]])))
            if seen[:, c].any()
            else None
            for c in range(len(self.inflation))
        ]

    def variance_px(self, rig: Rig, depth: np.ndarray, offset_s: np.ndarray | float) -> np.ndarray:
        """Variance per axis (P, C, J) in px^2 of keypoints of confidence 1 at ``depth`` (P, C, J),
        seen ``offset_s`` before or after the common time.
        """
        metres = KEYPOINT_SIGMA_M**2 + (0.5 * UNMODELLED_MPS2 * np.square(offset_s)) ** 2
        pixels = (
            PIXEL_SIGMA_PX**2 + metres * (rig.focal_px[:, None] / np.maximum(depth, NEAR_M)) ** 2
        )
        return np.asarray(pixels * self.inflation[:, None])

    def learn(
        self, squared_px: np.ndarray, precision: np.ndarray, observed: np.ndarray, elapsed_s: float
    ) -> None:
        """Adapt to squared residuals (T, C, J) of all ``observed`` (T, C, J) joints, also of those
        rejected.

        ``precision`` (T, C, J) in 1/px^2 includes this ``inflation``; ``elapsed_s``: time
        since the last frame.
        """
        self._squared_px, self._observed = squared_px, observed
        count = observed.sum((0, 2))
        total = (np.minimum(squared_px * precision, OUTLIER_SIGMAS**2) * observed).sum((0, 2))
        surprise = total / np.maximum(count, 1) / 2  # a residual has two dimensions
        share = (1 - np.exp(-elapsed_s / MEMORY_S)) * np.minimum(count / observed.shape[2], 1)
        self.inflation = np.clip(self.inflation * (1 + share * (surprise - 1)), 1, MAX_INFLATION)
