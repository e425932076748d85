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

"""Which engine auto takes on a CPU: what was measured on this machine, and never a reason not to
start.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import toy_networks

from pose3d_ros import inference
from pose3d_ros.inference import EngineError, Options, autotune, cpu
from pose3d_ros.inference.autotune import Tuned
from pose3d_ros.inference.cache import Cache

MS = 1e-3


@pytest.fixture
def model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(autotune, "SECONDS", 0.05)
    monkeypatch.setattr(inference, "ON_GPU", ())
    return toy_networks.elementwise(tmp_path / "model.onnx", y="Add")


def entries(model):
    return list((model.parent / "cache").rglob("*-autotune-*.bin"))


@pytest.mark.parametrize(
    ("seconds", "best"),
    [
        ({("cpu", 1): 5 * MS, ("cpu", 2): 3 * MS}, ("cpu", 2)),
        ({("cpu", 1): 3.1 * MS, ("cpu", 2): 3 * MS, ("cpu", 4): 3.2 * MS}, ("cpu", 1)),
        ({("cpu", 2): 3 * MS, ("openvino", 2): 2.9 * MS}, ("cpu", 2)),
        (
            {("cpu", 2): 3 * MS, ("openvino", 1): 2.6 * MS, ("openvino", 2): 2.1 * MS},
            ("openvino", 2),
        ),
        ({("openvino", 2): 3 * MS}, ("openvino", 2)),
    ],
    ids=[
        "faster",
        "no thread for nothing",
        "not worth another engine",
        "worth it",
        "the only one",
    ],
)
def test_the_choice(seconds, best):
    assert autotune.pick({Tuned(*key): value for key, value in seconds.items()}) == Tuned(*best)


def test_thread_counts():
    assert [autotune.thread_counts(most) for most in (1, 2, 6, 8)] == [
        [1],
        [1, 2],
        [1, 2, 4, 6],
        [1, 2, 4, 8],
    ]


def test_measured_when_built_and_taken_from_then_on(model):
    """A node does not measure."""
    assert inference.load(model).name == "cpu" and not entries(model)
    measured = autotune.measure(model, Options())
    assert measured.engine in autotune.FACTORIES and 1 <= measured.threads <= cpu.threads(0)
    assert autotune.stored(model) == measured and len(entries(model)) == 1
    assert autotune.tuned(model, Options()) == (
        measured.engine,
        Options(threads=measured.threads),
    )
    assert autotune.tuned(model, Options(threads=3)) == (measured.engine, Options(threads=3))
    engine = inference.create(model, "auto", Options())
    assert engine.name == measured.engine
    assert engine({"x": np.ones((2, 3), np.float32)})["y"].tolist() == [[2, 2, 2]] * 2


def test_where_nothing_was_measured_no_model_is_read(model):
    """A node that starts would read them whole for the key of what is not there: this one is not
    there itself.
    """
    assert autotune.stored(model.with_name("absent.onnx")) == Tuned()
    autotune.measure(model, Options())
    model.unlink()
    with pytest.raises(FileNotFoundError):
        autotune.stored(model)


def test_building_ahead_measures(model):
    inference.create(model, "auto", Options(wait=True))
    assert len(entries(model)) == 1


def test_threads_that_were_given_are_not_remembered(model):
    assert autotune.measure(model, Options(threads=1)).threads == 0


def test_auto_takes_what_is_remembered_and_a_name_overrides_it(model):
    pytest.importorskip("openvino", reason="needs OpenVINO: pip install openvino")
    Cache().write(
        autotune._parts(model, "auto"), json.dumps({"engine": "openvino", "threads": 1}).encode()
    )
    assert inference.load(model).name == "openvino"
    assert inference.load(model, "cpu").name == "cpu"


@pytest.mark.parametrize(
    "written", [b"\x00junk", b"[]", b'{"engine": "abacus"}', b'{"colour": 1}']
)
def test_an_entry_of_another_kind_is_passed_over(model, written):
    Cache().write(autotune._parts(model, "auto"), written)
    assert autotune.stored(model) == Tuned()


def test_a_damaged_entry_costs_a_warning(model, caplog):
    autotune.measure(model, Options())
    entries(model)[0].write_bytes(b"damaged")
    with caplog.at_level(logging.WARNING):
        assert inference.load(model).name == "cpu"
    assert "is damaged" in caplog.text


def test_a_cache_that_cannot_be_written_costs_a_warning(model, caplog):
    Path(model.parent / "cache").write_text("a file where the folder should be")
    assert autotune.measure(model, Options()).engine in autotune.FACTORIES
    assert inference.load(model).name == "cpu"
    assert "cannot be used" in caplog.text


def test_another_model_cpu_core_or_precision_is_measured_anew(model, monkeypatch):
    def key(precision="auto"):
        return json.dumps(autotune._parts(model, precision))

    keys = {key(), key("int8")}
    toy_networks.elementwise(model, y="Mul")
    keys.add(key())
    monkeypatch.setattr(cpu, "cores", lambda: 77)
    keys.add(key())
    monkeypatch.setattr(cpu, "model", lambda: "another")
    keys.add(key())
    assert len(keys) == 5


def test_a_model_that_does_not_load_says_so(model):
    model.write_bytes(b"junk")
    with pytest.raises(EngineError, match="model.onnx: ONNX Runtime cannot load this model"):
        autotune.measure(model, Options())
