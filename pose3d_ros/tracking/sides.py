"""Left stays left: cures a detector's sudden exchange of sides, and doubts keypoints that leap."""

from __future__ import annotations

import numpy as np

from pose3d_ros.skeleton import H36M17

# Which joints may have been exchanged: the whole body, the legs, the arms.
_LEG = ("hip", "knee", "ankle")
_ARM = ("shoulder", "elbow", "wrist")


def _permutation(names: tuple[str, ...]) -> np.ndarray:
    order = np.arange(len(H36M17))
    for name in names:
        left, right = H36M17.indices(f"l_{name}", f"r_{name}")
        order[left], order[right] = right, left
    return order


_EXCHANGES = tuple(_permutation(names) for names in (_LEG + _ARM, _LEG, _ARM))

BODY_SIZE_M = 0.46           # root mean square size of a person, to speak of metres in the picture
GAIN_M = 0.12                # an exchange must bring the moved joints closer to where they were by this on average
HOLD_S = 1.0                 # a detector that insists for so long is right
LEAP_M, LEAP_M_S = 0.15, 5.0  # a keypoint further than this from where it was, plus this speed, has leapt
DOUBT_S = 0.2                # a leap that lasts is believed
SMOOTH_S = 0.1


class Continuity:
    """Compares one person's keypoints with their own recent past."""

    def __init__(self) -> None:
        self._keypoints: np.ndarray | None = None  # (J, 2), last believed
        self._velocity = np.zeros((len(H36M17), 2))
        self._stamp_ns = 0
        self._doubt_s = np.zeros(len(H36M17))
        self._exchanged_s = 0.0

    def __call__(
        self, keypoints_px: np.ndarray, confidence: np.ndarray, size_px: float, stamp_ns: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (17, 2) with sides as before, and confidence (17,), zero where a keypoint has just leapt.

        ``size_px`` is the person's root mean square size. Turning round moves left and right through each other
        smoothly and passes; what is cured is the exchange between two frames.
        """
        elapsed = (stamp_ns - self._stamp_ns) * 1e-9
        if self._keypoints is None or elapsed <= 0 or elapsed > HOLD_S:
            self._restart(keypoints_px, confidence, stamp_ns)
            return keypoints_px, confidence
        metre_px = size_px / BODY_SIZE_M
        predicted = self._keypoints + self._velocity * min(elapsed, SMOOTH_S)

        order = self._sides(keypoints_px, confidence, predicted, metre_px)
        self._exchanged_s = self._exchanged_s + elapsed if order is not None else 0.0
        if order is not None:
            if self._exchanged_s > HOLD_S:
                self._restart(keypoints_px, confidence, stamp_ns)
                return keypoints_px, confidence
            keypoints_px, confidence = keypoints_px[order], confidence[order]

        leap = np.linalg.norm(keypoints_px - predicted, axis=-1) > (LEAP_M + LEAP_M_S * elapsed) * metre_px
        self._doubt_s = np.where(leap, self._doubt_s + elapsed, 0)
        doubted = leap & (self._doubt_s <= DOUBT_S)
        believed = ~doubted & (confidence > 0) & np.isfinite(keypoints_px).all(-1)
        self._remember(keypoints_px, believed, leap, elapsed, stamp_ns)
        return keypoints_px, np.where(doubted, 0, confidence).astype(np.float32)

    @staticmethod
    def _sides(
        keypoints_px: np.ndarray, confidence: np.ndarray, predicted: np.ndarray, metre_px: float
    ) -> np.ndarray | None:
        """The exchange of sides that explains the keypoints much better than none, or None."""
        known = (confidence > 0) & np.isfinite(keypoints_px).all(-1) & np.isfinite(predicted).all(-1)

        def distance(order: np.ndarray, joints: np.ndarray) -> float:
            moved = np.linalg.norm(keypoints_px[order] - predicted, axis=-1)[joints] / metre_px
            return float(np.minimum(moved, 0.6).mean())

        best, best_gain = None, GAIN_M
        identity = np.arange(len(H36M17))
        for order in _EXCHANGES:
            joints = (order != identity) & known & known[order]
            if joints.sum() < 4:
                continue
            gain = distance(identity, joints) - distance(order, joints)
            # The gain of the whole body is spread over more joints: compare sums.
            if gain > GAIN_M and gain * joints.sum() > best_gain:
                best, best_gain = order, gain * joints.sum()
        return best

    def _restart(self, keypoints_px: np.ndarray, confidence: np.ndarray, stamp_ns: int) -> None:
        known = confidence > 0
        self._keypoints = np.where(known[:, None], keypoints_px, np.nan)
        self._velocity = np.zeros_like(self._velocity)
        self._doubt_s = np.zeros_like(self._doubt_s)
        self._exchanged_s, self._stamp_ns = 0.0, stamp_ns

    def _remember(
        self, keypoints_px: np.ndarray, believed: np.ndarray, leap: np.ndarray, elapsed: float, stamp_ns: int
    ) -> None:
        assert self._keypoints is not None
        step = (keypoints_px - self._keypoints) / elapsed
        step = np.where((believed & ~leap)[:, None] & np.isfinite(step), step, 0)
        share = 1 - np.exp(-elapsed / SMOOTH_S)
        self._velocity = self._velocity + share * (step - self._velocity)
        self._keypoints = np.where(believed[:, None], keypoints_px, self._keypoints)
        self._stamp_ns = stamp_ns
