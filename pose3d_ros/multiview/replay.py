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

"""Recorded 2D poses of several cameras, fused as the multi-view node would have fused them."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from pose3d_ros.camera import Camera
from pose3d_ros.multiview.pose_buffer import PoseBuffer
from pose3d_ros.multiview.tracker import MultiViewTracker
from pose3d_ros.people import People2D, People3D
from pose3d_ros.skeleton import H36M17


def replay(
    messages: Iterable[tuple[int, int, People2D]], cameras: list[Camera]
) -> tuple[list[People3D], npt.NDArray[np.float64]]:
    """People at every common time, and the seconds that each took to compute.

    ``messages``: arrival in nanoseconds, index of the camera and its 2D poses, in order of
    arrival.
    """
    buffer, tracker = PoseBuffer(len(cameras)), MultiViewTracker(cameras, H36M17)
    results, seconds = [], []
    for arrival_ns, camera, people in messages:
        buffer.add(camera, people, arrival_ns)
        while (taken := buffer.take(arrival_ns)) is not None:
            start = time.perf_counter()
            results.append(tracker.update(*taken))
            seconds.append(time.perf_counter() - start)
    return results, np.array(seconds)
