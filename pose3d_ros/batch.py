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

"""Recordings tracked to files: one, or many in parallel on this machine or on many."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, as_completed
from contextlib import suppress
from dataclasses import dataclass, fields, replace
from itertools import chain
from pathlib import Path
from typing import Any

from pose3d_ros.camera import Camera
from pose3d_ros.errors import Pose3dError, one_line
from pose3d_ros.io import videos
from pose3d_ros.io.bags import is_bag
from pose3d_ros.io.image_sources import check_exists
from pose3d_ros.io.pose_files import check_output, pose_writer
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.offline import film_of, people_of, people_of_rig
from pose3d_ros.people import People3D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.tracking.smoother import smoothed

RIG_SUFFIXES = (".yaml", ".yml", ".json", ".toml")
LIST_SUFFIX = ".txt"
NAME = "{}"  # in an output: the recording's name
REPORT = "tracked.jsonl"


class BatchError(Pose3dError, ValueError):
    """Recordings and outputs that do not fit together."""


@dataclass(frozen=True)
class Job:
    """A recording, or a rig file of several cameras' recordings, and the file for its people."""

    source: Path
    output: Path


@dataclass(frozen=True)
class TrackOptions:
    """How recordings are tracked; ``calibration`` is a file of the camera, "" for none."""

    settings: PipelineSettings
    calibration: str = ""
    bag_topic: str = ""
    smooth: bool = False

    def described(self) -> dict[str, Any]:
        """What differs from the defaults, for the report."""
        told: dict[str, Any] = {
            spec.name: value
            for spec in fields(self.settings)
            if (value := getattr(self.settings, spec.name)) != spec.default
        }
        for name in ("calibration", "bag_topic", "smooth"):
            if value := getattr(self, name):
                told[name] = value
        return told


@dataclass(frozen=True)
class Tracked:
    """What became of a recording; ``said`` of its files, line by line."""

    frames: int
    people: int
    seconds: float
    said: tuple[str, ...] = ()
    error: str = ""

    def __str__(self) -> str:
        """What is told of it in one line."""
        rate = self.frames / max(self.seconds, 1e-9)
        return self.error or f"{self.frames} frames, {self.people} people, {rate:.1f} frames/s"


def track(
    job: Job,
    options: TrackOptions,
    progress: Callable[[int, int, int], None] = lambda frames, people, stamp_ns: None,
) -> Tracked:
    """Track a recording and write its people. ``progress`` hears after each frame how many there
    were, of how many people, and the frame's time. Raises ``Pose3dError`` and ``OSError``.

    The file is finished also where the recording breaks off.
    """
    rig = is_rig(job.source)
    began_s, frames, ids = time.perf_counter(), 0, set()
    check_output(job.output)
    recording = _people(job.source, options, rig)
    first = next(recording, None)  # an earlier file stays where nothing can be read
    if first is None:
        raise BatchError(f"{job.source}: no frame could be read")
    writer = pose_writer(job.output)
    try:
        for people in chain([first], recording):
            writer.write(people)
            frames += 1
            ids.update(people.ids.tolist())
            progress(frames, len(ids), people.stamp_ns)
    finally:
        said = writer.close(optical=not rig and not options.settings.fixed_frame)
    return Tracked(frames, len(ids), time.perf_counter() - began_s, tuple(said))


def is_rig(source: Path) -> bool:
    """Whether a source is a rig file."""
    return source.suffix.lower() in RIG_SUFFIXES and source.is_file()


def length_s(source: Path) -> float | None:
    """Length of a recording, of a rig that of its first video; None where none tells it."""
    if is_rig(source):
        rig = read_rig(source)
        source = Path(film_of(rig, next(iter(rig.cameras)), source.parent))
    return videos.length_s(source) if source.is_file() and not is_bag(source) else None


