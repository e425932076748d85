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

"""An engine that is replaced in service: real networks in ONNX Runtime, builds that end when the
test says so.
"""

from __future__ import annotations

import logging
import re
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import onnx
import pytest
import toy_networks
from conftest import wait_for
from onnx import TensorProto, helper

from pose3d_ros import inference
from pose3d_ros.inference import EngineError, Options, hot_swap
from pose3d_ros.inference.engine import largest_difference
from pose3d_ros.inference.engines import onnxruntime
from pose3d_ros.inference.hot_swap import HotSwap, Progress
from pose3d_ros.inference.shared import SharedEngine
from pose3d_ros.pipeline import MonocularPipeline

WIDTH = 4


def network(path, factor=1.0, rows="people"):
    """y = factor x²."""
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, WIDTH]) for name in "xy")
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["square"]),
        helper.make_node("Mul", ["square", "factor"], ["y"]),
    ]
    constant = helper.make_tensor("factor", TensorProto.FLOAT, [1], [factor])
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "g", [x], [y], [constant]),
            ir_version=8,
            opset_imports=[helper.make_opsetid("", 13)],
        ),
        path,
    )
    return path


class Build:
    """A build that waits to be let go, and then makes an engine or fails."""

    def __init__(self, path=None, error: Exception | None = None) -> None:
        self.path, self.error = path, error
        self.go, self.progress = Event(), Progress()
        self.closed = False
        self.batches: list[int] = []

    def __call__(self, progress: Progress):
        self.progress = progress
        assert self.go.wait(10)
        if self.error is not None:
            raise self.error
        build, engine = self, inference.create(self.path, "cpu", Options(1))

        class Watched:
            name, inputs, outputs, types = "better", engine.inputs, engine.outputs, engine.types

            def __call__(self, feeds):
                build.batches.append(len(next(iter(feeds.values()))))
                return engine(feeds)

            def close(self):
                build.closed = True
                engine.close()

        return Watched()


@pytest.fixture
def quick(tmp_path):
    return inference.create(network(tmp_path / "quick.onnx"), "cpu", Options(1))


def feeds(rows=1, value=2.0):
    return {"x": np.full((rows, WIDTH), value, np.float32)}


def test_serves_at_once_and_takes_over(quick, tmp_path, caplog):
    build = Build(network(tmp_path / "better.onnx", 1.001))
    engine = HotSwap(quick, "better", build, 0.01)
    assert engine(feeds(3))["y"].tolist() == [[4.0] * WIDTH] * 3
    engine(feeds(2))
    assert re.fullmatch(r"cpu \(better is building: \d+ s\)", engine.name)
    build.progress.share = 0.42
    assert re.fullmatch(r"cpu \(better is building: 42 %, \d+ s\)", engine.name)
    build.go.set()
    assert engine.wait(10)
    assert engine.name == "better"
    assert engine(feeds())["y"] == pytest.approx(4.004 * np.ones((1, WIDTH)))
    assert build.batches == [
        2,
        3,
        2,
        1,
    ]  # warmed with what was seen, compared with the last, then in service
    assert re.search(r"better is ready after \d+ s and takes over from cpu", caplog.text)
    with pytest.raises(EngineError):
        quick(feeds())  # closed
    engine.close()
    assert build.closed


def test_no_call_is_lost_while_it_switches(quick, tmp_path):
    """Four callers that never pause: every call gets the right answer, from one engine or the
    other.
    """
    build = Build(network(tmp_path / "better.onnx", 1.001))
    hot_swap = HotSwap(quick, "better", build, 0.01)
    engine = SharedEngine("a test of its own", lambda: hot_swap)
    served = set()

    def call_on(value):
        """Until ten answers of the new engine have come."""
        factors: list[float] = []
        while len(factors) < 10 or factors[-10] < 1.0005:
            factors.append(float(engine(feeds(1, value))["y"][0, 0]) / value**2)
            served.add(value)
        return factors

    with ThreadPoolExecutor(4) as pool:
        running = [pool.submit(call_on, value) for value in (1.0, 2.0, 3.0, 4.0)]
        wait_for(lambda: len(served) == 4, "an answer for everybody")
        build.go.set()
        answers = [future.result(60) for future in running]
    assert engine.name == "better" and hot_swap.wait(10)
    for of_one in answers:
        factors = np.array(of_one)
        switch = int((factors < 1.0005).sum())
        assert factors[:switch] == pytest.approx(1) and factors[switch:] == pytest.approx(1.001)
        assert switch > 0


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (EngineError("no memory"), "better could not be built (no memory); going on with cpu"),
        (
            TypeError("an API of\nanother version"),
            "(TypeError: an API of another version); going on with cpu",
        ),
    ],
)
def test_a_failed_build_leaves_the_first_in_service_and_says_so_once(quick, error, said, caplog):
    build = Build(error=error)
    engine = HotSwap(quick, "better", build, 0.01)
    engine(feeds())
    build.go.set()
    assert engine.wait(10)
    assert [engine(feeds())["y"][0, 0] for _ in range(3)] == [4.0] * 3
    assert engine.name == "cpu (better failed, see the log)"
    assert len(caplog.messages) == 1 and said in caplog.text


