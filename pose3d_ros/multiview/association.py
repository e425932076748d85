"""Which 2D poses of different cameras show the same person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import MIN_PARALLAX

NOBODY = -1
GATE_M = 0.20             # joints of one person lie within this of their prediction, on average
LEAST_QUALITY = 0.2       # agreement per confidence: 0 for joints at the gate on average, 1 for joints in place
BIRTH_QUALITY = 0.5       # the same for newcomers, who have no past to prove them
BIRTH_GATE_M = 0.12       # rays of one person's joint pass each other within this, on average
BODY_SIZE_M = (0.1, 0.9)  # root mean square distance of a person's joints from their mean
MIN_JOINTS = 4            # joints that two views must share
HYPOTHESES = 3            # pairs considered per detection
MOST_HYPOTHESES = 120     # at once: of a crowd that appears in one moment, the rest is found in the next frames


@dataclass(frozen=True)
class Detections:
    """All N 2D poses of one moment, camera by camera: ``points`` (N, J, 2) in undistorted pixels, 0 where unknown;
    ``confidence`` (N, J), 0 where unknown; ``view`` (N,), the camera, ascending.
    """

    points: np.ndarray
    confidence: np.ndarray
    view: np.ndarray

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, rows: np.ndarray) -> Detections:
        return Detections(self.points[rows], self.confidence[rows], self.view[rows])

    def of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (P, C, J, 2) and confidence (P, C, J) of the rows (P, C) that people were given; 0 for ``NOBODY``."""
        points, confidence = (np.concatenate([a, np.zeros((1, *a.shape[1:]))]) for a in (self.points, self.confidence))
        return points[chosen], confidence[chosen]  # NOBODY is the last


def agreement(
    rig: Rig, detections: Detections, pixels: np.ndarray, depth: np.ndarray, known: np.ndarray, gate_m: np.ndarray
) -> np.ndarray:
    """How well each detection fits each person: (N, P), positive where they may be the same.

    ``pixels`` (C, P, J, 2), ``depth`` (C, P, J) of the people's ``known`` (P, J) joints. Sum over joints of confidence
    times 1 at no distance, 0 at the gate (P, J) in metres, -1 at twice that and beyond: a leg that is elsewhere does
    not make another person. Below ``LEAST_QUALITY`` on average it is -1.
    """
    away = detections.points[:, None] - pixels[detections.view]
    seen = depth[detections.view]
    metres = np.sqrt((away * away).sum(-1)) * seen / rig.focal_px[detections.view, None, None]
    metres = np.where(seen > NEAR_M, metres, np.inf)
    weight = detections.confidence[:, None] * known
    score = (weight * (1 - np.minimum(metres / gate_m, 2))).sum(-1)
    return np.where(score > LEAST_QUALITY * weight.sum(-1), score, -1.0)


def assign(score: np.ndarray, view: np.ndarray, cameras: int) -> np.ndarray:
    """Row of the detection (P, C) that each person gets in each camera, or ``NOBODY``; each is given once.

    Per camera the assignment of the largest total of the positive scores (N, P).
    """
    chosen = np.full((score.shape[1], cameras), NOBODY)
    gain = np.maximum(score, 0)
    for c in range(cameras):
        rows = np.flatnonzero(view == c)
        if len(rows):
            found, people = linear_sum_assignment(gain[rows], maximize=True)
            good = gain[rows[found], people] > 0
            chosen[people[good], c] = rows[found[good]]
    return chosen


def _pair_poses(rig: Rig, detections: Detections) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Poses (H, J, 3) of pairs of detections whose rays meet, which joints (H, J) they have, their rows (H, 2), and
    their agreement (H,). Of each detection only the best ``HYPOTHESES`` pairs are kept, of all ``MOST_HYPOTHESES``.
    """
    first, second = np.triu_indices(len(detections), 1)
    shared = detections.confidence[first] * detections.confidence[second]
    apart = detections.view[first] != detections.view[second]
    some = apart & ((shared > 0).sum(1) >= MIN_JOINTS)
    first, second, shared = first[some], second[some], np.sqrt(shared[some])
    rays = rig.directions(detections.points, detections.view)
    origin = rig.position_m[detections.view]
    a, b = rays[first], rays[second]
    gap = (origin[second] - origin[first])[:, None]
    cosine = (a * b).sum(-1)
    along_a, along_b = (a * gap).sum(-1), (b * gap).sum(-1)
    slant = np.maximum(1 - cosine**2, MIN_PARALLAX**2)
    on_a, on_b = (along_a - cosine * along_b) / slant, (cosine * along_a - along_b) / slant
    near_a, near_b = on_a[..., None] * a, gap + on_b[..., None] * b
    miss = np.sqrt(((near_a - near_b) ** 2).sum(-1))
    poses = origin[first][:, None] + 0.5 * (near_a + near_b)
    meet = (shared > 0) & (on_a > NEAR_M) & (on_b > NEAR_M)
    miss = np.where(meet, miss, np.inf)
    score = (shared * (1 - np.minimum(miss / BIRTH_GATE_M, 2))).sum(-1)
    count = np.maximum(meet.sum(-1), 1)[:, None]
    centre = (poses * meet[..., None]).sum(1) / count
    size = np.sqrt((((poses - centre[:, None]) ** 2).sum(-1) * meet).sum(-1) / count[:, 0])
    good = (score > BIRTH_QUALITY * shared.sum(-1)) & (meet.sum(-1) >= MIN_JOINTS)
    good &= (size > BODY_SIZE_M[0]) & (size < BODY_SIZE_M[1])
    order = np.argsort(-np.where(good, score, -np.inf))[:good.sum()]
    taken = np.zeros(len(detections), int)
    kept: list[int] = []
    for pair in order:
        if len(kept) == MOST_HYPOTHESES:
            break
        i, j = first[pair], second[pair]
        if taken[i] < HYPOTHESES or taken[j] < HYPOTHESES:
            taken[i] += 1
            taken[j] += 1
            kept.append(int(pair))
    return poses[kept], meet[kept], np.stack([first[kept], second[kept]], 1), score[kept]


def group(rig: Rig, detections: Detections) -> np.ndarray:
    """Newcomers among the detections: rows (P, C), ``NOBODY`` where a camera does not see them.

    Every pair of views proposes a person in space; all views vote on every proposal, so that a group's members agree
    with one and the same person (cycle consistency), and the proposals with most support that share no detection are
    taken. Somebody seen by one camera only makes no group.
    """
    groups: list[np.ndarray] = []
    starts = np.unique(detections.view, return_index=True)[1]
    poses, known, pairs, agreed = _pair_poses(rig, detections)
    if not len(poses):
        return np.zeros((0, len(rig)), int)
    pixels, depth = rig.project(poses)
    support = agreement(rig, detections, pixels, depth, known, np.full(known.shape, BIRTH_GATE_M))
    columns = np.arange(len(poses))
    support[pairs[:, 0], columns] = support[pairs[:, 1], columns] = agreed / 2
    free = np.ones(len(detections), bool)
    while True:
        votes = np.maximum.reduceat(np.where(free[:, None], np.maximum(support, 0), 0), starts)
        total = votes.sum(0) * free[pairs].all(1)
        best = int(total.argmax())
        if total[best] <= 0:
            return np.array(groups, int).reshape(-1, len(rig))
        members = np.full(len(rig), NOBODY)
        for row in np.argsort(support[:, best]):  # the best of each view comes last
            if free[row] and support[row, best] > 0:
                members[detections.view[row]] = row
        members[detections.view[pairs[best]]] = pairs[best]
        free[members[members != NOBODY]] = False
        groups.append(members)
