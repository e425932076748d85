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

"""Many recordings: their names, what is done already, and a cluster of two workers."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest

from pose3d_ros import batch
from pose3d_ros.batch import BatchError, Job, Tracked, TrackOptions, jobs_of, track_all
from pose3d_ros.cli.main import main
from pose3d_ros.io.errors import SourceError
from pose3d_ros.io.videos import frames
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings

OPTIONS = TrackOptions(PipelineSettings())


def recordings(folder: Path, *names: str) -> list[Path]:
    """Files of a few bytes."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"a video")
    return paths


def clips(folder: Path, *names: str) -> list[Path]:
    """Folders with the first three pictures of the demo's clip."""
    images = [
        image for _, (image, _) in zip(range(3), frames(share("demo", "cam0.mp4")), strict=False)
    ]
    for name in names:
        (folder / name).mkdir(parents=True)
        for number, image in enumerate(images):
            cv2.imwrite(str(folder / name / f"{number}.jpg"), image)
    return [folder / name for name in names]


def test_outputs_have_the_recordings_paths_below_their_common_folder(tmp_path: Path) -> None:
    first, second, third = recordings(tmp_path, "monday/a.mp4", "monday/b.mp4", "tuesday/a.mp4")
    listing = tmp_path / "list.txt"
    listing.write_text(f"monday/b.mp4\n\n{third}\n")
    jobs = jobs_of([first, listing], str(tmp_path / "out" / "{}.csv"))
    assert jobs == [
        Job(first, tmp_path / "out" / "monday" / "a.csv"),
        Job(second, tmp_path / "out" / "monday" / "b.csv"),
        Job(third, tmp_path / "out" / "tuesday" / "a.csv"),
    ]
    assert jobs_of([first], "people.csv") == [Job(first, Path("people.csv"))]


def test_jobs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    paths = recordings(tmp_path, "a.mp4", "a.avi")
    with pytest.raises(
        BatchError, match=r"expected \{\} in it .* got people.csv for 2 recordings"
    ):
        jobs_of(paths, "people.csv")
    with pytest.raises(BatchError, match="recordings of different names"):
        jobs_of(paths, "{}.csv")
    with pytest.raises(SourceError, match="does not exist"):
        jobs_of([tmp_path / "b.mp4"], "{}.csv")
    (tmp_path / "list.txt").write_text("\n\n")
    with pytest.raises(BatchError, match=r"list.txt: expected a recording .* got none"):
        jobs_of([tmp_path / "list.txt"], "{}.csv")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rtsp://camera/film", "--output", "a.csv"], "got the address rtsp://camera/film"),
        (["a.mp4", "--output", "{}.csv", "--jobs", "-3"], "expected 0, 1, 2, ..., got -3"),
        (["a.mp4", "--output", "a.csv", "--dask", "tcp://x:8786"], "expected {} in it beside"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    recordings(tmp_path, "a.mp4")
    try:
        assert main(["track", *words]) == 1
    except SystemExit as error:
        assert error.code == 2
    assert said in capsys.readouterr().err


def test_length_is_that_of_the_video_or_of_the_rig_s_first(tmp_path: Path) -> None:
    for name in ("cam0.mp4", "rig.yaml"):
        assert batch.length_s(Path(share("demo", name))) == pytest.approx(8.0, abs=0.1)
    assert batch.length_s(clips(tmp_path, "pictures")[0]) is None


def test_same_call_goes_on_with_what_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked: list[str] = []
    broken = {"b.mp4"}

    def track(job: Job, options: TrackOptions) -> Tracked:
        tracked.append(job.source.name)
        if job.source.name in broken:
            raise ValueError("b.mp4: no frame could be read")
        return Tracked(10, 1, 2.0)

    monkeypatch.setattr(batch, "track", track)
    sources = recordings(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    report = tmp_path / "tracked.jsonl"

    def run(options: TrackOptions = OPTIONS) -> list[str]:
        tracked.clear()
        jobs = jobs_of(sources, str(tmp_path / "{}.csv"))
        with ThreadPoolExecutor(1) as executor:
            list(track_all(jobs, options, executor, report))
        return sorted(tracked)

    assert run() == ["a.mp4", "b.mp4", "c.mp4"]
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert sorted(line["error"] for line in lines) == ["", "", "b.mp4: no frame could be read"]
    assert run() == ["b.mp4"]
    broken.clear()
    assert run() == ["b.mp4"] and run() == []
    with report.open("a") as file:
        file.write('{"source": "cut o')
    os.utime(sources[0], ns=(1, 1))  # another file of that name
    assert run() == ["a.mp4"]
    slower = TrackOptions(PipelineSettings(detector="movenet"))
    assert run(slower) == ["a.mp4", "b.mp4", "c.mp4"] and run(slower) == []


def check_results(path: Path) -> None:
    with np.load(path) as data:
        assert len(data["stamp_ns"]) == 3 and len(set(data["ids"])) == 2


@pytest.mark.slow
def test_recordings_are_tracked_in_parallel_and_one_that_fails_ends_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sources = clips(tmp_path, "in/first") + recordings(tmp_path, "in/third.mp4")
    words = ["track", *map(str, sources), "--output", str(tmp_path / "out/{}.npz"), "--jobs", "2"]
    words += ["--calibration", str(share("demo", "cam0.yaml")), "--threads", "1"]
    assert main(words) == 1
    said = capsys.readouterr().out
    assert "third.mp4" in said and "got" in said
    assert "2 recordings: 1 tracked, 1 failed; 3 frames" in said
    check_results(tmp_path / "out" / "first.npz")


@pytest.mark.slow
def test_recordings_are_tracked_by_the_workers_of_a_cluster(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    distributed = pytest.importorskip("distributed", reason="needs distributed")
    sources = clips(tmp_path, "in/first", "in/second")
    words = ["track", *map(str, sources), "--output", str(tmp_path / "out/{}.npz")]
    words += ["--calibration", str(share("demo", "cam0.yaml")), "--threads", "1", "--dask"]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        assert main([*words, cluster.scheduler_address]) == 0
    assert "2 recordings: 2 tracked, 0 failed; 6 frames" in capsys.readouterr().out
    for name in ("first", "second"):
        check_results(tmp_path / "out" / f"{name}.npz")
