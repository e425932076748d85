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

"""A picture of when each stage ran in consecutive frames: a row for each thread, in colours."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.stopwatch import STAGES, Span, Stopwatch

WIDTH, MARGIN, ROW, TEXT = 1600, 110, 34, 0.45
FRAMES = 5
COLOURS = dict(
    zip(
        STAGES,
        (
            (200, 200, 200),
            (225, 225, 225),
            (180, 160, 60),
            (60, 60, 220),
            (60, 140, 250),
            (90, 200, 250),
            (170, 120, 170),
            (90, 180, 90),
            (190, 190, 90),
            (210, 130, 80),
        ),
        strict=True,
    )
)  # BGR
INK, GRID = (40, 40, 40), (238, 238, 238)


def timeline(scenes: Sequence[tuple[str, Sequence[Stopwatch]]]) -> np.ndarray:
    """(H, W, 3) uint8 BGR: for each scene some consecutive frames, among them one that looks for
    people if one does.
    """
    shown = [(name, _window(frames)) for name, frames in scenes]
    stages = {span.stage for _, frames in shown for frame in frames for span in frame.spans}
    return np.vstack([*(_panel(*scene) for scene in shown), _legend(stages)])


def write_timeline(path: Path, scenes: Sequence[tuple[str, Sequence[Stopwatch]]]) -> None:
    """Write ``timeline`` of the scenes as a picture. Raises ``OSError`` where that cannot be."""
    if not cv2.imwrite(str(path), timeline(scenes)):
        raise OSError(
            f"{path}: cannot be written as a picture; expected a name that ends in .png, in a "
            f"folder that there is"
        )


def _window(frames: Sequence[Stopwatch]) -> Sequence[Stopwatch]:
    looking = next(
        (number for number, frame in enumerate(frames) if "detect" in frame.seconds and number), 1
    )
    start = max(0, min(looking - 1, len(frames) - FRAMES))
    return frames[start : start + FRAMES]


def _panel(name: str, frames: Sequence[Stopwatch]) -> np.ndarray:
    spans = [span for frame in frames for span in frame.spans]
    begin, end = min(span.start_s for span in spans), max(span.end_s for span in spans)
    threads = list(
        dict.fromkeys(span.thread for span in sorted(spans, key=lambda span: span.start_s))
    )
    picture = np.full((ROW * (len(threads) + 3), WIDTH, 3), 255, np.uint8)
    scale = (WIDTH - MARGIN - 50) / (end - begin)

    def x(seconds: float) -> int:
        return MARGIN + round((seconds - begin) * scale)

    step_ms = next((step for step in (1, 2, 5, 10, 20, 50, 100) if step * 1e-3 * scale > 60), 200)
    for tick in range(0, int((end - begin) * 1e3) + 1, step_ms):
        at = x(begin + tick * 1e-3)
        cv2.line(picture, (at, ROW), (at, picture.shape[0] - ROW), GRID, 1)
        _write(picture, f"{tick} ms", (at - 12, picture.shape[0] - ROW + 16))
    _write(picture, name, (8, 22), 0.6)
    for row, thread in enumerate(threads):
        _write(picture, thread[:13], (8, ROW * (row + 2) + 22))
        for span in spans:
            if span.thread == thread:
                _bar(picture, span, x(span.start_s), x(span.end_s), ROW * (row + 2))
    for frame in frames:
        left, right = (
            x(min(span.start_s for span in frame.spans)),
            x(max(span.end_s for span in frame.spans)),
        )
        cv2.rectangle(
            picture,
            (left, ROW + 6),
            (max(left + 1, right - 2), 2 * ROW - 4),
            (245, 240, 235),
            cv2.FILLED,
        )
        cv2.rectangle(picture, (left, ROW + 6), (max(left + 1, right - 2), 2 * ROW - 4), INK, 1)
        _write(picture, f"{frame.total_s * 1e3:.1f} ms", (left + 4, 2 * ROW - 12))
    return picture


def _bar(picture: np.ndarray, span: Span, left: int, right: int, top: int) -> None:
    corners = (left, top + 3), (max(left + 1, right - 1), top + ROW - 4)
    cv2.rectangle(picture, *corners, COLOURS.get(span.stage, GRID), cv2.FILLED)
    text = f"{span.stage} {(span.end_s - span.start_s) * 1e3:.1f}"
    for label in (text, span.stage):
        if cv2.getTextSize(label, cv2.FONT_HERSHEY_SIMPLEX, TEXT, 1)[0][0] < right - left - 6:
            _write(picture, label, (left + 4, top + 21))
            return


def _legend(stages: Collection[str]) -> np.ndarray:
    picture, at = np.full((ROW, WIDTH, 3), 255, np.uint8), MARGIN
    for stage, colour in ((stage, colour) for stage, colour in COLOURS.items() if stage in stages):
        cv2.rectangle(picture, (at, 6), (at + 22, 22), colour, cv2.FILLED)
        _write(picture, stage, (at + 28, 20))
        at += 140
    return picture


def _write(picture: np.ndarray, text: str, place: tuple[int, int], size: float = TEXT) -> None:
    cv2.putText(picture, text, place, cv2.FONT_HERSHEY_SIMPLEX, size, INK, 1, cv2.LINE_AA)
