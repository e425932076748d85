"""How tall people are, which sets the metric scale: assumed, and corrected by depth images where
there are any.
"""

from __future__ import annotations

import numpy as np

from pose3d_ros.skeleton import H36M17

# A depth image shows the skin; the joint lies about this far behind it (m), give or take
# DEPTH_SIGMA_M.
_SKIN_M = np.full(len(H36M17), 0.05)
_SKIN_M[H36M17.indices("pelvis", "spine", "thorax", "l_hip", "r_hip", "head", "neck")] = 0.10
DEPTH_SIGMA_M = 0.04
MIN_JOINTS = 3
# what differs more from the assumed size than anybody's stature is something in front or behind
OUTLIER_SHARE = 0.2


def joint_depths(
    keypoints_px: np.ndarray, confidence: np.ndarray, depth_m: np.ndarray
) -> np.ndarray:
    """Depth (P, 17) of joint centres by a depth image (H, W) in metres, registered to the camera's
    image.

    What the image shows at the keypoint (P, 17, 2), and the flesh before the joint. NaN where
    nothing is known: 0, NaN and inf in the image (REP-118), keypoints outside or without
    confidence (P, 17).
    """
    height, width = depth_m.shape
    columns, lines = np.moveaxis(np.nan_to_num(keypoints_px, nan=-1).round().astype(int), -1, 0)
    inside = (
        (columns >= 0) & (columns < width) & (lines >= 0) & (lines < height) & (confidence > 0)
    )
    depths = np.where(
        inside, depth_m[np.where(inside, lines, 0), np.where(inside, columns, 0)], np.nan
    ).astype(float)
    return np.where(np.isfinite(depths) & (depths > 0), depths + _SKIN_M, np.nan)


def measure(
    root_m: np.ndarray, joints_m: np.ndarray, depths_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many times larger people are than assumed (P,), with the variance (P,), by
    ``joint_depths`` (P, 17).

    A person on given rays who is twice as far away is twice as large. ``root_m`` (P, 3) and
    ``joints_m`` (P, 17, 3), relative to the root, are those of the assumed stature. NaN for people
    with fewer than three measured joints.
    """
    scale, variance = np.full(len(root_m), np.nan), np.full(len(root_m), np.nan)
    for person, ratios in enumerate(depths_m / (root_m[:, None, 2] + joints_m[..., 2])):
        scale[person], variance[person] = _median(
            ratios, DEPTH_SIGMA_M / root_m[person, 2], OUTLIER_SHARE
        )
    return scale, variance


def refine(
    root_m: np.ndarray, covariance: np.ndarray, joints_m: np.ndarray, depths_m: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Root (P, 3) and covariance (P, 3, 3) corrected by this frame's ``joint_depths`` (P, 17),
    where there are any.

    Each joint says where the root is; their median enters as one measurement of z (Kalman update),
    which moves the person along the ray.
    """
    root_m, covariance = root_m.copy(), covariance.copy()
    for person, roots_z in enumerate(depths_m - joints_m[..., 2]):
        z, variance = _median(roots_z, DEPTH_SIGMA_M, OUTLIER_SHARE * root_m[person, 2])
        if np.isfinite(z):
            gain = covariance[person, :, 2] / (covariance[person, 2, 2] + variance)
            root_m[person] += gain * (z - root_m[person, 2])
            covariance[person] -= np.outer(gain, covariance[person, 2])
    return root_m, covariance


def _median(values: np.ndarray, sigma: float, outlier: float) -> tuple[float, float]:
    """Median of the values that are not farther than ``outlier`` from it, and its variance; NaN of
    too few.
    """
    values = values[np.isfinite(values)]
    if len(values):
        values = values[np.abs(values - np.median(values)) < outlier]
    if len(values) < MIN_JOINTS:
        return np.nan, np.nan
    median = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - median)))
    return median, spread**2 / len(values) + sigma**2


class Statures:
    """What is known of each person's size: the ratio to the assumed one, by track id."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, float]] = {}

    def update(
        self, ids: np.ndarray, scale: np.ndarray, variance: np.ndarray, prior_variance: float
    ) -> list[int]:
        """Take over measurements (P,) of ``measure``; returns the ids that were measured for the
        first time.

        A stature does not change, so measurements add up (Kalman filter); but what they have in
        common, the thickness of bodies, does not average out.
        """
        first = []
        for person, value, new in zip(ids.tolist(), scale, variance, strict=True):
            if np.isfinite(value):
                if person not in self._known:
                    first.append(person)
                mean, old = self._known.get(person, (1.0, prior_variance))
                gain = old / (old + new)
                self._known[person] = mean + gain * (value - mean), max((1 - gain) * old, new / 4)
        return first

    def __call__(self, ids: np.ndarray, prior_variance: float) -> tuple[np.ndarray, np.ndarray]:
        """Ratio (P,) to the assumed size and its variance (P,): 1 and the prior where nothing was
        measured.
        """
        known = [self._known.get(person, (1.0, prior_variance)) for person in ids.tolist()]
        return np.array([k[0] for k in known]), np.array([k[1] for k in known])

    def forget(self, keep: np.ndarray) -> None:
        """Drop everybody whose id is not in ``keep``."""
        kept = set(keep.tolist())
        self._known = {person: value for person, value in self._known.items() if person in kept}
