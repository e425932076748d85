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

"""Settings as ROS parameters: described, bounded, validated with a reason."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
import rclpy
import yaml
from rclpy.parameter import Parameter

from pose3d_ros.arguments import BESIDE, NODES
from pose3d_ros.nodes import parameters
from pose3d_ros.resources import share
from pose3d_ros.settings import LIFTERS, MonocularNodeSettings, SettingsError

pytestmark = pytest.mark.installed


def declared(
    ros: Any, **overrides: object
) -> tuple[Any, MonocularNodeSettings, list[MonocularNodeSettings]]:
    node = ros.add(
        rclpy.create_node(
            "n",
            parameter_overrides=[
                Parameter(name, value=value) for name, value in overrides.items()
            ],
        )
    )
    changes: list[MonocularNodeSettings] = []
    return (
        node,
        parameters.NodeParameters(node, MonocularNodeSettings, changes.append).settings,
        changes,
    )


def test_defaults_and_descriptors(ros: Any) -> None:
    node, settings, _ = declared(ros)
    assert settings == MonocularNodeSettings()
    for spec in fields(MonocularNodeSettings):
        descriptor = node.describe_parameter(spec.name)
        assert descriptor.description == spec.metadata["description"]
        assert not descriptor.read_only
        fixed = "unconfigured" in descriptor.additional_constraints
        assert fixed != spec.metadata["live"]
        assert node.get_parameter(spec.name).value == spec.default
    height = node.describe_parameter("person_height_m").floating_point_range[0]
    assert (height.from_value, height.to_value) == (0.5, 2.5)
    assert node.describe_parameter("max_people").integer_range[0].to_value == 64
    assert "rpsm" in node.describe_parameter("lifter").additional_constraints


def test_overrides_and_whole_numbers_for_reals(ros: Any) -> None:
    node, settings, _ = declared(ros, smoothing=2, lifter="martinez")
    assert settings.smoothing == 2.0 and isinstance(settings.smoothing, float)
    assert isinstance(node.get_parameter("smoothing").value, float)
    assert settings.lifter == "martinez"


def test_every_wrong_value_is_named_at_once(ros: Any) -> None:
    with pytest.raises(SettingsError) as caught:
        declared(ros, lifter="magic", smoothing=99.0, lift="yes")
    text = str(caught.value)
    assert f"lifter: expected one of {', '.join(LIFTERS)}; got 'magic'" in text
    assert "smoothing: expected 0 to 10, got 99" in text
    assert "lift: expected bool, got str 'yes'" in text


def test_unknown_parameters_are_named(ros: Any) -> None:
    declared(ros, smothing=2.0)
    ros.line("unknown parameter smothing; did you mean smoothing?")


def test_live_changes_are_validated_with_a_reason(ros: Any) -> None:
    node, _, changes = declared(ros)
    node.configured = True

    def change(name: str, value: object) -> Any:
        return node.set_parameters([Parameter(name, value=value)])[0]

    assert change("smoothing", 0.5).successful
    assert change("person_height_m", 2).successful
    assert [settings.smoothing for settings in changes] == [0.5, 0.5]
    assert changes[-1].person_height_m == 2.0
    for name, value, reason in (
        ("smoothing", 11.0, "Max: 10"),
        ("publish_tf", "all", "none, person, joints"),
        ("smoothing", "much", "expected float"),
        ("lifter", "martinez", "expected the node unconfigured"),
    ):
        result = change(name, value)
        assert not result.successful
        assert reason in result.reason
    assert len(changes) == 2


@pytest.mark.parametrize("node", NODES)
def test_choices_need_no_quotes_in_yaml(node: str) -> None:
    choices = [choice for spec in fields(NODES[node]) for choice in spec.metadata["choices"] or ()]
    assert choices == yaml.safe_load(f"[{', '.join(choices)}]")


@pytest.mark.parametrize("node", NODES)
def test_the_configuration_file_documents_every_parameter(node: str) -> None:
    path = share("config", f"{'monocular' if node in ('video', *BESIDE) else node}.yaml")
    given = yaml.safe_load(path.read_text())[f"/**/{node}"]["ros__parameters"]
    assert given == {spec.name: spec.default for spec in fields(NODES[node])}
    lines = path.read_text().splitlines()
    for spec in fields(NODES[node]):
        row = next(i for i, line in enumerate(lines) if line.startswith(f"    {spec.name}:"))
        assert lines[row - 1].lstrip().startswith("#"), f"{spec.name} has no comment"
