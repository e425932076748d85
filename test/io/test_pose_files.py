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

"""Files of poses read back by what reads such files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pose3d_ros.io.pose_files import WRITERS, PoseFileError, pose_writer
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.skeleton import H36M17

WRIST = H36M17.index("l_wrist")


def people(frame: int, *ids: int) -> People3D:
    random = np.random.default_rng(frame)
    count = len(ids)
    return People3D(
        H36M17,
        random.normal(size=(count, 17, 3)),
        random.uniform(size=(count, 17)),
        random.uniform(size=(count, 17)),
        random.normal(size=(count, 17, 3)),
        np.array(ids, int),
        np.full(count, TrackState.CONFIRMED),
        round(frame * 1e9 / 30),
        "map",
    )


def written(path: Path, frames: list[People3D], optical: bool = False) -> Path:
    writer = pose_writer(path, optical)
    for frame in frames:
        writer.write(frame)
    writer.close()
    return path


@pytest.fixture
def frames() -> list[People3D]:
    """Three frames with two people, nobody, and one of them with an unknown wrist."""
    last = people(2, 7)
    joints = last.joints_m.copy()
    joints[0, WRIST] = np.nan
    return [people(0, 3, 7), people(1), replace(last, joints_m=joints)]


def test_csv_has_a_line_for_each_joint(tmp_path: Path, frames: list[People3D]) -> None:
    with written(tmp_path / "people.csv", frames).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 17
    knee = next(r for r in rows if r["person"] == "7" and r["joint"] == "r_knee")
    expected = frames[0].joints_m[1, H36M17.index("r_knee")]
    np.testing.assert_allclose(
        [float(knee[k]) for k in ("x_m", "y_m", "z_m")], expected, atol=6e-6
    )
    unknown = next(r for r in rows if r["frame"] == "2" and r["joint"] == "l_wrist")
    assert unknown["x_m"] == "" and unknown["sigma_m"] != ""
    assert float(unknown["time_s"]) == pytest.approx(2 / 30, abs=1e-6)


def test_json_lines_have_a_frame_each(tmp_path: Path, frames: list[People3D]) -> None:
    text = written(tmp_path / "people.jsonl", frames).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert [len(line["people"]) for line in lines] == [2, 0, 1]
    assert lines[0]["stamp_ns"] == 0 and lines[0]["frame_id"] == "map"
    person = lines[2]["people"][0]
    assert person["id"] == 7 and person["state"] == "confirmed"
    assert person["joints_m"]["l_wrist"] == [None] * 3
    expected = frames[2].velocity_mps[0, 0]
    np.testing.assert_allclose(person["velocity_mps"]["pelvis"], expected, atol=6e-6)


def test_npz_gives_the_same_numbers_back(tmp_path: Path, frames: list[People3D]) -> None:
    with np.load(written(tmp_path / "people.npz", frames)) as data:
        assert data["frame"].tolist() == [0, 0, 2]
        assert data["ids"].tolist() == [3, 7, 7]
        assert data["stamp_ns"].tolist() == [frame.stamp_ns for frame in frames]
        np.testing.assert_array_equal(data["joints_m"][2], frames[2].joints_m[0])
        assert data["joints"][WRIST] == "l_wrist" and data["frame_id"] == "map"


def trc(path: Path) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Marker names, times (T,) and places (T, J, 3) in mm, as OpenSim's documentation lays a TRC
    file out.
    """
    lines = path.read_text().splitlines()
    assert lines[0].split("\t")[:3] == ["PathFileType", "4", "(X/Y/Z)"]
    told = dict(zip(lines[1].split("\t"), lines[2].split("\t"), strict=True))
    names = [name for name in lines[3].split("\t")[2:] if name]
    rows = [line.split("\t") for line in lines[6:]]
    assert told["Units"] == "mm" and int(told["NumFrames"]) == len(rows)
    assert int(told["NumMarkers"]) == len(names)
    assert float(told["DataRate"]) == pytest.approx(30, abs=0.01)
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1))
    values = np.array([[float(value or "nan") for value in row[1:]] for row in rows])
    return names, values[:, 0], values[:, 1:].reshape(len(rows), len(names), 3)


def test_trc_has_y_up_and_a_file_for_each_person(tmp_path: Path, frames: list[People3D]) -> None:
    written(tmp_path / "people.trc", frames)
    names, times, places = trc(tmp_path / "people_7.trc")
    assert names == list(H36M17.joints)
    np.testing.assert_allclose(times, [0, 1 / 30, 2 / 30], atol=1e-6)
    x, y, z = 1000 * frames[0].joints_m[1].T.astype(float)
    np.testing.assert_allclose(places[0].T, [x, z, -y], atol=0.006)
    assert np.isnan(places[1]).all() and np.isnan(places[2, WRIST]).all()
    assert np.isfinite(places[2, 0]).all()
    assert (tmp_path / "people_3.trc").exists() and not (tmp_path / "people.trc").exists()


def test_trc_of_an_optical_frame_is_upright_and_right_handed(tmp_path: Path) -> None:
    seen = people(0, 1)
    joints = np.zeros((1, 17, 3))
    joints[0, WRIST] = 0.1, -0.5, 2.0  # right of the picture's middle, above it, before the camera
    path = written(
        tmp_path / "a.trc", [replace(seen, joints_m=joints), people(1, 1)], optical=True
    )
    np.testing.assert_allclose(trc(path)[2][0, WRIST], [-2000, 500, -100], atol=0.006)


def test_unknown_ending_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(PoseFileError, match=r"\.csv, \.jsonl, \.npz, \.trc, got 'a\.xlsx'"):
        pose_writer(tmp_path / "a.xlsx", optical=True)


@pytest.mark.parametrize("ending", WRITERS)
def test_folder_that_is_not_there_is_said_before_anything_is_tracked(
    tmp_path: Path, ending: str
) -> None:
    with pytest.raises(FileNotFoundError):
        pose_writer(tmp_path / "nowhere" / f"a{ending}", optical=True)


@pytest.mark.parametrize("ending", WRITERS)
def test_nobody_at_all_is_no_error(tmp_path: Path, ending: str) -> None:
    written(tmp_path / f"nobody{ending}", [people(0), people(1)])
