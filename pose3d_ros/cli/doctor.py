"""Try every inference engine of this machine on every model, and print a report to attach to an
issue.

Exit code 1 when an engine that is installed fails: it does not load, crashes, or answers other
than the float32 references that are stored with the models. Engines that are not installed are
listed with the remedy.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import itertools
import os
import platform
import statistics
import sys
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
    cpu,
    gpu,
    reference_check,
)
from pose3d_ros.inference.batching import any_rows
from pose3d_ros.model_store import store
from pose3d_ros.model_store.store import ModelError

T = TypeVar("T")
BATCHES = (1, 4, 16)
MEASURED_S = 0.3
FEWEST_RUNS, MOST_RUNS = 5, 200
PACKAGES = (
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "tensorrt",
    "cuda-bindings",
)


@dataclass(frozen=True)
class Trial:
    """What came of one engine with one model in one precision."""

    engine: str
    precision: str
    model: str
    verdict: str
    """``pass``, ``FAIL: ...`` or ``not installed: ...``."""
    seconds: float | None = None
    """Until it was ready to run."""
    answer: reference_check.Answer | None = None
    milliseconds: tuple[float | None, ...] = ()
    """Of one call with as many rows as in ``BATCHES``; None where the network takes one at a time.
    """

    @property
    def missing(self) -> bool:
        """Whether the engine is not there at all."""
        return self.verdict.startswith("not installed")

    @property
    def failed(self) -> bool:
        """Whether something is wrong."""
        return self.verdict.startswith("FAIL")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of the command."""
    parser.add_argument(
        "--engine",
        choices=tuple(inference.ENGINES),
        action="append",
        help="try this one only; may be repeated",
    )


def command(options: argparse.Namespace) -> int:
    """Do it, and say as it goes."""
    for name, value in versions():
        _say(f"{name:22} {value}")
    _say("")
    _say(HEADING)
    failed = tried = 0
    for trial in trials(options.engine or tuple(inference.ENGINES)):
        _say(line(trial))
        failed, tried = failed + trial.failed, tried + (not trial.missing)
    _say("")
    _say(
        f"{tried - failed} of {tried} passed"
        + (f", {failed} FAILED: please attach this text to an issue" if failed else "")
    )
    return int(failed > 0)


def versions() -> Iterator[tuple[str, str]]:
    """What a reader of the report must know of the machine."""
    yield "pose3d_ros", _version("pose3d_ros")
    yield "system", f"{_system()}, {platform.machine()}, Linux {platform.release()}"
    yield "processor", f"{cpu.name()}, {cpu.cores()} cores for this process"
    yield "Python", platform.python_version()
    yield (
        "ROS",
        f"{os.environ.get('ROS_DISTRO', 'no distribution sourced')}, rclpy {_version('rclpy')}",
    )
    found = gpu.find()
    yield (
        "GPU",
        "none found" if found is None else f"{found.name}, compute capability {found.capability}",
    )
    yield (
        "driver",
        "none" if found is None else f"{_driver()}, runs CUDA up to {found.driver_cuda}",
    )
    for package in PACKAGES:
        if (version := _version(package)) != "not installed":
            yield package, version
    try:
        import onnxruntime

        yield "ONNX Runtime providers", ", ".join(onnxruntime.get_available_providers())
    except ImportError:
        yield "ONNX Runtime providers", "none: pip install onnxruntime"


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
        """What the function gives in the other process. Raises ``BrokenProcessPool`` when it
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
    if trial.answer is None:
        return f"{text}{trial.verdict}"
    pose = "" if trial.answer.pose is None else f"{trial.answer.pose:.3f} {trial.answer.unit}"
    times = "".join("         -" if ms is None else f"{ms:10.2f}" for ms in trial.milliseconds)
    return (
        f"{text}{trial.seconds:8.1f}{times}{trial.answer.difference:10.1e}{pose:>11}  "
        f"{trial.verdict}"
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _system() -> str:
    tegra = Path("/etc/nv_tegra_release")
    jetson = (
        f", Jetson {tegra.read_text().splitlines()[0].lstrip('# ')}" if tegra.is_file() else ""
    )
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"] + jetson
    except OSError:
        return "Linux of an unknown distribution" + jetson


def _driver() -> str:
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:  # a Jetson's is part of its system
        return "of the system"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
