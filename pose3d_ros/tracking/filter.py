"""Causal smoothing and prediction of tracked 3D poses: constant-velocity Kalman filters of root and limbs."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pose3d_ros.people import TrackState
from pose3d_ros.skeleton import H36M17

# White acceleration noise in m^2/s^3, and the part of the measurements' error that is new in each frame: the rest is
# bias, which no filter can remove and sigma keeps.
ROOT_ACCELERATION = 1.0
LIMB_ACCELERATION = 3.0
FRESH_SHARE = 0.3
DEPTH_JITTER = 0.02     # of the distance: lifted poses shrink and grow a little
OUTLIER_SQUARED = 9.0   # innovations beyond three sigma count less,
MOST_DOUBT = 25.0       # but never so little that the filter loses a person who really jumped
COAST_S = 0.4           # an unseen person's velocity fades with this time constant
JOINTS = len(H36M17)


def _covariance(elapsed: float, acceleration: float) -> np.ndarray:
    """(2, 2) process noise of position and velocity after ``elapsed`` seconds of white acceleration noise."""
    return acceleration * np.array([[elapsed**3 / 3, elapsed**2 / 2], [elapsed**2 / 2, elapsed]])


@dataclass
class _Person:
    root: np.ndarray                # (2, 3) position and velocity
    root_covariance: np.ndarray     # (6, 6), positions first
    limbs: np.ndarray               # (2, 17, 3) relative to the root
    limb_covariance: np.ndarray     # (17, 2, 2), the same for the three axes
    bias_sigma_m: np.ndarray        # (17,)
    confidence: np.ndarray          # (17,)
    state: TrackState
    seen_ns: int


@dataclass(frozen=True)
class Measurement:
    """One person's pose in one frame.

    ``root_m`` (3,) with its covariance (3, 3), without (``root_covariance``) and with (``total_covariance``) what the
    unknown stature adds; ``joints_m`` (17, 3) relative to the root with ``sigma_m`` (17,); ``confidence`` (17,).
    """

    root_m: np.ndarray
    root_covariance: np.ndarray
    total_covariance: np.ndarray
    joints_m: np.ndarray
    sigma_m: np.ndarray
    confidence: np.ndarray
    state: TrackState


@dataclass
class PoseFilter:
    """Filters of all people by id. Call ``predict`` to a stamp, then ``update`` each person who was measured."""

    people: dict[int, _Person] = field(default_factory=dict)
    stamp_ns: int | None = None

    def predict(self, stamp_ns: int) -> None:
        """Move everybody to ``stamp_ns``."""
        elapsed = 0.0 if self.stamp_ns is None else max((stamp_ns - self.stamp_ns) * 1e-9, 0.0)
        self.stamp_ns = stamp_ns
        step = np.array([[1, elapsed], [0, 1]])
        for person in self.people.values():
            unseen = (stamp_ns - person.seen_ns) * 1e-9
            move = step if unseen <= elapsed else np.array([[1, elapsed], [0, np.exp(-elapsed / COAST_S)]])
            person.root = move @ person.root
            person.limbs = np.einsum("ab,bjk->ajk", move, person.limbs)
            wide = np.kron(move, np.eye(3))
            person.root_covariance = wide @ person.root_covariance @ wide.T + np.kron(
                _covariance(elapsed, ROOT_ACCELERATION), np.eye(3))
            person.limb_covariance = move @ person.limb_covariance @ move.T + _covariance(elapsed, LIMB_ACCELERATION)
            person.state = TrackState.OCCLUDED

    def update(self, person_id: int, measured: Measurement, smoothing: float) -> None:
        """Correct one person, or meet them; ``smoothing`` scales the standard deviation of the measurements."""
        assert self.stamp_ns is not None
        bias = np.sqrt(measured.sigma_m**2 + np.trace(measured.total_covariance) / 3)
        jitter = DEPTH_JITTER**2 * np.outer(measured.root_m, measured.root_m)
        noise = (FRESH_SHARE * smoothing) ** 2 * (measured.root_covariance + jitter) + 1e-8 * np.eye(3)
        limb_noise = (FRESH_SHARE * smoothing * measured.sigma_m) ** 2 + 1e-8
        person = self.people.get(person_id)
        if person is None:
            fast = np.diag([0.0, 1.0])
            self.people[person_id] = _Person(
                np.stack([measured.root_m, np.zeros(3)]),
                np.block([[noise, np.zeros((3, 3))], [np.zeros((3, 3)), np.eye(3)]]),
                np.stack([measured.joints_m, np.zeros((JOINTS, 3))]),
                limb_noise[:, None, None] * np.diag([1.0, 0.0]) + fast,
                bias, measured.confidence, measured.state, self.stamp_ns)
            return
        innovation = measured.root_m - person.root[0]
        spread = person.root_covariance[:3, :3] + noise
        distance = innovation @ np.linalg.solve(spread, innovation)
        spread = spread + noise * (np.clip(distance / OUTLIER_SQUARED, 1, MOST_DOUBT) - 1)
        gain = person.root_covariance[:, :3] @ np.linalg.inv(spread)
        person.root = person.root + (gain @ innovation).reshape(2, 3)
        person.root_covariance = person.root_covariance - gain @ person.root_covariance[:3]

        limb_innovation = measured.joints_m - person.limbs[0]
        limb_spread = person.limb_covariance[:, 0, 0] + limb_noise
        distances = (limb_innovation**2).sum(-1) / limb_spread
        limb_spread = limb_spread + limb_noise * (np.clip(distances / OUTLIER_SQUARED, 1, MOST_DOUBT) - 1)
        limb_gain = person.limb_covariance[:, :, 0] / limb_spread[:, None]
        person.limbs = person.limbs + limb_gain.T[..., None] * limb_innovation
        person.limb_covariance = person.limb_covariance - limb_gain[..., None] * person.limb_covariance[:, :1]
        # The state takes over the new measurement's certainty as far as it takes over its place.
        share = np.trace(gain[:3]) / 3
        person.bias_sigma_m = np.sqrt((1 - share) * person.bias_sigma_m**2 + share * bias**2)
        person.confidence = measured.confidence
        person.state, person.seen_ns = measured.state, self.stamp_ns

    def forget(self, known_ids: np.ndarray, max_occlusion_s: float) -> None:
        """Drop who is not among ``known_ids`` or was not seen for ``max_occlusion_s``."""
        assert self.stamp_ns is not None
        oldest = self.stamp_ns - max_occlusion_s * 1e9
        known = set(known_ids.tolist())
        self.people = {i: p for i, p in self.people.items() if i in known and p.seen_ns >= oldest}

    def joints(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Joints (P, 17, 3), velocities (P, 17, 3), sigma (P, 17) and confidence (P, 17), in the order of ``people``.

        Sigma is per axis and grows while a person is not seen; confidence fades.
        """
        people = list(self.people.values())
        if not people:
            return (np.zeros((0, JOINTS, 3)), np.zeros((0, JOINTS, 3)), np.zeros((0, JOINTS)), np.zeros((0, JOINTS)))
        positions = np.stack([p.root[0] + p.limbs[0] for p in people])
        velocities = np.stack([p.root[1] + p.limbs[1] for p in people])
        sigma = np.stack([np.sqrt(p.bias_sigma_m**2 + np.trace(p.root_covariance[:3, :3]) / 3
                                  + p.limb_covariance[:, 0, 0]) for p in people])
        unseen = np.array([(self.stamp_ns or 0) - p.seen_ns for p in people]) * 1e-9
        confidence = np.stack([p.confidence for p in people]) * np.exp(-unseen / COAST_S)[:, None]
        return positions, velocities, sigma, confidence
