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

"""Numerical contract of every engine: the answers of the float32 reference that is stored with
each model, within a tolerance.

``models/NAME.reference.npz`` holds what the network was fed in the demo clip (a few rows) and what
the reference implementation of ONNX answers, which is no engine of ours; of large outputs, values
at fixed random places (``scripts/references.py`` makes them). ``pose3d doctor`` checks every
engine of a machine, the tests those of the CPU.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose3d_ros.errors import EngineError
from pose3d_ros.inference.batching import any_rows, joined
from pose3d_ros.inference.engine import Arrays, Engine, largest_difference
from pose3d_ros.io.npz import NpzError, read_npz
from pose3d_ros.model_store.store import sha256_of
from pose3d_ros.resources import share

TOLERANCES = {"fp32": 1e-3, "fp16": 3e-2, "bf16": 0.3, "int8": 0.5}
"""Largest difference of a value, as a share of the largest value of its array
(``engine.largest_difference``).
"""
POSE_TOLERANCES = {
    "joints": {"fp32": 0.1, "fp16": 2.0, "bf16": 2.0, "int8": 10.0},
    "landmarks": {"fp32": 0.05, "fp16": 0.5, "bf16": 2.0, "int8": 4.0},
}
"""Mean distance of a joint: mm of a lifter's ``joints``, pixels of a crop of 256 of a detector's
``landmarks``.
"""
UNITS = {"joints": "mm", "landmarks": "px"}
LANDMARKS = 33  # the network's others, of which nobody reads the place, are not people's
SAMPLED = 4096
"""Values kept of an output that has more."""


@dataclass(frozen=True)
class Reference:
    """Inputs, and what the reference implementation answers, sampled (``sample``).

    Large inputs are stored in float16, which is what the reference was fed too.
    """

    inputs: Arrays
    outputs: Arrays


@dataclass(frozen=True)
class Agreement:
    """Difference of an engine's answer from the reference."""

    difference: float
    """See ``TOLERANCES``."""
    pose: float | None
    """See ``POSE_TOLERANCES``; None for a network without poses."""
    unit: str
    right: bool
    """Whether both are within the tolerance of the precision."""


def reference_path(name: str) -> Path:
    """Path of a model's reference."""
    return share("models", f"{name}.reference.npz")


def reference(name: str, model: Path) -> Reference:
    """The stored reference of the model called ``name`` in the file ``model``.

    Raises ``EngineError`` where there is none, a damaged one, or one of another version of the
    model.
    """
    path, remedy = reference_path(name), f"make it with scripts/references.py {name}"
    if not path.is_file():
        raise EngineError(f"expected a reference at {path}, found no file; {remedy}")
    try:
        arrays = read_npz(path)
    except NpzError as error:
        raise EngineError(f"{path}: expected a reference; {error}; {remedy}") from None
    inputs, outputs = (
        {
            key.partition(":")[2]: value
            for key, value in arrays.items()
            if key.startswith(kind) and value.dtype.kind in "biuf" and value.ndim
        }
        for kind in ("input:", "output:")
    )
    if "model" not in arrays or not inputs or not outputs:
        raise EngineError(
            f"{path}: expected a reference with model, inputs and outputs, got "
            f"{', '.join(arrays) or 'nothing'}; {remedy}"
        )
    if str(arrays["model"]) != sha256_of(model):
        raise EngineError(
            f"{path}: expected the reference of {model}, got that of another version of it; "
            f"{remedy}"
        )
    return Reference(
        {
            name: array.astype(np.float32) if array.dtype == np.float16 else array
            for name, array in inputs.items()
        },
        outputs,
    )


def check(engine: Engine, expected: Reference, precision: str) -> Agreement:
    """Compare an engine with the reference, all rows at once and one by one. Raises
    ``EngineError``.
    """
    rows = len(next(iter(expected.inputs.values())))
    answers = [engine(expected.inputs)] if any_rows(*engine.inputs.values()) else []
    answers.append(
        joined(
            [
                engine({name: array[row : row + 1] for name, array in expected.inputs.items()})
                for row in range(rows)
            ]
        )
    )
    found = [{name: sample(array) for name, array in answer.items()} for answer in answers]
    difference = max(largest_difference(expected.outputs, answer) for answer in found)
    which = next((name for name in POSE_TOLERANCES if name in expected.outputs), None)
    if which is None:
        return Agreement(difference, None, "", difference <= TOLERANCES[precision])
    pose = max(pose_distance(which, expected.outputs[which], answer[which]) for answer in found)
    right = difference <= TOLERANCES[precision] and pose <= POSE_TOLERANCES[which][precision]
    return Agreement(difference, pose, UNITS[which], right)


def pose_distance(output: str, expected: np.ndarray, found: np.ndarray) -> float:
    """Mean distance of a joint: mm between ``joints`` (P, 17, 4), pixels between ``landmarks`` (P,
    195).
    """
    if output == "joints":
        return 1e3 * float(np.linalg.norm(found[..., :3] - expected[..., :3], axis=-1).mean())
    points = [array.reshape(len(array), -1, 5)[:, :LANDMARKS, :2] for array in (expected, found)]
    return float(np.linalg.norm(points[1] - points[0], axis=-1).mean())


def sample(array: np.ndarray) -> np.ndarray:
    """The array itself, or ``SAMPLED`` of its values at places that depend on its shape alone."""
    if array.size <= SAMPLED:
        return array
    return array.reshape(-1)[np.random.default_rng(array.size).integers(0, array.size, SAMPLED)]
