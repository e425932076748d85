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

"""Weights and settings of an exported lifter, read back from its ONNX file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from google.protobuf.message import DecodeError
from onnx import numpy_helper
from torch import Tensor, nn

from pose3d_ros.errors import Pose3dError, quoted
from pose3d_ros.networks.feature_lifters import current_parameter_name
from pose3d_ros.training.build import build
from pose3d_ros.training.export import export_form
from pose3d_ros.training.settings import TrainSettings, with_current_names

METADATA = "pose3d.architecture"
_OLD_METADATA = "pose3d.form"  # until version 0.1
_OLD_INPUTS = {"relief": "root_relative_depth"}
ARCHITECTURE = (
    "lifter",
    "channels",
    "stages",
    "clip",
    "feature_source",
    "levels",
    "root_relative_depth",
    "depth_part",
    "up",
    "feature_channels",
    "instance_norm",
    "context",
    "fusion",
)
"""Settings that a network's layers depend on."""
_DEFAULTS = TrainSettings()
LARGEST_DIFFERENCE_M = 1e-3
"""Between the outputs of the network and of the file: same weights, other rounding."""
_TORCH_GATES = np.array([0, 2, 3, 1])
"""Of an LSTM: input, forget, cell, output; ONNX has input, output, forget, cell."""


class WeightsError(Pose3dError, ValueError):
    """An ONNX file that is no exported lifter, or one of another network."""


def read_model(path: Path) -> Any:
    """The model in an ONNX file, all of whose weights are in the file itself.

    Raises ``WeightsError``.
    """
    try:
        model = onnx.load(path, load_external_data=False)
    except OSError as error:
        raise WeightsError(
            f"{path}: expected an ONNX file, got {error.strerror or quoted(error)}"
        ) from None
    except DecodeError as error:
        raise WeightsError(f"{path}: expected an ONNX file ({quoted(error)})") from None
    if any(value.data_location == onnx.TensorProto.EXTERNAL for value in model.graph.initializer):
        raise WeightsError(
            f"{path}: expected weights within the file, as 'pose3d train' writes them, got "
            f"some in other files"
        )
    return model


def weights(path: Path) -> dict[str, np.ndarray]:
    """Parameters in an ONNX file that ``training.export`` wrote, by the network's names.

    The exporter keeps most names, but not those of the biases of LSTMs, which it reorders, nor of
    matrices, which it transposes; these are found by the operations that use them. It merges the
    batch norms of networks that are run only once, such as the frozen base of a context lifter,
    into the convolutions before them; these come back as batch norms that add the remaining bias,
    which is the same in evaluation mode.
    """
    graph = read_model(path).graph
    try:
        return _weights(graph)
    except (ValueError, LookupError, TypeError, StopIteration, RecursionError) as error:
        raise WeightsError(
            f"{path}: expected an ONNX file of a lifter, as 'pose3d train' writes it "
            f"({quoted(error) or type(error).__name__})"
        ) from None


def _weights(graph: Any) -> dict[str, np.ndarray]:
    found = {
        value.name: numpy_helper.to_array(value).astype(np.float32)
        for value in graph.initializer
        if value.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16)
    }
    made_by = {name: node for node in graph.node for name in node.output}
    for node in graph.node:
        if node.op_type == "Add":
            for bias, product in (node.input, reversed(node.input)):
                by = made_by.get(product)
                if (
                    bias.endswith(".bias")
                    and by is not None
                    and by.op_type == "MatMul"
                    and by.input[1] in found
                ):
                    found[bias.removesuffix("bias") + "weight"] = found[by.input[1]].T
        if node.op_type == "LSTM":
            hidden = next(
                (
                    name
                    for name in _ancestors(made_by, node.input[2])
                    if name.endswith(".weight_hh_l0")
                ),
                None,
            )
            if hidden is None:
                raise ValueError(
                    "an LSTM whose weights have lost their names, as the exporter does to those "
                    "of less than 48 units"
                )
            gates = found[node.input[3]].reshape(2, 4, -1)[:, _TORCH_GATES].reshape(2, -1)
            for name, bias in zip(("ih", "hh"), gates, strict=True):
                found[hidden.replace("weight_hh", f"bias_{name}")] = bias
        if node.op_type == "Conv" and len(node.input) == 3 and not node.input[2].endswith(".bias"):
            found |= _bias_as_batch_norm(
                node.input[1].removesuffix("weight").replace("_conv.", "_bn."),
                found[node.input[2]],
            )
    return {current_parameter_name(name): value for name, value in found.items()}


def _bias_as_batch_norm(name: str, bias: np.ndarray) -> dict[str, np.ndarray]:
    """Parameters of a batch norm (C,) that adds a bias and does nothing else."""
    one, zero = np.ones_like(bias), np.zeros_like(bias)
    return {
        f"{name}weight": one,
        f"{name}bias": bias,
        f"{name}running_mean": zero,
        f"{name}running_var": one - nn.BatchNorm1d(1).eps,
    }


def _ancestors(made_by: dict[str, Any], name: str) -> Iterator[str]:
    """Names of a value and of all values that it is computed from, each once."""
    seen: set[str] = set()
    stack = [name]
    while stack:
        value = stack.pop()
        if value in seen:
            continue
        seen.add(value)
        yield value
        if (node := made_by.get(value)) is not None:
            stack.extend(reversed(node.input))


def base_network(path: Path) -> nn.Module | None:
    """A network like the base inside a context lifter's ONNX file, with random weights; None if
    the file has no base.
    """
    found = [
        value
        for value in read_model(path).graph.initializer
        if value.name.endswith("base.expand_conv.weight")
    ]
    return build(TrainSettings(lifter="martinez", channels=found[0].dims[0])) if found else None


