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

"""One interface over the engines that run networks.

>>> engine = load("model.onnx", engine="auto")
>>> engine({"image": images})["landmarks"]

A new engine is one file and one line in ``registry.ENGINES``. The
file has a factory of the type ``options.Factory``, which imports the engine's library inside
(nobody pays for what is not used), answers ``MissingEngineError`` with a one-line remedy where it
is missing, takes its default precision from ``Options.precision_of``, and returns what
``engine.Engine`` describes. What takes more than a second to make belongs in the cache
(``cache.Cache``); what takes minutes behind an engine that serves meanwhile
(``hot_swap.HotSwap``), unless ``Options.wait``.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from pose3d_ros import registry
from pose3d_ros.errors import EngineError, MissingEngineError, PrecisionError
from pose3d_ros.inference import autotune
from pose3d_ros.inference.engine import Engine
from pose3d_ros.inference.options import PRECISIONS, Factory, Options
from pose3d_ros.inference.shared import SharedEngine
from pose3d_ros.registry import ENGINES

__all__ = [
    "ENGINES",
    "PRECISIONS",
    "Engine",
    "EngineError",
    "MissingEngineError",
    "Options",
    "PrecisionError",
    "create",
    "load",
    "uses_gpu",
]


ON_GPU = ("tensorrt", "cuda")
"""Engines that ``auto`` tries before the CPU."""


def load(
    path: str | Path,
    engine: str = "auto",
    threads: int = 0,
    outputs: Sequence[str] | None = None,
    precision: str = "auto",
    max_people: int = 16,
) -> Engine:
    """The network in the ONNX file ``path`` on an engine, which all who ask for the same share.

    ``engine``: a key of ``ENGINES``, or ``auto``: the first of ``ON_GPU`` that is installed and
    works, otherwise the one that is fastest on this CPU. The others are in ``Options``;
    ``outputs`` restricts what is computed. Raises ``EngineError``.
    """
    path = Path(path)
    if not path.is_file():
        raise EngineError(f"expected a model at {path}, found no file")
    # Never fewer than the default: an engine that was built once serves nodes with fewer people
    # too.
    options = Options(threads, precision, max(max_people, Options.max_people))
    key = (
        path.resolve(),
        path.stat().st_mtime_ns,
        engine,
        options,
        None if outputs is None else tuple(outputs),
    )
    return SharedEngine(key, lambda: create(path, engine, options, outputs))


def create(
    path: Path, engine: str, options: Options, outputs: Sequence[str] | None = None
) -> Engine:
    """As ``load``, with all options, and for the caller alone."""
    if engine == "auto":
        for name in ON_GPU:
            try:
                return _factory(name)(path, options, outputs)
            except MissingEngineError:
                continue
            except EngineError as error:
                _warn_once(f"{error}; going on without {name}")
        engine, options = autotune.tuned(path, options)
    if engine not in ENGINES:
        raise EngineError(f"engine: expected auto, {', '.join(ENGINES)}; got '{engine}'")
    return _factory(engine)(path, options, outputs)


def uses_gpu(engine: str) -> bool:
    """Whether networks on ``engine`` run on a GPU: with ``auto``, where the machine and what is
    installed let one of ``ON_GPU``.
    """
    if engine != "auto":
        return engine not in autotune.FACTORIES
    from pose3d_ros.inference.engines import onnxruntime
    from pose3d_ros.inference.engines.tensorrt import library as tensorrt

    for check in (
        tensorrt.of_this_gpu,
        functools.partial(onnxruntime.check, "cuda", "CUDAExecutionProvider"),
    ):
        with suppress(MissingEngineError):
            check()
            return True
    return False


def _factory(engine: str) -> Factory:
    factory: Factory = registry.load(ENGINES, engine)
    return factory


@functools.cache
def _warn_once(text: str) -> None:
    logging.getLogger(__name__).warning(text)
