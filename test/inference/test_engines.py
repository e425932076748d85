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

"""Engines: what runs, and what each kind of bad file or request is answered."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import toy_networks
from conftest import wait_for

from pose3d_ros import inference, settings
from pose3d_ros.inference import EngineError, Options, PrecisionError, gpu
from pose3d_ros.inference.engines import onnxruntime as onnxruntime_engine
from pose3d_ros.inference.shared import SharedEngine


@pytest.fixture
def model(tmp_path):
    return toy_networks.elementwise(tmp_path / "model.onnx", double="Add", square="Mul")


def test_runs_and_tells_its_shapes(model):
    engine = inference.load(model, "cpu", threads=1)
    assert (engine.name, engine.inputs) == ("cpu", {"x": (None, 3)})
    assert engine.outputs == {"double": (None, 3), "square": (None, 3)}
    outputs = engine({"x": np.array([[1, 2, 3]], np.float32)})
    assert {name: array.tolist() for name, array in outputs.items()} == {
        "double": [[2, 4, 6]],
        "square": [[1, 4, 9]],
    }


def test_outputs_may_be_restricted(model):
    engine = inference.load(model, "cpu", outputs=["square"])
    assert list(engine.outputs) == list(engine({"x": np.ones((2, 3), np.float32)})) == ["square"]


def test_the_settings_offer_what_there_is():
    assert ["auto", *inference.ENGINES] == list(settings.ENGINES)
    assert ("auto", *inference.PRECISIONS) == settings.PRECISIONS


def test_auto_takes_an_engine_that_works(model):
    assert inference.load(model).name in ("cpu", "cuda")


def test_auto_goes_on_with_the_cpu_and_says_so_once(model, monkeypatch, caplog):
    def broken(*_):
        raise EngineError("engine cuda: no driver")

    monkeypatch.setattr(onnxruntime_engine, "cuda", broken)
    monkeypatch.setattr(inference, "ON_GPU", ("cuda",))
    assert [inference.load(model, threads=n).name for n in (1, 2)] == ["cpu", "cpu"]
    assert caplog.messages == ["engine cuda: no driver; going on without cuda"]
    with pytest.raises(EngineError, match="no driver"):
        inference.load(model, "cuda")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "abacus"}, "engine: expected auto, cpu, cuda, .*; got 'abacus'"),
        ({"engine": "cpu", "outputs": ["cube"]}, "cube not among double, square"),
        (
            {"engine": "cpu", "precision": "fp16"},
            "precision: expected auto, fp32.* with engine cpu, got 'fp16'",
        ),
    ],
)
def test_what_is_not_there_is_named(model, options, message):
    with pytest.raises(EngineError, match=message):
        inference.load(model, **options)


@pytest.mark.parametrize(
    ("engine", "missing"),
    [("cuda", "CUDAExecutionProvider"), ("onnxruntime-tensorrt", "TensorrtExecutionProvider")],
)
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
    with pytest.raises(
        EngineError, match=r"expected x \(None, 3\) float32; got x \(1, 4\) float32"
    ):
        inference.load(model, "cpu")({"x": np.ones((1, 4), np.float32)})


def test_an_engine_with_a_largest_batch_runs_more_in_parts(model):
    engine = onnxruntime_engine.cpu(model, Options(1), ["square"])
    engine.most = 2
    x = np.arange(15, dtype=np.float32).reshape(5, 3)
    assert engine({"x": x})["square"].tolist() == (x * x).tolist()


def test_who_asks_for_the_same_shares_it_until_the_last_one_closes_it(model, monkeypatch):
    made = []

    def counted(*arguments):
        made.append(arguments)
        return cpu(*arguments)

    cpu = onnxruntime_engine.cpu
    monkeypatch.setattr(onnxruntime_engine, "cpu", counted)
    first, second = inference.load(model, "cpu", 1), inference.load(model, "cpu", 1)
    other = inference.load(model, "cpu", 1, ["square"])
    assert len(made) == 2 and list(other.outputs) == ["square"]
    first.close()
    with pytest.raises(EngineError, match="closed"):
        first({"x": np.ones((1, 3), np.float32)})
    assert second({"x": np.ones((1, 3), np.float32)})["double"].tolist() == [[2, 2, 2]]
    second.close()
    inference.load(model, "cpu", 1)
    assert len(made) == 3


def test_what_is_asked_for_meanwhile_runs_in_one_batch(model, monkeypatch):
    """Four threads, of whom one asks for something impossible: each gets its own answer."""
    batches, may_go_on, began = [], Event(), Event()

    class Slow:
        def __init__(self, *arguments):
            self.engine = cpu(*arguments)
            self.name, self.types = self.engine.name, self.engine.types
            self.inputs, self.outputs = self.engine.inputs, self.engine.outputs

        def __call__(self, feeds):
            batches.append(feeds["x"].shape)
            began.set()
            may_go_on.wait(10)
            return self.engine(feeds)

    cpu = onnxruntime_engine.cpu
    monkeypatch.setattr(onnxruntime_engine, "cpu", Slow)
    engine = inference.load(model, "cpu", 1)
    assert isinstance(engine, SharedEngine) and engine._shared is not None
    shared = engine._shared
    with ThreadPoolExecutor(4) as pool:
        asked = [
            np.full((rows, width), rows, np.float32)
            for rows, width in ((1, 3), (2, 3), (3, 4), (4, 3))
        ]
        answers = [pool.submit(engine, {"x": asked[0]})]
        assert began.wait(10)
        answers += [pool.submit(engine, {"x": x}) for x in asked[1:]]
        wait_for(lambda: len(shared._waiting) == 3, "three that wait for the first")
        may_go_on.set()
        for x, answer in zip(asked, answers, strict=True):
            if x.shape[1] == 3:
                assert answer.result()["square"].tolist() == (x * x).tolist()
            else:
                with pytest.raises(EngineError, match="got x"):
                    answer.result()
    assert sorted(batches) == [(1, 3), (3, 4), (6, 3)]


@pytest.mark.skipif(gpu.find() is not None, reason="has an NVIDIA GPU")
def test_auto_does_not_warn_of_engines_that_are_not_there(model, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    inference._warn_once.cache_clear()
    with pytest.raises(PrecisionError, match="int8"):
        inference.load(model, precision="int8")
    assert not caplog.records
