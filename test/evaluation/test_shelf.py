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

import json

import numpy as np
import pytest
from paths import SHARED
from rigs import ring, standing

from pose3d_ros.cli.main import main as cli
from pose3d_ros.evaluation.shelf import (
    TRUTH_JOINTS,
    ShelfRecording,
    evaluate,
    right_parts,
    truth_joints,
)
from pose3d_ros.metrics import id_switches
from pose3d_ros.skeleton import BODY25, H36M17

SHELF = SHARED / "data" / "shelf"
FRAMES = 30


def body25(people_m):
    """BODY_25 joints (P, 25, 3) of H36M17 people; the face around the head, the feet at the
    ankles.
    """
    joints = np.empty((len(people_m), 25, 3))
    for row, name in enumerate(BODY25.joints):
        if name in H36M17.joints:
            joints[:, row] = people_m[:, H36M17.index(name)]
        elif name.endswith(("foot", "toe", "heel")):
            joints[:, row] = people_m[:, H36M17.index(name[:2] + "ankle")] - [0, 0.1, 0.05]
        else:
            side = {"l": 0.07, "r": -0.07}.get(name[0], 0) if name != "nose" else 0
            joints[:, row] = people_m[:, H36M17.index("head")] + [
                side,
                0 if name.endswith("ear") else -0.1,
                -0.04,
            ]
    return joints


@pytest.fixture
def folder(tmp_path):
    """Two people walk before four cameras; every other block of ten frames has a truth."""
    cameras, rng = ring(4), np.random.default_rng(0)
    entries = {
        str(c): {
            "K": camera.matrix.tolist(),
            "R": camera.camera_from_world[:3, :3].tolist(),
            "t": camera.camera_from_world[:3, 3].tolist(),
        }
        for c, camera in enumerate(cameras)
    }
    (tmp_path / "calibration.json").write_text(
        json.dumps({"image_size": [1280, 960], "cameras": entries})
    )
    poses, frames, views, truth = [], [], [], []
    for frame in range(FRAMES):
        places = np.array([(-0.8, 0), (0.8, 0)]) + [0, 0.02 * frame]
        people = body25(standing(places, np.zeros(2), 0.2 * frame))
        truth.append(truth_joints(people, BODY25))
        for view, camera in enumerate(cameras):
            pixels = camera.project(people) + rng.normal(0, 2, (2, 25, 2))
            poses.append(np.concatenate([pixels, np.full((2, 25, 1), 0.8)], -1))
            frames += [frame] * 2
            views += [view] * 2
    np.savez(
        tmp_path / "detections_openpose_body25.npz",
        poses=np.concatenate(poses).astype(np.float32),
        frame=np.array(frames),
        view=np.array(views),
    )
    np.savez(
        tmp_path / "gt.npz",
        joints3d=np.concatenate(truth),
        actor=np.tile([0, 1], FRAMES),
        frame=np.repeat(np.arange(FRAMES), 2),
        eval_frames=np.r_[0:10, 20:30],
    )
    return tmp_path


def test_parts_by_hand():
    truth = np.zeros((14, 3))
    truth[:, 2] = [0.1, 0.5, 0.9, 0.9, 0.5, 0.1, 0.9, 1.1, 1.4, 1.4, 1.1, 0.9, 1.5, 1.7]
    assert right_parts(truth, truth).all()
    elbow = truth.copy()
    elbow[TRUTH_JOINTS.index("l_elbow"), 0] = (
        0.25  # half of it is more than half the lower arm (0.2), not the upper
    )
    assert (~right_parts(elbow, truth)).nonzero()[0].tolist() == [7]
    nowhere = truth.copy()
    nowhere[TRUTH_JOINTS.index("top_head")] = np.nan
    assert (~right_parts(nowhere, truth)).nonzero()[0].tolist() == [8]


def test_id_switches_are_changes_over_time():
    # Person 0 is followed by 7, lost, found as 7 again, then as 8 and as 7: two changes. Person 1
    # keeps 9.
    assert id_switches([(0, 7), (1, 9), (1, 9), (0, 7), (0, 8), (1, 9), (0, 7)]) == 2
    assert id_switches([]) == 0


def test_one_ear_stands_for_both():
    people = body25(standing(np.zeros((1, 2)), np.zeros(1)))
    whole = truth_joints(people, BODY25)
    assert np.isfinite(whole).all()
    people[:, BODY25.index("l_ear")] = np.nan
    assert (
        0
        < np.linalg.norm(truth_joints(people, BODY25)[:, 12:] - whole[:, 12:], axis=-1).max()
        < 0.1
    )


def test_command(folder, capsys):
    report = folder / "report.json"
    assert (
        cli(["evaluate", "multiview", str(folder), "--views", "0,1,3", "--json", str(report)]) == 0
    )
    assert "pcp" in capsys.readouterr().out
    scores = json.loads(report.read_text())
    assert scores["views"] == "0,1,3" and scores["frames"] == 30 and scores["judged_frames"] == 20
    # The first two frames are lost: three views make a newcomer a person in the second.
    assert scores["pcp"] >= 90 and scores["recall"] >= 0.9 and scores["mpjpe_mm"] < 30
    assert scores["id_switches"] == 0 and scores["ids"] == 2
    assert scores["false_people_per_frame"] == 0 and scores["unmatched_people_per_frame"] == 0
    assert 0 < scores["jitter_mm"] < 40 and scores["ms_per_frame"] > 0


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--views", "0,7"], r"expected views among 0 to 3, got [7]"),
        (["--detections", "absent.npz"], "absent.npz: expected"),
        (["--detections", "gt.npz"], "gt.npz: expected"),
    ],
)
def test_wrong_arguments(folder, capsys, monkeypatch, arguments, complaint):
    monkeypatch.chdir(folder)
    assert cli(["evaluate", "multiview", str(folder), *arguments]) == 1
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [["--views", "0,0"], ["--views", "a"], ["--frames", "9-3"], ["--frames", "5"]]
)
def test_wrong_usage(folder, arguments):
    with pytest.raises(SystemExit):
        cli(["evaluate", "multiview", str(folder), *arguments])


def test_a_truth_that_is_wrong_is_noticed(folder):
    with np.load(folder / "gt.npz") as data:
        truth = dict(data)
    np.savez(folder / "gt.npz", **{**truth, "joints3d": truth["joints3d"] + [3, 0, 0]})
    report = evaluate(ShelfRecording.load(folder), range(FRAMES), range(4))
    assert report["pcp"] == 0 and report["recall"] == 0
    assert report["unmatched_people_per_frame"] == pytest.approx(2, abs=0.3)
    assert report["false_people_per_frame"] == 0  # they have their 2D poses


@pytest.mark.skipif(not SHELF.is_dir(), reason="needs the Shelf data beside the repository")
@pytest.mark.parametrize(
    ("views", "pcp", "switches"),
    [
        ((0, 1, 2, 3, 4), 97, 0),
        ((0, 1, 2), 92, 0),
        ((0, 2, 4), 93.5, 0),
        ((1, 3), 80, 2),
    ],
)
def test_shelf(views, pcp, switches):
    report = evaluate(ShelfRecording.load(SHELF), range(300, 601), views)
    assert report["pcp"] >= pcp
    assert report["id_switches"] <= switches
