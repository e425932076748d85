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

"""Images without people: whether that says something about the camera."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros.io.image_encodings import is_nearly_black
from pose3d_ros.nodes.inputs import SILENCE_S
from pose3d_ros.nodes.managed_node import ManagedNode

NOBODY_S = 20.0  # of images since the start


class EmptyImages:
    """Says that nobody is found because images are nearly black; and in /diagnostics only, for a
    room may be empty, that nobody was found since the start.
    """

    def __init__(self, node: ManagedNode[Any]) -> None:
        self._node = node
        self._dark_since: float | None = None
        self._began: float | None = None
        self._anybody = False

    def update(self, image: npt.NDArray[np.uint8], found: bool) -> None:
        """Take an image, and whether anybody was found in it."""
        now = time.monotonic()
        if self._began is None:
            self._began = now
        self._anybody |= found
        if found or not is_nearly_black(image):
            self._dark_since = None
            self._node.solved("dark")
        elif self._dark_since is None:
            self._dark_since = now
        elif now - self._dark_since > SILENCE_S:
            self._node.problem(
                "dark",
                f"nobody is found: images have been nearly black for {SILENCE_S:g} s; see whether "
                f"there is light, the lens is free and the camera's exposure and encoding are "
                f"right",
            )

    def check(self) -> None:
        """Note for /diagnostics that nobody was found yet, if that has lasted."""
        lasted_s = 0.0 if self._began is None else time.monotonic() - self._began
        if self._anybody:
            self._node.solved("nobody")
        elif lasted_s > NOBODY_S:
            self._node.problems["nobody"] = (
                f"nobody was found yet, in {lasted_s:.0f} s of images: if somebody is there, see "
                f"in overlay whether the picture is upright, bright and sharp, and people larger "
                f"than a tenth of it"
            )
