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

"""Images of a board, from videos, folders and single files, and the corners detected in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob, has_magic
from itertools import product
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from pose3d_ros.calibration.boards import Board, BoardFinder, Corners
from pose3d_ros.calibration.progress import counted
from pose3d_ros.errors import CalibrationError
from pose3d_ros.io import videos
from pose3d_ros.io.image_encodings import read_image
from pose3d_ros.io.image_sources import natural_key

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
MAX_FRAMES = 200  # searched in a video, evenly spread
IMAGES_FOR_ADVICE = (
    5  # pictures in which other boards are looked for when the given one is in none
)


@dataclass(frozen=True)
class BoardImages:
    """Images of one camera: ``files`` in order, or one ``video``; ``times_s`` (N,) of each from
    the first, for files their place in the order.
    """

    name: str
    files: tuple[Path, ...]
    video: bool
    times_s: npt.NDArray[np.float64] = field(compare=False)

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.times_s)

    @classmethod
    def of(cls, text: str) -> BoardImages:
        """From NAME=PATH or PATH, a video, an image, a folder of images, or a pattern like
        'photos/cam0_*.jpg'.
        """
        name, equals, place = text.rpartition("=")
        path = Path(place)
        if path.is_dir() or has_magic(place):
            files = tuple(
                f
                for f in sorted(
                    path.iterdir() if path.is_dir() else map(Path, glob(place)),
                    key=lambda file: natural_key(file.name),
                )
                if f.suffix.lower() in IMAGES
            )
            if not files:
                raise CalibrationError(
                    f"{place}: expected images ({', '.join(IMAGES)}), found none"
                )
            return cls(name or path.name, files, False, np.arange(len(files), dtype=np.float64))
        if not path.exists():
            raise CalibrationError(f"{place}: no such file or folder")
        if path.suffix.lower() in IMAGES:
            return cls(name or path.stem, (path,), False, np.arange(1, dtype=np.float64))
        times_ns = videos.frame_times_ns(path)
        if not len(times_ns):
            raise CalibrationError(
                f"{place}: expected a video or an image, got a video of no frame"
            )
        return cls(name or path.stem, (path,), True, times_ns.astype(np.float64) * 1e-9)

    def read(self, indices: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield index and image (H, W, 3) uint8 BGR of some of them, ascending.

        Raises ``CalibrationError`` for a file that is no image.
        """
        if not self.video:
            for i in indices:
                yield i, read_image(self.files[i])
            return
        wanted = sorted(set(indices))
        times_ns = np.round(self.times_s[wanted] * 1e9).astype(np.int64)
        for place, image in videos.frames_at(self.files[0], times_ns):
            yield wanted[place], image

    def describe(self, i: int) -> str:
        """Name of an image, for messages."""
        return (
            f"{self.files[0].name} at {self.times_s[i]:.1f} s"
            if self.video
            else self.files[i].name
        )


@dataclass(frozen=True)
class BoardDetections:
    """Images (by index) of one camera that show the board, with their ``corners`` and common
    ``size`` (width, height), among those ``searched``.

    ``sharpness``: variance of the Laplacian within the board, relative to the board's contrast.
    """

    pictures: BoardImages
    size: tuple[int, int]
    searched: int
    indices: tuple[int, ...]
    corners: tuple[Corners, ...]
    sharpness: np.ndarray


def detect_boards(
    pictures: BoardImages, board: Board, indices: Sequence[int] | None = None
) -> BoardDetections:
    """Detect the board in the images ``indices``, or in up to ``MAX_FRAMES``.

    Raises ``CalibrationError`` when image sizes differ or no image shows the board, then with the
    other board that there is.
    """
    if indices is None:
        indices = np.unique(
            np.linspace(0, pictures.count - 1, min(pictures.count, MAX_FRAMES)).astype(int)
        ).tolist()
    finder, size = BoardFinder(board), None
    found: list[tuple[int, Corners, float]] = []
    for i, image in counted(pictures.read(indices), pictures.name, len(indices)):
        if size not in (None, image.shape[1::-1]):
            raise CalibrationError(
                f"camera {pictures.name}: {pictures.describe(i)} is "
                f"{image.shape[1]}x{image.shape[0]}, the pictures before {size[0]}x{size[1]}: "
                "expected one size; are they of one camera?"
            )
        size = image.shape[1::-1]
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        corners = finder.find(grey)
        if corners is not None:
            found.append((i, corners, _sharpness(grey, corners)))
    if size is None:
        raise CalibrationError(
            f"camera {pictures.name}: {pictures.files[0]} has no picture that can be read"
        )
    if not found:
        raise CalibrationError(
            f"camera {pictures.name}: no {board} in {len(indices)} pictures"
            f"{_other_board(pictures, board)}"
        )
    numbers, corners_, sharpness = zip(*found, strict=True)
    return BoardDetections(pictures, size, len(indices), numbers, corners_, np.array(sharpness))


def _sharpness(grey: np.ndarray, corners: Corners) -> float:
    low, high = (
        np.maximum(corners.pixels.min(0), 0).astype(int),
        corners.pixels.max(0).astype(int) + 1,
    )
    part = grey[low[1] : high[1], low[0] : high[0]].astype(np.float32)
    return float(cv2.Laplacian(part, cv2.CV_32F).var() / max(part.var(), 1.0))


def _other_board(pictures: BoardImages, board: Board) -> str:
    """Advice for a message: the board that the images show instead, or its lighting."""
    indices = np.unique(np.linspace(0, pictures.count - 1, IMAGES_FOR_ADVICE).astype(int)).tolist()
    greys = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for _, image in pictures.read(indices)]
    if board.charuco:
        names = [
            name for name in dir(cv2.aruco) if name.startswith("DICT_") and "ARUCO_" not in name
        ]
        seen = {}
        for name in names:
            detector = cv2.aruco.ArucoDetector(
                cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, name))
            )
            seen[name] = sum(
                len(detector.detectMarkers(g)[0]) for grey in greys for g in (grey, 255 - grey)
            )
        best = max(seen, key=lambda name: (seen[name], -len(name)))
        if seen[board.dictionary] >= 0.9 * seen[best] > 0:
            return (
                f", though {seen[best]} markers of {board.dictionary} in {len(greys)} of them: "
                "check columns x rows (squares) and the marker's size against the square's"
            )
        return (
            f"; but {seen[best]} markers of {best} in {len(greys)} of them: is that the "
            f"dictionary?"
            if seen[best]
            else ": is it in view, sharp, lit without glare, with a light border?"
        )
    sizes = {(board.columns + a, board.rows + b) for a, b in product((-1, 0, 1), repeat=2)}
    for size in sorted(
        sizes - {(board.columns, board.rows)}, key=lambda size: (-size[0] * size[1], size)
    ):
        count = sum(
            cv2.findChessboardCornersSB(grey, size, flags=cv2.CALIB_CB_NORMALIZE_IMAGE)[0]
            for grey in greys
        )
        if count > len(greys) / 4:
            return (
                f"; but one of {size[0]}x{size[1]} in {count} of {len(greys)}: inner corners "
                f"count, not squares"
            )
    return (
        ": is it in view, sharp, lit without glare, with a light border? Inner corners count, "
        "not squares"
    )
