"""One interface over the engines that run networks.

>>> engine = load("model.onnx", engine="auto")
>>> engine({"image": images})["landmarks"]
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from pose3d_ros.inference import onnxruntime_engine
from pose3d_ros.inference.errors import EngineError
from pose3d_ros.inference.shared import Engine, SharedEngine

__all__ = ["ENGINES", "Engine", "EngineError", "load"]


ENGINES: dict[str, Callable[[Path, int, Sequence[str] | None], Engine]] = {
    "cpu": onnxruntime_engine.cpu,
    "cuda": onnxruntime_engine.cuda,
    "tensorrt": onnxruntime_engine.tensorrt,
}


def load(path: str | Path, engine: str = "auto", threads: int = 0, outputs: Sequence[str] | None = None) -> Engine:
    """The network in the ONNX file ``path`` on an engine, which all who ask for the same share.

    ``engine``: a key of ``ENGINES``, or ``auto``: CUDA where it is installed and works, otherwise the CPU (TensorRT
    only when asked for, because it builds for minutes at first use). ``threads`` on the CPU, 0 for all cores.
    ``outputs`` restricts what is computed. Raises ``EngineError``.
    """
    path = Path(path)
    if not path.is_file():
        raise EngineError(f"expected a model at {path}, found no file")
    key = (path.resolve(), path.stat().st_mtime_ns, engine, threads, None if outputs is None else tuple(outputs))
    return SharedEngine(key, lambda: _make(path, engine, threads, outputs))


def _make(path: Path, engine: str, threads: int, outputs: Sequence[str] | None) -> Engine:
    if engine == "auto":
        engine = "cpu"
        if onnxruntime_engine.cuda_works():
            try:
                return ENGINES["cuda"](path, threads, outputs)
            except EngineError as error:
                _warn_once(f"{error}; going on with the CPU")
    if engine not in ENGINES:
        raise EngineError(f"engine: expected auto, {', '.join(ENGINES)}; got '{engine}'")
    return ENGINES[engine](path, threads, outputs)


@cache
def _warn_once(text: str) -> None:
    logging.getLogger(__name__).warning(text)
