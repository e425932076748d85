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

"""Fastest engine and number of threads for a network on this CPU: measured on request,
and remembered.

A node that starts does not measure: that takes seconds, just when the machine is busy with
starting everything else. ``pose3d benchmark`` and ``pose3d models build`` do; a node looks up what
they found, and takes ONNX Runtime otherwise.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np

from pose3d_ros.errors import MissingEngineError, PrecisionError
from pose3d_ros.inference import cpu
from pose3d_ros.inference.cache import Cache, hash_of
from pose3d_ros.inference.engine import Engine, warm_up, zeros
from pose3d_ros.inference.engines import onnxruntime, openvino
from pose3d_ros.inference.options import Factory, Options

FACTORIES: dict[str, Factory] = {"cpu": onnxruntime.cpu, "openvino": openvino.openvino}
"""The engines to choose from, the one to prefer first."""
WORTHWHILE = 0.9
"""Another engine must take at most this share of the preferred one's time: it loads more slowly,
and stops for a while whenever the number of people is new to it.
"""
AS_GOOD = 1.05
"""Fewer threads that take so much longer at most are better: the other cores have other things to
do.
"""
WARM_UP, ROUNDS, SECONDS = 3, 200, 1.0


@dataclass(frozen=True)
class Tuned:
    """Engine and threads for a network on the CPU; 0 threads means as many as usual.

    ``milliseconds``: of a call with one row, where that was measured.
    """

    engine: str = "cpu"
    threads: int = 0
    milliseconds: float | None = None


def tuned(path: Path, options: Options) -> tuple[str, Options]:
    """The engine for a network and the options to make it with: as measured earlier, or now if
    there is time.
    """
    found = measure(path, options) if options.wait else stored(path, options.precision)
    return found.engine, replace(options, threads=options.threads or found.threads)


def stored(path: Path, precision: str = "auto") -> Tuned:
    """Result of ``measure`` for this network on this machine with these libraries; otherwise ONNX
    Runtime.
    """
    # The key takes reading the whole model, which a node shall not do where nothing was ever
    # measured.
    data = Cache().read(_parts(path, precision)) if Cache().has(_name(path)) else None
    if data is not None:
        with suppress(ValueError, TypeError):  # of another version of this package
            found = Tuned(**json.loads(data))
            if found.engine in FACTORIES:
                return found
    return Tuned("openvino" if precision == "bf16" else "cpu")


def measure(path: Path, options: Options) -> Tuned:
    """Time every engine that is installed, for one row of input and about a second, and remember
    the best.

    With ``options.threads`` engines alone are compared, and no number of threads is remembered.
    Raises ``EngineError`` for a network that does not load.
    """
    engines: dict[Tuned, Engine] = {}
    for name, factory in FACTORIES.items():
        with suppress(MissingEngineError, PrecisionError):
            for threads in [options.threads] if options.threads else thread_counts(cpu.threads(0)):
                engines[Tuned(name, threads)] = factory(
                    path, replace(options, threads=threads), None
                )
    if not engines:  # none computes in this precision: let the preferred one say so
        return Tuned()
    seconds = time_in_turns(engines)
    best = pick(seconds)
    best = Tuned(best.engine, 0 if options.threads else best.threads, 1e3 * seconds[best])
    for engine in engines.values():
        engine.close()
    Cache().write(_parts(path, options.precision), json.dumps(asdict(best)).encode())
    return best


def thread_counts(most: int) -> list[int]:
    """1, 2, 4, ... and ``most``."""
    return sorted({most, *(1 << i for i in range(most.bit_length()) if 1 << i <= most)})


def time_in_turns(engines: Mapping[Tuned, Engine]) -> dict[Tuned, float]:
    """Median seconds of a run of each, which take turns, so that what else the machine does meets
    all of them.
    """
    seconds: dict[Tuned, list[float]] = {found: [] for found in engines}
    feeds = {found: zeros(engine) for found, engine in engines.items()}
    for engine in engines.values():
        warm_up(engine, [1] * WARM_UP)
    end = time.perf_counter() + SECONDS
    for number in range(ROUNDS):
        for found, engine in engines.items():
            start = time.perf_counter()
            engine(feeds[found])
            seconds[found].append(time.perf_counter() - start)
        if time.perf_counter() > end and number >= WARM_UP:
            break
    return {found: float(np.median(taken)) for found, taken in seconds.items()}


def pick(seconds: Mapping[Tuned, float]) -> Tuned:
    """The best of what was measured: the preferred engine unless another is worth it, with as many
    threads as help.
    """

    def fewest(engine: str) -> Tuned:
        own = {found: taken for found, taken in seconds.items() if found.engine == engine}
        return min(
            (found for found in own if own[found] <= AS_GOOD * min(own.values())),
            key=lambda c: c.threads,
        )

    best, *others = (
        fewest(engine) for engine in FACTORIES if any(found.engine == engine for found in seconds)
    )
    for other in others:
        if seconds[other] <= WORTHWHILE * seconds[best]:
            best = other
    return best


def _name(path: Path) -> str:
    return f"{path.stem}-autotune"


def _parts(path: Path, precision: str) -> dict[str, str]:
    versions = {}
    for library in ("onnxruntime", "onnxruntime-gpu", "openvino"):
        with suppress(metadata.PackageNotFoundError):
            versions[library] = metadata.version(library)
    return {
        "name": _name(path),
        "model": hash_of(path),
        "cpu": cpu.model(),
        "cores": str(cpu.cores()),
        "precision": precision,
        **versions,
    }
