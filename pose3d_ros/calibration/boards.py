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

"""Chessboards and ChArUco boards, and the detection of their corners in an image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import cv2
import numpy as np

from pose3d_ros.errors import CalibrationError

MIN_CORNERS = 6  # of a partly visible ChArUco board
SEARCH_PX = 960  # larger images are searched at this size
# corners off their board's plane by more than this share of its size belong to another layout
MAX_OFF_PLANE = 0.02


@dataclass(frozen=True)
class Board:
    """A printed pattern; lengths in metres.

    A chessboard has ``columns`` x ``rows`` *inner corners*; a ChArUco board (``marker_m`` > 0) has
    ``columns`` x ``rows`` *squares* and markers of OpenCV's ``dictionary``, for example
    DICT_4X4_50.
    """

    columns: int
    rows: int
    square_m: float
    marker_m: float = 0.0
    dictionary: str = ""

    def __post_init__(self) -> None:
        if min(self.columns, self.rows) < 3 or not 0 < self.square_m < 10:
            raise CalibrationError(
                "board: expected at least 3x3 and squares of under 10 m, got "
                f"{self.columns}x{self.rows} and {self.square_m:g} m"
            )
        if self.charuco and not self.marker_m < self.square_m:
            raise CalibrationError(
                f"board: expected markers smaller than the squares, got {self.marker_m:g} m in "
                f"{self.square_m:g} m"
            )
        if self.charuco and not (
            self.dictionary.startswith("DICT_") and hasattr(cv2.aruco, self.dictionary)
        ):
            names = [name for name in dir(cv2.aruco) if name.startswith("DICT_")]
            raise CalibrationError(
                f"board: expected a dictionary among {', '.join(names)}, got '{self.dictionary}'"
            )

    @property
    def charuco(self) -> bool:
        """Whether squares carry markers, so that a part of the board is enough (ChArUco)."""
        return self.marker_m > 0

    @cached_property
    def points_m(self) -> np.ndarray:
        """(K, 3) all corners in metres, by rows; x along the rows, z out of the printed side."""
        columns, rows = (
            (self.columns - 1, self.rows - 1) if self.charuco else (self.columns, self.rows)
        )
        y, x = np.mgrid[:rows, :columns]
        return np.stack([x, -y, np.zeros_like(x)], -1).reshape(-1, 3) * self.square_m

    @property
    def ambiguous(self) -> bool:
        """Whether it looks the same turned upside down, so that two cameras may name its corners
        differently.
        """
        return not self.charuco and (self.columns + self.rows) % 2 == 0

    def __str__(self) -> str:
        kind = f"ChArUco board of {self.columns}x{self.rows} squares, {self.dictionary}"
        return kind if self.charuco else f"chessboard of {self.columns}x{self.rows} inner corners"


@dataclass(frozen=True)
class Corners:
    """Corners detected in one image: ``ids`` (K,) into ``Board.points_m``, ``pixels`` (K, 2)."""

    ids: np.ndarray
    pixels: np.ndarray


class BoardFinder:
    """Detector of one board. The layout of a ChArUco board (OpenCV's before and since 4.6, black
    and white exchanged) is learnt from the first image that shows it.
    """

    def __init__(self, board: Board) -> None:
        self.board = board
        self._layouts: list[tuple[cv2.aruco.CharucoDetector, bool]] = []
        if board.charuco:
            if not hasattr(cv2.aruco, "CharucoDetector"):
                raise RuntimeError(
                    f"ChArUco boards need OpenCV 4.7 or newer, this is {cv2.__version__}: "
                    f"pip install opencv-python-headless, or use a chessboard"
                )
            dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
            for legacy, inverted in product((False, True), (False, True)):
                pattern = cv2.aruco.CharucoBoard(
                    (board.columns, board.rows), board.square_m, board.marker_m, dictionary
                )
                pattern.setLegacyPattern(legacy)
                self._layouts.append((cv2.aruco.CharucoDetector(pattern), inverted))

    def find(self, image: np.ndarray) -> Corners | None:
        """Corners in an image (H, W) or (H, W, 3) uint8, or None."""
        grey = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        if not self.board.charuco:
            corners = _chessboard(grey, self.board)
            return corners if corners is not None and self._flat(corners) else None
        found = [
            (_charuco(detector, 255 - grey if inverted else grey), i)
            for i, (detector, inverted) in enumerate(self._layouts)
        ]
        good = [
            (corners, i) for corners, i in found if corners is not None and self._flat(corners)
        ]
        if not good:
            return None
        best, layout = max(good, key=lambda pair: len(pair[0].ids))
        self._layouts = [self._layouts[layout]]
        return best

    def _flat(self, corners: Corners) -> bool:
        """Whether one plane's homography explains the corners, lens distortion left aside."""
        plane = self.board.points_m[corners.ids, :2].astype(np.float32)
        if (
            len(plane) < MIN_CORNERS
            or np.linalg.matrix_rank(plane - plane[0], 1e-3 * self.board.square_m) < 2
        ):
            return False
        homography, _ = cv2.findHomography(plane, corners.pixels.astype(np.float32))
        if homography is None:
            return False
        back = cv2.perspectiveTransform(plane[:, None], homography)[:, 0]
        return bool(
            np.abs(back - corners.pixels).max()
            < MAX_OFF_PLANE * np.ptp(corners.pixels, axis=0).max() + 1
        )


