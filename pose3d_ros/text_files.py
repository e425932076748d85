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

"""Files that people and other programs write, YAML, TOML, JSON and ``ost.txt``, as plain mappings.

Whatever is in them, reading takes about a second and little memory at most, and what is wrong is
said in one line: a file of a few kilobytes can describe gigabytes (aliases of aliases), nest
deeper than Python's stack, or hold a number that takes minutes to convert.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import yaml

from pose3d_ros.errors import Pose3dError
from pose3d_ros.resources import NAME, share

MOST_BYTES = 250_000  # a rig has a few thousand
MOST_BYTES_JSON = 500_000  # a dome of 500 cameras; its reader is fast
MOST_NODES = 20_000  # of YAML, whose reader is slow
MOST_VALUES = 200_000
DEEPEST = 30
LONGEST_SCALAR = 4096  # of YAML: a path at most
LONGEST_KEY = 100  # parts of a dotted key of TOML
_MESSAGE = 400  # characters of an error message


class TextFileError(Pose3dError, ValueError):
    """A file that is missing, too large, or not what its name says."""


def shortened(text: object, length: int = _MESSAGE) -> str:
    """One line of a text, cut in the middle where it is too long for a message."""
    line = " ".join(str(text)[: 4 * length].split())
    half = (length - 3) // 2
    return line if len(line) <= length else f"{line[:half]}...{line[-half:]}"


def local_path(path: str | Path) -> Path:
    """Path of a file that is given as a path or as a ``file://`` or ``package://`` URL.

    ``package://NAME/...`` is below the share folder of a ROS package, found as ROS does it, by
    AMENT_PREFIX_PATH. Raises ``TextFileError``.
    """
    text = str(path)
    match = re.match(r"(\w+):/+", text)
    if match is None or match[1] not in ("file", "package", "http", "https"):
        try:
            return Path(path).expanduser()
        except RuntimeError:
            raise TextFileError(
                f"{shortened(path, 100)}: expected a user's folder, got none"
            ) from None
    if match[1] == "file":
        return Path("/", unquote(urlsplit(text).path).lstrip("/"))
    if match[1] != "package":
        raise TextFileError(
            f"expected a file, file:// or package:// URL, got {shortened(text, 100)}"
        )
    package, _, rest = unquote(text[match.end() :]).partition("/")
    if package == NAME:
        return share(rest)
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        folder = Path(prefix, "share", package)
        if prefix and package and folder.is_dir():
            return folder / rest
    raise TextFileError(
        f"{shortened(text, 100)}: expected a ROS package '{shortened(package, 60)}' below "
        f"AMENT_PREFIX_PATH, got none: source its workspace's setup.bash"
    )


def _without_waiting(path: str, flags: int) -> int:
    """A file's descriptor that gives what there is: some of the kernel's files never end."""
    return os.open(path, flags | os.O_NONBLOCK)


def read_mapping(path: str | Path) -> dict[str, Any]:
    """Content of a YAML, TOML (.toml), JSON (.json) or ost (.txt, .ini) file; the first document
    where a YAML file has several, as ``ros2 topic echo`` writes them.

    OpenCV's matrices (``!!opencv-matrix``) become float64 arrays. Raises ``TextFileError`` in one
    line.
    """
    path = local_path(path)
    try:
        if path.exists() and not path.is_file():
            raise TextFileError("expected a file, got a folder or a device")
        most = MOST_BYTES_JSON if path.suffix.lower() == ".json" else MOST_BYTES
        with open(path, "rb", opener=_without_waiting) as file:
            raw = file.read(most + 1)
        if raw is None:
            raise TextFileError("expected a file, got one that something still writes to")
        if len(raw) > most:
            raise TextFileError(f"expected a calibration of at most {most} bytes, got more")
        data = _parse(raw.decode("utf-8-sig"), path.suffix.lower())
        _check_extent(data)
    except TextFileError as error:
        raise TextFileError(f"{path}: {error}") from None
    except OSError as error:
        raise TextFileError(f"{path}: {error.strerror}") from None
    except RecursionError:
        raise TextFileError(f"{path}: expected at most {DEEPEST} levels, got more") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, OverflowError) as error:
        raise TextFileError(f"{path}: cannot be read: {shortened(error)}") from None
    if not isinstance(data, dict):
        raise TextFileError(f"{path}: expected a calibration, got {type(data).__name__}")
    return data


def _parse(text: str, suffix: str) -> Any:
    _check_brackets(text)
    if suffix == ".json":
        return json.loads(text, object_pairs_hook=_once)
    if suffix == ".toml":
        if any(part.count(".") > LONGEST_KEY for part in re.split(r"[=,{}#\n]", text)):
            raise TextFileError(f"expected keys of at most {LONGEST_KEY} parts, got more")
        return _toml(text)
    if suffix in (".txt", ".ini") and "camera matrix" in text:
        return _ost(text)
    if text.startswith("%YAML"):  # OpenCV's first line, %YAML:1.0, is no YAML
        text = text.partition("\n")[2]
    return next(iter(yaml.load_all(text, _BoundedLoader)), None)


def _toml(text: str) -> Any:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        try:
            import tomli as tomllib
        except ModuleNotFoundError:  # rosdep has no key for it
            raise TextFileError(
                "TOML with Python 3.10 needs tomli: apt install python3-tomli, or pip install "
                "tomli"
            ) from None
    return tomllib.loads(text)


def _check_brackets(text: str) -> None:
    """Raise ``TextFileError`` for brackets that open much deeper than a calibration nests: finding
    that out while parsing takes minutes.
    """
    characters = np.frombuffer(text.encode(), np.uint8)
    opens, closes = (np.isin(characters, list(pair)) for pair in (b"[{", b"]}"))
    depth = np.cumsum(opens.astype(int) - closes)
    if (depth - np.minimum.accumulate(depth)).max(initial=0) > 4 * DEEPEST:  # some in comments
        raise TextFileError(f"expected at most {DEEPEST} levels, got more")


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    _check_keys([key for key, _ in pairs])
    return dict(pairs)


def _check_keys(keys: Sequence[str]) -> None:
    """Raise ``TextFileError`` for a key that is there twice: readers of JSON and YAML take the
    last one without a word.
    """
    if len(set(keys)) < len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise TextFileError(f"expected every key once, got '{shortened(twice, 60)}' twice")


def _check_extent(data: Any) -> None:
    """Raise ``TextFileError`` for content that is deeper, or larger when written out, than any
    calibration: one value may be meant a billion times.
    """
    known: dict[int, tuple[int, int]] = {}  # values and levels below a list or mapping

    def extent(value: Any, depth: int) -> tuple[int, int]:
        if not isinstance(value, dict | list):
            return 1, 0
        if id(value) not in known:
            known[id(value)] = MOST_VALUES, DEEPEST  # should it contain itself
            parts = value.values() if isinstance(value, dict) else value
            inner = [extent(part, depth + 1) for part in parts] if depth < DEEPEST else []
            count = 1 + sum(values for values, _ in inner)
            known[id(value)] = count, 1 + max([levels for _, levels in inner], default=0)
        count, levels = known[id(value)]
        if depth + levels > DEEPEST:
            raise TextFileError(f"expected at most {DEEPEST} levels, got more")
        if count > MOST_VALUES:
            raise TextFileError(f"expected at most {MOST_VALUES} values, got more")
        return count, levels

    extent(data, 0)


class _BoundedLoader(yaml.SafeLoader):
    """Safe YAML with OpenCV's matrices, no deeper and no larger than a calibration is."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._nodes = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node; raises ``TextFileError`` beyond the bounds."""
        self._nodes += 1
        self._depth += 1
        if self._depth > DEEPEST:
            raise TextFileError(f"expected at most {DEEPEST} levels, got more")
        if self._nodes > MOST_NODES:
            raise TextFileError(f"expected at most {MOST_NODES} values in YAML, got more")
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        if isinstance(node, yaml.ScalarNode) and len(node.value) > LONGEST_SCALAR:
            raise TextFileError(
                f"expected texts of at most {LONGEST_SCALAR} characters, got {len(node.value)}"
            )
        if isinstance(node, yaml.MappingNode):
            _check_keys([key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merge keys (``<<``), which multiply as aliases do."""
        super().flatten_mapping(node)
        if len(node.value) > MOST_NODES:
            raise TextFileError(f"expected at most {MOST_NODES} values in YAML, got more")


def _matrix(loader: yaml.SafeLoader, node: yaml.Node) -> np.ndarray:
    if not isinstance(node, yaml.MappingNode):
        raise TextFileError(
            f"expected a matrix with rows, cols and data in line {node.start_mark.line + 1}"
        )
    entry = loader.construct_mapping(node, deep=True)
    shape = entry.get("sizes") or (entry["rows"], entry["cols"])
    return np.array(entry["data"], float).reshape(shape)


for _tag in ("opencv-matrix", "opencv-nd-matrix"):  # the second is what OpenCV 5 writes
    _BoundedLoader.add_constructor(f"tag:yaml.org,2002:{_tag}", _matrix)


def _ost(text: str) -> dict[str, Any]:
    """Calibration as ROS' ``camera_calibration`` writes it beside the YAML (Videre's INI form),
    with the keys of the YAML.
    """
    values: dict[str, list[str]] = {}
    camera, lines = "", [line.partition("#")[0].strip() for line in text.splitlines()]
    name: str | None = None
    for line in lines:
        section = re.fullmatch(r"\[(.*)\]", line)
        if section:
            camera, name = section[1], None
        elif re.fullmatch(r"[a-z_ ]+", line):
            name = line
            values[name] = []
        elif line and name is not None:
            values[name] += line.split()
    matrix, distortion = _numbers(values, "camera matrix"), _numbers(values, "distortion")
    model = "plumb_bob" if len(distortion) <= 5 else "rational_polynomial"
    return {
        "image_width": _numbers(values, "width")[0],
        "image_height": _numbers(values, "height")[0],
        "camera_name": camera,
        "camera_matrix": {"data": matrix},
        "distortion_model": model,
        "distortion_coefficients": {"data": distortion},
    }


def _numbers(values: Mapping[str, Sequence[str]], name: str) -> list[float]:
    if not values.get(name):
        raise TextFileError(f"expected numbers below '{name}', got none")
    return [float(value) for value in values[name]]
