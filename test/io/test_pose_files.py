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
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pose3d_ros.io.bags import open_bag
from pose3d_ros.io.errors import PoseFileError
from pose3d_ros.io.joints_cloud import people_3d
from pose3d_ros.io.pose_files import WRITERS, pose_writer
from pose3d_ros.kinematics import BONES, offsets, place, rotations
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.resources import share
from pose3d_ros.skeleton import BODY30, H36M17

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
    writer = pose_writer(path)
    for frame in frames:
        writer.write(frame)
    writer.close(optical)
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
    # OpenSim's TRCFileAdapter: a cell at the end of a row that is empty is none
    assert all(row[-1] and len(row) == 2 + 3 * len(names) for row in rows)
    values = np.array([[float(value) for value in row[1:]] for row in rows])
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


def in_motion(count: int = 30) -> list[People3D]:
    """The two people of the demo's clip in the world's frame, z up, the second one late."""
    with np.load(share("demo", "truth.npz")) as truth:
        joints = truth["joints_m"][:count]
    frames = []
    for frame, joints_m in enumerate(joints):
        both = replace(people(frame, 3, 7), joints_m=joints_m, frame_id="world")
        frames.append(both if frame >= 5 else both[[0]])
    return frames


def place_of(frames: list[People3D], person: int) -> np.ndarray:
    """Joints (T, 17, 3) of a person, NaN where they are away."""
    away = np.full((17, 3), np.nan)
    return np.array(
        [
            people.joints_m[people.ids == person][0] if person in people.ids else away
            for people in frames
        ]
    )


@pytest.mark.parametrize("reader", ["c3d", "ezc3d"])
def test_c3d_is_read_by_both_libraries(tmp_path: Path, reader: str) -> None:
    library = pytest.importorskip(reader)
    pytest.importorskip("c3d")
    frames = in_motion()
    sigma_m = np.full((2, 17), 0.034)
    frames = [replace(seen, sigma_m=sigma_m[: len(seen)]) for seen in frames]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # users would see it
        written(tmp_path / "people.c3d", frames)
    path = tmp_path / "people_7.c3d"
    if reader == "c3d":
        with path.open("rb") as file:
            read = library.Reader(file)
            labels = [label.strip() for label in read.point_labels]
            rate, units = read.point_rate, read.get("POINT:UNITS").string_value
            name = read.get("SUBJECTS:NAMES").string_value
            points = np.array([points.copy() for _, points, _ in read.read_frames()])
        assert points[9, 0, 3] == 34  # sigma in millimetres
        places = np.where(points[..., 3:4] < 0, np.nan, points[..., :3])
    else:
        read = library.c3d(str(path))
        told = read["parameters"]["POINT"]
        labels, (rate,), (units,) = (told[key]["value"] for key in ("LABELS", "RATE", "UNITS"))
        (name,) = read["parameters"]["SUBJECTS"]["NAMES"]["value"]
        places = np.moveaxis(read["data"]["points"][:3], 0, -1).swapaxes(0, 1)
    assert labels == list(H36M17.joints) and units == "mm" and name == "person 7"
    assert rate == pytest.approx(30, abs=1e-3)
    assert len(places) == 30 and np.isnan(places[:5]).all()
    np.testing.assert_allclose(places[5:], 1000 * place_of(frames, 7)[5:], atol=0.1)


def test_even_steps_interpolate_single_frames_and_leave_gaps(tmp_path: Path) -> None:
    library = pytest.importorskip("c3d")
    frames = in_motion()
    kept = [frame for number, frame in enumerate(frames) if number not in (10, 15, 16, 17, 18)]
    written(tmp_path / "people.c3d", [frame[[0]] for frame in kept])
    with (tmp_path / "people.c3d").open("rb") as file:
        points = np.array([points.copy() for _, points, _ in library.Reader(file).read_frames()])
    assert len(points) == 30
    between = 500 * (place_of(frames, 3)[9] + place_of(frames, 3)[11])
    np.testing.assert_allclose(points[10, :, :3], between, atol=0.1)
    assert (points[16:18, :, 3] == -1).all() and (points[:15, :, 3] >= 0).all()


