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

"""The ``pose3d`` command: dispatch, help, exit codes, one line per error."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from conftest import wait_for
from paths import ROOT

from pose3d_ros.arguments import NODES, ONE_CAMERA, arguments, parameters
from pose3d_ros.cli.main import COMMANDS, main
from pose3d_ros.errors import missing_package
from pose3d_ros.settings import LIFTERS, SettingsError

pytestmark = pytest.mark.installed


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pose3d_ros.cli", *words],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        check=False,
    )


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert all(command in shown for command in COMMANDS)


ABSENT = [
    "rclpy",
    "sensor_msgs",
    "launch",
    "torch",
    "onnx",
    "tflite",
    "openvino",
    "rosbags",
    "av",
    "tqdm",
    "moderngl",
    "h5py",
    "cdflib",
    "safetensors",
    "tensorboard",
    "onnxscript",
    "viser",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_without_ros_torch_and_optional_packages(command: str) -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(sys.argv.pop(1).split())); "
        "from pose3d_ros.cli.main import main; sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, " ".join(ABSENT), command, "--help"],
        cwd=ROOT,
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert f"pose3d {command}" in done.stdout


def test_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert re.fullmatch(r"pose3d_ros \d+\.\d+\.\d+\n", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("cv2", "needs opencv-python-headless, .*: pip install opencv-python-headless$"),
        ("yaml", "needs pyyaml, .*: pip install pyyaml$"),
        ("torch.nn", r"needs torch, .*: pip install 'pose3d-ros\[train\]'$"),
        ("rosbags", r"needs rosbags, .*: pip install 'pose3d-ros\[bags\]'$"),
        ("sensor_msgs", r"source a ROS distribution, or pip install 'pose3d-ros\[ros\]'$"),
    ],
)
def test_a_missing_package_is_named_as_pip_knows_it(module: str, said: str) -> None:
    assert re.search(said, missing_package(module))


def test_an_unknown_command_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["dance"])
    assert ended.value.code == 2
    assert "invalid choice: 'dance'" in capsys.readouterr().err


def test_what_is_not_installed_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("pose3d_ros.nodes")]:
        monkeypatch.delitem(sys.modules, module)
    for name in [name for name in sys.modules if name.split(".")[0] == "rclpy"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rclpy", None)
    assert main(["up", "monocular"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(
        "pose3d up: needs rclpy, which is not installed: source a ROS distribution"
    )
    assert error.count("\n") == 1


def test_help_of_up_lists_every_setting(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    with pytest.raises(SystemExit):
        main(["up", "--help"])
    shown = capsys.readouterr().out
    for node in NODES.values():
        assert all(
            f"{spec.name}:=" in shown and spec.metadata["description"] in shown
            for spec in fields(node)
            if spec.name != "cameras"
        ), "which a rig file names"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ["juggler"],
            "expected nodes among monocular, video, multiview, separation, viewer, humans, recorder, got 'juggler'",
        ),
        (["use_sim_time:=true"], "expected at least one node"),
        (["monocular", "colour:=red"], "unknown argument colour"),
        (["monocular", "output:=a.csv"], "output is an argument of recorder: start that too"),
        (["monocular", "detector:=magic"], "detector: expected one of auto, blazepose"),
        (["monocular", "smoothing:=much"], "smoothing: expected float"),
        (["monocular", "smoothing:=11"], "smoothing: expected 0 to 10, got 11"),
        (["monocular", "log_level:=loud"], "log_level: expected one of debug"),
        (["monocular", "config:=/nowhere.yaml"], "/nowhere.yaml, which does not exist"),
        (["monocular", "monocular"], "expected each node once, got monocular monocular"),
        (
            ["monocular", "namespace:=9bad"],
            "namespace: got '/9bad'; Invalid namespace: namespace must not have a token",
        ),
        (
            ["monocular", "depth:=9x"],
            "depth: got '9x'; topic name '9x' is invalid: topic name token must not start",
        ),
        (["multiview"], "rig: expected a rig file"),
        (["multiview", "rig:=/nowhere.yaml"], "/nowhere.yaml: No such file"),
        (
            ["multiview", "video", "rig:=rig.yaml"],
            "expected multiview alone or with viewer, humans, recorder, separation, got multiview video",
        ),
        (["multiview", "rig:=rig.yaml", "image:=/camera/image"], "unknown argument image"),
        (
            ["monocular", "image:=bad//topic"],
            "image: got 'bad//topic'; Invalid topic name: topic name must not contain",
        ),
    ],
)
def test_wrong_arguments_of_up(
    words: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    assert main(["up", *words]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pose3d up: ") and expected in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/**/video: [not parameters", "broken.yaml is not YAML: while parsing"),
        ("- video", "expected nodes with ros__parameters in"),
        ("", "expected nodes with ros__parameters in"),
    ],
)
def test_wrong_configuration_files(
    text: str, expected: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    (tmp_path / "broken.yaml").write_text(text)
    assert main(["up", "monocular", f"config:={tmp_path / 'broken.yaml'}"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("pose3d up: config: ") and expected in error and error.count("\n") == 1


def test_a_reader_that_goes_away_is_no_failure_to_report() -> None:
    """As ``pose3d models list | head -1``, which ends after the first line."""
    command = [sys.executable, "-m", "pose3d_ros.cli", "models", "list"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 128 + signal.SIGPIPE


def planned(*words: str) -> dict[str, dict[str, object]]:
    """Parameters that ``pose3d up`` gives the nodes over those of the configuration file."""
    up = pytest.importorskip("pose3d_ros.nodes.up", reason="needs rclpy")
    return {
        factory.func.__name__: {p.name: p.value for p in factory.keywords["parameter_overrides"]}
        for factory in up.plan(list(words))[0]
    }


def test_a_video_beside_the_pose_node_waits_for_it() -> None:
    assert planned("video", "source:=clip.mp4")["VideoNode"] == {"source": "clip.mp4"}
    assert planned("monocular", "video:=clip.mp4")["VideoNode"]["wait_for_subscribers"] == 1
    both = planned("monocular", "video:=clip.mp4", "wait_for_subscribers:=0")
    assert both["VideoNode"]["wait_for_subscribers"] == 0


RIG = """
cameras:
  left: {camera_matrix: [[500, 0, 320], [0, 500, 240], [0, 0, 1]], image_width: 640, image_height: 480,
    position_m: [0, 0, 1], orientation_xyzw: [0, 0, 0, 1], video: left.mp4}
  right: {camera_matrix: [[500, 0, 320], [0, 500, 240], [0, 0, 1]], image_width: 640, image_height: 480,
    position_m: [1, 0, 1], orientation_xyzw: [0, 0, 0, 1], image: /usb/image_raw, namespace: /robot/right}
  door: {camera_matrix: [[500, 0, 320], [0, 500, 240], [0, 0, 1]], image_width: 640, image_height: 480,
    position_m: [2, 0, 1], orientation_xyzw: [0, 0, 0, 1], video: /dev/video7, frame_id: door_frame}
