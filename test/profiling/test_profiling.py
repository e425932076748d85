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

"""``pose3d benchmark``: scenes, tables, pictures, comparisons; real pipeline and nodes, but
nothing about how fast.
"""

import json

import cv2
import pytest

from pose3d_ros.cli.main import main as cli
from pose3d_ros.inference import autotune
from pose3d_ros.profiling import run
from pose3d_ros.profiling.report import Measured, comparison, scene_report, scene_table
from pose3d_ros.profiling.scenes import SIZE, clip, crowd
from pose3d_ros.profiling.timeline import COLOURS, ROW, timeline
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.stopwatch import Stopwatch


@pytest.fixture
def short(monkeypatch):
    """A few frames instead of hundreds."""
    monkeypatch.setattr(run, "FRAMES", 3)
    monkeypatch.setattr(run, "ROUNDS", 2)
    monkeypatch.setattr(run, "WARM_UP", 2)


def frame(start_s, **stages):
    """A frame that begins then, whose stages take so many milliseconds, one after the other."""
    stopwatch = Stopwatch()
    for stage, milliseconds in stages.items():
        stopwatch.add(stage, start_s, start_s + milliseconds * 1e-3)
        start_s += milliseconds * 1e-3
    return stopwatch


def report(*rounds_ms, engine="cpu", **others):
    """Of rounds of three frames whose network took so long."""
    rounds = [
        [frame(0.0, pose=milliseconds, track=1) for _ in range(3)] for milliseconds in rounds_ms
    ]
    scene = scene_report(Measured("clip", rounds, 1.0, (640, 480), engine))
    return {"machine": {"processor": "a"}, "settings": {}, "scenes": {"clip": scene}, **others}


@pytest.mark.parametrize("count", [1, 3])
def test_everybody_in_a_crowd_is_a_person(count):
    runner = run.Runner(crowd(count), PipelineSettings(engine="cpu", threads=1))
    stopwatches = runner.round(3)
    runner.pipeline.close()
    assert runner.found[-1] == count and runner.scene.images[0].shape == (SIZE[1], SIZE[0], 3)
    assert all(
        {"pose", "track", "lift", "filter"} <= set(stopwatch.seconds) for stopwatch in stopwatches
    )


@pytest.mark.parametrize("count", [0, 11])
def test_a_crowd_has_to_fit_into_the_picture(count, capsys):
    assert cli(["benchmark", "--people", str(count)]) == 1
    assert (
        f"people: expected 1 to 10, as many as there is room for in a picture of 1280x720, got "
        f"{count}" in (capsys.readouterr().err)
    )


def test_a_clip_is_played_forwards_and_backwards():
    scene = clip(share("demo", "cam0.mp4"), 3)
    played = [image for image, _ in zip(scene.endless(), range(7), strict=False)]
    order = [next(i for i, image in enumerate(scene.images) if image is shown) for shown in played]
    assert order == [0, 1, 2, 1, 0, 1, 2]
    with pytest.raises(ValueError, match="cannot be opened as a video"):
        clip(share("demo", "README.md"), 3)


def test_command(short, tmp_path, capsys):
    json_file, png = tmp_path / "first.json", tmp_path / "timeline.png"
    words = ["benchmark", "--engine", "cpu", "--threads", "1"]
    assert cli([*words, "--json", str(json_file), "--png", str(png)]) == 0
    shown = capsys.readouterr().out
    written = json.loads(json_file.read_text())
    assert (
        written["settings"] == {"engine": "cpu", "threads": 1} and written["machine"]["processor"]
    )
    scene = written["scenes"]["cam0.mp4"]
    assert (scene["frames"], scene["width"], scene["height"]) == (6, 1280, 720) and 1 <= scene[
        "people"
    ] <= 2
    assert list(scene["stages"])[-5:] == ["pose", "track", "lift", "filter", "total"]
    for stage, taken in scene["stages"].items():
        assert f"\n{stage}" in shown
        assert 0 < taken["p50_ms"] <= taken["p95_ms"] <= taken["max_ms"]
    assert len(scene["stages"]["total"]["rounds_ms"]) == 2
    picture = cv2.imread(str(png))
    assert picture is not None and picture.shape[1] == 1600
    assert cli([*words, "--compare", str(json_file)]) == 0
    assert "cam0.mp4, p50 in ms  before  now" in capsys.readouterr().out


