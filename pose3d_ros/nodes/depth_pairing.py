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

"""Depth images put beside the images that they were taken with."""

from __future__ import annotations

import time
from collections import deque
from threading import Condition
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image

from pose3d_ros.io import image_encodings
from pose3d_ros.nodes.inputs import SILENCE_S
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.nodes.messages import stamp_ns

TOLERANCE_NS = 20_000_000  # more is another frame at 30 Hz
WAIT_S = 0.02  # beyond the time that detection takes
KEPT = 15  # half a second at 30 Hz: the image of a slow detector is that old


class DepthPairing:
    """Hears ``depth`` and tells the one of an image's time; what is wrong with it is said once."""

    def __init__(self, node: ManagedNode[Any]) -> None:
        self._node = node
        self._depths: deque[Image] = deque(maxlen=KEPT)
        self._arrived = Condition()
        self._paired_at = time.monotonic()  # when depth had its image last, or was not heard

    def hear(self, depth: Image) -> None:
        """Keep a depth image for the image of its time."""
        with self._arrived:
            self._depths.append(depth)
            self._arrived.notify()

    def clear(self) -> None:
        """Forget what was kept: time has jumped."""
        with self._arrived:
            self._depths.clear()

    def not_heard(self) -> None:
        """Nobody sends depth, so that none is missed."""
        self._paired_at = time.monotonic()
        self._node.solved("depth")

    def of(self, size: tuple[int, int], acquired_ns: int) -> npt.NDArray[np.float32] | None:
        """(H, W) metres of the depth image taken within ``TOLERANCE_NS`` of an image of ``size``
        (width, height), for which it waits a little; None where there is none.
        """
        nearest = self._nearest(acquired_ns)
        if nearest is None:
            if time.monotonic() - self._paired_at > SILENCE_S:
                self._node.problem(
                    "depth",
                    f"depth not used: expected each within {TOLERANCE_NS * 1e-6:g} ms of an "
                    f"image, got none for {SILENCE_S:g} s; take both stamps from one clock",
                )
            return None
        self._paired_at = time.monotonic()
        try:
            depth_m: npt.NDArray[np.float32] = image_encodings.to_depth_m(nearest)
            if depth_m.shape != size[::-1]:
                raise image_encodings.ImageError(
                    f"expected the size of the image, {size[0]}x{size[1]}, got "
                    f"{depth_m.shape[1]}x{depth_m.shape[0]}; publish depth registered to the "
                    f"image"
                )
        except image_encodings.ImageError as error:
            self._node.problem("depth", f"depth not used: {error}")
            return None
        self._node.solved("depth")
        return depth_m

    def _nearest(self, acquired_ns: int) -> Image | None:
        def apart_ns(depth: Image) -> int:
            return abs(stamp_ns(depth.header) - acquired_ns)

        def arrived() -> bool:
            return any(
                stamp_ns(depth.header) >= acquired_ns - TOLERANCE_NS for depth in self._depths
            )

        with self._arrived:
            self._arrived.wait_for(arrived, WAIT_S)
            nearest = min(self._depths, key=apart_ns, default=None)
        return nearest if nearest is not None and apart_ns(nearest) <= TOLERANCE_NS else None
