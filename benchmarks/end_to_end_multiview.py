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

"""Videos of several cameras through the real nodes, each in a process of its own: images in, 3D
people out.

    python benchmarks/end_to_end_multiview.py FOLDER [--json FILE] [--keep FOLDER]
    python benchmarks/end_to_end_multiview.py demo

FOLDER is that of the Pose2Sim demo data (four cameras, 1088x1920, 60 fps): calibration.toml,
video_balancing_cam0*.mp4, reference_balancing_raw.trc (the peer's own triangulation, of OpenPose's
keypoints) and reference_refined.npz (the same keypoints after its extrinsics were adjusted).
Scores are those of 12 limb joints, with both calibrations, each against the reference in the same
calibration. `demo` takes the shipped clip (two cameras, exact truth). Each rig is played twice: in
step with the joints, so that every image is processed (accuracy), and in real time (rate,
latency). Everything is in the world's axes; `abs` is the mean distance of joints, with nothing
aligned.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
os.environ.setdefault("ROS_DOMAIN_ID", str(os.getpid() % 100 + 1))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import rclpy  # noqa: E402
from diagnostic_msgs.msg import DiagnosticArray  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import QoSProfile  # noqa: E402
from sensor_msgs.msg import CameraInfo, PointCloud2  # noqa: E402

from pose3d_ros.arguments import arguments  # noqa: E402
from pose3d_ros.evaluation.monocular import LIMB_JOINTS, CameraTruth, errors  # noqa: E402
from pose3d_ros.evaluation.table import table  # noqa: E402
from pose3d_ros.geometry import (  # noqa: E402
    rigid,
    rotation_from_vector,
    transform_points,
)
from pose3d_ros.io.joints_cloud import JOINTS
from pose3d_ros.io.rig_file import RigFile, read_rig, topic_of, write_rig  # noqa: E402
from pose3d_ros.metrics import jitter_mm  # noqa: E402
from pose3d_ros.nodes import process_tuning  # noqa: E402
from pose3d_ros.nodes.messages import stamp_ns  # noqa: E402
from pose3d_ros.nodes.rig_launch import NodeToStart, nodes_of_rig  # noqa: E402
from pose3d_ros.offline import film_of  # noqa: E402
from pose3d_ros.people import People3D  # noqa: E402
from pose3d_ros.resources import share  # noqa: E402
from pose3d_ros.skeleton import BODY25B, H36M17  # noqa: E402

NAMESPACE = "benchmark"
GOOD_PX = 20.0  # joints of the reference that reproject worse are no reference
SETTLING_S = 1.0  # of the rate and latency in real time
START_S = 60.0
LIMBS = H36M17.indices(*LIMB_JOINTS)
BONES = [
    (f"{s}_{a}", f"{s}_{b}")
    for s in "lr"
    for a, b in (("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"))
]


def process(planned: NodeToStart) -> subprocess.Popen[bytes]:
    """What ``ros2 run`` starts."""
    words = ["-r", f"__ns:=/{planned.namespace}"]
    for name, value in planned.parameters.items():
        words += ["-p", f"{name}:={json.dumps(value)}"]
    for old, new in planned.remappings.items():
        words += ["-r", f"{old}:={new}"]
    code = f"import sys; from pose3d_ros.nodes.{planned.node} import main; sys.exit(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, "--ros-args", *words, "--log-level", "warn"]
    )


@contextmanager
def processes(plan: list[NodeToStart]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Started, and ended afterwards."""
    started = [process(planned) for planned in plan]
    try:
        yield started
    finally:
        for one in started:
            one.terminate()
        for one in started:
            one.wait()


