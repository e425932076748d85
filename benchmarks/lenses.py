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

"""Time that the viewing rays of a frame's keypoints take, beside OpenCV with its defaults, and how
far either is off.

    python benchmarks/lenses.py

Per lens and number of points, in the middle half of the image and all over it: microseconds of
``Camera.rays`` and of ``cv2.undistortPoints`` (``cv2.fisheye``), their ratio, and the largest
error of each in pixels when its rays are projected again.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pose3d_ros.camera import Camera  # noqa: E402

MATRIX = np.array([[900.0, 0, 959.5], [0, 900, 539.5], [0, 0, 1]])
SIZE = 1920, 1080
LENSES = {
    "plumb_bob of a webcam": ("plumb_bob", [0.06, -0.12, 0.001, -0.0005, 0.05]),
    "plumb_bob, 4 mm barrel": ("plumb_bob", [-0.30, 0.09, 0.0008, -0.0006]),
    "rational, 120 degrees": (
        "rational_polynomial",
        [0.93, 0.1659, -2.4e-5, -1.4e-5, 0.0029, 1.3314, 0.4358, 0.0276],
    ),
    "equidistant": ("equidistant", [-0.02, 0.01, -0.003, 0.001]),
}
POINTS = 17, 68, 400
ROUNDS, CALLS = 30, 20


def microseconds(call: Callable[[], object]) -> float:
    """Least time of a call among ``ROUNDS``, of this process alone."""
    best = np.inf
    for _ in range(ROUNDS):
        began = time.process_time()
        for _ in range(CALLS):
            call()
        best = min(best, (time.process_time() - began) / CALLS)
    return 1e6 * float(best)


def main() -> None:
    """Print the table."""
    print(f"{'lens':22} {'where':6} {'points':>6} {'rays':>8} {'OpenCV':>8} {'ratio':>6}  off by")
    for name, (model, coefficients) in LENSES.items():
        camera = Camera(MATRIX, SIZE, np.array(coefficients), model)
        for (where, margin), count in product((("middle", 0.25), ("all", 0.0)), POINTS):
            low, high = margin * np.array(SIZE), (1 - margin) * np.array(SIZE)
            print(f"{name:22} {where:6} {count:6} " + row(camera, low, high, count))


def row(camera: Camera, low: np.ndarray, high: np.ndarray, count: int) -> str:
    """Times, ratio and errors of as many pixels between two corners."""
    pixels = np.random.default_rng(0).uniform(low, high, (count, 2))
    fisheye = camera.distortion_model == "equidistant"
    undistort = cv2.fisheye.undistortPoints if fisheye else cv2.undistortPoints

    def opencv() -> np.ndarray:
        return np.asarray(undistort(pixels[:, None], MATRIX, camera.distortion)[:, 0], float)

    ours, theirs = microseconds(lambda: camera.rays(pixels)), microseconds(opencv)
    off = [
        np.abs(camera.project(np.insert(rays, 2, 1, axis=1), "camera") - pixels).max()
        for rays in (camera.rays(pixels), opencv())
    ]
    times = f"{ours:6.0f} us {theirs:6.0f} us {ours / theirs:6.1f}"
    return f"{times}  {off[0]:.1e} px, OpenCV {off[1]:.1e} px"


if __name__ == "__main__":
    main()
