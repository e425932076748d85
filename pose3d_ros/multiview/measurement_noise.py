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

"""Measurement noise of each camera's keypoints: assumed, and learned from people's residuals."""

from __future__ import annotations

import numpy as np
from scipy.special import chdtri

from pose3d_ros.multiview.association import MAX_PLACES, UPPER, Scatter
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import OUTLIER_SIGMAS

# Detectors place a joint on the body this well, and differently from each side,
KEYPOINT_SIGMA_M = 0.025
PIXEL_SIGMA_PX = 2.0  # and in the image not better than this.
UNMODELLED_MPS2 = 10.0  # acceleration between a camera's stamp and the common time
WALKING_MPS = 1.0  # one standard deviation of the speed of somebody who is new
MEMORY_S = 1.0  # time constant over which residuals count
PRIOR_PEOPLE = 1.0  # the assumed noise counts as much as so many people in one moment
PERSISTENCE_MEMORY_S = 5.0
MIN_INFLATION, MAX_INFLATION = 0.25, 100.0
# What is known of a rig before anybody was seen is worth so many people at places of their own,
PRIOR_PLACES = 4.0
PLACE_S = 1.0  # who walks is at another place after this long.
PRIOR_PERSISTENCE = 0.5  # share of a residual that is there in the next frame again


