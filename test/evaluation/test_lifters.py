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

"""Lifters on recordings, by the papers' protocols."""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from bodies import STANDING_M

from pose3d_ros.camera import Camera
from pose3d_ros.cli.main import main as cli
from pose3d_ros.evaluation.lifters import COLUMNS, evaluate, lift
from pose3d_ros.lifting.lifter import NetworkLifter
from pose3d_ros.model_store.store import locate
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import CMU22, H36M17
from pose3d_ros.training.data.recordings import Recording, read, write

CAMERA = Camera.from_fov(1280, 720, math.radians(70))
SETTINGS = PipelineSettings(threads=1)


def turning(name="turn", action="Turning", frames=45, rate_hz=30.0, z_m=4.0, scale=1.0):
    """Somebody who stands and turns."""
    angle = np.arange(frames) / rate_hz
    zero, one = np.zeros(frames), np.ones(frames)
    turn = np.stack(
        [np.cos(angle), zero, np.sin(angle), zero, one, zero, -np.sin(angle), zero, np.cos(angle)],
        -1,
    )
    joints = scale * np.einsum("tij,kj->tki", turn.reshape(-1, 3, 3), STANDING_M) + [0.3, 0.2, z_m]
    return Recording(
        name,
        joints,
        CAMERA.project(joints, "camera"),
        np.full((frames, 17), 0.9),
        CAMERA,
        rate_hz,
        "A",
        action,
    )


