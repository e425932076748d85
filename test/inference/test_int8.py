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

"""INT8: what is quantised, what stays as it was, and that both engines of the CPU run it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pose3d_ros import inference
from pose3d_ros.inference import Options, PrecisionError, int8
from pose3d_ros.inference.engine import largest_difference
from pose3d_ros.model_store import store

CHANNELS = 8
NEAR = 0.1
"""Of the largest value: the worst of 768 sums of roundings to 256 steps in five layers, on
pictures new to it.
"""


def network(path, loud: float):
    """Five convolutions in a row; of what the third makes, one channel is ``loud`` times as large
    as the others.

    The fourth takes that back: in float32 nothing is lost, in 256 steps of the loud channel all
    others are.
    """
    rng = np.random.default_rng(0)
    scale = np.ones(CHANNELS, np.float32)
    scale[0] = loud
    weights = [
        rng.normal(0, 0.3, (CHANNELS, 3, 3, 3)),
        rng.normal(0, 0.12, (CHANNELS, CHANNELS, 3, 3)),
        np.eye(CHANNELS)[..., None, None] * scale[:, None, None, None],
        np.eye(CHANNELS)[..., None, None] / scale[:, None, None],
        rng.normal(0, 0.3, (4, CHANNELS, 1, 1)),
    ]
    nodes, before = [], "image"
    for i, weight in enumerate(weights):
        after = "maps" if i == len(weights) - 1 else f"t{i}"
        pads = [weight.shape[2] // 2] * 4
        nodes.append(
            helper.make_node(
                "Conv", [before, f"w{i}", f"b{i}"], [f"c{i}" if i < 2 else after], pads=pads
            )
        )
        if i < 2:
            nodes.append(helper.make_node("Relu", [f"c{i}"], [after]))
        before = after
    constants = [
        numpy_helper.from_array(w.astype(np.float32), f"w{i}") for i, w in enumerate(weights)
    ]
    constants += [
        numpy_helper.from_array(np.full(len(w), 0.1, np.float32), f"b{i}")
        for i, w in enumerate(weights)
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["people", 3, 16, 16])
    maps = helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["people", 4, 16, 16])
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "g", [image], [maps], constants),
            ir_version=8,
            opset_imports=[helper.make_opsetid("", 13)],
        ),
        path,
    )
    return path


def pictures(count, seed=0):
    return [
        {"image": picture}
        for picture in np.random.default_rng(seed)
        .normal(size=(count, 1, 3, 16, 16))
        .astype(np.float32)
    ]


def error(path, model: bytes):
    """Largest error of the model on other pictures, as a share of the largest value."""
    quantised = path.with_name("quantised.onnx")
    quantised.write_bytes(model)
    before, after = (inference.create(file, "cpu", Options(1)) for file in (path, quantised))
    return max(largest_difference(before(feeds), after(feeds)) for feeds in pictures(4, seed=1))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("scheme", [int8.CPU, int8.TENSORRT], ids=lambda scheme: scheme.engine)
def test_weights_become_int8_and_answers_stay_near(tmp_path, scheme):
    path = network(tmp_path / "net.onnx", loud=1)
    model, left = int8.quantise(path, pictures(12), scheme)
    weights = [
        tensor
        for tensor in onnx.load_from_string(model).graph.initializer
        if len(tensor.dims) == 4
    ]
    assert [tensor.data_type for tensor in weights].count(TensorProto.INT8) == 4
    assert len(left) == 1, "the last one alone: outputs in 256 steps are of no use"
    assert 1e-5 < error(path, model) < NEAR


def test_the_layer_that_int8_harms_stays_in_float32(tmp_path):
    path = network(tmp_path / "net.onnx", loud=1000)
    feeds = pictures(12)
    model, left = int8.quantise(path, feeds)
    named = int8.named(path)
    all_of_it = int8.with_scales(named, int8.calibrated(named, feeds, int8.CPU), (), int8.CPU)
    convolutions = [node.name for node in named.graph.node if node.op_type == "Conv"]
    assert {convolutions[2], convolutions[3]} <= set(left) and convolutions[1] not in left
    assert error(path, all_of_it) > 0.3 and error(path, model) < NEAR


def test_a_lifter_stays_as_it_is():
    path = store.locate("lifter-martinez")
    model, left = int8.quantise(path, [])
    assert model == path.read_bytes() and left


@pytest.mark.parametrize("engine", ["cpu", "openvino"])
def test_what_was_calibrated_runs_and_what_was_not_says_how(tmp_path, engine):
    if engine == "openvino":
        pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    path = network(tmp_path / "net.onnx", loud=1)
    with pytest.raises(
        PrecisionError,
        match="net.onnx was not calibrated .*; run pose3d models build --engine cpu ",
    ):
        inference.create(path, engine, Options(1, "int8"))
    int8.calibrate(path, pictures(12))
    running, exact = (
        inference.create(path, engine, Options(1, "int8")),
        inference.create(path, "cpu", Options(1)),
    )
    feeds = {"image": np.concatenate([feeds["image"] for feeds in pictures(3, seed=1)])}
    assert 1e-5 < largest_difference(exact(feeds), running(feeds)) < NEAR
    network(path, loud=2)
    with pytest.raises(PrecisionError, match="not calibrated"):
        inference.create(path, engine, Options(1, "int8"))
