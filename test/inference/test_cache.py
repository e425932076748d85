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

"""The engine cache, with real processes, real full disks and bytes that anybody can make."""

from __future__ import annotations

import logging
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import wait_for
from paths import ROOT

from pose3d_ros.inference import EngineError
from pose3d_ros.inference.cache import ABANDONED_S, Cache, hash_of

PARTS = {
    "name": "lifter",
    "model": "3f",
    "TensorRT": "10.3.0",
    "gpu": "Orin",
    "capability": "8.7",
    "precision": "fp16",
    "profiles": "keypoints 1 4 16",
    "flags": "strongly typed",
}


class Maker:
    """Builds ``content`` and counts how often; loads what begins as an engine should."""

    def __init__(self, content: bytes = b"engine 1") -> None:
        self.content, self.built = content, 0

    def build(self) -> bytes:
        self.built += 1
        return self.content

    @staticmethod
    def load(data: bytes) -> str:
        if not data.startswith(b"engine"):
            raise EngineError("not an engine")
        return data.decode()

    def get(self, cache: Cache, **changed: str) -> str:
        return cache.get({**PARTS, **changed}, self.build, self.load)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache")


def entries(cache: Cache) -> list[Path]:
    return sorted(cache.folder.glob("*.bin"))


def test_made_once(cache):
    maker = Maker()
    assert [maker.get(cache) for _ in range(3)] == ["engine 1"] * 3 and maker.built == 1
    assert [path.suffix for path in sorted(cache.folder.iterdir())] == [
        ".bin",
        ".lock",
    ]  # no scratch is left
    assert entries(cache)[0].name.startswith("lifter-")


@pytest.mark.parametrize("part", list(PARTS))
def test_another_value_of_any_part_is_another_entry(cache, part):
    first, second = Maker(b"engine 1"), Maker(b"engine 2")
    first.get(cache)
    assert second.get(cache, **{part: PARTS[part] + "x"}) == "engine 2"
    assert first.get(cache) == "engine 1" and (first.built, second.built) == (1, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:-1],  # cut off
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),  # one bit
        lambda data: b"",
        lambda data: data.replace(
            b"Orin", b"Thor"
        ),  # the entry of another device under this one's name
    ],
)
def test_what_is_damaged_is_made_again(cache, damage, caplog):
    maker = Maker()
    maker.get(cache)
    path = entries(cache)[0]
    path.write_bytes(damage(path.read_bytes()))
    assert maker.get(cache) == "engine 1" and maker.built == 2
    assert (
        caplog.messages == [f"{path} is damaged; it is made again"] * 2
    )  # before and after waiting for the others
    assert maker.get(cache) == "engine 1" and maker.built == 2


def test_a_hit_is_verified_by_loading(cache, caplog):
    """Bytes as they were written, which the library of today does not take: a changed driver,
    say.
    """
    cache.write(PARTS, b"yesterday's")
    maker = Maker()
    assert maker.get(cache) == "engine 1" and maker.built == 1
    assert "cannot be used (not an engine); it is made again" in caplog.text


def test_what_is_built_and_does_not_load_is_an_error(cache):
    with pytest.raises(EngineError, match="not an engine"):
        Maker(b"junk").get(cache)


def test_the_least_recently_used_go(tmp_path):
    cache = Cache(tmp_path, 3000)
    makers = {model: Maker(b"engine" + model.encode() * 500) for model in "abcd"}
    for model in "ab":
        makers[model].get(cache, model=model)
    for path in entries(
        cache
    ):  # both long ago: the file system's clock may stand still from one to the next
        os.utime(path, (1, 1))
    makers["a"].get(cache, model="a")
    for model in "cda":
        makers[model].get(cache, model=model)
        assert sum(path.stat().st_size for path in entries(cache)) <= 3000
    assert {model: maker.built for model, maker in makers.items()} == {
        "a": 1,
        "b": 1,
        "c": 1,
        "d": 1,
    }
    makers["b"].get(cache, model="b")
    assert makers["b"].built == 2


def test_what_is_larger_than_the_cache_is_not_kept(tmp_path, caplog):
    cache, small, large = Cache(tmp_path, 2000), Maker(), Maker(b"engine" * 1000)
    small.get(cache)
    assert large.get(cache, model="large") == "engine" * 1000
    assert "is not kept" in caplog.text and len(entries(cache)) == 1
    assert small.get(cache) == "engine 1" and small.built == 1


def test_what_a_dead_process_left_is_swept(cache):
    cache.folder.mkdir()
    for name, age in (("dead.part", 2 * ABANDONED_S), ("alive.part", 0)):
        (cache.folder / name).write_bytes(b"half")
        os.utime(cache.folder / name, (time.time() - age,) * 2)
    Maker().get(cache)
    assert [path.name for path in cache.folder.glob("*.part")] == ["alive.part"]


