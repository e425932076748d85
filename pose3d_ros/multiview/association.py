"""Which 2D poses of different cameras show the same person."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import MIN_PARALLAX

NOBODY = -1
GATE_M = 0.20  # joints of one person lie within this of their prediction, on average
LEAST_QUALITY = (
    0.2  # agreement per confidence: 0 for joints at the gate on average, 1 for joints in place
)
BIRTH_QUALITY = 0.5  # the same for newcomers, who have no past to prove them
BIRTH_GATE_M = 0.12  # rays of one person's joint pass each other within this, on average
BODY_SIZE_M = (0.1, 0.9)  # root mean square distance of a person's joints from their mean
MIN_JOINTS = 4  # joints that two views must share
HIDING_M = (
    0.4,
    1.0,
)  # whose middle is nearer than this in the picture, across and along, may hide somebody
VISIBLE_SHARE = 0.8  # of the joints in the picture: the camera should see the person
HYPOTHESES = 3  # pairs considered per detection,
MOST_HYPOTHESES = 120  # and in all at once
BLOCK, SOME = 20_000, 4  # pairs are looked through so many at a time, by every fourth joint first


@dataclass(frozen=True)
class Detections:
    """All N 2D poses of one moment, camera by camera: ``points`` (N, J, 2) in undistorted pixels,
    0 where unknown; ``confidence`` (N, J), 0 where unknown; ``view`` (N,), the camera, ascending.
    ``depth`` (N, J, 2) in metres with one standard deviation, which is inf where unknown; None
    where no camera knows it.
    """

    points: np.ndarray
    confidence: np.ndarray
    view: np.ndarray
    depth: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, rows: np.ndarray) -> Detections:
        return Detections(
            self.points[rows],
            self.confidence[rows],
            self.view[rows],
            None if self.depth is None else self.depth[rows],
        )

    def exchanged(self, flip: np.ndarray) -> Detections:
        """The same with left and right exchanged."""
        return Detections(self.points[:, flip], self.confidence[:, flip], self.view)

    def of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (P, C, J, 2) and confidence (P, C, J) of the rows (P, C) that people were given;
        0 for ``NOBODY``.
        """
        points, confidence = (
            np.concatenate([a, np.zeros((1, *a.shape[1:]))])
            for a in (self.points, self.confidence)
        )
        return points[chosen], confidence[chosen]  # NOBODY is the last

    def depths_of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depth (P, C, J) and its standard deviation of the rows (P, C) that people were given;
        inf for ``NOBODY``.
        """
        assert self.depth is not None
        depth = np.concatenate(
            [self.depth, np.broadcast_to([0.0, np.inf], (1, *self.depth.shape[1:]))]
        )[chosen]
        return depth[..., 0], depth[..., 1]


def agreement(
    rig: Rig,
    detections: Detections,
    pixels: np.ndarray,
    depth: np.ndarray,
    known: np.ndarray,
    gate_m: np.ndarray,
) -> np.ndarray:
    """How well each detection fits each person: (N, P), positive where they may be the same.

    ``pixels`` (C, P, J, 2), ``depth`` (C, P, J) of the people's ``known`` (P, J) joints. Sum over
    joints of confidence times 1 at no distance, 0 at the gate (P, J) in metres, -1 at twice that
    and beyond: a leg that is elsewhere does not make another person. Below ``LEAST_QUALITY`` on
    average it is -1.
    """
    away = detections.points[:, None] - pixels[detections.view]
    seen = depth[detections.view]
    metres = np.sqrt((away * away).sum(-1)) * seen / rig.focal_px[detections.view, None, None]
    metres = np.where(seen > NEAR_M, metres, np.inf)
    weight = detections.confidence[:, None] * known
    score = (weight * (1 - np.minimum(metres / gate_m, 2))).sum(-1)
    return np.where(score > LEAST_QUALITY * weight.sum(-1), score, -1.0)


def assign(score: np.ndarray, view: np.ndarray, cameras: int) -> np.ndarray:
    """Row of the detection (P, C) that each person gets in each camera, or ``NOBODY``; each is
    given once.

    Per camera the assignment of the largest total of the positive scores (N, P).
    """
    people = score.shape[1]
    chosen = np.full((people, cameras), NOBODY)
    gain = np.maximum(score, 0)
    rows = np.flatnonzero(gain.any(1))
    if not len(rows):
        return chosen
    best = gain[rows].argmax(1)
    chosen[best, view[rows]] = rows
    # Where two want the same person, who gives way is not as simple.
    wanted = np.bincount(best * cameras + view[rows], minlength=people * cameras).reshape(
        people, cameras
    )
    for c in np.flatnonzero((wanted > 1).any(0)):
        rows = np.flatnonzero(view == c)
        found, owners = linear_sum_assignment(gain[rows], maximize=True)
        good = gain[rows[found], owners] > 0
        chosen[:, c] = NOBODY
        chosen[owners[good], c] = rows[found[good]]
    return chosen


def should_see(rig: Rig, pixels: np.ndarray, depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which cameras (P, C) have most of the ``known`` (P, J) joints, projected to (C, P, J, 2), in
    their picture.
    """
    return np.asarray(
        ((rig.inside(pixels, depth) & known).sum(-1) > VISIBLE_SHARE * known.sum(-1)).T
    )


