"""Known people find their 2D poses in every camera, and left and right are put right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose3d_ros.multiview.association import (
    GATE_M,
    MIN_JOINTS,
    NOBODY,
    Detections,
    agreement,
    assign,
)
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.tracks import MOST_EVIDENCE, Tracks

SIDES_FIT = (
    0.5  # views that agree better with the prediction than this have left and right as it has
)
SIDES_GAIN_M = (
    0.1  # left and right are exchanged when that brings joints nearer by this on average
)
SIDES_CAP_M = 0.5  # where none counts further than this


@dataclass(frozen=True)
class Match:
    """The detection ``chosen`` (T, C) for each person or ``NOBODY``, whose each detection is
    (``owner`` (N,)), and the people's points (T, C, J, 2) with their weight (T, C, J), left and
    right put right.
    """

    chosen: np.ndarray
    owner: np.ndarray
    points: np.ndarray
    weight: np.ndarray


def match(
    rig: Rig,
    people: Tracks,
    detections: Detections,
    pixels: np.ndarray,
    depth: np.ndarray,
    flip: np.ndarray,
) -> Match:
    """Detections of people whose joints are expected at ``pixels`` (C, T, J, 2) and ``depth`` (C,
    T, J).

    A detection that nobody got is tried with left and right exchanged (``flip`` (J,)), or joins
    the one that it fits best where that one lacks its joints: a body that came in two pieces.
    """
    gate = GATE_M + np.minimum(people.sigma_m, GATE_M)
    standing = (
        0.5 + 0.5 * people.evidence / MOST_EVIDENCE
    )  # of two whom a detection fits, it is the known one's
    score = agreement(rig, detections, pixels, depth, people.known, gate)
    chosen = assign(score * standing, detections.view, len(rig))
    crossed = np.zeros(chosen.shape, bool)
    owner = np.full(len(detections), NOBODY)
    owner[chosen[chosen != NOBODY]] = np.nonzero(chosen != NOBODY)[0]
    left = np.flatnonzero((owner == NOBODY) & (score < 0).all(1))
    if len(left):
        left = left[_near_missing(rig, people, detections[left], pixels, depth, chosen == NOBODY)]
    if len(left):
        mirrored = detections[left].exchanged(flip)
        again = agreement(rig, mirrored, pixels, depth, people.known, gate)
        again[again < SIDES_FIT * mirrored.confidence.sum(1, keepdims=True)] = -1
        again[(chosen != NOBODY).T[detections.view[left]]] = -1
        found = assign(again * standing, detections.view[left], len(rig))
        crossed = found != NOBODY
        chosen[crossed] = left[found[crossed]]
        owner[chosen[crossed]] = np.nonzero(crossed)[0]
    points, weight = detections.of(chosen)
    for row in np.flatnonzero((owner == NOBODY) & (score > 0).any(1)):
        person, camera = score[row].argmax(), detections.view[row]
        gaps = (weight[person, camera] == 0) & (detections.confidence[row] > 0)
        if gaps.sum() > 0.5 * (detections.confidence[row] > 0).sum():
            points[person, camera, gaps] = detections.points[row, gaps]
            weight[person, camera, gaps] = detections.confidence[row, gaps]
            owner[row] = person
    best = np.concatenate([score, np.zeros((1, len(people)))])[
        chosen, np.arange(len(people))[:, None]
    ]
    doubtful = (chosen != NOBODY) & ~crossed & (best < SIDES_FIT * weight.sum(-1))
    if doubtful.any():
        crossed[doubtful] = _crossed(
            rig, people, points, weight, pixels, depth, flip, *np.nonzero(doubtful)
        )
    # Where most views of a person have been so for a while, it is the person who was begun the
    # wrong way round.
    people.sides = np.minimum(
        people.sides + (chosen != NOBODY).sum(1), MOST_EVIDENCE
    ) - 2 * crossed.sum(1)
    turned = people.sides < 0
    if turned.any():
        people.exchange_sides(turned, flip)
    crossed &= ~turned[:, None]
    points[crossed], weight[crossed] = points[crossed][:, flip], weight[crossed][:, flip]
    return Match(chosen, owner, points, weight)


def _near_missing(
    rig: Rig,
    people: Tracks,
    detections: Detections,
    pixels: np.ndarray,
    depth: np.ndarray,
    missing: np.ndarray,
) -> np.ndarray:
    """Which detections (N,) have their middle where that of somebody is whom their camera is
    ``missing`` (T, C).
    """
    seen = detections.confidence > 0
    middle = (detections.points * seen[..., None]).sum(1) / np.maximum(seen.sum(1), 1)[:, None]
    known = people.known / np.maximum(people.known.sum(1), 1)[:, None]
    expected, far = (pixels * known[..., None]).sum(2), (depth * known).sum(2)
    view = detections.view
    away = (
        np.sqrt(((middle[:, None] - expected[view]) ** 2).sum(-1))
        * far[view]
        / rig.focal_px[view, None]
    )
    return np.asarray(((away < GATE_M) & missing.T[view]).any(1))


def _crossed(
    rig: Rig,
    people: Tracks,
    points: np.ndarray,
    weight: np.ndarray,
    pixels: np.ndarray,
    depth: np.ndarray,
    flip: np.ndarray,
    person: np.ndarray,
    camera: np.ndarray,
) -> np.ndarray:
    """Which views (K,) of some people, ``camera`` (K,) and ``person`` (K,), fit better with left
    and right exchanged.

    Turning round moves left and right through each other, so it takes a clear gain.
    """
    here, seen = points[person, camera], weight[person, camera] > 0
    metre = rig.focal_px[camera, None] / np.maximum(depth[camera, person], NEAR_M)
    both = (flip != np.arange(len(flip))) & people.known[person] & seen & seen[:, flip]
    straight, crossed = (
        np.minimum(np.sqrt(((side - pixels[camera, person]) ** 2).sum(-1)) / metre, SIDES_CAP_M)
        for side in (here, here[:, flip])
    )
    return np.asarray(
        ((straight - crossed) * both).sum(1) > SIDES_GAIN_M * np.maximum(both.sum(1), MIN_JOINTS)
    )
