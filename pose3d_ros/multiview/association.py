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

"""Association of 2D poses between cameras: same person or not, by geometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import chdtri

from pose3d_ros.multiview.bones import BodySize
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import MIN_PARALLAX, closest_approach, dot

NOBODY = -1  # in place of the row of a detection or a track
GATE_M = 0.20  # joints of one person lie within this of their prediction, on average
# Least agreement per confidence: 0 for joints at the gate on average, 1 for joints in place.
MIN_AGREEMENT = 0.2
BIRTH_MIN_AGREEMENT = 0.5  # the same for new people, whom no prediction supports
# Rays of one joint of a new person pass each other within half of so many standard deviations, on
# average: those of the worst calibration and detector that are likely.
BIRTH_SIGMAS = 2.5
BODY_SIZE_M = (0.1, 0.9)  # root mean square distance of a person's joints from their mean
MIN_JOINTS = 4  # joints that two views must share
# Somebody whose centre is nearer than this in the image, across and along, may hide another.
OCCLUSION_M = (0.4, 1.0)
HIDING_M = (0.3, 1.0)  # who covers much of somebody behind
VISIBLE_SHARE = 0.8  # of the joints inside the image: the camera should see the person
HYPOTHESES_PER_DETECTION = 3
MAX_HYPOTHESES = 120  # in all, at once
UPPER = 0.95  # probability that a camera scatters no more than is taken for likely
MAX_PLACES = 30.0  # as if no more people had been seen, for calibration changes
# Pairs of detections are tested by every 4th joint first, and a little less strictly.
JOINT_STRIDE, FIRST_TEST = 4, 0.75


@dataclass(frozen=True)
class RigDetections:
    """N 2D poses of one moment from all cameras of a rig.

    ``points`` (N, J, 2) in undistorted pixels, 0 where unknown; ``confidence`` (N, J), 0 where
    unknown; ``view`` (N,), index of the camera, ascending. ``depth`` (N, J, 2): metres along the
    optical axis with one standard deviation, which is inf where unknown; None where no camera
    measures it.
    """

    points: np.ndarray
    confidence: np.ndarray
    view: np.ndarray
    depth: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, rows: np.ndarray) -> RigDetections:
        return RigDetections(
            self.points[rows],
            self.confidence[rows],
            self.view[rows],
            None if self.depth is None else self.depth[rows],
        )

    def swapped(self, flip: np.ndarray) -> RigDetections:
        """The same with left and right exchanged."""
        return RigDetections(
            self.points[:, flip],
            self.confidence[:, flip],
            self.view,
            None if self.depth is None else self.depth[:, flip],
        )

    def of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (P, C, J, 2) and confidence (P, C, J) of the rows ``chosen`` (P, C); 0 for
        ``NOBODY``.
        """
        points, confidence = (
            np.concatenate([a, np.zeros((1, *a.shape[1:]))])
            for a in (self.points, self.confidence)
        )
        return points[chosen], confidence[chosen]  # NOBODY is the last

    def depths_of(self, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Depth (P, C, J) and its standard deviation of the rows ``chosen`` (P, C); inf for
        ``NOBODY``.
        """
        assert self.depth is not None
        depth = np.concatenate(
            [self.depth, np.broadcast_to([0.0, np.inf], (1, *self.depth.shape[1:]))]
        )[chosen]
        return depth[..., 0], depth[..., 1]


def agreement(
    rig: Rig,
    detections: RigDetections,
    pixels: np.ndarray,
    depth: np.ndarray,
    known: np.ndarray,
    gate_m: np.ndarray,
) -> np.ndarray:
    """Agreement (N, P) of detections with people, positive where they may be the same.

    ``pixels`` (C, P, J, 2), ``depth`` (C, P, J) of the people's ``known`` (P, J) joints. Sum over
    joints of confidence times 1 at no distance, 0 at ``gate_m`` (P, J), -1 at twice that and
    beyond: a leg that is elsewhere does not make another person. Below ``MIN_AGREEMENT`` on
    average it is -1.
    """
    view = detections.view
    metres = np.square(detections.points[:, None, :, 0] - pixels[..., 0][view])
    metres += np.square(detections.points[:, None, :, 1] - pixels[..., 1][view])
    np.sqrt(metres, out=metres)
    distance = depth[view]
    metres *= distance
    metres /= rig.focal_px[view, None, None]
    metres[distance <= NEAR_M] = np.inf
    weight = detections.confidence[:, None] * known
    metres /= gate_m
    share = np.subtract(1, np.minimum(metres, 2, out=metres), out=metres)
    share *= weight
    score = share.sum(-1)
    return np.where(score > MIN_AGREEMENT * weight.sum(-1), score, -1.0)


def assign(score: np.ndarray, view: np.ndarray, cameras: int) -> np.ndarray:
    """Rows (P, C) of the detections assigned to people in each camera, or ``NOBODY``.

    Each detection is assigned once: per camera the assignment with the largest total of the
    positive scores (N, P).
    """
    people = score.shape[1]
    chosen = np.full((people, cameras), NOBODY)
    gain = np.maximum(score, 0)
    rows = np.flatnonzero(gain.any(1))
    if not len(rows):
        return chosen
    best = gain[rows].argmax(1)
    chosen[best, view[rows]] = rows
    # Where two detections of a camera want the same person, the optimum is not the best of each.
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


def expected_in_view(
    rig: Rig, pixels: np.ndarray, depth: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Mask (P, C) of cameras that have most of the ``known`` (P, J) joints, projected to (C, P, J,
    2), inside their image.
    """
    return np.asarray(
        ((rig.inside(pixels, depth) & known).sum(-1) > VISIBLE_SHARE * known.sum(-1)).T
    )


def missed_views(
    rig: Rig,
    pixels: np.ndarray,
    depth: np.ndarray,
    known: np.ndarray,
    chosen: np.ndarray,
    observed: np.ndarray,
) -> np.ndarray:
    """Mask (P, C) of cameras that ``observed`` (C,), should see people, and have no detection
    ``chosen`` (P, C) for them.
    """
    return np.asarray(expected_in_view(rig, pixels, depth, known) & (chosen == NOBODY) & observed)


def occluded_views(
    rig: Rig, pixels: np.ndarray, depth: np.ndarray, known: np.ndarray
) -> np.ndarray:
    """Mask (P, C) of cameras in which somebody else stands before people, or so near that a
    detector makes one person of two.
    """
    return _behind_others(rig, pixels, depth, known, OCCLUSION_M, OCCLUSION_M[0])


def hidden_views(rig: Rig, pixels: np.ndarray, depth: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Mask (P, C) of cameras in which somebody else stands before people and covers them."""
    return _behind_others(rig, pixels, depth, known, HIDING_M, 0.0)


def _behind_others(
    rig: Rig,
    pixels: np.ndarray,
    depth: np.ndarray,
    known: np.ndarray,
    within_m: tuple[float, float],
    margin_m: float,
) -> np.ndarray:
    """Mask (P, C) of cameras in which others, whose middle is ``within_m`` of theirs across and
    along the picture, are nearer than people, or no more than ``margin_m`` behind them.
    """
    count = np.maximum(known.sum(-1), 1)
    centre = (pixels * known[..., None]).sum(2) / count[:, None]
    far = (depth * known).sum(-1) / count
    beside = (
        np.abs(centre[:, :, None] - centre[:, None])
        * (far / rig.focal_px[:, None])[..., None, None]
    )
    before = far[:, None] < far[..., None] + margin_m
    others = (beside < within_m).all(-1) & before & ~np.eye(len(known), dtype=bool)
    return np.asarray(others.any(-1).T)


@dataclass(frozen=True)
class Scatter:
    """What cameras see of people whom nobody has seen yet, from where it is, as standard deviation
    per axis: ``at_m`` (C,) near the camera, and ``per_m`` (C,) more for each metre of distance, in
    the square; ``moved_m`` (C,), how far they have walked between a camera's time and the common
    one. ``places`` (C,): at how many places people were seen that tell so.
    """

    at_m: np.ndarray
    per_m: np.ndarray
    moved_m: np.ndarray
    places: np.ndarray

    @property
    def _likely(self) -> np.ndarray:
        """Variance (C,) that a camera has at most, with the probability ``UPPER``, by the usual
        one: of a scaled inverse chi-squared distribution, large until people were seen.
        """
        return np.asarray(self.places / chdtri(self.places, UPPER))

    def variance(self, view: np.ndarray, distance_m: np.ndarray) -> np.ndarray:
        """Largest likely variance in m^2 of points in cameras ``view`` at some distance; shapes
        broadcast.
        """
        likely = self._likely
        at = self.at_m**2 * likely + self.moved_m**2
        return np.asarray(at[view] + (self.per_m**2 * likely)[view] * distance_m**2)

    def usual_variance(self, view: np.ndarray, distance_m: np.ndarray) -> np.ndarray:
        """The same as it has been learned."""
        at = self.at_m**2 + self.moved_m**2
        return np.asarray(at[view] + (self.per_m**2)[view] * distance_m**2)

    def after(self, excess: np.ndarray, view: np.ndarray) -> Scatter:
        """The scatter when pairs of detections are known that most likely show one person each:
        ``excess`` (G,), mean square of their misses by ``variance``, in two cameras ``view`` (G,
        2). A pair tells half a place of each.
        """
        cameras = len(self.places)
        new = 0.5 * np.bincount(view.ravel(), minlength=cameras)
        seen = 0.5 * np.bincount(view.ravel(), np.repeat(excess, 2), minlength=cameras)
        share = (self.places + self._likely * seen) / (self.places + new)
        places = np.minimum(self.places + new, MAX_PLACES)
        root = np.sqrt(share)
        return Scatter(self.at_m * root, self.per_m * root, self.moved_m, places)


def _likely_pairs(
    rig: Rig, rays: np.ndarray, known: np.ndarray, view: np.ndarray, scatter: Scatter
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pairs of detections of two cameras that may show one person, as a few of the joints
    tell: ``rays`` (N, J, 3) are tested all at once per camera.
    """
    rays, known = rays.swapaxes(0, 1), known.T
    origin = rig.position_m[view]
    firsts, seconds = [np.zeros(0, int)], [np.zeros(0, int)]
    starts = np.append(np.unique(view, return_index=True)[1], len(view))
    for start, end in zip(starts[1:-1], starts[2:], strict=True):
        a, b = rays[:, :start], rays[:, start:end].swapaxes(1, 2)
        gap = origin[start] - origin[:start]
        cosine = a @ b
        along_a, along_b = (a * gap).sum(-1)[..., None], gap @ b
        slant = np.maximum(1 - cosine**2, MIN_PARALLAX**2)
        on_a, on_b = (along_a - cosine * along_b) / slant, (cosine * along_a - along_b) / slant
        miss = (gap**2).sum(-1)[:, None] + on_a * (on_a - 2 * along_a - 2 * cosine * on_b)
        miss += on_b * (on_b + 2 * along_b)
        gate = scatter.variance(view[:start, None], on_a) + scatter.variance(view[start], on_b)
        ratio = np.sqrt(np.maximum(miss, 0) / gate) / BIRTH_SIGMAS
        ratio[(on_a < NEAR_M) | (on_b < NEAR_M)] = 2
        both = known[:, :start, None] & known[:, None, start:end]
        first, second = np.nonzero(
            (np.minimum(ratio, 2) * both).sum(0) <= FIRST_TEST * both.sum(0)
        )
        firsts.append(first)
        seconds.append(second + start)
    return np.concatenate(firsts), np.concatenate(seconds)


def _pairs(
    rig: Rig,
    detections: RigDetections,
    scatter: Scatter,
    size: BodySize,
    similarity: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Poses (H, J, 3) of pairs of detections whose rays meet, their known joints (H, J), their
    rows (H, 2), their agreement (H,) times ``similarity`` (N, N), the best first, and the gate (H,
    J) in metres.
    """
    rays = rig.directions(detections.points, detections.view)
    known, view = detections.confidence > 0, detections.view
    few = slice(None, None, JOINT_STRIDE)
    first, second = _likely_pairs(rig, rays[:, few], known[:, few], view, scatter)
    enough = (known[first] & known[second]).sum(1) >= MIN_JOINTS
    first, second = first[enough], second[enough]
    axes = np.ascontiguousarray(np.moveaxis(rays, -1, 0))  # each axis in one piece: twice as fast
    a, b = (np.moveaxis(axes[:, rows], 0, -1) for rows in (first, second))
    origin = rig.position_m[view]
    gap = (origin[second] - origin[first])[:, None]
    on_a, on_b, sine_squared = closest_approach(a, b, gap)
    near_a, near_b = on_a[..., None] * a, gap + on_b[..., None] * b
    apart = near_a - near_b
    miss = np.sqrt(dot(apart, apart))
    shared = np.sqrt(detections.confidence[first] * detections.confidence[second])
    meet = (shared > 0) & (on_a > NEAR_M) & (on_b > NEAR_M)

    def variance_of(scatter: Scatter) -> np.ndarray:
        return scatter.variance(view[first, None], on_a) + scatter.variance(
            view[second, None], on_b
        )

    variance = variance_of(scatter)
    squares = (np.minimum(miss**2 / variance, BIRTH_SIGMAS**2) * meet).sum(-1)
    excess = squares / np.maximum(meet.sum(-1), 1)
    mutual = _mutual_best(first, second, view, np.where(meet.sum(-1) < MIN_JOINTS, np.inf, excess))
    if len(mutual):
        scatter = scatter.after(excess[mutual], view[np.stack([first, second], 1)[mutual]])
        variance = variance_of(scatter)
    gate = BIRTH_SIGMAS * np.sqrt(variance)
    score = (shared * (1 - np.minimum(np.where(meet, miss, np.inf) / gate, 2))).sum(-1)
    enough = meet.sum(-1) >= MIN_JOINTS
    some = np.flatnonzero((score > BIRTH_MIN_AGREEMENT * shared.sum(-1)) & enough)
    meet = meet[some]
    poses = origin[first[some]][:, None] + 0.5 * (near_a[some] + near_b[some])
    count = np.maximum(meet.sum(-1), 1)[:, None]
    centre = (poses * meet[..., None]).sum(1) / count
    away = poses - centre[:, None]
    spread = np.sqrt((dot(away, away) * meet).sum(-1) / count[:, 0])
    good = (spread > BODY_SIZE_M[0]) & (spread < BODY_SIZE_M[1])
    uncertain = variance[some] / np.maximum(sine_squared[some], MIN_PARALLAX**2)
    good &= size.possible(poses, meet, uncertain)
    pairs, score = np.stack([first, second], 1)[some], score[some]
    if similarity is not None:
        score = score * similarity[pairs[:, 0], pairs[:, 1]]
        good &= score > 0
    order = np.argsort(-np.where(good, score, -np.inf))[: good.sum()]
    return poses[order], meet[order], pairs[order], score[order], gate[some[order]]


def _mutual_best(
    first: np.ndarray, second: np.ndarray, view: np.ndarray, cost: np.ndarray
) -> np.ndarray:
    """Rows of pairs that are the cheapest of both detections with the other's camera, and no
    costlier than a good pair is.
    """
    best = np.full((len(view), int(view.max(initial=0)) + 1), np.inf)
    np.minimum.at(best, (first, view[second]), cost)
    np.minimum.at(best, (second, view[first]), cost)
    mutual = (cost == best[first, view[second]]) & (cost == best[second, view[first]])
    return np.flatnonzero(mutual & (cost < (BIRTH_MIN_AGREEMENT * BIRTH_SIGMAS) ** 2))


def pair_misfit(
    rig: Rig, points: np.ndarray, weight: np.ndarray, view: np.ndarray, scatter: Scatter
) -> np.ndarray:
    """By how many variances (K,) the rays of two 2D poses of one person each miss each other, as
    the median over joints; NaN where they share fewer than ``MIN_JOINTS``.

    ``points`` (K, 2, J, 2) in undistorted pixels, ``weight`` (K, 2, J), seen by cameras ``view``
    (K, 2).
    """
    result = np.full(len(points), np.nan)
    both = np.asarray((weight > 0).all(1))
    tells = np.flatnonzero(both.sum(1) >= MIN_JOINTS)
    if not len(tells):
        return result
    first, second = view[tells].T
    a, b = (rig.directions(points[tells, i], v) for i, v in enumerate((first, second)))
    gap = (rig.position_m[second] - rig.position_m[first])[:, None]
    on_a, on_b, _ = closest_approach(a, b, gap)
    apart = on_a[..., None] * a - gap - on_b[..., None] * b
    variance = scatter.usual_variance(first[:, None], on_a)
    variance = variance + scatter.usual_variance(second[:, None], on_b)
    result[tells] = np.nanmedian(np.where(both[tells], dot(apart, apart) / variance, np.nan), 1)
    return result


def _hypotheses(pairs: np.ndarray, free: np.ndarray) -> list[int]:
    """Indices of pairs (H, 2), the best first, of ``free`` (N,) detections:
    ``HYPOTHESES_PER_DETECTION`` of each, ``MAX_HYPOTHESES`` in all.
    """
    taken = np.zeros(len(free), int)
    hypotheses: list[int] = []
    for pair in np.flatnonzero(free[pairs].all(1)):
        i, j = pairs[pair]
        if taken[i] < HYPOTHESES_PER_DETECTION or taken[j] < HYPOTHESES_PER_DETECTION:
            taken[i] += 1
            taken[j] += 1
            hypotheses.append(int(pair))
            if len(hypotheses) == MAX_HYPOTHESES:
                break
    return hypotheses


def group_detections(
    rig: Rig,
    detections: RigDetections,
    scatter: Scatter,
    size: BodySize,
    similarity: np.ndarray | None = None,
) -> np.ndarray:
    """Groups of detections that show one person each: rows (P, C), ``NOBODY`` where a camera does
    not see them.

    Every pair of views proposes a person in space; all views vote on every proposal, so that a
    group's members agree with one and the same person (cycle consistency), and the proposals with
    most support that share no detection are taken. Somebody seen by one camera only makes no
    group. ``similarity`` (N, N), at most 1: similarity of appearance; agreement
    is multiplied by it, and detections whose similarity is not positive are different people.
    """
    groups: list[np.ndarray] = []
    starts = np.unique(detections.view, return_index=True)[1]
    if len(starts) < 2:
        return np.zeros((0, len(rig)), int)
    every_pose, every_known, every_pair, every_score, every_gate = _pairs(
        rig, detections, scatter, size, similarity
    )
    if len(starts) == 2:  # no third view votes: the pairs that are best as a whole
        gain = np.zeros((len(detections), len(detections)))
        gain[tuple(every_pair.T)] = every_score
        pairs = np.stack(linear_sum_assignment(gain, maximize=True), 1)
        pairs = pairs[gain[tuple(pairs.T)] > 0]
        result = np.full((len(pairs), len(rig)), NOBODY)
        np.put_along_axis(result, detections.view[pairs], pairs, 1)
        return result
    free = np.ones(len(detections), bool)
    while chosen := _hypotheses(every_pair, free):
        poses, known, pairs, agreed = (
            every_pose[chosen],
            every_known[chosen],
            every_pair[chosen],
            every_score[chosen],
        )
        pixels, depth = rig.project(poses)
        support = np.full((len(detections), len(poses)), -1.0)
        support[free] = agreement(rig, detections[free], pixels, depth, known, every_gate[chosen])
        if similarity is not None:
            alike = similarity[:, pairs].min(-1)
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
            for row in np.argsort(support[:, best]):  # the best of each view is last
                if free[row] and support[row, best] > 0:
                    members[detections.view[row]] = row
            members[detections.view[pairs[best]]] = pairs[best]
            free[members[members != NOBODY]] = False
            groups.append(members)
    return np.array(groups, int).reshape(-1, len(rig))