class Run:
    """What came of one play of the rig's videos."""

    def __init__(self, rig: Path, **video: str) -> None:
        self.sent: list[int] = []  # stamps of the first camera's images
        self.length = 0
        self.clouds: dict[int, PointCloud2] = {}
        self.latency_s: dict[int, float] = {}
        self.residuals_px: dict[str, float] = {}
        self._play(rig, {"namespace": NAMESPACE, "rig": str(rig), **video})

    def _play(self, rig: Path, given: dict[str, str]) -> None:
        values = {
            name: given.get(name) or argument.default
            for name, argument in arguments(("multiview",)).items()
        }
        *cameras, video = nodes_of_rig(values)
        rclpy.init()
        node, executor = (
            rclpy.create_node("watcher", namespace=NAMESPACE),
            SingleThreadedExecutor(),
        )
        executor.add_node(node)
        known = read_rig(rig)
        first = next(iter(known.cameras))
        film = cv2.VideoCapture(film_of(known, first, rig.parent))
        self.length = int(film.get(cv2.CAP_PROP_FRAME_COUNT))
        qos = QoSProfile(depth=1000)
        node.create_subscription(
            CameraInfo, topic_of("camera_info", first, known.sources[first]), self._sent, qos
        )
        node.create_subscription(PointCloud2, "joints", self._found, qos)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._told, qos)
        self._node = node
        try:
            with processes(cameras):
                end = time.monotonic() + START_S
                while time.monotonic() < end and not node.count_publishers("joints"):
                    executor.spin_once(0.1)
                with processes([video]) as (player,):
                    while player.poll() is None:
                        executor.spin_once(0.1)
                end = time.monotonic() + 1.0
                while time.monotonic() < end:
                    executor.spin_once(0.1)
        finally:
            node.destroy_node()
            rclpy.shutdown()
        if not self.clouds:
            raise SystemExit("no joints arrived; the lines above say why")

    def _sent(self, info: CameraInfo) -> None:
        self.sent.append(stamp_ns(info.header))

    def _found(self, cloud: PointCloud2) -> None:
        self.clouds[stamp_ns(cloud.header)] = cloud
        self.latency_s[stamp_ns(cloud.header)] = (
            self._node.get_clock().now().nanoseconds * 1e-9 - stamp_ns(cloud.header) * 1e-9
        )

    def _told(self, message: DiagnosticArray) -> None:
        for status in message.status:
            for pair in status.values:
                if pair.key == "residual_px":
                    self.residuals_px[status.name.rsplit("/", 1)[-1]] = float(pair.value)

    def results(self, frames: int) -> list[People3D]:
        """People of each frame; nobody where there was no message.

        Frames are counted from the last one: on a busy machine the first ones are sent before this
        process is found.
        """
        first = self.length - len(self.sent)
        found = {first + i: self.clouds.get(stamp) for i, stamp in enumerate(self.sent)}
        return [people(found.get(frame)) for frame in range(frames)]

    def speed(self) -> dict[str, float]:
        """Rate and latency after the first seconds."""
        settled = [s for s in sorted(self.clouds) if s > min(self.clouds) + SETTLING_S * 1e9]
        p50, p95 = np.percentile([1e3 * self.latency_s[stamp] for stamp in settled], (50, 95))
        return {
            "rate_hz": (len(settled) - 1) / ((settled[-1] - settled[0]) * 1e-9),
            "latency_p50_ms": float(p50),
            "latency_p95_ms": float(p95),
        }


def people(cloud: PointCloud2 | None) -> People3D:
    """From a message."""
    points = (
        np.frombuffer(cloud.data, JOINTS).reshape(-1, 17) if cloud else np.zeros((0, 17), JOINTS)
    )
    joints = np.stack([points[axis] for axis in "xyz"], -1)
    velocity = np.stack([points[f"v{axis}"] for axis in "xyz"], -1)
    return People3D(
        H36M17,
        joints,
        points["confidence"],
        points["sigma"],
        velocity,
        points["person"][:, 0],
        np.ones(len(points)),
        stamp_ns(cloud.header) if cloud else 0,
        "world",
    )


def score(results: list[People3D], truth_m: np.ndarray) -> dict[str, Any]:
    """Against (T, P, 12, 3): everything of ``errors`` beside the distance with nothing aligned,
    bones and sigma.

    ``errors`` looks from a camera's place: the world is turned and pushed away, which changes no
    distance. It takes people with all limbs.
    """
    away = rigid([[1, 0, 0], [0, 0, -1], [0, 1, 0]], [0, 0, 20])
    whole = [r[np.isfinite(r.joints_m[:, LIMBS]).all((1, 2))] for r in results]
    seen = [replace(r, joints_m=transform_points(away, r.joints_m)) for r in whole]
    report = errors(seen, CameraTruth(transform_points(away, truth_m)))
    absolute, pulls, own = [], [], []
    for result, truth in zip(results, truth_m, strict=True):
        for person in truth[np.isfinite(truth).all((1, 2))]:
            distance = np.linalg.norm(result.joints_m[:, LIMBS] - person, axis=-1)
            if len(result) and np.nanmean(distance, 1).min() < 0.5:
                row = int(np.nanmean(distance, 1).argmin())
                absolute.append(distance[row])
                pulls.append(distance[row] / (np.sqrt(3) * result.sigma_m[row, LIMBS]))
                own.append(result[[row]])
    lengths = np.array(
        [
            [
                np.linalg.norm(r.joints_m[0, H36M17.index(a)] - r.joints_m[0, H36M17.index(b)])
                for a, b in BONES
            ]
            for r in own
        ]
    )
    spread = np.subtract(*np.nanpercentile(lengths, (75, 25), axis=0))
    return {
        "frames": len(results),
        "people_per_frame": float(np.mean([len(r) for r in results])),
        "abs_mm": 1e3 * float(np.nanmean(absolute)),
        "abs_median_mm": 1e3 * float(np.nanmedian(absolute)),
        **report,
        "bone_iqr_mm": 1e3 * float(np.mean(spread)),
        "jitter_mm": jitter_mm(own, 0),
        "within_3_sigma": float(np.mean(np.array(pulls)[np.isfinite(pulls)] < 3)),
    }


