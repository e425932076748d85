"""One engine for several cameras: weights are loaded once, and what is asked for at the same time runs in one batch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Protocol
from weakref import WeakValueDictionary

import numpy as np

from pose3d_ros.inference.errors import EngineError

Arrays = dict[str, np.ndarray]
SMALL = 0.1


class Engine(Protocol):
    """A network ready to run."""

    @property
    def name(self) -> str:
        """Key in ``ENGINES``, for people; and what it is doing besides, such as building another engine."""

    inputs: dict[str, tuple[int | None, ...]]
    """Name -> shape; None stands for an axis of any length."""
    outputs: dict[str, tuple[int | None, ...]]
    types: dict[str, np.dtype]
    """Type of each input."""

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Run once: input name -> array to output name -> array. Raises ``EngineError`` on a wrong shape or type."""

    def close(self) -> None:
        """Free the engine's memory; it cannot be called any more."""


def warm_up(engine: Engine, rows: Iterable[int] = (1,)) -> None:
    """Run an engine on zeros, once for each batch size: the first run is slow in all of them.

    A network with another free axis than the first is left alone: nobody knows what it takes.
    """
    if any(None in shape[1:] for shape in engine.inputs.values()):
        return
    for count in rows:
        engine({name: np.zeros([count if n is None else n for n in shape], engine.types[name])
                for name, shape in engine.inputs.items()})


def largest_difference(expected: Arrays, found: Arrays) -> float:
    """The largest difference of a value, as a share of the largest value of its array; infinite where one is not there.

    Values that are not finite must be the same in both. An array of small values (the probability that nothing is a
    person) is measured as if its largest were ``SMALL``.
    """
    worst = 0.0
    for name, reference in expected.items():
        if name not in found or found[name].shape != reference.shape:
            return np.inf
        finite = np.isfinite(reference)
        if not np.array_equal(reference[~finite], found[name][~finite], equal_nan=True):
            return np.inf
        if finite.any():
            apart = np.abs(found[name][finite].astype(np.float64) - reference[finite])
            difference = float(apart.max() / max(np.abs(reference[finite]).max(), SMALL))
            if not np.isfinite(difference):
                return np.inf
            worst = max(worst, difference)
    return worst


@dataclass
class _Request:
    feeds: Mapping[str, np.ndarray]
    answer: Arrays | EngineError | None = None

    @property
    def form(self) -> Hashable:
        """Requests of one form fit into one batch."""
        return tuple((name, array.shape[1:], array.dtype) for name, array in sorted(self.feeds.items()))

    @property
    def rows(self) -> int:
        """Length of the first axis of every array; 0 where they differ or have none."""
        lengths = {len(array) if array.ndim else 0 for array in self.feeds.values()}
        return lengths.pop() if len(lengths) == 1 else 0


class _Shared:
    """Runs an engine for one thread at a time; requests that come meanwhile wait, and then run together."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._batches = all(shape and shape[0] is None for shape in (*engine.inputs.values(), *engine.outputs.values()))
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
        names = group[0].feeds
        found = self.engine({name: np.concatenate([request.feeds[name] for request in group]) for name in names})
        ends = np.cumsum([request.rows for request in group])
        if any(len(array) != ends[-1] for array in found.values()):
            raise EngineError(f"expected a row of each output for each of {ends[-1]} rows of input")
        for request, *parts in zip(group, *(np.split(array, ends[:-1]) for array in found.values()), strict=True):
            request.answer = dict(zip(found, parts, strict=True))


Heard = Callable[[Hashable, Mapping[str, np.ndarray]], None]
_listeners: list[Heard] = []


@contextmanager
def listening(heard: Heard) -> Iterator[None]:
    """While it lasts, ``heard`` is told the key and the feeds of every call of a shared engine (``inference.load``)."""
    _listeners.append(heard)
    try:
        yield
    finally:
        _listeners.remove(heard)


_engines: WeakValueDictionary[Hashable, _Shared] = WeakValueDictionary()
_loading = Lock()


class SharedEngine:
    """An engine that other holders with the same ``key`` use too; see ``Engine``. The last to close it frees it."""

    def __init__(self, key: Hashable, make: Callable[[], Engine]) -> None:
        with _loading:
            shared = _engines.get(key)
            if shared is None:
                shared = _engines[key] = _Shared(make())
        self._key = key
        self.inputs, self.outputs, self.types = shared.engine.inputs, shared.engine.outputs, shared.engine.types
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
