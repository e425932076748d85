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

"""Measuring the pipeline on scenes, in rounds that take turns, so that what else the machine does
hits all alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from pose3d_ros.detection import choice, detector_class
from pose3d_ros.inference import autotune, uses_gpu
from pose3d_ros.inference.options import Options
from pose3d_ros.lifting.selection import models as lifter_models
from pose3d_ros.model_store.store import locate
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.profiling.report import Measured
from pose3d_ros.profiling.scenes import Scene
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.stopwatch import Stopwatch

ROUNDS, FRAMES = 6, 60
WARM_UP, MOST_WARM_UPS = 40, 6
"""Frames before the first round, as many times until everybody is found: in a crowd that takes a
few looks.
"""
INTERVAL_NS = 33_333_333


class Runner:
    """A pipeline that is fed with one scene."""

    def __init__(self, scene: Scene, settings: PipelineSettings) -> None:
        self.scene = scene
        self.pipeline = MonocularPipeline(
            settings.changed(max_people=scene.people or settings.max_people)
        )
        self._images = scene.endless()
        self._stamp_ns = 0
        self.found: list[int] = []

    def warm_up(self) -> None:
        """Run until everybody is found, but not for ever."""
        for _ in range(MOST_WARM_UPS):
            self.round(WARM_UP)
            if self.found[-1] >= self.scene.people:
                break
        self.found.clear()

    def round(self, frames: int) -> list[Stopwatch]:
        """Stopwatches of the next frames."""
        stopwatches = [Stopwatch() for _ in range(frames)]
        for stopwatch, image in zip(stopwatches, self._images, strict=False):
            self._stamp_ns += INTERVAL_NS
            if self.pipeline.settings.lift:
                camera = self.scene.camera
                found = self.pipeline(image, camera, self._stamp_ns, stopwatch=stopwatch).people_2d
            else:
                found = self.pipeline.detect(image, self._stamp_ns, stopwatch=stopwatch)
            self.found.append(0 if found is None else len(found))
        return stopwatches


def choose(settings: PipelineSettings) -> dict[str, autotune.Tuned]:
    """Name of each of the pipeline's networks -> what runs it fastest on this CPU, measured and
    remembered anew.

    With ``engine: auto`` it is what every pipeline on this machine takes from now on, unless there
    is a GPU; with ``detector: auto`` the detector as well.
    """
    found: dict[str, autotune.Tuned] = {}

    def measure(models: Iterable[str]) -> None:
        for path in (locate(model) for model in models if model):
            if path.stem not in found:
                options = Options(settings.threads, settings.precision)
                found[path.stem] = autotune.measure(path, options)

    if settings.detector == "auto" and not uses_gpu(settings.engine):
        measure([choice.BETTER])  # which tells the detector
    measure(detector_class(settings).models(settings))
    if settings.lift:
        measure(lifter_models(settings))
    return found


def measure(scenes: Sequence[Scene], settings: PipelineSettings) -> list[Measured]:
    """Each scene's frames. Raises ``ModelError``, ``EngineError`` or ``SettingsError``."""
    runners: list[Runner] = []
    try:
        for scene in scenes:
            runners.append(Runner(scene, settings))
            runners[-1].warm_up()
        rounds = [[runner.round(FRAMES) for runner in runners] for _ in range(ROUNDS)]
        return [
            Measured(
                runner.scene.name,
                own,
                float(np.mean(runner.found)),
                runner.scene.camera.size,
                runner.pipeline.engine_name,
            )
            for runner, own in zip(runners, zip(*rounds, strict=True), strict=True)
        ]
    finally:
        for runner in runners:
            runner.pipeline.close()
