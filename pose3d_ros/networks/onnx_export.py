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

"""Networks as ONNX files, for any number of people at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn


def export(
    network: nn.Module,
    path: Path,
    inputs: Mapping[str, Tensor | dict[str, Tensor] | list[Tensor] | None],
    outputs: Sequence[str],
    free: bool = True,
) -> Path:
    """Write ``network`` in evaluation mode; the first dimension of inputs and outputs is ``free``,
    the rest as given.

    ``inputs``: example of each argument in the order of ``forward``; where it is free, for two
    people or more (of one, the number would be fixed). A list's tensors get its name and their
    number, a dictionary's their keys; None is no input. ``outputs``: names of what ``forward``
    returns.
    """
    names: list[str] = []
    arguments: dict[str, Any] = {}
    shapes: dict[str, Any] = {}
    people = {0: torch.export.Dim("people")} if free else None
    for (name, value), argument in zip(
        inputs.items(), signature(network.forward).parameters, strict=False
    ):
        if value is None:
            continue
        arguments[argument] = value
        if isinstance(value, Tensor):
            names.append(name)
            shapes[argument] = people
        elif isinstance(value, dict):
            names += value
            shapes[argument] = dict.fromkeys(value, people)
        else:
            names += [f"{name}{i}" for i in range(len(value))]
            shapes[argument] = [people] * len(value)
    torch.onnx.export(
        network.eval(),
        (),
        str(path),
        kwargs=arguments,
        input_names=names,
        output_names=list(outputs),
        dynamic_shapes=shapes,
        dynamo=True,
        external_data=False,
        verbose=False,
    )
    _strip(path)
    return path


def _strip(path: Path) -> None:
    """Take out what torch notes about the machine: the source lines of every operation."""
    model = onnx.load(path)
    for part in (
        model,
        model.graph,
        *model.graph.node,
        *model.graph.value_info,
        *model.graph.input,
        *model.graph.output,
        *model.graph.initializer,
        *model.functions,
    ):
        for note in ("metadata_props", "doc_string"):
            if part.DESCRIPTOR.fields_by_name.get(note):
                part.ClearField(note)
    onnx.save(model, path)
