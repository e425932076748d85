"""Engines: what runs, and what each kind of bad file or request is answered."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pose3d_ros import inference
from pose3d_ros.inference import EngineError


@pytest.fixture
def model(tmp_path):
    """double = 2 x, square = x²; x is (N, 3) float32."""
    x, double, square = (helper.make_tensor_value_info(n, TensorProto.FLOAT, ["people", 3])
                         for n in ("x", "double", "square"))
    nodes = [helper.make_node("Add", ["x", "x"], ["double"]), helper.make_node("Mul", ["x", "x"], ["square"])]
    path = tmp_path / "model.onnx"
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [x], [double, square]), ir_version=8,
                                opset_imports=[helper.make_opsetid("", 13)]), path)
    return path


def test_runs_and_tells_its_shapes(model):
    engine = inference.load(model, "cpu", threads=1)
    assert (engine.name, engine.inputs) == ("cpu", {"x": (None, 3)})
    assert engine.outputs == {"double": (None, 3), "square": (None, 3)}
    outputs = engine({"x": np.array([[1, 2, 3]], np.float32)})
    assert {name: array.tolist() for name, array in outputs.items()} == {"double": [[2, 4, 6]], "square": [[1, 4, 9]]}


def test_outputs_may_be_restricted(model):
    engine = inference.load(model, "cpu", outputs=["square"])
    assert list(engine.outputs) == list(engine({"x": np.ones((2, 3), np.float32)})) == ["square"]


def test_auto_takes_an_engine_that_works(model):
    assert inference.load(model).name in ("cpu", "cuda")


def test_auto_goes_on_with_the_cpu_and_says_so_once(model, monkeypatch, caplog):
    def broken(*_):
        raise EngineError("engine cuda: no driver")

    monkeypatch.setattr(inference.onnxruntime_engine, "cuda_works", lambda: True)
    monkeypatch.setitem(inference.ENGINES, "cuda", broken)
    assert [inference.load(model).name for _ in range(2)] == ["cpu", "cpu"]
    assert caplog.messages == ["engine cuda: no driver; going on with the CPU"]
    with pytest.raises(EngineError, match="no driver"):
        inference.load(model, "cuda")


@pytest.mark.parametrize(("options", "message"), [
    ({"engine": "abacus"}, "engine: expected auto, cpu, cuda, tensorrt; got 'abacus'"),
    ({"engine": "cpu", "outputs": ["cube"]}, "cube not among double, square"),
])
def test_what_is_not_there_is_named(model, options, message):
    with pytest.raises(EngineError, match=message):
        inference.load(model, **options)


@pytest.mark.parametrize(("engine", "missing"), [("cuda", "CUDAExecutionProvider"),
                                                  ("tensorrt", "TensorrtExecutionProvider")])
def test_an_engine_that_is_not_installed_says_what_is_missing(model, engine, missing):
    import onnxruntime
    if missing in onnxruntime.get_available_providers():
        pytest.skip(f"{missing} is installed here")
    with pytest.raises(EngineError, match=f"{missing}; install .*onnxruntime-gpu") as error:
        inference.load(model, engine)
    assert "\n" not in str(error.value)


def test_missing_and_corrupt_files(tmp_path):
    with pytest.raises(EngineError, match="expected a model at .*nothing.onnx, found no file"):
        inference.load(tmp_path / "nothing.onnx", "cpu")
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(EngineError, match="junk.onnx: .* replace the file") as error:
        inference.load(tmp_path / "junk.onnx", "cpu")
    assert "\n" not in str(error.value)


def test_a_wrong_shape_is_told_with_the_right_one(model):
    with pytest.raises(EngineError, match=r"expected x \(None, 3\); got x \(1, 4\) float32"):
        inference.load(model, "cpu")({"x": np.ones((1, 4), np.float32)})