def jobs_of(sources: Sequence[Path], output: str) -> list[Job]:
    """A job for each recording among ``sources``, of which those that end with .txt are lists of
    others, a line each, counted from the list's folder.

    ``output`` has ``{}`` where the recording's path below the folder common to all goes, without
    its ending. Raises ``BatchError``, and ``SourceError`` for a recording that is not there.
    """
    recordings = [recording for source in sources for recording in _listed(source)]
    for recording in recordings:
        check_exists(str(recording))
    if not recordings:
        raise BatchError(f"{sources[0]}: expected a recording or rig file a line, got none")
    if NAME not in output:
        if len(recordings) == 1:
            return [Job(recordings[0], Path(output))]
        raise BatchError(
            f"output: expected {NAME} in it where each recording's name goes, as in "
            f"results/{NAME}.csv, got {output} for {len(recordings)} recordings"
        )
    whole = [Path(os.path.abspath(recording)) for recording in recordings]
    common = Path(os.path.commonpath([recording.parent for recording in whole]))
    jobs: dict[Path, Job] = {}
    for recording in whole:
        name = recording.relative_to(common)
        name = name if recording.is_dir() else name.with_suffix("")
        path = Path(os.path.abspath(output.replace(NAME, str(name))))
        if path in jobs:
            raise BatchError(
                f"expected recordings of different names, got {jobs[path].source} and {recording} "
                f"for {path}"
            )
        jobs[path] = Job(recording, path)
    return list(jobs.values())


def track_all(
    jobs: Sequence[Job], options: TrackOptions, executor: Executor, report: Path
) -> Iterator[tuple[Job, Tracked]]:
    """Track recordings in parallel, each as it is done: those that ``report`` does not have yet.

    One that fails is an error in its answer and ends alone. The report gets a line for each at
    once, so that the same call goes on after an interruption.
    """
    lines = _read_report(report)
    to_do = [job for job in jobs if not _is_done(job, options, lines)]
    for job in to_do:
        job.output.parent.mkdir(parents=True, exist_ok=True)
    futures = {executor.submit(_tried, job, options): job for job in to_do}
    try:
        for future in as_completed(futures):
            job = futures[future]
            error = future.exception()  # a worker that died
            tracked = Tracked(0, 0, 0, error=one_line(error)) if error else future.result()
            line = {**_key(job, options), **vars(tracked)}
            with report.open("a") as file:
                file.write(json.dumps(line) + "\n")
            yield job, tracked
    finally:
        for future in futures:
            future.cancel()


def _tried(job: Job, options: TrackOptions) -> Tracked:
    began_s = time.perf_counter()
    try:
        return track(job, options)
    except (ValueError, OSError, RuntimeError) as error:  # as the command does with one
        return Tracked(0, 0, time.perf_counter() - began_s, error=one_line(error))


def _read_report(report: Path) -> list[dict[str, Any]]:
    """The lines of a report; none where there is no such file."""
    lines = []
    for text in report.read_text().splitlines() if report.is_file() else ():
        with suppress(json.JSONDecodeError):  # cut off by what interrupted it
            lines.append(json.loads(text))
    return lines


def _is_done(job: Job, options: TrackOptions, lines: Sequence[dict[str, Any]]) -> bool:
    """Whether the last of a report's lines of this recording, as it is now and with these options,
    is without an error.
    """
    key = _key(job, options)
    same = [line for line in lines if all(line.get(name) == key[name] for name in key)]
    return bool(same) and not same[-1]["error"]


def _key(job: Job, options: TrackOptions) -> dict[str, Any]:
    state = job.source.stat()
    return {
        "source": str(job.source),
        "bytes": state.st_size,
        "modified_ns": state.st_mtime_ns,
        "output": str(job.output),
        "options": options.described(),
    }


def _listed(source: Path) -> Iterator[Path]:
    if source.suffix.lower() != LIST_SUFFIX or not source.is_file():
        yield source
        return
    for line in source.read_text().splitlines():
        if line.strip():
            yield source.parent / Path(line.strip()).expanduser()


def _people(source: Path, options: TrackOptions, rig: bool) -> Iterator[People3D]:
    """People of each frame, once they are asked for; calibration and rig file are read at once."""
    settings = options.settings
    if options.smooth:
        settings = settings.changed(smoothing=0.0)
    if rig and options.calibration:
        raise BatchError(
            f"calibration: expected a recording of one camera, got the rig file {source}, which "
            f"has its cameras' own; leave calibration out"
        )
    if rig:
        people = people_of_rig(read_rig(source), source.parent, settings)
    else:
        camera = Camera.from_yaml(options.calibration) if options.calibration else None
        people = people_of(str(source), camera, settings, options.bag_topic)
    in_space = (replace(frame, people_2d=None) for frame in people)  # features are large
    return _smoothed(in_space) if options.smooth else in_space


def _smoothed(people: Iterable[People3D]) -> Iterator[People3D]:
    yield from smoothed(list(people))
