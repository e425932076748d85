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

"""Description of the machine that a report was made on."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from pose3d_ros.inference import cpu, gpu

PACKAGES = (
    "numpy",
    "opencv-python",
    "opencv-python-headless",
    "onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "openvino",
    "torch",
    "tensorrt",
    "tensorrt-rtx",
    "tensorrt-rtx-cu12-bindings",
    "tensorrt-rtx-cu13-bindings",
    "cuda-bindings",
)


def versions() -> Iterator[tuple[str, str]]:
    """Name and version of the package, system, processor, GPU, driver and libraries."""
    yield "pose3d_ros", _version("pose3d_ros")
    yield "system", f"{_system()}, {platform.machine()}, Linux {platform.release()}"
    yield "processor", f"{cpu.name()}, {cpu.cores()} cores for this process"
    yield "Python", platform.python_version()
    yield (
        "ROS",
        f"{os.environ.get('ROS_DISTRO', 'no distribution sourced')}, rclpy {_version('rclpy')}",
    )
    found = gpu.find()
    yield (
        "GPU",
        "none found" if found is None else f"{found.name}, compute capability {found.capability}",
    )
    yield (
        "driver",
        "none" if found is None else f"{_driver()}, runs CUDA up to {found.driver_cuda}",
    )
    for package in PACKAGES:
        if (version := _version(package)) != "not installed":
            yield package, version
    try:
        import onnxruntime

        yield "ONNX Runtime providers", ", ".join(onnxruntime.get_available_providers())
    except ImportError:
        yield "ONNX Runtime providers", "none: pip install onnxruntime"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _system() -> str:
    tegra = Path("/etc/nv_tegra_release")
    jetson = (
        f", Jetson {tegra.read_text().splitlines()[0].lstrip('# ')}" if tegra.is_file() else ""
    )
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"] + jetson
    except OSError:
        return "Linux of an unknown distribution" + jetson


def _driver() -> str:
    try:
        return Path("/sys/module/nvidia/version").read_text().strip()
    except OSError:  # a Jetson's is part of its system
        return "of the system"
