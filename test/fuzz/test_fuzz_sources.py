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

"""Damaged videos and bags: images, or one error class of one line, in seconds and megabytes.

A run of ``FUZZ_CASES`` (by default few) mutations, seeded by ``FUZZ_SEED``; by hand::

    FUZZ_CASES=20000 FUZZ_SEED=7 python -m pytest test/fuzz/test_fuzz_sources.py
"""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("av", reason="needs PyAV")
pytest.importorskip("rosbags", reason="needs rosbags")
from clips import flat, write_clip
from image_bags import jpeg, raw, write_bag, write_ros1_bag
from rosbags.rosbag2 import StoragePlugin

from pose3d_ros.io import videos
from pose3d_ros.io.bags import topics
from pose3d_ros.io.errors import SourceError
from pose3d_ros.io.image_sources import frames

CASES = int(os.environ.get("FUZZ_CASES", "60"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SLOWEST_S = 20.0  # of one file, on a busy machine
MOST_MB = 300  # that all of them together add
TIMES_MS = list(range(0, 800, 40))
START_NS = 1_700_000_000_000_000_000


def mutated(rng: np.random.Generator, data: bytes) -> bytes:
    """The bytes with some replaced, in places with extreme numbers, or the end cut off."""
    changed = bytearray(data)
    if rng.random() < 0.3:
        changed = changed[: rng.integers(1, len(changed))]
    for at in rng.integers(0, len(changed), rng.integers(1, 12)):
        extreme = rng.choice([b"\x00\x00\x00\x00", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"])
        changed[at : at + 4] = bytes(extreme) if rng.random() < 0.3 else rng.bytes(4)
    return bytes(changed)


def survive(original: Path, seed: int) -> None:
    """Read mutations of a file; whatever they are, memory and time stay small."""
    rng, path = np.random.default_rng(seed), original.with_stem("mutated")
    data, before = original.read_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    is_bag = path.suffix in (".mcap", ".db3", ".bag")
    for case in range(CASES):
        path.write_bytes(mutated(rng, data))
        start = time.monotonic()
        for read in (
            lambda: [f.image_bgr.shape for f in frames(str(path), bag_topic="/image")],
            lambda: topics(path) if is_bag else videos.frame_times_ns(path),
        ):
            try:
                read()
            except SourceError as error:
                assert "\n" not in str(error) and len(str(error)) < 1000
        assert time.monotonic() - start < SLOWEST_S, f"case {case} of seed {seed}"
    added_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert added_mb < MOST_MB


@pytest.mark.parametrize(
    ("name", "codec", "raw_format"),
    [
        ("clip.mp4", "libx264", None),
        ("clip.ts", "libx264", None),
        ("clip.webm", "libvpx", None),
        ("clip.avi", "mpeg4", None),
        ("clip.h264", "libx264", "h264"),
        ("clip.mpg", "mpeg2video", None),
    ],
)
def test_videos(tmp_path, name, codec, raw_format):
    clip = write_clip(tmp_path / name, TIMES_MS, codec, container_format=raw_format)
    survive(clip, SEED)


@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".bag"])
def test_bags(tmp_path, suffix):
    images = {
        "/image": [raw(flat(n), START_NS + n * 10**8) for n in range(3)],
        "/image/compressed": [jpeg(flat(n), START_NS + n * 10**8) for n in range(3)],
    }
    if suffix == ".bag":
        survive(write_ros1_bag(tmp_path / "images.bag", images), SEED)
        return
    storage = StoragePlugin.SQLITE3 if suffix == ".db3" else StoragePlugin.MCAP
    bag = write_bag(tmp_path / "images", images, storage)
    survive(next(bag.glob(f"*{suffix}")), SEED)
