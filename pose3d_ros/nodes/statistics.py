"""Rate, latency and time per stage over the period between two diagnostics messages."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

import numpy as np


class Statistics:
    """Filled by the thread that works, read by the one that reports."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._frames = 0
        self._latencies_s: list[float] = []
        self._stages_s: dict[str, float] = {}

    def add(self, latency_s: float | None, stages_s: Mapping[str, float]) -> None:
        """One frame: time from acquisition to publication, None where unknown, and the seconds of each stage."""
        with self._lock:
            self._frames += 1
            if latency_s is not None:
                self._latencies_s.append(latency_s)
            for stage, seconds in stages_s.items():
                self._stages_s[stage] = self._stages_s.get(stage, 0.0) + seconds

    def report(self, period_s: float) -> dict[str, float]:
        """Values for diagnostics of the frames since the last report: Hz, and means and percentiles in ms."""
        with self._lock:
            frames, self._frames = self._frames, 0
            latencies, self._latencies_s = self._latencies_s, []
            stages, self._stages_s = self._stages_s, {}
        values = {"rate_hz": frames / period_s}
        if latencies:
            p50, p95 = np.percentile(latencies, (50, 95))
            values |= {"latency_p50_ms": 1e3 * float(p50), "latency_p95_ms": 1e3 * float(p95)}
        return values | {f"{stage}_ms": 1e3 * seconds / frames for stage, seconds in stages.items()}
