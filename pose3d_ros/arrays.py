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

"""Tools on arrays of people: tables with a row for each of them, and medians of what is
known.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T", bound="Rows")
A = TypeVar("A", bound=np.generic)
ImageBgr = npt.NDArray[Any]
"""An image (H, W, 3) uint8, blue first. Its type is checked when it is used: OpenCV's own stubs
call every picture an array of any number.
"""


@dataclass
class Rows:
    """Base of tables: every field is an array, or a table, with as many rows."""

    def __len__(self) -> int:
        return len(getattr(self, fields(self)[0].name))

    def __getitem__(self: T, rows: np.ndarray) -> T:
        """The rows chosen by indices or a mask."""
        return type(self)(*(getattr(self, spec.name)[rows] for spec in fields(self)))

    def __setitem__(self: T, rows: np.ndarray, values: T) -> None:
        for spec in fields(self):
            getattr(self, spec.name)[rows] = getattr(values, spec.name)

    def joined(self: T, below: T) -> T:
        """The rows of both."""
        pairs = [(getattr(self, spec.name), getattr(below, spec.name)) for spec in fields(self)]
        return type(self)(
            *(a.joined(b) if isinstance(a, Rows) else np.concatenate([a, b]) for a, b in pairs)
        )


class EqualByValue:
    """Base of dataclasses of arrays (``eq=False``): equal where all fields are, NaN to NaN.

    They are not hashable.
    """

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self) or not is_dataclass(self):
            return NotImplemented
        return all(
            _same(getattr(self, spec.name), getattr(other, spec.name)) for spec in fields(self)
        )

    __hash__ = None  # type: ignore[assignment]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.array_equal(a, b, equal_nan=a.dtype.kind == b.dtype.kind == "f")
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(type(a) is type(b) and a == b)


def read_only(array: npt.NDArray[A]) -> npt.NDArray[A]:
    """A view of the array that cannot be written to; whoever has the array itself still can."""
    view: npt.NDArray[A] = array.view()
    view.flags.writeable = False
    return view


def as_float32(values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same arrays, those of float64 as float32: half as large on disk."""
    return {
        name: value.astype(np.float32) if value.dtype == float else value
        for name, value in values.items()
    }


def median(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Medians (P, C) of values (P, N, C) where ``known`` (P, N); NaN where nothing is.

    ``numpy.nanmedian`` goes from row to row in Python.
    """
    ordered = np.sort(np.where(known[..., None], values, np.inf), axis=1)
    count = known.sum(1)
    people = np.arange(len(values))
    lower, upper = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, known.shape[1] - 1)
    return np.where(
        count[:, None] > 0, (ordered[people, lower] + ordered[people, upper]) / 2, np.nan
    )
