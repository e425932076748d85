"""ROS parameters from the settings dataclasses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import Field, fields, replace
from typing import Any, TypeVar

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from pose3d_ros.settings import Settings, SettingsError, check

S = TypeVar("S", bound=Settings)


def describe(spec: Field[Any]) -> ParameterDescriptor:
    """Descriptor of a setting: description, range, choices; read-only unless it is live."""
    meta = spec.metadata
    descriptor = ParameterDescriptor(
        name=spec.name,
        description=meta["description"],
        read_only=not meta["live"],
        additional_constraints=f"one of {', '.join(meta['choices'])}" if meta["choices"] else "",
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


def _typed(spec: Field[Any], value: Any) -> Any:
    return float(value) if isinstance(spec.default, float) else value


def declare(node: Node, cls: type[S], changed: Callable[[S], None]) -> S:
    """Declare the settings of ``cls`` as parameters of ``node`` and return their values.

    ``changed`` gets the new settings whenever live ones are set. Raises ``SettingsError`` that
    names every value that is not valid. Parameters given that do not exist are logged: they may be
    meant for another node.
    """
    specs = {spec.name: spec for spec in fields(cls)}
    # Declared untyped first: rclpy would stop at the first wrong value, and words its reasons for
    # programmers.
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
        node.get_logger().warning(
            f"unknown parameter {', '.join(unknown)} ignored; known: {', '.join(specs)}"
        )
    problems = [
        f"parameter {why}" for name, spec in specs.items() if (why := check(spec, values[name]))
    ]
    if problems:
        raise SettingsError("; ".join(problems))
    for name, spec in specs.items():
        descriptor = describe(spec)
        if not descriptor.dynamic_typing:
            descriptor.type = Parameter.Type.from_parameter_value(spec.default).value
        node.set_descriptor(name, descriptor)
    settings = cls(**{name: _typed(spec, values[name]) for name, spec in specs.items()})

    def on_set(parameters: list[Parameter]) -> SetParametersResult:
        nonlocal settings
        ours = {p.name: p.value for p in parameters if p.name in specs}
        reasons = [why for name, value in ours.items() if (why := check(specs[name], value))]
        if reasons:
            return SetParametersResult(successful=False, reason="; ".join(reasons))
        if ours:
            settings = replace(
                settings, **{name: _typed(specs[name], value) for name, value in ours.items()}
            )
            changed(settings)
        return SetParametersResult(successful=True)

    node.add_on_set_parameters_callback(on_set)
    return settings
