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

"""Conversion of published checkpoints to files of numbers alone: safetensors to train on, ONNX to
run.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pose3d_ros.errors import quoted
from pose3d_ros.networks import create
from pose3d_ros.networks.onnx_export import export
from pose3d_ros.networks.torch_file import CheckpointError, read_torch_file

MAX_OPTION = 8192
"""Largest number in the options of a network in a file."""


def convert(checkpoint: Path, output: Path, name: str, **options: Any) -> Path:
    """Write the network of a checkpoint to ``output``, a .safetensors or .onnx file.

    ``name`` and ``options`` are ``create``'s; HRNet keeps the heat maps of a checkpoint that has
    them. No code in the checkpoint is run. Raises ``CheckpointError``, or ``ValueError`` for a
    name, option or output that cannot be.
    """
    if output.suffix not in (".safetensors", ".onnx"):
        raise ValueError(f"{output}: expected a name that ends with .safetensors or .onnx")
    found = parameters(checkpoint)
    if name.startswith("hrnet") and (joints := _heatmaps(found)):
        options = {"joints": joints, **options}
    network = _network(found, name, options)
    if output.suffix == ".onnx":
        return export(network, output, network.example(2), network.outputs)
    save_file(network.state_dict(), output, {"network": name, "options": json.dumps(options)})
    return output


def load(path: Path) -> nn.Module:
    """The network in a .safetensors file that ``convert`` wrote, in evaluation mode. Raises
    ``CheckpointError``.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        options = json.loads(metadata["options"])
        if not all(isinstance(n, int | float) and n <= MAX_OPTION for n in _leaves(options)):
            raise ValueError(f"options {metadata['options'][:100]}")
        return _network(load_file(path), metadata["network"], options).eval()
    except (SafetensorError, OSError, KeyError, ValueError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path}: expected a file written by 'pose3d models import' ({quoted(error)})"
        ) from None


def _leaves(options: Any) -> Iterator[Any]:
    """All values in the options of a network, those of lists one by one."""
    if not isinstance(options, dict) or len(options) > 32:
        raise ValueError("options that are no options")
    for value in options.values():
        values = value if isinstance(value, list) else [value]
        if len(values) > 32:
            raise ValueError(f"{len(values)} values of an option")
        yield from values


def _network(found: Mapping[str, Tensor], name: str, options: Mapping[str, Any]) -> Any:
    """The network of this name with the parameters ``found``. No others are ever allocated, for
    options can ask for any size.
    """
    try:
        with torch.device("meta"):
            network = create(name, **options)
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from None
    load_into(network, found)
    return network


def parameters(checkpoint: Path) -> dict[str, Tensor]:
    """Every tensor of a file that ``torch.save`` wrote, by its name; the names of dictionaries in
    it go before. Raises ``CheckpointError``.
    """
    return dict(_tensors(read_torch_file(checkpoint), "", set()))


def load_into(network: nn.Module, found: Mapping[str, Tensor]) -> None:
    """Give ``network`` its parameters, below whatever prefix they are; ``CheckpointError`` lists
    those that do not fit.
    """
    expected = network.state_dict()
    anchor = next(iter(expected))
    prefixes = {name.removesuffix(anchor) for name in found if f".{name}".endswith(f".{anchor}")}
    prefix = max(
        sorted(prefixes) or [""], key=lambda p: sum(p + name in found for name in expected)
    )
    given = {
        name.removeprefix(prefix): value
        for name, value in found.items()
        if name.startswith(prefix)
    }
    ignored = getattr(network, "ignored", ())
    given = {name: value for name, value in given.items() if not name.startswith(ignored)}
    wrong = [
        f"{name} {list(given[name].shape)} instead of {list(value.shape)}"
        for name, value in expected.items()
        if name in given and given[name].shape != value.shape
    ]
    problems = [
        f"{what}: {_some(names)}"
        for what, names in [
            ("missing", sorted(expected.keys() - given.keys())),
            ("unexpected", sorted(given.keys() - expected.keys())),
            ("of another shape", wrong),
        ]
        if names
    ]
    if problems:
        raise CheckpointError(
            f"these are not the parameters of this network; {'; '.join(problems)}"[:1000]
        )
    network.load_state_dict(
        {name: given[name].to(value.dtype) for name, value in expected.items()}, assign=True
    )


def _heatmaps(found: Mapping[str, Tensor]) -> int:
    """Number of heat maps of the last layer of a published HRNet; 0 if it has none."""
    last = "final_layer.weight"
    return next(
        (
            len(value)
            for name, value in found.items()
            if name.endswith(last) and f"{name.removesuffix(last)}conv1.weight" in found
        ),
        0,
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


def _tensors(value: Any, prefix: str, seen: set[int]) -> Iterator[tuple[str, Tensor]]:
    """Tensors in nested dictionaries with their names, of each dictionary once."""
    if isinstance(value, Tensor):
        yield prefix.removesuffix("."), value
    elif isinstance(value, Mapping) and id(value) not in seen:
        seen.add(id(value))
        for name, item in value.items():
            yield from _tensors(item, f"{prefix}{name}.", seen)
