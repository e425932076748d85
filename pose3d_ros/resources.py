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

"""Files that come with the package: configuration, launch files, models, the demo clip."""

from __future__ import annotations

from functools import cache
from pathlib import Path

NAME = "pose3d_ros"


def share(*parts: str) -> Path:
    """Path of a file or folder of the package's share tree, such as ``share("config",
    "monocular.yaml")``.

    The tree is the checkout itself when the package runs from one (as it is, editable, or
    symlinked by colcon), and ``<prefix>/share/pose3d_ros`` after an installation. Whether the file
    exists is for the caller to see. Raises ``FileNotFoundError`` when there is no tree.
    """
    return _root().joinpath(*parts)


@cache
def version() -> str:
    """The package's version: that of the tree which ``share`` reads, so that a checkout is not
    taken for what is installed beside it.
    """
    text = share("package.xml").read_text(encoding="utf-8")
    return text.partition("<version>")[2].partition("</version>")[0]


@cache
def _root() -> Path:
    package = Path(__file__).resolve().parent
    for folder in (package.parent, *(above / "share" / NAME for above in package.parents)):
        if (folder / "package.xml").is_file():
            return folder
    raise FileNotFoundError(
        f"expected package.xml beside {package} or share/{NAME} above it, found neither: install "
        f"the package with pip or colcon, do not copy its folder"
    )
