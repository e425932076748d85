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

"""Datasets as they are distributed, written small, become recordings: joints, axes, units, splits,
rates, cameras.
"""

import os
import pickle
import re
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bodies import STANDING_M
from scipy.io import savemat
from scipy.spatial.transform import Rotation

from pose3d_ros.camera import Camera
from pose3d_ros.cli.main import main as cli
from pose3d_ros.skeleton import COCO17, H36M17
from pose3d_ros.training.data.converters import human36m
from pose3d_ros.training.data.converters.archives import load_npz
from pose3d_ros.training.data.converters.fitting import fit_camera, fit_intrinsics
from pose3d_ros.training.data.converters.skeletons import HUMANEVA15
from pose3d_ros.training.data.recordings import Recording, read

UPRIGHT_M = STANDING_M @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32) + np.array(
    [0, 0, 0.9], np.float32
)
FRAMES = 30


def walk(frames: int = FRAMES) -> np.ndarray:
    """(T, 17, 3) somebody who crosses the origin, waving and turning, so that cameras see
    depth.
    """
    time = np.arange(frames)[:, None] / frames
    turn = Rotation.from_rotvec(np.concatenate([np.zeros((frames, 2)), 2 * time], 1)).as_matrix()
    joints = np.einsum("tij,kj->tki", turn, UPRIGHT_M)
    joints[..., 0] += 1.5 * time - 0.7
    joints[..., 1] += time
    joints[:, H36M17.index("l_wrist"), 2] += 0.5 * np.sin(9 * time[:, 0])
    return joints


def recordings(folder: Path, split: str) -> dict[str, Recording]:
    return {recording.name: recording for recording in read(folder, split)}


def save(path: Path, **entries: Any) -> None:
    np.savez_compressed(path, **entries)


def convert(*arguments: object) -> None:
    assert cli(["dataset", *map(str, arguments)]) == 0


# Human3.6M: where each joint is among its 32, by the names that Martinez et al. gave them.
PLACE_OF_32 = {
    "pelvis": 0,
    "r_hip": 1,
    "r_knee": 2,
    "r_ankle": 3,
    "l_hip": 6,
    "l_knee": 7,
    "l_ankle": 8,
    "spine": 12,
    "thorax": 13,
    "neck": 14,
    "head": 15,
    "l_shoulder": 17,
    "l_elbow": 18,
    "l_wrist": 19,
    "r_shoulder": 25,
    "r_elbow": 26,
    "r_wrist": 27,
}


def of_32(joints_m: np.ndarray) -> np.ndarray:
    full = np.full((len(joints_m), 32, 3), 9.0, np.float32)  # what is not looked at is elsewhere
    for joint, place in PLACE_OF_32.items():
        full[:, place] = joints_m[:, H36M17.index(joint)]
    return full


def human36m_projection(joints_m: np.ndarray, subject: str, number: int) -> np.ndarray:
    """Human3.6M's own formula, as in VideoPose3D's project_to_2d."""
    w, x, y, z, *position_mm = human36m._EXTRINSICS[subject][number]
    _, _, *values = list(human36m._INTRINSICS.values())[number]
    focal, centre, radial, tangential = (
        np.array(part) for part in (values[:2], values[2:4], values[4:7], values[7:])
    )
    points = (
        Rotation.from_quat([x, y, z, w])
        .inv()
        .apply((joints_m - np.array(position_mm) / 1000).reshape(-1, 3))
    )
    flat = np.clip(points[:, :2] / points[:, 2:], -1, 1)
    square = (flat**2).sum(1, keepdims=True)
    factor = 1 + (radial * np.concatenate([square, square**2, square**3], 1)).sum(1, keepdims=True)
    bent = flat * (factor + (tangential * flat).sum(1, keepdims=True)) + tangential * square
    return (focal * bent + centre).reshape(*joints_m.shape[:-1], 2)


