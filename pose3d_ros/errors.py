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

"""Errors of the package, and one-line quotations of those of libraries."""

import re


class Pose3dError(Exception):
    """Base of every error class of the package; the message is one line: what was expected, what
    came, what to do.
    """


class EngineError(Pose3dError, RuntimeError):
    """A network cannot be loaded or run; the message is one line that says what to do."""


class ConversionError(Pose3dError, ValueError):
    """A file is not one of the networks that a converter knows."""


class CalibrationError(Pose3dError, ValueError):
    """Pictures, points, poses or options that no calibration can be made of."""


class MissingEngineError(EngineError):
    """The engine's library or device is not on this machine; the message ends with the remedy."""


class PrecisionError(EngineError):
    """The engine does not compute in the precision asked for."""


def one_line(error: BaseException) -> str:
    """An error's message without line breaks."""
    return " ".join(str(error).split())


def quoted(error: BaseException) -> str:
    """As much of a library's message as is worth repeating in one of ours."""
    return one_line(error)[:300]


# Modules whose distribution has another name on PyPI, and those that an extra of this package
# brings (pyproject.toml).
_DISTRIBUTIONS = {"cv2": "opencv-python-headless", "yaml": "pyyaml"}
_EXTRAS = {
    "openvino": "openvino",
    "rosbags": "bags",
    "onnx": "onnx",
    "tflite": "onnx",
    "viser": "viewer",
    "c3d": "files",
    "distributed": "cluster",
    **dict.fromkeys(
        (
            "cdflib",
            "h5py",
            "moderngl",
            "onnxscript",
            "safetensors",
            "tensorboard",
            "torch",
            "tqdm",
        ),
        "train",
    ),
}
_ROS = re.compile(r"rclpy|rcl_interfaces|builtin_interfaces|\w+_msgs")


def missing_package(module: str) -> str:
    """One line: the package that ``module`` belongs to is missing, and the command that installs
    it.
    """
    top = module.split(".")[0]
    if _ROS.fullmatch(top):
        return (
            f"needs {top}, which is not installed: source a ROS distribution, or "
            f"pip install 'pose3d-ros[ros]'"
        )
    package = _DISTRIBUTIONS.get(top, top)
    extra = _EXTRAS.get(top)
    command = f"pip install {package}" if extra is None else f"pip install 'pose3d-ros[{extra}]'"
    return f"needs {package}, which is not installed: {command}"
