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

"""Decoding of videos: the package's reader (PyAV) beside OpenCV's, alternately, on the same files.

For each file the median over rounds of wall-clock and CPU milliseconds per image, their ratio, and
whether both gave the same number of images and the same pixels. OpenCV's times are what its
position in milliseconds says of each frame; the largest difference to the reader's is told.

    python benchmarks/video_reader.py VIDEO [VIDEO ...] [--rounds N]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from pose3d_ros.evaluation.table import table
from pose3d_ros.io import videos

Read = Callable[[Path], Iterator[tuple[np.ndarray, float]]]


def with_opencv(path: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Images and their times in seconds."""
    capture = cv2.VideoCapture(str(path))
    while True:
        good, image = capture.read()
        if not good:
            return
        yield image, capture.get(cv2.CAP_PROP_POS_MSEC) * 1e-3


def with_reader(path: Path) -> Iterator[tuple[np.ndarray, float]]:
    """Images and their times in seconds."""
    return ((image, time_ns * 1e-9) for image, time_ns in videos.frames(path))


def timed(read: Read, path: Path) -> tuple[float, float, int]:
    """Wall-clock and CPU milliseconds per image, and the number of images."""
    wall, cpu = time.perf_counter(), time.process_time()
    count = sum(1 for _ in read(path))
    return (
        (time.perf_counter() - wall) * 1e3 / count,
        (time.process_time() - cpu) * 1e3 / count,
        count,
    )


def compared(path: Path) -> tuple[int, float, float]:
    """Images of both, mean difference of their pixels, and of their times in milliseconds."""
    pixels, times_s = [0.0], [0.0]
    offset_s = None
    for (ours, ours_s), (theirs, theirs_s) in zip(
        with_reader(path), with_opencv(path), strict=False
    ):
        offset_s = theirs_s if offset_s is None else offset_s
        times_s.append(abs(ours_s - (theirs_s - offset_s)))
        if ours.shape == theirs.shape:
            pixels.append(float(np.abs(ours.astype(int) - theirs).mean()))
    return len(times_s) - 1, max(pixels), max(times_s) * 1e3


def main() -> None:
    """Print a column per file."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    columns = []
    for path in options.videos:
        rounds: dict[str, list[tuple[float, float, int]]] = {"reader": [], "opencv": []}
        for number in range(options.rounds + 1):  # the first fills the disk's cache
            for name, read in (("reader", with_reader), ("opencv", with_opencv)):
                if (took := timed(read, path)) and number:
                    rounds[name].append(took)
        (wall, cpu, count), (cv_wall, cv_cpu, cv_count) = (
            np.median(rounds[name], axis=0) for name in ("reader", "opencv")
        )
        _, pixels, apart_ms = compared(path)
        columns.append(
            {
                "video": path.name,
                "images": int(count),
                "images OpenCV": int(cv_count),
                "ms per image": float(wall),
                "ms per image OpenCV": float(cv_wall),
                "wall ratio": float(wall / cv_wall),
                "CPU ms per image": float(cpu),
                "CPU ratio": float(cpu / cv_cpu),
                "pixels apart": pixels,
                "times apart ms": apart_ms,
            }
        )
    print(table(columns))


if __name__ == "__main__":
    main()
