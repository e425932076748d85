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

"""Convert BlazePose's TFLite networks to ONNX: float32, any number of images at once, uint8 BGR
input.

Covers the operators that these networks use, no more. Weights stored as float16 (DEQUANTIZE) or
sparse (DENSIFY) become plain float32, explicit PAD becomes the padding of the convolution behind
it, and the scale and the order of colours of the image go into the weights of the first
convolution, so that the graph takes pixels as they come from the camera. The result is the same,
byte by byte, wherever it is made.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

from pose3d_ros.errors import ConversionError
from pose3d_ros.model_store.half_weights import store_as_half

_DTYPES = {0: np.float32, 1: np.float16, 2: np.int32}  # tflite.TensorType
_OPERATORS = {
    code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)
}
_RELU6 = 3  # tflite.ActivationFunctionType
_SAME = 0  # tflite.Padding
_MOST_VALUES = 1 << 26  # in a tensor
_UNREADABLE = (
    # what the libraries raise of bytes that are no network: none has a class of its own
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    TypeError,
    ValueError,
    onnx.checker.ValidationError,
    struct.error,
)


def convert(model: bytes, outputs: Mapping[str, int], low: float = 0.0) -> bytes:
    """ONNX bytes of a TFLite network.

    ``outputs`` maps the names of the ONNX outputs to TFLite tensor indices; what they do not need
    is left out. The ONNX input ``image`` is (N, H, W, 3) uint8 BGR; ``low`` is what the network
    takes for the pixel value 0, and 1 for 255. Outputs with four axes are (N, C, H, W). Raises
    ``ConversionError``.
    """
    if model[4:8] != b"TFL3":
        raise ConversionError(
            f"expected a TFLite model, which has TFL3 at byte 4; got {model[4:8]!r}"
        )
    try:
        return _Converter(tflite.Model.GetRootAs(model, 0), low).run(outputs)
    except ConversionError:
        raise
    except _UNREADABLE as error:
        reason = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise ConversionError(
            f"the file is damaged, or not of this converter ({reason})"
        ) from None


class _Converter:
    def __init__(self, model: Any, low: float) -> None:
        self.model, self.graph = model, model.Subgraphs(0)
        self.scale, self.offset = (1 - low) / 255, low
        self.image = int(self.graph.InputsAsNumpy()[0])
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.constants: dict[int, np.ndarray] = {}
        self.pads: dict[
            int, tuple[int, list[int]]
        ] = {}  # padded tensor -> (its source, top left bottom right)

    def run(self, outputs: Mapping[str, int]) -> bytes:
        for operator in self._needed(set(outputs.values())):
            name = self._name_of(operator)
            inputs = [int(i) for i in operator.InputsAsNumpy()]
            try:
                getattr(self, f"_{name.lower()}")(operator, inputs, int(operator.Outputs(0)))
            except AttributeError as error:
                raise ConversionError(f"operator {name} is not supported: {error}") from None
        names = {f"t{index}": name for name, index in outputs.items()}
        for node in self.nodes:
            node.input[:] = [names.get(name, name) for name in node.input]
            node.output[:] = [names.get(name, name) for name in node.output]
        height, width = self._shape(self.image)[1:3]
        image = helper.make_tensor_value_info(
            "image", TensorProto.UINT8, ["people", height, width, 3]
        )
        values = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, self._onnx_shape(index))
            for name, index in outputs.items()
        ]
        graph = helper.make_graph(
            self.nodes, "blazepose", [image], values, list(self.initializers.values())
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

    def _needed(self, tensors: set[int]) -> list[Any]:
        """Operators that ``tensors`` depend on, in order."""
        kept = []
        for row in reversed(range(self.graph.OperatorsLength())):
            operator = self.graph.Operators(row)
            if operator.Outputs(0) in tensors:
                kept.append(operator)
                tensors = tensors | {int(i) for i in operator.InputsAsNumpy()}
        return kept[::-1]

    # Tensors

    def _name_of(self, operator: Any) -> str:
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        return str(_OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())])

    def _shape(self, index: int) -> list[int]:
        shape = [int(n) for n in self.graph.Tensors(index).ShapeAsNumpy()]
        if min(shape, default=1) < 1 or math.prod(shape) > _MOST_VALUES:
            raise ConversionError(f"tensor {index}: expected a possible shape, got {shape}")
        return shape

    def _onnx_shape(self, index: int) -> list[int | str]:
        _, *rest = self._shape(index)
        return ["people", rest[2], *rest[:2]] if len(rest) == 3 else ["people", *rest]

    def _constant(self, index: int) -> np.ndarray:
        """Value of a tensor that does not depend on the image."""
        if index not in self.constants:
            tensor = self.graph.Tensors(index)
            data = self.model.Buffers(tensor.Buffer()).DataAsNumpy()
            if isinstance(data, int) or tensor.Type() not in _DTYPES:
                raise ConversionError(f"tensor {index}: expected a float or int32 constant")
            values = data.view(_DTYPES[tensor.Type()])
            shape = self._shape(index)
            sparsity = tensor.Sparsity()
            self.constants[index] = (
                values.reshape(shape) if sparsity is None else _dense(values, shape, sparsity)
            )
        return self.constants[index]

    def _weight(self, name: str, value: np.ndarray) -> str:
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _add_node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def _activated(self, output: int, activation: int) -> str:
        """Name for the result of an operator whose fused activation is appended under the tensor's
        own name.
        """
        if activation not in (0, _RELU6):
            raise ConversionError(f"expected no activation or RELU6, got {activation}")
        return f"t{output}_linear" if activation else f"t{output}"

    def _activate(self, output: int, activation: int) -> None:
        if activation:
            limits = [self._weight("zero", np.float32(0)), self._weight("six", np.float32(6))]
            self._add_node("Clip", [f"t{output}_linear", *limits], f"t{output}")

    # Operators: one method each, named as in tflite.BuiltinOperator

    def _dequantize(self, operator: Any, inputs: list[int], output: int) -> None:
        self.constants[output] = self._constant(inputs[0]).astype(np.float32)

    def _densify(self, operator: Any, inputs: list[int], output: int) -> None:
        self.constants[output] = self._constant(inputs[0])

    def _pad(self, operator: Any, inputs: list[int], output: int) -> None:
        (_, _), (top, bottom), (left, right), (front, back) = self._constant(inputs[1])
        if not front == back == 0:
            # Channels are padded where a residual connection gains some.
            pads = np.array([0, front, top, left, 0, back, bottom, right], np.int64)
            self._add_node(
                "Pad", [f"t{inputs[0]}", self._weight(f"pads{output}", pads)], f"t{output}"
            )
        else:
            self.pads[output] = inputs[0], [int(top), int(left), int(bottom), int(right)]

    def _conv_2d(self, operator: Any, inputs: list[int], output: int) -> None:
        # (out, kh, kw, in) -> (out, in, kh, kw)
        self._convolve(
            operator,
            tflite.Conv2DOptions(),
            self._constant(inputs[1]).transpose(0, 3, 1, 2),
            1,
            inputs,
            output,
        )

    def _depthwise_conv_2d(self, operator: Any, inputs: list[int], output: int) -> None:
        weights = self._constant(inputs[1]).transpose(
            3, 0, 1, 2
        )  # (1, kh, kw, channels) -> (channels, 1, kh, kw)
        self._convolve(
            operator, tflite.DepthwiseConv2DOptions(), weights, len(weights), inputs, output
        )

    def _convolve(
        self,
        operator: Any,
        options: Any,
        weights: np.ndarray,
        group: int,
        inputs: list[int],
        output: int,
    ) -> None:
        options = _read(operator, options)
        source, pads = self.pads.get(inputs[0], (inputs[0], [0, 0, 0, 0]))
        stride = [options.StrideH(), options.StrideW()]
        if options.Padding() == _SAME:
            size, kernel = self._shape(inputs[0])[1:3], weights.shape[2:]
            total = [
                max((-(-n // s) - 1) * s + k - n, 0)
                for n, s, k in zip(size, stride, kernel, strict=True)
            ]
            before = [t // 2 for t in total]
            pads = [
                p + q
                for p, q in zip(
                    pads, before + [t - b for t, b in zip(total, before, strict=True)], strict=True
                )
            ]
        bias = self._constant(inputs[2])
        tensor = f"t{source}"
        if source == self.image:
            tensor, pads, weights, bias = self._pixels(pads, weights, bias)
        name = self._activated(output, options.FusedActivationFunction())
        self._add_node(
            "Conv",
            [tensor, self._weight(f"w{output}", weights), self._weight(f"b{output}", bias)],
            name,
            strides=stride,
            pads=pads,
            group=group,
            kernel_shape=list(weights.shape[2:]),
        )
        self._activate(output, options.FusedActivationFunction())

    def _pixels(
        self, pads: list[int], weights: np.ndarray, bias: np.ndarray
    ) -> tuple[str, list[int], np.ndarray, np.ndarray]:
        """The first convolution rewritten for uint8 BGR pixels (N, H, W, 3)."""
        self._add_node("Cast", ["image"], "image_float", to=TensorProto.FLOAT)
        self._add_node("Transpose", ["image_float"], "pixels", perm=[0, 3, 1, 2])
        tensor = "pixels"
        if self.offset and any(pads):
            # The network pads with its own zero, which is this pixel value.
            value = self._weight("zero_pixel", np.float32(-self.offset / self.scale))
            amounts = np.array([0, 0, *pads[:2], 0, 0, *pads[2:]], np.int64)
            self._add_node("Pad", [tensor, self._weight("image_pads", amounts), value], "padded")
            tensor, pads = "padded", [0, 0, 0, 0]
        exact = weights[:, ::-1].astype(np.float64)
        return (
            tensor,
            pads,
            (exact * self.scale).astype(np.float32),
            (bias + self.offset * exact.sum((1, 2, 3))).astype(np.float32),
        )

    def _add(self, operator: Any, inputs: list[int], output: int) -> None:
        activation = _read(operator, tflite.AddOptions()).FusedActivationFunction()
        self._add_node("Add", [f"t{i}" for i in inputs], self._activated(output, activation))
        self._activate(output, activation)

    def _max_pool_2d(self, operator: Any, inputs: list[int], output: int) -> None:
        options = _read(operator, tflite.Pool2DOptions())
        self._add_node(
            "MaxPool",
            [f"t{inputs[0]}"],
            f"t{output}",
            strides=[options.StrideH(), options.StrideW()],
            kernel_shape=[options.FilterHeight(), options.FilterWidth()],
        )

    def _resize_bilinear(self, operator: Any, inputs: list[int], output: int) -> None:
        before, after = self._shape(inputs[0]), self._shape(output)
        scales = np.array([1, 1, after[1] / before[1], after[2] / before[2]], np.float32)
        self._add_node(
            "Resize",
            [f"t{inputs[0]}", "", self._weight(f"scales{output}", scales)],
            f"t{output}",
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def _depth_to_space(self, operator: Any, inputs: list[int], output: int) -> None:
        block = _read(operator, tflite.DepthToSpaceOptions()).BlockSize()
        self._add_node(
            "DepthToSpace", [f"t{inputs[0]}"], f"t{output}", blocksize=block, mode="DCR"
        )

    def _logistic(self, operator: Any, inputs: list[int], output: int) -> None:
        self._add_node("Sigmoid", [f"t{inputs[0]}"], f"t{output}")

    def _reshape(self, operator: Any, inputs: list[int], output: int) -> None:
        # TFLite flattens (H, W, C); rows of the result belong to an image, so the first axis
        # stays.
        self._add_node("Transpose", [f"t{inputs[0]}"], f"t{output}_hwc", perm=[0, 2, 3, 1])
        shape = np.array([-1, *self._shape(output)[1:]], np.int64)
        self._add_node(
            "Reshape", [f"t{output}_hwc", self._weight(f"shape{output}", shape)], f"t{output}"
        )

    def _concatenation(self, operator: Any, inputs: list[int], output: int) -> None:
        if len(self._shape(output)) == 4:
            raise ConversionError("CONCATENATION of images is not supported")
        axis = _read(operator, tflite.ConcatenationOptions()).Axis()
        self._add_node("Concat", [f"t{i}" for i in inputs], f"t{output}", axis=axis)


def _read(operator: Any, options: Any) -> Any:
    table = operator.BuiltinOptions()
    options.Init(table.Bytes, table.Pos)
    return options


def _dense(values: np.ndarray, shape: list[int], sparsity: Any) -> np.ndarray:
    """Array of ``shape`` from values whose last axis is stored sparsely (compressed rows)."""
    last = sparsity.DimMetadata(len(shape) - 1)
    dense_before = all(sparsity.DimMetadata(i).Format() == 0 for i in range(len(shape) - 1))
    if sparsity.BlockMapLength() or not dense_before or last.Format() != 1:
        raise ConversionError("expected a tensor that is sparse along its last axis only")
    segments, columns = (
        _sparse_indices(kind, table)
        for kind, table in (
            (last.ArraySegmentsType(), last.ArraySegments()),
            (last.ArrayIndicesType(), last.ArrayIndices()),
        )
    )
    array = np.zeros((int(np.prod(shape[:-1])), shape[-1]), values.dtype)
    array[np.repeat(np.arange(len(array)), np.diff(segments)), columns] = values
    return array.reshape(shape)


def _sparse_indices(kind: int, table: Any) -> np.ndarray:
    vector = {1: tflite.Int32Vector, 2: tflite.Uint16Vector, 3: tflite.Uint8Vector}[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy()).astype(np.int64)
