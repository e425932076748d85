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

"""Conversion of networks with packages of its own: nothing is installed beside the user's.

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
from typing import Any, NamedTuple

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

_ROOT = Path(__file__).parents[2]
_CHILD = """
import importlib, json, pathlib, sys
packages, root, folder = sys.argv[1:]
sys.path[:0] = [packages]
sys.path.append(root)
folder = pathlib.Path(folder)
for number, (module, count, options) in enumerate(json.loads((folder / "jobs.json").read_text())):
    files = [(folder / f"{number}.{part}").read_bytes() for part in range(count)]
    made = importlib.import_module(module).convert(*files, **options)
    (folder / f"{number}.onnx").write_bytes(made)
"""
NO_SPACE = ("No space left on device", "Disk quota exceeded")
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
    "ENOTFOUND",
    "EAI_AGAIN",
    "ECONNREFUSED",
    "ETIMEDOUT",
)
_log = logging.getLogger(__name__)


class ConversionEnvironmentError(Pose3dError, RuntimeError):
    """The packages cannot be had, or the conversion failed; the message is one line with the
    cause.
    """


class Network(NamedTuple):
    """The ``files`` of a network, the ``converter`` (a module of this folder) that makes ONNX of
    them, and what its ``convert`` takes besides.
    """

    converter: str
    files: Sequence[bytes]
    options: Mapping[str, Any]

    @property
    def module(self) -> str:
        """Full name of the converter's module."""
        return f"{__package__}.{self.converter}"


def convert(networks: Sequence[Network], scratch: Path) -> list[bytes]:
    """ONNX bytes of each network; installs below the folder ``scratch``.

    Raises ``ConversionEnvironmentError``.
    """
    packages, folder = scratch / "packages", scratch / "conversion"
    folder.mkdir()
    _install(packages, scratch)
    for number, network in enumerate(networks):
        for part, data in enumerate(network.files):
            (folder / f"{number}.{part}").write_bytes(data)
    jobs = [(network.module, len(network.files), dict(network.options)) for network in networks]
    (folder / "jobs.json").write_text(json.dumps(jobs))
    _log.warning("converting %d networks", len(networks))
    done = guarded_process.run(
        [sys.executable, "-I", "-c", _CHILD, packages, _ROOT, folder], scratch
    )
    if done.returncode:
        raise ConversionEnvironmentError(f"the conversion failed: {_last_line(done.stderr)}")
    return [(folder / f"{number}.onnx").read_bytes() for number in range(len(networks))]


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
    """Reason for a failure of pip or npm in one line: the last line is often a consequence."""
    # npm ends with where its log is.
    lines = [
        line.strip()
        for line in stderr.splitlines()
        if line.strip() and "A complete log of this run" not in line
    ]
    for signs, meaning in (
        (NO_SPACE, "the disk is full"),
        (_NO_NETWORK, "no connection to the package index"),
    ):
        for line in lines:
            if any(sign in line for sign in signs):
                return f"{meaning} ({line})"
    if any("No module named pip" in line for line in lines):
        return "this Python has no pip (apt install python3-pip)"
    return next(
        (line for line in reversed(lines) if line.startswith("ERROR")),
        _last_line("\n".join(lines)),
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no reason given"
