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

"""The documentation site is built, without a dead link, and says what the package does."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from paths import ROOT

from pose3d_ros.arguments import NODES
from pose3d_ros.cli.main import COMMANDS

ROW = re.compile(r"^\| `([^`]+)` \|", re.MULTILINE)


def test_site_is_built_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("material", reason="needs mkdocs-material: pip install '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    parameters = (tmp_path / "reference/parameters.html").read_text()
    assert all(spec.name in parameters for node in NODES.values() for spec in fields(node))
    commands = (tmp_path / "reference/commands.html").read_text()
    assert all(f'id="pose3d-{name}"' in commands for name in COMMANDS)
    assert "tracked metric 3D skeletons" in (tmp_path / "index.html").read_text()
    assert "joints_m" in (tmp_path / "reference/api.html").read_text()


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 150


def test_pictures_are_small() -> None:
    pictures = [path for path in ROOT.glob("docs/pictures/*") if path.is_file()]
    assert pictures and sum(path.stat().st_size for path in pictures) < 1_500_000


def test_messages_of_the_troubleshooting_page_are_those_of_the_package() -> None:
    texts = [
        text
        for path in ROOT.glob("pose3d_ros/**/*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if (text := text_of(node)) is not None
    ]
    messages = ROW.findall((ROOT / "docs/troubleshooting.md").read_text())
    assert len(messages) > 20
    for message in messages:
        parts = [part for part in message.split("...") if len(part.strip(" :,'")) > 1]
        assert any(in_order(parts, text) for text in texts), message


def text_of(node: ast.AST) -> str | None:
    """A string of the source, with ``...`` where it has values."""
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "..." for part in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def in_order(parts: list[str], text: str) -> bool:
    """Whether the text has all parts, one after the other."""
    at = 0
    for part in parts:
        if (at := text.find(part, at)) < 0:
            return False
        at += len(part)
    return True
