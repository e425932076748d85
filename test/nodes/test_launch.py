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

"""The launch files; needs a ROS distribution, whose launch packages are not on package indices."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("launch_ros", reason="comes with a ROS distribution only")
from launch.actions import DeclareLaunchArgument
from launch_ros.actions import Node
from launch_ros.utilities import evaluate_parameters
from test_rviz import install_rviz

from launch import LaunchContext, LaunchDescription
from pose3d_ros.arguments import ONE_CAMERA, arguments
from pose3d_ros.io.errors import SourceError
from pose3d_ros.nodes.rviz import MissingRvizError
from pose3d_ros.resources import share

pytestmark = pytest.mark.installed
CLIP = str(share("demo", "cam0.mp4"))


@pytest.fixture(autouse=True)
def rviz(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RViz is there, as far as is looked."""
    install_rviz(tmp_path)
    others = os.environ.get("AMENT_PREFIX_PATH", "")
    monkeypatch.setenv("AMENT_PREFIX_PATH", f"{tmp_path}:{others}")


def test_without_rviz_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path / "nothing is installed here"))
    for name, given in (("monocular", {}), ("multiview", {"rig": str(share("demo", "rig.yaml"))})):
        with pytest.raises(MissingRvizError, match="rviz2"):
            started(name, rviz="true", **given)


def test_without_its_video_nothing_starts() -> None:
    with pytest.raises(SourceError, match="source: expected a video.*'/nothere', which does not"):
        started(video="/nothere")
    assert started(video="rtsp://camera/later"), "a camera may come later"


def description(name: str = "monocular") -> LaunchDescription:
    spec = importlib.util.spec_from_file_location(
        f"{name}_launch", share("launch", f"{name}.launch.py")
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def started(launch_file: str = "monocular", **given: str) -> list[Any]:
    """The nodes that the launch file starts with these arguments."""
    context = LaunchContext()
    context.launch_configurations.update(given)
    actions: list[Any] = []
    for entity in description(launch_file).entities:
        actions += entity.visit(context) or []
    return [action for action in actions if isinstance(action, Node)]


def overrides(node: Any) -> dict[str, Any]:
    """The parameters that a node gets over those of the configuration file, with the types that
    its process reads.
    """
    _, given = evaluate_parameters(LaunchContext(), node._Node__parameters)
    return dict(given)


@pytest.mark.parametrize(
    ("name", "nodes"), [("monocular", ONE_CAMERA), ("multiview", ("multiview",))]
)
def test_arguments_are_those_of_pose3d_up_and_rviz(name: str, nodes: tuple[str, ...]) -> None:
    declared = [
        entity
        for entity in description(name).entities
        if isinstance(entity, DeclareLaunchArgument)
    ]
    assert {argument.name for argument in declared} == {*arguments(nodes), "rviz"}
    assert all(argument.description for argument in declared)


def test_what_is_started() -> None:
    assert [node.node_executable for node in started()] == ["monocular"]
    assert [node.node_executable for node in started(video=CLIP, rviz="true")] == [
        "monocular",
        "video",
        "rviz2",
    ]


def test_a_short_video_is_not_over_before_it_is_heard() -> None:
    assert overrides(started(video=CLIP)[1]) == {
        "source": CLIP,
        "wait_for_subscribers": 1,
    }
    assert overrides(started(video=CLIP, wait_for_subscribers="0")[1])["wait_for_subscribers"] == 0


def test_strings_stay_strings_and_time_as_configured_unless_given() -> None:
    given = overrides(started(video="0", frame_id="1", use_sim_time="false")[1])
    assert given == {
        "source": "0",
        "frame_id": "1",
        "wait_for_subscribers": 1,
        "use_sim_time": False,
    }


def test_wrong_values_are_refused() -> None:
    with pytest.raises(RuntimeError, match="magic"):
        started(detector="magic")
    with pytest.raises(ValueError, match="smoothing: expected 0 to 10, got 99"):
        started(smoothing="99")


def test_a_rig_starts_fusion_cameras_and_their_videos() -> None:
    rig = str(share("demo", "rig.yaml"))
    nodes = started("multiview", rig=rig, rviz="true", max_people="3")
    assert [(node.node_executable, node._Node__node_namespace) for node in nodes] == [
        ("multiview", "pose3d"),
        ("monocular", "pose3d/cam0"),
        ("monocular", "pose3d/cam1"),
        ("video", "pose3d"),
        ("rviz2", "pose3d"),
    ]
    assert [overrides(node) for node in nodes[:4]] == [
        {"rig": rig},
        {"rig": rig, "rig_camera": "cam0", "max_people": 3},
        {"rig": rig, "rig_camera": "cam1", "max_people": 3},
        {"rig": rig, "wait_for_subscribers": 1},
    ]


def test_a_rig_is_needed() -> None:
    with pytest.raises(ValueError, match="rig: expected a rig file"):
        started("multiview")
