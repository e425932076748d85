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

"""``~/enable``, ``~/reset`` and ``~/snapshot``, called as another process would."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
pytest.importorskip("std_srvs", reason="needs std_srvs")
from conftest import wait_for
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, PointCloud2
from std_srvs.srv import SetBool, Trigger
from test_monocular_node import camera_info, image, start  # noqa: F401

from pose3d_ros.nodes import multiview
from pose3d_ros.resources import share


@pytest.fixture
def call(ros: Any) -> Callable[..., Any]:
    """Call a service and wait for its response."""

    def ask(kind: Any, name: str, **request: Any) -> Any:
        client = ros.node.create_client(kind, name)
        wait_for(client.service_is_ready, f"service {name}")
        future = client.call_async(kind.Request(**request))
        return wait_for(future.result, f"an answer of {name}")

    return ask


def test_enable_stops_and_goes_on(
    ros: Any,
    start: Any,  # noqa: F811
    camera_info: Any,  # noqa: F811
    call: Any,
) -> None:
    start()
    joints = ros.collect(PointCloud2, "joints")
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))

    def send() -> Any:
        publisher.publish(image(2, seconds=next(stamp)))

    wait_for(lambda: joints or send(), "joints")
    off = call(SetBool, "/monocular/enable", data=False)
    assert (off.success, off.message) == (True, "inactive")
    wait_for(lambda: publisher.get_subscription_count() == 0, "the end of listening")
    assert call(SetBool, "/monocular/enable", data=False).message == "was inactive before"
    assert call(SetBool, "/monocular/enable", data=True).success
    heard = len(joints)
    wait_for(lambda: len(joints) > heard or send(), "joints again")


def test_reset_forgets_everybody(
    ros: Any,
    start: Any,  # noqa: F811
    camera_info: Any,  # noqa: F811
    call: Any,
) -> None:
    pipeline = start()._pipeline
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(1, 1_000_000))
    wait_for(lambda: pipeline.seen or publisher.publish(image(2, seconds=next(stamp))), "a frame")
    before = pipeline.resets
    assert call(Trigger, "/monocular/reset").success
    wait_for(
        lambda: pipeline.resets > before or publisher.publish(image(2, seconds=next(stamp))),
        "tracking to start again, before the next frame",
    )


def test_snapshot_writes_the_overlay(
    ros: Any,
    start: Any,  # noqa: F811
    camera_info: Any,  # noqa: F811
    call: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = start()._pipeline
    early = call(Trigger, "/monocular/snapshot")
    assert not early.success and "none has come yet" in early.message
    publisher = ros.publisher(Image, "image")
    stamp = iter(range(7, 1_000_000))
    wait_for(
        lambda: len(pipeline.depths) > 1 or publisher.publish(image(2, seconds=next(stamp))),
        "frames",
    )
    told = call(Trigger, "/monocular/snapshot")
    path = Path(told.message.removeprefix("wrote "))
    assert told.success and path.parent == tmp_path
    picture = np.asarray(cv2.imread(str(path)))
    assert picture.shape == (48, 64, 3) and picture.max() > 100, "with a skeleton"
    monkeypatch.chdir(Path("/proc"))  # where nobody can write
    assert not call(Trigger, "/monocular/snapshot").success


def test_frames_above_max_fps_are_left_out(
    ros: Any,
    start: Any,  # noqa: F811
    camera_info: Any,  # noqa: F811
) -> None:
    node = start(max_fps=0.2)
    publisher = ros.publisher(Image, "image")
    stamps = iter(range(1, 1_000_000))
    published = 0

    def send() -> bool:
        nonlocal published
        publisher.publish(image(2, seconds=next(stamps)))
        published += 1
        return len(node._pipeline.seen) >= 3

    wait_for(send, "three frames, five seconds apart")
    assert published >= 11
    assert node.set_parameters([Parameter("max_fps", value=0.0)])[0].successful


def test_the_fusion_has_services_too(ros: Any, call: Any) -> None:
    node = ros.add(
        multiview.MultiviewNode(
            parameter_overrides=[Parameter("rig", value=str(share("demo", "rig.yaml")))]
        )
    )
    assert node.start()
    assert call(Trigger, "/multiview/reset").success
    assert call(SetBool, "/multiview/enable", data=False).success
    assert call(SetBool, "/multiview/enable", data=True).message == "active"
