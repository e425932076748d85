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

"""Cache of what takes long to make (engines, quantised models, optimised graphs): bytes in, bytes
out.

An entry is found by everything that it depends on, and nothing is believed: its checksum must be
right before it is loaded, and what does not load is made again. Two processes make an entry once:
the second waits for the first. A cache that cannot be written is said once, and costs nothing but
time, unless filling it is the purpose (``required``). The least recently used entries go when it
is full.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TypeVar

from filelock import FileLock

from pose3d_ros.errors import EngineError
from pose3d_ros.model_store.store import cache_folder

T = TypeVar("T")
LIMIT_BYTES = 4 << 30
"""Room for every model of this package in every precision on two GPUs, several times over."""
ABANDONED_S = 3600.0
"""A file that is still being written after this time belongs to a process that died."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cache:
    """Entries in one folder (default: ``engines`` in the package's XDG cache), ``limit_bytes``
    together.
    """

    folder: Path = field(default_factory=lambda: cache_folder() / "engines")
    limit_bytes: int = LIMIT_BYTES
    required: bool = False
    """Whether an entry that cannot be kept is an ``EngineError``."""

    def get(
        self, parts: Mapping[str, str], build: Callable[[], bytes], load: Callable[[bytes], T]
    ) -> T:
        """Return what ``load`` makes of the entry of ``parts``, which ``build`` makes if there is
        none that loads.

        ``parts``: all that the entry depends on, such as the hash of the model (``hash_of``),
        versions and the device; ``name`` among them begins the name of the file. ``load`` raises
        ``EngineError`` for bytes that it cannot use. Raises what ``build`` raises, and what
        ``load`` raises of bytes just built.
        """
        if (found := self._loaded(parts, load)) is not None:
            return found
        with self._alone(parts):
            if (found := self._loaded(parts, load)) is not None:  # another process was faster
                return found
            data = build()
            self.write(parts, data)
            return load(data)

    def has(self, name: str) -> bool:
        """Whether there is any entry of that ``name``, whatever else it depends on."""
        return any(self.folder.glob(f"{glob.escape(name)}-*.bin"))

    def read(self, parts: Mapping[str, str]) -> bytes | None:
        """The entry's bytes; None where there is none, or only a damaged one."""
        path = self._path(parts)
        try:
            header, _, data = path.read_bytes().partition(b"\n")
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(error)
            return None
        if header != _header(parts, data):
            _log.warning("%s is damaged; it is made again", path)
            return None
        with suppress(OSError):  # a cache for reading alone has no order of use
            os.utime(path)
        return data

    def write(self, parts: Mapping[str, str], data: bytes) -> None:
        """Put the entry there, all of it or nothing; makes room first. What goes wrong is said,
        not raised.
        """
        header = _header(parts, data)
        if len(header) + len(data) >= self.limit_bytes:
            problem = (
                f"{self.folder}: an entry of {len(data) / 1e6:.0f} MB is not kept, because the "
                f"cache holds {self.limit_bytes / 1e6:.0f} MB"
            )
            if self.required:
                raise EngineError(problem)
            _log.warning(problem)
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._make_room(len(header) + len(data) + 1)
            with tempfile.NamedTemporaryFile(
                dir=self.folder, suffix=".part", delete=False
            ) as file:
                try:
                    file.write(header + b"\n")
                    file.write(data)
                    file.close()
                    os.chmod(file.name, 0o644)  # others may share the folder, for reading
                    os.replace(file.name, self._path(parts))
                except BaseException:
                    os.unlink(file.name)
                    raise
        except OSError as error:
            self._warn(error)

    def _loaded(self, parts: Mapping[str, str], load: Callable[[bytes], T]) -> T | None:
        data = self.read(parts)
        if data is None:
            return None
        try:
            return load(data)
        except EngineError as error:
            _log.warning("%s cannot be used (%s); it is made again", self._path(parts), error)
            return None

    @contextmanager
    def _alone(self, parts: Mapping[str, str]) -> Iterator[None]:
        """Nobody else makes this entry meanwhile; where no lock can be had, each makes its own."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self._path(parts).with_suffix(".lock"), mode=0o600)
            lock.acquire()
        except OSError as error:
            self._warn(error)
            yield
            return
        try:
            yield
        finally:
            lock.release()

    def _make_room(self, needed: int) -> None:
        """Delete what was not used longest, and what was abandoned."""
        files = []
        for path in self.folder.iterdir():
            with suppress(FileNotFoundError):  # another process was faster
                files.append((path.stat(), path))
        for stat, path in files:
            if path.suffix == ".part" and time.time() - stat.st_mtime > ABANDONED_S:
                path.unlink(missing_ok=True)
        entries = sorted(
            (stat.st_mtime_ns, stat.st_size, path) for stat, path in files if path.suffix == ".bin"
        )
        total = needed + sum(size for _, size, _ in entries)
        for _, size, path in entries:
            if total > self.limit_bytes:
                path.unlink(missing_ok=True)
                path.with_suffix(".lock").unlink(missing_ok=True)
                total -= size

    def _path(self, parts: Mapping[str, str]) -> Path:
        key = hashlib.sha256(json.dumps(dict(parts), sort_keys=True).encode()).hexdigest()
        return self.folder / f"{parts.get('name', 'entry')}-{key[:16]}.bin"

    def _warn(self, error: OSError) -> None:
        problem = f"the cache {self.folder} cannot be used ({error.strerror or error})"
        remedy = "free some space, or set XDG_CACHE_HOME to a folder that can be written"
        if self.required:
            raise EngineError(f"{problem}; {remedy}") from None
        _warn_once(f"{problem}; going on without it: {remedy}")


@cache
def _warn_once(text: str) -> None:
    _log.warning(text)


def hash_of(path: Path) -> str:
    """SHA-256 of an ONNX file together with the weights that an exporter put beside it
    (``model.onnx.data``).
    """
    digest = hashlib.sha256()
    for file in (path, *sorted(path.parent.glob(f"{path.name}?data*"))):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _header(parts: Mapping[str, str], data: bytes) -> bytes:
    """Says what the entry is, for people who look into the file, and proves it."""
    return json.dumps(
        {**parts, "sha256": hashlib.sha256(data).hexdigest()}, sort_keys=True
    ).encode()
