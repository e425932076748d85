"""ROS's linters, with the package's own settings, where they are installed."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from paths import ROOT

CODE = ("benchmarks", "examples", "launch", "pose3d_ros", "scripts", "setup.py", "test")
# Ruff checks docstrings too, of these folders; the first sentence may describe and take two lines.
DOCUMENTED = ("benchmarks", "examples", "launch", "pose3d_ros", "scripts", "setup.py")
PEP257 = (
    "--convention",
    "pep257",
    "--add-ignore",
    "D105",
    "D107",
    "D205",
    "D400",
    "D401",
    "D402",
    "D403",
    "D413",
)


@pytest.mark.parametrize(
    "command",
    [
        ("ament_copyright", *CODE, "CONTRIBUTING.md", "LICENSE"),
        ("ament_flake8", "--config", "setup.cfg", *CODE),
        ("ament_pep257", *DOCUMENTED, *PEP257),
        ("ament_xmllint", "package.xml", "config"),
    ],
    ids=lambda command: command[0],
)
def test_ament(command: tuple[str, ...]) -> None:
    if shutil.which(command[0]) is None:
        pytest.skip(
            f"{command[0]} comes with a ROS distribution, and with Debian's python3-ament packages"
        )
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False
    )
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-1000:]}"
