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

"""OpenVINO: that it answers as ONNX Runtime does, and says what is wrong as clearly."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest
import toy_networks

from pose3d_ros import inference
from pose3d_ros.inference import EngineError, MissingEngineError, Options, PrecisionError


@pytest.fixture
def model(tmp_path):
    return toy_networks.elementwise(tmp_path / "model.onnx", double="Add", square="Mul")


@pytest.fixture
def make(model):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    return lambda path=model, outputs=None, precision="auto": inference.create(
        path, "openvino", Options(1, precision), outputs
    )


def test_without_the_library_one_line_says_what_to_do(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(
        MissingEngineError, match="OpenVINO is not installed .*; pip install openvino"
    ):
        inference.load(model, "openvino")


def test_any_number_of_rows_in_any_order(make):
    engine = make()
    assert (engine.name, engine.inputs, engine.types) == (
        "openvino",
        {"x": (None, 3)},
        {"x": np.dtype("float32")},
    )
    for rows in (1, 4, 1, 10, 4):
        x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
        found = engine({"x": x})
        assert np.array_equal(found["double"], 2 * x) and np.array_equal(found["square"], x * x)


def test_an_answer_is_not_written_over_by_the_next(make):
    engine = make()
    first = engine({"x": np.ones((1, 3), np.float32)})
    engine({"x": np.full((1, 3), 7, np.float32)})
    assert first["double"].tolist() == [[2, 2, 2]]


def test_an_input_need_not_lie_in_one_piece(make):
    x = np.arange(12, dtype=np.float32).reshape(4, 3)
    assert np.array_equal(make()({"x": x[::2, ::-1]})["double"], 2 * x[::2, ::-1])


def test_outputs_may_be_restricted(make):
    engine = make(outputs=["square"])
    assert list(engine.outputs) == list(engine({"x": np.ones((2, 3), np.float32)})) == ["square"]
    with pytest.raises(
        EngineError, match="model.onnx: expected the outputs cube; cube not among double, square$"
    ):
        make(outputs=["cube"])


@pytest.mark.parametrize(
    "feeds",
    [
        {"x": np.ones((1, 4), np.float32)},
        {"x": np.ones(3, np.float32)},
        {"x": np.ones((1, 3))},
        {"y": np.ones((1, 3), np.float32)},
        {},
    ],
)
def test_a_wrong_request_is_told_with_the_right_one(make, feeds):
    """Also where OpenVINO itself would convert silently, or take an empty request for the one
    before.
    """
    with pytest.raises(EngineError, match=r"expected x \(None, 3\) float32; got") as error:
        make()(feeds)
    assert "\n" not in str(error.value)


def test_a_damaged_file(make, tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    with pytest.raises(EngineError, match="junk.onnx: OpenVINO cannot load this model") as error:
        make(tmp_path / "junk.onnx")
    assert "\n" not in str(error.value)


def test_bfloat16_is_coarser_and_only_where_the_cpu_has_it(make):
    """1.01 lies between two numbers with 8 binary digits, 1.0078 and 1.0156."""
    x = np.full((4, 3), 1.01, np.float32)
    try:
        found = make(precision="bf16")({"x": x})["double"]
    except PrecisionError as error:
        pytest.skip(str(error))
    assert np.allclose(found, 2 * x, rtol=0.01)


def test_a_precision_that_it_lacks(make):
    with pytest.raises(
        PrecisionError, match="expected auto, fp32, bf16, int8 with engine openvino, got 'fp16'"
    ):
        make(precision="fp16")


def test_a_signal_after_engines_have_gone_does_no_harm():
    """In a process of its own: it would end by a segmentation fault."""
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    script = """
        import faulthandler, gc, os, signal
        from pose3d_ros import inference
        from pose3d_ros.model_store import store
        faulthandler.enable()  # gives signals a stack of their own
        path = store.locate("lifter-martinez")
        engines = [
            inference.create(path, "openvino", inference.Options(threads=n)) for n in (1, 2, 1)
        ]
        while engines:
            engines.pop(0).close()
            gc.collect()
        signal.signal(signal.SIGUSR1, lambda *_: print("alive"))
        os.kill(os.getpid(), signal.SIGUSR1)
    """
    ended = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "alive"), ended.stderr
