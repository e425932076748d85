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

"""Detectors, lifters and engines by name: settings, help, benchmark and training ask these
dictionaries.

A new one is one file and one line here: its name and where its class is, imported at first use,
so that nobody pays for what is not used. The class itself does as well as its place.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from importlib import import_module
from typing import Any

Entry = str | Callable[..., Any]

DETECTORS: dict[str, Entry] = {
    "blazepose": "pose3d_ros.detection.blazepose.detector:BlazePose",
    "blazepose-heavy": "pose3d_ros.detection.blazepose.detector:BlazePoseHeavy",
    "movenet": "pose3d_ros.detection.movenet.thunder:MoveNet",
    "simcc": "pose3d_ros.detection.topdown:SimCC",
    "heatmap": "pose3d_ros.detection.topdown:HeatMap",
    "heatmap-udp": "pose3d_ros.detection.topdown:HeatMapUdp",
    "rtmo": "pose3d_ros.detection.onestage:Rtmo",
    "yolo-pose": "pose3d_ros.detection.onestage:YoloPose",
}
"""Classes as ``detection.Detector`` describes them."""
LIFTERS: dict[str, Entry] = {
    "rpsm-context": "pose3d_ros.lifting.recurrent:RpsmContext",
    "rpsm": "pose3d_ros.lifting.recurrent:Rpsm",
    "context": "pose3d_ros.lifting.recurrent:Context",
    "context-t": "pose3d_ros.lifting.recurrent:ContextOverTime",
    "videopose3d": "pose3d_ros.lifting.windowed:VideoPose3D",
    "martinez": "pose3d_ros.lifting.windowed:Martinez",
}
"""Classes as ``lifting.Lifter`` describes them."""
ENGINES: dict[str, Entry] = {
    "cpu": "pose3d_ros.inference.engines.onnxruntime:cpu",
    "cuda": "pose3d_ros.inference.engines.onnxruntime:cuda",
    "tensorrt": "pose3d_ros.inference.engines.tensorrt.engine:tensorrt",
    "onnxruntime-tensorrt": "pose3d_ros.inference.engines.onnxruntime:tensorrt",
    "openvino": "pose3d_ros.inference.engines.openvino:openvino",
}
"""Factories of the type ``inference.options.Factory``."""


def load(registered: Mapping[str, Entry], name: str) -> Any:
    """The class or factory that is registered under a name; imports its module at first use.

    Raises ``KeyError`` for a name that is not there.
    """
    entry = registered[name]
    if isinstance(entry, str):
        module, attribute = entry.split(":")
        return getattr(import_module(module), attribute)
    return entry


class Choices(Collection[str]):
    """The names of a registry as they are now, after those of no entry (``auto``)."""

    def __init__(self, registered: Mapping[str, Entry], *others: str) -> None:
        self._registered, self._others = registered, others

    def __iter__(self) -> Iterator[str]:
        return iter((*self._others, *self._registered))

    def __contains__(self, name: object) -> bool:
        return name in self._others or name in self._registered

    def __len__(self) -> int:
        return len(self._others) + len(self._registered)
