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

"""Trials of every engine on every model against stored references: ``pose3d doctor``."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pose3d_ros import inference
from pose3d_ros.errors import one_line
from pose3d_ros.inference import (
    Engine,
    EngineError,
    MissingEngineError,
    PrecisionError,
    gpu,
    reference_check,
)
from pose3d_ros.inference.batching import any_rows
from pose3d_ros.inference.engines.tensorrt.engine import build_ahead
from pose3d_ros.model_store import store
from pose3d_ros.model_store.store import ModelError

T = TypeVar("T")
BATCHES = (1, 4, 16)
AHEAD = "sm89"
"""Compute capability that is built for where there is no GPU."""
MEASURED_S = 0.3
FEWEST_RUNS, MOST_RUNS = 5, 200


@dataclass(frozen=True)
class Trial:
    """Result of one engine with one model in one precision."""

    engine: str
    precision: str
    model: str
    verdict: str
    """``pass``, ``FAIL: ...``, ``not installed: ...``, or ``built by ...``, which is as far as one
    gets without a GPU.
    """
    seconds: float | None = None
    """Until it was ready to run."""
    answer: reference_check.Agreement | None = None
    milliseconds: tuple[float | None, ...] = ()
    """Of one call with as many rows as in ``BATCHES``; None where the network takes one at a time.
    """

    @property
    def missing(self) -> bool:
        """Whether the engine is not there at all."""
        return self.verdict.startswith("not installed")

    @property
    def not_run(self) -> bool:
        """Whether it was built and no more."""
        return self.verdict.startswith("built")

    @property
    def failed(self) -> bool:
        """Whether something is wrong."""
        return self.verdict.startswith("FAIL")


def trials(engines: tuple[str, ...]) -> Iterator[Trial]:
    """Try engines in a process of their own, which may die without taking the report with it."""
    models = []
    for model in store.models():
        try:
            models.append((model.name, store.locate(model.name)))
        except ModelError as error:
            yield Trial("", "", model.name, f"FAIL: {error}")
    for engine in engines:
        worker, lacking = Worker(), set()
        for precision, (name, path) in itertools.product(inference.PRECISIONS, models):
            if precision in lacking:
                continue
            try:
                trial = worker(attempt, engine, precision, name, path)
            except BrokenProcessPool:
                trial = Trial(engine, precision, name, "FAIL: the process died")
            if trial is None:
                lacking.add(precision)
                continue
            yield trial
            if trial.missing:  # the others would say the same
                break
        worker.close()


class Worker:
    """Another process, started anew after it died."""

    def __init__(self) -> None:
        self._pool = self._start()

    def __call__(self, function: Callable[..., T], *arguments: Any) -> T:
        """The function's result in the other process. Raises ``BrokenProcessPool`` when it
        dies.
        """
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            self._pool = self._start()
            raise

    def close(self) -> None:
        """End the process."""
        self._pool.shutdown()

    @staticmethod
    def _start() -> ProcessPoolExecutor:
        return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def attempt(engine: str, precision: str, name: str, path: Path) -> Trial | None:
    """Build, compare and time; None when the engine has no such precision."""
    began = time.perf_counter()
    try:
        if engine == "tensorrt" and gpu.find() is None:
            return build_only(precision, name, path)
        running = inference.create(path, engine, inference.Options(precision=precision, wait=True))
        seconds = time.perf_counter() - began
        expected = reference_check.reference(name, path)
        answer = reference_check.check(running, expected, precision)
        milliseconds = tuple(measure(running, expected, rows) for rows in BATCHES)
        running.close()
    except PrecisionError:
        return None
    except MissingEngineError as error:
        return Trial(engine, precision, name, f"not installed: {error}")
    except EngineError as error:
        return Trial(engine, precision, name, f"FAIL: {error}")
    except Exception as error:  # what no engine should let through is what the report is for
        return Trial(engine, precision, name, f"FAIL: {type(error).__name__}: {one_line(error)}")
    verdict = "pass" if answer.right else "FAIL: other answers than the reference"
    return Trial(engine, precision, name, verdict, seconds, answer, milliseconds)


def build_only(precision: str, name: str, path: Path) -> Trial:
    """TensorRT without a GPU: built for one of another machine. Raises as ``attempt`` expects."""
    options = inference.Options(precision=precision)
    (built,) = build_ahead(path, options, [AHEAD])
    verdict = f"built by {built.by} for {built.target}, not run here"
    return Trial("tensorrt", precision, name, verdict, built.seconds or 0.0)


def measure(engine: Engine, expected: reference_check.Reference, rows: int) -> float | None:
    """Median milliseconds of a call with that many rows; None where the network takes one at a
    time.
    """
    if rows > 1 and not any_rows(*engine.inputs.values()):
        return None
    feeds = {
        name: np.resize(array, (rows, *array.shape[1:])) for name, array in expected.inputs.items()
    }
    engine(feeds)  # the first calls are slow, and TensorRT's second makes a graph
    engine(feeds)
    taken: list[float] = []
    while len(taken) < FEWEST_RUNS or sum(taken) < MEASURED_S and len(taken) < MOST_RUNS:
        began = time.perf_counter()
        engine(feeds)
        taken.append(time.perf_counter() - began)
    return 1e3 * statistics.median(taken)


HEADING = (
    f"{'engine':21}{'precision':10}{'model':21}{'ready s':>8}"
    + "".join(f"{f'ms at {n}':>10}" for n in BATCHES)
    + f"{'tensors':>10}{'pose':>11}  verdict"
)


def line(trial: Trial) -> str:
    """One row of the table."""
    if trial.missing:
        return f"{trial.engine:21}{trial.verdict}"
    text = f"{trial.engine:21}{trial.precision:10}{trial.model:21}"
    if trial.not_run:
        return f"{text}{trial.seconds:8.1f}{'':{10 * len(BATCHES) + 21}}  {trial.verdict}"
    if trial.answer is None:
        return f"{text}{trial.verdict}"
    pose = "" if trial.answer.pose is None else f"{trial.answer.pose:.3f} {trial.answer.unit}"
    times = "".join("         -" if ms is None else f"{ms:10.2f}" for ms in trial.milliseconds)
    return (
        f"{text}{trial.seconds:8.1f}{times}{trial.answer.difference:10.1e}{pose:>11}  "
        f"{trial.verdict}"
    )
