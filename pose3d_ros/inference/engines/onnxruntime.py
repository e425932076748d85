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

"""Networks in ONNX Runtime, on the CPU, CUDA or TensorRT."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros.errors import EngineError, MissingEngineError, quoted
from pose3d_ros.inference import gpu, int8
from pose3d_ros.inference.batching import in_parts, joined, profiles, rows_of, wrong_feeds
from pose3d_ros.inference.cpu import threads as threads_for
from pose3d_ros.inference.engine import Engine, check_shapes, restricted, warm_up
from pose3d_ros.inference.hot_swap import HotSwap, Progress
from pose3d_ros.inference.mixed_precision import in_precision
from pose3d_ros.inference.options import Options
from pose3d_ros.inference.ort import library, memory_limit_bytes
from pose3d_ros.inference.reference_check import TOLERANCES
from pose3d_ros.model_store.store import cache_folder, pictures_of

_log = logging.getLogger(__name__)

TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int8)": np.int8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
    "tensor(bool)": np.bool_,
}


class OnnxRuntimeEngine:
    """An ONNX Runtime session; see ``inference.Engine``."""

    def __init__(
        self,
        name: str,
        providers: list[Any],
        path: Path,
        threads: int,
        outputs: Sequence[str] | None,
        precision: str = "fp32",
    ) -> None:
        runtime = library()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads_for(threads)
        # Threads that spin between two networks take the time of the other one: a third of the
        # rate on two cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.log_severity_level = 3
        model: str | bytes = str(path)
        if precision == "fp16":
            model = in_precision(path, precision)
            # All of them end the process on an LSTM in fp16 that runs on the CPU (ONNX Runtime
            # 1.31).
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        elif precision == "int8":
            model = int8.calibrated_model(path)
        try:
            session = runtime.InferenceSession(
                model,
                options,
                providers=providers,
                disabled_optimizers=int8.UNWANTED,
                enable_fallback=0,  # which prints
            )
            values = session.get_inputs(), session.get_outputs()
            described = [
                [(value.name, value.type, _shape(value)) for value in side] for side in values
            ]
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise EngineError(
                f"{path}: ONNX Runtime cannot load this model ({quoted(error)}); replace the "
                "file by a valid ONNX export"
            ) from None
        self.name = name
        for value, kind, _ in (*described[0], *described[1]):
            if kind not in TYPES:
                raise EngineError(
                    f"{path}: expected tensors of numbers, got {value[:60]} of type {kind[:60]}; "
                    f"replace the file by a valid ONNX export"
                )
        self.inputs, self.outputs = (
            {value: shape for value, _, shape in side} for side in described
        )
        self.types = {value: np.dtype(TYPES[kind]) for value, kind, _ in described[0]}
        check_shapes(path, self.inputs)
        check_shapes(path, self.outputs, "output")
        self._run_options = runtime.RunOptions()
        self._run_options.log_severity_level = 4  # the exception tells
        if outputs is not None:
            self.outputs = restricted(path, self.outputs, outputs)
            self._run_options.only_execute_path_to_fetches = True
        self.most: int | None = None
        """Rows that it can take at once; more run in parts."""
        self._path = path
        self._session: Any = session

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's execution providers in use, best first."""
        return list(self._session.get_providers())

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: input name -> array to output name -> array. Raises ``EngineError`` on a wrong
        shape or type.
        """
        if (
            self.most is not None
            and rows_of(self._path, self.inputs, self.types, feeds) > self.most
        ):
            return joined([self(part) for part in in_parts(self.inputs, feeds, self.most)])
        names = list(self.outputs)
        try:
            return dict(
                zip(names, self._session.run(names, dict(feeds), self._run_options), strict=True)
            )
        except Exception as error:  # as above
            if "smaller than requested bytes" in str(error):
                raise EngineError(
                    f"{self._path}: expected a network that runs in "
                    f"{memory_limit_bytes() / 1e9:.0f} GB, half of this machine's memory; it asks "
                    f"for more: choose another model, or give it fewer rows at once"
                ) from None
            raise wrong_feeds(self._path, self.inputs, self.types, feeds, quoted(error)) from None

    def close(self) -> None:
        """Free the session's memory; the engine cannot be called any more."""
        self._session = None


