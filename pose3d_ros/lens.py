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

"""Lens distortion and its inverse, in OpenCV's models: where a viewing ray meets the image plane.

Points are complex numbers, x + iy: rays are (x/z, y/z) in the optical frame, and images of them
lie in the same plane, in units of the focal length. A lens maps one to the other up to the fold,
where the distance from the centre stops to grow (the Jacobian's determinant becomes 0). What a
polynomial says beyond its fold is not what a lens does, so it is NaN here.

The pinhole models (``plumb_bob``, ``rational_polynomial``, ``thin_prism``) are one formula with
fourteen coefficients, ``k1 k2 p1 p2 k3 k4 k5 k6 s1 s2 s3 s4 tau_x tau_y``, of which the last ones
may be left out (OpenCV, calib3d, "Detailed Description"). ``equidistant`` is OpenCV's fisheye:
Kannala and Brandt 2006, ``theta + k1 theta^3 + k2 theta^5 + k3 theta^7 + k4 theta^9``.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from numpy.polynomial import Polynomial

Complex = npt.NDArray[np.complex128]
Float = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

# Coefficients that each of ROS' distortion models (sensor_msgs/distortion_models.hpp) can have:
# drivers publish any number that OpenCV takes under either name of the pinhole models.
_PINHOLE = (4, 5, 8, 12, 14)
COEFFICIENTS = {
    "plumb_bob": _PINHOLE,
    "rational_polynomial": _PINHOLE,
    "thin_prism": _PINHOLE,
    "equidistant": (4,),
}

# OpenCV 4 gives the function with criteria a name of its own
_undistort = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
_NONE = complex(np.nan, np.nan)
_EYE = np.eye(3)
_CRITERIA = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 50, 1e-12)
_TABLE = 1024  # radii of the table that Newton's method starts from
_DIRECTIONS = 128  # in which the fold of a lens that is not symmetric is looked for
_WIDEST = float(np.tan(np.radians(89.9)))  # radius of rays in these tables
_ITERATIONS = 30
_CLOSE = 1e-9  # a step after which the error, its square, is smaller than float64 can tell
_TOLERANCE = 1e-11  # of a point in the image, in focal lengths: 1e-8 px and less


class Lens:
    """Map from rays to the image plane and back, both (N,) complex; NaN where there is none."""

    _safe: float  # radius within which every ray lies before the fold
    _reach: float  # radius within which the images of all rays lie

    def distort(self, rays: Complex) -> Complex:
        """Images of rays; NaN beyond the fold."""
        with np.errstate(all="ignore"):
            image = self._image(rays)
            unsure = ~(np.abs(rays) < self._safe)
            if unsure.any():
                image[unsure] = np.where(self._seen(rays[unsure]), image[unsure], _NONE)
        return image

    def undistort(self, points: Complex) -> Complex:
        """Rays of points in the image plane; NaN where no ray before the fold meets them.

        OpenCV's iteration is fast and ends where it likes: its answers are projected back, and
        where they do not meet the point Newton's method goes on.
        """
        with np.errstate(all="ignore"):
            rays = self._opencv(points)
            near = _TOLERANCE * (1 + np.abs(points))
            met = (np.abs(self._image(rays) - points) < near) & (np.abs(rays) < self._safe)
            if not met.all():
                left = ~met
                rays[left] = _NONE
                left &= np.abs(points) < self._reach
                if left.any():
                    rays[left] = self._undistort_slowly(points[left], near[left])
        return rays

    def _undistort_slowly(self, points: Complex, near: Float) -> Complex:
        rays = self._newton(points)
        met = np.abs(self._image(rays) - points) < near
        unsure = met & ~(np.abs(rays) < self._safe)
        if unsure.any():
            met[unsure] = self._seen(rays[unsure])
        return np.where(met, rays, _NONE)

    def _image(self, rays: Complex) -> Complex:
        """Images of rays by the formula, wherever it leads."""
        raise NotImplementedError

    def _seen(self, rays: Complex) -> Bool:
        """Mask of the rays that lie before the fold."""
        raise NotImplementedError

    def _opencv(self, points: Complex) -> Complex:
        """OpenCV's answer, right or wrong."""
        raise NotImplementedError

    def _newton(self, points: Complex) -> Complex:
        """Rays by Newton's method from the answers of a table, right or wrong."""
        raise NotImplementedError


@lru_cache(maxsize=256)
def lens_of(model: str, coefficients: tuple[float, ...]) -> Lens | None:
    """The lens of a model among ``COEFFICIENTS``; None for a pinhole without distortion."""
    if model == "equidistant":
        return _Fisheye(np.array(coefficients or (0.0,) * 4))
    return _Polynomial(np.array(coefficients)) if any(coefficients) else None


