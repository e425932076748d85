"""Networks in ONNX Runtime, on the CPU, CUDA or TensorRT."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros.inference.errors import EngineError
from pose3d_ros.model_store import cache_folder

MOST_THREADS = 8
"""Networks of a few milliseconds do not gain from more."""


class OnnxRuntimeEngine:
    """An ONNX Runtime session; see ``inference.Engine``."""

    def __init__(
        self, name: str, providers: list[Any], path: Path, threads: int, outputs: Sequence[str] | None
    ) -> None:
        runtime = _onnxruntime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads or min(_cores(), MOST_THREADS)
        # Threads that spin between two networks take the time of the other one: a third of the rate on two cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        try:
            session = runtime.InferenceSession(str(path), options, providers=providers)
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise EngineError(f"{path}: ONNX Runtime cannot load this model ({_one_line(error)}); replace the file by "
                              f"a valid ONNX export") from None
        self.name = name
        self.inputs = {value.name: _shape(value) for value in session.get_inputs()}
        self.outputs = {value.name: _shape(value) for value in session.get_outputs()}
        self._run_options = runtime.RunOptions()
        if outputs is not None:
            if missing := sorted(set(outputs) - set(self.outputs)):
                raise EngineError(f"{path}: expected the outputs {', '.join(outputs)}; {', '.join(missing)} not among "
                                  f"{', '.join(self.outputs)}")
            self.outputs = {name: self.outputs[name] for name in outputs}
            self._run_options.only_execute_path_to_fetches = True
        self._path = path
        self._session: Any = session

    @property
    def providers(self) -> list[str]:
        """ONNX Runtime's execution providers in use, best first."""
        return list(self._session.get_providers())

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run once: input name -> array to output name -> array. Raises ``EngineError`` on a wrong shape or type."""
        names = list(self.outputs)
        try:
            return dict(zip(names, self._session.run(names, dict(feeds), self._run_options), strict=True))
        except Exception as error:  # as above
            got = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in feeds.items())
            expected = ", ".join(f"{name} {shape}" for name, shape in self.inputs.items())
            raise EngineError(f"{self._path}: expected {expected}; got {got} ({_one_line(error)})") from None

    def close(self) -> None:
        """Free the session's memory; the engine cannot be called any more."""
        self._session = None


def cpu(path: Path, threads: int, outputs: Sequence[str] | None) -> OnnxRuntimeEngine:
    """On the CPU."""
    return OnnxRuntimeEngine("cpu", ["CPUExecutionProvider"], path, threads, outputs)


def cuda(path: Path, threads: int, outputs: Sequence[str] | None) -> OnnxRuntimeEngine:
    """On an NVIDIA GPU with CUDA."""
    return _on_gpu("cuda", ["CUDAExecutionProvider", "CPUExecutionProvider"], path, threads, outputs)


def tensorrt(path: Path, threads: int, outputs: Sequence[str] | None) -> OnnxRuntimeEngine:
    """On an NVIDIA GPU with TensorRT; engines are built at first use and kept in the package's cache folder."""
    cached = {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(cache_folder() / "tensorrt")}
    return _on_gpu("tensorrt", [("TensorrtExecutionProvider", cached), "CUDAExecutionProvider",
                                "CPUExecutionProvider"], path, threads, outputs)


@cache
def cuda_works() -> bool:
    """Whether ONNX Runtime has CUDA and a device to run it on."""
    try:
        runtime = _onnxruntime()
    except EngineError:
        return False
    return "CUDAExecutionProvider" in runtime.get_available_providers() and os.path.exists("/dev/nvidiactl")


def _on_gpu(
    name: str, providers: list[Any], path: Path, threads: int, outputs: Sequence[str] | None
) -> OnnxRuntimeEngine:
    runtime = _onnxruntime()
    wanted = providers[0] if isinstance(providers[0], str) else providers[0][0]
    if wanted not in runtime.get_available_providers():
        library = "onnxruntime-gpu" if name == "cuda" else "onnxruntime-gpu, and NVIDIA's TensorRT libraries"
        raise EngineError(f"engine {name}: this ONNX Runtime ({runtime.__version__}) has no {wanted}; install "
                          f"{library}, or set engine to cpu")
    if hasattr(runtime, "preload_dlls"):
        runtime.preload_dlls()
    engine = OnnxRuntimeEngine(name, providers, path, threads, outputs)
    if wanted not in engine.providers:  # ONNX Runtime goes on without a provider whose libraries do not load
        raise EngineError(f"engine {name}: ONNX Runtime could not start {wanted}; the GPU driver or the libraries of "
                          f"{'CUDA and cuDNN' if name == 'cuda' else 'TensorRT'} are missing or of another version")
    return engine


def _onnxruntime() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise EngineError(f"ONNX Runtime is not installed ({error}); pip install onnxruntime") from None
    return onnxruntime


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _shape(value: Any) -> tuple[int | None, ...]:
    return tuple(n if isinstance(n, int) else None for n in value.shape)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
