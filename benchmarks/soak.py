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

"""Memory and latency of the node over a long time, with people coming and going.

    python benchmarks/soak.py [--minutes 30] [--rate 10]

The monocular node runs in a process of its own. This one sends it pictures in which up to four
people of the shipped clip appear and vanish every few seconds, sometimes with nobody for a while,
and hears all that it publishes. Every tenth of the time plays the same comings and goings. Prints,
for each tenth of the time: the node's resident memory at its end, the latency from sending an
image to receiving its joints, and the node's CPU time per frame, which other work on the machine
hardly moves. What the node holds after the first tenth is its size: models, caches and DDS have
been filled by then.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

import numpy as np
from listener import age_s, listener, memory_mb
from sensor_msgs.msg import Image, PointCloud2
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from pose3d_ros.io.joints_cloud import JOINTS
from pose3d_ros.nodes import image_messages
from pose3d_ros.nodes.messages import time_of
from pose3d_ros.nodes.up import up_in_process
from pose3d_ros.profiling.scenes import PLACES, canvas, cut_outs

TENTHS = 10
MOST_PEOPLE = 4
CHANGE_S = 3.0  # between two comings or goings, on average
EMPTY_S = 8.0
SETTLING_S = 10.0


def cpu_s(process: int) -> float:
    """Processor time that a process has used (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Coming:
    """Who is in the picture: changes at random times, always the same ones."""

    def __init__(self) -> None:
        self._rng = np.random.default_rng(0)
        self.places: list[int] = []
        self._next_s = 0.0

    def at(self, now_s: float) -> list[int]:
        """Places that are taken."""
        if now_s >= self._next_s:
            self._next_s = now_s + self._rng.exponential(CHANGE_S)
            free = [place for place in range(PLACES) if place not in self.places]
            if self._rng.random() < 0.05:
                self.places, self._next_s = [], now_s + EMPTY_S
            elif self.places and (len(self.places) == MOST_PEOPLE or self._rng.random() < 0.5):
                self.places.remove(int(self._rng.choice(self.places)))
            else:
                self.places.append(int(self._rng.choice(free)))
        return self.places


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--rate", type=float, default=10.0, help="images per second")
    options = parser.parse_args()
    people = cut_outs()
    latencies: list[float] = []
    ids: set[int] = set()
    seen: list[int] = []
    rows = []

    def hear_joints(cloud: PointCloud2) -> None:
        latencies.append(age_s(cloud))
        seen.append(cloud.height)
        ids.update(np.frombuffer(cloud.data, JOINTS)["person"].tolist())

    def play(seconds: float) -> None:
        coming, start = Coming(), time.monotonic()
        end, due = start + seconds, start
        while (now := time.monotonic()) < end:
            if now >= due:
                due = max(due + 1 / options.rate, now)
                picture = canvas(people, coming.at(now - start), int((now - start) * options.rate))
                publisher.publish(
                    image_messages.to_message(
                        picture, Header(stamp=time_of(time.time_ns()), frame_id="camera")
                    )
                )
            executor.spin_once(timeout_sec=max(0.0, min(due - time.monotonic(), 0.05)))
            if process.poll() is not None:
                raise ChildProcessError("the node has ended")

    with (
        listener("soak") as (node, executor),
        up_in_process("monocular", "assumed_fov_deg:=60", "namespace:=soak") as process,
    ):
        node.create_subscription(PointCloud2, "/soak/joints", hear_joints, 10)
        for message_type, topic in ((PointCloud2, "keypoints"), (MarkerArray, "markers")):
            node.create_subscription(message_type, f"/soak/{topic}", lambda _: None, 10)
        publisher = node.create_publisher(Image, "/soak/image", 1)
        while not latencies:
            play(0.5)
        play(SETTLING_S)
        start_mb = memory_mb(process.pid, "VmRSS")
        for tenth in range(1, TENTHS + 1):
            latencies.clear()
            used = cpu_s(process.pid)
            play(6.0 * options.minutes)
            p50, p95 = 1e3 * np.percentile(latencies, (50, 95))
            rows.append(
                (
                    memory_mb(process.pid, "VmRSS"),
                    p50,
                    p95,
                    1e3 * (cpu_s(process.pid) - used) / len(latencies),
                )
            )
            sys.stdout.write(
                f"tenth {tenth:2}: {rows[-1][0]:6.1f} MB, latency p50 {p50:5.1f} ms, p95 "
                f"{p95:6.1f} ms, CPU {rows[-1][3]:5.1f} ms per frame\n"
            )
            sys.stdout.flush()
    sys.stdout.write(
        f"{options.minutes:g} minutes, {len(seen)} images of {len(ids)} tracks, "
        f"{np.mean(seen):.1f} people on average\n"
        f"resident memory: {start_mb:.1f} MB at the start, {rows[0][0]:.1f} after a tenth, "
        f"{rows[4][0]:.1f} in the "
        f"middle, {rows[-1][0]:.1f} at the end\n"
        f"last tenth against the first: latency p50 {rows[-1][1] / rows[0][1]:.2f} times, CPU per "
        f"frame "
        f"{rows[-1][3] / rows[0][3]:.2f} times\n"
    )


if __name__ == "__main__":
    main()
