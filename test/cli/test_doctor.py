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

"""The doctor on this machine: what it reports, and how it takes engines that fail, crash or are
not there.
"""

from __future__ import annotations

import os
from concurrent.futures.process import BrokenProcessPool

import pytest

from pose3d_ros.cli.main import main as cli
from pose3d_ros.errors import MissingEngineError
from pose3d_ros.inference import reference_check
from pose3d_ros.inference.engines import onnxruntime
from pose3d_ros.model_store import store
from pose3d_ros.profiling import engine_trials

LIFTER = "lifter-martinez"


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(engine_trials, "MEASURED_S", 0.0)
    monkeypatch.setattr(engine_trials, "FEWEST_RUNS", 1)


@pytest.fixture
def lifters_only(monkeypatch):
    """The models that are always there."""
    known = [model for model in store.models() if model.name == LIFTER]
    monkeypatch.setattr(store, "models", lambda: known)


def test_the_cpu_passes_and_a_gpu_that_is_not_there_is_no_failure(lifters_only, capsys):
    assert cli(["doctor", "--engine", "cpu", "--engine", "onnxruntime-tensorrt"]) == 0
    report = capsys.readouterr().out
    for said in (
        "Python",
        "GPU",
        "driver",
        "onnxruntime",
        "ONNX Runtime providers",
        "CPUExecutionProvider",
    ):
        assert said in report
    row = next(line for line in report.splitlines() if line.startswith("cpu") and LIFTER in line)
    assert "fp32" in row and " mm" in row and row.endswith("pass")
    assert (
        len(row.split()) == 11
    )  # engine, precision, model, ready, three times, tensors, pose with unit, verdict
    try:
        onnxruntime.check("onnxruntime-tensorrt", "TensorrtExecutionProvider")
    except MissingEngineError:
        assert (
            report.count("onnxruntime-tensorrt not installed: engine onnxruntime-tensorrt: ") == 1
        )
        assert report.rstrip().endswith("passed")


def test_other_answers_than_the_reference_fail(lifters_only, monkeypatch, capsys):
    monkeypatch.setattr(
        engine_trials.Worker, "__call__", lambda _, function, *arguments: function(*arguments)
    )
    monkeypatch.setitem(reference_check.TOLERANCES, "fp32", 0.0)
    assert cli(["doctor", "--engine", "cpu"]) == 1
    report = capsys.readouterr().out
    assert (
        "FAIL: other answers than the reference" in report
        and "1 FAILED: please attach this text" in report
    )


def test_an_engine_that_raises_is_a_row_of_the_table(tmp_path):
    (tmp_path / "junk.onnx").write_bytes(b"junk")
    trial = engine_trials.attempt("cpu", "fp32", LIFTER, tmp_path / "junk.onnx")
    assert (
        trial is not None
        and trial.failed
        and "FAIL: " in engine_trials.line(trial)
        and "junk.onnx" in engine_trials.line(trial)
    )


def test_a_precision_that_an_engine_has_not_is_passed_over():
    assert engine_trials.attempt("cpu", "fp16", LIFTER, store.locate(LIFTER)) is None


def test_an_engine_that_ends_the_process_does_not_end_the_report():
    worker = engine_trials.Worker()
    with pytest.raises(BrokenProcessPool):
        worker(os.abort)
    assert worker(os.getpid) != os.getpid()
    worker.close()
