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

"""Where people will be: poses of some time ago, or of now, moved on."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.people import People3D, sigma_of
from pose3d_ros.skeleton import Skeleton

Float = npt.NDArray[np.float64]

# Fitted to motion capture and to the demo's clip (benchmarks/prediction.py): people walk on, but
# limbs swing back.
BODY_FADING_S = 0.7  # time constant in which the hips' velocity fades,
LIMB_FADING_S = 0.1  # and that of a joint relative to them
SPEED_MPS = 0.5  # of people, one standard deviation per axis
# Errors of velocity: of anybody, and because errors of place wander within this time.
VELOCITY_SIGMA_MPS, WANDER_S = 0.2, 0.6
ACCELERATION = 0.24  # white noise of what people do, m^2/s^3
# Standard deviation per axis of a joint relative to the hips, whatever it does: it stays within
# reach, and is there soon.
_SPREAD_M = {
    "pelvis": 0.0, "hip": 0.07, "knee": 0.23, "ankle": 0.34, "spine": 0.09, "thorax": 0.14,
    "neck": 0.16, "head": 0.17, "shoulder": 0.17, "elbow": 0.18, "wrist": 0.23,
    "nose": 0.17, "eye": 0.17, "ear": 0.17,
}  # fmt: skip
_OTHER_SPREAD_M = 0.34  # feet, hands
_SPREAD_TIME_S = 0.57


def ahead(people: People3D, seconds: float) -> People3D:
    """The same people ``seconds`` later, if nothing more is seen of them, in the same frame.

    Velocities fade, those of limbs sooner than that of the body, which counts less in directions
    where the place is unsure: along a single camera's line of sight it is mostly noise.
    ``sigma_m`` and ``covariance_m2`` grow with time; ``states`` and ``confidence`` stay those of
    the frame that the prediction rests on. Raises ``ValueError`` for a time back.
    """
    if not seconds >= 0:
        raise ValueError(f"expected to predict 0 s ahead or more, got {seconds} s")
    joints_m, velocity = people.joints_m.astype(float), people.velocity_mps.astype(float)
    place = people.covariance_m2
    if place is None:
        place = people.sigma_m[..., None, None] ** 2 * np.eye(3)
    measured = _of_hips(velocity, people.skeleton)
    error = _of_hips(place, people.skeleton) / WANDER_S**2 + VELOCITY_SIGMA_MPS**2 * np.eye(3)
    # The best guess from the velocity that was measured and from those that people have.
    trust = np.linalg.inv(error + SPEED_MPS**2 * np.eye(3)) * SPEED_MPS**2
    body = (trust @ measured[..., None])[..., 0]
    limbs = velocity - measured
    way_s, limb_way_s = (_way_s(seconds, fading) for fading in (BODY_FADING_S, LIMB_FADING_S))
    joints_m += body * way_s + limbs * limb_way_s
    reach = 1 - math.exp(-((seconds / _SPREAD_TIME_S) ** 2))
    alike = reach * _spread_m(people.skeleton) ** 2 + ACCELERATION * seconds**3 / 3
    growth = (error @ trust) * way_s**2 + alike[:, None, None] * np.eye(3)
    return replace(
        people,
        joints_m=joints_m,
        velocity_mps=body * math.exp(-seconds / BODY_FADING_S)
        + limbs * math.exp(-seconds / LIMB_FADING_S),
        sigma_m=np.hypot(people.sigma_m, sigma_of(growth)),
        covariance_m2=None if people.covariance_m2 is None else place + growth,
        stamp_ns=people.stamp_ns + round(seconds * 1e9),
    )


def _way_s(seconds: float, fading_s: float) -> float:
    """Way that a velocity of one, which fades, makes in a time."""
    return fading_s * (1 - math.exp(-seconds / fading_s))


def _of_hips(values: npt.NDArray[np.floating[Any]], skeleton: Skeleton) -> Float:
    """Mean (P, 1, ...) of values (P, J, ...) of the known ones of the hips, or else of all known
    joints; 0 of none.
    """
    axes = tuple(range(2, values.ndim))
    known = np.isfinite(values).all(axes)
    hips = np.isin(np.arange(len(skeleton)), skeleton.indices("l_hip", "r_hip"))
    of = np.where((known & hips).any(1, keepdims=True), known & hips, known)
    share = np.expand_dims(of / np.maximum(of.sum(1, keepdims=True), 1), axes)
    return np.asarray((np.nan_to_num(values) * share).sum(1, keepdims=True), float)


def _spread_m(skeleton: Skeleton) -> Float:
    """(J,) of each joint."""
    names = (joint.split("_")[-1] for joint in skeleton.joints)
    return np.array([_SPREAD_M.get(name, _OTHER_SPREAD_M) for name in names])
