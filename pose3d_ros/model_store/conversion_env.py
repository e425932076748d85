"""Conversion of TFLite networks with packages of its own: nothing is installed beside the user's.

onnx brings a numpy that the OpenCV and SciPy of an Ubuntu release do not work with. It is needed
once, to convert: pip puts it into a folder that is removed afterwards, and a process of its own
converts there.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from pose3d_ros.errors import Pose3dError
from pose3d_ros.model_store import guarded_process

REQUIREMENTS = (
    "onnx==1.23.2",
    "tflite==2.18.0",
    "flatbuffers==25.12.19",
    "ml-dtypes==0.6.0",
    "protobuf==7.36.2",
    "numpy",
)
NEEDED_MB = 400
"""Free space that the packages need while they are being installed."""

_CONVERTER = Path(__file__).with_name("tflite_to_onnx.py")
_CHILD = """
import json, pathlib, runpy, sys
packages, converter, folder = sys.argv[1:]
sys.path.insert(0, packages)
sys.path.append(str(pathlib.Path(converter).parents[2]))  # the errors of this package
convert = runpy.run_path(converter)["convert"]
folder = pathlib.Path(folder)
for index, (outputs, low) in enumerate(json.loads((folder / "jobs.json").read_text())):
    tflite = (folder / f"{index}.tflite").read_bytes()
    (folder / f"{index}.onnx").write_bytes(convert(tflite, outputs, low))
"""
_NO_SPACE = ("No space left on device", "Disk quota exceeded")
_NO_NETWORK = (
    "NewConnectionError",
    "NameResolutionError",
    "Temporary failure in name resolution",
    "Name or service not known",
    "Network is unreachable",
    "Connection refused",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyError",
)
_log = logging.getLogger(__name__)


class ConversionEnvironmentError(Pose3dError, RuntimeError):
    """The packages cannot be had, or the conversion failed; the message is one line with the
    cause.
    """


class Network(NamedTuple):
    """A TFLite network and what ``tflite_to_onnx.convert`` takes with it."""

    tflite: bytes
    outputs: Mapping[str, int]
    low: float


def convert(networks: Sequence[Network], scratch: Path) -> list[bytes]:
    """ONNX bytes of each network; installs below the folder ``scratch``.

    Raises ``ConversionEnvironmentError``.
    """
    packages, folder = scratch / "packages", scratch / "conversion"
    folder.mkdir()
    _install(packages, scratch)
    for index, network in enumerate(networks):
        (folder / f"{index}.tflite").write_bytes(network.tflite)
    (folder / "jobs.json").write_text(
        json.dumps([(dict(network.outputs), network.low) for network in networks])
    )
    _log.warning("converting %d networks", len(networks))
    done = guarded_process.run(
        [sys.executable, "-I", "-c", _CHILD, packages, _CONVERTER, folder], scratch
    )
    if done.returncode:
        raise ConversionEnvironmentError(f"the conversion failed: {_last_line(done.stderr)}")
    return [(folder / f"{index}.onnx").read_bytes() for index in range(len(networks))]


def _install(packages: Path, scratch: Path) -> None:
    free_mb = shutil.disk_usage(scratch).free // 2**20
    if free_mb < NEEDED_MB:
        raise ConversionEnvironmentError(
            f"expected {NEEDED_MB} MB of free space in {scratch.parent}, found {free_mb} MB"
        )
    names = ", ".join(requirement.partition("==")[0] for requirement in REQUIREMENTS)
    _log.warning(
        "fetching what converts them, once, into a folder that is removed afterwards: %s", names
    )
    # --target works also where Python has no venv, and where it forbids pip to install (PEP 668)
    done = guarded_process.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-input",
            "--disable-pip-version-check",
            "--retries",
            "2",
            "--only-binary=:all:",
            "--target",
            packages,
            *REQUIREMENTS,
        ],
        scratch,
        {**os.environ, "PIP_USER": "0", "TMPDIR": str(scratch)},
    )
    if done.returncode:
        raise ConversionEnvironmentError(
            f"pip could not install {names} into {packages.parent}: {cause(done.stderr)}"
        )


def cause(stderr: str) -> str:
    """Reason for a failure of pip in one line: its own last line is often a consequence."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    for signs, meaning in (
        (_NO_SPACE, "the disk is full"),
        (_NO_NETWORK, "no connection to the package index"),
    ):
        for line in lines:
            if any(sign in line for sign in signs):
                return f"{meaning} ({line})"
    if any("No module named pip" in line for line in lines):
        return "this Python has no pip (apt install python3-pip)"
    return next((line for line in reversed(lines) if line.startswith("ERROR")), _last_line(stderr))


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
