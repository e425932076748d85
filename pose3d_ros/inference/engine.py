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

"""Engine protocol shared by all backends, and functions on any engine."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from pose3d_ros.errors import EngineError

T = TypeVar("T")
Arrays = dict[str, np.ndarray]
SMALL = 0.1
MOST_VALUES = 1 << 26
"""Numbers in the largest array of one row that a network may take or give."""


class Engine(Protocol):
    """A network ready to run."""

    @property
    def name(self) -> str:
        """Key in ``ENGINES``, for people; and what it is doing besides, such as building another
        engine.
        """

    inputs: dict[str, tuple[int | None, ...]]
    """Name -> shape; None stands for an axis of any length."""
    outputs: dict[str, tuple[int | None, ...]]
    types: dict[str, np.dtype]
    """Type of each input."""

    def __call__(self, feeds: Mapping[str, np.ndarray]) -> Arrays:
        """Run once: input name -> array to output name -> array. Raises ``EngineError`` on a wrong
        shape or type.
        """

    def close(self) -> None:
        """Free the engine's memory; it cannot be called any more."""


def restricted(path: Path, outputs: Mapping[str, T], wanted: Sequence[str]) -> dict[str, T]:
    """The outputs of a network that are ``wanted``, in that order. Raises ``EngineError`` where
    one is not there.
    """
    if missing := sorted(set(wanted) - set(outputs)):
        raise EngineError(
            f"{path}: expected the outputs {', '.join(wanted)}; {', '.join(missing)} not among "
            f"{', '.join(outputs)}"
        )
    return {name: outputs[name] for name in wanted}


def check_shapes(
    path: Path, shapes: Mapping[str, tuple[int | None, ...]], kind: str = "input"
) -> None:
    """See that nothing in a file makes arrays of absurd size. Raises ``EngineError``."""
    for name, shape in shapes.items():
        fixed = [n for n in shape if n is not None]
        if min(fixed, default=1) < 1 or math.prod(fixed) > MOST_VALUES:
            raise EngineError(
                f"{path}: expected {kind}s of at most {MOST_VALUES / 1e6:.0f} million numbers, "
                f"got {name[:60]} {list(shape)}; replace the file by a valid ONNX export"
            )


PICTURE_SIDE = 384
"""Pixels of a free axis that is not the first, where an engine is timed on nothing."""


def zeros(engine: Engine, rows: int = 1) -> Arrays:
    """Something to feed an engine with: the first axis, where it is free, is ``rows`` long, and
    others are as the side of a picture (``PICTURE_SIDE``).
    """
    return {
        name: np.zeros(
            [n or (PICTURE_SIDE if axis else rows) for axis, n in enumerate(shape)],
            engine.types[name],
        )
        for name, shape in engine.inputs.items()
    }


def warm_up(engine: Engine, rows: Iterable[int] = (1,)) -> None:
    """Run an engine on zeros, once for each batch size: the first run is slow in all of them.

    A network with another free axis than the first is left alone: nobody knows what it takes.
    """
    if any(None in shape[1:] for shape in engine.inputs.values()):
        return
    for count in rows:
        engine(zeros(engine, count))


def largest_difference(expected: Arrays, found: Arrays) -> float:
    """The largest difference of a value, as a share of the largest value of its array; infinite
    where one is not there.

    Values that are not finite must be the same in both. An array of small values (the probability
    that nothing is a person) is measured as if its largest were ``SMALL``.
    """
    worst = 0.0
    for name, reference in expected.items():
        if name not in found or found[name].shape != reference.shape:
            return np.inf
        finite = np.isfinite(reference)
        if not np.array_equal(reference[~finite], found[name][~finite], equal_nan=True):
            return np.inf
        if finite.any():
            apart = np.abs(found[name][finite].astype(np.float64) - reference[finite])
            difference = float(apart.max() / max(np.abs(reference[finite]).max(), SMALL))
            if not np.isfinite(difference):
                return np.inf
            worst = max(worst, difference)
    return worst
