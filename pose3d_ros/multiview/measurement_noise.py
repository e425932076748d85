"""How exactly cameras see people: what is assumed, and how far each can be trusted by people's own
residuals.
"""

from __future__ import annotations

import numpy as np

from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import OUTLIER_SIGMAS

KEYPOINT_SIGMA_M = (
    0.025  # detectors place a joint on the body this well, and differently from each side
)
PIXEL_SIGMA = 2.0  # and in the picture not better than this
SUDDEN_MPS2 = 10.0  # unknown acceleration between a camera's stamp and the common time
MEMORY_S = 1.0  # residuals count over this time
MOST_DOUBT = 100.0  # at most so many times is a camera's keypoint variance taken for larger


class Trust:
    """``doubt`` (C,): how many times larger than assumed each camera's keypoint variance is, 1 or
    more.

    A camera that was pushed disagrees with the others for long, and then weighs less; where a
    whole rig is badly calibrated, people's sigma grows. (The adaptive measurement noise of Mehra,
    1970, by camera.)
    """

    def __init__(self, cameras: int) -> None:
        self.doubt = np.ones(cameras)
        self.forget()

    def forget(self) -> None:
        """Nothing was seen in this frame, so far."""
        self._squared_px, self._observed = np.zeros((2, 0, len(self.doubt), 0))

    @property
    def residuals_px(self) -> list[float | None]:
        """Median residual of each camera in this frame, None where there is none."""
        seen = self._observed.astype(bool)
        return [
            float(np.sqrt(np.median(self._squared_px[:, c][seen[:, c]])))
            if seen[:, c].any()
            else None
            for c in range(len(self.doubt))
        ]

    def variance_px(self, rig: Rig, depth: np.ndarray, offset_s: np.ndarray | float) -> np.ndarray:
        """Variance per axis of keypoints of confidence 1 at ``depth`` (P, C, J), seen ``offset_s``
        before or after.
        """
        metres = KEYPOINT_SIGMA_M**2 + (0.5 * SUDDEN_MPS2 * np.square(offset_s)) ** 2
        pixels = PIXEL_SIGMA**2 + metres * (rig.focal_px[:, None] / np.maximum(depth, NEAR_M)) ** 2
        return np.asarray(pixels * self.doubt[:, None])

    def learn(
        self, squared_px: np.ndarray, precision: np.ndarray, observed: np.ndarray, elapsed_s: float
    ) -> None:
        """From squared residuals (T, C, J) of all ``observed`` (T, C, J) joints, also of those
        rejected.

        ``precision`` (T, C, J) in 1/px^2 has this ``doubt`` in it; the time since the last frame
        is ``elapsed_s``.
        """
        self._squared_px, self._observed = squared_px, observed
        count = observed.sum((0, 2))
        total = (np.minimum(squared_px * precision, OUTLIER_SIGMAS**2) * observed).sum((0, 2))
        surprise = total / np.maximum(count, 1) / 2  # a residual has two dimensions
        share = (1 - np.exp(-elapsed_s / MEMORY_S)) * np.minimum(count / observed.shape[2], 1)
        self.doubt = np.clip(self.doubt * (1 + share * (surprise - 1)), 1, MOST_DOUBT)
