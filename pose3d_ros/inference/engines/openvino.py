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

"""Networks in OpenVINO, on the CPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros.errors import EngineError, MissingEngineError, PrecisionError, quoted
from pose3d_ros.inference import cpu, int8
from pose3d_ros.inference.batching import wrong_feeds
from pose3d_ros.inference.engine import check_shapes, restricted
from pose3d_ros.inference.options import Options


class OpenVinoEngine:
    """A compiled network; see ``inference.Engine``."""

    name = "openvino"

    def __init__(
        self,
        path: Path,
        threads: int,
        arithmetic: str,
        outputs: Sequence[str] | None,
        model: bytes | None = None,
    ) -> None:
        """``arithmetic``: f32 or bf16. ``model``: taken instead of what is in ``path``."""
        openvino, core = _openvino(), _core()
        try:
            network = core.read_model(path if model is None else BytesIO(model))
            if outputs is not None:
                known = {name: output for output in network.outputs for name in output.names}
                network = openvino.Model(
                    [*restricted(path, known, outputs).values()], network.get_parameters()
                )
            # Pinned to a core each, the threads of two networks and of other programs wait for one
            # another.
            compiled = core.compile_model(
                network,
                "CPU",
                {
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": threads,
                    "ENABLE_CPU_PINNING": False,
                    "INFERENCE_PRECISION_HINT": arithmetic,
                },
            )
        except EngineError:
            raise
        except RuntimeError as error:
            raise EngineError(
                f"{path}: OpenVINO cannot load this model ({quoted(error)}); replace the file by "
                "a valid ONNX export, or set engine to cpu"
            ) from None
        self.inputs = {value.any_name: _shape(value) for value in compiled.inputs}
        self.outputs = {value.any_name: _shape(value) for value in compiled.outputs}
        self.types = {
            value.any_name: np.dtype(value.element_type.to_dtype()) for value in compiled.inputs
        }
        check_shapes(path, self.inputs)
        check_shapes(path, self.outputs, "output")
        self._path = path
        self._request: Any = compiled.create_infer_request()

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: input name -> array to output name -> array. Raises ``EngineError`` on a wrong
        shape or type.
        """
        # OpenVINO takes what it can convert, silently.
        problem = (
            ""
            if {name: array.dtype for name, array in feeds.items()} == self.types
            else "another type or name"
        )
        if not problem:
            try:
                found = self._request.infer(dict(feeds), share_inputs=True)
                return {name: found[name] for name in self.outputs}
            except RuntimeError as error:
                problem = quoted(error)
        raise wrong_feeds(self._path, self.inputs, self.types, feeds, problem)

    def close(self) -> None:
        """Free the network's memory; the engine cannot be called any more."""
        self._request = None


def openvino(path: Path, options: Options, outputs: Sequence[str] | None) -> OpenVinoEngine:
    """On the CPU; ``bf16`` on CPUs that compute in it."""
    precision = options.precision_of("openvino", "fp32", "bf16", "int8")
    if precision == "bf16" and "BF16" not in _core().get_property(
        "CPU", "OPTIMIZATION_CAPABILITIES"
    ):
        raise PrecisionError(
            "precision bf16: this CPU has no such arithmetic; set precision to fp32 or int8"
        )
    arithmetic = "bf16" if precision == "bf16" else "f32"
    return OpenVinoEngine(
        path,
        cpu.threads(options.threads),
        arithmetic,
        outputs,
        int8.calibrated_model(path) if precision == "int8" else None,
    )


@cache
def _core() -> Any:
    """The only one, kept until the process ends.

    Where AMX may be had, each sets a signal stack for the thread that makes it; two that go in the
    order in which they came leave one that is freed, and the next signal (Ctrl-C, the end of a
    child) ends the process.
    """
    return _openvino().Core()


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise MissingEngineError(
            f"engine openvino: OpenVINO is not installed ({error}); pip install openvino, or set "
            f"engine to cpu"
        ) from None
    return openvino


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(n.get_length() if n.is_static else None for n in value.partial_shape)
