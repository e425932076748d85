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

"""Focal length, principal point and lens distortion from images of a board, with uncertainty."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import yaml

from pose3d_ros.calibration.board_images import BoardDetections
from pose3d_ros.calibration.boards import Board
from pose3d_ros.camera import Camera
from pose3d_ros.errors import CalibrationError

MAX_VIEWS = 40  # more take long and improve little
MIN_VIEWS = 4
BLURRED = 0.3  # of the usual sharpness: such a view is left out
BAD_VIEW = 3.0  # times the usual error
# A coefficient of distortion must reduce the error by this share, else it is zero.
MIN_IMPROVEMENT = 0.05
FOCAL_SIGMA = 0.01  # of the focal length: known worse, it is not determined
CELLS = (8, 6)  # coverage is counted on such a grid
MIN_COVERAGE = 0.4
JACKKNIFE_GROUPS = 8


@dataclass(frozen=True)
class Intrinsics:
    """A calibrated camera; ``sigma_px`` (4,) of fx, fy, cx, cy is one standard deviation.
    ``coverage``: share of the picture's cells that a corner has been in. ``rejected``: pictures
    with blurred or badly fitting boards.
    """

    camera: Camera
    rms_px: float
    sigma_px: np.ndarray
    coverage: float
    views: int
    rejected: tuple[str, ...]

    @property
    def warnings(self) -> list[str]:
        """Weaknesses of the calibration, each with its remedy."""
        found = []
        focal = self.camera.matrix[[0, 1], [0, 1]]
        share = float((self.sigma_px[:2] / focal).max())
        if share > FOCAL_SIGMA:
            known = (
                f"is only known to {share:.1%}" if np.isfinite(share) else "hangs on single views"
            )
            found.append(
                f"the focal length {known}: the views are too alike or face the camera, or the "
                "board is not flat; tilt it by 30 to 45 degrees, to all sides, near and far, "
                "fixed to something stiff"
            )
        if self.coverage < MIN_COVERAGE:
            found.append(
                f"boards cover {self.coverage:.0%} of the picture: distortion elsewhere is a "
                "guess; show the board in the corners, too"
            )
        if self.rms_px > 1.0:
            found.append(
                f"corners are {self.rms_px:.1f} px off: is the board flat, are the pictures "
                "sharp, and is this the right lens model (--fisheye)?"
            )
        return found


def calibrate(views: BoardDetections, board: Board, fisheye: bool = False) -> Intrinsics:
    """Calibrate one camera (Zhang 2000, by OpenCV) with varied, sharp views; coefficients of
    distortion that are of no use are zero. Raises ``CalibrationError`` when there are too few
    views.
    """
    name = views.pictures.name
    sharp = np.flatnonzero(views.sharpness >= BLURRED * np.median(views.sharpness))
    rows = sharp[_varied(_features(views, board)[sharp], MAX_VIEWS)]
    blurred = set(range(len(views.indices))) - set(sharp.tolist())
    rejected = [views.pictures.describe(views.indices[i]) for i in sorted(blurred)]
    while True:
        if len(rows) < MIN_VIEWS:
            raise CalibrationError(
                f"camera {name}: {len(rows)} usable views of the {board} in {views.searched} "
                f"pictures, expected at least {MIN_VIEWS}, better 15, from different sides"
            )
        objects = [board.points_m[views.corners[i].ids].astype(np.float32) for i in rows]
        pixels = [views.corners[i].pixels.astype(np.float32) for i in rows]
        solved = (
            _fisheye(objects, pixels, views.size)
            if fisheye
            else _pinhole(objects, pixels, views.size)
        )
        rms, matrix, distortion, sigma, per_view = solved
        worst = int(per_view.argmax())
        if len(rows) > MIN_VIEWS and per_view[worst] > BAD_VIEW * np.median(per_view):
            rejected.append(views.pictures.describe(views.indices[rows[worst]]))
            rows = np.delete(rows, worst)
            continue
        try:
            camera = Camera(
                matrix,
                views.size,
                distortion,
                "equidistant" if fisheye else "plumb_bob",
                frame_id=f"{name}_optical_frame",
            )
        except ValueError as error:
            raise CalibrationError(
                f"camera {name}: the {len(rows)} views do not determine it ({error}): tilt the "
                "board to all sides"
            ) from None
        solve = _fisheye if fisheye else _pinhole
        sigma = np.maximum(sigma, _jackknife(solve, objects, pixels, views.size, matrix))
        if not fisheye:
            sigma = np.hypot(sigma, _shift_by_shape(objects, pixels, views.size, board))
        return Intrinsics(
            camera, rms, sigma, _coverage(pixels, views.size), len(rows), tuple(rejected)
        )


Solved = tuple[float, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _jackknife(
    solve: Callable[[list[np.ndarray], list[np.ndarray], tuple[int, int]], Solved],
    objects: list[np.ndarray],
    pixels: list[np.ndarray],
    size: tuple[int, int],
    matrix: np.ndarray,
) -> np.ndarray:
    """Standard deviation (4,) of fx, fy, cx, cy by leaving out one part of the views after another
    (delete-a-group jackknife, Kott 2001).

    A lens that is not quite the model's shifts all corners of a view together, which a sigma from
    independent corners does not count.
    """
    groups = min(len(objects), JACKKNIFE_GROUPS)
    values = []
    for group in range(groups):
        kept = [i for i in range(len(objects)) if i % groups != group]
        try:
            found = solve([objects[i] for i in kept], [pixels[i] for i in kept], size)[1]
        except (cv2.error, ValueError):  # the other views alone do not determine the camera
            return np.full(4, np.inf)
        values.append(found[[0, 1, 0, 1], [0, 1, 2, 2]])
    away = np.array(values) - matrix[[0, 1, 0, 1], [0, 1, 2, 2]]
    return np.asarray(np.sqrt((groups - 1) / groups * (away**2).sum(0)))


def _shift_by_shape(
    objects: list[np.ndarray], pixels: list[np.ndarray], size: tuple[int, int], board: Board
) -> np.ndarray:
    """Change (4,) of fx, fy, cx, cy when the board need not be flat and square (Strobl and
    Hirzinger 2011, by OpenCV); zero where views show only parts of the board.

    A board that is not shifts all views alike, so that neither corners nor views left out tell.
    """
    if any(len(points) != len(board.points_m) for points in objects):
        return np.zeros(4)
    flags = cv2.CALIB_FIX_K3 | cv2.CALIB_ZERO_TANGENT_DIST
    found = [
        cv2.calibrateCameraRO(objects, pixels, size, fixed, np.eye(3), np.zeros(5), flags=flags)[1]
        for fixed in (0, board.columns - 1)
    ]
    return np.asarray(np.abs(found[1] - found[0])[[0, 1, 0, 1], [0, 1, 2, 2]])


def _pinhole(objects: list[np.ndarray], pixels: list[np.ndarray], size: tuple[int, int]) -> Solved:
    """Plumb-bob model; k3 and tangential distortion only where they reduce the error, because they
    extrapolate badly beyond the corners.
    """

    def solve(flags: int) -> Solved:
        rms, matrix, distortion, _, _, sigma, _, per_view = cv2.calibrateCameraExtended(
            objects, pixels, size, np.eye(3), np.zeros(5), flags=flags
        )
        return float(rms), matrix, distortion.ravel()[:5], sigma.ravel()[:4], per_view.ravel()

    flags, best = 0, solve(0)
    for less in (cv2.CALIB_FIX_K3, cv2.CALIB_ZERO_TANGENT_DIST):
        simpler = solve(flags | less)
        if simpler[0] < (1 + MIN_IMPROVEMENT) * best[0]:
            flags, best = flags | less, simpler
    return best


def _fisheye(objects: list[np.ndarray], pixels: list[np.ndarray], size: tuple[int, int]) -> Solved:
    """Kannala and Brandt's model; OpenCV tells no uncertainty here, so it is made from the normal
    equations.
    """
    matrix = np.array(
        [[0.4 * size[0], 0, size[0] / 2], [0, 0.4 * size[0], size[1] / 2], [0, 0, 1]]
    )
    names = ("CALIB_USE_INTRINSIC_GUESS", "CALIB_RECOMPUTE_EXTRINSIC", "CALIB_FIX_SKEW")
    flags = sum(
        getattr(cv2 if hasattr(cv2, names[1]) else cv2.fisheye, name) for name in names
    )  # moved in OpenCV 5
    try:
        rms, matrix, distortion, turns, shifts = cv2.fisheye.calibrate(
            [o[None].astype(float) for o in objects],
            [p[None].astype(float) for p in pixels],
            size,
            matrix,
            np.zeros(4),
            flags=flags,
        )
    except cv2.error as error:
        raise CalibrationError(
            f"the fisheye model does not fit these views; is it a fisheye lens? {error.err}"
        ) from None
    errors, normal, crossed = [], np.zeros((8, 8)), np.zeros((8, 8))
    for points, seen, turn, shift in zip(objects, pixels, turns, shifts, strict=True):
        back, jacobian = cv2.fisheye.projectPoints(
            points[None].astype(float), turn, shift, matrix, distortion
        )
        errors.append(np.sqrt(((back[0] - seen) ** 2).sum(1).mean()))
        own, pose = jacobian[:, :8], jacobian[:, 8:14]
        normal += own.T @ own
        crossed += own.T @ pose @ np.linalg.pinv(pose.T @ pose) @ pose.T @ own
    sigma = np.sqrt(np.diag(np.linalg.pinv(normal - crossed))) * rms / np.sqrt(2)
    return float(rms), matrix, distortion.ravel(), sigma[:4], np.array(errors)


def _features(views: BoardDetections, board: Board) -> np.ndarray:
    """Features (N, 5) by which views differ: position in the image, size, and foreshortening along
    both sides of the board.
    """
    rows = []
    for corners in views.corners:
        plane = board.points_m[corners.ids, :2].astype(np.float32)
        homography, _ = cv2.findHomography(plane, corners.pixels.astype(np.float32))
        middle = np.append(plane.mean(0), 1)
        depth = homography[2] @ middle
        place = (homography @ middle)[:2] / depth / views.size[0]
        area = np.sqrt(abs(np.linalg.det(homography)) / abs(depth) ** 3)
        rows.append([*place, np.log(area), *(homography[2, :2] / depth * board.square_m * 10)])
    return np.array(rows)


def _varied(features: np.ndarray, most: int) -> np.ndarray:
    """Rows of up to ``most`` views, each the furthest from those before."""
    chosen = [int(np.linalg.norm(features - features.mean(0), axis=1).argmax())]
    away = np.full(len(features), np.inf)
    while len(chosen) < min(most, len(features)):
        away = np.minimum(away, np.linalg.norm(features - features[chosen[-1]], axis=1))
        chosen.append(int(away.argmax()))
    return np.array(sorted(set(chosen)))


def _coverage(pixels: list[np.ndarray], size: tuple[int, int]) -> float:
    cells = np.clip((np.concatenate(pixels) / size * CELLS).astype(int), 0, np.array(CELLS) - 1)
    return float(len(np.unique(cells, axis=0)) / np.prod(CELLS))


def write(path: Path, name: str, camera: Camera) -> None:
    """Write camera_calibration YAML that ``camera_info_manager`` and ``Camera.from_yaml`` read."""

    def matrix(values: np.ndarray) -> dict[str, object]:
        return {"rows": values.shape[0], "cols": values.shape[1], "data": values.ravel().tolist()}

    count = 4 if camera.distortion_model == "equidistant" else 5
    projection = np.concatenate([camera.matrix, np.zeros((3, 1))], 1)
    path.write_text(
        yaml.safe_dump(
            {
                "image_width": camera.size[0],
                "image_height": camera.size[1],
                "camera_name": name,
                "camera_matrix": matrix(camera.matrix),
                "distortion_model": camera.distortion_model,
                "distortion_coefficients": matrix(
                    np.resize(np.append(camera.distortion, np.zeros(count)), (1, count))
                ),
                "rectification_matrix": matrix(np.eye(3)),
                "projection_matrix": matrix(projection),
            },
            sort_keys=False,
            default_flow_style=None,
            width=120,
        )
    )
