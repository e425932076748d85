"""Networks as ONNX files, for any number of people at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn


def export(network: nn.Module, path: Path, inputs: Mapping[str, Tensor | list[Tensor]], outputs: Sequence[str],
           free: bool = True) -> Path:
    """Write ``network`` in evaluation mode; the first dimension of inputs and outputs is ``free``, the rest as given.

    ``inputs``: example of each argument in the order of ``forward``; where it is free, for two people or more (of one,
    the number would be fixed). A list's tensors get its name and their number. ``outputs``: names of what ``forward``
    returns.
    """
    names, shapes = [], []
    people = {0: torch.export.Dim("people")} if free else None
    for name, value in inputs.items():
        several = isinstance(value, list)
        names += [f"{name}{i}" for i in range(len(value))] if several else [name]
        shapes.append([people] * len(value) if several else people)
    torch.onnx.export(network.eval(), tuple(inputs.values()), str(path), input_names=names, output_names=list(outputs),
                      dynamic_shapes=tuple(shapes), dynamo=True, external_data=False, verbose=False)
    _strip(path)
    return path


def _strip(path: Path) -> None:
    """Take out what torch notes about the machine: the source lines of every operation."""
    model = onnx.load(path)
    for part in (model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.input,
                 *model.graph.output, *model.graph.initializer, *model.functions):
        for note in ("metadata_props", "doc_string"):
            if part.DESCRIPTOR.fields_by_name.get(note):
                part.ClearField(note)
    onnx.save(model, path)
