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

"""Building TensorRT engines; imported only where TensorRT is. Nobody has run it yet (see
``tensorrt.engine``).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import tensorrt as trt

from pose3d_ros.errors import EngineError
from pose3d_ros.inference.batching import profiles
from pose3d_ros.inference.hot_swap import Phases, Progress

STRONGLY_TYPED_ALWAYS = 11
"""From this version on every network is strongly typed."""


class Logger(trt.ILogger):  # type: ignore[misc,unused-ignore]
    """Keeps what TensorRT complains of, to say it in one line."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self.errors: list[str] = []
        trt.init_libnvinfer_plugins(
            self, ""
        )  # operators that exports with built-in suppression use

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT."""
        if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
            self.errors.append(" ".join(msg.split()))

    def said(self) -> str:
        """The first complaints."""
        return "; ".join(self.errors[:3])[:600] or "without a reason"


class _Monitor(trt.IProgressMonitor):  # type: ignore[misc,unused-ignore]
    """Tells ``Progress`` of the phases of a build, and stops it when nobody waits any more."""

    def __init__(self, progress: Progress) -> None:
        trt.IProgressMonitor.__init__(self)
        self._phases, self._progress = Phases(), progress

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        """Called by TensorRT, as the others are."""
        self._phases.start(phase_name, parent_phase, num_steps)

    def step_complete(self, phase_name: str, step: int) -> bool:
        """Whether to go on."""
        self._phases.step(phase_name, step)
        self._progress.share = self._phases.share
        return not self._progress.cancelled

    def phase_finish(self, phase_name: str) -> None:
        """A phase ends."""
        self._phases.finish(phase_name)
        self._progress.share = self._phases.share


class Built(NamedTuple):
    """A serialised engine, and TensorRT's timings of kernels, which make the next build
    shorter.
    """

    engine: bytes
    timings: bytes


def build(
    path: Path, model: bytes, most: int, exact: bool, timings: bytes, progress: Progress
) -> Built:
    """Build an engine from a typed ONNX ``model`` (``in_precision``), for 1 to ``most`` rows.

    ``path`` is for messages; ``exact`` forbids TF32; ``timings`` of an earlier build, or empty.
    Raises ``EngineError``.
    """
    logger = Logger()
    builder = trt.Builder(logger)
    major = int(trt.__version__.split(".")[0])
    flags = (
        0
        if major >= STRONGLY_TYPED_ALWAYS
        else 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    )
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(model):
        found = "; ".join(str(parser.get_error(i).desc()) for i in range(parser.num_errors))
        raise EngineError(
            f"{path}: TensorRT {trt.__version__} cannot read this model ({found or logger.said()})"
        )
    config = builder.create_builder_config()
    config.progress_monitor = _Monitor(progress)
    if exact:
        config.clear_flag(trt.BuilderFlag.TF32)
    cache = config.create_timing_cache(timings)
    config.set_timing_cache(cache, False)
    inputs = [network.get_input(i) for i in range(network.num_inputs)]
    if wanted := profiles(path, {tensor.name: shape_of(tensor.shape) for tensor in inputs}, most):
        profile = builder.create_optimization_profile()
        for name, shapes in wanted.items():
            profile.set_shape(name, shapes.least, shapes.usual, shapes.most)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"{path}: TensorRT {trt.__version__} cannot build this model ({logger.said()})"
        )
    return Built(bytes(memoryview(plan)), bytes(memoryview(config.get_timing_cache().serialize())))


def concrete(dimensions: Any) -> tuple[int, ...]:
    """A shape without free axes, of TensorRT's ``Dims``."""
    return tuple(int(n) for n in dimensions)


def shape_of(dimensions: Any) -> tuple[int | None, ...]:
    """A shape of ours, of TensorRT's ``Dims``."""
    return tuple(None if n < 0 else int(n) for n in dimensions)
