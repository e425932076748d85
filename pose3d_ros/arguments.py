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

"""Settings on the command line: the `name:=value` that launch files and ``pose3d up`` share, and
`--name` options.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, fields
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

from pose3d_ros.resources import share
from pose3d_ros.settings import (
    HumansNodeSettings,
    MonocularNodeSettings,
    MultiviewNodeSettings,
    RecorderNodeSettings,
    SeparationNodeSettings,
    Settings,
    SettingsError,
    VideoNodeSettings,
    ViewerNodeSettings,
    check,
)

NODES: dict[str, type[Settings]] = {
    "monocular": MonocularNodeSettings,
    "video": VideoNodeSettings,
    "multiview": MultiviewNodeSettings,
    "separation": SeparationNodeSettings,
    "viewer": ViewerNodeSettings,
    "humans": HumansNodeSettings,
    "recorder": RecorderNodeSettings,
}
BESIDE = ("viewer", "humans", "recorder", "separation")
"""Nodes that hear what the others publish: ``viewer:=true`` starts one beside them."""
ONE_CAMERA = ("monocular", "video", *BESIDE)
RIG = ("multiview", *ONE_CAMERA)
TOPICS = ("image", "camera_info", "depth")
TOLD_BY_RIG = {
    *TOPICS,
    "video",
    "rig_camera",
    "source",
    "bag_topic",
    "calibration",
    "frame_id",
    "cameras",
}
S = TypeVar("S", bound=Settings)
_BOOLEANS = {"true": True, "false": False, "1": True, "0": False}


class Argument(NamedTuple):
    """Default, description and, where only some values are allowed, these."""

    default: str
    description: str
    choices: tuple[str, ...] = ()


def arguments(nodes: Sequence[str]) -> dict[str, Argument]:
    """Every argument of these nodes: names, where to look and listen, then their settings.

    A setting that is empty is as the configuration file has it; one that several nodes have goes
    to all of them. ``multiview`` brings the nodes of its cameras along, and what a rig file tells
    is no argument then.
    """
    of_rig = "multiview" in nodes
    nodes, name = (RIG, "multiview") if of_rig else (nodes, "monocular")
    listed = {
        "namespace": Argument("pose3d", "Namespace of nodes and topics"),
        "config": Argument(str(share("config", f"{name}.yaml")), "YAML file of parameters"),
        "image": Argument("image", "Topic of the images"),
        "camera_info": Argument("camera_info", "Topic of their calibration"),
        "depth": Argument("depth", "Topic of depth images registered to them, if there are any"),
        "video": Argument(
            "", "Video file, folder, camera device or bag to play on the image topic"
        ),
        "viewer": Argument("false", "Show people in a web browser", ("true", "false")),
        "humans": Argument(
            "false", "Publish people as ROS4HRI bodies (REP-155) too", ("true", "false")
        ),
        "recorder": Argument("false", "Write people to a file too", ("true", "false")),
        "separation": Argument(
            "false", "Tell people's distance from the robot's shapes too", ("true", "false")
        ),
        "use_sim_time": Argument("", "Take the time from /clock", ("", "true", "false")),
        "log_level": Argument(
            "info", "Least severity to log", ("debug", "info", "warn", "error", "fatal")
        ),
    }
    for node in nodes:
        for spec in fields(NODES[node]):
            description = describe(spec)
            if spec.name in listed and listed[spec.name].description != description:
                description = f"{listed[spec.name].description}; {node}: {description}"
            choices = spec.metadata["choices"]
            listed[spec.name] = Argument("", description, ("", *choices) if choices else ())
    return {
        name: argument for name, argument in listed.items() if not (of_rig and name in TOLD_BY_RIG)
    }


def describe(spec: Field[Any]) -> str:
    """A setting's description with its range or choices, and its default."""
    meta = spec.metadata
    allowed = f" ({meta['low']:g} to {meta['high']:g})" if meta["low"] is not None else ""
    allowed = f" ({', '.join(meta['choices'])})" if meta["choices"] else allowed
    default = str(spec.default).lower() if isinstance(spec.default, bool) else str(spec.default)
    return f"{meta['description']}{allowed}" + (f"; default {default}" if default else "")


def parameters(node: str, given: Mapping[str, str]) -> dict[str, Any]:
    """The node's parameters among the arguments, with their types; empty ones are left to the
    configuration file.

    Raises ``SettingsError`` that names every argument with a value that it cannot have.
    """
    values: dict[str, Any] = {}
    problems = []
    for spec in fields(NODES[node]):
        text = given.get(spec.name, "")
        if text == "":
            continue
        kind: Callable[[str], Any] = type(spec.default)
        try:
            values[spec.name] = (
                _BOOLEANS[text.lower()] if isinstance(spec.default, bool) else kind(text)
            )
        except (KeyError, ValueError):
            values[spec.name] = text
        if why := check(spec, values[spec.name]):
            problems.append(why)
    if problems:
        raise SettingsError("; ".join(problems))
    if node == "video" and given.get("video"):
        values["source"] = given["video"]
    if given.get("use_sim_time"):
        values["use_sim_time"] = _BOOLEANS[given["use_sim_time"]]
    return values


def add_options(
    parser: argparse.ArgumentParser,
    settings: type[Settings],
    old_names: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Give ``parser`` a `--name` option for each setting, and hidden ones of its old names.

    ``old_names``: old name -> name of the setting.
    """
    for old, name in old_names.items():
        kind = type(next(spec.default for spec in fields(settings) if spec.name == name))
        values: dict[str, Any] = (
            {"action": argparse.BooleanOptionalAction} if kind is bool else {"type": kind}
        )
        parser.add_argument(
            "--" + old.replace("_", "-"),
            dest=name,
            default=argparse.SUPPRESS,
            help=argparse.SUPPRESS,
            **values,
        )
    for spec in fields(settings):
        option = "--" + spec.name.replace("_", "-")
        description = describe(spec).replace("%", "%%")
        if isinstance(spec.default, bool):
            parser.add_argument(
                option,
                action=argparse.BooleanOptionalAction,
                default=spec.default,
                help=description,
            )
        else:
            parser.add_argument(
                option,
                type=type(spec.default),
                default=spec.default,
                help=description,
                metavar=type(spec.default).__name__.upper(),
            )


def from_options(options: argparse.Namespace, settings: type[S]) -> S:
    """The settings from the options that ``add_options`` made; raises ``SettingsError``."""
    return settings(**{spec.name: getattr(options, spec.name) for spec in fields(settings)})
