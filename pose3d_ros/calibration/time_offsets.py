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

"""Offsets between cameras' clocks, from the motion of people whom they see.

The rays of a joint that two cameras see in the same moment meet. A coarse search over all shifts
of two recordings finds where most do; from there the shifts of all cameras together are refined
to fractions of a frame, with joints moving on along their ways (the idea of Albl et al., On the
Two-View Geometry of Unsynchronized Cameras, CVPR 2017, here with known poses of the cameras).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from pose3d_ros.calibration.epipolar import MIN_JOINTS, CameraPair
from pose3d_ros.calibration.people_matching import LIMB_JOINTS
from pose3d_ros.camera import Camera
from pose3d_ros.errors import CalibrationError
from pose3d_ros.people import NO_ID, People2D

MIN_CONFIDENCE = 0.3
MAX_GAP_S = 0.2  # between two images, over which a joint's way is taken as straight
SMOOTH_S = 0.05  # of joints' ways, so that between images they are as smooth as at images
FINEST_S, COARSEST_S = 1 / 60, 0.1  # steps of the ways
SEARCH_S = 0.05  # step of the coarse search
MIN_OVERLAP_S = 1.0  # of two recordings, and a quarter of the shorter one
MOMENTS = 400  # of one camera that are compared with another's, spread over the recording
MOST_PEOPLE = 4  # in one image
FAR = 0.05  # distance from another view's ray in radians beyond which nothing is worse
LEAST_PEOPLE = 10  # compared at a shift
CONTRAST = 0.8  # of the distance at the best shift by the usual one, else they share nobody
RIVAL, RIVAL_S = 1.1, 0.7  # a shift that far from the best whose distance is that near
GATE = 3.0  # times the median distance: people further apart do not refine the offsets
ROUNDS, CONVERGED_S = 15, 1e-5
BLOCK_S, BLOCKS = 1.0, 8  # errors are independent from block to block; in a short film, an eighth
# Detectors' errors follow the motion: offsets of real films with known ones were off by this.
DETECTOR_SIGMA_S = 0.005
MAX_SIGMA_S = 0.05  # an offset known worse is not determined
MAX_MISS = 0.012  # radians by which the rays of one person's joints miss each other at the most


class TimeOffsets(NamedTuple):
    """Seconds (C,) to add to each camera's stamps, which gives the first camera's time, with one
    standard deviation ``sigma_s`` (C,); and the median distance of joints from another view's
    rays in mrad, with the stamps as given (NaN where they never overlap) and with the offsets.
    """

    offset_s: np.ndarray
    sigma_s: np.ndarray
    before_mrad: float
    after_mrad: float


class _Ways(NamedTuple):
    """Ways of people's joints in one camera: ``rays`` (N, 12, 2), some NaN, at ``step`` (N,) of
    a regular clock, ordered by ``track`` (N,) and time, without gaps in a track.

    ``people`` (T, P): rows of the people at each step, -1 for none.
    """

    rays: np.ndarray
    step: np.ndarray
    track: np.ndarray
    people: np.ndarray

    def at(self, rows: np.ndarray, later: float) -> np.ndarray:
        """Rays (M, 12, 2) of the people of rows (M,), some steps later; NaN beyond the ends of
        their tracks.
        """
        whole = int(np.floor(later))
        first, last = rows + whole, len(self.track) - 1
        low, high = np.clip(first, 0, last), np.clip(first + 1, 0, last)
        same = (self.track[low] == self.track[rows]) & (self.track[high] == self.track[rows])
        share = later - whole
        between = (1 - share) * self.rays[low] + share * self.rays[high]
        return np.where((same & (low < high))[:, None, None], between, np.nan)


def estimate(
    cameras: Sequence[Camera],
    names: Sequence[str],
    seen: Sequence[Sequence[People2D]],
    say: Callable[[str], object] = lambda _: None,
) -> TimeOffsets:
    """Offsets of cameras whose poses are known, from their 2D people with ids in order of time.

    Recordings may begin at any time, and must overlap by a second and by a quarter. ``say`` is
    told what is being done. Raises ``CalibrationError`` where people's motion does not tell the
    offsets, and says why.
    """
    if len(cameras) < 2:
        raise CalibrationError("expected at least two cameras that see the same people, got one")
    for name, images in zip(names, seen, strict=True):
        if len(images) < 2:
            raise CalibrationError(
                f"camera {name}: expected a recording, got {len(images)} images"
            )
    period_s = max(float(np.median(np.diff([p.stamp_ns for p in s]))) * 1e-9 for s in seen)
    step_s = float(np.clip(period_s, FINEST_S, COARSEST_S))
    begin_s = np.array([images[0].stamp_ns * 1e-9 for images in seen])
    ways = [_ways(c, n, s, step_s) for c, n, s in zip(cameras, names, seen, strict=True)]
    shifts: dict[tuple[int, int], tuple[float, float]] = {}
    pairs, silent = [], []
    for a, b in combinations(range(len(cameras)), 2):
        say(f"comparing {names[a]} and {names[b]}")
        pair = CameraPair.of(list(cameras), a, b)
        try:
            shifts[a, b] = _search(pair, ways[a], ways[b], step_s)
            pairs.append(pair)
        except CalibrationError as error:
            silent.append(f"{names[a]} and {names[b]}: {error}")
    start = _connected(len(cameras), shifts)
    if start is None:
        raise CalibrationError(
            f"people's motion does not tell every camera's offset; {'; '.join(silent)}"
        )
    say("refining")
    begin, sigma, after = _refined(pairs, ways, start, step_s)
    sigma_s = np.hypot(sigma * step_s, DETECTOR_SIGMA_S)
    sigma_s[0] = 0
    _check(names, sigma_s, after)
    given = (begin_s - begin_s[0]) / step_s
    offset_s = (begin - begin[0] - given) * step_s
    before = np.concatenate([r.ravel() for r in _residuals(pairs, ways, given)[0]])
    before = np.abs(before[np.isfinite(before)])
    return TimeOffsets(
        offset_s, sigma_s, 1e3 * float(np.median(before)) if len(before) else np.nan, 1e3 * after
    )


def _check(names: Sequence[str], sigma_s: np.ndarray, miss: float) -> None:
    """Refuse offsets that are not known well, or at which joints' rays do not meet."""
    unknown = [
        f"{name} {1e3 * s:.0f} ms"
        for name, s in zip(names, sigma_s, strict=True)
        if not s < MAX_SIGMA_S
    ]
    if unknown:
        raise CalibrationError(
            f"people's motion tells offsets to {', '.join(unknown)}, expected "
            f"{1e3 * MAX_SIGMA_S:.0f} ms: move faster, across all cameras' views, and record "
            f"longer"
        )
    if miss > MAX_MISS:
        raise CalibrationError(
            f"at the best offsets rays of the same joint are {1e3 * miss:.0f} mrad from meeting, "
            f"expected at most {1e3 * MAX_MISS:.0f}: is the calibration right ('pose3d calibrate "
            f"refine'), are people seen whole and moving?"
        )