def bvh_joints(path: Path) -> tuple[dict[str, np.ndarray], float]:
    """Where each bone starts and ends (T, 3), centimetres, and the frame time: pymotion reads the
    file and does the kinematics.
    """
    bvh = pytest.importorskip("pymotion.io.bvh")
    skeleton = pytest.importorskip("pymotion.ops.skeleton")
    file = bvh.BVH()
    file.load(str(path))
    rotations, positions, parents, offsets, ends, of_end = file.get_data()
    starts, turns = skeleton.fk(rotations, positions[:, 0], offsets, parents)
    found = {name: starts[:, bone] for bone, name in enumerate(file.data["names"])}
    for end, bone in zip(ends, of_end, strict=True):
        found[f"{file.data['names'][bone]}/end"] = starts[:, bone] + turns[:, bone] @ end
    return found, float(file.data["frame_time"])


def test_bvh_gives_a_body_of_constant_bones_back_within_a_millimetre(tmp_path: Path) -> None:
    moving = in_motion()
    joints = place_of(moving, 3).astype(float)
    times_s = np.arange(len(joints)) / 30
    body = place(joints[:, 0], rotations(joints, times_s), offsets(joints))
    frames = [
        replace(seen[[0]], joints_m=of_frame[None])
        for seen, of_frame in zip(moving, body, strict=True)
    ]
    found, frame_time = bvh_joints(written(tmp_path / "people.bvh", frames))
    assert frame_time == pytest.approx(1 / 30, abs=1e-8)
    for bone in BONES:
        x, y, z = found[bone.name].T / 100  # x to the left, y up, z forward
        expected = body[:, H36M17.index(bone.start)]
        np.testing.assert_allclose(np.stack([z, x, y], -1), expected, atol=1e-3)
        if f"{bone.name}/end" in found:
            x, y, z = found[f"{bone.name}/end"].T / 100
            expected = body[:, H36M17.index(bone.end)]
            np.testing.assert_allclose(np.stack([z, x, y], -1), expected, atol=1e-3)


def test_bvh_holds_who_is_away_and_says_how_far_constant_bones_move_joints(tmp_path: Path) -> None:
    writer = pose_writer(tmp_path / "people.bvh")
    for frame in in_motion():
        writer.write(frame)
    said = writer.close(optical=False)
    assert len(said) == 2 and "mm off the joints on average" in said[1]
    late = (tmp_path / "people_7.bvh").read_text().splitlines()
    rows = np.array([line.split() for line in late[late.index("Frames: 30") + 2 :]], float)
    np.testing.assert_array_equal(rows[:5, :3], np.tile(rows[5, :3], (5, 1)))
    assert (rows[5, :3] != rows[6, :3]).any()
    assert np.abs(np.diff(rows[:, 3:], axis=0)).max() < 180  # of the angles that turn the same


def test_bvh_of_a_body_that_was_never_seen_whole_is_said_and_not_written(tmp_path: Path) -> None:
    writer = pose_writer(tmp_path / "people.bvh")
    joints = people(0, 1).joints_m.copy()
    joints[:, H36M17.indices("l_ankle", "r_ankle")] = np.nan
    writer.write(replace(people(0, 1), joints_m=joints))
    (said,) = writer.close(optical=False)
    assert "never seen with r_ankle, l_ankle" in said
    assert not (tmp_path / "people.bvh").exists()


def test_mot_has_opensim_s_header_and_the_angle_of_a_knee(tmp_path: Path) -> None:
    frames = in_motion()
    lines = written(tmp_path / "people.mot", frames).with_stem("people_3").read_text().splitlines()
    head = lines[: lines.index("endheader")]
    told = dict(line.split("=") for line in head[1:])
    columns = lines[len(head) + 1].split("\t")
    values = np.array([line.split("\t") for line in lines[len(head) + 2 :]], float)
    assert values.shape == (int(told["nRows"]), int(told["nColumns"])) == (30, len(columns))
    assert told["inDegrees"] == "yes" and columns[0] == "time"
    np.testing.assert_allclose(values[:, 0], np.arange(30) / 30, atol=1e-5)
    joints = place_of(frames, 3)
    hip, knee, ankle = (joints[:, j] for j in H36M17.indices("r_hip", "r_knee", "r_ankle"))
    cosine = ((knee - hip) * (ankle - knee)).sum(-1)
    cosine /= np.linalg.norm(knee - hip, axis=-1) * np.linalg.norm(ankle - knee, axis=-1)
    found = values[:, columns.index("knee_angle_r")]
    np.testing.assert_allclose(found, np.degrees(np.arccos(cosine)), atol=2)
    x, y, z = values[:, [columns.index(f"pelvis_t{axis}") for axis in "xyz"]].T
    np.testing.assert_allclose(np.stack([x, -z, y], -1), joints[:, 0], atol=1e-5)


