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

"""Running TensorRT engines, with a GPU and CUDA for Python.

Written against NVIDIA's documentation; nobody has run it yet (see ``tensorrt.engine``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cuda.bindings import runtime as cuda

from pose3d_ros.errors import EngineError
from pose3d_ros.inference.batching import Profile, in_parts, joined, rows_of, wrong_feeds
from pose3d_ros.inference.engine import Arrays, restricted
from pose3d_ros.inference.engines.tensorrt.build import concrete, logger, shape_of
from pose3d_ros.inference.engines.tensorrt.cuda_memory import Buffer, call
from pose3d_ros.inference.engines.tensorrt.library import Library

Sizes = dict[str, tuple[int, ...]]


class TensorRtEngine:
    """A serialised engine, ready to run; see ``inference.Engine``.

    Every tensor has one pinned and one device buffer for the largest shapes of the engine's
    profile, so that addresses never change. With classic TensorRT the second call in a row with
    the same shapes is captured as a CUDA graph, with its transfers, and replayed from then on;
    other shapes run without until they come twice. TensorRT for RTX makes its graphs itself, once
    it has compiled the kernels of these shapes; what it compiles on this GPU is given to ``keep``.
    """

    name = "tensorrt"

    def __init__(
        self,
        library: Library,
        path: Path,
        data: bytes,
        compiled: bytes,
        keep: Callable[[bytes], None],
    ) -> None:
        """``compiled``: what an earlier engine has given to ``keep``, or empty."""
        trt = library.module
        call(cuda.cudaSetDevice, 0)  # TensorRT for RTX wants CUDA's context to be there
        self._path, self._keep = path, keep
        self._logger = logger(library)
        self._runtime = trt.Runtime(self._logger)
        engine = self._runtime.deserialize_cuda_engine(data)
        self._compiled: Any = None
        context = None if engine is None else self._context_of(library, engine, compiled)
        if context is None:
            raise EngineError(
                f"{path}: {library.name} cannot load the engine ({self._logger.said()})"
            )
        self._engine, self._context = engine, context
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        shapes = {name: shape_of(engine.get_tensor_shape(name)) for name in names}
        types = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
        fed = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.inputs = {name: shapes[name] for name in fed}
        self.outputs = {name: shapes[name] for name in names if name not in fed}
        self.types = {name: types[name] for name in fed}
        self._profiles = {
            name: Profile(*(concrete(of) for of in engine.get_tensor_profile_shape(name, 0)))
            for name in fed
            if None in shapes[name]
        }
        self._most = min((of.most[0] for of in self._profiles.values()), default=1)
        self._stream = call(cuda.cudaStreamCreateWithFlags, cuda.cudaStreamNonBlocking)
        self._graph: Any = None
        self._graphs_work = not library.rtx
        self._fed: Sizes = {}  # shapes of the last call
        self._names = names
        self._set_shapes({name: of.most for name, of in self._profiles.items()})
        self._buffers = {name: Buffer(self._shapes[name], types[name]) for name in names}
        for name, buffer in self._buffers.items():
            context.set_tensor_address(name, buffer.device)

    def _context_of(self, library: Library, engine: Any, compiled: bytes) -> Any:
        if not library.rtx:
            return engine.create_execution_context()
        config = engine.create_runtime_config()
        config.cuda_graph_strategy = library.module.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._compiled = config.create_runtime_cache()
        if compiled:  # what another driver or GPU has compiled it refuses, and compiles anew
            self._compiled.deserialize(compiled)
        config.set_runtime_cache(self._compiled)
        return engine.create_execution_context(config)

    def warm_up(self) -> None:
        """Run on nothing, in the usual and the smallest shapes: the first runs are slow."""
        for which in ("usual", "least"):
            shapes = {name: getattr(of, which) for name, of in self._profiles.items()}
            self(
                {
                    name: np.zeros(shapes.get(name, shape), self.types[name])
                    for name, shape in self.inputs.items()
                }
            )

    def keep_compiled(self) -> None:
        """Keep what TensorRT for RTX has compiled on this GPU so far; nothing with classic
        TensorRT.
        """
        if self._compiled is not None:
            self._keep(bytes(memoryview(self._compiled.serialize())))

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Run once; more rows than the engine was built for run in parts."""
        if rows_of(self._path, self.inputs, self.types, feeds) <= self._most:
            return self._run(feeds)
        return joined([self._run(part) for part in in_parts(self.inputs, feeds, self._most)])

    def restrict(self, outputs: Sequence[str]) -> None:
        """Copy only these back: one engine serves whoever asks for whichever. Raises
        ``EngineError``.
        """
        self.outputs = restricted(self._path, self.outputs, outputs)

    def close(self) -> None:
        """Free the memory of both sides; the engine cannot be called any more."""
        self.keep_compiled()
        self._drop_graph()
        for buffer in self._buffers.values():
            buffer.close()
        self._buffers = {}
        call(cuda.cudaStreamDestroy, self._stream)
        del self._context, self._engine, self._runtime

    def _run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        for name, of in self._profiles.items():
            sizes = zip(of.least, feeds[name].shape, of.most, strict=True)
            if not all(least <= size <= most for least, size, most in sizes):
                problem = f"the engine is built for {name} from {of.least} to {of.most}"
                raise wrong_feeds(self._path, self.inputs, self.types, feeds, problem)
        for name, array in feeds.items():
            np.copyto(self._buffers[name].of(array.shape), array)
        fed = {name: array.shape for name, array in feeds.items()}
        if fed != self._fed:
            self._drop_graph()
            self._set_shapes({name: fed[name] for name in self._profiles})
        elif self._graph is None and self._graphs_work:
            self._graph = self._captured()
        self._fed = fed
        if self._graph is None:
            self._enqueue()
        else:
            call(cuda.cudaGraphLaunch, self._graph, self._stream)
        call(cuda.cudaStreamSynchronize, self._stream)
        return {name: self._buffers[name].of(self._shapes[name]).copy() for name in self.outputs}

    def _set_shapes(self, sizes: Sizes) -> None:
        for name, shape in sizes.items():
            self._context.set_input_shape(name, shape)
        if unknown := self._context.infer_shapes():
            raise EngineError(
                f"{self._path}: TensorRT cannot tell the shape of {', '.join(unknown)} for {sizes}"
            )
        self._shapes = {
            name: concrete(self._context.get_tensor_shape(name)) for name in self._names
        }

    def _enqueue(self) -> None:
        """To the GPU, through the network and back, all in the stream."""
        for name in self.inputs:
            self._buffers[name].upload(self._shapes[name], self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise EngineError(
                f"{self._path}: TensorRT could not run the engine ({self._logger.said()})"
            )
        for name in self.outputs:
            self._buffers[name].download(self._shapes[name], self._stream)

    def _captured(self) -> Any:
        """A graph of ``_enqueue``, or None where the network cannot be captured (one with a loop,
        such as an LSTM).
        """
        mode = cuda.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        call(cuda.cudaStreamBeginCapture, self._stream, mode)
        try:
            self._enqueue()
        except EngineError:
            self._graphs_work = False  # said by nobody: it is a matter of speed alone
        error, graph = cuda.cudaStreamEndCapture(self._stream)
        if error != cuda.cudaError_t.cudaSuccess or not self._graphs_work:
            self._graphs_work = False
            cuda.cudaGetLastError()  # else the next call would answer it
            self._logger.errors.clear()
            return None
        launchable = call(cuda.cudaGraphInstantiate, graph, 0)
        call(cuda.cudaGraphDestroy, graph)
        return launchable

    def _drop_graph(self) -> None:
        if self._graph is not None:
            call(cuda.cudaGraphExecDestroy, self._graph)
            self._graph = None
