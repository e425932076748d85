"""Weights to go on from: those of an exported lifter, read back into the network that it was
exported from.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from pose3d_ros.training.build import TrainSettings, build
from pose3d_ros.training.export import exported

NOTE = "pose3d.form"
FORM = (
    "lifter",
    "channels",
    "stages",
    "clip",
    "maps",
    "levels",
    "relief",
    "look",
    "instance",
    "context",
    "fusion",
)
"""Settings that say how a network is built."""
LARGEST_DIFFERENCE_M = (
    1e-3  # between the answers of the network and of the file: other rounding, the same weights
)
_TORCH_GATES = np.array(
    [0, 2, 3, 1]
)  # of an LSTM: input, forget, cell, output; ONNX has input, output, forget, cell


def weights(path: Path) -> dict[str, np.ndarray]:
    """The parameters in an ONNX file that ``training.export`` wrote, by the network's names for
    them.

    The exporter keeps most names, and loses those of what it stores in another order: the biases
    of LSTMs, and matrices, which it transposes. They are told by the operations that use them.
    Batch norms that it has multiplied into the convolutions before them come back as ones that add
    what is left, which is the same in evaluation mode: it does so where a network is run but once,
    such as the frozen base of a context lifter.
    """
    graph = onnx.load(path).graph
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
                name for name in _before(made_by, node.input[2]) if name.endswith(".weight_hh_l0")
            )
            gates = found[node.input[3]].reshape(2, 4, -1)[:, _TORCH_GATES].reshape(2, -1)
            for name, bias in zip(("ih", "hh"), gates, strict=True):
                found[hidden.replace("weight_hh", f"bias_{name}")] = bias
        if node.op_type == "Conv" and len(node.input) == 3 and not node.input[2].endswith(".bias"):
            found |= _adding(
                node.input[1].removesuffix("weight").replace("_conv.", "_bn."),
                found[node.input[2]],
            )
    return found


def _adding(name: str, bias: np.ndarray) -> dict[str, np.ndarray]:
    """Batch norm (C,) of a name that adds a bias and does nothing else."""
    one, zero = np.ones_like(bias), np.zeros_like(bias)
    return {
        f"{name}weight": one,
        f"{name}bias": bias,
        f"{name}running_mean": zero,
        f"{name}running_var": one - nn.BatchNorm1d(1).eps,
    }


def _before(made_by: dict[str, Any], name: str) -> list[str]:
    """A value and everything that it is made of."""
    node = made_by.get(name)
    return [
        name,
        *(
            earlier
            for value in (node.input if node else ())
            for earlier in _before(made_by, value)
        ),
    ]


def base(path: Path) -> nn.Module | None:
    """The lifter inside that a context lifter's ONNX file corrects, with weights at random; None
    if there is none.
    """
    found = [
        value
        for value in onnx.load(path).graph.initializer
        if value.name.endswith("base.expand_conv.weight")
    ]
    return build(TrainSettings(lifter="martinez", channels=found[0].dims[0])) if found else None


def go_on(network: nn.Module, path: Path) -> None:
    """Give ``network`` the parameters of an ONNX file, and see that both then answer the same.

    Raises ``ValueError``: another network's file, or one whose numbers were rounded (int8).
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
        raise ValueError(
            f"{path}: expected an ONNX file of this network, as 'pose3d train' writes it, got one "
            f"without "
            f"{', '.join(missing[:4])}{' and others' if len(missing) > 4 else ''}; are --lifter, "
            f"--channels and --stages those of its training?"
        )
    network.load_state_dict(given, strict=False)
    apart = difference_m(network, path)
    if apart > LARGEST_DIFFERENCE_M:
        raise ValueError(
            f"{path}: its weights give other answers in this network, by {apart * 1e3:.1f} mm; "
            f"was it "
            f"written by another version, or quantised?"
        )


def difference_m(network: nn.Module, path: Path) -> float:
    """How far a network's joints are from an ONNX file's at most, for people at random, from the
    first state.

    Raises ``ValueError`` when the file takes other inputs.
    """
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {
        entry.name: rng.normal(0, 0.5, [2, *entry.shape[1:]]).astype(np.float32)
        for entry in session.get_inputs()
    }
    if "state" in feeds:
        feeds["state"] = np.zeros_like(feeds["state"])
    was = network.training
    module, inputs, _ = exported(network.eval(), True, 2)
    names = {
        name
        for key, value in inputs.items()
        if value is not None
        for name in (value if isinstance(value, dict) else [key])
    }
    if names != feeds.keys():
        raise ValueError(
            f"{path}: expected the inputs {', '.join(sorted(names))}, got "
            f"{', '.join(sorted(feeds))}"
        )
    tensors = {name: torch.from_numpy(value) for name, value in feeds.items()}
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
    network.train(was)
    joints = cast(Tensor, answer[0] if isinstance(answer, tuple) else answer).numpy()
    return float(np.abs(joints - session.run(["joints"], feeds)[0])[..., :3].max())


def note(path: Path, settings: TrainSettings) -> Path:
    """Write into an ONNX file what ``form`` tells of it."""
    model = onnx.load(path)
    onnx.helper.set_model_props(
        model, {NOTE: json.dumps({name: getattr(settings, name) for name in FORM})}
    )
    onnx.save(model, path)
    return path


def form(path: Path, lifter: str) -> dict[str, Any]:
    """The settings that the network in an ONNX file was built with: as noted, or of the first
    lifters by its shapes.

    Raises ``ValueError`` where neither tells.
    """
    model = onnx.load(path)
    noted = {entry.key: entry.value for entry in model.metadata_props}
    if NOTE in noted:
        found: dict[str, Any] = json.loads(noted[NOTE])
        if (kind := found.pop("lifter")) != lifter:
            raise ValueError(f"start: expected a lifter '{lifter}', got {path}, which is '{kind}'")
        return found
    shapes = {value.name: list(value.dims) for value in model.graph.initializer}
    inputs = {entry.name for entry in model.graph.input}
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
            "relief": bool(inputs & {"root_relative_depth", "relief"}),  # the second until 0.2
        }
    raise ValueError(
        f"start: expected an ONNX file that 'pose3d train' wrote, got {path}, which does not say "
        f"how its "
        f"network is built"
    )