def test_the_fastest_engine_is_measured_and_remembered(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = share("models", "lifter-martinez.onnx")
    settings = PipelineSettings(
        detector="rtmo", detector_model=str(model), lifter="martinez", threads=1
    )
    chosen = run.choose(settings)
    assert list(chosen) == ["lifter-martinez"]
    assert list(tmp_path.rglob("lifter-martinez-autotune-*")), "written to the cache"
    assert autotune.stored(model) == chosen["lifter-martinez"]


def test_table():
    stopwatches = [[frame(0.0, pose=number, track=1) for number in (2, 3, 4)] for _ in range(2)]
    stopwatches[0][0].add("detect", 0.003, 0.008)
    scene = scene_report(Measured("clip", stopwatches, 1.5, (640, 480), "cpu"))
    lines = scene_table("clip", scene).splitlines()
    assert lines[0].split() == ["clip,", "ms", "p50", "p95", "max", "in", "frames", "share"]
    assert lines[1].split() == ["detect", "5.00", "5.00", "5.00", "17%", "17%"]
    assert lines[2].split() == ["pose", "3.00", "4.00", "4.00", "100%", "62%"]
    assert lines[-1] == "6 frames of 640x480, 1.5 people found in each, on cpu"


def test_only_what_lies_outside_of_the_noise_has_changed():
    before = report(5.0, 5.4, 5.2)
    assert " slower" in comparison(before, report(5.5, 6.0, 5.6))
    assert " faster" in comparison(before, report(4.0, 4.2, 4.9))
    text = comparison(before, report(5.3, 9.0, 5.4))
    assert "slower" not in text and "faster" not in text
    row = next(line for line in text.splitlines() if line.startswith("pose"))
    assert row.split() == ["pose", "5.20", "5.40", "1.04", "as", "before"]


def test_what_else_has_changed_is_said():
    now = report(5.0, machine={"processor": "b"}, settings={"threads": 1}, engine="openvino")
    text = comparison(report(5.0), now)
    assert "machine: processor was a, is b" in text
    assert "settings: threads was none, is 1" in text
    assert "clip: engine was cpu, is openvino" in text


def test_reports_that_cannot_be_compared(tmp_path, capsys):
    other = report(5.0)
    other["scenes"] = {"4 people": other["scenes"]["clip"]}
    with pytest.raises(
        ValueError, match="expected an earlier report of clip; it is of 4 people: measure the same"
    ):
        comparison(other, report(5.0))
    for text in ("[]", "{}", "no json"):
        (tmp_path / "earlier.json").write_text(text)
        assert cli(["benchmark", "--compare", str(tmp_path / "earlier.json")]) == 1
        assert "expected a report that 'pose3d benchmark --json' wrote" in capsys.readouterr().err


def test_timeline_shows_when_each_stage_ran():
    frames = [frame(0.010 * number, pose=6, lift=2) for number in range(3)]
    frames[1].add("wait", 0.016, 0.020, "in line")
    picture = timeline([("clip", frames)])
    centre = 2 * ROW + ROW // 2  # of the first thread's row
    coloured = [
        name
        for x in range(110, 1580)
        for name, bgr in COLOURS.items()
        if (picture[centre + 8, x] == bgr).all()
    ]
    changes = [
        name for name, before in zip(coloured, ["", *coloured], strict=False) if name != before
    ]
    assert changes == ["pose", "lift"] * 3
    assert coloured.count("pose") == pytest.approx(3 * coloured.count("lift"), rel=0.1)
    assert (picture[centre + ROW] == COLOURS["wait"]).all(-1).any(), (
        "what runs on no thread has a row of its own"
    )


def test_through_nodes():
    pytest.importorskip("rclpy", reason="needs rclpy")
    from pose3d_ros.nodes.profiled import play

    played = play(
        share("demo", "cam0.mp4"), PipelineSettings(engine="cpu", threads=1), warm_up=3, frames=3
    )
    assert len(played.stopwatches) == 3 and played.people >= 1 and played.engine == "cpu"
    for stopwatch in played.stopwatches:
        stages = set(stopwatch.seconds)
        assert {
            "network",
            "wait",
            "decode",
            "pose",
            "track",
            "lift",
            "filter",
            "publish",
        } <= stages
        assert sum(stopwatch.seconds.values()) <= stopwatch.total_s + 1e-9


def test_nodes_play_files_only(capsys):
    assert cli(["benchmark", "--node", "--people", "4"]) == 1
    assert "expected --node with a video, got --people" in capsys.readouterr().err
