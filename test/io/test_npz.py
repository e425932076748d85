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

"""Arrays of an npz come out as they went in; a file that lies about itself costs nothing."""

from __future__ import annotations

import io
import resource
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pose3d_ros.io.npz import NpzError, read_npz


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in members.items():
            out.writestr(f"{name}.npy", data)
    return path


def npy(array: np.ndarray, **header: object) -> bytes:
    """Bytes of an array behind a header that says otherwise where told."""
    out = io.BytesIO()
    told = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape, **header}
    np.lib.format.write_array_header_1_0(out, told)
    return out.getvalue() + array.tobytes()


def test_there_and_back(tmp_path):
    poses = np.arange(6.0).reshape(2, 3)
    np.savez_compressed(tmp_path / "a.npz", poses=poses, skeleton=np.array("coco17"))
    data = read_npz(tmp_path / "a.npz", ("poses",), ("skeleton", "other"))
    assert set(data) == {"poses", "skeleton"}
    assert np.array_equal(data["poses"], poses) and str(data["skeleton"]) == "coco17"


def test_what_is_missing_is_named(tmp_path):
    np.savez(tmp_path / "a.npz", poses=np.zeros(3))
    with pytest.raises(NpzError, match="misses frame, view; it has poses"):
        read_npz(tmp_path / "a.npz", ("poses", "frame", "view"))
    with pytest.raises(NpzError, match="No such file"):
        read_npz(tmp_path / "gone.npz", ("poses",))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (npy(np.zeros(3), shape=(10**12,)), "of the size that its header says"),
        (npy(np.zeros(3), shape=(10**6, 10**6, 10**6)), "of the size that its header says"),
        (npy(np.zeros(3), descr="|O"), "array of numbers"),
        (b"\x93NUMPY\x09\x00" + bytes(64), "version"),
        (b"not an array", "cannot be read as an npz"),
        (b"", "cannot be read as an npz"),
    ],
)
def test_an_array_that_lies_about_itself(tmp_path, data, words):
    path = archive(tmp_path / "a.npz", poses=data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(NpzError, match=words) as error:
        read_npz(path, ("poses",))
    assert "\n" not in str(error.value)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_damaged_files_end_in_one_line(tmp_path):
    rng, path = np.random.default_rng(0), tmp_path / "a.npz"
    np.savez_compressed(path, poses=np.arange(600.0), frame=np.arange(20))
    whole = path.read_bytes()
    for case in range(300):
        data = bytearray(whole)
        for at in rng.integers(0, len(data), 4):
            data[at] = rng.integers(256)
        path.write_bytes(data[: rng.integers(len(data))] if case % 3 == 0 else data)
        try:
            read_npz(path, ("poses", "frame"))
        except NpzError as error:
            assert "\n" not in str(error)
