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

"""3D human pose for robots: camera images in, tracked metric 3D skeletons out.

>>> from pose3d_ros import Camera, MonocularPipeline
>>> with MonocularPipeline() as pipeline:
...     people = pipeline(image_bgr, Camera.from_fov(1280, 720, 1.2))
...     people.joint("l_wrist")

The names below are imported when they are first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pose3d_ros.camera import Camera as Camera
    from pose3d_ros.io.rig_file import read_rig as read_rig
    from pose3d_ros.multiview import MultiViewTracker as MultiViewTracker
    from pose3d_ros.multiview import triangulate as triangulate
    from pose3d_ros.people import People2D as People2D
    from pose3d_ros.people import People3D as People3D
    from pose3d_ros.pipeline import MonocularPipeline as MonocularPipeline
    from pose3d_ros.skeleton import Skeleton as Skeleton

    __version__: str

_MODULES = {
    "Camera": "camera",
    "MonocularPipeline": "pipeline",
    "MultiViewTracker": "multiview",
    "People2D": "people",
    "People3D": "people",
    "Skeleton": "skeleton",
    "read_rig": "io.rig_file",
    "triangulate": "multiview",
}
__all__ = [
    "Camera",
    "MonocularPipeline",
    "MultiViewTracker",
    "People2D",
    "People3D",
    "Skeleton",
    "__version__",
    "read_rig",
    "triangulate",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module(f"{__name__}.resources").version()
    elif name in _MODULES:
        value = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
