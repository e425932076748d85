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

"""A detector of one file and one line in the monocular node."""

from typing import Any

import numpy as np
import pytest
from conftest import wait_for
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header

from pose3d_ros import registry
from pose3d_ros.nodes import image_messages, monocular


def test_it_runs_in_the_node(ros: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.DETECTORS, "brightest", "toy_detector:Brightest")
    given = {"detector": "brightest", "lifter": "martinez", "assumed_fov_deg": 70.0}
    node = monocular.MonocularNode(
        parameter_overrides=[Parameter(name, value=value) for name, value in given.items()]
    )
    ros.add(node)
    assert node.start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[200, 320] = 255
    header = Header(frame_id="camera")

    def seen() -> bool:
        header.stamp.sec += 1
        publisher.publish(image_messages.to_message(picture, header))
        return any(cloud.height for cloud in joints)

    wait_for(seen, "a person")
    ros.line("ready: brightest and martinez")
