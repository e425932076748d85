"""How well people are followed in a rosbag2 with the ``keypoints`` of several cameras, played as
they arrived.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from scipy.optimize import linear_sum_assignment

from pose3d_ros.camera import Camera
from pose3d_ros.evaluation.shelf import PERSON_M
from pose3d_ros.io.keypoints_cloud import people_2d
from pose3d_ros.io.rig_file import RigFile, namespace_of
from pose3d_ros.metrics import id_switches, jitter_mm
from pose3d_ros.multiview.pose_buffer import PoseBuffer
from pose3d_ros.multiview.tracker import MultiViewTracker
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.skeleton import H36M17, SKELETONS, convert

CLOUD_TYPE = "sensor_msgs/msg/PointCloud2"
MOST_GAP_S = 0.2  # the truth is interpolated over no more than this
# Parts of the protocol of PCP whose ends a skeleton of 17 joints has.
PARTS = (
    *(
        (f"{side}_{a}", f"{side}_{b}")
        for side in "lr"
        for a, b in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist"))
    ),
    ("pelvis", "thorax"),
    ("neck", "head"),
)


@dataclass(frozen=True)
class Truth:
    """Reference poses (T, P, 17, 3) in metres in the rig's frame, NaN where unknown, at
    ``stamp_ns`` (T,), rising.
    """

    joints_m: np.ndarray
    stamp_ns: np.ndarray

    @classmethod
    def load(cls, path: Path) -> Truth:
        """From an npz with ``joints_m`` (T, P, J, 3), ``stamp_ns`` (T,) and perhaps the
        ``skeleton``'s name.
        """
        try:
            with np.load(path) as data:
                skeleton = SKELETONS[str(data["skeleton"])] if "skeleton" in data else H36M17
                joints, stamps = data["joints_m"].astype(float), data["stamp_ns"].astype(np.int64)
            joints, _ = convert(joints, np.ones(joints.shape[:-1]), skeleton, H36M17)
            if len(joints) != len(stamps) or len(stamps) < 2 or (np.diff(stamps) <= 0).any():
                raise ValueError(f"got {len(joints)} poses and {len(stamps)} stamps")
        except (OSError, KeyError, ValueError, BadZipFile) as error:
            raise ValueError(
                f"truth {path}: expected an npz with joints_m (T, P, J, 3), stamp_ns (T,), "
                f"rising, and "
                f"perhaps skeleton; {error}"
            ) from None
        return cls(joints, stamps)

    def at(self, stamp_ns: int) -> np.ndarray | None:
        """People (P, 17, 3) at a time, interpolated; None outside of what is known."""
        after = int(
            np.searchsorted(self.stamp_ns, stamp_ns, "right").clip(1, len(self.stamp_ns) - 1)
        )
        first, last = self.stamp_ns[after - 1 : after + 1]
        if not first <= stamp_ns <= last or last - first > MOST_GAP_S * 1e9:
            return None
        share = (stamp_ns - first) / (last - first)
        return np.asarray((1 - share) * self.joints_m[after - 1] + share * self.joints_m[after])


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """A rosbag2's reader, of the package rosbags; raises ``ValueError``."""
    try:
        from rosbags.highlevel import AnyReader, AnyReaderError
        from rosbags.rosbag2 import ReaderError
        from rosbags.typesys import Stores, get_typestore
    except ImportError:
        raise ValueError(
            "reading a rosbag2 needs the package rosbags: pip install rosbags"
        ) from None
    try:
        with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
            yield reader
    except (AnyReaderError, ReaderError) as error:
        raise ValueError(
            f"{path}: expected a rosbag2 that can be read ({error}); 'ros2 bag reindex' mends one "
            f"whose "
            f"recording was cut off"
        ) from None


def is_called(topic: str, name: str) -> bool:
    """Whether a topic has a name that is absolute, or one below any namespace."""
    return topic == name or not name.startswith("/") and topic.endswith(f"/{name}")


def read(path: Path, namespaces: list[str]) -> list[tuple[int, int, People2D]]:
    """Arrival in nanoseconds, index of the camera and 2D poses of each message, in order of
    arrival.

    A camera's topic is ``NAMESPACE/keypoints``. Raises ``ValueError`` for a camera without one.
    """
    with opened(path) as reader:
        clouds = [c for c in reader.connections if c.msgtype == CLOUD_TYPE]
        chosen = {}
        for index, namespace in enumerate(namespaces):
            of_camera = [c for c in clouds if is_called(c.topic, f"{namespace}/keypoints")]
            if len(of_camera) != 1:
                raise ValueError(
                    f"{path}: expected one topic .../{namespace.strip('/')}/keypoints of "
                    f"{CLOUD_TYPE}, "
                    f"got {len(of_camera)}; clouds in the bag: "
                    f"{', '.join(c.topic for c in clouds) or 'none'}"
                )
            chosen[of_camera[0].topic] = index
        connections = [c for c in clouds if c.topic in chosen]
        return [
            (
                arrived,
                chosen[connection.topic],
                people_2d(reader.deserialize(raw, CLOUD_TYPE), H36M17),
            )
            for connection, arrived, raw in reader.messages(connections)
        ]


