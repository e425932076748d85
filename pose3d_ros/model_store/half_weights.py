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

"""Weights stored as halves, where these hold them exactly."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALL = 64
"""Values; smaller tensors are not worth a node."""


def store_as_half(model: onnx.ModelProto) -> None:
    """Store float32 weights that a float16 holds exactly as such, each behind a Cast.

    The networks were published so. Engines fold the Casts when they load the model, so it computes
    what it did; the file is half as large.
    """
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size >= SMALL and np.array_equal(half.astype(np.float32), values):
            casts.append(
                helper.make_node(
                    "Cast", [f"{tensor.name}/half"], [tensor.name], to=TensorProto.FLOAT
                )
            )
            tensor.CopyFrom(numpy_helper.from_array(half, f"{tensor.name}/half"))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
