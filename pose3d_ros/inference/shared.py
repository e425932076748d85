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

"""One engine for several cameras: weights are loaded once, and what is asked for at the same time
runs in one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from weakref import WeakValueDictionary

import numpy as np

from pose3d_ros.errors import EngineError
from pose3d_ros.inference.batching import any_rows, joined
from pose3d_ros.inference.engine import Arrays, Engine


@dataclass
class _Request:
    feeds: Mapping[str, np.ndarray]
    answer: Arrays | EngineError | None = None

    @property
    def form(self) -> Hashable:
        """Requests of one form fit into one batch."""
        return tuple(
            (name, array.shape[1:], array.dtype) for name, array in sorted(self.feeds.items())
        )

    @property
    def rows(self) -> int:
        """Length of the first axis of every array; 0 where they differ or have none."""
        lengths = {len(array) if array.ndim else 0 for array in self.feeds.values()}
        return lengths.pop() if len(lengths) == 1 else 0


class _Shared:
    """Runs an engine for one thread at a time; requests that come meanwhile wait, and then run
    together.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._batches = any_rows(*engine.inputs.values(), *engine.outputs.values())
        self._waiting: list[_Request] = []
        self._list_lock, self._engine_lock = Lock(), Lock()

    def run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        request = _Request(feeds)
        with self._list_lock:
            self._waiting.append(request)
        with self._engine_lock:
            if request.answer is None:  # else somebody else's batch had it
                with self._list_lock:
                    waiting, self._waiting = self._waiting, []
                self._answer(waiting)
        assert request.answer is not None
        if isinstance(request.answer, EngineError):
            raise request.answer
        return request.answer

    def _answer(self, requests: Sequence[_Request]) -> None:
        alike: dict[Hashable, list[_Request]] = {}
        for request in requests:
            together = self._batches and request.rows > 0
            alike.setdefault(request.form if together else id(request), []).append(request)
        for group in alike.values():
            try:
                self._answer_group(group)
            except EngineError as error:
                if len(group) == 1:
                    group[0].answer = error
                else:
                    for request in group:  # one bad request shall not cost the others theirs
                        self._answer([request])

    def _answer_group(self, group: Sequence[_Request]) -> None:
        if len(group) == 1:
            group[0].answer = self.engine(group[0].feeds)
            return
        found = self.engine(joined([request.feeds for request in group]))
        ends = np.cumsum([request.rows for request in group])
        if any(len(array) != ends[-1] for array in found.values()):
            raise EngineError(
                f"expected a row of each output for each of {ends[-1]} rows of input"
            )
        for request, *parts in zip(
            group, *(np.split(array, ends[:-1]) for array in found.values()), strict=True
        ):
            request.answer = dict(zip(found, parts, strict=True))


Heard = Callable[[Hashable, Mapping[str, np.ndarray]], None]
_listeners: list[Heard] = []


@contextmanager
def listening(heard: Heard) -> Iterator[None]:
    """While it lasts, ``heard`` is told the key and the feeds of every call of a shared engine
    (``inference.load``).
    """
    _listeners.append(heard)
    try:
        yield
    finally:
        _listeners.remove(heard)


_engines: WeakValueDictionary[Hashable, _Shared] = WeakValueDictionary()
_loading = Lock()


class SharedEngine:
    """An engine that other holders with the same ``key`` use too; see ``Engine``. The last to
    close it frees it.
    """

    def __init__(self, key: Hashable, make: Callable[[], Engine]) -> None:
        with _loading:
            shared = _engines.get(key)
            if shared is None:
                shared = _engines[key] = _Shared(make())
        self._key = key
        self.inputs, self.outputs, self.types = (
            shared.engine.inputs,
            shared.engine.outputs,
            shared.engine.types,
        )
        self._shared: _Shared | None = shared

    @property
    def name(self) -> str:
        """Name of the engine, as it is now."""
        return "closed" if self._shared is None else self._shared.engine.name

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Run once, perhaps together with what others ask for."""
        if self._shared is None:
            raise EngineError("expected an open engine, got one that was closed")
        for heard in _listeners:
            heard(self._key, feeds)
        return self._shared.run(feeds)

    def close(self) -> None:
        """Leave the engine to the others."""
        self._shared = None
