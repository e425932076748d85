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

"""What every node of the package does: answers, survives, says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from paths import ROOT

pytest.importorskip("rclpy", reason="needs rclpy")
from conftest import wait_for
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.msg import ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.parameter import Parameter
from std_msgs.msg import Int32

from pose3d_ros.nodes import managed_node
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.nodes.parameter_files import unused_files
from pose3d_ros.settings import NodeSettings, setting


@dataclass(frozen=True)
class CounterSettings(NodeSettings):
    """A live setting, and one that is read when the node is configured."""

    gain: float = setting(1.0, "Gain", low=0.0, high=10.0, live=True)
    kind: str = setting("even", "Numbers to count", choices=("even", "odd"))
    autostart: bool = setting(False, "Start at once")


class Counter(ManagedNode[CounterSettings]):
    """Counts numbers; a negative one is more than it can bear."""

    def __init__(self, **options: Any) -> None:
        super().__init__("counter", CounterSettings, **options)
        self.counted: list[int] = []
        self.used = ""
        self.create_subscription(
            Int32, "numbers", self.guarded("a message on /numbers", self.count), 10
        )

    def configure(self) -> None:
        self.used = self.settings.kind

    def count(self, message: Int32) -> None:
        if message.data < 0:
            raise ZeroDivisionError("below zero")
        self.counted.append(message.data)


@pytest.fixture
def counter(ros: Any) -> Counter:
    node: Counter = ros.add(Counter())
    return node


def call(ros: Any, kind: Any, name: str, request: Any) -> Any:
    client = ros.node.create_client(kind, f"/counter/{name}")
    assert client.wait_for_service(10)
    future = client.call_async(request)
    wait_for(future.done, f"an answer of {name}")
    return future.result()


def change(ros: Any, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(call(ros, ChangeState, "change_state", request).success)


def set_parameter(ros: Any, name: str, value: Any) -> Any:
    wanted = ParameterMessage(name=name, value=Parameter(name, value=value).get_parameter_value())
    request = SetParameters.Request(parameters=[wanted])
    return call(ros, SetParameters, "set_parameters", request).results[0]


def test_an_exception_in_a_callback_is_one_line_and_the_next_message_counts(
    ros: Any, counter: Counter
) -> None:
    numbers = ros.publisher(Int32, "numbers")
    for number in (1, -1, 2):
        numbers.publish(Int32(data=number))
    wait_for(lambda: counter.counted == [1, 2], "the other messages")
    line = ros.line("skipped a message on /numbers", "ZeroDivisionError: below zero")
    assert "test_managed_node.py:" in line


def test_a_cause_is_said_once_until_it_is_gone(
    ros: Any, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What else the text tells, such as which topics there are, may change meanwhile."""
    for hour, text in enumerate(("first", "second", "third")):
        monkeypatch.setattr(time, "monotonic", lambda hour=hour: 3600.0 * hour)
        counter.problem("image", f"nobody sends: {text}", cause="nobody sends")
        assert counter.problems["image"].endswith(text)
        if text == "second":
            counter.solved("image")
    monkeypatch.undo()
    ros.line("third")
    assert "first" in ros.log and "second" not in ros.log


def test_a_transition_that_the_state_does_not_have_is_answered(ros: Any, counter: Counter) -> None:
    assert change(ros, Transition.TRANSITION_ACTIVATE) is False
    ros.line("change_state: transition 3 was refused, because the node is unconfigured")
    assert change(ros, Transition.TRANSITION_CONFIGURE) is True
    state = call(ros, GetState, "get_state", GetState.Request()).current_state
    assert state.id == State.PRIMARY_STATE_INACTIVE


def test_what_is_read_at_configuration_can_be_set_while_unconfigured(
    ros: Any, counter: Counter
) -> None:
    assert set_parameter(ros, "kind", "odd").successful
    assert change(ros, Transition.TRANSITION_CONFIGURE) and counter.used == "odd"
    refused = set_parameter(ros, "kind", "even")
    assert not refused.successful
    assert "ros2 lifecycle set /counter deactivate" in refused.reason
    assert set_parameter(ros, "gain", 2.5).successful
    assert change(ros, Transition.TRANSITION_CLEANUP)
    assert set_parameter(ros, "kind", "even").successful
    assert change(ros, Transition.TRANSITION_CONFIGURE) and counter.used == "even"


