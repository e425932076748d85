"""Batches for engines that are built for fixed limits: which shapes to build for, and how to keep to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pose3d_ros.inference.errors import EngineError

Shapes = Mapping[str, tuple[int | None, ...]]
USUAL_PEOPLE = 4
"""Rows that an engine is made fastest for, as far as it has the choice."""


class Profile(NamedTuple):
    """Shapes of one input: the smallest, the usual and the largest."""

    least: tuple[int, ...]
    usual: tuple[int, ...]
    most: tuple[int, ...]


def profiles(path: Path, inputs: Shapes, most: int) -> dict[str, Profile]:
    """Profiles of the inputs whose first axis is free (people), for 1 to ``most`` rows; the others need none.

    Raises ``EngineError`` for a model with another free axis.
    """
    found = {}
    for name, shape in inputs.items():
        fixed = tuple(n for n in shape[1:] if n is not None)
        if len(fixed) < len(shape) - 1:
            raise EngineError(f"{path}: expected a model whose only free axis is the first, got {name} {shape}; export "
                              f"it for one size of picture, or set engine to cpu")
        if shape and shape[0] is None:
            found[name] = Profile(*((rows, *fixed) for rows in (1, min(USUAL_PEOPLE, most), most)))
    return found


def rows_of(path: Path, inputs: Shapes, types: Mapping[str, np.dtype], feeds: Mapping[str, np.ndarray]) -> int:
    """Rows that the inputs with a free first axis have in common; 1 where there is none.

    Raises ``EngineError`` for feeds that are not as the inputs say.
    """
    rows = {len(feeds[name]) for name, shape in inputs.items() if name in feeds and feeds[name].ndim
            and shape and shape[0] is None}
    right = feeds.keys() == inputs.keys() and all(
        feeds[name].dtype == types[name] and feeds[name].ndim == len(shape)
        and all(n is None or n == got for n, got in zip(shape, feeds[name].shape, strict=True))
        for name, shape in inputs.items())
    if not right or len(rows) > 1 or 0 in rows:
        expected = ", ".join(f"{name} {shape} {types[name]}" for name, shape in inputs.items())
        got = ", ".join(f"{name} {array.shape} {array.dtype}" for name, array in feeds.items())
        raise EngineError(f"{path}: expected {expected} with one and the same number of rows, got {got or 'nothing'}")
    return rows.pop() if rows else 1


def in_parts(inputs: Shapes, feeds: Mapping[str, np.ndarray], most: int) -> Iterator[dict[str, np.ndarray]]:
    """The feeds in parts of at most ``most`` rows; an input without a free first axis goes into each."""
    free = [name for name, shape in inputs.items() if shape and shape[0] is None]
    rows = max((len(feeds[name]) for name in free), default=1)
    for start in range(0, rows, most):
        yield {name: array[start:start + most] if name in free else array for name, array in feeds.items()}
