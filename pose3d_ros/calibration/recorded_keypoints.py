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

"""2D poses out of a bag with the ``keypoints`` topics of several cameras, at common times."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pose3d_ros.errors import CalibrationError
from pose3d_ros.io.bags import read_keypoints
from pose3d_ros.people import NO_ID, People2D
from pose3d_ros.skeleton import H36M17

RATE_HZ = 10.0  # poses closer in time add little
MAX_GAP_S = 0.2  # between two messages, over which a joint's way is taken as straight


class RecordedPoses(NamedTuple):
    """2D poses of one image: ``poses`` (P, 17, 3) of px and confidence, 0 where unknown, the
    tracks' ``ids`` (P,) and the image's ``size``, (0, 0) if unknown.
    """

    stamp_s: float
    poses: np.ndarray
    ids: np.ndarray
    size: tuple[int, int]


def read_people(path: Path, namespaces: Sequence[str]) -> list[list[People2D]]:
    """Per camera its 2D people in the order of their stamps. The topic of a camera is
    ``.../NAMESPACE/keypoints``.

    Raises ``BagError`` that lists the bag's topics when one is missing, not unique, or is not in
    our layout, ``CalibrationError`` when one has no messages.
    """
    cameras: list[list[People2D]] = [[] for _ in namespaces]
    for _, camera, people in read_keypoints(path, namespaces):
        cameras[camera].append(people)
    empty = [name for name, messages in zip(namespaces, cameras, strict=True) if not messages]
    if empty:
        raise CalibrationError(
            f"{path}: expected messages on .../keypoints of {', '.join(empty)}, got none"
        )
    return [sorted(messages, key=lambda people: people.stamp_ns) for messages in cameras]


def read(
    path: Path, namespaces: Sequence[str], offsets_ns: Sequence[int] | None = None
) -> list[list[RecordedPoses]]:
    """Per camera its messages in the order of their stamps, to which ``offsets_ns`` are added.
    Raises as ``read_people``, and ``CalibrationError`` when one does not follow people.
    """
    cameras = read_people(path, namespaces)
    return [
        [_recorded_poses(namespace, people.later(by_ns)) for people in messages]
        for namespace, messages, by_ns in zip(
            namespaces, cameras, offsets_ns or [0] * len(namespaces), strict=True
        )
    ]


def _recorded_poses(namespace: str, people: People2D) -> RecordedPoses:
    if (people.ids == NO_ID).any():
        raise CalibrationError(
            f".../{namespace}/keypoints: expected clouds with the field person, by which people "
            f"are followed, got none"
        )
    poses = np.concatenate(
        [np.nan_to_num(people.keypoints_px), people.confidence[..., None]], -1
    ).astype(float)
    return RecordedPoses(people.stamp_ns * 1e-9, poses, people.ids, people.image_size)


def at_common_times(
    cameras: Sequence[Sequence[RecordedPoses]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Poses (N, 17, 3), frame (N,) and view (N,) at ``RATE_HZ``: cameras need not look at the same
    moments, because a tracked person is interpolated between two messages. Raises
    ``CalibrationError`` when recordings do not overlap.
    """
    first = max(messages[0].stamp_s for messages in cameras)
    last = min(messages[-1].stamp_s for messages in cameras)
    if last <= first:
        raise CalibrationError(
            f"the cameras' recordings do not overlap in time ({first - last:.1f} s apart): were "
            "they recorded together, and do the machines' clocks agree?"
        )
    times = np.arange(first, last, 1 / RATE_HZ)
    poses, frame, view = [np.zeros((0, len(H36M17), 3))], [], []
    for c, messages in enumerate(cameras):
        stamps = np.array([message.stamp_s for message in messages])
        after = np.clip(np.searchsorted(stamps, times), 1, len(stamps) - 1)
        for t, (time, k) in enumerate(zip(times, after, strict=True)):
            a, b = messages[k - 1], messages[k]
            span = b.stamp_s - a.stamp_s
            if not 0 < span <= MAX_GAP_S:
                continue
            _, i, j = np.intersect1d(a.ids, b.ids, return_indices=True)
            both = (a.poses[i, :, 2:] > 0) & (b.poses[j, :, 2:] > 0)
            share = (time - a.stamp_s) / span
            poses.append(np.where(both, (1 - share) * a.poses[i] + share * b.poses[j], 0))
            frame += [t] * len(i)
            view += [c] * len(i)
    return np.concatenate(poses), np.array(frame, int), np.array(view, int)
