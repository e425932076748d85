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

"""Real nodes over real DDS: each test run on a domain of its own, never beyond this machine."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

# Above 101 the ports meet those of other programs; of two workers (pytest-xdist) each has its own.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
_run = os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()
os.environ["ROS_DOMAIN_ID"] = str((_run + 50 * _worker) % 100 + 1)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"

# A shell lets what it starts in the background ignore Ctrl-C, and so would all that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

DISCOVERY_S = 10.0


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = DISCOVERY_S) -> Any:
    """The condition's value once it is true; fails with ``what`` when that takes too long."""
    end = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < end, f"waited {timeout_s:g} s in vain for {what}"
        time.sleep(0.01)
    return value


class Ros:
    """Nodes of a test, spun in the background, and what they log."""

    def __init__(self) -> None:
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.task import Future

        self._executor = SingleThreadedExecutor()
        self._over = Future()
        self._nodes: list[Any] = []
        self._thread = Thread(target=self._spin, daemon=True)
        self._thread.start()
        self.node = self.add(__import__("rclpy").create_node("tester"))

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException

        with suppress(ExternalShutdownException):
            self._executor.spin_until_future_complete(self._over)

    def add(self, node: Any) -> Any:
        """Spin the node until the end of the test."""
        self._nodes.append(node)
        self._executor.add_node(node)
        return node

    def remove(self, node: Any) -> None:
        """Destroy a node before the end of the test."""
        self._nodes.remove(node)
        self._executor.remove_node(node)
        node.destroy_node()

    def collect(self, message_type: type, topic: str, qos: Any = 10) -> list[Any]:
        """Subscribe; the list fills with messages."""
        received: list[Any] = []
        self.node.create_subscription(message_type, topic, received.append, qos)
        return received

    def publisher(
        self, message_type: type, topic: str, qos: Any = 10, matched: bool = True
    ) -> Any:
        """A publisher, with its subscriber matched."""
        publisher = self.node.create_publisher(message_type, topic, qos)
        if matched:
            wait_for(lambda: publisher.get_subscription_count(), f"a subscriber of {topic}")
        return publisher

    @property
    def log(self) -> str:
        """What was logged so far: the file that pytest has put in stderr's place.

        Not ``capfd.readouterr``: it truncates, and loses a line that a node logs in the same
        moment.
        """
        return Path("/proc/self/fd/2").read_text()

    def line(self, *words: str) -> str:
        """Wait for a log line with all the words."""

        def found() -> str | None:
            return next(
                (line for line in self.log.splitlines() if all(word in line for word in words)),
                None,
            )

        try:
            line: str = wait_for(found, "a log line")
        except AssertionError:
            pytest.fail(f"no log line with {words} in:\n{self.log}")
        assert "Traceback" not in self.log
        return line

    def close(self) -> None:
        """Stop spinning, then destroy the nodes: whoever spins while ROS goes down fails at
        random, or crashes.
        """
        self._over.set_result(None)
        self._thread.join(DISCOVERY_S)
        self._executor.shutdown()
        for node in reversed(self._nodes):
            node.destroy_node()


@pytest.fixture
def ros(capfd: pytest.CaptureFixture[str]) -> Iterator[Ros]:
    """ROS 2 for one test."""
    rclpy = pytest.importorskip(
        "rclpy", reason="needs rclpy: source a ROS distribution or install its wheels"
    )
    rclpy.init()
    helper = Ros()
    try:
        yield helper
    finally:
        helper.close()
        if rclpy.ok():
            rclpy.shutdown()
