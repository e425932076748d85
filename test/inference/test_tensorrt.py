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

"""TensorRT: what can be known without it, and what needs a GPU with it (skipped elsewhere, with
the reason).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from pose3d_ros import inference, settings
from pose3d_ros.inference import EngineError, MissingEngineError, Options, gpu
from pose3d_ros.inference.batching import Profile, in_parts, profiles, rows_of
from pose3d_ros.inference.engine import largest_difference
from pose3d_ros.inference.engines.tensorrt import library
from pose3d_ros.inference.hot_swap import Phases
from pose3d_ros.inference.mixed_precision import in_precision
from pose3d_ros.model_store import store

PATH = Path("model.onnx")
SHAPES = {"keypoints": (None, 27, 18, 3), "state": (None, 6, 2, 256), "constant": (4,)}
LIFTERS = tuple(f"lifter-{name}" for name in settings.LIFTERS if name != "auto")


def feeds(rows, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: rng.normal(0, 0.3, [rows if n is None else n for n in shape]).astype(np.float32)
        for name, shape in SHAPES.items()
    }


TYPES = {name: np.dtype(np.float32) for name in SHAPES}


def test_profiles_of_the_people():
    assert profiles(PATH, SHAPES, 16) == {
        "keypoints": Profile((1, 27, 18, 3), (4, 27, 18, 3), (16, 27, 18, 3)),
        "state": Profile((1, 6, 2, 256), (4, 6, 2, 256), (16, 6, 2, 256)),
    }
    assert profiles(PATH, {"x": (None, 3)}, 2) == {"x": Profile((1, 3), (2, 3), (2, 3))}


def test_another_free_axis_is_refused():
    with pytest.raises(
        EngineError, match=r"whose only free axis is the first, got image \(1, 3, None, None\)"
    ):
        profiles(PATH, {"image": (1, 3, None, None)}, 16)


def test_rows():
    assert rows_of(PATH, SHAPES, TYPES, feeds(5)) == 5
    constant = {"constant": np.zeros(4, np.float32)}
    assert rows_of(PATH, {"constant": (4,)}, {"constant": np.dtype(np.float32)}, constant) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda f: f | {"state": f["state"][:2]},  # of another number of people
        lambda f: f | {"state": f["state"][:, :3]},
        lambda f: f | {"keypoints": f["keypoints"][0]},
        lambda f: f | {"keypoints": f["keypoints"].astype(np.float64)},
        lambda f: f | {"more": f["state"]},
        lambda f: {"keypoints": f["keypoints"]},
        lambda f: {},
        lambda f: {name: array[:0] if name != "constant" else array for name, array in f.items()},
    ],
)
def test_feeds_that_are_not_as_expected_are_told(wrong):
    with pytest.raises(
        EngineError, match=r"expected keypoints \(None, 27, 18, 3\) float32, .* got "
    ):
        rows_of(PATH, SHAPES, TYPES, wrong(feeds(3)))


@pytest.mark.parametrize(("rows", "parts"), [(1, [1]), (4, [4]), (5, [4, 1]), (12, [4, 4, 4])])
def test_large_batches_run_in_parts(rows, parts):
    given = feeds(rows)
    found = list(in_parts(SHAPES, given, 4))
    assert [rows_of(PATH, SHAPES, TYPES, part) for part in found] == parts
    for name in ("keypoints", "state"):
        assert np.array_equal(np.concatenate([part[name] for part in found]), given[name])
    assert all(part["constant"] is given["constant"] for part in found)


def test_progress_of_phases_within_phases():
    """The order of calls that NVIDIA documents for IProgressMonitor; a phase may end before its
    steps do.
    """
    phases = Phases()
    assert phases.share == 0
    phases.start("build", None, 4)
    phases.start("parse", "build", 2)
    phases.step("parse", 0)
    assert phases.share == pytest.approx(1 / 8)
    phases.step("parse", 1)
    phases.finish("parse")
    phases.step("build", 0)
    assert phases.share == pytest.approx(1 / 4)
    phases.start("tactics", "build", 10)
    phases.start("timing", "tactics", 2)
    phases.step("timing", 0)
    assert phases.share == pytest.approx((1 + 0.05) / 4)
    phases.finish("tactics")
    assert phases.share == pytest.approx((1 + 0.05) / 4)  # never falls
    phases.step("nobody", 3)
    phases.finish("nobody")
    phases.step("build", 1)
    phases.finish("build")
    assert phases.share == 1


@pytest.mark.parametrize("name", LIFTERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_typed_models_answer_as_the_original(name, precision):
    """On the CPU, where fp16 tensors are computed in fp32: the weights and every tensor between
    nodes are rounded.
    """
    import onnxruntime

    path = store.locate(name)
    model = onnx.load_from_string(in_precision(path, precision))
    onnx.checker.check_model(model, full_check=True)
    assert [
        value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.output)
    ].count(onnx.TensorProto.FLOAT) == len(model.graph.input) + len(model.graph.output)
    weights = {
        tensor.data_type for tensor in model.graph.initializer if np.prod(tensor.dims) > 1000
    }
    assert weights == {onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.FLOAT}
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(model).graph.value_info
    }
    softmaxes = [node.output[0] for node in model.graph.node if node.op_type == "Softmax"]
    assert {types[name] for name in softmaxes} <= {onnx.TensorProto.FLOAT}
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    # with all of them, ONNX Runtime 1.31 ends the process on an LSTM in fp16 on a CPU
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    original = inference.create(path, "cpu", Options(1))
    rng = np.random.default_rng(3)
    given = {
        k: rng.normal(0, 0.3, [3 if n is None else n for n in shape]).astype(np.float32)
        for k, shape in original.inputs.items()
    }
    found = dict(zip(original.outputs, session.run(list(original.outputs), given), strict=True))
    assert largest_difference(original(given), found) < (2e-3 if precision == "fp16" else 1e-5)


def test_a_model_that_cannot_be_read_is_told(tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(EngineError, match="junk.onnx: ONNX Runtime cannot load this model"):
        in_precision(tmp_path / "junk.onnx", "fp16")


def missing() -> str | None:
    try:
        library.of_this_gpu()
    except MissingEngineError as error:
        return str(error)
    return None


def test_without_it_one_line_says_what_to_install():
    reason = missing()
    if reason is None:
        pytest.skip("TensorRT and a GPU are here")
    with pytest.raises(
        MissingEngineError, match="engine tensorrt: .*(install|set engine)"
    ) as error:
        inference.load(store.locate("lifter-martinez"), "tensorrt")
    assert "\n" not in str(error.value)


def test_cuda_without_a_gpu_is_an_error_in_words():
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    from pose3d_ros.inference.engines.tensorrt.cuda_memory import Buffer

    if gpu.find() is not None:
        pytest.skip("a GPU is here")
    with pytest.raises(EngineError, match="CUDA: cudaMalloc: .*driver"):
        Buffer((2, 3), np.dtype(np.float32))


@pytest.mark.skipif(gpu.find() is None, reason="no NVIDIA GPU here")
def test_buffers_go_to_the_gpu_and_back():
    pytest.importorskip("cuda.bindings.runtime", reason="cuda-bindings is not installed")
    from cuda.bindings import runtime as cuda

    from pose3d_ros.inference.engines.tensorrt.cuda_memory import Buffer, call

    stream = call(cuda.cudaStreamCreateWithFlags, cuda.cudaStreamNonBlocking)
    buffer = Buffer((4, 5), np.dtype(np.float32))
    values = np.arange(15, dtype=np.float32).reshape(3, 5)
    buffer.of((3, 5))[:] = values
    buffer.upload((3, 5), stream)
    call(cuda.cudaStreamSynchronize, stream)
    buffer.of((4, 5))[:] = -1
    buffer.download((3, 5), stream)
    call(cuda.cudaStreamSynchronize, stream)
    assert np.array_equal(buffer.of((3, 5)), values) and (buffer.of((4, 5))[3] == -1).all()
    buffer.close()


needs_tensorrt = pytest.mark.skipif(missing() is not None, reason=f"{missing()}")


@needs_tensorrt
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_batches_of_every_size_and_in_every_order(precision, tmp_path, monkeypatch):
    """With graphs and without them, within the profile and beyond it, each answer is the CPU's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in LIFTERS:
        path = store.locate(name)
        reference = inference.create(path, "cpu", Options())
        engine = inference.create(
            path, "tensorrt", Options(precision=precision, max_people=4, wait=True)
        )
        assert (engine.inputs, engine.types) == (reference.inputs, reference.types)
        rng = np.random.default_rng(0)
        for rows in (1, 1, 1, 4, 4, 4, 2, 1, 1, 9, 9):
            given = {
                k: rng.normal(0, 0.3, [rows if n is None else n for n in shape]).astype(np.float32)
                for k, shape in reference.inputs.items()
            }
            assert largest_difference(reference(given), engine(given)) < (
                2e-2 if precision == "fp16" else 1e-3
            )
        engine.close()


@needs_tensorrt
def test_serves_while_it_builds_and_finds_it_in_the_cache_afterwards(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = store.locate("lifter-martinez")
    engine: Any = inference.create(path, "tensorrt", Options())
    assert "tensorrt of lifter-martinez is building" in engine.name
    assert engine.wait(600) and engine.name == "tensorrt"
    assert inference.create(path, "tensorrt", Options()).name == "tensorrt"
