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

"""Who may hear and call the nodes: the SROS2 policy, and how far ``pose3d up`` looks."""

from __future__ import annotations

import os
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import Any
from xml.etree import ElementTree

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
from rclpy.parameter import Parameter
from test_monocular_node import StandIn

from pose3d_ros.arguments import NODES
from pose3d_ros.nodes import monocular, multiview, separation, up, video
from pose3d_ros.resources import share

NAMESPACE = "/pose3d"
FOLDER = share("config", "sros2")
POLICY = ElementTree.parse(FOLDER / "policy.xml")
COMMON = ElementTree.parse(FOLDER / "lifecycle_node.xml").getroot()
MADE: dict[str, tuple[Callable[..., Any], dict[str, str]]] = {
    "monocular": (monocular.MonocularNode, {"publish_tf": "person"}),
    "multiview": (multiview.MultiviewNode, {"rig": str(share("demo", "rig.yaml"))}),
    "separation": (
        separation.SeparationNode,
        {"shapes": str(share("config", "robot_shapes.yaml"))},
    ),
    "video": (video.VideoNode, {"rig": str(share("demo", "rig.yaml"))}),
}


def allowed(node: str, kind: str) -> list[str]:
    """Names that the policy lets the node ``publish``, ``subscribe`` or ``reply``."""
    profile = POLICY.find(f".//profile[@ns='{NAMESPACE}'][@node='{node}']")
    assert profile is not None, f"{node} has no profile"
    names = [
        (entry.text or "")
        for root in (profile, COMMON)
        for group in root
        if group.get(kind) == "ALLOW"
        for entry in group
    ]
    own = {"~": f"{NAMESPACE}/{node}", "/": ""}
    return [
        own[name[0]] + name.lstrip("~") if name[0] in own else f"{NAMESPACE}/{name}"
        for name in names
    ]


def test_every_node_has_a_profile() -> None:
    assert {profile.get("node") for profile in POLICY.iter("profile")} == set(NODES)


@pytest.mark.parametrize("name", MADE)
def test_the_policy_lets_a_node_do_what_it_does(
    name: str, ros: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(monocular, "MonocularPipeline", StandIn)
    make, given = MADE[name]
    overrides = [Parameter(key, value=value) for key, value in given.items()]
    node = ros.add(make(namespace=NAMESPACE, parameter_overrides=overrides))
    assert node.start()
    for kind, opened in (
        ("publish", node.get_publisher_names_and_types_by_node),
        ("subscribe", node.get_subscriber_names_and_types_by_node),
        ("reply", node.get_service_names_and_types_by_node),
    ):
        names = [entry[0] for entry in opened(name, NAMESPACE)]
        patterns = allowed(name, kind)
        forbidden = [topic for topic in names if not any(fnmatchcase(topic, p) for p in patterns)]
        assert (names or kind == "subscribe") and not forbidden, (
            f"the policy does not let {name} {kind} {forbidden}"
        )


def test_up_stays_on_this_machine_unless_told_otherwise(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for variable in (*up.DISCOVERY, "ROS_DISTRO", "RMW_IMPLEMENTATION"):
        monkeypatch.setenv(variable, "")
        monkeypatch.delenv(variable)
    up.stay_local()
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert "for nodes on this machine only" in capfd.readouterr().err
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    up.stay_local()
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE")
    monkeypatch.setenv("ROS_STATIC_PEERS", "192.0.2.7")
    up.stay_local()
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in os.environ
    assert not capfd.readouterr().err