def test_a_misspelt_parameter_is_answered_with_its_name(ros: Any, counter: Counter) -> None:
    refused = set_parameter(ros, "gian", 2.0)
    assert not refused.successful
    assert refused.reason.startswith("unknown parameter gian; did you mean gain?")


def test_a_whole_number_stays_a_floating_point_parameter(ros: Any, counter: Counter) -> None:
    assert set_parameter(ros, "gain", 2).successful
    assert counter.settings.gain == 2.0
    request = GetParameters.Request(names=["gain"])
    value = call(ros, GetParameters, "get_parameters", request).values[0]
    assert value == ParameterValue(type=3, double_value=2.0)


ROSOUT = """
import logging, sys, time
import rclpy
from rcl_interfaces.msg import Log
from rclpy.executors import SingleThreadedExecutor
import test_managed_node as here

rclpy.init()
listener, heard = rclpy.create_node("listener"), []
listener.create_subscription(Log, "/rosout", heard.append, 100)
executor = SingleThreadedExecutor()
for node in (listener, here.Counter(), here.Counter(namespace="second")):
    executor.add_node(node)
end = time.monotonic() + 20
while time.monotonic() < end and not any(log.msg == "engine is slow" for log in heard):
    logging.getLogger("pose3d_ros.inference").warning("engine is\\nslow")
    executor.spin_once(timeout_sec=0.1)
print({log.name for log in heard if log.msg == "engine is slow"})
"""


def test_what_the_library_logs_reaches_rosout_once() -> None:
    """In a process of its own: /rosout lives as long as the first context of a process."""
    done = subprocess.run(
        [sys.executable, "-c", ROSOUT],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'test'}:{ROOT / 'test/nodes'}"},
        timeout=60,
        capture_output=True,
        text=True,
    )
    assert done.stdout == "{'counter'}\n", done.stderr


@pytest.mark.parametrize(
    ("key", "used"),
    [
        ("/**/counter", True),
        ("/robot/counter", True),
        ("/*/counter", True),
        ("/**", True),
        ("counter", False),
        ("/other/counter", False),
        ("camera", True),
    ],
)
def test_a_parameter_file_of_which_nothing_arrives_is_said(
    key: str, used: bool, tmp_path: Path
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"{key}:\n  ros__parameters:\n    gain: 2.0\n")
    lines = unused_files(["--ros-args", "--params-file", str(path)], ["/robot/counter"])
    assert lines == (
        []
        if used
        else [
            f"{path}: nothing of it is used: expected the key /robot/counter or /**/counter, got "
            f"{key.lstrip('/')}, which is another node to ROS"
        ]
    )


def test_nested_namespaces_in_a_parameter_file_are_found(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("robot:\n  counter:\n    ros__parameters: {gain: 2.0}\n")
    assert unused_files(["--params-file", str(path)], ["/robot/counter"]) == []


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("after_s", [0.5, 1.0, 1.5, 2.5])
def test_a_signal_during_the_start_ends_it_without_a_trace(
    signum: signal.Signals, after_s: float, tmp_path: Path
) -> None:
    """At any moment of it: imports, ROS, networks. The times are no conditions."""
    node = subprocess.Popen(
        [sys.executable, "-m", "pose3d_ros.cli", "up", "monocular", "namespace:=signals"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    time.sleep(after_s)
    node.send_signal(signum)
    output = node.communicate(timeout=30)[0]
    if "Traceback" in output and "/pose3d_ros/" not in output:
        pytest.skip("on this busy machine Python itself was still starting")
    assert node.returncode in (0, -signum, 128 + signum), output
    assert "Traceback" not in output and "rror" not in output, output


def test_the_first_image_is_not_blamed_for_a_clock_that_begins_later(ros: Any) -> None:
    """Simulated time is 0 until somebody publishes /clock, however long the node has waited."""
    node = ros.add(Counter(parameter_overrides=[Parameter("use_sim_time", value=True)]))
    time.sleep(0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(managed_node, "OTHER_CLOCK_PATIENCE_S", 0.2)
        assert node.latency_s(1_800_000_000 * 10**9) is None
        assert "clock" not in node.problems
        time.sleep(0.3)
        assert node.latency_s(1_800_000_000 * 10**9) is None
        assert "/clock is of the same recording" in node.problems["clock"]