@pytest.fixture
def human36m_cdf(tmp_path):
    cdfwrite = pytest.importorskip("cdflib.cdfwrite", reason="needs cdflib")
    for subject, trial in (
        ("S1", "Walking 1"),
        ("S5", "WalkingDog"),
        ("S9", "TakingPhoto"),
        ("S11", "Directions"),
        ("S11", "Directions 1"),
        ("S9", "_ALL"),
    ):
        path = tmp_path / "h36m" / subject / "MyPoseFeatures" / "D3_Positions" / f"{trial}.cdf"
        path.parent.mkdir(parents=True, exist_ok=True)
        file = cdfwrite.CDF(path)
        file.write_var(
            {
                "Variable": "Pose",
                "Data_Type": 44,
                "Num_Elements": 1,
                "Rec_Vary": True,
                "Dim_Sizes": [FRAMES, 96],
            },
            var_data=of_32(walk()).reshape(1, FRAMES, 96) * 1000,
        )
        file.close()
    return tmp_path / "h36m"


def test_human36m_from_the_release(human36m_cdf, tmp_path, capsys):
    convert("human36m", human36m_cdf, tmp_path / "out")
    assert (
        f"{tmp_path / 'out' / 'val'}: 8 recordings, {8 * FRAMES} frames" in capsys.readouterr().out
    )
    train, val = recordings(tmp_path / "out", "train"), recordings(tmp_path / "out", "val")
    assert {(r.subject, r.action) for r in train.values()} == {
        ("S1", "Walking"),
        ("S5", "WalkDog"),
    }
    assert {(r.subject, r.action) for r in val.values()} == {
        ("S9", "Photo"),
        ("S11", "Directions"),
    }
    assert sorted(name for name in val if name.startswith("S11")) == [
        f"S11_Directions_1_{camera}" for camera in ("54138969", "55011271", "58860488", "60457274")
    ]
    for recording in (*train.values(), *val.values()):
        np.testing.assert_allclose(recording.joints_m, walk(), atol=1e-5)
        assert recording.rate_hz == 50 and recording.detector == ""
        number = list(human36m._INTRINSICS).index(recording.name.split("_")[-1])
        expected = human36m_projection(walk(), recording.subject, number)
        np.testing.assert_allclose(recording.keypoints_px, expected, atol=0.25)  # see _INTRINSICS


def test_human36m_cameras_stand_around_the_room():
    """Every camera sees somebody in the middle upright, whole and at the centre of its picture."""
    for subject in human36m.SPLITS:
        for name, camera in human36m.cameras(subject).items():
            pixels = camera.project(UPRIGHT_M)
            assert (pixels > 100).all() and (pixels < 900).all(), (subject, name)
            assert pixels[H36M17.index("head"), 1] < pixels[H36M17.index("l_ankle"), 1] - 200
            assert 1.3 < camera.position_m[2] < 1.8


def test_human36m_at_two_frames_per_second(human36m_cdf, tmp_path, capsys):
    convert("human36m", human36m_cdf, tmp_path / "out", "--rate-hz", 2)
    recording = recordings(tmp_path / "out", "val")["S9_Photo_60457274"]
    assert recording.rate_hz == 2 and recording.frame.tolist() == [0, 25]
    np.testing.assert_allclose(recording.joints_m, walk()[::25], atol=1e-5)
    assert (
        cli(["dataset", "human36m", str(human36m_cdf), str(tmp_path / "out"), "--rate-hz", "3"])
        == 1
    )
    assert "expected a rate that divides 50 Hz, got 3 Hz" in capsys.readouterr().err


def test_human36m_from_matlab_is_the_same(tmp_path):
    path = tmp_path / "S9" / "MyPoseFeatures" / "D3_Positions" / "Eating 2.cdf.mat"
    path.parent.mkdir(parents=True)
    data = np.empty((1, 1), object)
    data[0, 0] = of_32(walk()).reshape(FRAMES, 96) * 1000
    savemat(path, {"data": data})
    convert("human36m", tmp_path, tmp_path / "out")
    np.testing.assert_allclose(
        recordings(tmp_path / "out", "val")["S9_Eating_2_54138969"].joints_m, walk(), atol=1e-5
    )