class _Fisheye(Lens):
    """Kannala and Brandt's equidistant lens with four coefficients; rays end at 90 degrees."""

    def __init__(self, coefficients: Float) -> None:
        self._coefficients = coefficients
        self._powers = tuple(np.array([1.0, *coefficients]).tolist())  # of theta^2
        growth = Polynomial(np.array(self._powers) * (1, 3, 5, 7, 9))
        self._widest = min(np.sqrt(_smallest_positive_root(growth)), np.pi / 2)
        self._safe = np.tan(0.999 * self._widest)
        self._angles = np.linspace(0, self._widest, _TABLE)
        self._radii = self._radius(self._angles)
        self._reach = float(self._radii[-1])

    def _radius(self, theta: Float) -> Float:
        """Distance from the centre at an angle from the axis."""
        square, (_, k1, k2, k3, k4) = theta * theta, self._powers
        return np.asarray(
            theta * (1 + square * (k1 + square * (k2 + square * (k3 + square * k4))))
        )

    def _image(self, rays: Complex) -> Complex:
        radius = np.abs(rays)
        return np.asarray(rays * (self._radius(np.arctan(radius)) / np.maximum(radius, 1e-300)))

    def _seen(self, rays: Complex) -> Bool:
        return np.asarray(np.arctan(np.abs(rays)) < self._widest)

    def _opencv(self, points: Complex) -> Complex:
        return _as_complex(
            cv2.fisheye.undistortPoints(
                _as_points(points), _EYE, self._coefficients, criteria=_CRITERIA
            )
        )

    def _newton(self, points: Complex) -> Complex:
        radius = np.abs(points)
        theta = np.interp(radius, self._radii, self._angles)
        _, k1, k2, k3, k4 = self._powers * np.array([1, 3, 5, 7, 9])
        for _ in range(_ITERATIONS):
            square = theta * theta
            slope = 1 + square * (k1 + square * (k2 + square * (k3 + square * k4)))
            step = (radius - self._radius(theta)) / slope
            inside = theta + step < self._widest  # towards the fold a step may lead beyond it
            theta = np.where(inside, theta + step, (theta + self._widest) / 2)
            if not (np.abs(step) > _CLOSE).any():
                break
        return np.asarray(points * (np.tan(theta) / np.maximum(radius, 1e-300)))


