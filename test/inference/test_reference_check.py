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

"""The numerical contract: every engine of this machine against float32 references that no engine
has made.
"""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from mutations import SEED, mutated, run_all

from pose3d_ros import inference
from pose3d_ros.inference import (
    ENGINES,
    PRECISIONS,
    EngineError,
    MissingEngineError,
    Options,
    PrecisionError,
    reference_check,
)
from pose3d_ros.inference.engines.onnxruntime import OnnxRuntimeEngine
from pose3d_ros.inference.reference_check import reference_path
from pose3d_ros.model_store import store

MODELS = {model.name: model for model in store.models()}


@pytest.fixture(autouse=True)
def nothing_calibrated(tmp_path, monkeypatch):
    """What the user of this machine has calibrated in int8 is judged by pose3d doctor."""
    monkeypatch.setattr("pose3d_ros.inference.cache.cache_folder", lambda: tmp_path)


@pytest.mark.parametrize(("engine", "name"), itertools.product(ENGINES, MODELS))
def test_every_engine_answers_as_the_reference(engine, name):
    """In every precision that it has."""
    if MODELS[name].problem == "not fetched yet":
        pytest.skip("not fetched yet: pose3d models fetch")
    expected, judged = reference_check.reference(name, MODELS[name].path), 0
    for precision in PRECISIONS:
        try:
            running = inference.create(MODELS[name].path, engine, Options(1, precision, wait=True))
        except PrecisionError:
            continue
        except MissingEngineError as reason:
            pytest.skip(str(reason))
        answer = reference_check.check(running, expected, precision)
        running.close()
        assert answer.right, (precision, answer)
        judged += 1
    assert judged


@pytest.mark.parametrize("name", MODELS)
def test_models_in_fp16_hold_the_contract_of_fp16(name):
    """The model that GPUs are given, on the CPU, which rounds the same numbers: weights, and
    tensors between nodes.
    """
    if MODELS[name].problem == "not fetched yet":
        pytest.skip("not fetched yet: pose3d models fetch")
    engine = OnnxRuntimeEngine("cpu", ["CPUExecutionProvider"], MODELS[name].path, 1, None, "fp16")
    answer = reference_check.check(
        engine, reference_check.reference(name, MODELS[name].path), "fp16"
    )
    assert answer.right and answer.difference > 1e-5, answer  # it is another arithmetic


def test_a_reference_is_of_one_version_of_a_model():
    with pytest.raises(
        EngineError, match="expected the reference of .*, got that of another version of it; make"
    ):
        reference_check.reference("lifter-martinez", MODELS["lifter-rpsm"].path)
    with pytest.raises(
        EngineError, match="found no file; make it with scripts/references.py lifter-nobody"
    ):
        reference_check.reference("lifter-nobody", MODELS["lifter-rpsm"].path)


def test_a_damaged_reference_is_one_line(tmp_path, monkeypatch):
    name, path = "lifter-martinez", tmp_path / "damaged.npz"
    monkeypatch.setattr(reference_check, "reference_path", lambda _: path)
    whole = reference_path(name).read_bytes()
    rng = random.Random(SEED)

    def load(damaged: bytes) -> None:
        path.write_bytes(damaged)
        reference_check.reference(name, MODELS[name].path)

    outcomes = run_all(load, (mutated(rng, whole) for _ in range(30)), EngineError, str(path))
    assert outcomes["EngineError"] > 10
    np.savez(path, model=np.array("other"))
    with pytest.raises(EngineError, match="expected a reference with model, inputs and outputs"):
        load(path.read_bytes())


class Off:
    """The network with an error put on one of its outputs."""

    def __init__(self, name, error):
        self.engine = inference.create(MODELS[name].path, "cpu", Options(1))
        self.name, self.types, self.error = "off", self.engine.types, error
        self.inputs, self.outputs = self.engine.inputs, self.engine.outputs

    def __call__(self, feeds):
        return self.error(self.engine(feeds))

    def close(self):
        self.engine.close()


def raised(by_m):
    return lambda found: (
        found | {"joints": found["joints"] + np.array([by_m, 0, 0, 0], np.float32)}
    )


@pytest.mark.parametrize(
    ("error", "precision", "right"),
    [
        (raised(0), "fp32", True),
        (raised(0.001), "fp32", False),
        (raised(0.001), "fp16", True),
        (raised(0.003), "fp16", False),
        (raised(0.003), "int8", True),
        (raised(0.02), "int8", False),
        (lambda found: found | {"joints": found["joints"] * np.nan}, "int8", False),
        (lambda found: found | {"joints": found["joints"][..., ::-1]}, "int8", False),
    ],
)
def test_errors_of_poses_are_judged_in_millimetres(error, precision, right):
    name = "lifter-martinez"
    answer = reference_check.check(
        Off(name, error), reference_check.reference(name, MODELS[name].path), precision
    )
    assert answer.right == right and answer.unit == "mm"


def test_an_engine_that_mixes_rows_is_found():
    name = "lifter-rpsm"
    mixed = Off(name, lambda found: {key: array[::-1] for key, array in found.items()})
    assert not reference_check.check(
        mixed, reference_check.reference(name, MODELS[name].path), "int8"
    ).right


def test_distances_of_landmarks_are_pixels():
    """195 values: 39 points of x, y, z, visibility, presence, of which 33 are keypoints."""
    expected = np.zeros((1, 195), np.float32)
    found = expected.reshape(1, 39, 5).copy()
    found[0, :, :2] = (3, 4)
    found[0, 33:, :2] = 1000
    found[0, :, 2:] = 50
    assert reference_check.pose_distance(
        "landmarks", expected, found.reshape(1, 195)
    ) == pytest.approx(5)


def test_samples_are_the_same_values_of_every_array_of_a_shape():
    small, large = np.arange(10.0).reshape(2, 5), np.arange(20_000.0).reshape(100, 200)
    assert reference_check.sample(small) is small
    assert np.array_equal(reference_check.sample(large) + 1, reference_check.sample(large + 1))
    assert len(np.unique(reference_check.sample(large))) > 3000