def videopose3d_files(folder: Path) -> tuple[Path, Path, Path]:
    """data_3d_h36m.npz, detections in COCO's joints with scores, and projected joints in
    Human3.6M's.
    """
    trials = {"Walking 1": of_32(walk()), "Phoning": of_32(walk())}
    save(folder / "data_3d_h36m.npz", positions_3d={"S1": trials, "S9": trials})
    coco, gt = {}, {}
    for subject in ("S1", "S9"):
        projected = [
            human36m_projection(walk(), subject, number).astype(np.float32) for number in range(4)
        ]
        gt[subject] = dict.fromkeys(trials, projected)
        places = [
            H36M17.index(joint) if joint in H36M17.joints else H36M17.index("head")
            for joint in COCO17.joints
        ]
        with_score = [
            np.concatenate([p[:, places], np.full((FRAMES, 17, 1), 0.8, np.float32)], -1)
            for p in projected
        ]
        longer = [np.concatenate([p, p[-1:]]) for p in with_score]  # videos have a few more frames
        coco[subject] = dict.fromkeys(trials, longer)
    symmetry = [[1, 3], [2, 4]]
    save(
        folder / "data_2d_h36m_detectron_pt_coco.npz",
        positions_2d=coco,
        metadata={"layout_name": "coco", "num_joints": 17, "keypoints_symmetry": symmetry},
    )
    save(
        folder / "data_2d_h36m_gt.npz",
        positions_2d=gt,
        metadata={"num_joints": 17, "keypoints_symmetry": symmetry},
    )
    return (
        folder / "data_3d_h36m.npz",
        folder / "data_2d_h36m_detectron_pt_coco.npz",
        folder / "data_2d_h36m_gt.npz",
    )


def test_videopose3d_human36m(tmp_path):
    positions, coco, gt = videopose3d_files(tmp_path)
    convert("videopose3d", positions, gt, tmp_path / "gt")
    exact = recordings(tmp_path / "gt", "val")["S9_Walking_1_58860488"]
    np.testing.assert_allclose(exact.joints_m, walk(), atol=1e-5)
    np.testing.assert_allclose(exact.keypoints_px, exact.camera.project(exact.joints_m), atol=0.25)
    assert exact.detector == "" and exact.action == "Walking"

    convert("videopose3d", positions, coco, tmp_path / "coco")
    detected = recordings(tmp_path / "coco", "train")["S1_Phoning_58860488"]
    assert detected.detector == "detectron_pt_coco" and detected.keypoints_px.shape == (
        FRAMES,
        17,
        2,
    )
    np.testing.assert_allclose(detected.confidence, 0.8, atol=1e-6)
    limbs = H36M17.indices("l_wrist", "r_knee", "l_shoulder")
    np.testing.assert_allclose(
        detected.keypoints_px[:, limbs], detected.camera.project(walk())[:, limbs], atol=0.25
    )


def test_human36m_release_takes_videopose3ds_detections(human36m_cdf, tmp_path, capsys):
    _, coco, _ = videopose3d_files(tmp_path)
    assert (
        cli(
            [
                "dataset",
                "human36m",
                str(human36m_cdf),
                str(tmp_path / "out"),
                "--detections",
                str(coco),
            ]
        )
        == 1
    )
    assert (
        "expected 2D joints (detectron_pt_coco) of S5 WalkDog, got none" in capsys.readouterr().err
    )


def facing_the_middle(angle: float) -> np.ndarray:
    """Rotation from the world to a camera that stands at ``angle`` on a circle and looks at its
    middle.
    """
    return np.array(
        [[-np.sin(angle), np.cos(angle), 0], [0, 0, -1], [-np.cos(angle), -np.sin(angle), 0]]
    )


def humaneva_cameras() -> list[Camera]:
    cameras = []
    for angle, focal in ((0.3, 700), (2.2, 740), (4.0, 690)):
        transform = np.eye(4)
        transform[:3, :3] = facing_the_middle(angle)
        transform[:3, 3] = -transform[:3, :3] @ [4 * np.cos(angle), 4 * np.sin(angle), 1.5]
        cameras.append(
            Camera(
                np.array([[focal, 0, 310], [0, focal, 245], [0, 0, 1.0]]),
                (640, 480),
                np.array([-0.15, 0.1, 0, 0]),
                camera_from_world=transform,
            )
        )
    return cameras


def humaneva_trial() -> tuple[np.ndarray, np.ndarray]:
    """(T, 15, 3) metres and (3, T, 15, 2) pixels; the motion capture loses frames 10 and 11."""
    joints = walk(40)[:, H36M17.indices(*HUMANEVA15.joints)]
    joints[10:12] = np.nan
    return joints, np.stack([camera.project(joints) for camera in humaneva_cameras()])


