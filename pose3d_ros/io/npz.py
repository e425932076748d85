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

"""Arrays out of npz files of any origin: what a file says of itself is checked before numpy
allocates it, and pickles are refused.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any
from zipfile import ZipFile, ZipInfo

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import Pose3dError, quoted

MAX_BYTES = 1 << 26
MAX_RATIO = 50
"""The arrays of a file together take at most ``MAX_BYTES`` or, of a larger file, this many times
its size: no data of people are compressed to less.
"""
KINDS = {"number": "biuf", "integer": "iu", "boolean": "biu", "text": "U"}
Entry = tuple[str | int | None, ...]
"""Kind (a key of ``KINDS``) and length of each axis: a number, a name for a length that entries
have in common, or None for any. With a kind alone, an entry has any shape.
"""


class NpzError(Pose3dError, ValueError):
    """A file that is no npz, or lacks an array."""


def read_npz(
    path: Path, names: tuple[str, ...] | None = None, optional: tuple[str, ...] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a file by name, all of them if no names are given; those that are ``optional`` may
    be missing. Raises ``NpzError``, whose message does not name the file.
    """
    try:
        _check(path)
        with np.load(path, allow_pickle=False) as data:
            names = tuple(data) if names is None else names
            if missing := [name for name in names if name not in data]:
                raise NpzError(f"misses {', '.join(missing)}; it has {', '.join(data) or 'none'}")
            arrays = {name: data[name] for name in (*names, *optional) if name in data}
        for name, array in arrays.items():
            if array.dtype.kind == "U" and not _is_text(array):
                raise NpzError(f"{name} is no text")
        return arrays
    except NpzError:
        raise
    except OSError as error:
        raise NpzError(error.strerror or quoted(error)) from None
    except Exception as error:  # noqa: BLE001 - zip, zlib and a parser
        raise NpzError(
            f"cannot be read as an npz: {quoted(error) or type(error).__name__}"
        ) from None


def _is_text(array: npt.NDArray[Any]) -> bool:
    """True if all characters are some: those beyond Unicode would fail whoever reads them."""
    codes = np.frombuffer(array.tobytes(), array.dtype.str[0] + "u4")
    return bool((codes <= 0x10FFFF).all())


def read_entries(
    path: Path, entries: Mapping[str, Entry], optional: Collection[str] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a file by name, of the kinds and shapes of ``entries``; those that are
    ``optional`` may be missing. Raises ``NpzError``.
    """
    required = tuple(name for name in entries if name not in optional)
    try:
        data = read_npz(path, required, tuple(optional))
        lengths: dict[str, int] = {}
        for name, array in data.items():
            _check_entry(name, array, entries[name], lengths)
    except NpzError as error:
        raise NpzError(
            f"{path}: expected an npz with {', '.join(required) or 'arrays'}; {error}"
        ) from None
    return data


def _check_entry(
    name: str, array: npt.NDArray[Any], entry: Entry, lengths: dict[str, int]
) -> None:
    kind, *axes = entry
    if array.dtype.kind not in KINDS[str(kind)]:
        raise NpzError(f"{name} is of type {array.dtype}, expected {kind}")
    fits = not axes or array.ndim == len(axes)
    for length, axis in zip(array.shape, axes, strict=False):
        expected = lengths.setdefault(axis, length) if isinstance(axis, str) else axis
        fits = fits and expected in (None, length)
    if not fits:
        wanted = ", ".join("any" if axis is None else str(axis) for axis in axes)
        known = "".join(f", {axis} {n}" for axis, n in lengths.items() if axis in axes)
        raise NpzError(f"{name} is of shape {array.shape}, expected ({wanted}){known}")


def check_size(path: Path, members: Iterable[ZipInfo]) -> None:
    """Raise ``NpzError`` if members of a file take more memory than ``MAX_BYTES`` and
    ``MAX_RATIO`` allow.
    """
    size, file_size = sum(member.file_size for member in members), path.stat().st_size
    if size > max(MAX_BYTES, MAX_RATIO * file_size):
        raise NpzError(
            f"its arrays unpack from {file_size / 1e6:.1f} to {size / 1e6:.0f} MB, which no data "
            f"of people are compressed to"
        )


def _check(path: Path) -> None:
    """Raise ``NpzError`` unless each array is as large as its header says, and all are allowed."""
    with ZipFile(path) as archive:
        members = archive.infolist()
        check_size(path, members)
        for member in members:
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = {
                    (1, 0): np.lib.format.read_array_header_1_0,
                    (2, 0): np.lib.format.read_array_header_2_0,
                }.get(version)
                if read is None:
                    raise NpzError(f"{member.filename} is of version {version}, expected 1 or 2")
                shape, _, dtype = read(file)
            size = math.prod(shape) * dtype.itemsize
            if dtype.hasobject or min(shape, default=0) < 0 or size > member.file_size:
                raise NpzError(
                    f"{member.filename}: expected an array of numbers or text of the size that "
                    f"its header says, got {dtype} {shape} in {member.file_size} bytes"
                )