def play(
    messages: list[tuple[int, int, People2D]], cameras: list[Camera]
) -> tuple[list[People3D], np.ndarray]:
    """People at every common time, as the multi-view node would have had them, and the seconds
    that each took.
    """
    buffer, tracker = PoseBuffer(len(cameras)), MultiViewTracker(cameras, H36M17)
    results, seconds = [], []
    for arrived, camera, people in messages:
        buffer.add(camera, people, arrived)
        while (taken := buffer.take(arrived)) is not None:
            start = time.perf_counter()
            results.append(tracker.update(*taken))
            seconds.append(time.perf_counter() - start)
    return results, np.array(seconds)


def evaluate(
    path: Path, rig: RigFile, truth: Truth | None, views: list[int] | None = None
) -> dict[str, Any]:
    """Report of a bag: people, ids, jitter, speed and, with a ``truth``, its scores; ``views``:
    numbers of cameras.
    """
    if not rig.posed:
        raise ValueError("expected a rig file with the cameras' poses, got intrinsics only")
    names = list(rig.cameras)
    absent = sorted(set(views or []) - set(range(len(names))))
    if absent:
        raise ValueError(f"expected views among 0 to {len(names) - 1}, got {absent}")
    names = [names[v] for v in views] if views is not None else names
    namespaces = [namespace_of(name, rig.sources.get(name, {})) for name in names]
    results, seconds = play(read(path, namespaces), [rig.cameras[name] for name in names])
    if not results:
        raise ValueError(
            f"{path}: expected 2D poses on the topics of {', '.join(names)}, got no message"
        )
    shown = [result.ids[result.states != TrackState.TENTATIVE] for result in results]
    return {
        "cameras": ",".join(names),
        "frames": len(results),
        "people_per_frame": float(np.mean([len(ids) for ids in shown])),
        "ids": len(set(np.concatenate(shown))),
        "jitter_mm": jitter_mm(results),
        **({} if truth is None else scores(results, truth)),
        "ms_per_frame": float(np.median(seconds) * 1e3),
        "ms_p99": float(np.quantile(seconds, 0.99) * 1e3),
    }


def scores(results: list[People3D], truth: Truth) -> dict[str, Any]:
    """PCP, MPJPE, recall, false people and id switches; people are matched one to one within
    ``PERSON_M``.
    """
    matches: list[tuple[int, int]] = []
    errors, right, found, expected, false, judged = [], 0, 0, 0, 0, 0
    first, second = (H36M17.indices(*ends) for ends in zip(*PARTS, strict=True))
    for result in results:
        people = truth.at(result.stamp_ns)
        if people is None:
            continue
        present = np.flatnonzero(np.isfinite(people).all(-1).any(-1))
        shown = result.states != TrackState.TENTATIVE
        each = np.linalg.norm(result.joints_m[shown] - people[present][:, None], axis=-1)
        known = np.isfinite(each)
        average = np.where(known, each, 0).sum(-1) / np.maximum(known.sum(-1), 1)
        average[~known.any(-1)] = np.inf
        own = 0
        for row, column in zip(*linear_sum_assignment(np.minimum(average, 1e3)), strict=True):
            if average[row, column] < PERSON_M:
                own += 1
                person, error = people[present[row]], each[row, column]
                matches.append((int(present[row]), int(result.ids[shown][column])))
                errors.append(error[np.isfinite(error)])
                length = np.linalg.norm(person[first] - person[second], axis=-1)
                right += int(((error[first] + error[second]) / 2 <= 0.5 * length).sum())
        judged, expected, found = judged + 1, expected + len(present), found + own
        false += int(shown.sum()) - own
    return {
        "judged_frames": judged,
        "pcp": 100 * right / max(expected * len(PARTS), 1),
        "mpjpe_mm": float(np.concatenate(errors).mean() * 1e3) if errors else None,
        "recall": found / max(expected, 1),
        "false_people_per_frame": false / max(judged, 1),
        "id_switches": id_switches(matches),
    }