def test_an_engine_with_other_answers_never_serves(quick, tmp_path, caplog):
    build = Build(network(tmp_path / "wrong.onnx", 1.1))
    engine = HotSwap(quick, "better", build, 0.01)
    engine(feeds())
    build.go.set()
    assert engine.wait(10)
    assert engine(feeds())["y"][0, 0] == 4.0 and build.closed
    assert (
        "within 0.01 of the largest value, got them off by 0.1" in caplog.text
        and "pose3d doctor" in caplog.text
    )


def test_one_closed_while_it_builds_frees_what_comes_late(quick, tmp_path, caplog):
    build = Build(network(tmp_path / "better.onnx"))
    engine = HotSwap(quick, "better", build, 0.01)
    engine.close()
    assert build.progress.cancelled
    build.go.set()
    assert engine.wait(10)
    wait_for(lambda: build.closed, "the late engine to be freed")
    assert not caplog.messages  # nobody is interested any more


def test_progress_is_logged_while_it_goes_on(quick, monkeypatch, caplog):
    monkeypatch.setattr(hot_swap, "REPORT_S", 0.01)
    build = Build(error=EngineError("enough"))
    engine = HotSwap(quick, "better", build, 0.01)
    wait_for(lambda: len(caplog.messages) > 2, "three lines")
    build.go.set()
    assert engine.wait(10)
    failed = "better could not be built (enough); going on with cpu"
    progress = [message for message in caplog.messages if message != failed]
    assert len(progress) == len(caplog.messages) - 1
    assert all(
        re.fullmatch(r"better is building: \d+ s; cpu serves meanwhile", message)
        for message in progress
    )
    assert all(record.levelno == logging.WARNING for record in caplog.records)


def test_a_pipeline_goes_on_and_tells_what_it_runs_on(tmp_path, monkeypatch):
    """Images through a real pipeline: somebody is found in every frame before, during and after
    the switch.
    """
    size = (96, 96)
    model = toy_networks.rtmo(tmp_path / "rtmo.onnx", size)
    cpu, build = onnxruntime.cpu, Build(model)
    monkeypatch.setattr(
        onnxruntime, "cpu", lambda *given: HotSwap(cpu(*given), "better", build, 1e-6)
    )
    pipeline = MonocularPipeline(engine="cpu", lift=False, detector="rtmo", detector_model=model)
    monkeypatch.undo()  # the build itself is of the real one
    found, names = [], []
    for frame in range(1000):
        picture = toy_networks.picture(size, {(40, 48): ("red",)})
        found.append(len(pipeline.detect(picture, (frame + 1) * 33_000_000)))
        names.append(pipeline.engine_name)
        if frame == 3:
            build.go.set()
        if names[-10:] == ["better"] * 10:
            break
    pipeline.close()
    assert "better is building" in names[0] and names[-1] == "better"
    assert len(found) < 1000 and min(found) == max(found) == found[0] > 0


@pytest.mark.parametrize(
    ("found", "difference"),
    [
        ([1.0, -2.0], 0),
        ([1.0, -2.1], 0.05),
        ([0.9, -2.0], 0.05),
        ([np.nan, -2.0], np.inf),
        ([1.0, np.inf], np.inf),
        ([1.0], np.inf),
        (None, np.inf),
    ],
)
def test_largest_difference(found, difference):
    expected = {"y": np.array([1.0, -2.0], np.float32), "same": np.array([np.nan, 1.0])}
    given = {"same": expected["same"]} | (
        {} if found is None else {"y": np.array(found, np.float32)}
    )
    assert largest_difference(expected, given) == pytest.approx(difference, abs=1e-7)
