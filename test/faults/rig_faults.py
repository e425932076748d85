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

"""Faults of cameras before a real multi-view node, each in a process of its own.

python test/faults/rig_faults.py            every scenario, a line each: minutes
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rigs import ring
from sensor_msgs.msg import PointCloud2

from pose3d_ros.io.joints_cloud import JOINTS
from pose3d_ros.io.rig_file import RigFile, write_rig

HERE = Path(__file__).resolve().parent
PEOPLE, CAMERAS = 2, 4
START_S, RECOVERY_S = 60.0, 20.0
NODE = "import sys; from pose3d_ros.nodes.entry import multiview; sys.exit(multiview())"


class Outcome(NamedTuple):
    """``recovered_s`` from the end of the fault until everybody is shown again, None when never;
    ``lost``: ids of before the fault that were gone then.
    """

    alive: bool
    recovered_s: float | None
    lost: set[int]
    most_shown: int


class Bench:
    """The node, its cameras, and what comes of them."""

    def __init__(self, folder: Path, namespace: str) -> None:
        self.namespace, self.rig = namespace, str(folder / "rig.yaml")
        cameras = ring(CAMERAS)
        write_rig(self.rig, RigFile({camera.frame_id: camera for camera in cameras}, "map"))
        self.names = [camera.frame_id for camera in cameras]
        self.log = (folder / "log").open("w+")
        self.node = self._start("-c", NODE, *self._ros_arguments())
        self.cameras = {name: self._camera(name) for name in self.names}
        rclpy.init(args=[])
        self._listener = rclpy.create_node("fault_listener")
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._listener)
        self._listener.create_subscription(PointCloud2, f"/{namespace}/joints", self._hear, 100)
        self.shown: tuple[set[int], float] = (set(), 0.0)
        self.most_shown = 0

    def _ros_arguments(self) -> list[str]:
        return ["--ros-args", "-r", f"__ns:=/{self.namespace}", "-p", f"rig:={self.rig}"]

    def _start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=self.log,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _camera(self, name: str) -> subprocess.Popen[str]:
        return self._start(str(HERE / "camera.py"), self.namespace, name, self.rig)

    def _hear(self, cloud: PointCloud2) -> None:
        ids = np.frombuffer(cloud.data, JOINTS).reshape(cloud.height, cloud.width)["person"]
        self.shown = {int(person) for person in ids[:, :1].ravel()}, time.monotonic()
        self.most_shown = max(self.most_shown, cloud.height)

    def spin(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float | None:
        """Seconds until the condition, or None."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if until():
                return time.monotonic() - began
            self._executor.spin_once(timeout_sec=0.02)
        return None

    def everybody(self) -> bool:
        """Whether the right number of people was shown just now."""
        ids, at = self.shown
        return len(ids) == PEOPLE and time.monotonic() - at < 0.5

    def tell(self, names: list[str], line: str) -> None:
        """A command for some of the cameras."""
        for name in names:
            stdin = self.cameras[name].stdin
            assert stdin is not None
            stdin.write(line + "\n")
            stdin.flush()

    def restart(self, name: str) -> None:
        """Start a camera that was killed."""
        self.cameras[name] = self._camera(name)

    def close(self) -> None:
        """End every process that was started here."""
        for process in (self.node, *self.cameras.values()):
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        self._executor.shutdown()
        self._listener.destroy_node()
        rclpy.shutdown()
        self.log.close()


@contextmanager
def bench(namespace: str) -> Iterator[Bench]:
    """A bench whose people are all shown."""
    with TemporaryDirectory() as folder:
        made = Bench(Path(folder), namespace)
        try:
            if made.spin(START_S, made.everybody) is None:
                made.log.seek(0)
                raise AssertionError(f"nobody was shown in {START_S:g} s: {made.log.read()}")
            made.spin(1.0)
            yield made
        finally:
            made.close()


def kill_and_restart(rig: Bench) -> None:
    """A camera's process dies and comes back after two seconds."""
    process = rig.cameras["cam0"]
    process.kill()
    process.wait()
    rig.spin(2.0)
    rig.restart("cam0")
    rig.spin(2.0)


