"""Arrays out of npz files of any origin: what a file says of itself is checked before numpy
allocates it, and pickles are refused.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import numpy.typing as npt

from pose3d_ros.errors import Pose3dError, quoted

MAX_BYTES = 4 * 1024**3  # of all arrays of a file together


class NpzError(Pose3dError, ValueError):
    """A file that is no npz, or lacks an array."""


def read_npz(
    path: Path, names: tuple[str, ...], optional: tuple[str, ...] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Arrays of a file by name; those that are ``optional`` may be missing. Raises ``NpzError``,
    whose message does not name the file.
    """
    try:
        _check(path)
        with np.load(path, allow_pickle=False) as data:
            if missing := [name for name in names if name not in data]:
                raise NpzError(f"misses {', '.join(missing)}; it has {', '.join(data) or 'none'}")
            return {name: data[name] for name in (*names, *optional) if name in data}
    except NpzError:
        raise
    except OSError as error:
        raise NpzError(error.strerror or quoted(error)) from None
    except Exception as error:  # noqa: BLE001 - zip, zlib and Python's own parser fail in their ways
        raise NpzError(
            f"cannot be read as an npz: {quoted(error) or type(error).__name__}"
        ) from None


def _check(path: Path) -> None:
    """Raise ``NpzError`` unless each array is as large as its header says, and all are allowed."""
    with ZipFile(path) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MAX_BYTES:
            raise NpzError(f"its arrays unpack to more than {MAX_BYTES >> 30} GiB")
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
