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

"""The monocular node at work, with its stopwatches kept: for ``pose3d benchmark --node``."""

from __future__ import annotations

import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rclpy.parameter import Parameter
from sensor_msgs.msg import PointCloud2

from pose3d_ros.nodes import process_tuning
from pose3d_ros.nodes.monocular import MonocularNode
from pose3d_ros.nodes.process import in_background
from pose3d_ros.nodes.up import up_in_process
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.stopwatch import Stopwatch

NAMESPACE = "pose3d_benchmark"
ASSUMED_FOV_DEG = 60.0
START_S = 60.0  # loading models on a slow machine


class PlayedFrames(NamedTuple):
    """Frames that were published, people in each on average, the engine."""

    stopwatches: list[Stopwatch]
    people: float
    engine: str


class ProfiledNode(MonocularNode):
    """Keeps what it would sum up in diagnostics, and hears its own joints: without a subscriber
    none are published.
    """

    def __init__(self, **options: Any) -> None:
        self.stopwatches: list[Stopwatch] = []
        self.people: list[int] = []
        super().__init__(**options)
        self.create_subscription(
            PointCloud2, "joints", lambda cloud: self.people.append(cloud.height), 5
        )

    def _diagnose(self) -> None:
        self.stopwatches += [frame.stopwatch for frame in self._frame_times.take()]


def play(video: Path, settings: PipelineSettings, warm_up: int, frames: int) -> PlayedFrames:
    """So many frames of a video, which a node in a process of its own plays at its own rate, after
    some to warm up.
    """
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    process_tuning.tune()
    words = (
        "video",
        f"source:={video.resolve()}",
        "loop:=true",
        f"assumed_fov_deg:={ASSUMED_FOV_DEG}",
        "wait_for_subscribers:=1",
        f"namespace:={NAMESPACE}",
    )
    values = [Parameter(name, value=value) for name, value in asdict(settings).items()]
    with (
        in_background(
            lambda: ProfiledNode(namespace=NAMESPACE, parameter_overrides=values)
        ) as node,
        up_in_process(*words) as player,
    ):
        if not node.start():
            raise ChildProcessError("the pose node cannot start; the line above says why")
        end = time.monotonic() + START_S
        while len(node.stopwatches) < warm_up + frames:
            if player.poll() is not None:
                raise ChildProcessError("the video node gave up; its last line above says why")
            if not node.stopwatches and time.monotonic() > end:
                raise TimeoutError(
                    f"waited {START_S:g} s for a frame in vain; the lines above say why"
                )
            time.sleep(0.1)
        assert node._pipeline is not None
        return PlayedFrames(
            node.stopwatches[warm_up : warm_up + frames],
            float(np.mean(node.people[warm_up:])),
            node._pipeline.engine_name,
        )