def load_weights(network: nn.Module, path: Path) -> None:
    """Give ``network`` the parameters of an ONNX file, and check that the outputs are the same.

    Raises ``ValueError`` for another network's file, or one whose numbers were rounded (int8).
    """
    found = weights(path)
    given: dict[str, Tensor] = {}
    missing = []
    for name, value in network.state_dict().items():
        fitting = [
            key
            for key in found
            if f".{key}".endswith(f".{name}") and found[key].shape == tuple(value.shape)
        ]
        if len(fitting) == 1:
            given[name] = torch.from_numpy(found[fitting[0]].copy()).to(value.dtype)
        elif not name.endswith("num_batches_tracked"):
            missing.append(f"{name} {list(value.shape)}")
    if missing:
        raise WeightsError(
            f"{path}: expected an ONNX file of this network, as 'pose3d train' writes it, got one "
            f"without {', '.join(missing[:4])}{' and others' if len(missing) > 4 else ''}; are "
            f"--lifter, --channels and --stages those of its training?"
        )
    network.load_state_dict(given, strict=False)
    difference = difference_m(network, path)
    if difference > LARGEST_DIFFERENCE_M:
        raise WeightsError(
            f"{path}: expected the same joints from this network with the file's weights, got a "
            f"difference of {difference * 1e3:.1f} mm; was the file written by another version, "
            f"or quantised?"
        )


def difference_m(network: nn.Module, path: Path) -> float:
    """Largest difference between a network's joints and an ONNX file's, for random inputs and the
    first state.

    Raises ``WeightsError`` when the file has other inputs, or cannot be run.
    """
    was_training = network.training
    module, inputs, _ = export_form(network.eval(), True, 2)
    rng = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {}
    for key, value in inputs.items():
        for name, example in (value if isinstance(value, dict) else {key: value}).items():
            if example is not None:
                values[name] = rng.normal(0, 0.5, tuple(example.shape)).astype(np.float32)
    if "state" in values:
        values["state"] = np.zeros_like(values["state"])
    tensors = {name: torch.from_numpy(value) for name, value in values.items()}
    with torch.no_grad():
        answer = module(
            *(
                None
                if value is None
                else {name: tensors[name] for name in value}
                if isinstance(value, dict)
                else tensors[key]
                for key, value in inputs.items()
            )
        )
    network.train(was_training)
    joints = cast(Tensor, answer[0] if isinstance(answer, tuple) else answer).numpy()
    return float(np.abs(joints - _run(path, values))[..., :3].max())


def _run(path: Path, values: dict[str, np.ndarray]) -> np.ndarray:
    """Joints (B, 17, 4) that an ONNX file gives for inputs. Raises ``WeightsError``."""
    try:
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        shapes = {entry.name: entry.shape for entry in session.get_inputs()}
        current = {name: _OLD_INPUTS.get(name, name) for name in shapes}
        if sorted(current.values()) != sorted(values):
            raise ValueError(
                f"inputs {', '.join(sorted(current.values()))} in place of "
                f"{', '.join(sorted(values))}"
            )
        feeds = {name: values[current[name]] for name in shapes}
        return np.asarray(session.run(["joints"], feeds)[0])
    except Exception as error:  # the library's have no common class
        raise WeightsError(
            f"{path}: expected an ONNX file of this network ({quoted(error)})"
        ) from None


def write_metadata(path: Path, settings: TrainSettings) -> Path:
    """Write the settings that ``architecture_of`` reads into an ONNX file."""
    model = onnx.load(path)
    onnx.helper.set_model_props(
        model, {METADATA: json.dumps({name: getattr(settings, name) for name in ARCHITECTURE})}
    )
    onnx.save(model, path)
    return path


def architecture_of(path: Path, lifter: str) -> dict[str, Any]:
    """Settings that the network in an ONNX file was built with: from its metadata or, in older
    files of lifters without feature maps, from the shapes of its weights.

    Raises ``ValueError`` for another lifter, or where neither tells.
    """
    model = read_model(path)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    if text := metadata.get(METADATA, metadata.get(_OLD_METADATA)):
        try:
            found = with_current_names(json.loads(text))
            found = {name: value for name, value in found.items() if name in ARCHITECTURE}
            replace(_DEFAULTS, **found)
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(
                f"{path}: expected settings of a lifter in its metadata, got {text[:80]!r} "
                f"({quoted(error)})"
            ) from None
        if (kind := found.pop("lifter")) != lifter:
            raise WeightsError(
                f"init_from: expected a lifter '{lifter}', got {path}, which is '{kind}'"
            )
        return found
    shapes = {value.name: list(value.dims) for value in model.graph.initializer}
    inputs = {_OLD_INPUTS.get(entry.name, entry.name) for entry in model.graph.input}
    if "network.expand_conv.weight" in shapes:
        return {"channels": shapes["network.expand_conv.weight"][0]}
    stages = [
        shape
        for name, shape in shapes.items()
        if re.search(r"\bstages\.\d+\.refine\.0\.weight$", name)
    ]
    if stages and "features3" not in inputs:
        return {
            "channels": stages[0][0],
            "stages": len(stages),
            "levels": 0,
            "root_relative_depth": "root_relative_depth" in inputs,
        }
    raise WeightsError(
        f"init_from: expected an ONNX file that 'pose3d train' wrote, got {path}, which does not "
        f"say how its network is built"
    )
