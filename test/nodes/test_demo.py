"""``pose3d demo``: the nodes in processes of their own, and the film of what they publish."""

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest
from paths import ROOT

pytest.importorskip("rclpy", reason="needs rclpy")


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


@pytest.mark.slow
def test_the_demo_tells_and_shows_what_it_saw(tmp_path):
    done = demo("--seconds", 3, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert number(r"rate +([\d.]+) Hz", done.stdout) > 0
    assert number(r"people +([\d.]+) on average", done.stdout) > 0.5
    picture = np.asarray(cv2.imread(str(tmp_path / "demo.png")))
    assert picture.shape == (360, 1280, 3)
    space = picture[:, 640:].astype(int)
    assert (np.ptp(space, -1) > 80).sum() > 200  # coloured limbs on a grey floor
    film = cv2.VideoCapture(str(tmp_path / "demo.mp4"))
    processed = number(r"(\d+) processed", done.stdout)  # few, on a busy machine
    assert processed / 2 < film.get(cv2.CAP_PROP_FRAME_COUNT) <= processed


@pytest.mark.slow
def test_a_source_that_does_not_exist_ends_the_demo_in_one_line(tmp_path):
    done = demo("nowhere.mp4", "--output", tmp_path)
    assert done.returncode == 1
    assert "nowhere.mp4" in done.stderr
    assert "pose3d demo: the video node gave up" in done.stderr
    assert "Traceback" not in done.stderr
