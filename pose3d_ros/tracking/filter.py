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

"""Causal smoothing and prediction of tracked 3D poses: constant-velocity Kalman filters of root
and limbs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pose3d_ros.arrays import Rows
from pose3d_ros.people import TrackState
from pose3d_ros.skeleton import H36M17

# White acceleration noise in m^2/s^3, and the part of the measurements' error that comes and goes:
# the rest is bias, which no filter can remove and sigma keeps. Of limbs that part is new in each
# frame; the root's, most of it along the line of sight, wanders within WANDER_S.
ROOT_ACCELERATION = 1.0
LIMB_ACCELERATION = 3.0
ROOT_SHARE, WANDER_S = 0.5, 0.1
LEAST_STEP_S = 0.016  # between two frames
LIMB_SHARE = 0.24
DEPTH_JITTER = 0.02  # of the distance: lifted poses shrink and grow a little
OUTLIER_SQUARED = 9.0  # innovations beyond three sigma count less,
MOST_DOUBT = 25.0  # but never so little that the filter loses a person who really jumped
COAST_S = 0.4  # an unseen person's velocity fades with this time constant


def _covariance(elapsed: float, acceleration: float) -> np.ndarray:
    """(2, 2) process noise of position and velocity after ``elapsed`` seconds of white
    acceleration noise.
    """
    return acceleration * np.array([[elapsed**3 / 3, elapsed**2 / 2], [elapsed**2 / 2, elapsed]])


def _mean_variance(covariance: np.ndarray) -> np.ndarray:
    """(...) mean over the axes of (..., 3, 3)."""
    return np.asarray(np.trace(covariance, axis1=-2, axis2=-1) / 3)


def _isotropic(variance: np.ndarray) -> np.ndarray:
    """(..., 3, 3) of the same variance (...) along each axis."""
    return np.asarray(variance[..., None, None] * np.eye(3))


@dataclass
class Measurements(Rows):
    """P people's poses in one frame.

    ``root_m`` (P, 3) with its covariance (P, 3, 3), without (``root_covariance``) and with
    (``total_covariance``) what the unknown stature adds; ``joints_m`` (P, J, 3) relative to the
    root with ``sigma_m`` (P, J); ``confidence`` (P, J); ``states`` (P,). ``sight_m`` (P, 3):
    from the camera to the root, in the frame of the others.
    """

    ids: np.ndarray
    root_m: np.ndarray
    root_covariance: np.ndarray
    total_covariance: np.ndarray
    joints_m: np.ndarray
    sigma_m: np.ndarray
    confidence: np.ndarray
    states: np.ndarray
    sight_m: np.ndarray


@dataclass
class _People(Rows):
    ids: np.ndarray
    root: np.ndarray  # (P, 2, 3) position and velocity
    root_covariance: np.ndarray  # (P, 6, 6), positions first
    limbs: np.ndarray  # (P, 2, J, 3) relative to the root
    limb_covariance: np.ndarray  # (P, J, 2, 2), the same for the three axes
    bias: np.ndarray  # (P, J, 3, 3) covariance of what lasts
    confidence: np.ndarray  # (P, J)
    states: np.ndarray
    seen_ns: np.ndarray


class PoseFilter:
    """Filters of all people by id, who have so many ``joints``. Call ``predict`` to a stamp, then
    ``update`` with those who were measured.
    """

    def __init__(self, joints: int = len(H36M17)) -> None:
        self._people = _People(
            np.zeros(0, np.int32),
            np.zeros((0, 2, 3)),
            np.zeros((0, 6, 6)),
            np.zeros((0, 2, joints, 3)),
            np.zeros((0, joints, 2, 2)),
            np.zeros((0, joints, 3, 3)),
            np.zeros((0, joints)),
            np.zeros(0, np.int8),
            np.zeros(0, int),
        )
        self._stamp_ns: int | None = None
        self._elapsed_s = 0.0

    @property
    def ids(self) -> np.ndarray:
        """Of the people (P,), in the order in which they came."""
        return self._people.ids

    @property
    def states(self) -> np.ndarray:
        """``TrackState`` (P,) of each."""
        return self._people.states

    def predict(self, stamp_ns: int) -> None:
        """Move everybody to ``stamp_ns``."""
        elapsed = 0.0 if self._stamp_ns is None else max((stamp_ns - self._stamp_ns) * 1e-9, 0.0)
        self._stamp_ns, self._elapsed_s = stamp_ns, elapsed
        people = self._people
        move = np.zeros((len(people), 2, 2))
        move[:, 0] = 1, elapsed
        seen_before = (stamp_ns - people.seen_ns) * 1e-9 <= elapsed
        move[:, 1, 1] = np.where(seen_before, 1.0, np.exp(-elapsed / COAST_S))
        wide = np.einsum("pab,ij->paibj", move, np.eye(3)).reshape(-1, 6, 6)
        turned = move.swapaxes(1, 2)
        self._people = replace(
            people,
            root=move @ people.root,
            root_covariance=wide @ people.root_covariance @ wide.swapaxes(1, 2)
            + np.kron(_covariance(elapsed, ROOT_ACCELERATION), np.eye(3)),
            limbs=np.einsum("pab,pbjk->pajk", move, people.limbs),
            limb_covariance=move[:, None] @ people.limb_covariance @ turned[:, None]
            + _covariance(elapsed, LIMB_ACCELERATION),
            states=np.full(len(people), TrackState.OCCLUDED, np.int8),
        )

    def update(self, measured: Measurements, smoothing: float) -> None:
        """Correct people, and meet new ones; ``smoothing`` scales the standard deviation of the
        measurements.
        """
        rows = {person: row for row, person in enumerate(self._people.ids.tolist())}
        row = np.array([rows.get(person, -1) for person in measured.ids.tolist()], int)
        known = row >= 0
        if known.any():
            self._people[row[known]] = self._corrected(
                self._people[row[known]], measured[known], smoothing
            )
        if not known.all():
            self._people = self._people.joined(self._met(measured[~known], smoothing))

    def _met(self, measured: Measurements, smoothing: float) -> _People:
        count = len(measured)
        noise, limb_noise, bias = _noise(measured, smoothing, self._elapsed_s)
        covariance = np.zeros((count, 6, 6))
        covariance[:, :3, :3], covariance[:, 3:, 3:] = noise, np.eye(3)
        limb_covariance = np.zeros((*limb_noise.shape, 2, 2))
        limb_covariance[..., 0, 0], limb_covariance[..., 1, 1] = limb_noise, 1.0
        return _People(
            measured.ids,
            np.stack([measured.root_m, np.zeros((count, 3))], 1),
            covariance,
            np.stack([measured.joints_m, np.zeros(measured.joints_m.shape)], 1),
            limb_covariance,
            bias,
            measured.confidence,
            measured.states,
            np.full(count, self._stamp_ns),
        )

    def _corrected(self, people: _People, measured: Measurements, smoothing: float) -> _People:
        noise, limb_noise, bias = _noise(measured, smoothing, self._elapsed_s)
        innovation = (measured.root_m - people.root[:, 0])[..., None]
        spread = people.root_covariance[:, :3, :3] + noise
        distance = innovation.swapaxes(1, 2) @ np.linalg.solve(spread, innovation)
        spread = spread + noise * (np.clip(distance / OUTLIER_SQUARED, 1, MOST_DOUBT) - 1)
        gain = people.root_covariance[:, :, :3] @ np.linalg.inv(spread)  # (P, 6, 3)

        limb_innovation = measured.joints_m - people.limbs[:, 0]
        limb_spread = people.limb_covariance[..., 0, 0] + limb_noise
        distances = (limb_innovation**2).sum(-1) / limb_spread
        limb_spread = limb_spread + limb_noise * (
            np.clip(distances / OUTLIER_SQUARED, 1, MOST_DOUBT) - 1
        )
        limb_gain = people.limb_covariance[..., 0] / limb_spread[..., None]  # (P, J, 2)
        # The state takes over the new measurement's certainty as far as it takes over its place.
        share = _mean_variance(gain[:, :3])[:, None, None, None]
        return _People(
            people.ids,
            people.root + (gain @ innovation).reshape(-1, 2, 3),
            people.root_covariance - gain @ people.root_covariance[:, :3],
            people.limbs + limb_gain.swapaxes(1, 2)[..., None] * limb_innovation[:, None],
            people.limb_covariance - limb_gain[..., None] * people.limb_covariance[..., :1, :],
            (1 - share) * people.bias + share * bias,
            measured.confidence,
            measured.states,
            np.full(len(people), self._stamp_ns),
        )

    def forget(self, known_ids: np.ndarray, max_occlusion_s: float) -> None:
        """Drop who is not among ``known_ids`` or was not seen for ``max_occlusion_s``."""
        assert self._stamp_ns is not None
        oldest = self._stamp_ns - max_occlusion_s * 1e9
        self._people = self._people[
            np.isin(self.ids, known_ids) & (self._people.seen_ns >= oldest)
        ]

    def drop(self, ids: np.ndarray | list[int]) -> None:
        """Forget these people; who of them is measured again is met anew."""
        self._people = self._people[~np.isin(self.ids, ids)]

    def joints(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Joints (P, J, 3), velocities (P, J, 3), covariance (P, J, 3, 3) and confidence
        (P, J), in the order of ``ids``.

        Covariance grows while a person is not seen; confidence fades.
        """
        people = self._people
        positions, velocities = (people.root[:, :, None] + people.limbs).swapaxes(0, 1)
        covariance = (
            people.bias
            + people.root_covariance[:, None, :3, :3]
            + _isotropic(people.limb_covariance[..., 0, 0])
        )
        unseen = ((self._stamp_ns or 0) - people.seen_ns) * 1e-9
        faded = people.confidence * np.exp(-unseen / COAST_S)[:, None]
        return positions, velocities, covariance, faded


def _noise(
    measured: Measurements, smoothing: float, elapsed_s: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What comes and goes: covariance (P, 3, 3) of the root, variance (P, J) of limbs; and the
    lasting covariance (P, J, 3, 3) of joints.

    The root's error wanders: of frames every ``elapsed_s`` with correlation r, each counts as one
    of (1 + r) / (1 - r) times the variance whose error is its own (first-order Markov process).
    """
    jitter = DEPTH_JITTER**2 * np.einsum("pa,pb->pab", measured.sight_m, measured.sight_m)
    alike = 1 / math.tanh(max(elapsed_s, LEAST_STEP_S) / (2 * WANDER_S))
    root = alike * (ROOT_SHARE * smoothing) ** 2 * (measured.root_covariance + jitter)
    limbs = (LIMB_SHARE * smoothing * measured.sigma_m) ** 2 + 1e-8
    lasting = _isotropic(measured.sigma_m**2) + measured.total_covariance[:, None]
    return root + 1e-8 * np.eye(3), limbs, lasting
