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

"""``pose3d demo``: the nodes in processes of their own, and the film of what they publish."""

import re
import subprocess
import sys
import time
from argparse import ArgumentParser
from importlib import import_module
from pathlib import Path
from unittest.mock import Mock

import cv2
import numpy as np
import pytest
from paths import ROOT

pytestmark = pytest.mark.installed

pytest.importorskip("rclpy", reason="needs rclpy")

from pose3d_ros.cli.main import main  # noqa: E402
from pose3d_ros.nodes import demo as demo_node  # noqa: E402
from pose3d_ros.nodes import up  # noqa: E402


def demo(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "pose3d_ros.cli", "demo", *map(str, arguments)],
        cwd=ROOT,
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )


def number(pattern, text):
    found = re.search(pattern, text)
    assert found, text
    return float(found.group(1))


def test_the_demo_tells_and_shows_what_it_saw(tmp_path):
    done = demo("--seconds", 3, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert number(r"rate +([\d.]+) Hz", done.stdout) > 0
    processed = number(r"(\d+) processed", done.stdout)
    picture = np.asarray(cv2.imread(str(tmp_path / "demo.png")))
    assert picture.shape == (360, 1280, 3)
    if processed >= 10:  # on a busy machine it is over before anybody is known
        assert number(r"people +([\d.]+) on average", done.stdout) > 0.5
        space = picture[:, 640:].astype(int)
        assert (np.ptp(space, -1) > 80).sum() > 200  # coloured limbs on a grey floor
    film = cv2.VideoCapture(str(tmp_path / "demo.mp4"))
    assert processed / 2 < film.get(cv2.CAP_PROP_FRAME_COUNT) <= processed
    sent = number(r"images +(\d+) sent", done.stdout)
    assert sent - processed <= demo_node.UNHEARD, "images wait for the joints of the last one"
    assert "no message on" not in done.stderr
    # a machine that takes seconds for an image is told so, and rightly
    told = [line for line in done.stderr.splitlines() if " for an image within " not in line]
    assert not any("WARN" in line or "ERROR" in line for line in told), done.stderr


def test_every_next_step_is_a_command_that_is_understood(monkeypatch):
    monkeypatch.chdir(ROOT)
    told = re.findall(r":\s+(\S+) (.+)$", demo_node.next_steps(), re.MULTILINE)
    assert [words.split()[0] for _, words in told] == ["demo", "demo", "up", "track"]
    for _, words in told:
        arguments = words.split()
        if arguments[0] == "up":
            assert up.plan(arguments[1:])
        else:
            command, parser = import_module(f"pose3d_ros.cli.{arguments[0]}"), ArgumentParser()
            command.add_arguments(parser)
            parser.parse_args(arguments[1:])
    assert all(Path(word).exists() for word in told[-1][1].split() if word.startswith("demo/"))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.mp4"], "source: expected a video.* got nowhere.mp4, which does not exist$"),
        (["/dev/video77"], "got /dev/video77, which does not exist; cameras of this machine: "),
        (["77"], "got /dev/video77, which does not exist; cameras of this machine: "),
        (["--calibration", "NOT_THERE.yaml", "."], "calibration file NOT_THERE.yaml: No such"),
    ],
)
def test_what_is_not_there_ends_the_demo_in_one_line(words, said, capsys):
    assert main(["demo", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pose3d demo: ") and error.count("\n") == 1
    assert re.search(said, error), error


@pytest.mark.parametrize("seconds", ["-3", "0", "nan", "many"])
def test_a_time_that_cannot_be_is_wrong_usage(seconds, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["demo", "--seconds", seconds])
    assert ended.value.code == 2
    assert f"expected a time above 0, such as 30, got '{seconds}'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_source_that_cannot_be_played_ends_the_demo_with_a_reason(tmp_path):
    (tmp_path / "clip.mp4").write_text("no video")
    done = demo(tmp_path / "clip.mp4", "--output", tmp_path)
    assert done.returncode == 1
    assert "clip.mp4" in done.stderr
    assert "pose3d demo: the video node gave up" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_slow_machine_is_waited_for_as_long_as_something_goes_on():
    running = Mock(poll=lambda: None)
    end = time.monotonic() + 0.4
    demo_node._wait(
        lambda: time.monotonic() > end, 0.2, running, running, progress=time.monotonic_ns
    )
    with pytest.raises(TimeoutError, match="waited 0.2 s for the nodes in vain"):
        demo_node._wait(lambda: False, 0.2, running, running)