def check_humaneva(recording: Recording, camera: Camera) -> None:
    known = [H36M17.index(joint) for joint in H36M17.joints if joint not in ("spine", "neck")]
    assert np.isnan(recording.joints_m[:, H36M17.indices("spine", "neck")]).all()
    np.testing.assert_allclose(
        recording.camera.project(recording.joints_m)[:, known],
        camera.project(recording.joints_m)[:, known],
        atol=0.1,
    )
    assert recording.rate_hz == 60
    np.testing.assert_allclose(recording.camera.matrix, camera.matrix, rtol=0.03, atol=0.5)


def test_humaneva_export(tmp_path):
    joints, pixels = humaneva_trial()
    for name in ("Train/S1/Walking_1.mat", "Validate/S1/Box_1.mat"):
        (tmp_path / name).parent.mkdir(parents=True)
        savemat(tmp_path / name, {"poses_3d": joints * 1000, "poses_2d": pixels})
    convert("humaneva", tmp_path, tmp_path / "out")
    assert sorted(recordings(tmp_path / "out", "train")) == [
        "S1_Walking_1_C1",
        "S1_Walking_1_C2",
        "S1_Walking_1_C3",
    ]
    val = recordings(tmp_path / "out", "val")
    for number, camera in enumerate(humaneva_cameras()):
        recording = val[f"S1_Box_1_C{number + 1}"]
        check_humaneva(recording, camera)
        assert np.flatnonzero(~recording.valid).tolist() == [10, 11] and recording.action == "Box"
        np.testing.assert_allclose(
            recording.joints_m[0, H36M17.index("head")], joints[0, 14], atol=1e-5
        )


def test_videopose3d_humaneva(tmp_path, capsys):
    joints, pixels = humaneva_trial()
    chunks = {"Jog 1 chunk0": joints[:10], "Jog 1 chunk2": joints[12:]}
    save(tmp_path / "data_3d_humaneva15.npz", positions_3d={"Validate/S2": chunks})
    parts = {"Jog 1 chunk0": list(pixels[:, :10]), "Jog 1 chunk2": list(pixels[:, 12:])}
    save(
        tmp_path / "data_2d_humaneva15_gt.npz",
        positions_2d={"Validate/S2": parts},
        metadata={"layout_name": "humaneva15", "num_joints": 15},
    )
    files = [tmp_path / "data_3d_humaneva15.npz", tmp_path / "data_2d_humaneva15_gt.npz"]
    convert("videopose3d", *files, tmp_path / "out")
    val = recordings(tmp_path / "out", "val")
    assert len(val) == 6 and all(r.valid.all() for r in val.values())
    check_humaneva(val["S2_Jog_1_chunk2_C2"], humaneva_cameras()[1])
    assert cli(["dataset", "videopose3d", str(files[0]), str(tmp_path / "out")]) == 1
    assert "expected data_2d_humaneva15_gt.npz" in capsys.readouterr().err


# MPI-INF-3DHP: its 28 joints by their own names (mpii_get_joint_set.m), and the 17 of the test
# set.
NAMES_28 = [
    "spine3",
    "spine4",
    "spine2",
    "spine",
    "pelvis",
    "neck",
    "head",
    "head_top",
    "left_clavicle",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "left_hand",
    "right_clavicle",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "right_hand",
    "left_hip",
    "left_knee",
    "left_ankle",
    "left_foot",
    "left_toe",
    "right_hip",
    "right_knee",
    "right_ankle",
    "right_foot",
    "right_toe",
]
NAMES_17 = [
    "head_top",
    "neck",
    "right_shoulder",
    "right_elbow",
    "right_wrist",
    "left_shoulder",
    "left_elbow",
    "left_wrist",
    "right_hip",
    "right_knee",
    "right_ankle",
    "left_hip",
    "left_knee",
    "left_ankle",
    "pelvis",
    "spine",
    "head",
]
OURS = {"neck": "thorax", "head": "neck", "head_top": "head"}


def of_names(joints_m: np.ndarray, names: list[str]) -> np.ndarray:
    result = np.full((len(joints_m), len(names), 3), 7.0)
    for place, name in enumerate(names):
        ours = OURS.get(name, name.replace("left_", "l_").replace("right_", "r_"))
        if ours in H36M17.joints:
            result[:, place] = joints_m[:, H36M17.index(ours)]
    return result


