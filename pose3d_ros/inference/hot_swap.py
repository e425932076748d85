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

"""A quick engine serves while a better one is being made, and is replaced between two calls."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Event, Lock, Thread

import numpy as np

from pose3d_ros.errors import EngineError, one_line
from pose3d_ros.inference.engine import Arrays, Engine, largest_difference, warm_up

REPORT_S = 5.0
"""Time between two lines in the log about a build that goes on."""

_log = logging.getLogger(__name__)
_one_at_a_time = Lock()
"""Builds time kernels, and take the memory of a GPU: two at once would disturb each other."""


@dataclass
class Progress:
    """Told by who builds, read by who waits."""

    share: float | None = None
    """Share that is done, 0 to 1; None where nobody knows."""
    cancelled: bool = False
    """Whether nobody waits any more: what can be stopped shall stop."""


class Phases:
    """Progress of a job whose phases have steps, and steps phases of their own (as
    TensorRT's builds).

    What is said of a phase that never began is ignored: no build shall fail for its progress.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._steps: dict[
            str, tuple[str | None, int, int]
        ] = {}  # name -> parent, steps done, steps in all
        self._share = 0.0

    @property
    def share(self) -> float:
        """0 to 1; never falls."""
        return self._share

    def start(self, name: str, parent: str | None, steps: int) -> None:
        """A phase begins, within a step of ``parent`` or on its own."""
        with self._lock:
            self._steps[name] = parent, 0, max(steps, 1)

    def step(self, name: str, step: int) -> None:
        """Step number ``step``, counted from 0, is done."""
        with self._lock:
            if name in self._steps:
                parent, _, steps = self._steps[name]
                self._steps[name] = parent, min(step + 1, steps), steps
                self._update()

    def finish(self, name: str) -> None:
        """The phase ends, with all of its steps or before."""
        with self._lock:
            if name in self._steps:
                parent, _, steps = self._steps.pop(name)
                if parent is None:
                    self._steps[name] = parent, steps, steps
                self._update()

    def _update(self) -> None:
        outermost = [name for name, (parent, _, _) in self._steps.items() if parent is None]
        shares = [self._of(name) for name in outermost]
        self._share = max(self._share, sum(shares) / len(shares) if shares else 0.0)

    def _of(self, name: str) -> float:
        _, done, steps = self._steps[name]
        within = max(
            (self._of(child) for child, (parent, _, _) in self._steps.items() if parent == name),
            default=0.0,
        )
        return min((done + within) / steps, 1.0)


class HotSwap:
    """``quick`` until ``build`` has made its better, in the background; see ``inference.Engine``.

    ``what`` names the engine that is built. Before it serves it runs once with every batch size
    seen so far, so that no frame pays for its first run, and must answer the last call as
    ``quick`` did: no value of an output off by more than ``tolerance`` of the largest. One that
    fails leaves ``quick`` in service and is said once.
    """

    def __init__(
        self, quick: Engine, what: str, build: Callable[[Progress], Engine], tolerance: float
    ) -> None:
        self.inputs, self.outputs, self.types = quick.inputs, quick.outputs, quick.types
        self._engine, self._quick, self._what, self._tolerance = quick, quick, what, tolerance
        self._lock = Lock()
        self._progress = Progress()
        self._began = time.monotonic()
        self._done = Event()
        self._rows: set[int] = set()
        self._last: tuple[Mapping[str, np.ndarray], Arrays] | None = None
        # Daemons: whoever ends the process does not wait for a build.
        Thread(target=self._work, args=(build,), name=f"build {what}", daemon=True).start()
        Thread(target=self._report, name=f"report {what}", daemon=True).start()

    @property
    def name(self) -> str:
        """The engine in service, and the one that is being built."""
        if self._done.is_set() and self._engine is self._quick:
            return f"{self._engine.name} ({self._what} failed, see the log)"
        return (
            f"{self._engine.name} ({self._state()})"
            if self._engine is self._quick
            else self._engine.name
        )

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Run once, on the engine that is in service now."""
        with self._lock:
            answer = self._engine(feeds)
            if not self._done.is_set():
                self._rows.update(len(array) for array in feeds.values() if array.ndim)
                self._last = feeds, answer
            return answer

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the build has ended, well or not; whether it has."""
        return self._done.wait(timeout_s)

    def close(self) -> None:
        """Free the engine in service; one that is still being built goes when it is done."""
        with self._lock:
            self._progress.cancelled = True
            self._engine.close()

    def _work(self, build: Callable[[Progress], Engine]) -> None:
        try:
            with _one_at_a_time:
                engine = build(self._progress)
            try:
                self._take(engine)
            except BaseException:
                engine.close()
                raise
        except Exception as error:  # the thread's end is the only place where it can be said
            if not self._progress.cancelled:
                kind = "" if isinstance(error, EngineError) else f"{type(error).__name__}: "
                _log.warning(
                    "%s could not be built (%s%s); going on with %s",
                    self._what,
                    kind,
                    one_line(error),
                    self._engine.name,
                )
        finally:
            self._done.set()
            self._last = None

    def _take(self, engine: Engine) -> None:
        """Put the engine into service, if it may."""
        warm_up(engine, sorted(self._rows) or (1,))
        if (last := self._last) is not None:
            feeds, expected = last
            difference = largest_difference(expected, engine(feeds))
            if not difference <= self._tolerance:
                raise EngineError(
                    f"expected the answers of {self._engine.name} within {self._tolerance:g} of "
                    f"the largest value, got them off by {difference:.3g}; please report what "
                    "'pose3d doctor' says"
                )
        with self._lock:
            if self._progress.cancelled:
                raise EngineError("closed meanwhile")
            self._engine = engine
        self._quick.close()
        _log.warning(
            "%s is ready after %.0f s and takes over from %s",
            self._what,
            time.monotonic() - self._began,
            self._quick.name,
        )

    def _report(self) -> None:
        while not self._done.wait(REPORT_S):
            if not self._progress.cancelled:
                _log.warning("%s; %s serves meanwhile", self._state(), self._engine.name)

    def _state(self) -> str:
        share = "" if self._progress.share is None else f"{100 * self._progress.share:.0f} %, "
        return f"{self._what} is building: {share}{time.monotonic() - self._began:.0f} s"
