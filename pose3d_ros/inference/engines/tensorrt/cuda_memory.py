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

"""CUDA memory through NVIDIA's ``cuda-bindings``; imported only where it is installed.

Rather than torch: it is a few MB without further dependencies, and there for a Jetson's Python
too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cuda.bindings import runtime as cuda

from pose3d_ros.errors import EngineError


class Buffer:
    """Memory for one tensor on both sides; pinned on the host, so that transfers need no copy on
    the way.
    """

    def __init__(self, shape: Sequence[int], dtype: np.dtype) -> None:
        self._dtype = dtype
        size = max(self._bytes(shape), 1)
        self.device = int(call(cuda.cudaMalloc, size))
        self._host = int(call(cuda.cudaMallocHost, size))
        self._array = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self._host))

    def of(self, shape: Sequence[int]) -> np.ndarray:
        """The host's side as an array of a shape that it was made for, or of a smaller one."""
        return self._array[: self._bytes(shape)].view(self._dtype).reshape(shape)

    def upload(self, shape: Sequence[int], stream: Any) -> None:
        """Copy what an array of the shape needs to the device, in the stream."""
        call(
            cuda.cudaMemcpyAsync,
            self.device,
            self._host,
            self._bytes(shape),
            cuda.cudaMemcpyKind.cudaMemcpyHostToDevice,
            stream,
        )

    def download(self, shape: Sequence[int], stream: Any) -> None:
        """Copy what an array of the shape needs back, in the stream."""
        call(
            cuda.cudaMemcpyAsync,
            self._host,
            self.device,
            self._bytes(shape),
            cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost,
            stream,
        )

    def close(self) -> None:
        """Free both sides."""
        call(cuda.cudaFree, self.device)
        call(cuda.cudaFreeHost, self._host)

    def _bytes(self, shape: Sequence[int]) -> int:
        return int(np.prod(shape, dtype=np.int64)) * self._dtype.itemsize


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Result of a function of CUDA's runtime without its error code. Raises ``EngineError``."""
    error, *found = function(*arguments)
    if error != cuda.cudaError_t.cudaSuccess:
        text = cuda.cudaGetErrorString(error)[1]
        raise EngineError(
            f"CUDA: {function.__name__}: {text.decode() if isinstance(text, bytes) else text}; "
            "see 'pose3d doctor'"
        )
    return found[0] if found else None
