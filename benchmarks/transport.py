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

"""Latency of the nodes over DDS, and what the frame time goes into.

    python benchmarks/transport.py [--video demo/cam0.mp4] [--seconds 20] [--rate 15]

Three processes: the video node, the monocular node and this one, which subscribes to `joints`.
Prints the latency from the publication of an image to the reception of its joints here, and that
of each stage as the node's diagnostics tell it, of the frames in which the stage ran: medians over
the frames after the first two seconds. "network" brings the image, "publish" is making messages
and handing them to DDS; the way of the joints to here is in no stage.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from listener import age_s, listener, memory_mb
from sensor_msgs.msg import PointCloud2

from pose3d_ros.nodes.up import up_in_process
from pose3d_ros.resources import share

SETTLING_S = 2.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--video", type=Path, default=share("demo", "cam0.mp4"))
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument(
        "--rate", type=float, default=15.0, help="frames per second of the video node"
    )
    options = parser.parse_args()
    latencies: list[float] = []
    stages: list[dict[str, float]] = []

    def hear_joints(cloud: PointCloud2) -> None:
        latencies.append(age_s(cloud))

    def hear_diagnostics(message: DiagnosticArray) -> None:
        values = {pair.key: pair.value for pair in message.status[0].values}
        if "latency_p50_ms" in values:
            stages.append(
                {
                    key.removesuffix("_p50_ms"): float(value)
                    for key, value in values.items()
                    if key.endswith("_p50_ms")
                }
            )

    monocular = ("monocular", "assumed_fov_deg:=60", "namespace:=benchmark")
    video = (
        "video",
        f"source:={options.video.resolve()}",
        "assumed_fov_deg:=60",
        "loop:=true",
        f"rate_hz:={options.rate}",
        "wait_for_subscribers:=1",
        "namespace:=benchmark",
    )
    with (
        listener("benchmark") as (node, executor),
        up_in_process(*monocular) as process,
        up_in_process(*video),
    ):
        node.create_subscription(PointCloud2, "/benchmark/joints", hear_joints, 10)
        node.create_subscription(DiagnosticArray, "/diagnostics", hear_diagnostics, 10)
        while not latencies:
            executor.spin_once(timeout_sec=0.1)
        settled = time.monotonic() + SETTLING_S
        while time.monotonic() < settled:
            executor.spin_once(timeout_sec=0.1)
        latencies.clear()
        stages.clear()
        end = time.monotonic() + options.seconds
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.1)
        most_mb = memory_mb(process.pid, "VmHWM")

    p50, p95 = 1e3 * np.percentile(latencies, (50, 95))
    print(
        f"{options.video.name} at {options.rate:g} Hz: {len(latencies) / options.seconds:.1f} "
        f"joints/s, latency p50 {p50:.1f} ms, p95 {p95:.1f} ms"
    )
    told = dict.fromkeys(stage for sample in stages for stage in sample)
    median = {
        stage: float(np.median([sample[stage] for sample in stages if stage in sample]))
        for stage in told
    }
    print(f"  the node's own, until joints are published: {median.pop('latency'):.1f} ms")
    for stage, milliseconds in median.items():
        print(f"  {stage:10} {milliseconds:7.2f} ms")
    overhead = sum(
        milliseconds for stage, milliseconds in median.items() if stage not in ("detect", "pose")
    )
    print(f"  all but detect and pose: {overhead:.2f} ms, {overhead / p50:.1%} of the latency")
    print(f"  resident memory of the monocular node: at most {most_mb:.0f} MB")


if __name__ == "__main__":
    main()
