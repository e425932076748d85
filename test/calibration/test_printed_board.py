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

"""Printed boards are found again, corner by corner, in their true size."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from pose3d_ros.calibration.boards import Board, BoardFinder
from pose3d_ros.cli.main import main

PX_PER_MM = 4


def printed(path: Path) -> np.ndarray:
    """The sheet as a laser would print it: rectangles of the PDF at ``PX_PER_MM``, grey (H, W)."""
    text = path.read_text("latin-1")
    ((width, height),) = re.findall(r"MediaBox \[0 0 (\S+) (\S+)\]", text)
    scale = PX_PER_MM * 25.4 / 72
    sheet = np.full((round(float(height) * scale), round(float(width) * scale)), 255, np.uint8)
    shade = 0
    for line in text.split("stream\n")[1].splitlines():
        if line.endswith(" g"):
            shade = 255 * int(line[0])
        elif line.endswith(" re f"):
            x, y, w, h = (float(n) * scale for n in line.split()[:4])
            top = sheet.shape[0] - y - h
            sheet[round(top) : round(top + h), round(x) : round(x + w)] = shade
    return sheet


@pytest.mark.parametrize(
    ("words", "board"),
    [
        ([], Board(7, 5, 0.035, 0.02625, "DICT_4X4_50")),
        (["--chessboard", "9x6", "--square", "0.025"], Board(9, 6, 0.025)),
        (
            [
                "--charuco",
                "6x9",
                "--square",
                "0.06",
                "--marker",
                "0.048",
                "--dictionary",
                "DICT_5X5_100",
            ],
            Board(6, 9, 0.06, 0.048, "DICT_5X5_100"),
        ),
    ],
)
def test_printed_board_is_found_in_true_size(
    words: list[str], board: Board, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "board.pdf"
    assert main(["calibrate", "board", str(output), *words]) == 0
    said = capsys.readouterr().out
    assert f"{board.columns}x{board.rows} --square {board.square_m:g}" in said
    corners = BoardFinder(board).find(printed(output))
    assert corners is not None and len(corners.ids) == len(board.points_m)
    at_mm = corners.pixels / PX_PER_MM
    true_mm = 1e3 * board.points_m[corners.ids, :2] * [1, -1]
    away = (at_mm - at_mm.mean(0)) - (true_mm - true_mm.mean(0))
    assert np.abs(away).max() < 0.3  # millimetres


def test_sheet_is_the_smallest_that_the_board_fits_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "board.pdf")
    assert main(["calibrate", "board", output]) == 0
    assert "print it on A4" in capsys.readouterr().out
    assert main(["calibrate", "board", output, "--chessboard", "9x6", "--square", "0.05"]) == 0
    assert "print it on A2" in capsys.readouterr().out
    assert main(["calibrate", "board", output, "--chessboard", "9x6", "--square", "0.2"]) == 0
    assert "a sheet of 2016 x 1432 mm" in capsys.readouterr().out


def test_document_is_one_that_viewers_open(tmp_path: Path) -> None:
    output = tmp_path / "board.pdf"
    assert main(["calibrate", "board", str(output)]) == 0
    raw = output.read_bytes()
    table = int(raw.split(b"startxref\n")[1].split()[0])
    assert raw[table:].startswith(b"xref\n0 6\n")
    for number, line in enumerate(raw[table:].splitlines()[3:8], 1):
        assert raw[int(line.split()[0]) :].startswith(b"%d 0 obj" % number)
    (length,) = re.findall(rb"/Length (\d+)", raw)
    assert len(raw.split(b"stream\n", 1)[1].split(b"\nendstream")[0]) == int(length)
