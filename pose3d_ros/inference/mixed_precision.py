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

"""ONNX models whose tensors have the types that an engine shall compute in.

TensorRT 11 takes the precision from the model alone, and TensorRT 10 does so when asked (strongly
typed networks): one way for both, and what is computed in which type can be looked at, and run on
any CPU. The types of a network in fp16 follow torch's automatic mixed precision: products and
convolutions in half precision, ``IN_FLOAT32`` as they were.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from pose3d_ros.errors import EngineError, quoted
from pose3d_ros.inference.ort import library

IN_FLOAT32 = ("Softmax",)
"""Operators that stay in float32, besides those that have no arithmetic in half precision.

With it in half precision TensorRT for RTX 1.7 cannot build the attention of ``lifter-context-t``.
"""


def in_precision(path: Path, precision: str) -> bytes:
    """The model with its constants folded, in ``fp32``, or in ``fp16`` with inputs and outputs as
    they were.

    Folding makes constants of what exporters compute from constants, such as the order of an
    LSTM's gates, which parsers expect to find as weights. Raises ``EngineError``.
    """
    onnxruntime = library()
    try:
        import onnx
        from onnxruntime.transformers import float16
        from onnxruntime.transformers.onnx_model import OnnxModel
    except ImportError as error:
        raise EngineError(
            "preparing a model for this engine needs the packages onnx and onnxruntime "
            f"({error}); pip install onnx onnxruntime"
        ) from None
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    )  # standard operators only
    options.log_severity_level = 3
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = f"{folder}/folded.onnx"
        try:
            onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class
            raise EngineError(
                f"{path}: ONNX Runtime cannot load this model ({quoted(error)}); replace the "
                "file by a valid ONNX export"
            ) from None
        model: Any = onnx.load(options.optimized_model_filepath)
    used = {node.domain for node in model.graph.node}
    kept = [domain for domain in model.opset_import if domain.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)
    if precision == "fp16":
        # Zeros in float32 where nothing else is said: ONNX Runtime 1.23 leaves them so, and joins
        # them with halves.
        for node in model.graph.node:
            if node.op_type == "ConstantOfShape" and not node.attribute:
                zero = onnx.helper.make_tensor("value", onnx.TensorProto.FLOAT, [1], [0.0])
                node.attribute.append(onnx.helper.make_attribute("value", zero))
        model = float16.convert_float_to_float16(
            model,
            keep_io_types=True,
            op_block_list=[*float16.DEFAULT_OP_BLOCK_LIST, *IN_FLOAT32],
        )
        nodes = {
            tuple(node.output): node for node in model.graph.node
        }  # it casts twice what a node takes twice
        del model.graph.node[:]
        model.graph.node.extend(nodes.values())
        OnnxModel.graph_topological_sort(model.graph)  # the converter puts its casts at the end
        del model.graph.value_info[:]  # and leaves types of before
    return bytes(model.SerializeToString())
