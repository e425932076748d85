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

"""The NVIDIA GPU, asked of its driver alone: neither CUDA's libraries nor torch need be there."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

from pose3d_ros.errors import MissingEngineError

_MAJOR, _MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_*


@dataclass(frozen=True)
class Gpu:
    """The first device that CUDA sees."""

    name: str
    capability: str
    """Compute capability, such as 8.7."""
    driver_cuda: str
    """Newest CUDA that the driver runs, such as 12.6."""


@cache
def find() -> Gpu | None:
    """The GPU, or None where there is no driver or no device.

    CUDA Driver API, sections Initialization and Device Management. Asked before any library that
    expects a GPU is touched: TensorRT may end the process without one.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    count, device, number = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    name = ctypes.create_string_buffer(256)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)) or not count.value:
        return None
    if driver.cuDeviceGet(ctypes.byref(device), 0) or driver.cuDeviceGetName(
        name, len(name), device
    ):
        return None
    capability = []
    for attribute in (_MAJOR, _MINOR):
        if driver.cuDeviceGetAttribute(ctypes.byref(number), attribute, device):
            return None
        capability.append(str(number.value))
    if driver.cuDriverGetVersion(ctypes.byref(number)):
        return None
    return Gpu(
        name.value.decode(),
        ".".join(capability),
        f"{number.value // 1000}.{number.value % 1000 // 10}",
    )


def required(engine: str) -> Gpu:
    """The GPU that the engine needs. Raises ``MissingEngineError``."""
    if (found := find()) is None:
        raise MissingEngineError(
            f"engine {engine}: found no NVIDIA GPU; install its driver, or set engine to cpu"
        )
    return found
