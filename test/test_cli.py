"""The ``pose3d`` command: dispatch, help, exit codes, one line per error."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from pose3d_ros.arguments import NODES, arguments, parameters
from pose3d_ros.cli import COMMANDS, main
from pose3d_ros.settings import SettingsError


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "pose3d_ros.cli", *words], capture_output=True, text=True, timeout=60,
                          cwd=Path(__file__).parents[1], check=False)


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    if needed := {"up": "rclpy", "demo": "rclpy", "train": "torch", "networks": "torch"}.get(command):
        pytest.importorskip(needed, reason=f"needs {needed}")
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert f"pose3d {command}" in capsys.readouterr().out


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dance"])
    assert ended.value.code == 2
    assert "invalid choice: 'dance'" in capsys.readouterr().err


def test_what_is_not_installed_is_named(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("pose3d_ros.nodes")]:
        monkeypatch.delitem(sys.modules, module)
    for name in [name for name in sys.modules if name.split(".")[0] == "rclpy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert main(["up", "monocular"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pose3d up: needs rclpy, which is not installed: source a ROS distribution")
    assert error.count("\n") == 1


def test_help_of_up_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    with pytest.raises(SystemExit):
        main(["up", "--help"])
    shown = capsys.readouterr().out
    for node in NODES.values():
        assert all(f"{spec.name}:=" in shown and spec.metadata["description"] in shown for spec in fields(node))


@pytest.mark.parametrize(("words", "expected"), [
    (["juggler"], "expected nodes among monocular, video, got 'juggler'"),
    (["use_sim_time:=true"], "expected at least one node"),
    (["monocular", "colour:=red"], "unknown argument colour"),
    (["monocular", "detector:=magic"], "detector: expected one of blazepose"),
    (["monocular", "smoothing:=much"], "smoothing: expected float"),
    (["monocular", "smoothing:=11"], "smoothing: expected 0 to 10, got 11"),
    (["monocular", "log_level:=loud"], "log_level: expected one of debug"),
    (["monocular", "config:=/nowhere.yaml"], "/nowhere.yaml, which does not exist"),
])
def test_wrong_arguments_of_up(words: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    assert main(["up", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pose3d up: ") and expected in error and error.count("\n") == 1


def test_arguments_become_typed_parameters() -> None:
    given = {"smoothing": "1", "lift": "false", "max_people": "2", "lifter": "", "video": "clip.mp4", "loop": "True"}
    assert parameters("monocular", given) == {"smoothing": 1.0, "lift": False, "max_people": 2}
    assert parameters("video", given) == {"source": "clip.mp4", "loop": True}
    with pytest.raises(SettingsError, match="lift: expected bool.*max_people: expected int"):
        parameters("monocular", {"max_people": "two", "lift": "perhaps"})


def test_arguments_have_descriptions_and_choices() -> None:
    listed = arguments(NODES)
    assert all(argument.description for argument in listed.values())
    assert listed["lifter"].choices == ("", "videopose3d", "martinez")
    assert {"namespace", "config", "image", "camera_info", "video", "use_sim_time", "log_level"} <= set(listed)


def test_up_plays_a_video_and_ends_with_it(tmp_path: Path) -> None:
    """As a user starts it: a process of its own, arguments over the configuration file, the namespace."""
    pytest.importorskip("rclpy", reason="needs rclpy")
    cv2, np = pytest.importorskip("cv2"), pytest.importorskip("numpy")
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((48, 64, 3), np.uint8))
    config = tmp_path / "config.yaml"
    config.write_text("/**/video:\n  ros__parameters:\n    rate_hz: 50.0\n    frame_id: from_file\n")
    ended = run("up", "video", f"source:={tmp_path}", f"config:={config}", "namespace:=robot")
    assert ended.returncode == 0, ended.stderr
    assert "robot.video" in ended.stderr and "3 images sent" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_up_refuses_what_a_node_refuses(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    broken = tmp_path / "broken.yaml"
    broken.write_text("/**/video: [not parameters")
    for words, expected in ((["video:=/nowhere.mp4"], "cannot configure: source"),
                            ([f"config:={broken}"], "broken.yaml")):
        ended = run("up", "video", *words)
        assert ended.returncode == 1
        assert expected in ended.stderr and "Traceback" not in ended.stderr, ended.stderr