def cpu(path: Path, options: Options, outputs: Sequence[str] | None) -> OnnxRuntimeEngine:
    """On the CPU."""
    precision = options.precision_of("cpu", "fp32", "int8")
    return OnnxRuntimeEngine(
        "cpu", ["CPUExecutionProvider"], path, options.threads, outputs, precision
    )


def cuda(path: Path, options: Options, outputs: Sequence[str] | None) -> OnnxRuntimeEngine:
    """On an NVIDIA GPU with CUDA."""
    check("cuda", "CUDAExecutionProvider")
    precision = options.precision_of("cuda", "fp32", "fp16")
    providers = [
        ("CUDAExecutionProvider", {"use_tf32": "0"}),
        "CPUExecutionProvider",
    ]  # fp32 shall be fp32
    engine = _on_gpu("cuda", providers, path, options.threads, outputs, precision)
    warm_up(engine)
    return engine


def quick(path: Path, options: Options, outputs: Sequence[str] | None) -> OnnxRuntimeEngine:
    """On the GPU where it can be, else on the CPU: what serves while something better is built."""
    try:
        return cuda(path, options, outputs)
    except MissingEngineError:
        pass
    except EngineError as error:
        _log.warning("%s; going on with the CPU", error)
    return cpu(path, options, outputs)


def tensorrt(path: Path, options: Options, outputs: Sequence[str] | None) -> Engine:
    """On an NVIDIA GPU with TensorRT through ONNX Runtime, which keeps what it builds in a cache
    of its own.

    For models with operators that TensorRT lacks: those run with CUDA.
    """
    check("onnxruntime-tensorrt", "TensorrtExecutionProvider")
    precision = options.precision_of("onnxruntime-tensorrt", "fp16", "fp32")
    serving = quick(path, replace(options, precision="auto"), outputs)

    def make(_: Progress) -> OnnxRuntimeEngine:
        folder = str(cache_folder() / "onnxruntime-tensorrt")
        configuration = {
            "trt_engine_cache_enable": True,
            "trt_engine_cache_path": folder,
            "trt_timing_cache_enable": True,
            "trt_timing_cache_path": folder,
        }
        for i, kind in enumerate(("min", "opt", "max")):
            configuration[f"trt_profile_{kind}_shapes"] = ",".join(
                f"{name}:{'x'.join(map(str, shapes[i]))}"
                for name, shapes in profiles(
                    path, serving.inputs, options.max_people, pictures_of(path)
                ).items()
            )
        providers = [
            ("TensorrtExecutionProvider", configuration),
            "CUDAExecutionProvider",
            "CPUExecutionProvider",
        ]
        engine = _on_gpu(
            "onnxruntime-tensorrt", providers, path, options.threads, outputs, precision
        )
        engine.most = options.max_people
        warm_up(engine)  # it builds at the first run
        return engine

    if options.wait:
        serving.close()
        return make(Progress())
    return HotSwap(serving, f"onnxruntime-tensorrt of {path.stem}", make, TOLERANCES[precision])


def _on_gpu(
    name: str,
    providers: list[Any],
    path: Path,
    threads: int,
    outputs: Sequence[str] | None,
    precision: str,
) -> OnnxRuntimeEngine:
    wanted = providers[0][0]
    engine = OnnxRuntimeEngine(name, providers, path, threads, outputs, precision)
    if (
        wanted not in engine.providers
    ):  # ONNX Runtime goes on without a provider whose libraries do not load
        raise EngineError(
            f"engine {name}: ONNX Runtime could not start {wanted}; the GPU driver or the "
            f"libraries of {'CUDA and cuDNN' if name == 'cuda' else 'TensorRT'} are missing or "
            "of another version"
        )
    return engine


def check(name: str, provider: str) -> None:
    """Raises ``MissingEngineError`` where ONNX Runtime lacks the provider, or the machine a
    GPU.
    """
    runtime = library()
    if provider not in runtime.get_available_providers():
        package = (
            "onnxruntime-gpu"
            if name == "cuda"
            else "onnxruntime-gpu, and NVIDIA's TensorRT libraries"
        )
        raise MissingEngineError(
            f"engine {name}: this ONNX Runtime ({runtime.__version__}) has no {provider}; install "
            f"{package}, or set engine to cpu"
        )
    gpu.required(name)
    if hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(n if isinstance(n, int) else None for n in value.shape)
