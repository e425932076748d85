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

"""The floor below a camera of which nothing is known, learned from people who stand and walk."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import least_squares

from pose3d_ros.arrays import Rows
from pose3d_ros.place.floor import Floor
from pose3d_ros.place.root import KEYPOINT_SIGMA_M
from pose3d_ros.place.stature import LEAST_BELOW_M, SOLE_SHARE, leg_lengths, reaches_down
from pose3d_ros.skeleton import H36M17

_log = logging.getLogger(__name__)
Float = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.integer[Any]]

EVERY_S = 0.5  # between two looks at a person: nearer ones have the same errors
LEAST_LOOKS, MOST_LOOKS = 20, 300
AGAIN_S = 2.0  # between two fits
# One standard deviation in each look of the distance, as a share, and of a trunk's lean to the
# side; and, the same in all looks, of its lean along the line of sight, which is the lifter's
# guess.
DISTANCE_SIGMA, SIDE_SIGMA_RAD = 0.04, math.radians(5)
LIFTED_SIGMA_RAD = math.radians(5)
OUTLIER = 2.0  # standard deviations, beyond which a look counts less
SHORTER = 1.5  # and a stature below the assumed one: children have any size, giants are rare
LEAST_STATURE_SIGMA = 0.01  # nobody's stature is known better
MOST_HEIGHT_M, MOST_STEPS = 100.0, 20
UPRIGHT = math.cos(math.radians(30))  # of a trunk, beside what most of them say
# Sure enough to place people by. Of one person alone the height is as unsure as their stature.
SURE_HEIGHT, SURE_TILT_RAD = 0.08, math.radians(2.5)

_ANKLES = H36M17.indices("l_ankle", "r_ankle")
_PELVIS, _THORAX = H36M17.indices("pelvis", "thorax")


@dataclass
class Looks(Rows):
    """N looks at people who stand, if they are as tall as is assumed, in the camera's axes: whose
    (N,), the lower ankle (N, 3), its height above the sole (N,), the trunk's direction (N, 3).
    """

    person: Ids
    ankle_m: Float
    sole_m: Float
    trunk: Float

    @classmethod
    def of(cls, ids: Ids, root_m: Float, joints_m: Float, feet: npt.NDArray[np.bool_]) -> Looks:
        """At those of P people who stand on straight legs with both feet in view (``feet`` (P,
        17): ``stature.feet_seen``), by poses (P, 17, 3) relative to their roots (P, 3).
        """
        trunk = joints_m[:, _THORAX] - joints_m[:, _PELVIS]
        trunk = trunk / np.maximum(np.linalg.norm(trunk, axis=-1, keepdims=True), 1e-9)
        stand = feet[:, _ANKLES].all(1) & reaches_down(joints_m, trunk)
        stand &= np.isfinite(root_m).all(1)
        ankles = joints_m[:, _ANKLES]
        lower = (ankles @ trunk[..., None])[..., 0].argmin(1)
        ankle_m = root_m + ankles[np.arange(len(ids)), lower]
        sole_m = SOLE_SHARE * leg_lengths(joints_m).max(1)
        return cls(np.asarray(ids), ankle_m, sole_m, trunk)[stand]


class FloorLearner:
    """Collects looks at people who stand, and tells the floor while they tell it surely."""

    def __init__(self) -> None:
        self.floor: Floor | None = None
        """What people told; None while it is not sure."""
        self._looks: Looks | None = None
        self._looked_ns: dict[int, int] = {}
        self._fitted_ns: int | None = None
        self._said = False

    def update(self, looks: Looks, stature_sigma: float, stamp_ns: int) -> None:
        """Take in looks of one moment, if they are not too soon after others at the same people.
        ``stature_sigma``: scatter of statures, a share of the assumed one.
        """
        due_ns = stamp_ns - EVERY_S * 1e9
        self._looked_ns = {id_: at_ns for id_, at_ns in self._looked_ns.items() if at_ns > due_ns}
        looks = looks[~np.isin(looks.person, list(self._looked_ns))]
        if not len(looks):
            return
        self._looked_ns |= dict.fromkeys(looks.person.tolist(), stamp_ns)
        known = looks if self._looks is None else self._looks.joined(looks)
        self._looks = known[np.arange(len(known))[-MOST_LOOKS:]]
        rested = self._fitted_ns is None or stamp_ns - self._fitted_ns >= AGAIN_S * 1e9
        if len(self._looks) >= LEAST_LOOKS and rested:
            self._fitted_ns = stamp_ns
            self.floor = _if_sure(fit(self._looks, stature_sigma))
            if self.floor is not None and not self._said:
                self._said = True
                _say(self.floor)


def fit(looks: Looks, stature_sigma: float) -> Floor | None:
    """The floor that everybody's feet are on, with its sigma; None where people point up any way,
    stand no lower than the camera, or agree on nothing.

    Least squares of its tilt and height and of all statures, from which somebody who is seen near
    and far tells the tilt, and everybody the height, as sure as they are many. Trunks point up on
    average. Robust: looks at people who lean, or who stand on something, count less, and so do
    statures much below the assumed one. A camera that is turned by hand makes looks contradict
    each other, which enlarges sigma.
    """
    if len(looks) < LEAST_LOOKS:
        return None
    up = np.median(looks.trunk, axis=0)
    up /= max(float(np.linalg.norm(up)), 1e-9)
    upright = looks.trunk @ up > UPRIGHT
    looks = looks[upright & (looks.sole_m - looks.ankle_m @ up > LEAST_BELOW_M)]
    if len(looks) < LEAST_LOOKS:
        return None
    people, person = np.unique(looks.person, return_inverse=True)
    across = np.linalg.svd(up[None])[2][1:]  # (2, 3) perpendicular to up
    # Whoever is lowest below the camera, as tall as is assumed, is shorter than that.
    below = looks.sole_m - looks.ankle_m @ up
    start_m = min(float(np.median(below[person == row])) for row in range(len(people)))

    def residuals(unknown: Float) -> Float:
        tilted = up + unknown[:2] @ across
        tilted = tilted / np.linalg.norm(tilted)
        below = np.maximum(looks.sole_m - looks.ankle_m @ tilted, 0.1 * LEAST_BELOW_M)
        sideways = np.cross(looks.ankle_m, tilted)
        sideways /= np.maximum(np.linalg.norm(sideways, axis=1, keepdims=True), 1e-9)
        forward = np.cross(tilted, sideways)
        height = np.log(below) + unknown[3:][person] - unknown[2]
        stature = unknown[3:] / max(stature_sigma, LEAST_STATURE_SIGMA)
        return np.concatenate(
            [
                _huber(height / np.hypot(DISTANCE_SIGMA, KEYPOINT_SIGMA_M / below)),
                _huber((looks.trunk * sideways).sum(1) / SIDE_SIGMA_RAD),
                [(looks.trunk * forward).sum(1).mean() / LIFTED_SIGMA_RAD],
                np.where(stature < 0, _cauchy(stature), stature),
            ]
        )

    first = np.concatenate([[0.0, 0.0, math.log(start_m)], np.zeros(len(people))])
    found = least_squares(residuals, first, method="lm", max_nfev=MOST_STEPS * len(first))
    height_m = float(np.exp(found.x[2]))
    if not found.success or height_m > MOST_HEIGHT_M:
        return None
    freedom = max(len(found.fun) - len(first), 1)
    information = found.jac.T @ found.jac + 1e-9 * np.eye(len(first))
    covariance = np.linalg.inv(information) * max(1.0, 2 * found.cost / freedom)
    tilt_x, tilt_y, height = np.sqrt(np.diag(covariance))[:3].tolist()
    return Floor(
        up + found.x[:2] @ across, height_m, math.hypot(tilt_x, tilt_y) / 2**0.5, height * height_m
    )


def _huber(sigmas: Float) -> Float:
    """Residuals whose squares are Huber's loss beyond ``OUTLIER``."""
    size = np.abs(sigmas)
    beyond = np.sqrt(2 * OUTLIER * np.maximum(size, OUTLIER) - OUTLIER**2)
    return np.asarray(np.sign(sigmas) * np.where(size > OUTLIER, beyond, size))


def _cauchy(sigmas: Float) -> Float:
    """Residuals whose squares are Cauchy's loss of scale ``SHORTER``."""
    return np.asarray(np.sign(sigmas) * SHORTER * np.sqrt(np.log1p((sigmas / SHORTER) ** 2)))


def _if_sure(floor: Floor | None) -> Floor | None:
    if floor is None or floor.height_sigma_m > SURE_HEIGHT * floor.height_m:
        return None
    return floor if floor.tilt_sigma_rad < SURE_TILT_RAD else None


def _say(floor: Floor) -> None:
    right, down, forward = floor.up
    _log.info(
        "the floor is learned from people and used from now on: the camera is %.2f m above it "
        "(one sigma %.2f m), looks down by %.1f degrees and leans by %.1f (%.1f); what you know "
        "better, set as camera_height_m, camera_pitch_deg and camera_roll_deg",
        floor.height_m,
        floor.height_sigma_m,
        -math.degrees(math.asin(forward)),
        math.degrees(math.atan2(right, -down)),
        math.degrees(floor.tilt_sigma_rad),
    )