"""


def test_a_rig_brings_the_nodes_of_its_cameras(tmp_path: Path) -> None:
    up = pytest.importorskip("pose3d_ros.nodes.up", reason="needs rclpy")
    (tmp_path / "rig.yaml").write_text(RIG)
    rig = str(tmp_path / "rig.yaml")
    with pytest.raises(ValueError, match="left.mp4', which does not exist"):
        up.plan(["multiview", f"rig:={rig}"])
    (tmp_path / "left.mp4").touch()
    factories, ros_arguments = up.plan(
        ["multiview", f"rig:={rig}", "threads:=2", "rate_hz:=5", "namespace:=/lab/"]
    )
    started = [
        (
            f.func.__name__,
            f.keywords["namespace"],
            f.keywords["cli_args"],
            {p.name: p.value for p in f.keywords["parameter_overrides"]},
        )
        for f in factories
    ]

    def camera(name):
        return {"threads": 2, "rig": rig, "rig_camera": name}

    assert started == [
        ("MultiviewNode", "lab", None, {"rig": rig}),
        ("MonocularNode", "lab/left", None, camera("left")),
        (
            "MonocularNode",
            "robot/right",
            ["--ros-args", "-r", "image:=/usb/image_raw"],
            camera("right"),
        ),
        ("MonocularNode", "lab/door", None, camera("door")),
        (
            "VideoNode",
            "lab/door",
            None,
            {
                "source": "/dev/video7",
                "frame_id": "door_frame",
                "rate_hz": 5.0,
                "wait_for_subscribers": 1,
            },
        ),
        ("VideoNode", "lab", None, {"rig": rig, "rate_hz": 5.0, "wait_for_subscribers": 1}),
    ]
    assert any(word.endswith("multiview.yaml") for word in ros_arguments)


def test_simulated_time_is_the_configuration_files_unless_given() -> None:
    assert "use_sim_time" not in planned("monocular")["MonocularNode"]
    assert planned("monocular", "use_sim_time:=true")["MonocularNode"]["use_sim_time"] is True
    assert planned("monocular", "use_sim_time:=false")["MonocularNode"]["use_sim_time"] is False


def test_arguments_become_typed_parameters() -> None:
    given = {
        "smoothing": "1",
        "lift": "false",
        "max_people": "2",
        "lifter": "",
        "video": "clip.mp4",
        "loop": "True",
    }
    assert parameters("monocular", given) == {"smoothing": 1.0, "lift": False, "max_people": 2}
    assert parameters("video", given) == {"source": "clip.mp4", "loop": True}
    with pytest.raises(SettingsError, match="lift: expected bool.*max_people: expected int"):
        parameters("monocular", {"max_people": "two", "lift": "perhaps"})


def test_arguments_have_descriptions_and_choices() -> None:
    listed = arguments(ONE_CAMERA)
    assert all(
        argument.description
        for argument in [*listed.values(), *arguments(("multiview",)).values()]
    )
    assert listed["lifter"].choices == ("", *LIFTERS)
    assert {
        "namespace",
        "config",
        "image",
        "camera_info",
        "video",
        "use_sim_time",
        "log_level",
    } <= set(listed)


def test_up_plays_a_video_and_ends_with_it(tmp_path: Path) -> None:
    """As a user starts it: a process of its own, arguments over the configuration file, the
    namespace.
    """
    pytest.importorskip("rclpy", reason="needs rclpy")
    cv2, np = pytest.importorskip("cv2"), pytest.importorskip("numpy")
    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros((48, 64, 3), np.uint8))
    config = tmp_path / "config.yaml"
    config.write_text(
        "/**/video:\n  ros__parameters:\n    rate_hz: 50.0\n    frame_id: from_file\n"
    )
    ended = run("up", "video", f"source:={tmp_path}", f"config:={config}", "namespace:=robot")
    assert ended.returncode == 0, ended.stderr
    assert "robot.video" in ended.stderr and "3 images sent" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_up_refuses_what_a_node_refuses(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    broken = tmp_path / "broken.yaml"
    broken.write_text("/**/video:\n  ros__parameters:\n    source: [1, two]\n")
    for words, expected in (
        (["video:=/nowhere.mp4"], "cannot configure: source"),
        ([f"config:={broken}"], "broken.yaml"),
    ):
        ended = run("up", "video", *words)
        assert ended.returncode == 1
        assert expected in ended.stderr and "Traceback" not in ended.stderr, ended.stderr


def test_up_leaves_out_an_image_that_cannot_be_read(tmp_path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    cv2, np = pytest.importorskip("cv2"), pytest.importorskip("numpy")
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / "1.png").write_text("not a picture")
    ended = run("up", "video", f"source:={tmp_path}", "rate_hz:=50")
    assert ended.returncode == 0
    assert "an image is left out" in ended.stderr and "1.png" in ended.stderr, ended.stderr
    assert "1 images sent" in ended.stderr


def test_up_survives_a_transition_that_its_state_does_not_have(ros: Any, tmp_path: Path) -> None:
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState, GetState

    cv2, np = pytest.importorskip("cv2"), pytest.importorskip("numpy")
    cv2.imwrite(str(tmp_path / "0.png"), np.zeros((48, 64, 3), np.uint8))
    node = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "pose3d_ros.cli",
            "up",
            "video",
            f"source:={tmp_path}",
            "wait_for_subscribers:=1",
        ],
        cwd=ROOT,
    )
    try:
        change = ros.node.create_client(ChangeState, "/pose3d/video/change_state")
        state = ros.node.create_client(GetState, "/pose3d/video/get_state")
        assert change.wait_for_service(60) and state.wait_for_service(60)
        asked = state.call_async(GetState.Request())
        wait_for(asked.done, "the state", 20)  # answered once the node is active
        change.call_async(
            ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        )
        ros.line("change_state: transition 1 was refused", "the node is active")
        asked = state.call_async(GetState.Request())
        wait_for(asked.done, "the state", 20)
        assert asked.result().current_state.label == "active"
    finally:
        node.terminate()
        assert node.wait(20) == 0
