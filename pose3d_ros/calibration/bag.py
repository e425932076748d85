"""2D poses out of a bag with the ``keypoints`` topics of several cameras, at common times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pose3d_ros.skeleton import H36M17

RATE_HZ = 10.0   # poses nearer in time say little more
LONGEST_S = 0.2  # between two messages, over which a joint's way is taken as straight
_CLOUD = "sensor_msgs/msg/PointCloud2"


class Message(NamedTuple):
    """What one image showed: ``poses`` (P, 17, 3) of px and confidence, 0 where unknown, with the tracks' ``ids`` (P,)
    and the image's ``size``, (0, 0) if it is not told.
    """

    stamp_s: float
    poses: np.ndarray
    ids: np.ndarray
    size: tuple[int, int]


def read(path: Path, namespaces: Sequence[str]) -> list[list[Message]]:
    """Per camera its messages in the order of their stamps. The topic of a camera is ``.../NAMESPACE/keypoints``.

    Raises ``ValueError`` that lists the bag's topics when one is missing, not unique, or is not in our layout.
    """
    from rosbags.highlevel import AnyReader
    from rosbags.typesys import Stores, get_typestore

    with AnyReader([path], default_typestore=get_typestore(Stores.ROS2_HUMBLE)) as reader:
        offered = {c.topic: c for c in reader.connections if c.msgtype == _CLOUD}
        chosen = []
        for namespace in namespaces:
            ending = f"/{namespace.strip('/')}/keypoints"
            fitting = [topic for topic in offered if f"/{topic.strip('/')}".endswith(ending)]
            if len(fitting) != 1:
                raise ValueError(f"{path}: expected one topic ...{ending} of {_CLOUD}, got "
                                 f"{', '.join(fitting) or 'none'} among {', '.join(offered) or 'none'}: record the "
                                 f"keypoints of every camera of the rig")
            chosen.append(fitting[0])
        messages: dict[str, list[Message]] = {topic: [] for topic in chosen}
        for connection, _, raw in reader.messages([offered[topic] for topic in chosen]):
            messages[connection.topic].append(_message(connection.topic, reader.deserialize(raw, connection.msgtype)))
    empty = [topic for topic in chosen if not messages[topic]]
    if empty:
        raise ValueError(f"{path}: {', '.join(empty)} has no messages")
    return [sorted(messages[topic], key=lambda m: m.stamp_s) for topic in chosen]


def _message(topic: str, cloud: Any) -> Message:
    joints, offsets = len(H36M17), {field.name: field.offset for field in cloud.fields}
    missing = [name for name in ("x", "y", "confidence", "person") if name not in offsets]
    if missing or cloud.height and cloud.width != joints or cloud.is_bigendian:
        raise ValueError(f"{topic}: expected clouds of width {joints} with x, y, confidence and person, got width "
                         f"{cloud.width} with {', '.join(offsets)}")
    dtype = np.dtype({"names": list(offsets), "formats": ["<i4" if name in ("person", "joint", "image_width",
                      "image_height") else "<f4" for name in offsets], "offsets": list(offsets.values()),
                      "itemsize": cloud.point_step})
    points: np.ndarray = np.frombuffer(bytes(cloud.data), dtype).reshape(cloud.height, joints if cloud.height else 0)
    poses = np.stack([points[name] for name in ("x", "y", "confidence")], -1).astype(float)
    poses[~np.isfinite(poses).all(-1)] = 0
    size = (0, 0)
    if cloud.height and {"image_width", "image_height"} <= set(offsets):
        size = int(points["image_width"][0, 0]), int(points["image_height"][0, 0])
    ids = points["person"][:, 0] if cloud.height else np.zeros(0, int)
    return Message(cloud.header.stamp.sec + cloud.header.stamp.nanosec * 1e-9, poses, ids, size)


def at_common_times(cameras: Sequence[Sequence[Message]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (N, 17, 3), frame (N,) and view (N,) at ``RATE_HZ``: cameras need not look at the same moments, because a
    tracked person is interpolated between two messages. Raises ``ValueError`` when recordings do not overlap.
    """
    first = max(messages[0].stamp_s for messages in cameras)
    last = min(messages[-1].stamp_s for messages in cameras)
    if last <= first:
        raise ValueError(f"the cameras' recordings do not overlap in time ({first - last:.1f} s apart): were they "
                         f"recorded together, and do the machines' clocks agree?")
    times = np.arange(first, last, 1 / RATE_HZ)
    poses, frame, view = [np.zeros((0, len(H36M17), 3))], [], []
    for c, messages in enumerate(cameras):
        stamps = np.array([message.stamp_s for message in messages])
        after = np.clip(np.searchsorted(stamps, times), 1, len(stamps) - 1)
        for t, (time, k) in enumerate(zip(times, after, strict=True)):
            a, b = messages[k - 1], messages[k]
            span = b.stamp_s - a.stamp_s
            if not 0 < span <= LONGEST_S:
                continue
            _, i, j = np.intersect1d(a.ids, b.ids, return_indices=True)
            both = (a.poses[i, :, 2:] > 0) & (b.poses[j, :, 2:] > 0)
            share = (time - a.stamp_s) / span
            poses.append(np.where(both, (1 - share) * a.poses[i] + share * b.poses[j], 0))
            frame += [t] * len(i)
            view += [c] * len(i)
    return np.concatenate(poses), np.array(frame, int), np.array(view, int)
