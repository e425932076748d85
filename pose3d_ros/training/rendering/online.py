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

"""People who are rendered while a lifter trains: shards of clips, made by other processes ahead of
need.

A shard follows from the seed and its number alone, and the shards of an optimiser step from the
step alone. So a resumed training gets the same ones as an unbroken one; where rendering is slower,
training waits.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Generic, TypeVar

POOL = 32  # shards that a step draws from, at most
CLIPS = 64
T = TypeVar("T")


@dataclass(frozen=True)
class ShardSpec:
    """Contents of shards: bodies, motions of a split, the seed, the number of ``clips`` and of
    their ``frames``, a tenth of a second apart; with ``images`` recordings with images, else the
    embedded detector's keypoints and feature maps.
    """

    makehuman: Path
    mocap: tuple[Path, ...]
    split: str
    seed: tuple[int, ...]
    clips: int
    frames: int
    images: bool = False


class RenderStream(Generic[T]):
    """The newest shards of a spec: one more takes part after every ``every`` steps.

    They are folders ``NNNNN`` in ``folder``, from which ``load`` makes training samples.
    ``resume``: use those that are there already. The process that trains calls ``prepare``; after
    that any process may call ``at``.
    """

    def __init__(
        self,
        spec: ShardSpec,
        folder: Path,
        every: int,
        processes: int,
        load: Callable[[Sequence[Path]], T],
        resume: bool,
    ) -> None:
        if not resume:
            shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.every, self._load = folder, every, load
        self.renderers = Renderers(spec, folder, processes)
        self._now: tuple[range, T] | None = None

    def numbers(self, step: int) -> range:
        """Numbers of the shards that a step draws from."""
        newest = step // self.every
        return range(max(newest + 1 - POOL, 0), newest + 1)

    def prepare(self, step: int, oldest: int) -> None:
        """Wait for the shards of a step, and delete older ones than the step ``oldest`` has.

        Raises ``RuntimeError`` if rendering fails.
        """
        self.renderers.make(self.numbers(step))
        for number in range(self.numbers(oldest).start - 1, -1, -1):
            if not (old := shard_folder(self.folder, number)).exists():
                break
            shutil.rmtree(old)

    def at(self, step: int) -> T:
        """Training samples of a step that was prepared."""
        numbers = self.numbers(step)
        if self._now is None or self._now[0] != numbers:
            self._now = (
                numbers,
                self._load([shard_folder(self.folder, number) for number in numbers]),
            )
        return self._now[1]

    def close(self) -> None:
        """End the renderers."""
        self.renderers.close()


class Renderers:
    """Processes that render shards into a folder, each its share of the numbers, and a little
    ahead of need.
    """

    def __init__(self, spec: ShardSpec, folder: Path, processes: int) -> None:
        self._spec, self._folder, self._count = spec, folder, processes
        self._started: list[tuple[BaseProcess, Connection]] = []
        self._asked: set[int] = set()

    def make(self, numbers: range) -> None:
        """Wait until these shards are there, and begin the next ones. Raises ``RuntimeError``."""
        try:
            for number in range(numbers.start, numbers.stop + self._count):
                if number not in self._asked and not shard_folder(self._folder, number).exists():
                    process, connection = self._renderer(number)
                    connection.send(number)
                    self._asked.add(number)
            for number in numbers:
                while number in self._asked:
                    process, connection = self._renderer(number)
                    answer = connection.recv()
                    if isinstance(answer, str):
                        raise RuntimeError(f"rendering people: {answer}")
                    self._asked.remove(answer)
        except (EOFError, OSError):
            process.join()
            raise RuntimeError(
                f"a process that renders ended with exit code {process.exitcode}; --resume goes "
                "on from the checkpoint"
            ) from None

    def _renderer(self, number: int) -> tuple[BaseProcess, Connection]:
        if not self._started:
            # A forked process could not use CUDA, nor the parent's OpenGL.
            context = get_context("spawn")
            for _ in range(self._count):
                here, there = context.Pipe()
                process = context.Process(
                    target=_render, args=(there, self._spec, self._folder), daemon=True
                )
                process.start()
                there.close()  # so that the end of the process ends what is read here
                self._started.append((process, here))
        return self._started[number % self._count]

    def close(self) -> None:
        """End the processes, in whatever they are."""
        for process, connection in self._started:
            process.terminate()
            process.join()
            connection.close()
        self._started, self._asked = [], set()


def shard_folder(folder: Path, number: int) -> Path:
    """The folder of a shard."""
    return folder / f"{number:05d}"


def _render(numbers: Connection, spec: ShardSpec, folder: Path) -> None:
    """Render the shards whose numbers arrive, until the connection is closed; answer the number,
    or an error message.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the training, which ends this process
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa in software: a core for each process
    try:
        make = _recordings(spec) if spec.images else _features(spec)
        while True:
            number = numbers.recv()
            partial = shard_folder(folder, number).with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial, (*spec.seed, number))
            partial.rename(shard_folder(folder, number))
            numbers.send(number)
    except (EOFError, BrokenPipeError):
        return
    except (ValueError, OSError, RuntimeError) as error:  # as in cli.main
        numbers.send(str(error))


def _features(spec: ShardSpec) -> Callable[[Path, Sequence[int]], None]:
    from pose3d_ros.training.rendering import features
    from pose3d_ros.training.rendering.studio import Studio

    studio = Studio(spec.makehuman, spec.mocap, spec.split, features.PICTURE)
    reader = features.CropDetector(threads=1)
    return lambda out, seed: features.shard(reader, studio, out, seed, spec.clips, spec.frames)


def _recordings(spec: ShardSpec) -> Callable[[Path, Sequence[int]], None]:
    from pose3d_ros.training.rendering import recordings
    from pose3d_ros.training.rendering.studio import Studio

    studio = Studio(spec.makehuman, spec.mocap, spec.split, recordings.SIZE)
    return lambda out, seed: recordings.shard(
        studio, out, spec.split, seed, spec.clips, spec.frames
    )
