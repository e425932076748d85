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

"""INT8 models: weights per channel, activations per tensor, ranged on what the network was fed
with, and judged.

Explicit quantisation (QuantizeLinear and DequantizeLinear in the model), which ONNX Runtime,
OpenVINO and both lines of TensorRT read; what is quantised can be judged on any CPU. Layers that
INT8 harms stay in float32: each is quantised alone, and what that does to the outputs is measured.
"""

from __future__ import annotations

import copy
import logging
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros.errors import PrecisionError
from pose3d_ros.inference.cache import Cache, hash_of
from pose3d_ros.inference.engine import Arrays
from pose3d_ros.inference.mixed_precision import in_precision
from pose3d_ros.inference.ort import library

Feeds = Sequence[Mapping[str, np.ndarray]]

LAYERS = ("Conv", "Gemm", "MatMul")
"""Operators with weights."""
JUDGED = 8
"""Calls that a layer's harm is measured on."""
HARMFUL = 0.25
HARMLESS = 1e-3
"""A layer stays in float32 that alone makes ``HARMFUL`` of some output's whole mean square error,
unless it makes less than ``HARMLESS`` of the output's mean square.
"""
NO_ARITHMETIC = (
    "Transpose",
    "Reshape",
    "Flatten",
    "Squeeze",
    "Unsqueeze",
    "Identity",
    "Concat",
    "Sigmoid",
    "Clip",
    "Relu",
)
UNWANTED = ["WeightBiasQuantization"]
"""Optimiser of ONNX Runtime that quantises layers left in float32 after all, with one scale for
all channels.
"""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Scheme:
    """Quantisation scheme of a kind of engine."""

    name: str
    quantised: tuple[str, ...]
    """Operators that take nearly all of the time; the others stay as they are."""
    activations: str
    """ONNX Runtime's name of their type."""
    engine: str
    """To build with."""


# Adds and poolings in INT8 as well cost accuracy and save nothing; int8 activations run at half
# the speed of uint8.
CPU = Scheme("uint8 activations", ("Conv", "Clip", "Relu"), "QUInt8", "cpu")
TENSORRT = Scheme("symmetric", ("Conv", "Gemm", "MatMul"), "QInt8", "tensorrt")


def calibrate(path: Path, feeds: Feeds, scheme: Scheme = CPU) -> list[str]:
    """Quantise the model and put it into the cache, in the place of an earlier one. The layers
    left in float32.
    """
    model, left = quantise(path, feeds, scheme)
    Cache().write(_parts(path, scheme), model)
    return left


def calibrated_model(path: Path, scheme: Scheme = CPU) -> bytes:
    """The quantised model that was put into the cache. Raises ``PrecisionError`` where there is
    none.
    """
    data = Cache().read(_parts(path, scheme))
    if data is None:
        raise PrecisionError(
            f"precision int8: {path.name} was not calibrated on this machine; run pose3d models "
            f"build --engine {scheme.engine} --precision int8 --images FOLDER once, with "
            "pictures as the camera's"
        )
    return data


