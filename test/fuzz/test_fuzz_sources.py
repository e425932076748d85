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

"""Damaged videos and bags: images, or one error class of one line, in seconds and megabytes."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

pytest.importorskip("av", reason="needs PyAV")
pytest.importorskip("rosbags", reason="needs rosbags")
from clips import flat, write_clip
from image_bags import jpeg, raw, write_bag, write_ros1_bag
from mutations import CASES, SEED, mutated, run_all
from rosbags.rosbag2 import StoragePlugin

from pose3d_ros.io import videos
from pose3d_ros.io.bags import topics
from pose3d_ros.io.errors import SourceError
from pose3d_ros.io.image_sources import frames

TIMES_MS = list(range(0, 800, 40))
START_NS = 1_700_000_000_000_000_000


def survive(original: Path) -> None:
    """Read mutations of a file, as images and as what else is asked of it."""
    rng, path, data = random.Random(SEED), original.with_stem("mutated"), original.read_bytes()
    is_bag = path.suffix in (".mcap", ".db3", ".bag")

    def images(damaged: bytes) -> None:
        path.write_bytes(damaged)
        for _ in frames(str(path), bag_topic="/image"):
            pass

    def rest(damaged: bytes) -> None:
        path.write_bytes(damaged)
        topics(path) if is_bag else videos.frame_times_ns(path)

    cases = [mutated(rng, data) for _ in range(CASES // 3)]
    run_all(images, cases, SourceError)
    run_all(rest, cases, SourceError)


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
    survive(clip)


@pytest.mark.parametrize("suffix", [".mcap", ".db3", ".bag"])
def test_bags(tmp_path, suffix):
    images = {
        "/image": [raw(flat(n), START_NS + n * 10**8) for n in range(3)],
        "/image/compressed": [jpeg(flat(n), START_NS + n * 10**8) for n in range(3)],
    }
    if suffix == ".bag":
        survive(write_ros1_bag(tmp_path / "images.bag", images))
        return
    storage = StoragePlugin.SQLITE3 if suffix == ".db3" else StoragePlugin.MCAP
    bag = write_bag(tmp_path / "images", images, storage)
    survive(next(bag.glob(f"*{suffix}")))
