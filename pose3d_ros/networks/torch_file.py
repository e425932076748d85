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

"""Files that ``torch.save`` wrote, read without running any code in them.

Both formats, zip (since torch 1.6) and the one before, with pickles of any protocol;
``torch.load`` with ``weights_only`` reads none of protocol 3 or later. Classes and functions that
no tensor needs, such as a generator's state, are read as empty dictionaries.
"""

from __future__ import annotations

import io
import math
import mmap
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from pose3d_ros.errors import Pose3dError, quoted
from pose3d_ros.io.restricted_pickle import RestrictedUnpickler

MAX_PICKLE_BYTES = 1 << 26
MAX_OBJECTS = 1_000_000
MAX_DEPTH = 100
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {
    "Double": torch.float64,
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Long": torch.int64,
    "Int": torch.int32,
    "Short": torch.int16,
    "Char": torch.int8,
    "Byte": torch.uint8,
    "Bool": torch.bool,
}


class CheckpointError(Pose3dError, ValueError):
    """A checkpoint that cannot be read, or is of another network."""


class _Inert(dict[Any, Any]):
    """Stands for everything that is no tensor, container or number."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        super().__init__()

    __hash__ = object.__hash__  # type: ignore[assignment]

    def __setstate__(self, _state: Any) -> None:
        pass

    def __call__(self, *_arguments: Any, **_options: Any) -> _Inert:
        return self

    def extend(self, _items: Any) -> None:
        pass

    append = add = extend


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str
    numbers: int


@dataclass(frozen=True)
class _StoredTensor:
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> Any:
    if not isinstance(storage, _Storage):
        return _Inert()
    whole = (offset, *size, *stride)
    if not all(isinstance(number, int) and number >= 0 for number in whole):
        raise ValueError(f"tensor of size {size}, strides {stride}, offset {offset}")
    if math.prod(size) > storage.numbers:
        raise ValueError(f"tensor of size {tuple(size)} in {storage.numbers} stored numbers")
    return _StoredTensor(storage, offset, tuple(size), tuple(stride))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _rebuild_from_type(function: Any, _type: Any, arguments: Any, *_: Any) -> Any:
    return function(*arguments)


class _Function:
    """A function that a pickle may call, and whose attributes it cannot change."""

    __slots__ = ("_function",)
    _function: Callable[..., Any]

    def __init__(self, function: Callable[..., Any]) -> None:
        object.__setattr__(self, "_function", function)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} cannot be set")

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "defaultdict"): _Function(lambda *_: {}),
    ("torch", "Size"): _Function(tuple),
    ("torch._utils", "_rebuild_tensor"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_tensor_v2"): _Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): _Function(_rebuild_parameter),
    ("torch._utils", "_rebuild_parameter_with_state"): _Function(_rebuild_parameter),
    ("torch.nn.parameter", "Parameter"): _Function(_rebuild_parameter),
    ("torch._tensor", "_rebuild_from_type_v2"): _Function(_rebuild_from_type),
    **{("torch", f"{name}Storage"): dtype for name, dtype in _DTYPES.items()},
    **{("torch.storage", f"{name}Storage"): dtype for name, dtype in _DTYPES.items()},
}


class _Unpickler(RestrictedUnpickler):
    """Reads tensors as ``_StoredTensor``."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, _ALLOWED, _Inert, encoding="latin1")

    def persistent_load(self, pid: Any) -> Any:
        """A storage, or an inert object for storages of unknown types and of other kinds."""
        if not isinstance(pid, tuple) or pid[0] not in ("storage", b"storage"):
            return _Inert()
        _, dtype, key, _, numbers, *view = pid
        if not isinstance(dtype, torch.dtype) or any(view):
            return _Inert()
        if not isinstance(numbers, int) or numbers < 0:
            raise ValueError(f"storage of {numbers} numbers")
        return _Storage(dtype, str(key), numbers)


def read_torch_file(path: Path) -> Any:
    """The object in a file that ``torch.save`` wrote: dictionaries, lists, tuples, numbers and
    text, with tensors on the CPU.

    Raises ``CheckpointError``.
    """
    try:
        if zipfile.is_zipfile(path):
            return _read_zip(path)
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
        ):
            return _read_legacy(mapped)
    except OSError as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint of torch, got {error.strerror or quoted(error)}"
        ) from None
    except Exception as error:  # a damaged file can raise any
        reason = quoted(error) or type(error).__name__
        raise CheckpointError(
            f"{path}: expected a checkpoint of torch ({reason}); copy or download it again"
        ) from None


