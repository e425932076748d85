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

"""TensorRT as NVIDIA's packages bring it: classic TensorRT 10 and 11, tuned on the very GPU
(JetPack, NVIDIA's own packages), and TensorRT for RTX, whose engines are compiled without a GPU
for all of a compute capability, and finished on it within seconds (pip, x86-64).

Their API is nearly one. What differs is asked of ``Library.rtx``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from pose3d_ros.errors import MissingEngineError
from pose3d_ros.inference import gpu

CLASSIC = "tensorrt"
RTX = ("tensorrt_rtx", "tensorrt_rtx_bindings")
"""Modules of NVIDIA's archive and of its packages on PyPI."""
OLDEST = 10
STRONGLY_TYPED_ALWAYS = 11
"""From this version on every network is strongly typed."""


@dataclass(frozen=True)
class Library:
    """One of the two."""

    module: Any
    rtx: bool

    @property
    def version(self) -> str:
        """Such as 10.13.0, or 1.7.1.116."""
        return str(self.module.__version__)

    @property
    def name(self) -> str:
        """For people: TensorRT 10.13.0, or TensorRT for RTX 1.7.1.116."""
        return f"TensorRT {'for RTX ' if self.rtx else ''}{self.version}"

    @property
    def precisions(self) -> tuple[str, ...]:
        """The default first. TensorRT for RTX has no convolutions in int8."""
        return ("fp16", "fp32") if self.rtx else ("fp16", "fp32", "int8")

    @property
    def network_flags(self) -> int:
        """Flags of a network whose types are the model's."""
        if self.rtx or int(self.version.split(".")[0]) >= STRONGLY_TYPED_ALWAYS:
            return 0
        return 1 << int(self.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    @property
    def targets(self) -> dict[str, Any]:
        """Compute capabilities that TensorRT for RTX compiles for, such as sm89, and its name
        of each.
        """
        members = self.module.ComputeCapability.__members__
        return {name.lower(): value for name, value in members.items() if name[:2] == "SM"}

    def check_targets(self, wanted: Sequence[str]) -> None:
        """Raises ``MissingEngineError`` for one that is not among ``targets``."""
        if missing := [target for target in wanted if target not in self.targets]:
            raise MissingEngineError(
                f"engine tensorrt: expected compute capabilities of {', '.join(self.targets)}, "
                f"got {', '.join(missing)}; those are all that {self.name} compiles for"
            )


def sm(capability: str) -> str:
    """NVIDIA's short name of a compute capability: 8.9 is sm89."""
    return f"sm{capability.replace('.', '')}"


def of_this_gpu() -> Library:
    """What runs engines here: classic TensorRT where it is installed, else TensorRT for RTX.

    Raises ``MissingEngineError`` where it, a GPU or CUDA for Python is missing.
    """
    # Before a module is touched: classic TensorRT may end the process without a GPU.
    if (device := gpu.find()) is None:
        raise MissingEngineError(
            "engine tensorrt: found no NVIDIA GPU; install its driver, set engine to cpu, or "
            "build for another machine: pose3d models build --engine tensorrt --for sm89"
        )
    library = _imported(CLASSIC, False) if find_spec(CLASSIC) else for_rtx()
    try:
        import_module("cuda.bindings.runtime")
    except ImportError as error:
        raise MissingEngineError(
            f"engine tensorrt: CUDA for Python cannot be imported ({error}); "
            "pip install 'cuda-bindings==12.*' or 13.*, as the driver's CUDA is"
        ) from None
    if library.rtx:
        library.check_targets([sm(device.capability)])
    elif int(library.version.split(".")[0]) < OLDEST:
        raise MissingEngineError(
            f"engine tensorrt: expected TensorRT {OLDEST} or newer, got {library.version}; "
            "update it (JetPack 6 or newer), or set engine to cuda or cpu"
        )
    return library


def for_rtx() -> Library:
    """TensorRT for RTX, which builds engines on any x86-64 machine. Raises
    ``MissingEngineError``.
    """
    for module in RTX:
        if find_spec(module):
            return _imported(module, True)
    raise MissingEngineError(
        "engine tensorrt: TensorRT is not installed; on x86-64 pip install "
        "'pose3d_ros[tensorrt]', on a Jetson install python3-libnvinfer of its JetPack, or set "
        "engine to cpu"
    )


def _imported(module: str, rtx: bool) -> Library:
    try:
        return Library(import_module(module), rtx)
    except (ImportError, OSError) as error:
        raise MissingEngineError(
            f"engine tensorrt: {module} cannot be imported ({error}); install TensorRT's "
            "libraries of the same version"
        ) from None