def _charuco(detector: cv2.aruco.CharucoDetector, grey: np.ndarray) -> Corners | None:
    pixels, ids, _, _ = detector.detectBoard(grey)
    if ids is None or len(ids) < MIN_CORNERS:
        return None
    pixels = pixels.reshape(-1, 2)
    # OpenCV before 5 puts ChArUco corners half a pixel too far to the right and down. The window
    # stays off the markers.
    return Corners(ids.ravel(), _subpixel(grey, pixels, max(2, int(0.12 * _square_px(pixels)))))


def _subpixel(grey: np.ndarray, pixels: np.ndarray, half: int) -> np.ndarray:
    """Corners (K, 2) refined within ``half`` pixels to each side."""
    finer = cv2.cornerSubPix(
        grey,
        pixels.reshape(-1, 1, 2).astype(np.float32),
        (half, half),
        (-1, -1),
        (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 50, 1e-3),
    )
    return np.asarray(finer[:, 0], float)


def _chessboard(grey: np.ndarray, board: Board) -> Corners | None:
    """Corners of a chessboard, searched in a reduced image and refined in the full one."""
    size = (board.columns, board.rows)
    shrink = max(1.0, max(grey.shape) / SEARCH_PX)
    small = (
        cv2.resize(grey, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
        if shrink > 1
        else grey
    )
    found, pixels = cv2.findChessboardCornersSB(
        small,
        size,
        flags=cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY,
    )
    if not found:  # this one needs no white border
        found, pixels = cv2.findChessboardCorners(
            small,
            size,
            flags=cv2.CALIB_CB_ADAPTIVE_THRESH
            | cv2.CALIB_CB_NORMALIZE_IMAGE
            | cv2.CALIB_CB_FAST_CHECK,
        )
        if not found:
            return None
    pixels = (pixels.reshape(-1, 2) + 0.5) * shrink - 0.5
    finer = _subpixel(grey, pixels, max(2, int(0.2 * _square_px(pixels))))
    return Corners(np.arange(len(finer)), _ordered(grey, finer, board))


def _square_px(pixels: np.ndarray) -> float:
    """Usual distance from a corner (K, 2) to the next."""
    apart = np.linalg.norm(pixels[:, None] - pixels, axis=-1)
    return float(np.median(np.partition(apart, 1, axis=1)[:, 1]))


def _ordered(grey: np.ndarray, pixels: np.ndarray, board: Board) -> np.ndarray:
    """Corners row by row, clockwise as seen from the front, beginning where the first cell is
    dark.

    Detectors begin at any end. Where both ends look alike (``Board.ambiguous``) the upper one is
    taken.
    """
    grid = pixels.reshape(board.rows, board.columns, 2)
    along, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if along[0] * down[1] - along[1] * down[0] < 0:
        grid = grid[::-1]
    cells = (grid[1:, 1:] + grid[1:, :-1] + grid[:-1, 1:] + grid[:-1, :-1]) / 4
    x, y = np.round(cells).astype(int).transpose(2, 0, 1)
    shade = cv2.blur(grey, (3, 3))[
        np.clip(y, 0, grey.shape[0] - 1), np.clip(x, 0, grey.shape[1] - 1)
    ].astype(float)
    even = np.indices(shade.shape).sum(0) % 2 == 0
    upside_down = (
        grid[0].mean(0)[1] > grid[-1].mean(0)[1]
        if board.ambiguous
        else (shade[even].mean() > shade[~even].mean())
    )
    return np.asarray(grid[::-1, ::-1] if upside_down else grid).reshape(-1, 2)
