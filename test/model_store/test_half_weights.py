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

"""Weights stored as halves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="needs onnx")
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from pose3d_ros import inference  # noqa: E402
from pose3d_ros.inference.mixed_precision import in_precision  # noqa: E402
from pose3d_ros.model_store.half_weights import store_as_half  # noqa: E402

RNG = np.random.default_rng(0)
EXACT = RNG.normal(size=(16, 3, 3, 3)).astype(np.float16).astype(np.float32)
FINER = RNG.normal(size=(16, 16, 1, 1)).astype(np.float32)


def network() -> Any:
    """Two convolutions; the weights of the first were halves once."""
    nodes = [
        helper.make_node("Conv", ["image", "exact"], ["middle"]),
        helper.make_node("Conv", ["middle", "finer"], ["out"]),
    ]
    weights = [numpy_helper.from_array(EXACT, "exact"), numpy_helper.from_array(FINER, "finer")]
    graph = helper.make_graph(
        nodes,
        "two",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 16, 6, 6])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def test_only_what_a_half_holds_exactly_and_the_same_answer(tmp_path: Path) -> None:
    before, after = network(), network()
    store_as_half(after)
    types = {tensor.name: tensor.data_type for tensor in after.graph.initializer}
    assert types == {"exact/half": TensorProto.FLOAT16, "finer": TensorProto.FLOAT}
    image = {"image": RNG.normal(size=(2, 3, 8, 8)).astype(np.float32)}
    answers = {}
    for name, model in (("before", before), ("after", after)):
        onnx.save(model, tmp_path / f"{name}.onnx")
        answers[name] = inference.load(tmp_path / f"{name}.onnx", "cpu")(image)["out"]
    np.testing.assert_array_equal(answers["before"], answers["after"])


@pytest.mark.parametrize(
    ("precision", "kind"), [("fp32", TensorProto.FLOAT), ("fp16", TensorProto.FLOAT16)]
)
def test_conversion_to_other_precisions_finds_plain_weights(
    tmp_path: Path, precision: str, kind: int
) -> None:
    model = network()
    store_as_half(model)
    onnx.save(model, tmp_path / "half.onnx")
    made = onnx.load_from_string(in_precision(tmp_path / "half.onnx", precision))
    weights = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    sources = {node.input[1] for node in made.graph.node if node.op_type == "Conv"}
    assert {weights[name] for name in sources} == {kind}
