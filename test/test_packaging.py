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

"""Version, dependencies and address of the package are the same wherever they are said."""

from __future__ import annotations

import ast
import re
import sys
from typing import Any
from xml.etree import ElementTree

import pytest
from paths import ROOT

import pose3d_ros

if sys.version_info >= (3, 11):
    import tomllib
else:
    tomllib = pytest.importorskip("tomli")

MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()


def project() -> dict[str, Any]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def names(requirements: list[str]) -> set[str]:
    """Names of distributions, as pip compares them."""
    found = (re.match(r"[\w.-]+", line) for line in requirements)
    return {re.sub(r"[-_.]+", "-", match.group()).lower() for match in found if match}


def listed(file: str) -> set[str]:
    """Names in a file of requirements/, without what it includes."""
    return names(
        [
            line
            for line in (ROOT / "requirements" / file).read_text().splitlines()
            if line[:1] not in ("#", "-", "")
        ]
    )


def setup_arguments() -> dict[str, Any]:
    """Arguments of ``setup()`` that are literals."""
    call = next(
        node
        for node in ast.walk(ast.parse((ROOT / "setup.py").read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("setup")
    )
    return {
        word.arg: word.value.value
        for word in call.keywords
        if word.arg and isinstance(word.value, ast.Constant)
    }


def test_one_version() -> None:
    version = MANIFEST.findtext("version")
    assert version and re.fullmatch(r"\d+\.\d+\.\d+", version)
    assert pose3d_ros.__version__ == version
    assert setup_arguments()["version"] == version
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()


def test_a_name_that_the_package_does_not_have() -> None:
    with pytest.raises(AttributeError, match="pose3d_ros.*no_such_name"):
        pose3d_ros.no_such_name  # noqa: B018


def test_the_manifest_and_pip_say_the_same() -> None:
    maintainer = MANIFEST.find("maintainer")
    assert maintainer is not None
    assert project()["maintainers"] == [
        {"name": maintainer.text, "email": maintainer.get("email")}
    ]
    assert setup_arguments()["license"] == MANIFEST.findtext("license")
    assert (MANIFEST.findtext("description") or "").rstrip(".") == project()["description"]
    links = {link.get("type"): link.text for link in MANIFEST.findall("url")}
    assert links == {
        "repository": project()["urls"]["Repository"],
        "bugtracker": project()["urls"]["Issues"],
    }


def test_pinned_environments_hold_what_the_extras_name() -> None:
    extras = {
        extra: names(lines) - {"pose3d-ros"}
        for extra, lines in project()["optional-dependencies"].items()
    }
    needed = names(project()["dependencies"])
    assert listed("run.txt") == needed | {"setuptools"}.union(
        *(extras[extra] for extra in ("files", "onnx", "ros", "viewer"))
    )
    assert listed("train.txt") == extras["train"]
    assert listed("test.txt") == extras["test"].union(
        *(extras[e] for e in ("cluster", "dev", "docs", "openvino", "tensorrt"))
    )
    pinned = listed("pins.txt")
    assert needed | set().union(*extras.values()) <= pinned


def test_everything_public_is_typed() -> None:
    assert (ROOT / "pose3d_ros" / "py.typed").is_file()
