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

"""Left stays left: cures a detector's sudden exchange of sides, and doubts keypoints that leap."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from pose3d_ros.arrays import Rows
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17, Skeleton, anchors

# Which joints may have been exchanged: the whole body, the legs, the arms.
_LEG = ("hip", "knee", "ankle", "heel", "foot")
_ARM = ("shoulder", "elbow", "wrist", "index", "pinky")
_FACE = ("eye", "ear")


@cache
def _orders(skeleton: Skeleton) -> np.ndarray:
    """Permutations (4, J) of the joints, of which the first changes nothing."""
    orders = np.tile(np.arange(len(skeleton)), (4, 1))
    for order, names in zip(orders[1:], (_LEG + _ARM + _FACE, _LEG, _ARM), strict=True):
        for left, right in skeleton.symmetric_pairs:
            if skeleton.joints[left].removeprefix("l_") in names:
                order[[left, right]] = right, left
    return orders


_ORDERS = _orders(H36M17)
_EXCHANGED = np.arange(len(H36M17)) != _ORDERS

BODY_SIZE_M = 0.46  # root mean square size of a person, to speak of metres in the picture
GAIN_M = (
    0.12  # an exchange must bring the moved joints closer to where they were by this on average
)
HOLD_S = 1.0  # a detector that insists for so long, or for longer than it said otherwise, is right
LEAP_M, LEAP_M_S = (
    0.15,
    5.0,
)  # a keypoint further than this from where it was, plus this speed, has leapt
DOUBT_S = 0.2  # a leap that lasts so long, or longer than what was before, is believed
SMOOTH_S = 0.1
FARTHEST_M = 0.6


@dataclass
class SwapState(Rows):
    """Memory of P people's keypoints.

    ``keypoints_px`` (P, 17, 2), last believed, NaN where unknown, and ``velocity_px_s``;
    ``doubt_s`` (P, 17) since they leapt; ``kept_s`` (P,) for how long the detector has said the
    sides that are kept, ``exchanged_s`` (P,) since when it exchanges them; ``stamp_ns`` (P,).
    """

    keypoints_px: np.ndarray
    velocity_px_s: np.ndarray
    doubt_s: np.ndarray
    kept_s: np.ndarray
    exchanged_s: np.ndarray
    stamp_ns: np.ndarray

    @classmethod
    def initial(cls, keypoints_px: np.ndarray, confidence: np.ndarray, stamp_ns: int) -> SwapState:
        """With keypoints (P, 17, 2) that are believed where ``confidence`` (P, 17) is not 0."""
        people = len(keypoints_px)
        return cls(
            np.where(confidence[..., None] > 0, keypoints_px, np.nan),
            np.zeros(keypoints_px.shape),
            np.zeros(confidence.shape),
            np.zeros(people),
            np.zeros(people),
            np.full(people, stamp_ns),
        )


def correct_swaps(
    state: SwapState, people: People2D, size_px: np.ndarray
) -> tuple[SwapState, People2D]:
    """People with sides as in the ``state``, and with confidence 0 where a keypoint has just
    leapt. Human3.6M's 17 joints decide; those that hang from them (``skeleton.anchors``) follow.

    ``size_px`` (P,) is people's root mean square size. Turning round moves left and right through
    each other smoothly and passes; what is cured is the exchange between two frames. The first
    value is the state of the next frame.
    """
    stamp_ns = people.stamp_ns
    elapsed = (stamp_ns - state.stamp_ns) * 1e-9
    again = (elapsed <= 0) | (elapsed > HOLD_S)
    elapsed = np.where(again, 1.0, elapsed)
    metre_px = (size_px / BODY_SIZE_M)[:, None]
    predicted = (
        state.keypoints_px + state.velocity_px_s * np.minimum(elapsed, SMOOTH_S)[:, None, None]
    )

    body = people.to(H36M17)
    order = _sides(body.keypoints_px, body.confidence, predicted, metre_px)
    exchanged_s = np.where(order > 0, state.exchanged_s + elapsed, 0.0)
    kept_s = np.where(order > 0, state.kept_s, state.kept_s + elapsed)
    again |= exchanged_s > np.minimum(kept_s + 1.01 * elapsed, HOLD_S)  # the first frame counts
    order = np.where(again, 0, order)
    people = people.with_joint_order(_orders(people.skeleton)[order])
    body = people.to(H36M17)
    keypoints_px, confidence = body.keypoints_px, body.confidence

    leap = (
        np.linalg.norm(keypoints_px - predicted, axis=-1)
        > (LEAP_M + LEAP_M_S * elapsed[:, None]) * metre_px
    )
    doubt_s = np.where(leap, state.doubt_s + elapsed[:, None], 0)
    before_s = kept_s[:, None] - doubt_s  # for how long it was elsewhere
    doubted = leap & (doubt_s <= np.minimum(DOUBT_S, before_s)) & ~again[:, None]
    believed = ~doubted & (confidence > 0) & np.isfinite(keypoints_px).all(-1)
    step = (keypoints_px - state.keypoints_px) / elapsed[:, None, None]
    step = np.where((believed & ~leap)[..., None] & np.isfinite(step), step, 0)
    share = (1 - np.exp(-elapsed / SMOOTH_S))[:, None, None]
    now = SwapState(
        np.where(believed[..., None], keypoints_px, state.keypoints_px),
        state.velocity_px_s + share * (step - state.velocity_px_s),
        doubt_s,
        kept_s,
        exchanged_s,
        np.full(len(order), stamp_ns),
    )
    if again.any():
        now[again] = SwapState.initial(keypoints_px[again], confidence[again], stamp_ns)
    doubted = doubted[:, anchors(people.skeleton)]
    return now, replace(people, confidence=np.where(doubted, 0, people.confidence))


def _sides(
    keypoints_px: np.ndarray, confidence: np.ndarray, predicted: np.ndarray, metre_px: np.ndarray
) -> np.ndarray:
    """Index in ``_ORDERS`` (P,) that explains the keypoints: an exchange if much better than none,
    0 otherwise.
    """
    known = (confidence > 0) & np.isfinite(keypoints_px).all(-1) & np.isfinite(predicted).all(-1)
    exchanged = np.nan_to_num(keypoints_px[:, _ORDERS] - predicted[:, None])  # (P, orders, 17, 2)
    metres = np.minimum(np.linalg.norm(exchanged, axis=-1) / metre_px[:, None], FARTHEST_M)
    joints = _EXCHANGED & known[:, None] & known[:, _ORDERS]
    count = joints.sum(-1)
    # The gain of the whole body is spread over more joints: sums are compared.
    total = ((metres[:, :1] - metres) * joints).sum(-1)
    worth = np.where((count >= 4) & (total > GAIN_M * count) & (total > GAIN_M), total, 0)
    return np.asarray(worth.argmax(1))  # the first order is worth nothing
