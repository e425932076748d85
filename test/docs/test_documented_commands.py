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

"""The commands and the Python of the documentation: all are understood, and all that can run here
are run, on half a second of the demo's clip.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from importlib import import_module
from itertools import islice
from pathlib import Path
from threading import Timer
from typing import NamedTuple

import pytest
from clips import write_clip
from paths import ROOT

from pose3d_ros.arguments import ONE_CAMERA, RIG, arguments
from pose3d_ros.cli.main import COMMANDS
from pose3d_ros.io.videos import frames

PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
FENCED = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FRAMES, START_S = 15, 60.0
NOT_RUN = {
    r"^(cd|git|rosdep|colcon|cp|\.) ": "needs a workspace, or a network",
    r"^(pip|sudo|scripts/venv) ?": "installs something",
    r"^(ros2|export) ": "needs a ROS distribution",
    r"^docker |^IMAGE=": "needs a container engine",
    r"^ROS_\w+=": "needs a camera of the network",
    r"^scripts/demo": "makes an environment first; the command that it ends with is run",
    r"^(scripts/test|\.venv/bin/(mkdocs|python)) ?": "is what runs this test",
    r"/dev/video|pose3d demo 0": "needs a camera",
    r"MAKEHUMAN|CMU_MOCAP|RECORDINGS|DATASET|SEEN|OUT|output/": "needs data: docs/data.md",
    r"\b(left|right|film|clip|list|day1|VIDEO|FOLDER)\b": "needs a recording of yours",
    r"\bboard\.mp4|calibration/": "needs a film of a board",
    r"(?<!demo/)\brig\.yaml|calibration\.toml": "needs a rig of yours",
    r"\.(pth|onnx|json)\b": "needs a file that another command has made",
    r"^pose3d (doctor|benchmark|models build)": "takes minutes; has tests of its own",
    r"^python test/faults": "takes minutes; has a test of its own",
    r"read_joints\.py|^pose3d demo --view$": "run below, side by side",
}
"""Pattern of commands that are not run here -> the reason."""


class Command(NamedTuple):
    """A command of a page."""

    page: str
    text: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text.partition(" > ")[0])


def blocks(language: str) -> list[tuple[str, str]]:
    """Page and text of each fenced block of a language."""
    return [
        (str(page.relative_to(ROOT)), text)
        for page in PAGES
        for name, text in FENCED.findall(page.read_text())
        if name == language
    ]


def commands() -> list[Command]:
    """Every command of every block, without comments, each once."""
    found: dict[str, Command] = {}
    for page, block in blocks("bash"):
        for line in block.replace("\\\n", " ").splitlines():
            for text in re.sub(r"(^|\s)#.*", "", line).split("&&"):
                if text := " ".join(text.split()):
                    found.setdefault(text, Command(page, text))
    return list(found.values())


def reason(command: Command) -> str | None:
    """Why a command is not run here, or None."""
    return next((why for what, why in NOT_RUN.items() if re.search(what, command.text)), None)


@pytest.fixture
def folder(clone: Path, tmp_path: Path) -> Path:
    """A folder of a test's own with all that the clone has."""
    for path in clone.iterdir():
        tmp_path.joinpath(path.name).symlink_to(path)
    return tmp_path


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user's clone has, with half a second of the clips, and `pose3d` in bin/."""
    made = tmp_path_factory.mktemp("clone")
    for name in ("config", "examples"):
        made.joinpath(name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "demo", made / "demo", ignore=shutil.ignore_patterns("*.mp4"))
    for name in ("cam0", "cam1"):
        images = [image for image, _ in islice(frames(ROOT / f"demo/{name}.mp4"), FRAMES)]
        times_ms = [1000 * number // 30 for number in range(FRAMES)]
        write_clip(made / f"demo/{name}.mp4", times_ms, images=images, rate=30)
    rig = (made / "demo/rig.yaml").read_text()
    made.joinpath("rig.yaml").write_text(rig.replace("video: cam", "video: demo/cam"))
    for name in (
        "left",
        "right",
        "board",
        "clip",
        "room/left",
        "room/right",
    ):  # recordings of yours
        made.joinpath(f"{name}.mp4").parent.mkdir(exist_ok=True)
        made.joinpath(f"{name}.mp4").symlink_to(made / "demo/cam0.mp4")
    program = made / "bin" / "pose3d"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m pose3d_ros.cli "$@"\n')
    program.chmod(0o755)
    return made


def start(command: str, folder: Path) -> subprocess.Popen[str]:
    path = os.pathsep.join(
        [str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    )
    python_path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    return subprocess.Popen(
        f"exec {command}",
        shell=True,
        cwd=folder,
        env={**os.environ, "PATH": path, "PYTHONPATH": python_path, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def read_until(process: subprocess.Popen[str], pattern: str) -> str:
    """What a process prints up to ``pattern``."""
    assert process.stdout is not None
    said, patience = "", Timer(START_S, process.kill)
    patience.start()
    for line in process.stdout:
        said += line
        if re.search(pattern, line):
            break
    patience.cancel()
    assert re.search(pattern, said), said
    return said


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.text[:60])
def test_every_command_is_understood(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    words = command.words
    if words[0].startswith("torchrun"):
        words = ["pose3d", *words[words.index("pose3d_ros.cli") + 1 :]]
    if words[0] in ("pose3d", ".venv/bin/pose3d"):
        understood(words[1], words[2:])
    elif words[:2] == ["ros2", "launch"]:
        assert ROOT.joinpath("launch", words[3]).is_file()
        known = {*arguments(ONE_CAMERA), *arguments(RIG), "rviz", "--show-args"}
        assert {word.partition(":=")[0] for word in words[4:]} <= known
    elif words[:3] == ["ros2", "run", "pose3d_ros"]:
        setup = (ROOT / "setup.py").read_text()
        assert f'"{words[3].removesuffix(".py")}"' in setup
    elif words[0] in ("python", "python3") and words[1] != "-m":
        assert ROOT.joinpath(words[1]).is_file()
    elif words[0].startswith("scripts/"):
        assert os.access(ROOT / words[0], os.X_OK)
    else:
        assert reason(command), f"{command}: neither run nor excused; see NOT_RUN"


def understood(name: str, words: list[str]) -> None:
    """That ``pose3d`` takes these arguments; raises ``SystemExit`` or ``ValueError``."""
    assert name in COMMANDS
    if name == "up":
        pytest.importorskip("rclpy", reason="needs rclpy")
        from pose3d_ros.nodes.up import plan

        plan(words)
        return
    module = import_module(f"pose3d_ros.cli.{name}")
    parser = argparse.ArgumentParser(prog=f"pose3d {name}")
    module.add_arguments(parser)
    parser.parse_args(words)


def test_every_reason_holds_for_some_command() -> None:
    for pattern in NOT_RUN:
        assert any(re.search(pattern, command.text) for command in commands()), pattern


@pytest.mark.parametrize(
    "command",
    [command for command in commands() if reason(command) is None],
    ids=lambda command: command.text[:60],
)
def test_commands_run(command: Command, folder: Path) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    process = start(command.text, folder)
    try:
        said = ""
        if command.words[1] == "up":  # goes on until Ctrl-C
            said = read_until(process, r"ready")
            process.send_signal(signal.SIGINT)
        said += process.communicate(timeout=START_S)[0]
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "Traceback" not in said


def test_the_example_hears_what_the_documentation_starts(folder: Path) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    page = (ROOT / "docs/tutorials/reading_joints.md").read_text()
    nodes_line, example_line = (
        next(line for line in page.splitlines() if line.startswith(word))
        for word in ("pose3d demo --view", "python3 examples/read_joints.py")
    )
    nodes, example = start(nodes_line, folder), start(example_line, folder)
    try:
        read_until(
            example, r"l_wrist in camera_optical: person \d+ at -?\d+\.\d+ .* m, sigma \d\.\d\d m"
        )
    finally:
        for process in (example, nodes):
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=START_S)
    assert (nodes.returncode, example.returncode) == (0, 0)


@pytest.mark.parametrize(("page", "code"), blocks("python"), ids=lambda text: text[:40])
def test_python_runs(page: str, code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    exec(compile(code, page, "exec"), {"__name__": "example"})
