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

"""Milliseconds that lifters take for 1, 4 and 10 people, as the node calls them: medians after
warm-up, in turns.

    python benchmarks/lifter_speed.py [--threads N] [MODEL.onnx ...]     # besides the shipped ones
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from pose3d_ros import lifting
from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.table import table
from pose3d_ros.people import People2D
from pose3d_ros.settings import LIFTERS, PipelineSettings
from pose3d_ros.skeleton import H36M17

PEOPLE = (1, 4, 10)
MAPS = (48, 64, 64), (48, 32, 32), (48, 16, 16), (144, 8, 8)  # of the embedded detector
WARM_UP, FRAMES = 40, 300


def main() -> None:
    """Print the table, a column for each lifter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*")
    parser.add_argument("--threads", type=int, default=PipelineSettings().threads)
    arguments = parser.parse_args()
    base = PipelineSettings(threads=arguments.threads)
    settings = {name: base.changed(lifter=name) for name in LIFTERS if name != "auto"}
    settings |= {model: base.changed(lifter_model=model) for model in arguments.models}
    lifters = {name: lifting.create(chosen) for name, chosen in settings.items()}
    camera = Camera.from_fov(1280, 720, 1.0)
    rng = np.random.default_rng(0)
    reports: dict[str, dict[str, Any]] = {name: {"lifter": name} for name in lifters}
    for count in PEOPLE:
        seconds: dict[str, list[float]] = {name: [] for name in lifters}
        shape = rng.normal(0, 80, (count, 17, 2)) + rng.uniform(
            (200, 200), (1000, 500), (count, 1, 2)
        )
        features = tuple(rng.random((count, *shape_of), np.float32) for shape_of in MAPS)
        crops = np.tile(np.array([[1 / 400, 0, 0], [0, 1 / 400, 0]]), (count, 1, 1))
        crops[:, :, 2] = 0.5 - shape.mean(1) / 400
        stamp_ns = 0
        for number in range(WARM_UP + FRAMES):
            stamp_ns += 33_333_333
            keypoints = (shape + rng.normal(0, 2, shape.shape)).astype(np.float32)
            people = People2D(
                H36M17,
                keypoints,
                np.full((count, 17), 0.9, np.float32),
                stamp_ns,
                camera.size,
                np.arange(count, dtype=np.int32),
                features=features,
                crop_from_image=crops,
                root_relative_depth_px=rng.normal(0, 40, (count, 17)).astype(np.float32),
            )
            for name, lifter in lifters.items():
                start = time.perf_counter()
                lifter(people, camera, base)
                if number >= WARM_UP:
                    seconds[name].append(time.perf_counter() - start)
        for name, values in seconds.items():
            reports[name][f"ms_{count}_people"] = float(np.median(values) * 1e3)
            lifters[name].forget(np.zeros(0, int))
    for lifter in lifters.values():
        lifter.close()
    print(table(list(reports.values())))


if __name__ == "__main__":
    main()