class Asked(NetworkLifter):
    """A lifter that keeps what it was asked, and answers with a known pose."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self._memory = {7: "somebody"}

    def _answer(self, people, camera, rays, confidence, image_bgr, up):
        self.asked.append((people.stamp_ns, people.ids.tolist(), rays))
        self.up = up
        return np.concatenate([STANDING_M, np.zeros((17, 1))], -1)[None], np.eye(3)[None]


def test_lifters_are_asked_as_the_pipeline_asks_them(tmp_path):
    """One person by one id, at the recording's rate, in frames where somebody is seen; afterwards
    forgotten.
    """
    recording = turning(frames=6, rate_hz=25.0)
    confidence = recording.confidence.copy()
    confidence[2] = 0
    lifter = Asked()
    poses = lift(lifter, replace(recording, confidence=confidence), SETTINGS, 7, tmp_path)
    assert [stamp for stamp, _, _ in lifter.asked] == [
        40_000_000 * (i + 1) for i in (0, 1, 3, 4, 5)
    ]
    assert all(ids == [7] for _, ids, _ in lifter.asked) and not lifter._memory
    expected = recording.joints_m[5, :, :2] / recording.joints_m[5, :, 2:]
    np.testing.assert_allclose(lifter.asked[-1][2][0], expected, atol=1e-5)
    assert np.isnan(poses[2]).all()
    np.testing.assert_allclose(
        np.delete(poses, 2, 0), np.broadcast_to(STANDING_M, (5, 17, 3)), atol=1e-6
    )


@pytest.fixture
def dataset(tmp_path):
    write(tmp_path, "val", turning("a", "Turning"))
    write(tmp_path, "val", turning("b", "Turning", frames=30, z_m=3.0))
    valid = np.arange(60) % 20 == 19
    write(tmp_path, "val", replace(turning("c", "Sparse", frames=60, rate_hz=25.0), valid=valid))
    return tmp_path


def test_report_averages_over_actions_and_over_frames(dataset):
    report: Any = evaluate("martinez", read(dataset, "val"), SETTINGS, dataset)
    assert list(report) == ["Sparse", "Turning", "average", "all frames"]
    assert [report[row]["frames"] for row in report] == [3, 75, 78, 78]
    for name in ("mpjpe_mm", "pa_mpjpe_mm", "n_mpjpe_mm", "pck_percent", "auc_percent"):
        sparse, turning_ = report["Sparse"][name], report["Turning"][name]
        assert report["average"][name] == pytest.approx((sparse + turning_) / 2)
        assert report["all frames"][name] == pytest.approx((3 * sparse + 75 * turning_) / 78)
    assert report["Sparse"]["mpjve_mm"] is None  # no two neighbouring frames count
    assert report["average"]["mpjve_mm"] == report["Turning"]["mpjve_mm"]
    assert report["Turning"]["pa_mpjpe_mm"] < report["Turning"]["mpjpe_mm"] < 90
    assert report["Turning"]["seen_percent"] == 100


def test_the_right_height_mends_a_tall_person(dataset, tmp_path):
    """A person 1.3 times as tall at 1.3 times the distance looks the same: only the assumed height
    differs.
    """
    recording = turning()
    tall = replace(recording, joints_m=recording.joints_m * 1.3)
    one: Any = evaluate("martinez", [recording], SETTINGS, dataset)["average"]
    assumed: Any = evaluate("martinez", [tall], SETTINGS, dataset)["average"]
    told: Any = evaluate(
        "martinez", [tall], SETTINGS.changed(person_height_m=1.70 * 1.3), dataset
    )["average"]
    assert assumed["mpjpe_mm"] > 1.3 * one["mpjpe_mm"] + 20
    assert told["mpjpe_mm"] == pytest.approx(1.3 * one["mpjpe_mm"], rel=1e-4)
    assert assumed["n_mpjpe_mm"] == pytest.approx(told["n_mpjpe_mm"], rel=1e-4)


def test_evaluate_lifter_command(dataset, tmp_path, capsys):
    model = str(locate("lifter-videopose3d"))
    path = tmp_path / "report.json"
    assert (
        cli(
            [
                "evaluate",
                "lifter",
                str(dataset),
                "--lifter",
                "martinez",
                "videopose3d",
                model,
                "--threads",
                "1",
                "--json",
                str(path),
            ]
        )
        == 0
    )
    report = json.loads(path.read_text())
    assert (
        list(report) == ["martinez", "videopose3d", model]
        and report[model] == report["videopose3d"]
    )
    first, *rows = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert first.split() == ["martinez", *COLUMNS, "frames"]
    assert [row.split("  ")[0] for row in rows] == ["Sparse", "Turning", "average", "all frames"]
    assert float(rows[1].split()[1]) == pytest.approx(
        report["martinez"]["Turning"]["mpjpe_mm"], rel=0.01
    )
    assert cli(["evaluate", "lifter", str(dataset), "--split", "train"]) == 1
    assert "expected a folder with recordings" in capsys.readouterr().err
    assert cli(["evaluate", "lifter", str(dataset), "--lifter", "magic"]) == 1
    assert "lifter: expected one of" in capsys.readouterr().err


def test_mocap_becomes_a_dataset_that_lifters_are_judged_on(tmp_path, capsys):
    """Somebody who waves: the motion capture's joints before two cameras, whole in the picture and
    in front of it.
    """
    upright = STANDING_M @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    frames = 200
    joints = np.full((frames, 22, 3), np.nan, np.float32)
    for name in H36M17.joints:
        if name in CMU22.joints:
            joints[:, CMU22.index(name)] = upright[H36M17.index(name)] + [0, 0, 0.9]
    joints[:, CMU22.index("head_base")] = upright[H36M17.index("neck")] + [0, 0, 0.9]
    joints[:, CMU22.index("l_wrist"), 2] += 0.3 * np.sin(np.arange(frames) / 6)
    np.savez(tmp_path / "val.npz", positions=joints, clip_start=[0], clip_len=[frames])
    clip = {"id": "11_01", "split": "val", "action": "wave", "glitch_frames": []}
    (tmp_path / "index.json").write_text(json.dumps({"clips": [clip]}))
    assert cli(["dataset", "mocap", str(tmp_path), str(tmp_path / "out")]) == 0
    assert "4 recordings, 360 frames" in capsys.readouterr().out
    recordings = list(read(tmp_path / "out", "val"))
    for recording in recordings:
        assert (recording.subject, recording.action, recording.rate_hz) == ("11", "wave", 30)
        limbs = H36M17.indices("l_wrist", "r_knee", "l_shoulder")
        error = recording.camera.project(recording.joints_m) - recording.keypoints_px
        assert np.nanmax(np.abs(error[:, limbs])) < 0.1
        assert (recording.joints_camera_m[..., 2] > 0.3).all()
        assert (recording.confidence > 0).mean() > 0.5
        lifter = Asked()
        lift(lifter, recording, SETTINGS, 7, tmp_path, up=True)
        trunk = (
            recording.joints_camera_m[:, H36M17.index("thorax")] - recording.joints_camera_m[:, 0]
        )
        assert (trunk @ lifter.up > 0.99 * np.linalg.norm(trunk, axis=1)).all()
    assert cli(["dataset", "mocap", str(tmp_path), str(tmp_path / "again")]) == 0
    again = next(iter(read(tmp_path / "again", "val")))
    np.testing.assert_array_equal(again.keypoints_px, recordings[0].keypoints_px)
    assert cli(["evaluate", "lifter", str(tmp_path / "out"), "--lifter", "rpsm-context"]) == 1
    assert "expected recordings with root_relative_depth_px" in capsys.readouterr().err
    with pytest.raises(ValueError, match="expected recordings that know the camera in a world"):
        lift(Asked(), turning(), SETTINGS, 7, tmp_path, up=True)


def test_lifters_see_the_depth_of_a_recording_as_the_detector_told_it(tmp_path):
    depth_px = np.random.default_rng(0).normal(0, 50, (6, 17))
    path = write(tmp_path, "val", replace(turning(frames=6), root_relative_depth_px=depth_px))
    told = []

    class Listener(Asked):
        def _answer(self, people, *others):
            told.append(people.root_relative_depth_px)
            return super()._answer(people, *others)

    lift(Listener(), Recording.load(path), SETTINGS, 7, tmp_path)
    np.testing.assert_allclose(np.concatenate(told), depth_px, rtol=1e-6)
