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

"""Rate, latency and time per stage over the period between two diagnostics messages."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Lock
from typing import NamedTuple

from pose3d_ros.stopwatch import Stopwatch, Summary, summaries, summary


class FrameTime(NamedTuple):
    """Time from acquisition to publication, None where unknown, and what it went into."""

    latency_s: float | None
    stopwatch: Stopwatch


class FrameTimes:
    """Filled by the thread that works, read by the one that reports."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._frames: list[FrameTime] = []

    def add(self, latency_s: float | None, stopwatch: Stopwatch) -> None:
        """A frame that was published."""
        with self._lock:
            self._frames.append(FrameTime(latency_s, stopwatch))

    def take(self) -> list[FrameTime]:
        """The frames since the last call."""
        with self._lock:
            frames, self._frames = self._frames, []
        return frames


def report(frames: Sequence[FrameTime], period_s: float) -> dict[str, float]:
    """Values for diagnostics of the frames of a period: Hz, then ms of the latency and of each
    stage.
    """
    values = {"rate_hz": len(frames) / period_s}
    if latencies := [frame.latency_s for frame in frames if frame.latency_s is not None]:
        values |= _values("latency", summary(latencies, len(frames)))
    for stage, taken in summaries([frame.stopwatch for frame in frames]).items():
        values |= _values(stage, taken)
    return values


def _values(what: str, taken: Summary) -> dict[str, float]:
    return {
        f"{what}_p50_ms": taken.p50_ms,
        f"{what}_p95_ms": taken.p95_ms,
        f"{what}_max_ms": taken.max_ms,
    }
