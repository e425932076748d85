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

"""``detector: auto``."""

from __future__ import annotations

import logging

import pytest

from pose3d_ros import inference, registry
from pose3d_ros.detection import choice, create, detector_class
from pose3d_ros.inference import autotune, gpu
from pose3d_ros.inference.autotune import Tuned
from pose3d_ros.settings import PipelineSettings

AUTO = PipelineSettings(detector="auto")


@pytest.mark.parametrize(
    ("people", "cost_ms", "detector"),
    [
        (1, 16.0, "blazepose-heavy"),
        (1, 17.0, "blazepose"),
        (4, 4.0, "blazepose-heavy"),
        (4, 16.0, "blazepose"),
        (1, None, "blazepose"),
    ],
    ids=["one at 30 Hz", "too slow", "four", "too many", "not measured"],
)
def test_heavy_where_half_the_time_of_30_hz_is_enough(people, cost_ms, detector):
    assert choice.by_cost(people, lambda: cost_ms).name == detector


def test_a_gpu_carries_heavy_and_what_a_cpu_costs_is_not_asked(monkeypatch):
    monkeypatch.setattr(inference, "uses_gpu", lambda engine: True)
    monkeypatch.setattr(choice, "stored_ms", lambda settings: pytest.fail("asked"))
    assert choice.chosen(AUTO).name == "blazepose-heavy"
    assert detector_class(AUTO).name == "blazepose-heavy"
    assert choice.chosen(AUTO, features=True).name == "blazepose", "heavy has no feature maps"


@pytest.mark.parametrize(
    ("milliseconds", "detector"), [(2.0, "blazepose-heavy"), (60.0, "blazepose")]
)
def test_what_the_benchmark_measured_decides(monkeypatch, milliseconds, detector):
    monkeypatch.setattr(choice, "verify", lambda name: None)
    monkeypatch.setattr(choice, "locate", lambda name: name)
    monkeypatch.setattr(autotune, "stored", lambda path, precision: Tuned("cpu", 2, milliseconds))
    monkeypatch.setattr(inference, "uses_gpu", lambda engine: False)
    assert detector_class(AUTO).name == detector


@pytest.mark.parametrize("engine", ["cpu", "openvino"])
def test_engines_of_the_cpu_do_not_count_as_a_gpu(engine):
    assert not inference.uses_gpu(engine)


def test_without_a_driver_auto_is_no_gpu(monkeypatch):
    monkeypatch.setattr(gpu, "find", lambda: None)
    assert not inference.uses_gpu("auto") and inference.uses_gpu("cuda")


def test_it_is_said_in_one_line(monkeypatch, caplog):

    monkeypatch.setattr(inference, "uses_gpu", lambda engine: True)
    monkeypatch.setitem(registry.DETECTORS, "blazepose-heavy", lambda settings: settings.detector)
    with caplog.at_level(logging.INFO):
        assert create(AUTO) == "blazepose-heavy", "and the settings say what was taken"
    assert [record.getMessage() for record in caplog.records] == [
        "detector auto is blazepose-heavy: there is a GPU"
    ]
