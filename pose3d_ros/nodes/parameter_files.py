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

"""Parameter files of which no node takes anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml


def unused_files(words: Sequence[str], nodes: Sequence[str]) -> list[str]:
    """One line for each ``--params-file`` among ``words`` that is meant for one of ``nodes``
    (fully qualified names) and matches none.

    ROS ignores such a file without a word: a key without a slash, ``monocular:``, is the node
    ``/monocular`` alone. Files that name other nodes only are for these.
    """
    lines = []
    for word, path in pairwise(words):
        if word != "--params-file":
            continue
        keys = list(_keys(_content(path)))
        if any(_matches(key, node) for key in keys for node in nodes):
            continue
        meant = [
            (key, node)
            for key in keys
            for node in nodes
            if key.rsplit("/", 1)[-1] == node.rsplit("/", 1)[-1]
        ]
        if meant:
            key, node = meant[0]
            lines.append(
                f"{path}: nothing of it is used: expected the key {node} or "
                f"/**/{node.rsplit('/', 1)[-1]}, got {key.lstrip('/')}, which is another node to "
                f"ROS"
            )
    return lines


def keys_of(path: str | Path) -> list[str]:
    """The nodes that a parameter file names, as it names them: ``/**/monocular``."""
    return list(_keys(_content(path)))


def _content(path: str | Path) -> Any:
    try:
        return yaml.safe_load(Path(path).expanduser().read_bytes())
    except (OSError, yaml.YAMLError, ValueError):
        return None  # ROS itself refuses it


def _keys(content: Any, above: str = "") -> Iterator[str]:
    if not isinstance(content, Mapping):
        return
    for key, value in content.items():
        path = f"{above}/{str(key).strip('/')}"
        if isinstance(value, Mapping) and "ros__parameters" in value:
            yield path
        yield from (
            _keys(value, path) if isinstance(value, Mapping) and key != "ros__parameters" else ()
        )


def _matches(key: str, node: str) -> bool:
    """Whether ROS gives what stands below ``key`` to the node: ``*`` is one name, ``**`` any."""
    pattern = "".join(
        {"*": "/[^/]+", "**": "(/[^/]+)*"}.get(part, f"/{re.escape(part)}")
        for part in key.strip("/").split("/")
    )
    return re.fullmatch(pattern, node) is not None