def _ways(camera: Camera, name: str, seen: Sequence[People2D], step_s: float) -> _Ways:
    """Ways of everybody who is followed for more than a few steps, from the first image on."""
    tracks: dict[int, list[tuple[int, np.ndarray]]] = {}
    joints = seen[0].skeleton.indices(*LIMB_JOINTS)
    for people in seen:
        known = people.confidence[:, joints] >= MIN_CONFIDENCE
        pixels = np.where(known[..., None], people.keypoints_px[:, joints], np.nan)
        for person, of_person in zip(people.ids.tolist(), pixels, strict=True):
            if person == NO_ID:
                raise CalibrationError(
                    f"camera {name}: expected 2D people with ids, by which they are followed"
                )
            track = tracks.setdefault(person, [])
            if not track or track[-1][0] < people.stamp_ns:
                track.append((people.stamp_ns, of_person))
    rays, step, number = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for images in tracks.values():
        at = np.array([stamp_ns - seen[0].stamp_ns for stamp_ns, _ in images]) * 1e-9 / step_s
        points = camera.rays(np.stack([pixels for _, pixels in images]))
        breaks = np.flatnonzero(np.diff(at) * step_s > MAX_GAP_S) + 1
        for part in np.split(np.arange(len(at)), breaks):
            steps = np.arange(np.ceil(at[part[0]]), np.floor(at[part[-1]]) + 1)
            if len(part) > 1 and len(steps) > 2:
                rays.append(_smooth(_between(at[part], points[part], steps), SMOOTH_S / step_s))
                step.append(steps.astype(int))
                number.append(np.full(len(steps), len(number)))
    if not rays:
        raise CalibrationError(f"camera {name}: nobody is followed: expected people who move")
    all_rays, all_steps = np.concatenate(rays), np.concatenate(step)
    return _Ways(all_rays, all_steps, np.concatenate(number), _people_by_step(all_rays, all_steps))