def test_mpi_inf_3dhp_training(tmp_path):
    folder = tmp_path / "S3" / "Seq1"
    (folder / "imageSequence").mkdir(parents=True)
    cameras, lines = [], ["Skeletool Camera Calibration File V1.0"]
    for number in range(14):
        angle = 2 * np.pi * number / 14
        transform = np.eye(4)
        transform[:3, :3] = facing_the_middle(angle)
        transform[:3, 3] = [0, 1.2, 3.5]
        camera = Camera(
            np.array([[1500.0, 0, 1020 + number], [0, 1510, 1000], [0, 0, 1]]),
            (2048, 2048),
            camera_from_world=transform,
        )
        cameras.append(camera)
        intrinsic, extrinsic = np.eye(4), transform.copy()
        intrinsic[:3, :3], extrinsic[:3, 3] = camera.matrix, transform[:3, 3] * 1000
        lines += [
            f"name        {number}",
            "  sensor      10 10",
            "  size        2048 2048",
            "  animated    0",
            "  intrinsic   " + " ".join(map(str, intrinsic.ravel())) + " ",
            "  extrinsic   " + " ".join(map(str, extrinsic.ravel())) + " ",
            "  radial      0",
        ]
    (folder / "camera.calibration").write_text("\n".join(lines) + "\n")
    world = of_names(walk(), NAMES_28)
    annot2, annot3 = np.empty((14, 1), object), np.empty((14, 1), object)
    for number, camera in enumerate(cameras):
        seen = world @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
        annot3[number, 0] = seen.reshape(FRAMES, 84) * 1000
        annot2[number, 0] = camera.project(world).reshape(FRAMES, 56)
    savemat(
        folder / "annot.mat",
        {
            "annot2": annot2,
            "annot3": annot3,
            "frames": np.arange(FRAMES)[:, None],
            "cameras": np.arange(14)[None],
        },
    )
    convert("mpi-inf-3dhp", tmp_path, tmp_path / "out")
    train = recordings(tmp_path / "out", "train")
    assert sorted(train) == [f"S3_Seq1_{number}" for number in (0, 1, 2, 4, 5, 6, 7, 8)]
    recording = train["S3_Seq1_5"]
    np.testing.assert_allclose(recording.joints_m, walk(), atol=1e-4)
    np.testing.assert_allclose(
        recording.camera.project(recording.joints_m), recording.keypoints_px, atol=0.05
    )
    assert recording.rate_hz == 50 and recording.subject == "S3" and recording.action == "Seq1"
    assert recording.images.format(frame=recording.frame[0]) == str(
        folder / "imageSequence" / "img_5_000001.jpg"
    )


def test_mpi_inf_3dhp_test_set(tmp_path):
    h5py = pytest.importorskip("h5py", reason="needs h5py")
    for name, size in (("TS2", (2048, 2048)), ("TS6", (1920, 1080))):
        folder = tmp_path / "mpi_inf_3dhp_test_set" / name
        folder.mkdir(parents=True)
        camera = Camera(
            np.array([[1400.0, 0, size[0] / 2], [0, 1400, size[1] / 2], [0, 0, 1]]), size
        )
        joints = of_names(
            (walk() - [0, 0, 0.9]) @ np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]]) + [0, 0, 4],
            NAMES_17,
        )
        valid = np.arange(FRAMES) % 10 == 0
        pixels = camera.project(joints, "camera")
        with h5py.File(folder / "annot_data.mat", "w") as file:
            file["annot2"], file["annot3"] = pixels[:, None], joints[:, None] * 1000
            universal = 0.9 * (joints - joints[:, 14:15]) + joints[:, 14:15]  # about the pelvis
            file["univ_annot3"], file["valid_frame"] = (
                universal[:, None] * 1000,
                valid[:, None].astype(float),
            )
    convert("mpi-inf-3dhp", tmp_path, tmp_path / "out")
    val = recordings(tmp_path / "out", "val")
    assert sorted(val) == ["TS2", "TS6"] and val["TS6"].camera.size == (1920, 1080)
    recording = val["TS2"]
    np.testing.assert_array_equal(recording.valid, valid)
    np.testing.assert_allclose(
        recording.camera.project(recording.joints_m), recording.keypoints_px, atol=0.05
    )
    bone = np.linalg.norm(
        np.diff(recording.joints_m[:, H36M17.indices("l_hip", "l_knee")], axis=1), axis=-1
    )
    np.testing.assert_allclose(
        bone, 0.9 * np.linalg.norm(STANDING_M[4] - STANDING_M[5]), atol=1e-4
    )
    head, thorax = H36M17.indices("head", "thorax")
    assert (
        recording.joints_m[:, head, 1] < recording.joints_m[:, thorax, 1] - 0.2
    ).all()  # y points down


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("human36m", "nowhere"), "expected S1/MyPoseFeatures/D3_Positions"),
        (("mpi-inf-3dhp", "nowhere"), "expected S1/Seq1/annot.mat or mpi_inf_3dhp_test_set"),
        (("humaneva", "nowhere"), r"expected Train/S1/\*.mat"),
        (("videopose3d", "nowhere.npz"), "nowhere.npz: expected an npz"),
    ],
)
def test_sources_that_are_not_there(arguments, message, tmp_path, capsys):
    assert cli(["dataset", *arguments, str(tmp_path / "out")]) == 1
    assert re.search(message, capsys.readouterr().err)


