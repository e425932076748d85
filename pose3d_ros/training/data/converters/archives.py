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

"""The files of other projects: npz with pickled dictionaries read without executing them,
MATLAB's, and CDF.
"""

from __future__ import annotations

import math
import pickle
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy

from pose3d_ros.errors import quoted
from pose3d_ros.io.npz import NpzError, check_size
from pose3d_ros.io.restricted_pickle import RestrictedUnpickler


class _Dtype:
    """Stands for ``numpy.dtype`` while a file is read: numbers, text, or objects, and nothing
    structured.

    numpy's own would believe a file that calls an array of objects plain bytes, which are then
    pointers.
    """

    def __init__(self, code: str, *_: Any) -> None:
        if not re.fullmatch(r"[biufcSUO?][0-9]*", code):
            raise pickle.UnpicklingError(f"it has an array of type {code!r}")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands for an array while a file is read: numpy makes an empty one and fills it
    afterwards.
    """

    def __init__(self, *_: Any) -> None:
        self.array = np.zeros(0)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        if kind.dtype.hasobject:
            flat = np.empty(len(data), object)
            for row, value in enumerate(data):
                flat[row] = _plain(value, {})
        else:
            flat = np.frombuffer(
                data.encode("latin1") if isinstance(data, str) else data, kind.dtype
            ).copy()
        self.array = flat.reshape(shape, order="F" if fortran else "C")


def _plain(value: Any, done: dict[int, Any]) -> Any:
    """The value, with arrays in place of their stand-ins."""
    if isinstance(value, _Array):
        return value.array
    if not isinstance(value, dict | list | tuple):
        return value
    if id(value) not in done:  # containers may be in several others
        done[id(value)] = (
            {_plain(key, done): _plain(entry, done) for key, entry in value.items()}
            if isinstance(value, dict)
            else type(value)(_plain(entry, done) for entry in value)
        )
    return done[id(value)]


def _scalar(kind: _Dtype, data: bytes) -> Any:
    return np.frombuffer(data, kind.dtype)[0]


def _encode(text: str, _: str) -> bytes:
    """Decoder of bytes in protocols before 3."""
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """Decoder of empty bytes in protocols before 3."""
    return b""


# All that pickles of arrays and of dictionaries with arrays name; the modules' names changed in
# numpy 2.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): None,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _no_bytes,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Array for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _scalar for core in ("core", "_core")},
}


def load_npz(path: Path) -> dict[str, Any]:
    """The entries of an npz, objects among them, in which nothing is executed.

    ``numpy.load(allow_pickle=True)`` runs whatever a file asks for. Raises ``NpzError`` for a file
    that asks for anything but arrays and plain containers, would take much more memory than its
    own size, or is no npz.
    """
    entries = {}
    try:
        with zipfile.ZipFile(path) as archive:
            check_size(path, archive.infolist())
            for member in archive.namelist():
                with archive.open(member) as file:
                    read_header = {
                        (1, 0): npy.read_array_header_1_0,
                        (2, 0): npy.read_array_header_2_0,
                    }
                    shape, _, dtype = read_header[npy.read_magic(file)](file)
                    # Files that Python 2 has written hold their arrays' bytes as latin1 text.
                    value = (
                        _plain(RestrictedUnpickler(file, _ALLOWED, encoding="latin1").load(), {})
                        if dtype.hasobject
                        else None
                    )
                if not dtype.hasobject:
                    if math.prod(shape) * dtype.itemsize > archive.getinfo(member).file_size:
                        raise ValueError(f"{member} of shape {shape}, cut off")
                    with archive.open(member) as file:
                        value = npy.read_array(file, allow_pickle=False)
                if not isinstance(value, np.ndarray) or value.shape != shape:
                    raise ValueError(
                        f"{member} holds {type(value).__name__}, not an array of shape {shape}"
                    )
                entries[member.removesuffix(".npy")] = (
                    value.item() if dtype.hasobject and not shape else value
                )
    except Exception as error:  # a damaged file can raise any
        raise NpzError(
            f"{path}: expected an npz of arrays and dictionaries of them; {quoted(error)}"
        ) from None
    return entries


def load_mat(path: Path) -> dict[str, Any]:
    """Variables of a MATLAB file up to version 7.2; a cell array is an object array. Raises
    ``ValueError``.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        variables: dict[str, Any] = loadmat(str(path))
    except (OSError, ValueError, TypeError, NotImplementedError, MatReadError) as error:
        raise ValueError(f"{path}: expected a MATLAB file up to version 7.2; {error}") from None
    return variables


def load_hdf5(path: Path, *names: str) -> list[np.ndarray]:
    """Arrays of a MATLAB file of version 7.3, which is HDF5: axes are in the reverse order. Raises
    ``ValueError``.
    """
    import h5py

    try:
        with h5py.File(path, "r") as file:
            return [np.asarray(file[name]) for name in names]
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path}: expected a MATLAB 7.3 file with {', '.join(names)}; {error}"
        ) from None


def load_cdf(path: Path, name: str) -> np.ndarray:
    """A variable of a NASA CDF file. Raises ``ValueError``."""
    import cdflib

    try:
        return np.asarray(cdflib.CDF(path).varget(name))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: expected a CDF file with {name}; {error}") from None