def unseen(
    rig: Rig,
    pixels: np.ndarray,
    depth: np.ndarray,
    known: np.ndarray,
    chosen: np.ndarray,
    looked: np.ndarray,
) -> np.ndarray:
    """Which cameras (P, C) that ``looked`` (C,) should see people and have none ``chosen`` (P, C)
    for them.
    """
    return np.asarray(should_see(rig, pixels, depth, known) & (chosen == NOBODY) & looked)


def hidden(rig: Rig, pixels: np.ndarray, depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """In which cameras (P, C) somebody else stands before people, or so near that a detector makes
    one of two.
    """
    count = np.maximum(known.sum(-1), 1)
    centre = (pixels * known[..., None]).sum(2) / count[:, None]
    far = (depth * known).sum(-1) / count
    beside = (
        np.abs(centre[:, :, None] - centre[:, None])
        * (far / rig.focal_px[:, None])[..., None, None]
    )
    before = far[:, None] < far[..., None] + HIDING_M[0]
    others = (beside < HIDING_M).all(-1) & before & ~np.eye(len(known), dtype=bool)
    return np.asarray(others.any(-1).T)


def _crossings(
    rig: Rig, rays: np.ndarray, view: np.ndarray, first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the rays (N, J, 3) of pairs of detections pass each other: points (H, J, 3), how far
    from each other (H, J) in metres, and whether before both cameras (H, J).
    """
    a, b = rays[first], rays[second]
    origin = rig.position_m[view]
    gap = (origin[second] - origin[first])[:, None]
    cosine = (a * b).sum(-1)
    along_a, along_b = (a * gap).sum(-1), (b * gap).sum(-1)
    slant = np.maximum(1 - cosine**2, MIN_PARALLAX**2)
    on_a, on_b = (along_a - cosine * along_b) / slant, (cosine * along_a - along_b) / slant
    near_a, near_b = on_a[..., None] * a, gap + on_b[..., None] * b
    miss = np.sqrt(((near_a - near_b) ** 2).sum(-1))
    return (
        origin[first][:, None] + 0.5 * (near_a + near_b),
        miss,
        (on_a > NEAR_M) & (on_b > NEAR_M),
    )


def _pairs(
    rig: Rig, detections: Detections, likeness: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Poses (H, J, 3) of pairs of detections whose rays meet, which joints (H, J) they have, their
    rows (H, 2), and their agreement (H,) times ``likeness`` (N, N), the best first.
    """
    rays = rig.directions(detections.points, detections.view)
    known = detections.confidence > 0
    first, second = np.triu_indices(len(detections), 1)
    apart = detections.view[first] != detections.view[second]
    first, second = first[apart], second[apart]
    likely = [np.zeros(0, int)]
    for start in range(0, len(first), BLOCK):  # a few joints tell most pairs that are none
        i, j = first[start : start + BLOCK], second[start : start + BLOCK]
        _, miss, before = _crossings(rig, rays[:, ::SOME], detections.view, i, j)
        some = known[i, ::SOME] & known[j, ::SOME]
        far = (np.where(before, np.minimum(miss / BIRTH_GATE_M, 2), 2) * some).sum(1)
        likely.append(
            start
            + np.flatnonzero((far <= some.sum(1)) & ((known[i] & known[j]).sum(1) >= MIN_JOINTS))
        )
    chosen = np.concatenate(likely)
    first, second = first[chosen], second[chosen]
    shared = np.sqrt(detections.confidence[first] * detections.confidence[second])
    poses, miss, before = _crossings(rig, rays, detections.view, first, second)
    meet = (shared > 0) & before
    score = (shared * (1 - np.minimum(np.where(meet, miss, np.inf) / BIRTH_GATE_M, 2))).sum(-1)
    count = np.maximum(meet.sum(-1), 1)[:, None]
    centre = (poses * meet[..., None]).sum(1) / count
    size = np.sqrt((((poses - centre[:, None]) ** 2).sum(-1) * meet).sum(-1) / count[:, 0])
    good = (score > BIRTH_QUALITY * shared.sum(-1)) & (meet.sum(-1) >= MIN_JOINTS)
    good &= (size > BODY_SIZE_M[0]) & (size < BODY_SIZE_M[1])
    if likeness is not None:
        score = score * likeness[first, second]
        good &= score > 0
    order = np.argsort(-np.where(good, score, -np.inf))[: good.sum()]
    return poses[order], meet[order], np.stack([first, second], 1)[order], score[order]


def _hypotheses(pairs: np.ndarray, free: np.ndarray) -> list[int]:
    """Of pairs (H, 2) of ``free`` (N,) detections the first of each detection, ``MOST_HYPOTHESES``
    in all.
    """
    taken = np.zeros(len(free), int)
    kept: list[int] = []
    for pair in np.flatnonzero(free[pairs].all(1)):
        i, j = pairs[pair]
        if taken[i] < HYPOTHESES or taken[j] < HYPOTHESES:
            taken[i] += 1
            taken[j] += 1
            kept.append(int(pair))
            if len(kept) == MOST_HYPOTHESES:
                break
    return kept


def group(rig: Rig, detections: Detections, likeness: np.ndarray | None = None) -> np.ndarray:
    """Newcomers among the detections: rows (P, C), ``NOBODY`` where a camera does not see them.

    Every pair of views proposes a person in space; all views vote on every proposal, so that a
    group's members agree with one and the same person (cycle consistency), and the proposals with
    most support that share no detection are taken. Somebody seen by one camera only makes no
    group. ``likeness`` (N, N), at most 1: how much detections look like each other; agreement
    counts so many times, and those of no likeness are different people.
    """
    groups: list[np.ndarray] = []
    starts = np.unique(detections.view, return_index=True)[1]
    if len(starts) < 2:
        return np.zeros((0, len(rig)), int)
    every_pose, every_known, every_pair, every_score = _pairs(rig, detections, likeness)
    free = np.ones(len(detections), bool)
    while kept := _hypotheses(every_pair, free):
        poses, known, pairs, agreed = (
            every_pose[kept],
            every_known[kept],
            every_pair[kept],
            every_score[kept],
        )
        pixels, depth = rig.project(poses)
        support = agreement(
            rig, detections, pixels, depth, known, np.full(known.shape, BIRTH_GATE_M)
        )
        if likeness is not None:
            alike = likeness[:, pairs].min(-1)
            support = np.where(alike > 0, support * alike, -1)
        columns = np.arange(len(poses))
        support[pairs[:, 0], columns] = support[pairs[:, 1], columns] = agreed / 2
        while True:
            votes = np.maximum.reduceat(np.where(free[:, None], np.maximum(support, 0), 0), starts)
            total = votes.sum(0) * free[pairs].all(1)
            best = int(total.argmax())
            if total[best] <= 0:
                break
            members = np.full(len(rig), NOBODY)
            for row in np.argsort(support[:, best]):  # the best of each view comes last
                if free[row] and support[row, best] > 0:
                    members[detections.view[row]] = row
            members[detections.view[pairs[best]]] = pairs[best]
            free[members[members != NOBODY]] = False
            groups.append(members)
    return np.array(groups, int).reshape(-1, len(rig))
