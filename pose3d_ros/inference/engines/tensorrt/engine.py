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

"""Networks in TensorRT 10 or 11, directly: built from ONNX once, kept in the cache, served by ONNX
Runtime meanwhile.

Written against NVIDIA's documentation of both lines. **Nobody has run it yet**: no machine of ours
has a GPU with TensorRT. ``pose3d doctor`` is how to find out, and ``switching`` takes no engine
whose answers are off.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pose3d_ros.errors import MissingEngineError
from pose3d_ros.inference import gpu, int8
from pose3d_ros.inference.cache import Cache, hash_of
from pose3d_ros.inference.engine import Engine, warm_up
from pose3d_ros.inference.engines import onnxruntime
from pose3d_ros.inference.hot_swap import HotSwap, Progress
from pose3d_ros.inference.mixed_precision import in_precision
from pose3d_ros.inference.options import Options
from pose3d_ros.inference.reference_check import TOLERANCES

if TYPE_CHECKING:
    from pose3d_ros.inference.engines.tensorrt.runtime import TensorRtEngine

OLDEST = 10


def tensorrt(path: Path, options: Options, outputs: Sequence[str] | None) -> Engine:
    """On an NVIDIA GPU with TensorRT, in fp16 unless asked otherwise.

    An engine in the cache is loaded at once. Otherwise one is built, in the background unless
    ``options.wait``. For ``int8`` a model must have been calibrated (``pose3d models build
    --images``).
    """
    version = check()
    precision = options.precision_of("tensorrt", "fp16", "fp32", "int8")
    device = gpu.required("tensorrt")
    where = {"TensorRT": version, "gpu": device.name, "capability": device.capability}
    quantised = int8.calibrated_model(path, int8.TENSORRT) if precision == "int8" else None
    content = hash_of(path) if quantised is None else hashlib.sha256(quantised).hexdigest()
    parts = {
        "name": path.stem,
        "model": content,
        **where,
        "precision": precision,
        "profiles": f"1 to {options.max_people}",
        "flags": "strongly typed" + (", no TF32" if precision == "fp32" else ""),
    }
    cache = Cache()

    def make(progress: Progress) -> TensorRtEngine:
        from pose3d_ros.inference.engines.tensorrt import build as tensorrt_build
        from pose3d_ros.inference.engines.tensorrt import runtime as tensorrt_runtime

        def build() -> bytes:
            timings = {"name": "timings", **where}
            model = quantised or in_precision(path, precision)
            built = tensorrt_build.build(
                path,
                model,
                options.max_people,
                precision == "fp32",
                cache.read(timings) or b"",
                progress,
            )
            cache.write(timings, built.timings)
            return built.engine

        engine = cache.get(
            parts,
            build,
            lambda data: tensorrt_runtime.TensorRtEngine(path, data, options.max_people),
        )
        if outputs is not None:
            engine.restrict(outputs)
        warm_up(engine)
        return engine

    if options.wait or cache.read(parts) is not None:
        return make(Progress())
    quick = onnxruntime.quick(path, replace(options, precision="auto"), outputs)
    return HotSwap(quick, f"tensorrt of {path.stem}", make, TOLERANCES[precision])


def check() -> str:
    """TensorRT's version. Raises ``MissingEngineError`` where it, a GPU or CUDA for Python is
    missing.
    """
    if find_spec("tensorrt") is None:
        raise MissingEngineError(
            "engine tensorrt: TensorRT's Python module is not installed; on a Jetson install "
            "python3-libnvinfer of its JetPack, elsewhere pip install tensorrt, or set "
            "engine to cpu"
        )
    gpu.required("tensorrt")  # before the module is touched: TensorRT may end the process
    try:
        import tensorrt as module
        from cuda.bindings import runtime  # noqa: F401
    except (ImportError, OSError) as error:
        missing = (
            "pip install 'cuda-bindings==12.*' or 13.*, as the driver's CUDA is"
            if "cuda" in str(error)
            else "install TensorRT's libraries of the same version"
        )
        raise MissingEngineError(
            f"engine tensorrt: cannot be imported ({error}); {missing}"
        ) from None
    version = str(module.__version__)
    if int(version.split(".")[0]) < OLDEST:
        raise MissingEngineError(
            f"engine tensorrt: expected TensorRT {OLDEST} or newer, got {version}; update it "
            f"(JetPack 6 or newer), or set engine to cuda or cpu"
        )
    return version
