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

"""Write the people of recordings to files: of one camera, or of a rig of recorded cameras; of one
recording, or of many in parallel.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING

from pose3d_ros.arguments import add_options, from_options
from pose3d_ros.settings import PipelineSettings

if TYPE_CHECKING:
    from pose3d_ros.batch import Job, TrackOptions

BAR_WIDTH = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``pose3d track``."""
    parser.add_argument(
        "sources",
        nargs="+",
        type=_recording,
        metavar="SOURCE",
        help="video file, folder of images or bag; a rig file that names its cameras' videos; or "
        "a text file (.txt) that lists such sources, a line each",
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="FILE",
        help="NAME.csv, NAME.jsonl (a line per frame), NAME.npz (numpy), NAME.mcap (a bag); or, a "
        "file per person, NAME.trc (OpenSim), NAME.c3d, NAME.bvh (Blender), NAME.mot (joint "
        "angles). Of several recordings {} stands for the name of each (results/{}.csv), and "
        "those that are done already are left out",
    )
    parser.add_argument(
        "--calibration",
        type=Path,
        metavar="YAML",
        help="the camera's calibration; without, a bag's camera_info is taken, else 60 degrees of "
        "view are assumed",
    )
    parser.add_argument(
        "--bag-topic",
        default="",
        metavar="TOPIC",
        help="images to take from a bag; by default its only ones",
    )
    parser.add_argument(
        "--smooth",
        action="store_true",
        help="smooth without delay, as only recordings can be: each frame knows those after it",
    )
    parser.add_argument(
        "--jobs",
        type=_count,
        default=0,
        metavar="N",
        help="recordings at once, each with one thread or --threads; 0: one for each core",
    )
    parser.add_argument(
        "--dask",
        default="",
        metavar="ADDRESS",
        help="track recordings on the workers of this Dask scheduler (tcp://HOST:8786), which see "
        "the same files at the same paths",
    )
    add_options(parser, PipelineSettings)


def _recording(text: str) -> Path:
    if "://" in text:
        raise argparse.ArgumentTypeError(f"expected a file or a folder, got the address {text}")
    return Path(text)


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected 0, 1, 2, ..., got {text}")
    return int(text)


def command(options: argparse.Namespace) -> int:
    """Track, write, and say how fast."""
    from pose3d_ros.batch import NAME, BatchError, TrackOptions, jobs_of

    how = TrackOptions(
        from_options(options, PipelineSettings),
        str(options.calibration.resolve()) if options.calibration else "",
        options.bag_topic,
        options.smooth,
    )
    jobs = jobs_of(options.sources, options.output)
    if NAME in options.output:
        return _track_many(jobs, how, options)
    if options.dask:
        raise BatchError(
            f"output: expected {NAME} in it beside --dask, as in results/{NAME}.csv, got "
            f"{options.output}"
        )
    return _track_one(jobs[0], how)


def _track_one(job: Job, how: TrackOptions) -> int:
    from pose3d_ros.batch import length_s, track

    try:
        if sys.stderr.isatty():
            tracked = track(job, how, _progress(length_s(job.source)))
            sys.stderr.write("\n")
        else:
            tracked = track(job, how)
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{job.output}: stopped before the end, has what came until then\n")
        raise
    sys.stdout.writelines(f"{line}\n" for line in tracked.said)
    sys.stdout.write(f"{job.output}: {tracked}\n")
    return 0


def _progress(length_s: float | None) -> Callable[[int, int, int], None]:
    """Writes a line over itself: a bar where the recording's length is known."""
    began_s = time.perf_counter()

    def show(frames: int, people: int, stamp_ns: int) -> None:
        if frames % 10:
            return
        past_s, done_s = time.perf_counter() - began_s, stamp_ns * 1e-9
        told = f"{frames} frames, {people} people, {frames / past_s:.1f} frames/s"
        if length_s and 0 < done_s <= length_s:
            share = done_s / length_s
            bar = "#" * round(BAR_WIDTH * share)
            told = f"[{bar:{BAR_WIDTH}}] {told}, {past_s / share - past_s:.0f} s left"
        sys.stderr.write(f"\r{told}\033[K")

    return show


def _track_many(jobs: list[Job], how: TrackOptions, options: argparse.Namespace) -> int:
    from pose3d_ros.batch import NAME, REPORT, track_all

    if not how.settings.threads:
        how = replace(how, settings=how.settings.changed(threads=1))
    # what stands before the name, be it a folder or the beginning of files' names
    folder = Path(os.path.abspath(options.output.partition(NAME)[0] + "x")).parent
    folder.mkdir(parents=True, exist_ok=True)
    began_s, done, failed, frames = time.perf_counter(), 0, 0, 0
    with _executor(options) as executor:
        for job, tracked in track_all(jobs, how, executor, folder / REPORT):
            done += 1
            failed += bool(tracked.error)
            frames += tracked.frames
            sys.stdout.write(f"[{done}/{len(jobs)}] {job.source}: {tracked}\n")
            sys.stdout.flush()
    rate = frames / (time.perf_counter() - began_s)
    there = f", {len(jobs) - done} were there already" if done < len(jobs) else ""
    sys.stdout.write(
        f"{len(jobs)} recordings: {done - failed} tracked, {failed} failed{there}; "
        f"{frames} frames, {rate:.1f} frames/s; {folder / REPORT}\n"
    )
    return int(failed > 0)


@contextmanager
def _executor(options: argparse.Namespace) -> Iterator[Executor]:
    """The cluster's workers, or processes of this machine, and their end."""
    if options.dask:
        from distributed import Client

        # a client that is not closed looks for its scheduler for as long as this process lives
        with (
            Client(options.dask, timeout=10) as client,
            client.get_executor(pure=False) as workers,
        ):
            yield workers
        return
    jobs = options.jobs or os.cpu_count() or 1
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as processes:
        yield processes