def test_absent_package_is_named(human36m_cdf, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "cdflib", None)
    assert cli(["dataset", "human36m", str(human36m_cdf), str(tmp_path / "out")]) == 1
    assert (
        "needs cdflib, which is not installed: pip install 'pose3d-ros[train]'"
        in capsys.readouterr().err
    )


def test_no_camera_explains_what_does_not_belong_together():
    rng = np.random.default_rng(0)
    points, pixels = rng.normal(0, 1, (200, 3)) + [0, 0, 5], rng.uniform(0, 640, (200, 2))
    for fit in (fit_camera, fit_intrinsics):
        with pytest.raises(ValueError, match="positions and pixels do not belong together"):
            fit(points, pixels, (640, 480))
        with pytest.raises(ValueError, match="expected at least 30 joints"):
            fit(points[:20], pixels[:20], (640, 480))


class _Evil:
    """Unpickling it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


class _Call:
    """Unpickling it calls something."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


@pytest.mark.parametrize("nested", [False, True])
def test_pickles_that_execute_are_refused(tmp_path, nested):
    mark = tmp_path / "executed"
    save(tmp_path / "evil.npz", positions_3d={"S1": _Evil(mark)} if nested else _Evil(mark))
    with np.load(tmp_path / "evil.npz", allow_pickle=True) as data:
        _ = data["positions_3d"]
    assert mark.exists(), "the file is harmless, and this test shows nothing"
    mark.rmdir()
    with pytest.raises(ValueError, match=r"evil.npz: .*it asks for \w+.mkdir"):
        load_npz(tmp_path / "evil.npz")
    assert not mark.exists()


@pytest.mark.parametrize(
    "evil",
    [
        _Call(np.ndarray, (1,), "O", b"12345678"),  # bytes as pointers
        _Call(np.dtype, [("pointer", "O"), ("number", "i8")]),
        _Call(np.fromfile, "/etc/hostname"),
        _Call(eval, "1 + 1"),
    ],
)
def test_numpys_own_gates_are_shut(tmp_path, evil):
    with (tmp_path / "evil.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        pickle.dump(evil, file, protocol=4)
    with zipfile.ZipFile(tmp_path / "evil.npz", "w") as archive:
        archive.write(tmp_path / "evil.npy", "positions_3d.npy")
    with pytest.raises(ValueError, match="expected an npz of arrays and dictionaries of them"):
        load_npz(tmp_path / "evil.npz")


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_harmless_pickles_are_read_as_numpy_reads_them(tmp_path, protocol):
    content: dict[str, Any] = {
        "a": np.arange(6, dtype=">f4").reshape(2, 3),
        "b": [np.asfortranarray(np.eye(3)[:2]), "text"],
        "c": np.float32(2.5),
        "d": np.array([None, {"deep": np.ones(2)}], object),
        "e": (1, np.zeros(0)),
    }
    array = np.array({"S1": content}, object)
    with (tmp_path / "x.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "|O", "fortran_order": False, "shape": ()}
        )
        pickle.dump(array, file, protocol=protocol)
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    read_ = load_npz(tmp_path / "x.npz")["x"]["S1"]
    np.testing.assert_equal(read_.pop("d")[1], content.pop("d")[1])
    np.testing.assert_equal(read_, content)
