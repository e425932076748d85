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

"""Running TensorRT engines; imported only where TensorRT, a GPU and CUDA for Python are there.

Nobody has run it yet (see ``tensorrt.engine``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorrt as trt
from cuda.bindings import runtime as cuda

from pose3d_ros.errors import EngineError
from pose3d_ros.inference.batching import any_rows, in_parts, joined, rows_of
from pose3d_ros.inference.engine import Arrays, restricted
from pose3d_ros.inference.engines.tensorrt.build import Logger, concrete, shape_of
from pose3d_ros.inference.engines.tensorrt.cuda_memory import Buffer, call


class TensorRtEngine:
    """A serialised engine, ready to run; see ``inference.Engine``.

    Every tensor has one pinned and one device buffer for ``most`` rows, so that addresses never
    change. The second call in a row with the same number of rows is captured as a CUDA graph, with
    its transfers, and replayed from then on; another number of rows runs without until it comes
    twice.
    """

    name = "tensorrt"

    def __init__(self, path: Path, data: bytes, most: int) -> None:
        self._path, self._most = path, most
        self._logger = Logger()
        self._runtime = trt.Runtime(self._logger)
        engine = self._runtime.deserialize_cuda_engine(data)
        context = None if engine is None else engine.create_execution_context()
        if context is None:
            raise EngineError(
                f"{path}: TensorRT {trt.__version__} cannot load the engine "
                f"({self._logger.said()})"
            )
        self._engine, self._context = engine, context
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        shapes = {name: shape_of(engine.get_tensor_shape(name)) for name in names}
        types = {name: np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in names}
        fed = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        self.inputs = {name: shapes[name] for name in fed}
        self.outputs = {name: shapes[name] for name in names if name not in fed}
        self.types = {name: types[name] for name in fed}
        self._stream = call(cuda.cudaStreamCreateWithFlags, cuda.cudaStreamNonBlocking)
        self._graph: Any = None
        self._graphs_work = True
        self._rows = 0  # of the last call
        self._names = names
        self._set_rows(most)
        self._buffers = {name: Buffer(self._shapes[name], types[name]) for name in names}
        for name, buffer in self._buffers.items():
            context.set_tensor_address(name, buffer.device)

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
        self._drop_graph()
        for buffer in self._buffers.values():
            buffer.close()
        self._buffers = {}
        call(cuda.cudaStreamDestroy, self._stream)
        del self._context, self._engine, self._runtime

    def _run(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        rows = rows_of(self._path, self.inputs, self.types, feeds)
        for name, array in feeds.items():
            np.copyto(self._buffers[name].of(array.shape), array)
        again = rows == self._rows
        if not again:
            self._drop_graph()
            self._set_rows(rows)
        elif self._graph is None and self._graphs_work:
            self._graph = self._captured()
        self._rows = rows
        if self._graph is None:
            self._enqueue()
        else:
            call(cuda.cudaGraphLaunch, self._graph, self._stream)
        call(cuda.cudaStreamSynchronize, self._stream)
        return {name: self._buffers[name].of(self._shapes[name]).copy() for name in self.outputs}

    def _set_rows(self, rows: int) -> None:
        for name, shape in self.inputs.items():
            if any_rows(shape):
                self._context.set_input_shape(name, (rows, *(n or 0 for n in shape[1:])))
        if unknown := self._context.infer_shapes():
            raise EngineError(
                f"{self._path}: TensorRT cannot tell the shape of {', '.join(unknown)} for {rows} "
                f"rows"
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
