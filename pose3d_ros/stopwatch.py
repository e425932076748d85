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

"""Times of a frame: when each stage ran, and the percentiles of that over many
frames.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import current_thread
from typing import NamedTuple

import numpy as np

STAGES = (
    "network",
    "wait",
    "decode",
    "detect",
    "pose",
    "track",
    "depth",
    "lift",
    "filter",
    "publish",
)
"""A frame's way through the monocular node, in its order. ``network``: from acquisition to the
node's callback. ``wait``: for the frame before. ``detect``: finding people, in some frames only.
``pose``: their keypoints. ``depth``: a depth image that is later than its image.
"""


class Span(NamedTuple):
    """A stage ran from ``start_s`` to ``end_s`` (``time.perf_counter``), on the thread of that
    name or elsewhere.
    """

    stage: str
    start_s: float
    end_s: float
    thread: str


class Stopwatch:
    """The spans of one frame, handed on with it from stage to stage.

    >>> stopwatch = Stopwatch()
    >>> with stopwatch("pose"):
    ...     network()
    """

    def __init__(self) -> None:
        self.spans: list[Span] = []

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what runs inside; a stage may run several times in a frame."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, start, time.perf_counter())

    def add(self, stage: str, start_s: float, end_s: float, where: str = "") -> None:
        """A span that was timed otherwise; ``where``, if it ran on no thread of this process."""
        self.spans.append(Span(stage, start_s, end_s, where or current_thread().name))

    @property
    def seconds(self) -> dict[str, float]:
        """Stage -> seconds that it took in this frame."""
        seconds: dict[str, float] = {}
        for span in self.spans:
            seconds[span.stage] = seconds.get(span.stage, 0.0) + span.end_s - span.start_s
        return seconds

    @property
    def total_s(self) -> float:
        """From the start of the first stage to the end of the last."""
        return max(span.end_s for span in self.spans) - min(span.start_s for span in self.spans)


class Summary(NamedTuple):
    """Milliseconds of a stage in the frames in which it ran, its mean over all of them, and the
    share of these frames.

    So ``frames`` of 0.1 is a stage of every tenth frame; the means of all stages add up to the
    time of a frame.
    """

    p50_ms: float
    p95_ms: float
    max_ms: float
    mean_ms: float
    frames: float


def summary(seconds: Sequence[float], frames: int) -> Summary:
    """Of the seconds that a stage took in those of ``frames`` frames in which it ran; at least
    one.
    """
    p50, p95, most = np.percentile(seconds, (50, 95, 100)) * 1e3
    return Summary(
        float(p50),
        float(p95),
        float(most),
        float(np.sum(seconds)) * 1e3 / frames,
        len(seconds) / frames,
    )


def by_stage(stopwatches: Sequence[Stopwatch]) -> dict[str, list[float]]:
    """Stage -> its seconds in each frame in which it ran, in the order of ``STAGES``, then others
    as they appear.
    """
    rows = [stopwatch.seconds for stopwatch in stopwatches]
    stages = dict.fromkeys((*STAGES, *(stage for row in rows for stage in row)))
    taken = {stage: [row[stage] for row in rows if stage in row] for stage in stages}
    return {stage: seconds for stage, seconds in taken.items() if seconds}


def summaries(stopwatches: Sequence[Stopwatch]) -> dict[str, Summary]:
    """Stage -> its summary over frames, in the order of ``by_stage``."""
    return {
        stage: summary(seconds, len(stopwatches))
        for stage, seconds in by_stage(stopwatches).items()
    }
