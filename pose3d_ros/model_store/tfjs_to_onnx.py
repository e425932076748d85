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

"""Convert MoveNet's TensorFlow.js graph models to ONNX: float32, any number and size of images,
uint8 BGR input.

Covers the convolutional part of these networks, up to their heads; the published graphs go on to
decode people, at most six of them, which ``detection.movenet`` does for any number. As with
``tflite_to_onnx``, the scale and the order of colours of the image go into the weights of the
first convolution, and the result is the same, byte by byte, wherever it is made.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from pose3d_ros.errors import ConversionError
from pose3d_ros.model_store.half_weights import store_as_half

SCALE, OFFSET = float(np.float16(2 / 255)), -1.0
"""The networks take ``SCALE * pixel + OFFSET``; the published graph stores the scale as a half."""
STRIDE = 32
"""Heights and widths of images are multiples of this."""
_DTYPES = {"float32": np.float32, "float16": np.float16, "int32": np.int32, "bool": np.bool_}
Array = npt.NDArray[Any]


def convert(
    topology: bytes, weights: bytes, outputs: Mapping[str, str], image: str, name: str
) -> bytes:
    """ONNX bytes of a TensorFlow.js graph model.

    ``topology`` is its ``.json``, ``weights`` its ``.bin``. ``outputs`` maps the names of the ONNX
    outputs to nodes of the graph; what they do not need is left out. ``image`` is the node that
    stands for the normalised image: the ONNX input ``image`` is (N, H, W, 3) uint8 BGR with H and
    W multiples of 32. Outputs are (N, C, H / stride, W / stride). Raises ``ConversionError``.
    """
    try:
        model = json.loads(topology)
        nodes = {node["name"]: node for node in model["modelTopology"]["node"]}
        constants = _constants(model["weightsManifest"], weights)
    except (ValueError, KeyError, TypeError) as error:
        raise ConversionError(
            f"expected a TensorFlow.js graph model with modelTopology and weightsManifest; "
            f"got {' '.join(str(error).split())}"
        ) from None
    return _Converter(nodes, constants, image).run(outputs, name)


def _constants(manifest: Any, data: bytes) -> dict[str, Array]:
    """Weights by name, as float32; stored as they are, or as float16."""
    constants: dict[str, Array] = {}
    at = 0
    for entry in (entry for group in manifest for entry in group["weights"]):
        stored = np.dtype(_DTYPES[entry.get("quantization", entry)["dtype"]])
        count = int(np.prod(entry["shape"], dtype=int))
        values: Array = np.frombuffer(data, stored, count, at).reshape(entry["shape"])
        constants[entry["name"]] = values.astype(_DTYPES[entry["dtype"]])
        at += count * stored.itemsize
    if at != len(data):
        raise ValueError(f"{len(data)} bytes of weights where the manifest lists {at}")
    return constants


def _strings(attributes: Mapping[str, Any], name: str) -> list[str]:
    encoded = attributes.get(name, {}).get("list", {}).get("s", [])
    return [base64.b64decode(text).decode() for text in encoded]


class _Converter:
    def __init__(
        self, nodes: Mapping[str, Any], constants: Mapping[str, Array], image: str
    ) -> None:
        self.graph, self.constants, self.image = nodes, constants, image
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.channels: dict[str, int] = {}

    def run(self, outputs: Mapping[str, str], name: str) -> bytes:
        for node in self._needed(outputs.values()):
            operator = getattr(self, f"_on_{node['op'].strip('_').lower()}", None)
            if operator is None:
                raise ConversionError(f"operator {node['op']} is not supported")
            inputs = [text.split(":")[0] for text in node["input"] if not text.startswith("^")]
            operator(node["name"], inputs, node.get("attr", {}))
        names = {tensor: output for output, tensor in outputs.items()}
        for made in self.nodes:
            made.input[:] = [names.get(tensor, tensor) for tensor in made.input]
            made.output[:] = [names.get(tensor, tensor) for tensor in made.output]
        shape: list[str | int | None] = ["images", "height", "width", 3]
        image = helper.make_tensor_value_info("image", TensorProto.UINT8, shape)
        values = [
            helper.make_tensor_value_info(
                output,
                TensorProto.FLOAT,
                ["images", self.channels[tensor], f"{output}_height", f"{output}_width"],
            )
            for output, tensor in outputs.items()
        ]
        graph = helper.make_graph(
            self.nodes, name, [image], values, list(self.initializers.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", 13)],
            ir_version=8,
            producer_name="pose3d_ros",
        )
        store_as_half(model)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString(deterministic=True))

    def _needed(self, names: Iterable[str]) -> list[Any]:
        """Nodes that ``names`` depend on, sources first."""
        seen: set[str] = set()
        order = []

        def visit(name: str) -> None:
            name = name.split(":")[0].lstrip("^")
            if name in seen or name in self.constants or name == self.image:
                return
            seen.add(name)
            if name not in self.graph:
                raise ConversionError(f"expected a node {name} in the graph, got none")
            node = self.graph[name]
            # The second input of a resize computes the size, which is always twice the first's.
            inputs = node.get("input", [])[: 1 if node["op"] == "ResizeBilinear" else None]
            for source in inputs:
                visit(source)
            order.append(node)

        for name in names:
            visit(name)
        return order

    def _weight(self, name: str, value: Any) -> str:
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _add_node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def _convolution(
        self, name: str, inputs: list[str], attributes: Any, weight: Array, group: int
    ) -> None:
        """A convolution (O, I, kh, kw) with what is fused into it: bias and activation."""
        stride = int(attributes["strides"]["list"]["i"][1])
        kernel = weight.shape[2:]
        pads = [0, 0, 0, 0]
        if base64.b64decode(attributes["padding"]["s"]).decode() == "SAME":
            # Sizes are multiples of the stride; the smaller half of the padding comes first.
            total = [max(side - stride, 0) for side in kernel]
            pads = [side // 2 for side in total] + [side - side // 2 for side in total]
        fused = _strings(attributes, "fused_ops")
        bias = np.zeros(len(weight), np.float32)
        if "BiasAdd" in fused:
            bias = self.constants[inputs[2]]
        source = inputs[0]
        if source == self.image:
            source, weight, bias = self._first(weight, bias, pads)
            pads = [0, 0, 0, 0]
        activation = [kind for kind in fused if kind in ("Relu", "Relu6")]
        output = f"{name}_linear" if activation else name
        self._add_node(
            "Conv",
            [source, self._weight(f"{name}/weight", weight), self._weight(f"{name}/bias", bias)],
            output,
            strides=[stride, stride],
            pads=pads,
            group=group,
            kernel_shape=list(kernel),
        )
        self.channels[output] = self.channels[name] = len(weight)
        if activation:
            getattr(self, f"_on_{activation[0].lower()}")(name, [output], {})

    def _first(self, weight: Array, bias: Array, pads: list[int]) -> tuple[str, Array, Array]:
        """Source, weight and bias of the first convolution, which takes the pixels as they are."""
        self._add_node("Cast", ["image"], "image/float", to=TensorProto.FLOAT)
        self._add_node("Transpose", ["image/float"], "image/pixels", perm=[0, 3, 1, 2])
        amounts = self._weight(
            "constants/image_pads", np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
        )
        zero = self._weight("constants/zero_pixel", np.float32(-OFFSET / SCALE))
        self._add_node("Pad", ["image/pixels", amounts, zero], "image/padded")
        exact = weight[:, ::-1].astype(float)  # an RGB network, a BGR picture
        shifted = bias + OFFSET * exact.sum((1, 2, 3))
        return "image/padded", (exact * SCALE).astype(np.float32), shifted.astype(np.float32)

    # Operators: one method each, named as in TensorFlow, without underscores around

    def _on_conv2d(self, name: str, inputs: list[str], attributes: Any) -> None:
        weight = self.constants[inputs[1]].transpose(3, 2, 0, 1)
        self._convolution(name, inputs, attributes, weight, 1)

    _on_fusedconv2d = _on_conv2d

    def _on_depthwiseconv2dnative(self, name: str, inputs: list[str], attributes: Any) -> None:
        weight = self.constants[inputs[1]]  # (kh, kw, C, 1)
        if weight.shape[3] != 1:
            raise ConversionError(f"{name}: expected one output a channel, got {weight.shape[3]}")
        self._convolution(name, inputs, attributes, weight.transpose(2, 3, 0, 1), weight.shape[2])

    _on_fuseddepthwiseconv2dnative = _on_depthwiseconv2dnative

    def _on_addv2(self, name: str, inputs: list[str], attributes: Any) -> None:
        self._add_node("Add", inputs, name)
        self.channels[name] = self.channels[inputs[0]]

    def _on_relu6(self, name: str, inputs: list[str], attributes: Any) -> None:
        limits = [
            self._weight("constants/zero", np.float32(0)),
            self._weight("constants/six", np.float32(6)),
        ]
        self._add_node("Clip", [inputs[0], *limits], name)
        self.channels[name] = self.channels[inputs[0]]

    def _on_relu(self, name: str, inputs: list[str], attributes: Any) -> None:
        self._add_node("Relu", inputs, name)
        self.channels[name] = self.channels[inputs[0]]

    def _on_resizebilinear(self, name: str, inputs: list[str], attributes: Any) -> None:
        if not attributes["half_pixel_centers"]["b"]:
            raise ConversionError(f"{name}: expected a resize with half-pixel centres")
        scales = self._weight("constants/twice", np.array([1, 1, 2, 2], np.float32))
        self._add_node(
            "Resize",
            [inputs[0], "", scales],
            name,
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )
        self.channels[name] = self.channels[inputs[0]]
