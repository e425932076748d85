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

"""``pose3d track`` on the first moments of the demo clip: one camera, and both fused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pose3d_ros import batch
from pose3d_ros.cli.main import main
from pose3d_ros.io.rig_file import read_rig, write_rig
from pose3d_ros.io.videos import frames
from pose3d_ros.offline import believed
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.resources import share
from pose3d_ros.skeleton import H36M17

FRAMES, RATE_HZ = 12, 30.0


def folder_of(name: str, folder: Path) -> Path:
    """The first pictures of one of the clip's cameras, with their times as names."""
    folder.mkdir()
    for index, (image, time_ns) in enumerate(frames(share("demo", f"{name}.mp4"))):
        if index == FRAMES:
            break
        cv2.imwrite(str(folder / f"{10**18 + time_ns}.jpg"), image)
    return folder


def truth_m() -> np.ndarray:
    with np.load(share("demo", "truth.npz")) as truth:
        return np.asarray(truth["joints_m"][:FRAMES])


def test_people_of_a_folder_go_to_an_npz(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = folder_of("cam0", tmp_path / "cam0"), tmp_path / "people.npz"
    calibration = str(share("demo", "cam0.yaml"))
    words = ["track", str(source), "--calibration", calibration, "--output", str(output)]
    assert main(words) == 0
    assert f"{FRAMES} frames, 2 people" in capsys.readouterr().out
    with np.load(output) as data:
        assert len(data["stamp_ns"]) == FRAMES and len(set(data["ids"])) == 2
        np.testing.assert_allclose(np.diff(data["stamp_ns"]), 1e9 / RATE_HZ, rtol=0.01)


def test_an_interrupted_recording_is_said_to_be_cut(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def until_ctrl_c(*given: Any) -> Iterator[People3D]:
        yield from islice(people(*given), 6)
        raise KeyboardInterrupt

    people = batch._people
    monkeypatch.setattr(batch, "_people", until_ctrl_c)
    source, output = folder_of("cam0", tmp_path / "cam0"), tmp_path / "people.csv"
    assert main(["track", str(source), "--output", str(output)]) == 130
    assert f"{output}: stopped before the end" in capsys.readouterr().err
    assert len(output.read_text().splitlines()) == 1 + 6 * 2 * len(H36M17)


def test_people_of_a_rig_stand_where_they_are(tmp_path: Path) -> None:
    rig = read_rig(share("demo", "rig.yaml"))
    for name in rig.cameras:
        folder_of(name, tmp_path / name)
        rig.sources[name]["video"] = name
    write_rig(tmp_path / "rig.yaml", rig)
    output = tmp_path / "people.npz"
    assert main(["track", str(tmp_path / "rig.yaml"), "--output", str(output)]) == 0
    pelvis = H36M17.index("pelvis")
    with np.load(output) as data:
        last = data["frame"] == data["frame"].max()
        places = data["joints_m"][last][:, pelvis]
    assert len(places) == 2
    apart = np.linalg.norm(places[:, None] - truth_m()[-1][None, :, pelvis], axis=-1)
    assert apart.min(1).max() < 0.1


def test_rig_without_videos_says_what_to_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rig = read_rig(share("demo", "rig.yaml"))
    rig.sources.clear()
    write_rig(tmp_path / "rig.yaml", rig)
    output = str(tmp_path / "people.csv")
    assert main(["track", str(tmp_path / "rig.yaml"), "--output", output]) == 1
    assert "camera cam0: expected a recording, got nothing; set video" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "calibration", "said"),
    [
        ("cam0.mp4", "nowhere.yaml", "nowhere.yaml"),
        ("cam0.mp4", "rig.yaml", "expected camera_calibration YAML"),
        ("rig.yaml", "cam0.yaml", "calibration: expected a recording of one camera, got the rig"),
    ],
)
def test_calibration_that_does_not_fit_leaves_an_earlier_file_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, calibration: str, said: str
) -> None:
    output = tmp_path / "people.csv"
    output.write_text("of yesterday")
    words = ["track", str(share("demo", source)), "--output", str(output)]
    assert main([*words, "--calibration", str(share("demo") / calibration)]) == 1
    assert said in capsys.readouterr().err
    assert output.read_text() == "of yesterday"


def test_video_that_cannot_be_read_leaves_an_earlier_file_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    video, output = tmp_path / "cut.mp4", tmp_path / "people.csv"
    video.write_bytes(share("demo", "cam0.mp4").read_bytes()[:2000])
    output.write_text("of yesterday")
    assert main(["track", str(video), "--output", str(output)]) == 1
    assert str(video) in capsys.readouterr().err
    assert output.read_text() == "of yesterday"


def test_who_is_believed_is_there_from_their_first_frame_on() -> None:
    def seen(frame: int, *people: tuple[int, TrackState]) -> People3D:
        empty = People3D.empty(H36M17, frame, "map")
        count = len(people)
        return replace(
            empty,
            joints_m=np.zeros((count, 17, 3)),
            confidence=np.ones((count, 17)),
            sigma_m=np.ones((count, 17)),
            velocity_mps=np.zeros((count, 17, 3)),
            ids=np.array([person for person, _ in people], int),
            states=np.array([state for _, state in people], int),
        )

    new, known = TrackState.TENTATIVE, TrackState.CONFIRMED
    frames = [
        seen(0, (1, new)),
        seen(1, (1, new), (2, new)),  # the second is a ghost
        seen(2, (1, known)),
        seen(3, (1, known), (3, new)),
    ]
    taken: list[int] = []

    def counted() -> Iterator[People3D]:
        for frame in frames:
            taken.append(frame.stamp_ns)
            yield frame

    stream = believed(counted())
    assert next(stream).ids.tolist() == [1] and taken == [0, 1, 2]
    assert [people.ids.tolist() for people in stream] == [[1], [1], [1]]