class _Polynomial(Lens):
    """Radial polynomial or quotient of two, decentring, thin prism and a tilted sensor."""

    def __init__(self, coefficients: Float) -> None:
        k = np.zeros(14)
        k[: len(coefficients)] = coefficients
        self._coefficients = coefficients
        self._upper, self._lower = (1.0, k[0], k[1], k[4]), (1.0, k[5], k[6], k[7])  # of r^2
        self._rational = bool(k[5:8].any())
        self._decentring = complex(k[3], k[2])
        self._prism = complex(k[8], k[10]), complex(k[9], k[11])
        self._symmetric = not (k[2:4].any() or k[8:12].any())
        self._tilt = _tilt(k[12], k[13]) if k[12:].any() else None
        upper, lower, square = (Polynomial(c) for c in (self._upper, self._lower, (0.0, 2.0)))
        growth = (upper + square * upper.deriv()) * lower - square * upper * lower.deriv()
        self._pole = np.sqrt(_smallest_positive_root(lower))
        self._fold = min(np.sqrt(_smallest_positive_root(growth)), self._pole)
        self._rays = np.tan(np.linspace(0, np.arctan(min(self._fold, _WIDEST)), _TABLE))[:-1]
        with np.errstate(all="ignore"):  # at a pole
            self._radii = self._rays * self._factor(self._rays**2)
            self._folds = self._folds_by_direction()
            self._farthest = float(self._folds.max())
            self._safe = 0.98 * float(self._folds.min())
            self._reach = self._radius_of_image()

    def _factor(self, square: Float) -> Float:
        """Radial factor at r^2."""
        (_, k1, k2, k3), (_, k4, k5, k6) = self._upper, self._lower
        factor = 1 + square * (k1 + square * (k2 + square * k3))
        if self._rational:
            factor = factor / (1 + square * (k4 + square * (k5 + square * k6)))
        return np.asarray(factor)

    def _untilted(self, rays: Complex) -> Complex:
        """Images on a sensor that is not tilted."""
        square = rays.real**2 + rays.imag**2
        image = rays * self._factor(square)
        return image if self._symmetric else image + self._aside(rays, square)

    def _aside(self, rays: Complex, square: Float) -> Complex:
        """Decentring and thin prism."""
        q, (first, second) = self._decentring, self._prism
        return np.asarray(q.conjugate() * rays * rays + square * (2 * q + first + second * square))

    def _linear(self, rays: Complex) -> tuple[Complex, Complex, Complex]:
        """``_untilted`` images with their derivatives by the rays and by the rays' conjugates."""
        square = rays.real**2 + rays.imag**2
        (_, k1, k2, k3), (_, k4, k5, k6) = self._upper, self._lower
        factor, slope = self._factor(square), k1 + square * (2 * k2 + square * (3 * k3))
        if self._rational:
            lower = 1 + square * (k4 + square * (k5 + square * k6))
            slope = (slope - factor * (k4 + square * (2 * k5 + square * (3 * k6)))) / lower
        image, by_ray = rays * factor, (factor + slope * square).astype(complex)
        by_conjugate = slope * rays * rays
        if not self._symmetric:
            q, (first, second) = self._decentring, self._prism
            prism, conjugate = first + 2 * second * square, rays.conj()
            image += self._aside(rays, square)
            by_ray += 4 * (q * conjugate).real + prism * conjugate
            by_conjugate += (2 * q + prism) * rays
        return image, by_ray, by_conjugate

    def _radius_of_image(self) -> float:
        """Beyond which no ray before the fold has its image."""
        if self._farthest > _WIDEST:
            return np.inf
        directions = np.exp(2j * np.pi * np.arange(_DIRECTIONS + 1) / _DIRECTIONS)
        images = self._image(self._folds * directions)
        return 1.05 * float(np.abs(images).max())

    def _folds_by_direction(self) -> Float:
        """Radius of the fold, or a little more, in each of ``_DIRECTIONS`` and again in the first.

        Lenses that are not symmetric fold elsewhere than their radial part alone.
        """
        if self._symmetric:
            return np.full(_DIRECTIONS + 1, self._fold)
        widest = min(1.5 * self._fold, self._pole)
        radii = np.tan(np.linspace(0, np.arctan(min(widest, _WIDEST)), 256))
        directions = np.exp(2j * np.pi * np.arange(_DIRECTIONS + 1) / _DIRECTIONS)
        folded = _determinant(*self._linear(directions[:, None] * radii)[1:]) <= 0
        return np.asarray(np.where(folded.any(1), radii[folded.argmax(1)], widest))

    def _image(self, rays: Complex) -> Complex:
        image = self._untilted(rays)
        return image if self._tilt is None else _homography(self._tilt, image)

    def _seen(self, rays: Complex) -> Bool:
        direction = np.angle(rays) % (2 * np.pi) * (_DIRECTIONS / (2 * np.pi))
        low = np.nan_to_num(direction).astype(int)
        fold = np.maximum(self._folds[low], self._folds[np.minimum(low + 1, _DIRECTIONS)])
        return np.asarray((np.abs(rays) < fold) & (_determinant(*self._linear(rays)[1:]) > 0))

    def _opencv(self, points: Complex) -> Complex:
        return _as_complex(
            _undistort(
                _as_points(points), _EYE, self._coefficients, R=None, P=None, criteria=_CRITERIA
            )
        )

    def _newton(self, points: Complex) -> Complex:
        if self._tilt is not None:
            points = _homography(np.linalg.inv(self._tilt).astype(float), points)
        radius = np.abs(points)
        rays = points * (np.interp(radius, self._radii, self._rays) / np.maximum(radius, 1e-300))
        for _ in range(_ITERATIONS):
            image, by_ray, by_conjugate = self._linear(rays)
            error = points - image
            step = by_ray.conj() * error - by_conjugate * error.conj()
            step /= _determinant(by_ray, by_conjugate)
            before, rays = rays, rays + step
            length = np.abs(rays)
            over = length >= self._farthest  # towards the fold a step may lead beyond it
            if over.any():
                inside = (np.abs(before) + self._farthest) / 2
                rays = np.where(over, rays * (inside / length), rays)
            if not (np.abs(step) > _CLOSE * (1 + length)).any():
                break
        return np.asarray(rays)


def _determinant(by_ray: Complex, by_conjugate: Complex) -> Float:
    """Of the Jacobian, from the derivatives by the complex ray and by its conjugate."""
    return np.asarray(np.abs(by_ray) ** 2 - np.abs(by_conjugate) ** 2)


def _as_points(values: Complex) -> Float:
    """(N, 1, 2) of (N,), as OpenCV takes them."""
    return values.view(float).reshape(-1, 1, 2)


def _as_complex(points: npt.ArrayLike) -> Complex:
    """(N,) of OpenCV's (N, 1, 2)."""
    return np.ascontiguousarray(points, np.float64).view(complex).reshape(-1)


def _smallest_positive_root(polynomial: Polynomial) -> float:
    """Infinity when there is none."""
    roots = polynomial.trim().roots().astype(complex)
    real = roots.real[(np.abs(roots.imag) <= 1e-9 * np.abs(roots)) & (roots.real > 0)]
    return float(real.min(initial=np.inf))


def _tilt(x_rad: float, y_rad: float) -> Float:
    """(3, 3) homography of a sensor that is tilted about x and y (OpenCV's tau)."""
    (sx, sy), (cx, cy) = np.sin((x_rad, y_rad)), np.cos((x_rad, y_rad))
    turn = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]]) @ [
        [1, 0, 0],
        [0, cx, sx],
        [0, -sx, cx],
    ]
    along = np.array([[turn[2, 2], 0, -turn[0, 2]], [0, turn[2, 2], -turn[1, 2]], [0, 0, 1]])
    return np.asarray(along @ turn)


def _homography(matrix: Float, points: Complex) -> Complex:
    x, y, w = matrix @ np.stack([points.real, points.imag, np.ones(len(points))])
    return np.asarray((x + 1j * y) / np.where(w > 0, w, np.nan))