def pose2sim(folder: Path) -> dict[str, tuple[RigFile, np.ndarray]]:
    """Rigs and reference limbs (T, 1, 12, 3), with the given and the refined extrinsics."""
    given = read_rig(folder / "calibration.toml")
    given = replace(
        given,
        sources={
            name: {"video": str((folder / f"video_balancing_cam{name[-2:]}.mp4").resolve())}
            for name in given.cameras
        },
    )
    rows = (folder / "reference_balancing_raw.trc").read_text().splitlines()
    markers = [name for name in rows[3].split("\t")[2:] if name.strip()]
    values = np.array(
        [[float(v) for v in row.split("\t")[2:] if v.strip()] for row in rows[5:] if row.strip()]
    )
    values = values.reshape(len(values), len(markers), 3)[
        ..., [2, 0, 1]
    ]  # its (x, y, z) are the world's (y, z, x)
    named = {m.strip().lower(): i for i, m in enumerate(markers)}
    raw = values[:, [named[joint.replace("_", "")] for joint in LIMB_JOINTS]]
    with np.load(folder / "reference_refined.npz") as data:
        refined_m = data["joints3d"][:, BODY25B.indices(*LIMB_JOINTS)].astype(float)
        bad = data["reprojection_px"][:, BODY25B.indices(*LIMB_JOINTS)] >= GOOD_PX
        cameras = dict(given.cameras)
        for index, (name, camera) in enumerate(given.cameras.items()):
            pose = rigid(rotation_from_vector(data["rotation"][index]), data["translation"][index])
            cameras[name] = replace(camera, camera_from_world=pose)
    refined_m[bad.any(1)] = np.nan
    return {
        "given": (given, raw[:, None]),
        "refined": (replace(given, cameras=cameras), refined_m[:, None]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="the data, or 'demo'")
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--rates",
        type=float,
        nargs="*",
        default=(10.0, 30.0),
        help="images per second in real time",
    )
    parser.add_argument("--keep", type=Path, help="folder for the results of each frame, as npz")
    options = parser.parse_args()
    process_tuning.tune()
    reports: list[dict[str, Any]] = []
    rigs: dict[str, tuple[RigFile | None, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        if options.folder == "demo":
            with np.load(share("demo", "truth.npz")) as data:
                rigs["demo"] = None, data["joints_m"][:, :, LIMBS].astype(float)
        else:
            rigs.update(pose2sim(Path(options.folder)))
        for name, (rig, truth_m) in rigs.items():
            path = share("demo", "rig.yaml") if rig is None else Path(scratch, f"{name}.yaml")
            if rig is not None:
                write_rig(path, rig)
            run = Run(
                path, pace="joints", max_latency_s="2"
            )  # a slow machine shall not change the result
            results = run.results(len(truth_m))
            report = {
                "rig": name,
                **score(results, truth_m),
                **{f"residual_px {camera}": px for camera, px in sorted(run.residuals_px.items())},
            }
            for rate in () if reports else options.rates:  # they do not depend on the calibration
                speed = Run(path, pace="realtime", rate_hz=str(rate)).speed()
                report |= {f"{key} at {rate:g} Hz": value for key, value in speed.items()}
            reports.append(report)
            if options.keep:
                options.keep.mkdir(parents=True, exist_ok=True)
                np.savez(
                    options.keep / f"{name}.npz",
                    frame=np.repeat(np.arange(len(results)), [*map(len, results)]),
                    joints_m=np.concatenate([r.joints_m for r in results]),
                    ids=np.concatenate([r.ids for r in results]),
                    truth_m=truth_m,
                )
    print(table(reports))
    if options.json:
        options.json.write_text(json.dumps(reports, indent=1) + "\n")


if __name__ == "__main__":
    main()
