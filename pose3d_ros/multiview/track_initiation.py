"""People who were not known before: where they are, and whether they are somebody known after
all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from pose3d_ros.multiview import depth as depths
from pose3d_ros.multiview.association import (
    BODY_SIZE_M,
    GATE_M,
    MIN_JOINTS,
    NOBODY,
    Detections,
    agreement,
    unseen,
)
from pose3d_ros.multiview.bones import Bones
from pose3d_ros.multiview.measurement_noise import Trust
from pose3d_ros.multiview.rig import Rig
from pose3d_ros.multiview.tracks import DEPTH_EVIDENCE, NEWCOMERS_ABSENCE, UNSEEN_BONE_M, Tracks
from pose3d_ros.multiview.triangulation import OUTLIER_SIGMAS, linear, measure
from pose3d_ros.people import People2D

SAME_PERSON_M = 0.2  # two people's joints are not closer than this on average


def seen_by_several(
    rig: Rig,
    trust: Trust,
    detections: Detections,
    groups: np.ndarray,
    looked: np.ndarray,
    stamp_ns: int,
) -> tuple[Tracks, np.ndarray]:
    """People of the detections' ``groups`` (P, C), and which of them (P,) are to be believed for
    the time being.

    ``looked`` (C,): cameras that had a picture; of those who should see a person, enough must.
    """
    count, joints = len(groups), detections.points.shape[1]
    points, weight = detections.of(groups)
    rough = linear(
        rig,
        points.swapaxes(1, 2).reshape(count * joints, -1, 2),
        weight.swapaxes(1, 2).reshape(count * joints, -1),
    )
    depth = rig.project(rough)[1].reshape(-1, count, joints).swapaxes(0, 1)
    usual = np.median(depth, axis=(1, 2), keepdims=True)
    precision = weight / trust.variance_px(rig, np.clip(depth, 0.5 * usual, 2 * usual), 0.0)
    blank = Tracks.blank(count, joints)
    found, measured = measure(
        rig, points, precision, rough.reshape(count, joints, 3), blank.pp, blank.known
    )
    mean = found.mean_m.reshape(count, joints, 3)
    inliers = found.inliers.reshape(count, joints, -1) & measured[..., None]
    views = (inliers.sum(1) >= MIN_JOINTS).sum(1)
    absent = unseen(rig, *rig.project(mean), measured, groups, looked).sum(1)
    evidence = views - 1 - NEWCOMERS_ABSENCE * absent
    people = Tracks.newcomers(
        mean,
        found.covariance.reshape(count, joints, 3, 3),
        measured,
        (weight.swapaxes(1, 2) * inliers).max(-1),
        evidence,
        stamp_ns,
    )
    return people, (views >= 2) & (evidence > 0)


def seen_by_one(
    rig: Rig, trust: Trust, detections: Detections, known: Tracks, stamp_ns: int
) -> Tracks:
    """People of detections with depth who look like nobody known, once more or in part, to the
    camera that has it.
    """
    assert detections.depth is not None
    several = np.isfinite(detections.depth[..., 1]).sum(1) >= MIN_JOINTS
    alike = agreement(
        rig, detections, *rig.project(known.mean), known.known, np.full(known.known.shape, GATE_M)
    )
    detections = detections[several & (alike < 0).all(1)]
    assert detections.depth is not None
    depth, sigma = detections.depth[..., 0], detections.depth[..., 1]
    if not len(detections):
        return Tracks.blank(0, depth.shape[1])
    far = np.where(np.isfinite(sigma), depth, np.nan)
    sigma = np.where(
        np.abs(far - np.nanmedian(far, 1, keepdims=True)) < BODY_SIZE_M[1], sigma, np.inf
    )
    variance = trust.variance_px(rig, depth[:, None].repeat(len(rig), 1), 0.0)[
        np.arange(len(detections)), detections.view
    ]
    mean, covariance, seen = depths.place(
        rig, detections.points, detections.confidence / variance, detections.view, depth, sigma
    )
    count = np.maximum(seen.sum(1), 1)
    centre = (mean * seen[..., None]).sum(1) / count[:, None]
    size = np.sqrt((((mean - centre[:, None]) ** 2).sum(-1) * seen).sum(-1) / count)
    people = Tracks.newcomers(
        mean,
        covariance,
        seen,
        np.where(seen, detections.confidence, 0),
        np.full(len(mean), DEPTH_EVIDENCE),
        stamp_ns,
    )
    return people[(seen.sum(1) >= MIN_JOINTS) & (size > BODY_SIZE_M[0]) & (size < BODY_SIZE_M[1])]


def alike(
    people: Tracks,
    newcomers: Tracks,
    owners: np.ndarray,
    bones: Bones,
    flip: np.ndarray,
    strange: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Which newcomers are where somebody known or an earlier newcomer is (P, T + P), and of which
    known person's joints they are the other half (P, T).

    Those whose detections they have, ``owners`` (P, C), do not count, if they can be so far from
    where they were or are ``strange`` (T,): nowhere.
    """
    mean, known = (
        np.concatenate([people.mean, newcomers.mean]),
        np.concatenate([people.known, newcomers.known]),
    )
    both = (newcomers.known[:, None] & known).any(-1)
    average = np.full(both.shape, np.inf)
    for order in (np.arange(len(flip)), flip):  # also with left and right exchanged
        apart = np.sqrt(((newcomers.mean[:, None, order] - mean) ** 2).sum(-1))
        common = newcomers.known[:, None, order] & known
        mean_apart = np.where(common, apart, 0).sum(-1) / np.maximum(common.sum(-1), 1)
        average = np.where(common.any(-1), np.minimum(average, mean_apart), average)
    earlier = np.arange(len(known)) < len(people) + np.arange(len(newcomers))[:, None]
    same, half = both & (average < SAME_PERSON_M) & earlier, np.zeros(both.shape, bool)
    for row, other in zip(*np.nonzero(~both & earlier), strict=True):
        for here, there in (bones.limbs.T, bones.limbs.T[::-1]):
            joined = newcomers.known[row, here] & known[other, there]
            bone = np.linalg.norm(newcomers.mean[row, here] - mean[other, there], axis=-1)
            half[row, other] |= (joined & (bone < UNSEEN_BONE_M)).any()
    for row, camera in zip(*np.nonzero(owners != NOBODY), strict=True):
        owner = owners[row, camera]
        reach = OUTLIER_SIGMAS * np.sqrt(3) * people.sigma_m[owner][people.known[owner]].mean()
        same[row, owner], half[row, owner] = (
            average[row, owner] > reach and not strange[owner],
            False,
        )
    same[:, len(people) :] |= half[:, len(people) :]
    return same, half[:, : len(people)]


def likeness(
    appearance: Callable[[int, People2D], np.ndarray],
    people_2d: Sequence[People2D | None],
    view: np.ndarray,
    rows: np.ndarray,
) -> np.ndarray:
    """Cosine (R, R) of the descriptors of some ``rows`` (R,) of the detections that cameras
    ``view`` (N,) saw.
    """
    looks: list[np.ndarray] = []
    for c in np.unique(view[rows]):
        people = people_2d[c]
        assert people is not None
        people = people[rows[view[rows] == c] - np.searchsorted(view, c)]
        looks.append(np.asarray(appearance(int(c), people), float))
        if (
            looks[-1].ndim != 2
            or len(looks[-1]) != len(people)
            or looks[-1].shape[1] != looks[0].shape[1]
        ):
            raise ValueError(
                f"appearance: expected a descriptor of the same length for each of {len(people)} "
                f"people "
                f"of camera {c}, got an array of shape {looks[-1].shape}"
            )
    every = np.nan_to_num(np.concatenate(looks))
    every /= np.maximum(np.linalg.norm(every, axis=1, keepdims=True), 1e-12)
    return np.asarray(every @ every.T)