def build_while_others_wait(folder: str, log: str, processes: int) -> None:
    def say(word: str) -> None:
        with open(log, "a") as file:
            file.write(f"{word}\n")

    class Announced(Cache):
        def _alone(self, parts):
            say("found nothing")
            return super()._alone(parts)

    def build() -> bytes:
        say("built")
        wait_for(
            lambda: Path(log).read_text().count("found nothing") == processes, "the others", 60
        )
        return b"engine" * 200_000

    found = Announced(Path(folder)).get(PARTS, build, Maker.load)
    assert found == "engine" * 200_000


def test_processes_at_once_make_it_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    log = tmp_path / "log"
    processes = [
        context.Process(
            target=build_while_others_wait, args=(str(tmp_path / "cache"), str(log), 3)
        )
        for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert log.read_text().count("built") == 1


def die_while_building(folder: str) -> None:
    def build() -> bytes:
        os.kill(os.getpid(), signal.SIGKILL)
        return b""

    Cache(Path(folder)).get(PARTS, build, Maker.load)


def test_a_process_that_dies_while_building_blocks_nobody(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=die_while_building, args=(str(tmp_path),)
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    maker = Maker()
    assert maker.get(Cache(tmp_path)) == "engine 1" and maker.built == 1


def test_no_write_access(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder can be made below a file, not even by root")
    maker = Maker()
    assert [maker.get(Cache(tmp_path / "file" / "cache")) for _ in range(2)] == ["engine 1"] * 2
    assert maker.built == 2 and [record.levelno for record in caplog.records] == [
        logging.WARNING
    ]  # said once
    assert "going on without it" in caplog.text and "XDG_CACHE_HOME" in caplog.text


def read_as_nobody(folder: str) -> None:
    if os.geteuid() == 0:  # who may write everywhere
        os.setuid(65534)
    cache, maker = Cache(Path(folder)), Maker()
    assert maker.get(cache) == "engine 1" and maker.built == 0
    assert maker.get(cache, model="other") == "engine 1" and maker.built == 1
    assert len(entries(cache)) == 1


def test_a_cache_for_reading_alone_is_read():
    with tempfile.TemporaryDirectory() as folder:  # others cannot enter tmp_path
        os.chmod(folder, 0o755)
        cache = Cache(Path(folder) / "cache")
        Maker().get(cache)
        cache.folder.chmod(0o555)
        process = multiprocessing.get_context("spawn").Process(
            target=read_as_nobody, args=(str(cache.folder),)
        )
        process.start()
        process.join(60)
        cache.folder.chmod(0o755)
    assert process.exitcode == 0


def fill_the_disk(folder: Path) -> None:
    cache = Cache(folder)
    large, small = Maker(b"engine" * 100_000), Maker()
    assert large.get(cache, model="large") == "engine" * 100_000
    assert small.get(cache) == "engine 1" and small.get(cache) == "engine 1" and small.built == 1
    assert len(entries(cache)) == 1, "only the small one is there"
    assert not list(cache.folder.glob("*.part")), (
        "what was written before the disk was full is gone"
    )
    assert large.get(cache, model="large") == "engine" * 100_000 and large.built == 2


def test_disk_full(tmp_path):
    """A real file system of 200 KB, in a mount namespace of its own."""
    enter = [
        "unshare",
        "-rm",
        "sh",
        "-c",
        f'mount -t tmpfs -o size=200k none {tmp_path} && exec "$@"',
        "sh",
    ]
    try:
        subprocess.run([*enter, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"this system lets nobody mount: {error}")
    code = f"import pathlib, {__name__} as t; t.fill_the_disk(pathlib.Path('{tmp_path}'))"
    done = subprocess.run(
        [*enter, sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=Path(__file__).parent,
        env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'test'}"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("No space left on device); going on without it: free some space") == 1


def file_too_large(folder: str) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    fill_the_disk(Path(folder))


def test_file_size_limit(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=file_too_large, args=(str(tmp_path),)
    )
    process.start()
    process.join(60)
    assert process.exitcode == 0


def test_the_hash_covers_weights_beside_the_model(tmp_path):
    model = tmp_path / "model.onnx"
    model.write_bytes(b"graph")
    (tmp_path / "model.onnx.md").write_text("about it")
    alone = hash_of(model)
    weights = tmp_path / "model.onnx.data"
    weights.write_bytes(b"weights")
    first = hash_of(model)
    weights.write_bytes(b"others!")
    assert len({alone, first, hash_of(model)}) == 3
    (tmp_path / "model.onnx.md").write_text("more about it")
    weights.unlink()
    assert hash_of(model) == alone
