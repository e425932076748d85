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

"""Triangulation of points from several views, robust against wrong views, with uncertainty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.multiview.rig import NEAR_M, Rig

OUTLIER_SIGMAS = 3.5  # a view that disagrees with the others by more is wrong
HUBER_SIGMAS = 2.0  # beyond this a residual counts linearly
MIN_PARALLAX = 0.02  # radians between two rays, below which they do not determine depth
LARGEST_SIGMA_M = 10.0  # a point known worse than this is not known
# Determinant of a matrix, by the cube of its trace, below which it is singular, and the share of
# the trace that is added to its diagonal then.
SINGULAR, RAISED = 1e-15, 1e-6
MOST_VIEWS = 6  # whose rays are crossed: most of them are right
_WEAK = 1e-4  # information in 1/m^2 that stands for none and keeps the equations regular


@dataclass(frozen=True)
class PointPrior:
    """Prior of M points: ``mean_m`` (M, 3) and ``information`` (M, 3, 3) in 1/m^2, zero where
    nothing is known.
    """

    mean_m: np.ndarray
    information: np.ndarray


@dataclass(frozen=True)
class TriangulatedPoints:
    """M points: ``mean_m`` (M, 3) and ``covariance`` (M, 3, 3) in m^2.

    ``inliers`` (M, C): views that agree; ``prior_holds`` (M,): the prior does; ``residual_px`` (M,
    C, 2) in undistorted pixels; ``depth_m`` (M, C) in each camera, at least ``NEAR_M``.
    ``freedom`` (M, C): of the two dimensions of a residual those that the point has not followed,
    so that its square is ``freedom`` variances on average.
    """

    mean_m: np.ndarray
    covariance: np.ndarray
    inliers: np.ndarray
    prior_holds: np.ndarray
    residual_px: np.ndarray
    depth_m: np.ndarray
    freedom: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """Mask (M,) of points that lie before every camera that agrees, and are known better than
        ``LARGEST_SIGMA_M``.
        """
        before = ((self.depth_m > NEAR_M) | ~self.inliers).all(1)
        spread = np.trace(self.covariance, axis1=1, axis2=2)
        return np.asarray(before & (spread < 3 * LARGEST_SIGMA_M**2))


def inverse_symmetric(matrices: np.ndarray) -> np.ndarray:
    """Inverses of symmetric, positive semidefinite matrices (..., 3, 3) in closed form: many times
    faster than LAPACK on small ones.

    Where a matrix is singular to working precision, as of a point of which one view tells no
    depth, its diagonal is raised first: the result is large along that direction, and finite.
    """
    result, determinant = _closed_form_inverse(matrices)
    scale = np.trace(matrices, axis1=-2, axis2=-1)
    singular = ~(determinant > SINGULAR * scale**3)
    if singular.any():
        raised = matrices[singular]
        raised = raised + (RAISED * scale[singular] + 1e-12)[:, None, None] * np.eye(3)
        result[singular] = _closed_form_inverse(raised)[0]
    return result


def _closed_form_inverse(matrices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Inverses and determinants (...); without meaning where the determinant is 0."""
    a, b, c = matrices[..., 0, 0], matrices[..., 0, 1], matrices[..., 0, 2]
    d, e, f = matrices[..., 1, 1], matrices[..., 1, 2], matrices[..., 2, 2]
    adjugate = np.empty(matrices.shape)
    adjugate[..., 0, 0] = d * f - e * e
    adjugate[..., 0, 1] = adjugate[..., 1, 0] = c * e - b * f
    adjugate[..., 0, 2] = adjugate[..., 2, 0] = b * e - c * d
    adjugate[..., 1, 1] = a * f - c * c
    adjugate[..., 1, 2] = adjugate[..., 2, 1] = b * c - a * e
    adjugate[..., 2, 2] = a * d - b * b
    determinant = a * adjugate[..., 0, 0] + b * adjugate[..., 0, 1] + c * adjugate[..., 0, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        adjugate /= determinant[..., None, None]
    return adjugate, determinant


def dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Scalar products (...) of vectors (..., 3): numpy's sum over so short an axis is slow."""
    return np.asarray(a[..., 0] * b[..., 0] + a[..., 1] * b[..., 1] + a[..., 2] * b[..., 2])


def closest_approach(
    a: np.ndarray, b: np.ndarray, gap: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Closest points of two rays with unit directions (..., 3), the second of which starts at
    ``gap`` (..., 3) from the first.

    Returns how far along each ray in metres (...), and the squared sine (...) of the angle
    between them. Rays below ``MIN_PARALLAX`` are treated as if they were at that angle.
    """
    cosine = dot(a, b)
    along_a, along_b = dot(a, gap), dot(b, gap)
    sine_squared = 1 - cosine**2
    slant = np.maximum(sine_squared, MIN_PARALLAX**2)
    return (along_a - cosine * along_b) / slant, (cosine * along_a - along_b) / slant, sine_squared


def _times(matrices: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    return np.asarray((matrices @ vectors[..., None])[..., 0])


def triangulate_linear(rig: Rig, points: np.ndarray, precision: np.ndarray) -> np.ndarray:
    """Weighted direct linear transform (M, 3) of undistorted pixels (M, C, 2) with ``precision``
    (M, C) in 1/px^2.

    The equations of a view are divided by the point's depth there, so that the second solution
    weights by pixels. A point that one view sees is on its ray, as near to the middle of the
    cameras as can be: nothing depends on the world's frame.
    """
    rows = (
        rig.focal_px[:, None, None] * rig.rotation[:, :2]
        - points[..., None] * rig.rotation[:, None, 2]
    )
    right = points * rig.translation[:, 2:] - rig.focal_px[:, None] * rig.translation[:, :2]
    rows, right = rows.reshape(-1, 2 * len(rig), 3), right.reshape(-1, 2 * len(rig))
    middle = rig.position_m[rig.present].mean(0)
    right = right - rows @ middle
    weights = precision / (rig.focal_px / 4.0) ** 2
    for _ in range(2):
        weighted = rows * np.repeat(weights, 2, 1)[..., None]
        normal = weighted.transpose(0, 2, 1) @ rows + 1e-9 * np.eye(3)
        offset = _times(inverse_symmetric(normal), (weighted * right[..., None]).sum(1))
        solved = middle + offset
        weights = precision / np.maximum(rig.project_by_point(solved)[1], NEAR_M) ** 2
    return np.asarray(solved)


def _gauss_newton(
    rig: Rig,
    points: np.ndarray,
    precision: np.ndarray,
    start: np.ndarray,
    prior: PointPrior,
    steps: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean, covariance, residuals, depth and freedom, as in ``TriangulatedPoints``, that minimise
    Huber's loss of reprojection.
    """
    mean = start
    count = len(points)
    for step in range(steps + 1):
        pixels, depth = rig.project_by_point(mean)
        depth = np.maximum(depth, NEAR_M)
        residual = points - pixels
        if step == steps:
            break
        sigmas = np.sqrt((residual * residual).sum(-1) * precision)
        weights = precision * (HUBER_SIGMAS / np.maximum(sigmas, HUBER_SIGMAS))
        derivative = rig.derivative(pixels, depth)
        jacobian = derivative.reshape(count, 2 * len(rig), 3)
        weighted = (
            (derivative * weights[..., None, None])
            .reshape(count, 2 * len(rig), 3)
            .transpose(0, 2, 1)
        )
        covariance = inverse_symmetric(weighted @ jacobian + prior.information)
        gradient = (weighted @ residual.reshape(count, 2 * len(rig), 1))[..., 0]
        mean = mean + _times(covariance, gradient + _times(prior.information, prior.mean_m - mean))
    # The trace of each view's block of the hat matrix (Hoaglin and Welsch, 1978).
    followed = ((derivative @ covariance[:, None]) * derivative).sum((-1, -2)) * precision
    return mean, covariance, residual, depth, np.clip(2 - followed, 0, 2)


def _consensus(
    rig: Rig, points: np.ndarray, precision: np.ndarray, prior: PointPrior
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Hypothesis (M, 3) that most views agree with, the views (M, C) that do, and whether the
    prior does (M,).

    Hypotheses are the crossing of every two rays of the ``MOST_VIEWS`` most precise views, and the
    prior's mean; the smallest truncated squared error of all views wins. This is RANSAC without
    chance.
    """
    chosen = np.argsort(-precision, 1)[:, :MOST_VIEWS]
    first, second = (
        np.array(side) for side in zip(*combinations(range(chosen.shape[1]), 2), strict=True)
    )
    rays = rig.directions(points.transpose(1, 0, 2), np.arange(len(rig))).transpose(1, 0, 2)
    rays = np.take_along_axis(rays, chosen[..., None], 1)
    weight, origin = np.take_along_axis(precision, chosen, 1), rig.position_m[chosen]
    a, b = rays[:, first], rays[:, second]
    gap = origin[:, second] - origin[:, first]
    on_a, on_b, sine_squared = closest_approach(a, b, gap)
    crossing = 0.5 * (
        origin[:, first] + on_a[..., None] * a + origin[:, second] + on_b[..., None] * b
    )
    possible = (
        (weight[:, first] > 0)
        & (weight[:, second] > 0)
        & (on_a > NEAR_M)
        & (on_b > NEAR_M)
        & (sine_squared > MIN_PARALLAX**2)
    )
    hypotheses = np.concatenate([crossing, prior.mean_m[:, None]], 1)
    pixels, depth = rig.project(hypotheses)
    squared = ((pixels - points.transpose(1, 0, 2)[:, :, None]) ** 2).sum(-1) * precision.T[
        ..., None
    ]
    squared = np.where(depth > NEAR_M, squared, np.inf)
    limit = OUTLIER_SIGMAS**2
    offset = hypotheses - prior.mean_m[:, None]
    unlikely = ((offset @ prior.information) * offset).sum(-1)
    cost = np.minimum(squared, limit).sum(0, where=precision.T[..., None] > 0) + np.minimum(
        unlikely, limit
    )
    cost[:, :-1][~possible] = np.inf
    best = cost.argmin(1)
    rows = np.arange(len(points))
    errors = squared[:, rows, best].T
    return hypotheses[rows, best], (errors < limit) & (precision > 0), unlikely[rows, best] < limit


def triangulate_robust(
    rig: Rig, points: np.ndarray, precision: np.ndarray, prior: PointPrior | None = None
) -> TriangulatedPoints:
    """Points from undistorted pixels (M, C, 2) with ``precision`` (M, C) in 1/px^2, 0 where not
    seen.

    All views at once where they agree; where a view or the prior is off by over
    ``OUTLIER_SIGMAS``, the largest consensus, refined. Pixels must be finite also where the
    precision is 0. With a prior, one view is enough.
    """
    count = len(points)
    weak = _WEAK * np.eye(3)
    if prior is None or not count:
        start = triangulate_linear(rig, points, precision)
        prior = PointPrior(start, np.zeros((count, 3, 3)) + weak)
    else:
        start = prior.mean_m
        prior = replace(prior, information=prior.information + weak)
    mean, covariance, residual, depth, freedom = _gauss_newton(
        rig, points, precision, start, prior, 2
    )
    inliers, holds = precision > 0, np.ones(count, bool)
    offset = mean - prior.mean_m
    surprise = np.maximum(
        ((residual * residual).sum(-1) * precision).max(1),
        (_times(prior.information, offset) * offset).sum(-1),
    )
    doubtful = np.flatnonzero(~(surprise < OUTLIER_SIGMAS**2))
    if len(doubtful) and len(rig) > 1:
        some = PointPrior(prior.mean_m[doubtful], prior.information[doubtful])
        start, inliers[doubtful], holds[doubtful] = _consensus(
            rig, points[doubtful], precision[doubtful], some
        )
        some = PointPrior(
            some.mean_m, np.where(holds[doubtful, None, None], some.information, weak)
        )
        agreeing = precision[doubtful] * inliers[doubtful]
        for whole, part in zip(
            (mean, covariance, residual, depth, freedom),
            _gauss_newton(rig, points[doubtful], agreeing, start, some, 2),
            strict=True,
        ):
            whole[doubtful] = part
    return TriangulatedPoints(mean, covariance, inliers, holds, residual, depth, freedom)


def measure_joints(
    rig: Rig,
    points: np.ndarray,
    precision: np.ndarray,
    mean: np.ndarray,
    covariance: np.ndarray,
    expected: np.ndarray,
) -> tuple[TriangulatedPoints, np.ndarray]:
    """Joints of P people from undistorted pixels (P, C, J, 2) with ``precision`` (P, C, J) in
    1/px^2: P * J points, and a mask (P, J) of those that are measured.

    ``mean`` (P, J, 3) and ``covariance`` (P, J, 3, 3) are the prior of joints that are
    ``expected`` (P, J), for which one view is enough.
    """
    count, joints = expected.shape
    prior = PointPrior(
        mean.reshape(-1, 3),
        (inverse_symmetric(covariance + 1e-9 * np.eye(3)) * expected[..., None, None]).reshape(
            -1, 3, 3
        ),
    )
    found = triangulate_robust(
        rig,
        points.swapaxes(1, 2).reshape(count * joints, -1, 2),
        precision.swapaxes(1, 2).reshape(count * joints, -1),
        prior,
    )
    views = found.inliers.sum(1)
    measured = (
        (views >= 2) | (views == 1) & found.prior_holds & expected.reshape(-1)
    ) & found.known
    return found, measured.reshape(count, joints)


def triangulate(
    points_px: np.ndarray, cameras: Sequence[Camera], weights: np.ndarray, noise_px: float = 4.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points in the world from their pixels in C views.

    ``points_px`` (C, ..., 2), NaN where not seen; ``weights`` (C, ...), confidence in 0..1, 0
    where not to be used. ``noise_px``: standard deviation per axis of a keypoint with weight 1,
    the calibration's error included; the variance is inverse to the weight. Views off by over
    ``OUTLIER_SIGMAS`` of it are wrong. Returns ``points_m`` (..., 3), ``sigma_m`` (...), one
    standard deviation per axis (root mean square over the three axes), and ``residual_px`` (C,
    ...), the distance in pixels (undistorted) of every view from the point's projection, also of
    those rejected as wrong. NaN where fewer than two agreeing views see the point.

    Linear solution and refinement: Hartley and Zisserman, Multiple View Geometry, 12.2 and A6.
    """
    rig = Rig.of(cameras)
    points_px, weights = np.asarray(points_px, float), np.asarray(weights, float)
    if points_px.shape != (*weights.shape, 2) or len(points_px) != len(rig):
        raise ValueError(
            f"expected points_px ({len(rig)}, ..., 2) and weights ({len(rig)}, ...), "
            f"got {points_px.shape} and {weights.shape}"
        )
    shape = weights.shape[1:]
    flat = rig.undistort(points_px.reshape(len(rig), -1, 2), np.arange(len(rig))).transpose(
        1, 0, 2
    )
    weight = weights.reshape(len(rig), -1).T
    seen = np.isfinite(flat).all(-1) & (weight > 0)
    precision = np.where(seen, weight, 0) / noise_px**2
    found = triangulate_robust(rig, np.where(seen[..., None], flat, 0), precision)
    sigma = np.sqrt(np.trace(found.covariance, axis1=1, axis2=2) / 3)
    good = (found.inliers.sum(1) >= 2) & found.known
    points_m = np.where(good[:, None], found.mean_m, np.nan)
    residual = np.where(seen & good[:, None], np.linalg.norm(found.residual_px, axis=-1), np.nan)
    return (
        points_m.reshape(*shape, 3),
        np.where(good, sigma, np.nan).reshape(shape),
        residual.T.reshape(len(rig), *shape),
    )
