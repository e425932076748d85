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

"""Stature: what feet on the floor tell of people's size, and what is known of each person's.

Everything here is a ratio to the stature that is assumed (``person_height_m``): a person on given
rays who is twice as large is twice as far away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.place.floor import Floor
from pose3d_ros.place.root import KEYPOINT_SIGMA_M
from pose3d_ros.skeleton import H36M17

Float = npt.NDArray[np.floating[Any]]
Ids = npt.NDArray[np.integer[Any]]

_ANKLES, _KNEES, _HIPS = (
    H36M17.indices(f"l_{name}", f"r_{name}") for name in ("ankle", "knee", "hip")
)
_PELVIS, _THORAX = H36M17.indices("pelvis", "thorax")
# Height above the ground of what detectors call the ankle, in lengths of the leg: BlazePose on
# renders in shoes 0.135 to 0.15, OpenPose on a barefoot man 0.14.
SOLE_SHARE = 0.14
ANKLE_SIGMA_M = 0.02  # of that height
FOOT_CONFIDENCE = 0.6  # of an ankle that is used
FOOT_SHARE = 0.05  # of a person's height in the picture, by which an ankle is inside of it
CONTACT_M = 0.06  # an ankle that much above the other one is in the air
UPRIGHT, STRAIGHT = (
    0.82,
    0.80,
)  # cosine of the trunk's lean; height of the hip in lengths of the leg
LEAST_BELOW_M = 0.15  # a floor nearer below the camera tells no distance
OUTLIER_SQUARED = 9.0  # measurements beyond three sigma: taller ones do not count,
MOST_DOUBT = 25.0  # shorter ones count less
ALIKE_S = 0.25  # errors of measurements within this time are alike: they count as one together
LASTING_SHARE = 0.5  # of the variance of one measurement: what no repetition averages out


def feet_seen(
    keypoints_px: Float, confidence: Float, image_size: tuple[int, int]
) -> npt.NDArray[np.bool_]:
    """Keypoints (P, 17) that are good enough to be taken for feet: surer than others, and so far
    inside the picture of ``image_size`` that the sole below an ankle is in it too.

    ``keypoints_px`` (P, 17, 2), ``confidence`` (P, 17). Detectors draw feet that are below the
    picture at its edge.
    """
    known = (confidence > 0) & np.isfinite(keypoints_px).all(-1)
    x, y = np.moveaxis(np.where(known[..., None], keypoints_px, np.nan), -1, 0)
    top = np.where(known, y, np.inf).min(1, initial=np.inf, keepdims=True)
    bottom = np.where(known, y, -np.inf).max(1, initial=-np.inf, keepdims=True)
    with np.errstate(invalid="ignore"):
        margin = FOOT_SHARE * (bottom - top)
        inside = (x >= margin) & (x <= image_size[0] - 1 - margin)
        inside &= y <= image_size[1] - 1 - margin
    return np.asarray(inside & (confidence >= FOOT_CONFIDENCE))


def by_floor(
    root_m: Float,
    joints_m: Float,
    sigma_m: Float,
    rays: Float,
    feet: npt.NDArray[np.bool_],
    floor: Floor,
) -> tuple[Float, Float]:
    """Ratio (P,) of people's size to the assumed one, with the variance (P,), by their feet on the
    floor.

    ``root_m`` (P, 3) and ``joints_m`` (P, 17, 3), relative to the root with ``sigma_m`` (P, 17),
    are lifted poses of the assumed stature in the camera's axes; ``rays`` (P, 17, 2) of their
    keypoints, ``feet`` (P, 17): ``feet_seen``. The ankle's ray meets the floor, less the ankle's
    height, at the person's distance. NaN for people who do not stand or walk upright, whose feet
    are not seen, or who stand too little below the camera.
    """
    depth = (root_m[:, None, 2] + joints_m[..., 2])[:, _ANKLES]  # (P, 2)
    ankles = depth[..., None] * np.concatenate([rays[:, _ANKLES], np.ones((*depth.shape, 1))], -1)
    sole_m = SOLE_SHARE * leg_lengths(joints_m).max(1, keepdims=True)
    below = sole_m - ankles @ floor.up  # of the sole, below the camera
    height = joints_m[:, _ANKLES] @ floor.up
    known = feet[:, _ANKLES] & np.isfinite(below) & (below > 0)
    lowest = np.where(known, height, np.inf).min(1)
    known &= (height < lowest[:, None] + CONTACT_M) & stands(joints_m, floor.up)[:, None]
    known &= floor.height_m > LEAST_BELOW_M
    safe = np.where(known, below, 1.0)
    scales = floor.height_m / safe
    across = (
        np.hypot(KEYPOINT_SIGMA_M, ANKLE_SIGMA_M) ** 2
        + (floor.tilt_sigma_rad * np.linalg.norm(ankles, axis=-1)) ** 2
    )
    variances = scales**2 * (
        across / safe**2
        + (sigma_m[:, _ANKLES] / np.maximum(depth, 0.1)) ** 2
        + (floor.height_sigma_m / floor.height_m) ** 2
    )
    number = known.sum(1)
    scale, variance = (
        np.where(known, value, 0).sum(1) / np.maximum(number, 1) for value in (scales, variances)
    )
    return np.where(number, scale, np.nan), np.where(number, variance, np.nan)


def stands(joints_m: Float, up: Float) -> npt.NDArray[np.bool_]:
    """Whether people (P, 17, 3) stand or walk: the trunk upright, and the hips nearly a leg's
    length above the lower ankle. ``up`` (3,) is against gravity.
    """
    trunk = joints_m[:, _THORAX] - joints_m[:, _PELVIS]
    upright = trunk @ up > UPRIGHT * np.linalg.norm(trunk, axis=-1)
    return np.asarray(upright & reaches_down(joints_m, up))


def reaches_down(joints_m: Float, up: Float) -> npt.NDArray[np.bool_]:
    """Whether the hips of people (P, 17, 3) are nearly a leg's length above the lower ankle, by
    one direction up (3,) or one for each (P, 3).
    """
    legs = joints_m[:, _HIPS] - joints_m[:, _ANKLES]
    reach = (legs * np.reshape(up, (-1, 1, 3))).sum(-1).max(1)
    return np.asarray(reach > STRAIGHT * leg_lengths(joints_m).max(1))


def leg_lengths(joints_m: Float) -> Float:
    """(P, 2) from hip over knee to ankle."""
    hips, knees, ankles = (joints_m[:, which] for which in (_HIPS, _KNEES, _ANKLES))
    return np.asarray(
        np.linalg.norm(hips - knees, axis=-1) + np.linalg.norm(knees - ankles, axis=-1)
    )


class Statures:
    """Size of each person by track id, as measurements tell it: a Kalman filter each.

    A stature does not change, so measurements add up, but neither their neighbours' errors
    (``ALIKE_S``) nor what all have in common (``LASTING_SHARE``) average out.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[float, float, int]] = {}

    def update(
        self, ids: Ids, scale: Float, variance: Float, prior_variance: float, stamp_ns: int
    ) -> tuple[list[int], npt.NDArray[np.bool_]]:
        """Take over measurements (P,), NaN where there is none; returns the ids that were measured
        for the first time, and whose measurement (P,) was believed.

        Who is far from the assumed stature does not come from those it was assumed of: the first
        measurement counts alone. Later ones that make a person taller than is likely do not
        count: the person jumps, climbs or stands on something. Nothing makes people look shorter
        but an error.
        """
        first, believed = [], np.zeros(len(ids), bool)
        for row, (person, value, new) in enumerate(
            zip(ids.tolist(), scale.tolist(), variance.tolist(), strict=True)
        ):
            if not np.isfinite(value):
                continue
            known = self._known.get(person)
            if known is None:
                first.append(person)
                mean, old, share = 1.0, prior_variance, 1.0
                if (value - mean) ** 2 > 4 * (old + new):
                    mean, old = value, new
            else:
                mean, old, before_ns = known
                share = min((stamp_ns - before_ns) * 1e-9 / ALIKE_S, 1.0)
            doubt = (value - mean) ** 2 / (old + new) / OUTLIER_SQUARED
            if doubt > 1 and value > mean:
                continue
            believed[row] = doubt <= 1
            gain = share * old / (share * old + new * min(max(doubt, 1.0), MOST_DOUBT))
            left = min(old, max((1 - gain) * old, LASTING_SHARE * new))
            self._known[person] = mean + gain * (value - mean), left, stamp_ns
        return first, believed

    def __call__(self, ids: Ids, prior_variance: float) -> tuple[Float, Float]:
        """Ratio (P,) to the assumed size and its variance (P,): 1 and the prior where nothing was
        measured.
        """
        known = [self._known.get(person, (1.0, prior_variance)) for person in ids.tolist()]
        return np.array([k[0] for k in known]), np.array([k[1] for k in known])

    def measured(self, ids: Ids) -> npt.NDArray[np.bool_]:
        """Of whom (P,) anything was measured."""
        return np.array([person in self._known for person in ids.tolist()], bool)

    def rescale(self, ratio: float) -> None:
        """Make everybody ``ratio`` times as tall: what they were measured by turned out so."""
        self._known = {
            person: (mean * ratio, variance, stamp_ns)
            for person, (mean, variance, stamp_ns) in self._known.items()
        }

    def forget(self, keep: Ids) -> None:
        """Drop everybody whose id is not in ``keep``."""
        kept = set(keep.tolist())
        self._known = {person: value for person, value in self._known.items() if person in kept}