def quantise(path: Path, feeds: Feeds, scheme: Scheme = CPU) -> tuple[bytes, list[str]]:
    """The model in ``path`` in INT8, ranged on what it does with ``feeds``, and the layers that
    stay in float32.

    A network without convolutions on maps, such as a lifter, stays as it is on the CPU: it has
    nothing to gain. Raises ``EngineError``.
    """
    model = named(path)
    layers = [
        node
        for node in model.graph.node
        if node.op_type in scheme.quantised and node.op_type in LAYERS
    ]
    if not any(len(shape) == 4 for shape in _weights(model, layers)):
        return path.read_bytes(), [node.name for node in layers]
    ranges = calibrated(model, feeds, scheme)
    heads = _heads(model)  # an output in 256 steps is of no use
    left = heads | sensitive(
        model,
        ranges,
        [layer.name for layer in layers if layer.name not in heads],
        feeds[:: max(len(feeds) // JUDGED, 1)][:JUDGED],
        scheme,
    )
    return with_scales(model, ranges, left, scheme), sorted(left)


def sensitive(
    model: Any, ranges: Any, layers: Sequence[str], feeds: Feeds, scheme: Scheme
) -> set[str]:
    """The layers that do harm (``HARMFUL``), measured with each of them quantised alone."""
    others = {node.name for node in model.graph.node if node.op_type in LAYERS}
    expected = _run(model.SerializeToString(), feeds)

    def error(quantised: Iterable[str]) -> np.ndarray:
        return _error(
            expected, _run(with_scales(model, ranges, others - set(quantised), scheme), feeds)
        )

    bearable = np.maximum(HARMFUL * error(layers), HARMLESS)
    found = set()
    for number, layer in enumerate(layers):
        if (error([layer]) > bearable).any():
            found.add(layer)
        if number % 20 == 0:
            _log.info("judging layer %d of %d", number + 1, len(layers))
    return found


def calibrated(model: Any, feeds: Feeds, scheme: Scheme) -> Any:
    """ONNX Runtime's ranges of the model's tensors while it runs on ``feeds``.

    From the least to the largest value: its percentiles keep every tensor of every feed, which are
    gigabytes.
    """
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod
    from onnxruntime.quantization.calibrate import create_calibrator

    class Reader(CalibrationDataReader):  # type: ignore[misc,unused-ignore]
        def __init__(self) -> None:
            self.rest = iter(feeds)

        def get_next(self) -> Any:
            feed = next(self.rest, None)
            return None if feed is None else dict(feed)

    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "model.onnx"
        source.write_bytes(model.SerializeToString())
        calibrator = create_calibrator(
            source, list(scheme.quantised), f"{folder}/augmented.onnx", CalibrationMethod.MinMax
        )
        calibrator.collect_data(Reader())
        return calibrator.compute_data()


def with_scales(model: Any, ranges: Any, left: Iterable[str], scheme: Scheme) -> bytes:
    """The model with quantisation of all layers but those ``left`` in float32."""
    import onnx
    from onnxruntime.quantization import QuantType
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

    names = set(left)
    outputs = {output for node in model.graph.node if node.name in names for output in node.output}
    # The activation after a layer goes with it.
    names |= {
        node.name
        for node in model.graph.node
        if node.op_type in ("Clip", "Relu") and node.input[0] in outputs
    }
    symmetric = scheme.activations == "QInt8"
    quantiser = QDQQuantizer(
        onnx.shape_inference.infer_shapes(copy.deepcopy(model)),
        True,
        False,
        QuantType.QInt8,
        getattr(QuantType, scheme.activations),
        copy.deepcopy(ranges),
        [],
        sorted(names),
        list(scheme.quantised),
        {"ActivationSymmetric": symmetric, "WeightSymmetric": True, "QuantizeBias": not symmetric},
    )
    quantiser.quantize_model()
    return bytes(quantiser.model.model.SerializeToString())


def named(path: Path) -> Any:
    """The model in ``path`` with its constants folded and a name for each node. Raises
    ``EngineError``.
    """
    folded = in_precision(path, "fp32")  # says in one line where onnx is missing
    import onnx

    model = onnx.load_from_string(folded)
    for number, node in enumerate(model.graph.node):
        node.name = f"{node.op_type}_{number}"
    return model


def _weights(model: Any, layers: Sequence[Any]) -> list[tuple[int, ...]]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    return [shapes.get(layer.input[1], ()) for layer in layers]


def _heads(model: Any) -> set[str]:
    """The layers that make the model's outputs, with no arithmetic after them."""
    made = {output: node for node in model.graph.node for output in node.output}
    heads, tensors = set(), [output.name for output in model.graph.output]
    while tensors:
        node = made.get(tensors.pop())
        if node is not None and node.op_type in NO_ARITHMETIC:
            tensors += node.input
        elif node is not None and node.op_type in LAYERS:
            heads.add(node.name)
    return heads


def _run(model: bytes, feeds: Feeds) -> list[Arrays]:
    onnxruntime = library()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=UNWANTED
    )
    names = [output.name for output in session.get_outputs()]
    return [dict(zip(names, session.run(names, dict(feed)), strict=True)) for feed in feeds]


def _error(expected: Sequence[Arrays], found: Sequence[Arrays]) -> np.ndarray:
    """Of each output, the mean square error as a share of its mean square."""
    shares = []
    for name in expected[0]:
        wrong = sum(
            float(((a[name] - b[name]) ** 2).sum()) for a, b in zip(expected, found, strict=True)
        )
        shares.append(wrong / max(sum(float((a[name] ** 2).sum()) for a in expected), 1e-12))
    return np.array(shares)


def _parts(path: Path, scheme: Scheme) -> dict[str, str]:
    return {"name": path.stem, "model": hash_of(path), "quantised": f"int8, {scheme.name}"}
