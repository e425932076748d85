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

"""ROS parameters from the settings dataclasses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import Field, fields, replace
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.parameter import Parameter

from pose3d_ros.settings import Settings, SettingsError, check

S = TypeVar("S", bound=Settings)


def describe(spec: Field[Any]) -> ParameterDescriptor:
    """Descriptor of a setting: description, range, choices, and when it may change."""
    meta = spec.metadata
    constraints = [
        *([f"one of {', '.join(meta['choices'])}"] if meta["choices"] else []),
        *([] if meta["live"] else ["set while the node is unconfigured"]),
    ]
    descriptor = ParameterDescriptor(
        name=spec.name,
        description=meta["description"],
        additional_constraints="; ".join(constraints),
        dynamic_typing=isinstance(spec.default, float),
    )  # so that `smoothing:=1` needs no decimal point
    if meta["low"] is not None and isinstance(spec.default, float):
        descriptor.floating_point_range = [
            FloatingPointRange(from_value=float(meta["low"]), to_value=float(meta["high"]))
        ]
    elif meta["low"] is not None:
        descriptor.integer_range = [
            IntegerRange(from_value=int(meta["low"]), to_value=int(meta["high"]))
        ]
    return descriptor


class NodeParameters(Generic[S]):
    """Declares the settings of ``cls`` as parameters of ``node`` and follows their values.

    ``changed`` gets the new settings whenever some are set: live ones at any time, others while
    the node is unconfigured. Raises ``SettingsError`` that names every value that is not valid.
    Parameters given that do not exist are logged: they may be meant for another node.
    """

    def __init__(self, node: Any, cls: type[S], changed: Callable[[S], None]) -> None:
        self._node, self._changed = node, changed
        self._specs = specs = {spec.name: spec for spec in fields(cls)}
        # Declared untyped first: rclpy would stop at the first wrong value, and words its reasons
        # for programmers.
        values = {
            name: node.declare_parameter(
                name, spec.default, ParameterDescriptor(dynamic_typing=True)
            ).value
            for name, spec in specs.items()
        }
        given = set(getattr(node, "_parameter_overrides", ()))
        if unknown := sorted(
            name for name in given if "." not in name and not node.has_parameter(name)
        ):
            node.get_logger().warning(f"ignored: {self.unknown(unknown)}")
        problems = [
            f"parameter {why}"
            for name, spec in specs.items()
            if (why := check(spec, values[name]))
        ]
        if problems:
            raise SettingsError("; ".join(problems))
        for name, spec in specs.items():
            descriptor = describe(spec)
            if not descriptor.dynamic_typing:
                descriptor.type = Parameter.Type.from_parameter_value(spec.default).value
            typed = self.as_declared(Parameter(name, value=values[name]))
            if typed.value is not values[name]:
                node.set_parameters([typed])
            node.set_descriptor(name, descriptor)
        self.settings = cls(
            **{name: _as_float(spec, values[name]) for name, spec in specs.items()}
        )
        node.add_on_set_parameters_callback(self._on_set)

    def unknown(self, names: Sequence[str]) -> str:
        """One line about parameters that do not exist, with the nearest that does."""
        known = list(self._specs)
        near = [match for name in names for match in get_close_matches(name, known, 1)]
        return (
            f"unknown parameter {', '.join(names)}; "
            + (f"did you mean {', '.join(near)}? " if near else "")
            + f"known: {', '.join(known)}"
        )

    def as_declared(self, parameter: Parameter) -> Parameter:
        """The parameter, as a floating-point number where it is a whole number for such a
        setting.
        """
        spec = self._specs.get(parameter.name)
        if spec is None or type(parameter.value) is not int:
            return parameter
        return Parameter(parameter.name, value=_as_float(spec, parameter.value))

    def _on_set(self, parameters: list[Parameter]) -> SetParametersResult:
        ours = {p.name: p.value for p in parameters if p.name in self._specs}
        reasons = [why for name, value in ours.items() if (why := self._refused(name, value))]
        if reasons:
            return SetParametersResult(successful=False, reason="; ".join(reasons))
        if ours:
            values = {name: _as_float(self._specs[name], value) for name, value in ours.items()}
            self.settings = replace(self.settings, **values)
            self._changed(self.settings)
        return SetParametersResult(successful=True)

    def _refused(self, name: str, value: Any) -> str | None:
        spec = self._specs[name]
        if not spec.metadata["live"] and getattr(self._node, "configured", False):
            node = self._node.get_fully_qualified_name()
            return (
                f"{name}: expected the node unconfigured, because it is read when it is "
                f"configured: 'ros2 lifecycle set {node} deactivate', then cleanup, set it, "
                f"then configure and activate"
            )
        return check(spec, value)


def _as_float(spec: Field[Any], value: Any) -> Any:
    return float(value) if isinstance(spec.default, float) else value
