"""2D poses out of a bag with the ``keypoints`` topics of several cameras, at common times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from pose3d_ros.evaluation.multiview_bag import CLOUD_TYPE, opened
from pose3d_ros.io.keypoints_cloud import CloudError, people_2d
from pose3d_ros.people import NO_ID
from pose3d_ros.skeleton import H36M17

RATE_HZ = 10.0  # poses nearer in time say little more
LONGEST_S = 0.2  # between two messages, over which a joint's way is taken as straight


class Message(NamedTuple):
    """What one image showed: ``poses`` (P, 17, 3) of px and confidence, 0 where unknown, with the
    tracks' ``ids`` (P,) and the image's ``size``, (0, 0) if it is not told.
    """

    stamp_s: float
    poses: np.ndarray
    ids: np.ndarray
    size: tuple[int, int]


def read(path: Path, namespaces: Sequence[str]) -> list[list[Message]]:
    """Per camera its messages in the order of their stamps. The topic of a camera is
    ``.../NAMESPACE/keypoints``.

    Raises ``ValueError`` that lists the bag's topics when one is missing, not unique, or is not in
    our layout.
    """
    with opened(path) as reader:
        offered = {c.topic: c for c in reader.connections if c.msgtype == CLOUD_TYPE}
        chosen = []
        for namespace in namespaces:
            ending = f"/{namespace.strip('/')}/keypoints"
            fitting = [topic for topic in offered if f"/{topic.strip('/')}".endswith(ending)]
            if len(fitting) != 1:
                raise ValueError(
                    f"{path}: expected one topic ...{ending} of {CLOUD_TYPE}, got "
                    f"{', '.join(fitting) or 'none'} among {', '.join(offered) or 'none'}: record "
                    f"the "
                    f"keypoints of every camera of the rig"
                )
            chosen.append(fitting[0])
        messages: dict[str, list[Message]] = {topic: [] for topic in chosen}
        for connection, _, raw in reader.messages([offered[topic] for topic in chosen]):
            messages[connection.topic].append(
                _message(connection.topic, reader.deserialize(raw, connection.msgtype))
            )
    empty = [topic for topic in chosen if not messages[topic]]
    if empty:
        raise ValueError(f"{path}: {', '.join(empty)} has no messages")
    return [sorted(messages[topic], key=lambda m: m.stamp_s) for topic in chosen]


def _message(topic: str, cloud: Any) -> Message:
    try:
        people = people_2d(cloud, H36M17)
    except CloudError as error:
        raise ValueError(f"{topic}: {error}") from None
    if (people.ids == NO_ID).any():
        raise ValueError(
            f"{topic}: expected clouds with the field person, by which people are followed, got "
            f"none"
        )
    poses = np.concatenate(
        [np.nan_to_num(people.keypoints_px), people.confidence[..., None]], -1
    ).astype(float)
    return Message(people.stamp_ns * 1e-9, poses, people.ids, people.image_size)


def at_common_times(
    cameras: Sequence[Sequence[Message]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (N, 17, 3), frame (N,) and view (N,) at ``RATE_HZ``: cameras need not look at the same
    moments, because a tracked person is interpolated between two messages. Raises ``ValueError``
    when recordings do not overlap.
    """
    first = max(messages[0].stamp_s for messages in cameras)
    last = min(messages[-1].stamp_s for messages in cameras)
    if last <= first:
        raise ValueError(
            f"the cameras' recordings do not overlap in time ({first - last:.1f} s apart): were "
            f"they "
            f"recorded together, and do the machines' clocks agree?"
        )
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
