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

"""A board as a PDF that prints in its true size: of rectangles, so that edges are sharp on any
printer (PDF 1.4, ISO 32000-1).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.calibration.boards import Board
from pose3d_ros.errors import CalibrationError

POINTS_PER_MM = 72 / 25.4
SHEETS_MM = {
    "A4": (210, 297),
    "A3": (297, 420),
    "A2": (420, 594),
    "A1": (594, 841),
    "A0": (841, 1189),
}
BORDER_MM, CAPTION_MM = 8.0, 16.0  # of white around the board, and below it for what it is
RULER_MM = 100
LARGEST_MM = 5000.0  # what PDF viewers take

Rectangle = tuple[float, float, float, float]  # x, y of the upper left corner, width, height, mm


def write_pdf(path: Path, board: Board) -> str:
    """Write one page with the board, its sizes and a ruler; returns the sheet's name.

    The sheet is the smallest of A4 to A0 that the board fits on, lying or upright, or one of its
    own size. Raises ``CalibrationError`` for a board that no sheet takes.
    """
    columns, rows = _squares(board)
    square_mm = 1e3 * board.square_m
    width, height = columns * square_mm, rows * square_mm
    sheet, page = _sheet(width + 2 * BORDER_MM, height + 2 * BORDER_MM + CAPTION_MM)
    left, top = (page[0] - width) / 2, (page[1] - CAPTION_MM - height) / 2

    def drawn(x: float, y: float, wide: float, high: float) -> str:
        numbers = np.array([left + x, page[1] - top - y - high, wide, high]) * POINTS_PER_MM
        return " ".join(f"{number:.4f}" for number in numbers) + " re f"

    lines = ["0 g", *(drawn(*dark) for dark in _dark(board))]
    lines += ["1 g", *(drawn(*light) for light in _light_modules(board)), "0 g"]
    lines.append(drawn(0, height + BORDER_MM, RULER_MM, 0.3))
    lines += [drawn(x, height + BORDER_MM - 2, 0.3, 2) for x in (0, RULER_MM - 0.3)]
    text = f"{board}; squares {square_mm:g} mm"
    text += f", markers {1e3 * board.marker_m:g} mm" if board.charuco else ""
    text += f". Print in actual size (100 %): this line is {RULER_MM} mm long."
    x, y = (left * POINTS_PER_MM, (page[1] - top - height - BORDER_MM - 5) * POINTS_PER_MM)
    lines.append(f"BT /F1 8 Tf {x:.2f} {y:.2f} Td ({text}) Tj ET".replace("(100 %)", r"\(100 %\)"))
    path.write_bytes(_document("\n".join(lines), page))
    return sheet


def _squares(board: Board) -> tuple[int, int]:
    return (board.columns, board.rows) if board.charuco else (board.columns + 1, board.rows + 1)


def _sheet(width: float, height: float) -> tuple[str, tuple[float, float]]:
    for name, (short, long) in SHEETS_MM.items():
        for page in ((long, short), (short, long)):
            if width <= page[0] and height <= page[1]:
                return name, page
    if (longest := max(width, height)) > LARGEST_MM:
        raise CalibrationError(
            f"expected a sheet of at most {LARGEST_MM / 1e3:g} m, got {longest / 1e3:.1f} m"
        )
    return f"a sheet of {width:.0f} x {height:.0f} mm", (width, height)


def _markers(board: Board) -> Iterator[tuple[float, float, np.ndarray]]:
    """Upper left corner in mm and modules (N, N), 0 dark, of each marker."""
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary))
    pattern = cv2.aruco.CharucoBoard(
        (board.columns, board.rows), board.square_m, board.marker_m, dictionary
    )
    modules = dictionary.markerSize + 2
    numbers = np.ravel(pattern.getIds())
    for number, corners in zip(numbers, pattern.getObjPoints(), strict=True):
        x, y = 1e3 * np.asarray(corners)[:, :2].min(0)
        yield float(x), float(y), dictionary.generateImageMarker(int(number), modules)


def _dark(board: Board) -> Iterator[Rectangle]:
    """Dark squares, and markers as dark squares."""
    columns, rows = _squares(board)
    square, marker = 1e3 * board.square_m, 1e3 * board.marker_m
    light = np.indices((rows, columns)).sum(0) % 2 == 1
    if board.charuco:
        light[:] = False
        for x, y, _ in _markers(board):
            light[int((y + marker / 2) // square), int((x + marker / 2) // square)] = True
            yield x, y, marker, marker
    for row, column in np.argwhere(~light):
        yield column * square, row * square, square, square


def _light_modules(board: Board) -> Iterator[Rectangle]:
    """Runs of light modules in the markers."""
    for x, y, image in _markers(board) if board.charuco else ():
        side = 1e3 * board.marker_m / len(image)
        for row, modules in enumerate(image > 127):
            edges = np.flatnonzero(np.diff(np.concatenate([[0], modules, [0]])))
            for first, end in edges.reshape(-1, 2):
                yield x + first * side, y + row * side, (end - first) * side, side


def _document(content: str, page_mm: tuple[float, float]) -> bytes:
    """A PDF of one page with a content stream in Latin characters."""
    width, height = (side * POINTS_PER_MM for side in page_mm)
    objects = [
        "<< /Type /Catalog /Pages 2 0 R /ViewerPreferences << /PrintScaling /None >> >>",
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.4f} {height:.4f}] /Contents 4 0 R "
        "/Resources << /Font << /F1 5 0 R >> >> >>",
        f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    text, places = "%PDF-1.4\n", []
    for number, what in enumerate(objects, 1):
        places.append(len(text))
        text += f"{number} 0 obj\n{what}\nendobj\n"
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    text += (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n"
        f"<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(text)}\n%%EOF\n"
    )
    return text.encode("latin-1")
