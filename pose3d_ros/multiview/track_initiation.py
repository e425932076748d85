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

"""Track initiation: people who were not tracked before, and whether they duplicate a track."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pose3d_ros.multiview.association import (
    BODY_SIZE_M,
    GATE_M,
    MIN_JOINTS,
    NOBODY,
    RigDetections,
    agreement,
    missed_views,
)
from pose3d_ros.multiview.bones import BodySize, Bones
from pose3d_ros.multiview.depth import locate
from pose3d_ros.multiview.measurement_noise import PRIOR_PEOPLE, WALKING_MPS, AdaptiveNoise
from pose3d_ros.multiview.rig import Rig
from pose3d_ros.multiview.tracks import (
    DEPTH_EVIDENCE,
    TENTATIVE_ABSENCE_PENALTY,
    UNSEEN_BONE_M,
    Tracks,
)
from pose3d_ros.multiview.triangulation import (
    OUTLIER_SIGMAS,
    TriangulatedPoints,
    measure_joints,
    triangulate_linear,
)
from pose3d_ros.people import People2D

SUPPORT_SHARE = 0.5  # a view with so many of its joints in place supports a person fully
SAME_PERSON_M = 0.2  # two people's joints are not closer than this on average


def initiate_from_views(
    rig: Rig,
    noise: AdaptiveNoise,
    size: BodySize,
    detections: RigDetections,
    groups: np.ndarray,
    observed: np.ndarray,
    offset_s: np.ndarray,
    stamp_ns: int,
) -> tuple[Tracks, np.ndarray]:
    """Tracks of the detections' ``groups`` (P, C), and a mask (P,) of those with enough evidence.

    ``observed`` (C,): cameras that had an image, ``offset_s`` (C,) from the common time; of those
    that should see a person, enough must.
    """
    count, joints = len(groups), detections.points.shape[1]
    points, weight = detections.of(groups)
    rough = triangulate_linear(
        rig,
        points.swapaxes(1, 2).reshape(count * joints, -1, 2),
        weight.swapaxes(1, 2).reshape(count * joints, -1),
    )
    depth = rig.project(rough)[1].reshape(-1, count, joints).swapaxes(0, 1)
    # A joint that one view sees is as far away as the others: its own depth is not known.
    depth[np.broadcast_to((weight > 0).sum(1, keepdims=True) < 2, depth.shape)] = np.nan
    usual = np.nanmedian(depth, axis=(1, 2), keepdims=True)
    depth = np.where(np.isnan(depth), usual, np.clip(depth, 0.5 * usual, 2 * usual))
    variance = noise.variance_px(rig, depth, offset_s, WALKING_MPS)
    blank = Tracks.blank(count, joints)
    # Views are rejected where they are wrong for what people scatter in this frame; at first, for
    # the worst that is likely of this rig.
    scale = np.broadcast_to(
        (noise.upper_inflation / noise.filter_inflation)[:, None], (count, len(rig), joints)
    )
    start = rough.reshape(count, joints, 3)
    for _ in range(2):
        precision = weight / (variance * scale)
        found, measured = measure_joints(rig, points, precision, start, blank.pp, blank.known)
        inliers = found.inliers.reshape(count, joints, -1) & measured[..., None]
        scale = _scatter_of_people(found, weight / variance, scale, inliers.swapaxes(1, 2))
        start = found.mean_m.reshape(count, joints, 3)
    mean = start
    spread = np.trace(found.covariance, axis1=1, axis2=2).reshape(count, joints)
    measured &= ~size.contradicted(mean, measured, spread)
    inliers &= measured[..., None]
    agreeing = inliers.sum(1)
    agreeing = np.where(agreeing >= MIN_JOINTS, agreeing, 0)
    views = (agreeing > 0).sum(1)
    support = np.minimum(agreeing / (SUPPORT_SHARE * np.maximum((weight > 0).sum(2), 1)), 1).sum(1)
    absent = missed_views(rig, *rig.project(mean), measured, groups, observed).sum(1)
    # A third view tests what two say, as the next frame does; one that misses them denies it.
    tested = np.maximum(support - 2 - absent, 0)
    evidence = support - 1 + tested - TENTATIVE_ABSENCE_PENALTY * absent
    people = Tracks.initiate(
        mean,
        found.covariance.reshape(count, joints, 3, 3),
        measured,
        (weight.swapaxes(1, 2) * inliers).max(-1),
        evidence,
        stamp_ns,
    )
    return people, (views >= 2) & (evidence > 0)


def _scatter_of_people(
    found: TriangulatedPoints, precision: np.ndarray, scale: np.ndarray, inliers: np.ndarray
) -> np.ndarray:
    """Variance of each person's keypoints, (P, 1, 1) times that of ``precision`` (P, C, J), from
    the residuals that are within ``OUTLIER_SIGMAS`` of it; the assumption counts as prior.
    ``scale`` is a first guess.
    """
    shape = precision.shape[0], precision.shape[2], precision.shape[1]
    squared = (found.residual_px**2).sum(-1).reshape(shape).swapaxes(1, 2) * precision
    freedom = found.freedom.reshape(shape).swapaxes(1, 2)
    prior = PRIOR_PEOPLE * precision.shape[2]
    for _ in range(3):
        good = inliers & (squared < OUTLIER_SIGMAS**2 * scale)
        expected = prior + (freedom * good).sum((1, 2), keepdims=True)
        scale = (prior + (squared * good).sum((1, 2), keepdims=True)) / expected
    return scale


def initiate_from_depth(
    rig: Rig, noise: AdaptiveNoise, detections: RigDetections, tracks: Tracks, stamp_ns: int
) -> Tracks:
    """Tracks of detections with depth that do not overlap any tracked person in their camera."""
    assert detections.depth is not None
    several = np.isfinite(detections.depth[..., 1]).sum(1) >= MIN_JOINTS
    overlap = agreement(
        rig,
        detections,
        *rig.project(tracks.mean),
        tracks.known,
        np.full(tracks.known.shape, GATE_M),
    )
    detections = detections[several & (overlap < 0).all(1)]
    assert detections.depth is not None
    depth, sigma = detections.depth[..., 0], detections.depth[..., 1]
    if not len(detections):
        return Tracks.blank(0, depth.shape[1])
    far = np.where(np.isfinite(sigma), depth, np.nan)
    sigma = np.where(
        np.abs(far - np.nanmedian(far, 1, keepdims=True)) < BODY_SIZE_M[1], sigma, np.inf
    )
    variance = noise.variance_px(rig, depth[:, None].repeat(len(rig), 1), np.zeros(len(rig)))[
        np.arange(len(detections)), detections.view
    ]
    mean, covariance, seen = locate(
        rig, detections.points, detections.confidence / variance, detections.view, depth, sigma
    )
    count = np.maximum(seen.sum(1), 1)
    centre = (mean * seen[..., None]).sum(1) / count[:, None]
    size = np.sqrt((((mean - centre[:, None]) ** 2).sum(-1) * seen).sum(-1) / count)
    people = Tracks.initiate(
        mean,
        covariance,
        seen,
        np.where(seen, detections.confidence, 0),
        np.full(len(mean), DEPTH_EVIDENCE),
        stamp_ns,
    )
    return people[(seen.sum(1) >= MIN_JOINTS) & (size > BODY_SIZE_M[0]) & (size < BODY_SIZE_M[1])]


def find_duplicates(
    tracks: Tracks,
    new: Tracks,
    owners: np.ndarray,
    bones: Bones,
    flip: np.ndarray,
    wrong_size: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Duplicates (P, T + P): new tracks in the place of a known track or an earlier new one; and
    complements (P, T): those that have the joints which a known track lacks.

    A track whose detection a new one has, ``owners`` (P, C), does not count where its uncertainty
    reaches so far, or where it is ``wrong_size`` (T,): the new one corrects it.
    """
    mean, known = (
        np.concatenate([tracks.mean, new.mean]),
        np.concatenate([tracks.known, new.known]),
    )
    shared = (new.known[:, None] & known).any(-1)
    average = np.full(shared.shape, np.inf)
    for order in (np.arange(len(flip)), flip):  # also with left and right swapped
        apart = np.sqrt(((new.mean[:, None, order] - mean) ** 2).sum(-1))
        common = new.known[:, None, order] & known
        mean_apart = np.where(common, apart, 0).sum(-1) / np.maximum(common.sum(-1), 1)
        average = np.where(common.any(-1), np.minimum(average, mean_apart), average)
    earlier = np.arange(len(known)) < len(tracks) + np.arange(len(new))[:, None]
    duplicate = shared & (average < SAME_PERSON_M) & earlier
    complement = np.zeros(shared.shape, bool)
    for row, other in zip(*np.nonzero(~shared & earlier), strict=True):
        for here, there in (bones.limbs.T, bones.limbs.T[::-1]):
            joined = new.known[row, here] & known[other, there]
            bone = np.linalg.norm(new.mean[row, here] - mean[other, there], axis=-1)
            complement[row, other] |= (joined & (bone < UNSEEN_BONE_M)).any()
    for row, camera in zip(*np.nonzero(owners != NOBODY), strict=True):
        owner = owners[row, camera]
        reach = OUTLIER_SIGMAS * np.sqrt(3) * tracks.sigma_m[owner][tracks.known[owner]].mean()
        duplicate[row, owner] = average[row, owner] > reach and not wrong_size[owner]
        complement[row, owner] = False
    duplicate[:, len(tracks) :] |= complement[:, len(tracks) :]
    return duplicate, complement[:, : len(tracks)]


def appearance_similarity(
    appearance: Callable[[int, People2D], np.ndarray],
    people_2d: Sequence[People2D | None],
    view: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Cosine (R, R) of the appearance descriptors of some ``rows`` (R,) of the detections in
    cameras ``view`` (N,).

    Raises ``ValueError`` for descriptors of a wrong shape.
    """
    descriptors: list[np.ndarray] = []
    for c in np.unique(view[rows]):
        people = people_2d[c]
        assert people is not None
        people = people[rows[view[rows] == c] - np.searchsorted(view, c)]
        descriptors.append(np.asarray(appearance(int(c), people), float))
        if (
            descriptors[-1].ndim != 2
            or len(descriptors[-1]) != len(people)
            or descriptors[-1].shape[1] != descriptors[0].shape[1]
        ):
            raise ValueError(
                f"appearance: expected a descriptor of the same length for each of {len(people)} "
                f"people of camera {c}, got an array of shape {descriptors[-1].shape}"
            )
    every = np.nan_to_num(np.concatenate(descriptors))
    every /= np.maximum(np.linalg.norm(every, axis=1, keepdims=True), 1e-12)
    return np.asarray(every @ every.T)