def test_face_hands_and_feet_are_markers_and_bones_are_those_of_the_17_joints(
    tmp_path: Path,
) -> None:
    frames = in_motion(8)
    whole = [seen.to(BODY30) for seen in frames]
    names = written(tmp_path / "whole.trc", whole).with_stem("whole_3").read_text().splitlines()[3]
    assert names.split()[2:] == list(BODY30.joints)
    for ending in (".bvh", ".mot"):
        plain, same = (
            written(tmp_path / f"{name}{ending}", of).with_stem(f"{name}_3").read_text()
            for name, of in (("plain", frames), ("same", whole))
        )
        assert same.replace("same", "plain") == plain


def test_mcap_is_a_bag_of_the_topic_that_the_nodes_publish(tmp_path: Path) -> None:
    pytest.importorskip("rosbags")
    frames = in_motion(8)
    path = written(tmp_path / "people.mcap", frames)
    assert list(tmp_path.iterdir()) == [path]
    with open_bag(path) as bag:
        messages = [
            (stamp_ns, bag.deserialize(raw, connection.msgtype))
            for connection, stamp_ns, raw in bag.messages()
        ]
        assert [connection.topic for connection in bag.connections] == ["/pose3d/joints"]
    for (stamp_ns, cloud), expected in zip(messages, frames, strict=True):
        assert stamp_ns == expected.stamp_ns
        assert people_3d(cloud, H36M17) == expected


def test_mcap_is_read_by_the_library_of_foxglove(tmp_path: Path) -> None:
    reader = pytest.importorskip("mcap_ros2.reader")
    frames = in_motion(8)
    path = written(tmp_path / "people.mcap", frames)
    messages = list(reader.read_ros2_messages(str(path)))
    assert [message.log_time_ns for message in messages] == [seen.stamp_ns for seen in frames]
    assert people_3d(messages[-1].ros_msg, H36M17) == frames[-1]


def test_opensim_itself_reads_markers_and_angles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # it writes opensim.log where it is
    opensim = pytest.importorskip("opensim", reason="needs opensim, 72 MB: pip install opensim")
    frames = in_motion()  # the second one is away at first
    written(tmp_path / "people.trc", frames)
    markers = opensim.TimeSeriesTableVec3(str(tmp_path / "people_7.trc"))
    assert list(markers.getColumnLabels()) == list(H36M17.joints)
    assert markers.getTableMetaDataString("Units") == "mm"
    x, y, z = markers.getRowAtIndex(9)[WRIST].to_numpy() / 1000
    np.testing.assert_allclose([x, -z, y], place_of(frames, 7)[9, WRIST], atol=1e-5)
    assert np.isnan(markers.getRowAtIndex(0)[WRIST].to_numpy()).all()
    written(tmp_path / "people.mot", frames)
    angles = opensim.TimeSeriesTable(str(tmp_path / "people_7.mot"))
    assert angles.getNumRows() == 30 and "knee_angle_r" in angles.getColumnLabels()
    assert angles.getTableMetaDataString("inDegrees") == "yes"


def test_unknown_ending_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    with pytest.raises(PoseFileError, match=r"\.csv, \.jsonl, .*, \.mcap, got 'a\.xlsx'"):
        pose_writer(tmp_path / "a.xlsx")


def test_missing_package_is_said_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "c3d", None)
    with pytest.raises(PoseFileError, match=r"needs c3d.*pip install 'pose3d-ros\[files\]'"):
        pose_writer(tmp_path / "people.c3d")


NEEDS = {".c3d": "c3d", ".mcap": "rosbags"}


@pytest.mark.parametrize("ending", WRITERS)
def test_folder_that_is_not_there_is_said_before_anything_is_tracked(
    tmp_path: Path, ending: str
) -> None:
    pytest.importorskip(NEEDS.get(ending, "numpy"))
    with pytest.raises(PoseFileError, match=r"cannot write .*nowhere/a\..*: No such file"):
        pose_writer(tmp_path / "nowhere" / f"a{ending}")


@pytest.mark.parametrize("ending", WRITERS)
def test_nobody_at_all_is_no_error_and_a_file_that_is_not_there_is_said(
    tmp_path: Path, ending: str
) -> None:
    pytest.importorskip(NEEDS.get(ending, "numpy"))
    output = tmp_path / f"nobody{ending}"
    writer = pose_writer(output)
    writer.write(people(0))
    said = writer.close(optical=False)
    assert output.exists() or said == [f"{output} is not written: nobody was seen"]
