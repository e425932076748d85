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

"""A small TFLite file made by hand, for the tests of the converter and the model store."""

from __future__ import annotations

import flatbuffers
import numpy as np
import tflite

SIDE = 6
WEIGHTS = (
    np.random.default_rng(1).normal(size=(4, 3, 3, 3)).astype(np.float16)
)  # (out, kh, kw, in)
BIAS = np.random.default_rng(2).normal(size=4).astype(np.float32)
OUTPUT, BEFORE_RESIZE = 6, 5  # tensor indices


def tiny_tflite() -> bytes:
    """Input (1, 6, 6, 3), PAD by 1 below and right, CONV_2D 3x3/2 RELU6 with float16 weights,
    RESIZE_BILINEAR by 2.
    """
    builder = flatbuffers.Builder()
    pads = np.array([[0, 0], [0, 1], [0, 1], [0, 0]], np.int32)
    data = [None, WEIGHTS, BIAS, pads, np.array([6, 6], np.int32)]
    buffers = []
    for array in data:
        vector = (
            None
            if array is None
            else builder.CreateNumpyVector(np.frombuffer(array.tobytes(), np.uint8))
        )
        tflite.BufferStart(builder)
        if vector is not None:
            tflite.BufferAddData(builder, vector)
        buffers.append(tflite.BufferEnd(builder))
    kind = tflite.TensorType
    tensors = [  # shape, type, buffer
        ((1, SIDE, SIDE, 3), kind.FLOAT32, 0),
        (WEIGHTS.shape, kind.FLOAT16, 1),
        (WEIGHTS.shape, kind.FLOAT32, 0),
        (BIAS.shape, kind.FLOAT32, 2),
        ((1, 7, 7, 3), kind.FLOAT32, 0),
        ((1, 3, 3, 4), kind.FLOAT32, 0),
        ((1, 6, 6, 4), kind.FLOAT32, 0),
        (pads.shape, kind.INT32, 3),
        ((2,), kind.INT32, 4),
    ]
    tables = [_tensor(builder, *tensor) for tensor in tensors]

    tflite.Conv2DOptionsStart(builder)
    tflite.Conv2DOptionsAddPadding(builder, tflite.Padding.VALID)
    tflite.Conv2DOptionsAddStrideH(builder, 2)
    tflite.Conv2DOptionsAddStrideW(builder, 2)
    tflite.Conv2DOptionsAddFusedActivationFunction(builder, tflite.ActivationFunctionType.RELU6)
    convolution = tflite.Conv2DOptionsEnd(builder)
    tflite.ResizeBilinearOptionsStart(builder)
    tflite.ResizeBilinearOptionsAddHalfPixelCenters(builder, True)
    resize = tflite.ResizeBilinearOptionsEnd(builder)
    operators = [  # operator code, inputs, outputs, options
        (0, [1], [2], None),
        (1, [0, 7], [4], None),
        (2, [4, 2, 3], [5], (tflite.BuiltinOptions.Conv2DOptions, convolution)),
        (3, [5, 8], [6], (tflite.BuiltinOptions.ResizeBilinearOptions, resize)),
    ]
    nodes = [_operator(builder, *operator) for operator in operators]
    codes = []
    for code in (
        tflite.BuiltinOperator.DEQUANTIZE,
        tflite.BuiltinOperator.PAD,
        tflite.BuiltinOperator.CONV_2D,
        tflite.BuiltinOperator.RESIZE_BILINEAR,
    ):
        tflite.OperatorCodeStart(builder)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, code)
        tflite.OperatorCodeAddBuiltinCode(builder, code)
        codes.append(tflite.OperatorCodeEnd(builder))

    tables_, nodes_ = _offsets(builder, tables), _offsets(builder, nodes)
    inputs, outputs = _ints(builder, [0]), _ints(builder, [OUTPUT])
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tables_)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, nodes_)
    graphs = _offsets(builder, [tflite.SubGraphEnd(builder)])
    codes_, buffers_ = _offsets(builder, codes), _offsets(builder, buffers)
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes_)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, buffers_)
    builder.Finish(tflite.ModelEnd(builder), b"TFL3")
    return bytes(builder.Output())


def _ints(builder: flatbuffers.Builder, values: list[int] | tuple[int, ...]) -> int:
    return builder.CreateNumpyVector(np.array(values, np.int32))


def _offsets(builder: flatbuffers.Builder, tables: list[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return builder.EndVector()


def _tensor(builder: flatbuffers.Builder, shape: tuple[int, ...], kind: int, buffer: int) -> int:
    shape_ = _ints(builder, shape)
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape_)
    tflite.TensorAddType(builder, kind)
    tflite.TensorAddBuffer(builder, buffer)
    return tflite.TensorEnd(builder)


def _operator(
    builder: flatbuffers.Builder,
    code: int,
    inputs: list[int],
    outputs: list[int],
    options: tuple[int, int] | None,
) -> int:
    inputs_, outputs_ = _ints(builder, inputs), _ints(builder, outputs)
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, code)
    tflite.OperatorAddInputs(builder, inputs_)
    tflite.OperatorAddOutputs(builder, outputs_)
    if options is not None:
        tflite.OperatorAddBuiltinOptionsType(builder, options[0])
        tflite.OperatorAddBuiltinOptions(builder, options[1])
    return tflite.OperatorEnd(builder)