def _between(at: np.ndarray, points: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Points (S, 12, 2) at steps (S,), on straight ways between those (T, 12, 2) ``at`` (T,)."""
    after = np.clip(np.searchsorted(at, steps), 1, len(at) - 1)
    share = ((steps - at[after - 1]) / (at[after] - at[after - 1]))[:, None, None]
    return np.asarray((1 - share) * points[after - 1] + share * points[after])


def _smooth(points: np.ndarray, sigma: float) -> np.ndarray:
    """Points smoothed over time; NaN where a tenth or more of what counts is unknown, for there
    the rest would lag or lead.
    """
    known = np.isfinite(points)

    def smoothed(values: np.ndarray) -> np.ndarray:
        return np.asarray(gaussian_filter1d(values, sigma, axis=0, mode="constant"))

    weight = smoothed(known.astype(float))
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = smoothed(np.where(known, points, 0.0)) / weight
    return np.where(weight > 0.9, mean, np.nan)


def _people_by_step(rays: np.ndarray, step: np.ndarray) -> np.ndarray:
    """Rows (T, P) of the people at each step, those first of whom most is seen; -1 for none."""
    seen = np.isfinite(rays[..., 0]).sum(1)
    order = np.lexsort((-seen, step))
    order = order[seen[order] >= MIN_JOINTS]
    if not len(order):
        return np.full((1, 1), -1)
    ordered = step[order]
    rank = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    table = np.full((step.max() + 1, min(rank.max() + 1, MOST_PEOPLE)), -1)
    kept = rank < MOST_PEOPLE
    table[ordered[kept], rank[kept]] = order[kept]
    return table


def _distances(
    pair: CameraPair, a: _Ways, b: _Ways, rows_a: np.ndarray, rows_b: np.ndarray
) -> np.ndarray:
    """Mean distances (M, P, Q) of the joints of people in rows (M, P) and (M, Q); infinite where
    too few are shared, or where a row is -1.
    """
    apart = pair.mean_distance(a.rays[rows_a][:, :, None], b.rays[rows_b][:, None])
    there = (rows_a >= 0)[:, :, None] & (rows_b >= 0)[:, None]
    return np.where(there, apart, np.inf)


def _mutual_nearest(
    pair: CameraPair, a: _Ways, b: _Ways, rows_a: np.ndarray, rows_b: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (N,) in both cameras, of those in (M, P) and (M, Q), who are each other's nearest."""
    apart = _distances(pair, a, b, rows_a, rows_b)
    if not np.isfinite(apart).any():
        return np.zeros(0, int), np.zeros(0, int)
    mutual = (apart == apart.min(1, keepdims=True)) & (apart == apart.min(2, keepdims=True))
    mutual &= np.isfinite(apart)
    gate = min(GATE * float(np.median(apart[mutual])), FAR)
    moment, i, j = np.nonzero(mutual & (apart <= gate))
    return rows_a[moment, i], rows_b[moment, j]


def _search(pair: CameraPair, a: _Ways, b: _Ways, step_s: float) -> tuple[float, float]:
    """Steps by which b's clock is ahead of a's, both from their first image on, and the distance
    there by the usual one. Raises ``CalibrationError`` with the reason.
    """
    length_a, length_b = len(a.people), len(b.people)
    overlap = max(MIN_OVERLAP_S / step_s, min(length_a, length_b) / 4)
    moments = np.flatnonzero((a.people >= 0).any(1))
    moments = moments[:: len(moments) // MOMENTS + 1]
    stride = max(1, round(SEARCH_S / step_s))
    shifts = np.arange(round(overlap) - length_a, length_b - round(overlap) + 1, stride)
    cost, compared = np.full(len(shifts), np.nan), np.zeros(len(shifts))
    for index, shift in enumerate(shifts):
        now = moments[(moments + shift >= 0) & (moments + shift < length_b)]
        apart = _distances(pair, a, b, a.people[now], b.people[now + shift])
        nearest = [apart.min(axis, initial=np.inf) for axis in (1, 2)]
        nearest = [np.minimum(some[np.isfinite(some)], FAR) for some in nearest]
        compared[index] = min(len(some) for some in nearest)
        if compared[index] >= LEAST_PEOPLE:
            cost[index] = np.mean([some.mean() for some in nearest])
    cost[compared < compared.max(initial=0) / 4] = np.nan
    known = np.isfinite(cost)
    if known.sum() < 2:
        raise CalibrationError("hardly ever is anybody seen in both")
    best = int(np.nanargmin(cost))
    ratio = float(cost[best] / np.median(cost[known]))
    if ratio > CONTRAST:
        raise CalibrationError(
            "at no shift do they see the same people: do they overlap, is the calibration right, "
            "do people move?"
        )
    others = cost[known & (np.abs(shifts - shifts[best]) * step_s > RIVAL_S)]
    if len(others) and others.min() < RIVAL * cost[best]:
        raise CalibrationError(
            "the motion repeats itself, so that several shifts fit: move in more varied ways"
        )
    return float(shifts[best]), ratio


def _connected(
    cameras: int, shifts: Mapping[tuple[int, int], tuple[float, float]]
) -> np.ndarray | None:
    """When each camera's first image was (C,), in steps, by the clearest pairs; None where a
    camera is in no pair with the others.
    """
    begin = np.full(cameras, np.nan)
    begin[0] = 0
    while np.isnan(begin).any():
        known = ~np.isnan(begin)
        edges = [(ratio, a, b) for (a, b), (_, ratio) in shifts.items() if known[a] != known[b]]
        if not edges:
            return None
        _, a, b = min(edges)
        if known[a]:
            begin[b] = begin[a] - shifts[a, b][0]
        else:
            begin[a] = begin[b] + shifts[a, b][0]
    return begin


def _matched(pair: CameraPair, ways: Sequence[_Ways], begin: np.ndarray) -> tuple[np.ndarray, ...]:
    """Rows (M,) of the people of a, and those of b (M,) at the nearest steps, who are each
    other's nearest.
    """
    a, b = ways[pair.a], ways[pair.b]
    later = round(begin[pair.a] - begin[pair.b])
    moments = np.flatnonzero((a.people >= 0).any(1))
    moments = moments[(moments + later >= 0) & (moments + later < len(b.people))]
    moments = moments[:: len(moments) // (4 * MOMENTS) + 1]
    return _mutual_nearest(pair, a, b, a.people[moments], b.people[moments + later])


def _residuals(
    pairs: Sequence[CameraPair], ways: Sequence[_Ways], begin: np.ndarray
) -> tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Per pair the distances (M, 12) of joints with the cameras' first images at ``begin`` (C,),
    their derivatives (M, 12, 2) by the beginnings of a and b, and the moments (M,) in steps.
    """
    away, slope, moments = [], [], []
    for pair in pairs:
        a, b = ways[pair.a], ways[pair.b]
        rows_a, rows_b = _matched(pair, ways, begin)
        at = begin[pair.a] - begin[pair.b]
        rest = at - round(at)
        rays_a = [a.at(rows_a, by) for by in (-0.5, 0.0, 0.5)]
        rays_b = [b.at(rows_b, rest + by) for by in (-0.5, 0.0, 0.5)]
        away.append(pair.distance(rays_a[1], rays_b[1]))
        slope.append(
            np.stack(
                [
                    pair.distance(rays_a[0], rays_b[1]) - pair.distance(rays_a[2], rays_b[1]),
                    pair.distance(rays_a[1], rays_b[0]) - pair.distance(rays_a[1], rays_b[2]),
                ],
                -1,
            )
        )
        moments.append(a.step[rows_a] + begin[pair.a])
    return away, slope, moments


def _refined(
    pairs: Sequence[CameraPair], ways: Sequence[_Ways], begin: np.ndarray, step_s: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Beginnings (C,) in steps by Gauss-Newton with Cauchy's loss, their standard deviations (C,)
    from the spread of the gradient over blocks of time, and the median distance.
    """
    count, scale = len(begin), 0.0
    longest = max(way.step.max() - way.step.min() for way in ways)
    block_steps = min(BLOCK_S / step_s, longest / BLOCKS)
    for _ in range(ROUNDS):
        away, slope, moments = _residuals(pairs, ways, begin)
        usable = [
            np.isfinite(r) & np.isfinite(s).all(-1) for r, s in zip(away, slope, strict=True)
        ]
        scale = float(
            np.median(np.abs(np.concatenate([r[u] for r, u in zip(away, usable, strict=True)])))
        )
        hessian, gradients = np.zeros((count, count)), dict[int, np.ndarray]()
        for pair, r, s, u, moment in zip(pairs, away, slope, usable, moments, strict=True):
            weight = np.where(u, 1 / (1 + (np.where(u, r, 0) / (2 * scale + 1e-9)) ** 2), 0)
            s, r = np.where(u[..., None], s, 0), np.where(u, r, 0)
            # What is constant is the calibration's error and the detector's, not time's.
            total = np.maximum(weight.sum(0), 1e-9)
            s = s - (weight[..., None] * s).sum(0) / total[:, None]
            r = r - (weight * r).sum(0) / total
            both = np.array([pair.a, pair.b])
            hessian[np.ix_(both, both)] += np.einsum("mj,mjk,mjl->kl", weight, s, s)
            pull = np.einsum("mj,mjk->mk", weight * r, s)
            block = np.floor(moment / block_steps).astype(int)
            for one in np.unique(block):
                gradient = gradients.setdefault(int(one), np.zeros(count))
                gradient[both] += pull[block == one].sum(0)
        inverse = np.linalg.pinv(hessian[1:, 1:], rcond=1e-9)
        by = -inverse @ np.sum(list(gradients.values()), 0)[1:]
        begin = begin + np.concatenate([[0.0], np.clip(by, -3, 3)])
        if np.abs(by).max() * step_s < CONVERGED_S:
            break
    spread = np.stack(list(gradients.values()))[:, 1:]
    spread = spread - spread.mean(0)
    blocks = len(spread)
    variance = inverse @ (spread.T @ spread) @ inverse * blocks / max(blocks - 1, 1)
    known = np.diag(hessian)[1:] > 0
    sigma = np.where(known & (blocks > 1), np.sqrt(np.diag(variance)), np.inf)
    return begin, np.concatenate([[0.0], sigma]), scale
