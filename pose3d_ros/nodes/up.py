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

"""Nodes in one process, with the arguments and configuration files of the launch files: what
``pose3d up`` runs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from rclpy.exceptions import NameValidationException
from rclpy.expand_topic_name import expand_topic_name
from rclpy.logging import get_logger
from rclpy.parameter import Parameter
from rclpy.validate_full_topic_name import validate_full_topic_name
from rclpy.validate_namespace import validate_namespace

from pose3d_ros.arguments import BESIDE, NODES, TOPICS, arguments, parameters
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.nodes.process import run
from pose3d_ros.nodes.rig_launch import NodeToStart, nodes_of_rig
from pose3d_ros.resources import share

CLASSES = {
    "monocular": "pose3d_ros.nodes.monocular:MonocularNode",
    "video": "pose3d_ros.nodes.video:VideoNode",
    "multiview": "pose3d_ros.nodes.multiview:MultiviewNode",
    "separation": "pose3d_ros.nodes.separation:SeparationNode",
    "viewer": "pose3d_ros.nodes.viewer:ViewerNode",
    "humans": "pose3d_ros.nodes.humans:HumansNode",
    "recorder": "pose3d_ros.nodes.recorder:RecorderNode",
}


DISCOVERY = (
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "ROS_DISCOVERY_SERVER",
    "ROS_LOCALHOST_ONLY",
    "ROS_STATIC_PEERS",
)
"""Variables of the environment by which users tell which nodes shall meet."""


def up(words: list[str]) -> int:
    """Run the nodes that ``words`` name until Ctrl-C or the end of the video. Returns the exit
    code.
    """
    planned = plan(words)
    stay_local()
    return run(*planned)


def stay_local() -> None:
    """Let nodes of this process meet those of this machine only, unless the environment tells how
    far they shall look. Humble and Zenoh do not know the variable (``docs/security.md``).
    """
    if any(name in os.environ for name in DISCOVERY):
        return
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    zenoh = "zenoh" in os.environ.get("RMW_IMPLEMENTATION", "")
    if os.environ.get("ROS_DISTRO") != "humble" and not zenoh:
        get_logger("pose3d").info(
            "for nodes on this machine only; with ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET in front "
            "of the command also for others of the network"
        )


@contextmanager
def up_in_process(*words: str) -> Iterator[subprocess.Popen[bytes]]:
    """``pose3d up`` with these words in a process of its own, until the end of the block."""
    process = subprocess.Popen([sys.executable, "-m", "pose3d_ros.cli", "up", *words])
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def plan(words: list[str]) -> tuple[list[Callable[[], ManagedNode[Any]]], list[str]]:
    """Node factories and ROS arguments of the process. Raises ``ValueError`` in one line."""
    given = dict(word.split(":=", 1) for word in words if ":=" in word)
    nodes = [word for word in words if ":=" not in word]
    if given.get("video") and "video" not in nodes:
        nodes.append("video")
    nodes += [node for node in BESIDE if given.get(node) == "true" and node not in nodes]
    if unknown := [node for node in nodes if node not in NODES]:
        raise ValueError(f"expected nodes among {', '.join(NODES)}, got '{unknown[0]}'")
    if not nodes:
        raise ValueError(f"expected at least one node ({', '.join(NODES)}), got none")
    if len(set(nodes)) < len(nodes):
        raise ValueError(
            f"expected each node once, got {' '.join(nodes)}; start the second with another "
            "namespace in a process of its own"
        )
    if "multiview" in nodes and set(nodes) - {"multiview", *BESIDE}:
        raise ValueError(
            f"expected multiview alone or with {', '.join(BESIDE)}, got {' '.join(nodes)}: it "
            f"starts the nodes of its cameras itself"
        )
    known = arguments(nodes)
    if unknown := sorted(set(given) - set(known)):
        beside = [
            node for node in BESIDE if unknown[0] in {spec.name for spec in fields(NODES[node])}
        ]
        raise ValueError(
            f"{unknown[0]} is an argument of {beside[0]}: start that too, with {beside[0]}:=true"
            if beside
            else f"unknown argument {unknown[0]}; expected one of {', '.join(known)}"
        )
    values = {name: given.get(name) or argument.default for name, argument in known.items()}
    for name, argument in known.items():
        if argument.choices and values[name] not in argument.choices:
            raise ValueError(
                f"{name}: expected one of {', '.join(c for c in argument.choices if c)}; "
                f"got '{values[name]}'"
            )
    _check_config(Path(values["config"]))
    namespace = f"/{values['namespace'].strip('/')}"
    _check_name("namespace", namespace, validate_namespace)
    ros_arguments = [
        "--ros-args",
        "--params-file",
        values["config"],
        "--log-level",
        values["log_level"],
    ]
    if "multiview" in nodes:
        values |= {node: "true" if node in nodes else "false" for node in BESIDE}
        return [_factory(planned) for planned in nodes_of_rig(values)], ros_arguments
    for topic in TOPICS:
        _check_name(
            topic,
            values[topic],
            lambda name: validate_full_topic_name(expand_topic_name(name, nodes[0], namespace)),
        )
    if "monocular" in nodes and "video" in nodes:
        values["wait_for_subscribers"] = (
            values["wait_for_subscribers"] or "1"
        )  # a short video would be over too early
    renamed = {topic: values[topic] for topic in TOPICS if values[topic] != topic}
    return [
        _factory(NodeToStart(node, namespace, parameters(node, values), renamed)) for node in nodes
    ], ros_arguments


def _factory(planned: NodeToStart) -> Callable[[], ManagedNode[Any]]:
    module, name = CLASSES[planned.node].split(":")
    remappings = [
        word for old, new in planned.remappings.items() for word in ("-r", f"{old}:={new}")
    ]
    return partial(
        getattr(import_module(module), name),
        namespace=planned.namespace,
        cli_args=["--ros-args", *remappings] if remappings else None,
        parameter_overrides=[
            Parameter(key, value=value) for key, value in planned.parameters.items()
        ],
    )


def _check_config(path: Path) -> None:
    if not path.is_file():
        raise ValueError(f"config: expected a YAML file, got {path}, which does not exist")
    try:
        nodes = yaml.safe_load(path.read_bytes())
    except yaml.YAMLError as error:
        raise ValueError(f"config: {path} is not YAML: {error}") from None
    if not isinstance(nodes, dict) or not all(
        isinstance(content, dict) for content in nodes.values()
    ):
        raise ValueError(
            f"config: expected nodes with ros__parameters in {path}, as in "
            f"{share('config', 'monocular.yaml')}"
        )


def _check_name(argument: str, name: str, check: Callable[[str], object]) -> None:
    try:
        check(name)
    except (
        NameValidationException,
        ValueError,
    ) as error:  # rcl points below the name, or at its own source
        why = str(error).splitlines()[0].rstrip(":").split(", at ")[0]
        raise ValueError(f"{argument}: got '{name}'; {why}") from None
