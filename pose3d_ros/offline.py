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

"""People of recordings, frame by frame: of one camera, or of a rig whose cameras were recorded."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from pose3d_ros.arrays import ImageBgr
from pose3d_ros.camera import Camera
from pose3d_ros.io.image_sources import Frame, SourceError, camera_of, frames, is_device
from pose3d_ros.io.rig_file import RigFile
from pose3d_ros.io.rig_time import film_start_s, has_film
from pose3d_ros.multiview import MultiViewTracker, PoseBuffer
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import PUBLISHED

ASSUMED_FOV_RAD = math.radians(60)


def recorded(
    source: str, camera: Camera | None = None, bag_topic: str = ""
) -> Iterator[tuple[ImageBgr, Camera, int]]:
    """Each frame of a video, folder of images or bag (its ``bag_topic``), with the camera at its
    size, and its time in nanoseconds from the first.

    Without a camera, that of the bag's camera_info is taken, else a field of view of 60 degrees is
    assumed. Raises ``SourceError``.
    """
    if is_device(source):
        raise SourceError(f"{source}: expected a recording, got a live camera")
    camera = camera or camera_of(source, bag_topic)
    for image, due_s in frames(source, bag_topic=bag_topic):
        height, width = image.shape[:2]
        camera = camera or Camera.from_fov(width, height, ASSUMED_FOV_RAD)
        yield image, camera.at_resolution(width, height), _stamp_ns(due_s)


def people_of(
    source: str,
    camera: Camera | None = None,
    settings: PipelineSettings | None = None,
    bag_topic: str = "",
) -> Iterator[People3D]:
    """People of each frame of a video, folder of images or bag, in the camera's optical frame or
    the settings' ``fixed_frame``; those who are never ``believed`` are left out. The camera, and
    what is raised, as of ``recorded``.
    """
    with MonocularPipeline(settings) as pipeline:
        yield from believed(
            pipeline(image, seen_by, stamp_ns)
            for image, seen_by, stamp_ns in recorded(source, camera, bag_topic)
        )


def people_of_rig(
    rig: RigFile, folder: Path, settings: PipelineSettings | None = None
) -> Iterator[People3D]:
    """People at each common time of the videos that a rig file names, in the rig's frame; paths
    count from ``folder``, and times from the first video's start. Those who are never ``believed``
    are left out.

    Raises ``SourceError`` where a camera has no recording, or a rig has no poses.
    """
    if not rig.posed:
        raise SourceError("expected a rig file that says where its cameras stand, got one without")
    films = [(film_of(rig, name, folder), film_start_s(rig, name)) for name in rig.cameras]
    return believed(_fused(rig, films, settings or PipelineSettings()))


def believed(frames: Iterable[People3D]) -> Iterator[People3D]:
    """The frames without people who are never believed. Who is, is there from their first frame
    on, which nodes cannot have: a frame waits while somebody in it is tentative.
    """
    waiting: deque[People3D] = deque()
    known: set[int] = set()
    for people in frames:
        waiting.append(people)
        tentative = people.states == TrackState.TENTATIVE
        known.update(people.ids[~tentative].tolist())
        doubtful = set(people.ids[tentative].tolist()) - known
        while waiting and doubtful.isdisjoint(waiting[0].ids.tolist()):
            yield _only(waiting.popleft(), known)
    for people in waiting:
        yield _only(people, known)


def _only(people: People3D, ids: set[int]) -> People3D:
    return people[np.isin(people.ids, list(ids))]


def _fused(
    rig: RigFile, films: Sequence[tuple[str, float]], settings: PipelineSettings
) -> Iterator[People3D]:
    """People of the rig at each common time of its films (path, start in seconds)."""
    cameras = list(rig.cameras.values())
    buffer = PoseBuffer(len(cameras))
    tracker = MultiViewTracker(
        cameras, PUBLISHED[settings.skeleton], rig.frame_id, settings.max_occlusion_s
    )
    with ExitStack() as stack:
        pipelines = [stack.enter_context(MonocularPipeline(settings)) for _ in cameras]
        for stamp_ns, index, frame in heapq.merge(
            *(_timed(index, source, start_s) for index, (source, start_s) in enumerate(films)),
            key=lambda timed: timed[:2],
        ):
            image, camera, pipeline = frame.image_bgr, cameras[index], pipelines[index]
            seen = (
                pipeline(image, camera, stamp_ns).people_2d
                if settings.lift
                else pipeline.detect(image, stamp_ns)
            )
            assert seen is not None
            buffer.add(index, seen, stamp_ns)
            while (taken := buffer.take(stamp_ns)) is not None:
                yield tracker.update(*taken)


def film_of(rig: RigFile, name: str, folder: Path) -> str:
    """The recording of a camera that the rig file names; a relative path counts from ``folder``.
    Raises ``SourceError`` where it names none.
    """
    video = rig.sources.get(name, {}).get("video", "")
    if not has_film(rig, name):
        raise SourceError(
            f"camera {name}: expected a recording, got {video or 'nothing'}; set video in its "
            f"entry of the rig file"
        )
    return str(folder / Path(video).expanduser())


def seen_in(source: str, settings: PipelineSettings | None = None) -> Iterator[People2D]:
    """2D people of each frame of a recording, with ids; raises ``SourceError``."""
    with MonocularPipeline((settings or PipelineSettings()).changed(lift=False)) as pipeline:
        for frame in frames(source):
            yield pipeline.detect(frame.image_bgr, _stamp_ns(frame.due_s))


def _timed(index: int, source: str, start_s: float) -> Iterator[tuple[int, int, Frame]]:
    return ((_stamp_ns((frame.due_s or 0.0) + start_s), index, frame) for frame in frames(source))


def _stamp_ns(due_s: float | None) -> int:
    return round((due_s or 0.0) * 1e9)