def _read_zip(path: Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        pickles = [name for name in members if name.rpartition("/")[2] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"{len(pickles)} entries data.pkl in place of one")
        folder = pickles[0].removesuffix("data.pkl")
        if members[pickles[0]].file_size > MAX_PICKLE_BYTES:
            raise ValueError(f"pickle of {members[pickles[0]].file_size} bytes")
        if (order := f"{folder}byteorder") in members and archive.read(order) != b"little":
            raise ValueError("numbers that are not little-endian")
        left = path.stat().st_size
        data: dict[str, bytearray] = {}

        def numbers(storage: _Storage) -> bytearray:
            nonlocal left
            if storage.key not in data:
                info = members[f"{folder}data/{storage.key}"]
                left -= info.file_size
                if info.compress_type != zipfile.ZIP_STORED or left < 0:
                    raise ValueError("compressed or overlapping tensors, which torch never writes")
                data[storage.key] = bytearray(archive.read(info))
            return data[storage.key]

        with archive.open(pickles[0]) as file:
            saved = _Unpickler(io.BytesIO(file.read())).load()
        return _Materialiser(numbers).of(saved)


def _read_legacy(mapped: mmap.mmap) -> Any:
    file: Any = mapped
    if _Unpickler(file).load() != _LEGACY_MAGIC:
        raise ValueError("neither a zip nor torch's earlier format")
    for _ in ("protocol version", "system"):
        _Unpickler(file).load()
    saved, keys = _Unpickler(file).load(), _Unpickler(file).load()
    starts: dict[str, tuple[int, int]] = {}
    storages = _storages(saved)
    for key in keys:
        (numbers,) = struct.unpack("<q", file.read(8))
        if (storage := storages.get(str(key))) is None:
            raise ValueError(f"numbers of the unknown storage {str(key)[:20]}")
        if numbers != storage.numbers:
            raise ValueError(f"storage of {numbers} in place of {storage.numbers} numbers")
        size = numbers * storage.dtype.itemsize
        starts[str(key)] = file.tell(), size
        file.seek(size, 1)

    def numbers_of(storage: _Storage) -> bytearray:
        start, size = starts[storage.key]
        return bytearray(mapped[start : start + size])

    return _Materialiser(numbers_of).of(saved)


def _storages(value: Any) -> dict[str, _Storage]:
    """The storages of all tensors in a value, by their keys."""
    found: dict[str, _Storage] = {}

    def note(storage: _Storage) -> bytearray:
        found[storage.key] = storage
        return bytearray(storage.dtype.itemsize)

    _Materialiser(note, empty=True).of(value)
    return found


class _Materialiser:
    """Makes tensors of ``_StoredTensor`` in containers, each once; ``empty``: visits them only."""

    def __init__(self, numbers: Callable[[_Storage], bytearray], empty: bool = False) -> None:
        self._numbers, self._empty = numbers, empty
        self._tensors: dict[str, Tensor] = {}
        self._done: dict[int, Any] = {}
        self._count = 0

    def of(self, value: Any, depth: int = 0) -> Any:
        """The value with tensors."""
        if isinstance(value, _StoredTensor):
            return self._tensor(value)
        if not isinstance(value, Mapping | list | tuple):
            return value
        if id(value) in self._done:
            return self._done[id(value)]
        self._count += 1 + len(value)
        if depth > MAX_DEPTH or self._count > MAX_OBJECTS:
            raise ValueError("containers that are nested too deep, or too many")
        made: Any
        if isinstance(value, Mapping):
            made = {key: self.of(item, depth + 1) for key, item in value.items()}
        else:
            made = tuple(self.of(item, depth + 1) for item in value)
            made = list(made) if isinstance(value, list) else made
        self._done[id(value)] = made
        return made

    def _tensor(self, stored: _StoredTensor) -> Tensor | None:
        storage = stored.storage
        if self._empty:
            self._numbers(storage)
            return None
        if storage.key not in self._tensors:
            data = self._numbers(storage)
            if len(data) != storage.numbers * storage.dtype.itemsize:
                raise ValueError(f"{len(data)} bytes of {storage.numbers} numbers")
            self._tensors[storage.key] = (
                torch.frombuffer(data, dtype=storage.dtype)
                if data
                else torch.zeros(0, dtype=storage.dtype)
            )
        return self._tensors[storage.key].as_strided(stored.size, stored.stride, stored.offset)
