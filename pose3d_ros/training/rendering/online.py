"""Rendered people who come new while a lifter trains: shards of clips, made by other processes
ahead of need.

A shard follows from the seed and its number alone, and what a step sees from its number alone. So
a training that goes on sees what an unbroken one would; where rendering is slower, it waits.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pose3d_ros.training.build import Source

POOL = 32  # shards that are seen at a time, at most
CLIPS = 64


@dataclass(frozen=True)
class Recipe:
    """What a shard follows from besides its number: bodies, motions of a split, the seed, how many
    ``clips`` it has of how many ``frames``, a tenth of a second apart; and whether the
    ``pictures`` are kept, as recordings, or (else) what the embedded detector says of them.
    """

    makehuman: Path
    cmu_mocap: Path
    split: str
    seed: tuple[int, ...]
    clips: int
    frames: int
    pictures: bool = False


class Fresh:
    """The newest shards of a recipe: another one takes part after every ``every`` steps.

    They are folders ``NNNNN`` in ``folder``, of which ``load`` makes training samples. ``kept``:
    those that are there already are of the same recipe. The process that trains calls ``prepare``;
    any may then ask what a step sees.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        every: int,
        processes: int,
        load: Callable[[Sequence[Path]], Source],
        kept: bool,
    ) -> None:
        if not kept:
            shutil.rmtree(folder, ignore_errors=True)
        self.folder, self.every, self._load = folder, every, load
        self.renderers = Renderers(recipe, folder, processes)
        self._now: tuple[range, Source] | None = None

    def numbers(self, step: int) -> range:
        """The shards that a step sees."""
        newest = step // self.every
        return range(max(newest + 1 - POOL, 0), newest + 1)

    def prepare(self, step: int, oldest: int) -> None:
        """Wait for what a step sees, and drop what was before that which the step ``oldest`` sees.

        Raises ``RuntimeError`` if rendering fails.
        """
        self.renderers.make(self.numbers(step))
        for number in range(self.numbers(oldest).start - 1, -1, -1):
            if not (old := place(self.folder, number)).exists():
                break
            shutil.rmtree(old)

    def at(self, step: int) -> Source:
        """What a step sees that was prepared."""
        numbers = self.numbers(step)
        if self._now is None or self._now[0] != numbers:
            self._now = numbers, self._load([place(self.folder, number) for number in numbers])
        return self._now[1]

    def close(self) -> None:
        """End the renderers."""
        self.renderers.close()


class Renderers:
    """Processes that render shards into a folder, each its share of the numbers, and a little
    ahead of need.
    """

    def __init__(self, recipe: Recipe, folder: Path, processes: int) -> None:
        self._recipe, self._folder, self._count = recipe, folder, processes
        self._started: list[tuple[BaseProcess, Connection]] = []
        self._asked: set[int] = set()

    def make(self, numbers: range) -> None:
        """Wait until these shards are there, and begin the next ones. Raises ``RuntimeError``."""
        try:
            for number in range(numbers.start, numbers.stop + self._count):
                if number not in self._asked and not place(self._folder, number).exists():
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
                f"on from "
                f"the checkpoint"
            ) from None

    def _renderer(self, number: int) -> tuple[BaseProcess, Connection]:
        if not self._started:
            # A forked process could not use CUDA, nor the parent's OpenGL.
            context = get_context("spawn")
            for _ in range(self._count):
                here, there = context.Pipe()
                process = context.Process(
                    target=_render, args=(there, self._recipe, self._folder), daemon=True
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


def place(folder: Path, number: int) -> Path:
    """The folder of a shard."""
    return folder / f"{number:05d}"


def _render(numbers: Connection, recipe: Recipe, folder: Path) -> None:
    """Render what is asked for, until nobody is there to ask; answer the number, or what went
    wrong in words.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the training, which ends this process
    os.environ.setdefault("LP_NUM_THREADS", "0")  # Mesa in software: a core for each process
    try:
        make = _recordings(recipe) if recipe.pictures else _features(recipe)
        while True:
            number = numbers.recv()
            partial = place(folder, number).with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            make(partial, (*recipe.seed, number))
            partial.rename(place(folder, number))
            numbers.send(number)
    except (EOFError, BrokenPipeError):
        return
    except (ValueError, OSError, RuntimeError) as error:  # as in cli.py: what is not as expected
        numbers.send(str(error))


def _features(recipe: Recipe) -> Callable[[Path, Sequence[int]], None]:
    from pose3d_ros.training.rendering import features
    from pose3d_ros.training.rendering.studio import Studio

    studio = Studio(recipe.makehuman, recipe.cmu_mocap, recipe.split, features.PICTURE)
    reader = features.Reader(threads=1)
    return lambda out, seed: features.shard(reader, studio, out, seed, recipe.clips, recipe.frames)


def _recordings(recipe: Recipe) -> Callable[[Path, Sequence[int]], None]:
    from pose3d_ros.training.rendering import recordings
    from pose3d_ros.training.rendering.studio import Studio

    studio = Studio(recipe.makehuman, recipe.cmu_mocap, recipe.split, recordings.SIZE)
    return lambda out, seed: recordings.shard(
        studio, out, recipe.split, seed, recipe.clips, recipe.frames
    )