class AdaptiveNoise:
    """Keypoint variance of C cameras, ``inflation`` (C,) times the assumed one.

    Bad calibration, a camera that was pushed, a detector that is less exact on small people: what
    there is shows in the residuals, and sigma follows. Adaptive measurement noise after Mehra
    (1970), per camera, as a posterior mean whose prior is the assumed noise. ``persistence``: the
    correlation of a residual with the one of the frame before; what persists is not averaged out
    by time.
    """

    def __init__(self, cameras: int) -> None:
        self.inflation = np.ones(cameras)
        self.persistence = PRIOR_PERSISTENCE
        self._weight = np.full(cameras, PRIOR_PEOPLE)
        self._places = np.full(cameras, PRIOR_PLACES)
        self._products = np.array([PRIOR_PERSISTENCE, 1.0])
        nothing = np.zeros((0, cameras, 0))
        self._before = np.zeros(0, int), nothing[..., None], nothing.astype(bool)
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

    def scatter(self, rig: Rig, offset_s: np.ndarray) -> Scatter:
        """Scatter of people whom nobody has seen yet and who walk, where cameras (C,) are
        ``offset_s`` from the common time.
        """
        usual = np.sqrt(self.usual_inflation)
        return Scatter(
            KEYPOINT_SIGMA_M * usual,
            PIXEL_SIGMA_PX / rig.focal_px * usual,
            WALKING_MPS * np.abs(offset_s),
            self._places,
        )

    @property
    def upper_inflation(self) -> np.ndarray:
        """(C,) inflation that a camera has at most, with the probability ``UPPER``."""
        return self.usual_inflation * self._places / chdtri(self._places, UPPER)

    @property
    def usual_inflation(self) -> np.ndarray:
        """(C,) inflation with what persists for a frame, which is averaged by half, as if there
        were more of it.
        """
        return self.inflation * (1 + self.persistence)

    @property
    def filter_inflation(self) -> np.ndarray:
        """(C,) inflation that the filter is given: never less than assumed, for smooth velocities
        of people who accelerate.
        """
        return np.maximum(self.usual_inflation, 1)

    @property
    def excess(self) -> float:
        """Variance of the filter's estimate by the one that it states: half of it is noise, less
        than it was told, and half is motion.
        """
        return float(0.5 + 0.5 * np.mean(self.usual_inflation / self.filter_inflation))

    def variance_px(
        self,
        rig: Rig,
        depth: np.ndarray,
        offset_s: np.ndarray,
        speed_mps: float = 0.0,
    ) -> np.ndarray:
        """Variance per axis (P, C, J) in px^2 of keypoints of confidence 1 at ``depth`` (P, C, J),
        seen ``offset_s`` (C,) before or after the common time, of people whose velocity is known
        to ``speed_mps``.
        """
        moved = 0.5 * UNMODELLED_MPS2 * np.square(offset_s) + speed_mps * np.abs(offset_s)
        metres = (KEYPOINT_SIGMA_M**2 + moved**2)[:, None]
        pixels = (
            PIXEL_SIGMA_PX**2 + metres * (rig.focal_px[:, None] / np.maximum(depth, NEAR_M)) ** 2
        )
        return np.asarray(pixels * self.filter_inflation[:, None])

    def learn(
        self,
        residual_px: np.ndarray,
        precision: np.ndarray,
        freedom: np.ndarray,
        observed: np.ndarray,
        ids: np.ndarray,
        elapsed_s: float,
    ) -> None:
        """Learn from residuals (T, C, J, 2) of all ``observed`` (T, C, J) joints of the tracks
        ``ids`` (T,), also of those rejected.

        ``precision`` (T, C, J) in 1/px^2 as of ``variance_px``; ``freedom`` (T, C, J) as
        triangulation tells; ``elapsed_s``: time since the last frame.
        """
        self._squared_px, self._observed = (residual_px**2).sum(-1), observed
        joints = observed.shape[2]
        expected = (freedom * observed).sum((0, 2))
        total = (np.minimum(self._squared_px * precision, OUTLIER_SIGMAS**2) * observed).sum(
            (0, 2)
        )
        found = self.filter_inflation * total / np.maximum(expected, 1e-9)
        people = observed.sum((0, 2)) / joints
        kept = np.exp(-elapsed_s / MEMORY_S * np.minimum(people, 1))
        self._weight = PRIOR_PEOPLE + kept * (self._weight - PRIOR_PEOPLE) + people
        share = people / self._weight
        self.inflation = np.clip(
            self.inflation + np.where(expected > 0, share * (found - self.inflation), 0),
            MIN_INFLATION,
            MAX_INFLATION,
        )
        new = ~np.isin(ids, self._before[0])
        seen = observed.sum(2) / joints
        places = (seen * np.where(new, 1.0, min(elapsed_s / PLACE_S, 1.0))[:, None]).sum(0)
        self._places = np.minimum(self._places + places, MAX_PLACES)
        self._learn_persistence(residual_px, precision, observed, ids, elapsed_s)

    @property
    def common_variance_m2(self) -> float:
        """Variance per axis of an error that all views and frames share, which no residual shows.

        A detector whose errors persist puts joints at places of its own on the body: 16 to 48 mm
        from the centre of the joint, with several cameras too (Needham et al., Scientific Reports
        2021).
        """
        return self.persistence * KEYPOINT_SIGMA_M**2

    def _learn_persistence(
        self,
        residual_px: np.ndarray,
        precision: np.ndarray,
        observed: np.ndarray,
        ids: np.ndarray,
        elapsed_s: float,
    ) -> None:
        sigmas = residual_px * np.sqrt(precision)[..., None]
        good = observed & ((sigmas**2).sum(-1) < OUTLIER_SIGMAS**2)
        sigmas = sigmas * good[..., None]
        ids_before, sigmas_before, good_before = self._before
        if elapsed_s > 0 and len(ids_before):
            _, now, then = np.intersect1d(ids, ids_before, return_indices=True)
            both = good[now] & good_before[then]
            product = (sigmas[now] * sigmas_before[then]).sum(-1)
            square = 0.5 * (sigmas[now] ** 2 + sigmas_before[then] ** 2).sum(-1)
            joints = observed.shape[2]
            kept = np.exp(-elapsed_s / PERSISTENCE_MEMORY_S)
            prior = np.array([PRIOR_PERSISTENCE, 1.0])
            self._products = prior + kept * (self._products - prior)
            self._products += [(product * both).sum() / joints, (square * both).sum() / joints]
            self.persistence = float(np.clip(self._products[0] / self._products[1], 0, 1))
        self._before = ids, sigmas, good
