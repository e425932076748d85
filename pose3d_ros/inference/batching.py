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

"""Batches of rows (people): which engines take, which shapes to build for, and how to keep to
fixed limits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pose3d_ros.errors import EngineError
from pose3d_ros.inference.engine import Arrays
from pose3d_ros.model_store.store import Pictures

Shapes = Mapping[str, tuple[int | None, ...]]
USUAL_PEOPLE = 4
"""Rows that an engine is made fastest for, as far as it has the choice."""


class Profile(NamedTuple):
    """Shapes of one input: the smallest, the usual and the largest."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


def any_rows(*shapes: tuple[int | None, ...]) -> bool:
    """Whether a network takes any number of rows in inputs of these shapes: the first axis of all
    is free.
    """
    return all(shape and shape[0] is None for shape in shapes)


def joined(parts: Sequence[Mapping[str, np.ndarray]]) -> Arrays:
    """The rows of all parts, which have the same arrays."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def wrong_feeds(
    path: Path,
    inputs: Shapes,
    types: Mapping[str, np.dtype],
    feeds: Mapping[str, np.ndarray],
    problem: str,
) -> EngineError:
    """The error that tells what was expected and what came."""
    expected = ", ".join(f"{name} {shape} {types[name]}" for name, shape in inputs.items())
    got = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in feeds.items())
    return EngineError(f"{path}: expected {expected}; got {got or 'nothing'} ({problem})")


def profiles(
    path: Path, inputs: Shapes, most: int, pictures: Pictures | None = None
) -> dict[str, Profile]:
    """Profiles of the inputs that have free axes, for 1 to ``most`` people; the others need none.

    Raises ``EngineError`` for a model with another free axis than the first of which nobody knows
    the ``pictures``.
    """
    found = {}
    for name, shape in inputs.items():
        if None not in shape:
            continue
        shapes = (shape, shape, shape) if None not in shape[1:] else pictures
        if shapes is None:
            raise EngineError(
                f"{path}: expected a model whose only free axis is the first, got {name} "
                f"{shape}; export it for one size of picture, or set engine to cpu"
            )
        people = 1, min(USUAL_PEOPLE, most), most
        found[name] = Profile(
            *(
                tuple(rows if n is None else n for n in sizes)
                for rows, sizes in zip(people, shapes, strict=True)
            )
        )
    return found


def rows_of(
    path: Path, inputs: Shapes, types: Mapping[str, np.dtype], feeds: Mapping[str, np.ndarray]
) -> int:
    """Rows that the inputs with a free first axis have in common; 1 where there is none.

    Raises ``EngineError`` for feeds that are not as the inputs say.
    """
    rows = {
        len(feeds[name])
        for name, shape in inputs.items()
        if any_rows(shape) and name in feeds and feeds[name].ndim
    }
    right = feeds.keys() == inputs.keys() and all(
        feeds[name].dtype == types[name]
        and feeds[name].ndim == len(shape)
        and all(n is None or n == got for n, got in zip(shape, feeds[name].shape, strict=True))
        for name, shape in inputs.items()
    )
    if not right or len(rows) > 1 or 0 in rows:
        raise wrong_feeds(
            path, inputs, types, feeds, "all need the same number of rows, one at least"
        )
    return rows.pop() if rows else 1


def in_parts(inputs: Shapes, feeds: Mapping[str, np.ndarray], most: int) -> Iterator[Arrays]:
    """The feeds in parts of at most ``most`` rows; an input without a free first axis goes into
    each.
    """
    free = [name for name, shape in inputs.items() if any_rows(shape)]
    rows = max((len(feeds[name]) for name in free), default=1)
    for start in range(0, rows, most):
        yield {
            name: array[start : start + most] if name in free else array
            for name, array in feeds.items()
        }
