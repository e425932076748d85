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

"""Building of TensorRT engines from typed ONNX models."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from pose3d_ros.errors import EngineError
from pose3d_ros.inference.batching import profiles
from pose3d_ros.inference.engines.tensorrt.library import Library
from pose3d_ros.inference.hot_swap import Phases, Progress
from pose3d_ros.model_store.store import Pictures

LEAST_SHARE = 0.25
"""Bytes of an engine beside those of its model, at least. The engines of all our models have 0.5
to 2.5; one for pictures too small for the network's strides, which TensorRT takes for empty, 0.03.
"""


class Built(NamedTuple):
    """A serialised engine; the layers of its network as TensorRT read it; and timings of kernels,
    which make the next build shorter (classic TensorRT).
    """

    engine: bytes
    layers: int
    timings: bytes


def build(
    library: Library,
    path: Path,
    model: bytes,
    most: int,
    pictures: Pictures | None,
    target: str,
    exact: bool,
    timings: bytes,
    progress: Progress,
) -> Built:
    """Build an engine from a typed ONNX ``model`` (``in_precision``), for 1 to ``most`` rows.

    ``path`` is for messages; ``pictures`` as in ``batching.profiles``; ``target``: what TensorRT
    for RTX compiles for, such as sm89 (classic TensorRT builds for the GPU that it is on);
    ``exact`` forbids TF32; ``timings`` of an earlier build, or empty. Raises ``EngineError``.
    """
    trt, complaints = library.module, logger(library)
    builder = trt.Builder(complaints)
    complaints.errors.clear()  # it misses a driver where there is none
    network = builder.create_network(library.network_flags)
    parser = trt.OnnxParser(network, complaints)
    if not parser.parse(model):
        found = "; ".join(_reason(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(
            f"{path}: {library.name} cannot read this model ({found or complaints.said()}); set "
            "engine to cpu or onnxruntime-tensorrt"
        )
    config = builder.create_builder_config()
    config.progress_monitor = _monitor(library, progress)
    if exact:
        config.clear_flag(trt.BuilderFlag.TF32)
    if library.rtx:
        config.num_compute_capabilities = 1
        config.set_compute_capability(library.targets[target], 0)
    else:
        config.set_timing_cache(config.create_timing_cache(timings), False)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    shapes = {tensor.name: shape_of(tensor.shape) for tensor in inputs}
    if wanted := profiles(path, shapes, most, pictures):
        profile = builder.create_optimization_profile()
        for name, of in wanted.items():
            profile.set_shape(name, of.least, of.usual, of.most)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"{path}: {library.name} cannot build this model ({complaints.said()}); set engine "
            "to cpu or onnxruntime-tensorrt"
        )
    if plan.nbytes < LEAST_SHARE * len(model):
        raise EngineError(
            f"{path}: expected an engine of about {len(model) / 1e6:.1f} MB, as the model, got "
            f"{plan.nbytes / 1e6:.1f} MB: for {wanted or shapes} {library.name} takes it for "
            "empty; export it for larger pictures"
        )
    found_timings = b"" if library.rtx else memoryview(config.get_timing_cache().serialize())
    return Built(bytes(memoryview(plan)), int(network.num_layers), bytes(found_timings))


def logger(library: Library) -> Any:
    """A logger of TensorRT that keeps the ``errors`` and has them ``said()`` in one line."""
    return _logger_class(library)()


@cache
def _logger_class(library: Library) -> Any:
    trt = library.module

    class Logger(trt.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            if not library.rtx:  # operators that exports with built-in suppression use
                trt.init_libnvinfer_plugins(self, "")
            self.errors: list[str] = []

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(" ".join(msg.split()))

        def said(self) -> str:
            return "; ".join(self.errors[:3])[:600] or "without a reason"

    return Logger


def _monitor(library: Library, progress: Progress) -> Any:
    """Tells ``progress`` of the phases of a build, and stops it when nobody waits any more."""
    trt, phases = library.module, Phases()

    class Monitor(trt.IProgressMonitor):  # type: ignore[name-defined]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            progress.share = phases.share
            return not progress.cancelled

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)
            progress.share = phases.share

    return Monitor()


def _reason(error: Any) -> str:
    """What the parser says of a node; of an operator that it lacks only "false"."""
    operator, said = error.node_operator(), " ".join(error.desc().split())
    where = f"operator {operator} of node '{error.node_name()}'" if operator else ""
    return ": ".join(part for part in (where, "" if said == "false" else said) if part)


def concrete(dimensions: Any) -> tuple[int, ...]:
    """A shape without free axes, of TensorRT's ``Dims``."""
    return tuple(int(n) for n in dimensions)


def shape_of(dimensions: Any) -> tuple[int | None, ...]:
    """A shape of ours, of TensorRT's ``Dims``."""
    return tuple(None if n < 0 else int(n) for n in dimensions)
