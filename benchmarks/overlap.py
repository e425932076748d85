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

"""Whether looking for people in the next image while this one's people are lifted raises the rate,
and what it costs.

    python benchmarks/overlap.py [--people 1 4] [--rounds 6] [--threads N]

"in turn" is the pipeline as it is: one thread, one image after the other. "overlapped" gives
detection to one thread and all that comes after it (tracking, lifting, filter) to another, with at
most one image between them. Images are always at hand. Both get the same images in rounds that
take turns; medians over the rounds are printed.
"""

from __future__ import annotations

import argparse
import sys
import time
from itertools import islice
from queue import Queue
from threading import Thread

import numpy as np

from pose3d_ros.detection import Detector
from pose3d_ros.people import People2D
from pose3d_ros.profiling.run import INTERVAL_NS, WARM_UP, Runner
from pose3d_ros.profiling.scenes import crowd
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.stopwatch import Stopwatch

FRAMES = 60


class Given(Detector):
    """Stands where the detector was, and hands on what it has found."""

    people: People2D

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.skeleton, self.settings, self.maps = (
            detector.skeleton,
            detector.settings,
            detector.maps,
        )

    @property
    def engine_name(self) -> str:
        """Of the detector."""
        return self._detector.engine_name

    def reset(self) -> None:
        """Forget where people were."""
        self._detector.reset()

    def close(self) -> None:
        """Free the detector's engines."""
        self._detector.close()

    def __call__(
        self, image_bgr: np.ndarray, stamp_ns: int, stopwatch: Stopwatch | None = None
    ) -> People2D:
        """The people of this image."""
        return self.people


class Overlapped(Runner):
    """A pipeline whose detector runs in another thread, one image ahead."""

    def __init__(self, count: int, settings: PipelineSettings) -> None:
        super().__init__(crowd(count), settings)
        self._detector = self.pipeline._detector

    def play(self, frames: int) -> tuple[float, float]:
        """Seconds per frame, and from the start of a frame to its end (median)."""
        ready: Queue[tuple[np.ndarray, int, float, People2D]] = Queue(1)
        images = list(islice(self._images, frames))
        given = Given(self._detector)
        self.pipeline._detector = given

        def detect() -> None:
            for number, image in enumerate(images, 1):
                start, stamp_ns = time.perf_counter(), self._stamp_ns + number * INTERVAL_NS
                ready.put((image, stamp_ns, start, self._detector(image, stamp_ns)))

        began, latencies = time.perf_counter(), []
        worker = Thread(target=detect)
        worker.start()
        for _ in images:
            image, stamp_ns, start, given.people = ready.get()
            self.pipeline(image, self.scene.camera, stamp_ns)
            latencies.append(time.perf_counter() - start)
        worker.join()
        self._stamp_ns += frames * INTERVAL_NS
        self.pipeline._detector = self._detector
        return (time.perf_counter() - began) / frames, float(np.median(latencies))


def in_turn(runner: Runner, frames: int) -> tuple[float, float]:
    """The same of the pipeline as it is."""
    began = time.perf_counter()
    stopwatches = runner.round(frames)
    return (time.perf_counter() - began) / frames, float(
        np.median([stopwatch.total_s for stopwatch in stopwatches])
    )


def main() -> None:
    """Print a line for each number of people."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    settings = PipelineSettings(threads=options.threads)
    for count in options.people:
        one, two = Runner(crowd(count), settings), Overlapped(count, settings)
        one.warm_up()
        two.warm_up()
        two.play(WARM_UP)
        rounds = np.array(
            [(*in_turn(one, FRAMES), *two.play(FRAMES)) for _ in range(options.rounds)]
        )
        turn_ms, turn_latency_ms, overlapped_ms, latency_ms = np.median(rounds, axis=0) * 1e3
        sys.stdout.write(
            f"{count} people: in turn {1e3 / turn_ms:.1f} Hz, latency {turn_latency_ms:.1f} ms; "
            f"overlapped {1e3 / overlapped_ms:.1f} Hz, latency {latency_ms:.1f} ms: "
            f"{turn_ms / overlapped_ms:.2f} times the rate, {latency_ms / turn_latency_ms:.2f} "
            "times the latency\n"
        )
        one.pipeline.close()
        two.pipeline.close()


if __name__ == "__main__":
    main()
