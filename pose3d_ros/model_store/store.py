"""Places of models: those that the package ships, those it makes once from a wheel, and the user's
own files.

BlazePose's networks travel inside the wheel ``mediapipe==0.10.21`` (Apache-2.0). The wheel is only
the container: the same file, known by its hash, is taken on every platform by the user's own pip
(with its mirrors and proxies), the networks are converted to ONNX once, and the result lies in the
XDG cache. Conversion is deterministic, so its hash is known too, and a damaged file never reaches
an engine.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock

from pose3d_ros.errors import Pose3dError
from pose3d_ros.model_store import guarded_process
from pose3d_ros.model_store.conversion_env import (
    NEEDED_MB,
    ConversionEnvironmentError,
    Network,
    cause,
)
from pose3d_ros.model_store.conversion_env import convert as convert_apart
from pose3d_ros.resources import share

WHEEL = "mediapipe==0.10.21"
WHEEL_SHA256 = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
WHEEL_TAGS = {
    "--platform": "manylinux_2_28_x86_64",
    "--python-version": "311",
    "--implementation": "cp",
    "--abi": "cp311",
}
WHEEL_VARIABLE = "POSE3D_MEDIAPIPE_WHEEL"
"""Environment variable with the path of the wheel, for machines without a network."""

_SCRATCH = "fetching-"
_NEEDED_MB = 100 + NEEDED_MB  # the wheel twice, while pip copies it, and what converts
_DAMAGED = "damaged: expected another SHA-256"
_log = logging.getLogger(__name__)


class ModelError(Pose3dError, RuntimeError):
    """A model cannot be had; the message is one line that says what to do."""


@dataclass(frozen=True)
class Embedded:
    """A network in the wheel: its place there, its outputs (TFLite tensor indices), and the hash
    of its ONNX file.
    """

    member: str
    outputs: Mapping[str, int]
    low: float
    """The network's input for the pixel value 0; 255 is always 1."""
    sha256: str


EMBEDDED = {
    "blazepose-detector": Embedded(
        "mediapipe/modules/pose_detection/pose_detection.tflite",
        {"boxes": 441, "scores": 429},
        -1.0,
        "32b9af0ba91f79bf970a7b9ae1963a91fa423e134c65378781fda81d1d3a0abf",
    ),
    # features0 to features3: the encoder's pyramid, as the decoder of the heat maps takes it.
    "blazepose-full": Embedded(
        "mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        {
            "landmarks": 337,
            "presence": 342,
            "heatmap": 298,
            "features0": 219,
            "features1": 229,
            "features2": 254,
            "features3": 269,
        },
        0.0,
        "9a6b08e76a3af7bb5741c8be3f664106710340acf570c403cec12cd9d7a1c5b9",
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
    embedded = [Model(name, _cached(name), f"wheel {WHEEL}", verify(name)) for name in EMBEDDED]
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
        f"existing "
        f"ONNX file"
    )


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


def fetch(name: str, wheel: Path | None = None) -> Path:
    """Path of an embedded model in the cache, put there first if it is missing or damaged
    (``pose3d models fetch``).

    ``wheel`` is a local copy of the wheel; otherwise the file named by ``POSE3D_MEDIAPIPE_WHEEL``,
    otherwise pip downloads it (35 MB). Safe while other processes do the same. Raises
    ``ModelError``.
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
                _make_missing(wheel or _given_wheel() or _download(Path(scratch)), Path(scratch))
    except OSError as error:
        raise _cannot_write(path.parent, error) from None
    return path


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


def _given_wheel() -> Path | None:
    value = os.environ.get(WHEEL_VARIABLE)
    return Path(value).expanduser() if value else None


def _download(folder: Path) -> Path:
    """The wheel, by the user's own pip, which checks the hash."""
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{WHEEL} --hash=sha256:{WHEEL_SHA256}\n")
    _log.warning("fetching %s (35 MB, once) for the networks of the embedded detector", WHEEL)
    tags = [word for item in WHEEL_TAGS.items() for word in item]
    done = guarded_process.run(
        [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-input",
            "--retries",
            "2",
            "--no-deps",
            "--only-binary=:all:",
            *tags,
            "--require-hashes",
            "--requirement",
            requirement,
            "--dest",
            folder,
        ],
        folder,
        {**os.environ, "TMPDIR": str(folder)},
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        if "No space left on device" in done.stderr or "Disk quota exceeded" in done.stderr:
            raise _disk_full(folder.parent)
        raise ModelError(
            f"pip could not download {WHEEL}, which carries the networks of the embedded "
            f"detector: "
            f"{cause(done.stderr)}; connect to a package index once, or set {WHEEL_VARIABLE} to a "
            f"copy of "
            f"the wheel"
        )
    return wheels[0]


def _make_missing(wheel: Path, scratch: Path) -> None:
    """Convert every embedded network that the cache lacks; one wheel carries them all."""
    if not wheel.is_file():
        raise ModelError(f"expected the wheel of {WHEEL} at {wheel}, found no file")
    if not _is(wheel, WHEEL_SHA256):
        raise ModelError(
            f"{wheel}: expected {WHEEL} for cp311 and {WHEEL_TAGS['--platform']} with SHA-256 "
            f"{WHEEL_SHA256}, got another file"
        )
    missing = {name: embedded for name, embedded in EMBEDDED.items() if verify(name) is not None}
    with zipfile.ZipFile(wheel) as archive:
        networks = [
            Network(archive.read(entry.member), entry.outputs, entry.low)
            for entry in missing.values()
        ]
    for (name, embedded), converted in zip(
        missing.items(), _convert(networks, scratch), strict=True
    ):
        if hashlib.sha256(converted).hexdigest() != embedded.sha256:
            raise ModelError(
                f"{name}: the conversion gave another file than expected; please report the "
                f"versions of "
                f"the packages onnx, numpy and protobuf"
            )
        new = scratch / name
        new.write_bytes(converted)
        os.replace(new, _cached(name))  # all of it or nothing, also under another process's eyes


def _convert(networks: list[Network], scratch: Path) -> list[bytes]:
    """ONNX bytes of each network: here if onnx and tflite are installed, otherwise apart, with
    packages fetched.
    """
    try:
        from pose3d_ros.model_store.tflite_to_onnx import ConversionError, convert
    except ImportError:
        try:
            return convert_apart(networks, scratch)
        except ConversionEnvironmentError as error:
            raise ModelError(
                f"{error}; or convert with packages of your own: pip install onnx tflite"
            ) from None
    try:
        return [convert(*network) for network in networks]
    except ConversionError as error:
        raise ModelError(f"cannot convert the networks of {WHEEL}: {error}") from None