def stop_for_a_while(rig: Bench) -> None:
    """A camera's process stands still for two seconds, then sends what it had to send."""
    rig.cameras["cam0"].send_signal(signal.SIGSTOP)
    rig.spin(2.0)
    rig.cameras["cam0"].send_signal(signal.SIGCONT)
    rig.spin(1.0)


def garbage(rig: Bench) -> None:
    """A camera sends 300 clouds that are none."""
    rig.tell(["cam0"], "garbage 300")
    rig.spin(2.0)


def wrong_clock(seconds: float) -> Callable[[Bench], None]:
    """One camera's clock is off for three seconds."""

    def fault(rig: Bench) -> None:
        rig.tell(["cam0"], f"offset {seconds}")
        rig.spin(3.0)
        rig.tell(["cam0"], "offset 0")

    return fault


def clocks_set(seconds: float) -> Callable[[Bench], None]:
    """All clocks are set by this much, and stay so."""

    def fault(rig: Bench) -> None:
        rig.tell(rig.names, f"offset {seconds}")
        rig.spin(0.5)

    return fault


class Scenario(NamedTuple):
    """A fault, and whether people keep their ids through it."""

    fault: Callable[[Bench], None]
    keeps_ids: bool


SCENARIOS = {
    "camera killed and restarted": Scenario(kill_and_restart, True),
    "camera stopped for 2 s": Scenario(stop_for_a_while, True),
    "300 clouds of garbage": Scenario(garbage, True),
    "one clock an hour ahead": Scenario(wrong_clock(3600), True),
    "one clock an hour behind": Scenario(wrong_clock(-3600), True),
    "one clock 3 s behind": Scenario(wrong_clock(-3), True),
    "one clock 0.25 s behind": Scenario(wrong_clock(-0.25), True),
    "one clock at 1970": Scenario(wrong_clock(-time.time()), True),
    "all clocks back by 0.5 s": Scenario(clocks_set(-0.5), False),
    "all clocks back by 1.5 s": Scenario(clocks_set(-1.5), False),
    "all clocks back by an hour": Scenario(clocks_set(-3600), False),
    "all clocks ahead by an hour": Scenario(clocks_set(3600), False),
}


def run(rig: Bench, scenario: Scenario) -> Outcome:
    """Do it, and see what comes of it. All clocks are right again afterwards."""
    before, rig.most_shown = set(rig.shown[0]), 0
    scenario.fault(rig)
    rig.shown = set(), 0.0  # what was shown until now says nothing
    recovered_s = rig.spin(RECOVERY_S, rig.everybody)
    rig.spin(1.0)
    lost = before - rig.shown[0]
    outcome = Outcome(rig.node.poll() is None, recovered_s, lost, rig.most_shown)
    rig.tell(rig.names, "offset 0")
    rig.spin(2.0)
    rig.spin(RECOVERY_S, rig.everybody)
    return outcome


def good(scenario: Scenario, outcome: Outcome) -> bool:
    """Whether the node survived as it should."""
    return (
        outcome.alive
        and outcome.recovered_s is not None
        and outcome.most_shown <= PEOPLE
        and not (scenario.keeps_ids and outcome.lost)
    )


def main() -> int:
    """Every scenario on one bench. Returns 1 when one failed."""
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    failed: list[Any] = []
    with bench("faults") as rig:
        for name, scenario in SCENARIOS.items():
            outcome = run(rig, scenario)
            failed += [] if good(scenario, outcome) else [name]
            took = "never" if outcome.recovered_s is None else f"{outcome.recovered_s:.2f} s"
            sys.stdout.write(
                f"{name:30} {'ok' if good(scenario, outcome) else 'FAILED':7} alive "
                f"{outcome.alive}, everybody again after {took}, ids lost "
                f"{sorted(outcome.lost)}, at most {outcome.most_shown} shown\n"
            )
            sys.stdout.flush()
    sys.stdout.write(f"{len(SCENARIOS) - len(failed)} of {len(SCENARIOS)} survived\n")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
