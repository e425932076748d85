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

"""Damaged and hostile network files: one error class of one line, in seconds and megabytes."""

import random
from pathlib import Path

import numpy as np
import onnx
import pytest
import toy_networks
from mutations import CASES, SEED, mutated, run_all
from onnx import TensorProto, helper
from tiny_tflite import OUTPUT, tiny_tflite

from pose3d_ros import inference
from pose3d_ros.detection import create as create_detector
from pose3d_ros.errors import ConversionError, EngineError
from pose3d_ros.inference.options import Options
from pose3d_ros.lifting import create as create_lifter
from pose3d_ros.model_store.store import ModelError
from pose3d_ros.model_store.tflite_to_onnx import convert
from pose3d_ros.settings import PipelineSettings


def test_damaged_onnx(tmp_path):
    data = Path(toy_networks.rtmo(tmp_path / "rtmo.onnx", (64, 64))).read_bytes()
    path = tmp_path / "damaged.onnx"

    def load(damaged: bytes) -> None:
        path.write_bytes(damaged)
        inference.create(path, "cpu", Options(threads=1)).close()

    rng = random.Random(SEED)
    outcomes = run_all(load, (mutated(rng, data) for _ in range(CASES)), EngineError)
    assert outcomes["EngineError"] > CASES / 2


def test_damaged_detectors_and_lifters(tmp_path):
    sources = {
        "rtmo": Path(toy_networks.rtmo(tmp_path / "rtmo.onnx", (64, 64))).read_bytes(),
        "lifter": hostile((["people", 1, 18, 3], "keypoints"), (["people", 17, 4], "joints")),
    }
    path = str(tmp_path / "damaged.onnx")

    def load(case: tuple[str, bytes]) -> None:
        kind, damaged = case
        Path(path).write_bytes(damaged)
        if kind == "lifter":
            create_lifter(PipelineSettings(lifter_model=path, engine="cpu", threads=1)).close()
        else:
            settings = PipelineSettings(
                detector="rtmo", detector_model=path, engine="cpu", threads=1
            )
            create_detector(settings).close()

    rng = random.Random(SEED + 1)
    cases = ((kind, mutated(rng, sources[kind])) for _ in range(CASES // 2) for kind in sources)
    outcomes = run_all(load, cases, (EngineError, ModelError))
    assert outcomes["EngineError"] > CASES / 2


def test_damaged_tflite():
    data, rng = tiny_tflite(), random.Random(SEED + 2)
    outcomes = run_all(
        lambda damaged: convert(damaged, {"y": OUTPUT}),
        (mutated(rng, data) for _ in range(CASES)),
        ConversionError,
    )
    assert outcomes["ConversionError"] > CASES / 10


def hostile(entry: tuple[list, str], result: tuple[list, str], kind: int = TensorProto.FLOAT):
    """ONNX bytes of a network that gives constants whatever it takes."""
    shape = [1 if isinstance(n, str) else n for n in result[0]]
    nodes = [
        helper.make_node("Constant", [], ["shape"], value_ints=[min(n, 50) for n in shape]),
        helper.make_node("ConstantOfShape", ["shape"], [result[1]]),
    ]
    values = [
        helper.make_tensor_value_info(name, kind if i == 0 else TensorProto.FLOAT, shape_)
        for i, (shape_, name) in enumerate((entry, result))
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "hostile", values[:1], values[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=9,
    )
    return model.SerializeToString()


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        (["people", 3, 10**6, 10**6], TensorProto.FLOAT),
        (["people", 3, 2**31, 2**31], TensorProto.FLOAT),
        (["people", 3, 0, 64], TensorProto.FLOAT),
        (["people", 3, 64, 64], TensorProto.STRING),
        ([], TensorProto.FLOAT),
        (["people", 3, 64, 64], TensorProto.COMPLEX64),
    ],
)
def test_detectors_that_ask_for_the_impossible(tmp_path, shape, kind):
    path = tmp_path / "detector.onnx"
    path.write_bytes(hostile((shape, "image"), ([1, 1, 5], "boxes"), kind))
    settings = PipelineSettings(detector="rtmo", detector_model=str(path), engine="cpu", threads=1)
    run_all(lambda _: create_detector(settings), [b""], (EngineError, ModelError))
    with pytest.raises((EngineError, ModelError), match="detector.onnx"):
        create_detector(settings)


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("keypoints", ["people", 10**9, 18, 3]),
        ("keypoints", ["people", "frames", 18, 3]),
        ("keypoints", ["people", 0, 18, 3]),
        ("keypoints", [18, 3]),
        ("images", ["people", 1, 3, 10**5, 10**5]),
        ("images", ["people", 1, 3, 0, 0]),
        ("images", ["people"]),
    ],
)
def test_lifters_that_ask_for_the_impossible(tmp_path, name, shape):
    path = tmp_path / "lifter.onnx"
    path.write_bytes(hostile((shape, name), (["people", 17, 4], "joints")))
    settings = PipelineSettings(lifter_model=str(path), engine="cpu", threads=1)
    with pytest.raises(EngineError, match="lifter.onnx.*expected"):
        create_lifter(settings)


@pytest.mark.parametrize("at_run_time", [False, True])
def test_networks_that_allocate_without_bound_are_stopped(tmp_path, at_run_time):
    """A sum over 4e11 ones: no declared shape tells of them."""
    size = [helper.make_node("Constant", [], ["factor"], value_ints=[10**11, 1])]
    if at_run_time:
        size += [helper.make_node("Shape", ["x"], ["of_x"])]
        size += [helper.make_node("Mul", ["of_x", "factor"], ["size"])]
    else:
        size = [helper.make_node("Constant", [], ["size"], value_ints=[10**11, 4])]
    nodes = [
        *size,
        helper.make_node("ConstantOfShape", ["size"], ["ones"]),
        helper.make_node("ReduceSum", ["ones"], ["sum"], keepdims=0),
        helper.make_node("Add", ["x", "sum"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(v, TensorProto.FLOAT, ["rows", 4]) for v in "xy")
    opset = helper.make_opsetid("", 17)
    model = helper.make_model(
        helper.make_graph(nodes, "vast", [x], [y]), opset_imports=[opset], ir_version=9
    )
    (tmp_path / "vast.onnx").write_bytes(model.SerializeToString())

    def run(_: None) -> None:
        engine = inference.create(tmp_path / "vast.onnx", "cpu", Options(threads=1))
        engine({"x": np.zeros((1, 4), np.float32)})

    outcomes = run_all(run, [None], EngineError, "vast.onnx: expected a network that runs in")
    assert outcomes["EngineError"] == 1


def test_a_file_that_is_no_network(tmp_path):
    for content in (b"", b"\0" * 1000, b"GIF89a", onnx.ModelProto().SerializeToString()):
        path = tmp_path / "other.onnx"
        path.write_bytes(content)
        with pytest.raises(EngineError, match="other.onnx"):
            inference.create(path, "cpu", Options(threads=1))
        with pytest.raises(ConversionError):
            convert(content, {"y": 0})
