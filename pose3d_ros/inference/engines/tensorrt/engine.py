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

"""Networks in TensorRT, directly: built from ONNX once, kept in the cache, served by ONNX Runtime
meanwhile.

NVIDIA's own parser and builder read and build all our models in the tests (TensorRT for RTX, which
needs no GPU for that). **Nobody has run an engine yet**: no machine of ours has a GPU with
TensorRT. ``pose3d doctor`` is how to find out, and ``hot_swap`` takes no engine whose answers are
off.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pose3d_ros.inference import gpu, int8
from pose3d_ros.inference.cache import Cache, hash_of
from pose3d_ros.inference.engine import Engine
from pose3d_ros.inference.engines import onnxruntime
from pose3d_ros.inference.engines.tensorrt import library as libraries
from pose3d_ros.inference.engines.tensorrt.build import Built, build
from pose3d_ros.inference.engines.tensorrt.library import Library
from pose3d_ros.inference.hot_swap import HotSwap, Progress
from pose3d_ros.inference.mixed_precision import IN_FLOAT32, in_precision
from pose3d_ros.inference.options import Options
from pose3d_ros.inference.reference_check import TOLERANCES
from pose3d_ros.model_store.store import pictures_of

_log = logging.getLogger(__name__)

if TYPE_CHECKING:
    from pose3d_ros.inference.engines.tensorrt.runtime import TensorRtEngine


@dataclass(frozen=True)
class Recipe:
    """All that an engine of the model in ``path`` depends on, but for what it is built for."""

    library: Library
    path: Path
    precision: str
    max_people: int

    @cached_property
    def model(self) -> bytes:
        """The typed model that TensorRT is given."""
        return self._quantised or in_precision(self.path, self.precision)

    def key(self, target: str, device: str = "") -> dict[str, str]:
        """Key in the cache of the engine for a compute capability, such as sm89; classic
        TensorRT's serves one kind of ``device`` alone.
        """
        quantised = self._quantised
        return {
            "name": self.path.stem,
            "model": hash_of(self.path),
            "quantised": "" if quantised is None else hashlib.sha256(quantised).hexdigest(),
            "TensorRT": self.library.name,
            "capability": target,
            "gpu": "" if self.library.rtx else device,
            "precision": self.precision,
            "float32": ", ".join(IN_FLOAT32) if self.precision == "fp16" else "",
            "profiles": f"1 to {self.max_people}, {pictures_of(self.path)}",
            "flags": "strongly typed" + (", no TF32" if self.precision == "fp32" else ""),
        }

    def build(self, target: str, timings: bytes, progress: Progress) -> Built:
        """Build the engine. Raises ``EngineError``."""
        return build(
            self.library,
            self.path,
            self.model,
            self.max_people,
            pictures_of(self.path),
            target,
            self.precision == "fp32",
            timings,
            progress,
        )

    @cached_property
    def _quantised(self) -> bytes | None:
        if self.precision != "int8":
            return None
        return int8.calibrated_model(self.path, int8.TENSORRT)


def tensorrt(path: Path, options: Options, outputs: Sequence[str] | None) -> Engine:
    """On an NVIDIA GPU with TensorRT, in fp16 unless asked otherwise.

    An engine in the cache is loaded at once, if it has run on this GPU before (TensorRT for RTX
    compiles the rest of it then). Otherwise it is made in the background, unless ``options.wait``.
    For ``int8`` a model must have been calibrated (``pose3d models build --images``).
    """
    library = libraries.of_this_gpu()
    device = gpu.required("tensorrt")
    recipe = _recipe(library, path, options)
    target = libraries.sm(device.capability)
    key = recipe.key(target, device.name)
    here = {"TensorRT": library.name, "gpu": device.name, "capability": target}
    timings = {"name": "timings", **here}
    compiled = {**key, **here, "name": f"{path.stem}-compiled", "driver": device.driver_cuda}
    cache = Cache()

    def make(progress: Progress) -> TensorRtEngine:
        from pose3d_ros.inference.engines.tensorrt.runtime import TensorRtEngine

        def built() -> bytes:
            done = recipe.build(target, cache.read(timings) or b"", progress)
            if done.timings:
                cache.write(timings, done.timings)
            return done.engine

        engine = cache.get(
            key,
            built,
            lambda data: TensorRtEngine(
                library,
                path,
                data,
                cache.read(compiled) or b"",
                lambda kernels: cache.write(compiled, kernels),
            ),
        )
        if outputs is not None:
            engine.restrict(outputs)
        began = time.monotonic()
        engine.warm_up()
        _log.info("%s: the first runs took %.1f s", path.stem, time.monotonic() - began)
        engine.keep_compiled()
        return engine

    here_already = [key, compiled] if library.rtx else [key]
    if options.wait or all(cache.read(parts) is not None for parts in here_already):
        return make(Progress())
    quick = onnxruntime.quick(path, replace(options, precision="auto"), outputs)
    return HotSwap(quick, f"tensorrt of {path.stem}", make, TOLERANCES[recipe.precision])


class AheadOfTime(NamedTuple):
    """An engine in the cache for a compute capability: who built it, its bytes, and the seconds
    that it took; None where it was there already.
    """

    target: str
    by: str
    size: int
    seconds: float | None


def build_ahead(path: Path, options: Options, targets: Sequence[str]) -> Iterator[AheadOfTime]:
    """Build engines of a model for compute capabilities such as sm89 with TensorRT for RTX, on a
    machine that need not have a GPU, and keep them in the cache.

    Raises ``EngineError``, also where the cache cannot keep them.
    """
    library = libraries.for_rtx()
    library.check_targets(targets)
    recipe = _recipe(library, path, options)
    for target in targets:
        yield _built_ahead(recipe, target)


def _built_ahead(recipe: Recipe, target: str) -> AheadOfTime:
    began, took = time.monotonic(), None

    def build() -> bytes:
        nonlocal took
        engine = recipe.build(target, b"", Progress()).engine
        took = time.monotonic() - began
        return engine

    engine = Cache(required=True).get(recipe.key(target), build, bytes)
    return AheadOfTime(target, recipe.library.name, len(engine), took)


def _recipe(library: Library, path: Path, options: Options) -> Recipe:
    precision = options.precision_of("tensorrt", *library.precisions)
    return Recipe(library, path, precision, options.max_people)
