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

"""Training samples, metrics, networks, and that a training resumes where it stopped."""

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from bodies import STANDING_M

from pose3d_ros.lifting.lifter import CANONICAL_HEIGHT_M
from pose3d_ros.skeleton import CMU22, H36M17
from pose3d_ros.training.data.augmentation import (
    change_body,
    heading,
    mirror,
    move_limbs,
    proportions,
    recombine,
    stature,
    turn,
)
from pose3d_ros.training.data.detector_noise import DetectorNoise, facing_angle
from pose3d_ros.training.data.mocap import Mocap, before_random_cameras
from pose3d_ros.training.data.windows import Clips, LifterInputs, hide

Z_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
UPRIGHT_M = STANDING_M @ Z_UP  # x to the body's left, z up, facing -y


def test_bodies_keep_their_pose_and_get_average_limbs():
    body = np.broadcast_to(UPRIGHT_M, (1, 4, 17, 3)).astype(np.float32)
    changed = change_body(body.copy(), np.ones((1, 10)))[0, 0]
    assert stature(changed) == pytest.approx(CANONICAL_HEIGHT_M, abs=1e-4)
    forearm = H36M17.indices("l_wrist", "l_elbow")
    before, after = (np.diff(b[forearm], axis=0)[0] for b in (UPRIGHT_M, changed))
    np.testing.assert_allclose(
        before / np.linalg.norm(before), after / np.linalg.norm(after), atol=1e-5
    )
    assert np.linalg.norm(after) == pytest.approx(0.153 * CANONICAL_HEIGHT_M, rel=0.05)


def test_some_people_are_children_with_short_legs_and_large_heads():
    count = 3000
    people = np.broadcast_to(UPRIGHT_M, (count, 1, 17, 3)).astype(np.float32)
    bodies = change_body(people, proportions(np.random.default_rng(0), count))[:, 0]
    np.testing.assert_allclose(stature(bodies), CANONICAL_HEIGHT_M, atol=1e-4)
    hip, ankle, neck, head = H36M17.indices("l_hip", "l_ankle", "neck", "head")
    leg, top = bodies[:, hip, 2] - bodies[:, ankle, 2], bodies[:, head, 2] - bodies[:, neck, 2]
    large = top > np.quantile(top, 0.95)
    assert top[large].mean() > 1.2 * np.median(top)
    assert leg[large].mean() < 0.97 * np.median(leg)


def test_recombined_body_turns_with_its_hips():
    turned = turn(UPRIGHT_M, np.array(1.0))
    both = recombine(turned, UPRIGHT_M)
    np.testing.assert_allclose(both, turned, atol=1e-5)
    assert np.angle(np.exp(1j * (heading(both) - heading(UPRIGHT_M)))) == pytest.approx(1.0)


def test_mirrored_body_faces_the_mirrored_way():
    rng = np.random.default_rng(1)
    camera, up = before_random_cameras(
        rng, np.broadcast_to(UPRIGHT_M, (20, 1, 17, 3)).astype(np.float32)
    )
    camera = camera[:, 0]
    trunk = camera[:, H36M17.index("thorax")] - camera[:, 0]
    assert (np.einsum("bi,bi->b", trunk, up) > 0.99 * np.linalg.norm(trunk, axis=1)).all()
    np.testing.assert_allclose(facing_angle(mirror(camera)), -facing_angle(camera), atol=1e-5)
    assert (camera[..., 2] > 0).all() and (
        camera[:, H36M17.index("head"), 1] < camera[:, 3, 1]
    ).all()


@pytest.fixture
def mocap_folder(tmp_path):
    """Motion capture data of the expected form, of somebody who waves and walks."""
    time = np.arange(200) / 30
    joints = np.full((200, 22, 3), np.nan, np.float32)
    for name in H36M17.joints:
        if name in CMU22.joints:
            joints[:, CMU22.index(name)] = UPRIGHT_M[H36M17.index(name)] + [0, 0, 0.9]
    joints[:, CMU22.index("head_base")] = UPRIGHT_M[H36M17.index("neck")] + [0, 0, 0.9]
    joints[:, CMU22.index("l_wrist"), 2] += 0.3 * np.sin(5 * time)
    joints[..., 1] -= time[:, None]
    for split in ("train", "val"):
        np.savez(tmp_path / f"{split}.npz", positions=joints, clip_start=[0], clip_len=[200])
    clips = [{"id": split, "split": split, "glitch_frames": [150]} for split in ("train", "val")]
    (tmp_path / "index.json").write_text(json.dumps({"clips": clips}))
    return tmp_path


def test_clips_avoid_glitches_and_samples_are_reproducible(mocap_folder):
    mocap = Mocap.load(mocap_folder, "train", LifterInputs(27).offsets)
    assert not ((mocap.newest - 26 <= 151) & (mocap.newest >= 149)).any()
    first, again = (mocap.sample(np.random.default_rng(3), 8) for _ in range(2))
    np.testing.assert_array_equal(first.rays, again.rays)
    assert first.rays.shape == (8, 27, 17, 2) and np.isfinite(first.rays).all()


@pytest.mark.parametrize(
    ("view", "answers"),
    [(LifterInputs(27), 1), (LifterInputs(10, 3, recurrent=True), 10), (LifterInputs(1), 1)],
)
def test_views_answer_in_the_axes_of_the_frame_they_answer(mocap_folder, view, answers):
    """Without noise, the target projects onto the keypoints again: same joint order, same axes."""
    rng = np.random.default_rng(0)
    clips = Mocap.load(mocap_folder, "train", view.offsets).sample(rng, 6, varied=False)
    features, target_m = view(Clips(clips.rays, np.ones_like(clips.confidence), clips.joints_m))
    assert features.shape == (6, view.frames, 18, 3) and target_m.shape == (6, answers, 17, 3)
    keypoints, joints = features[:, -1, :17, :2], target_m[:, -1]
    distance = np.linalg.norm(clips.joints_m[:, -1, 0], axis=-1)[:, None]
    # The virtual camera looks at the torso, so the pelvis lies near its axis: perspective is left
    # out here.
    size = np.exp(features[:, -1, 17, 0])[:, None, None]
    seen = (keypoints - keypoints[:, :1]) * size * distance[..., None]
    detected = [
        j for j, name in enumerate(H36M17.joints) if name[:2] in ("l_", "r_")
    ]  # the others are made of these
    np.testing.assert_allclose(seen[:, detected], joints[:, detected, :2], atol=0.25)
    assert np.corrcoef(seen[:, detected].ravel(), joints[:, detected, :2].ravel())[0, 1] > 0.97


def test_limbs_swing_over_time_and_keep_their_lengths():
    standing = np.broadcast_to(UPRIGHT_M, (4, 30, 17, 3)).astype(np.float32)
    time_s = np.broadcast_to(np.arange(30) / 10, (4, 30))
    moved = move_limbs(
        np.random.default_rng(0), standing, time_s, np.full(len(standing), 0.25), 0.15
    )
    limbs = H36M17.limb_indices
    lengths, before = (
        np.linalg.norm(p[..., limbs[:, 1], :] - p[..., limbs[:, 0], :], axis=-1)
        for p in (moved, standing)
    )
    np.testing.assert_allclose(lengths, before, atol=1e-5)
    wrist = moved[:, :, H36M17.index("l_wrist")]
    assert (np.ptp(wrist, axis=1).max(-1) > 0.02).all()
    np.testing.assert_array_equal(
        moved[:, :, H36M17.index("spine")], standing[:, :, H36M17.index("spine")]
    )


def test_people_leave_the_picture_on_one_side():
    """Where a joint is beyond the border, so is all that is further out on that side."""
    rng = np.random.default_rng(0)
    count = 800
    rays = rng.normal(0, 0.2, (count, 3, 17, 2)).astype(np.float32)
    clips = Clips(rays, np.ones((count, 3, 17), np.float32), np.zeros((count, 3, 17, 3)))
    seen = hide(rng, clips).confidence > 0
    half_out = np.flatnonzero(seen.mean((1, 2)) < 0.6)  # more than legs are lost
    assert 0.01 < len(half_out) / count < 0.12
    for row in half_out:
        sides = [rays[row] @ np.array(side) for side in ((0, 1), (0, -1), (1, 0), (-1, 0))]
        reach = [side[seen[row]].max() for side in sides]
        assert max((s > r).mean() for s, r in zip(sides, reach, strict=True)) > 0.1


def test_lost_joints_have_no_confidence_and_others_keep_theirs():
    clips = Clips(
        np.zeros((500, 10, 17, 2), np.float32),
        np.full((500, 10, 17), 0.9, np.float32),
        np.zeros((500, 10, 17, 3)),
    )
    confidence = hide(np.random.default_rng(0), clips).confidence
    assert set(np.unique(confidence)) == {np.float32(0), np.float32(0.9)}
    ankle, thorax = (
        (confidence[..., j] == 0).all(1).mean() for j in H36M17.indices("l_ankle", "thorax")
    )
    assert 0.05 < ankle < 0.2 and thorax < 0.02


def test_replayed_noise_is_that_of_people_who_face_the_same_way():
    """Two recorded runs, one facing away and one the camera, told apart by their residuals."""
    facing = np.repeat([0.1, 3.0], 5)
    residual = np.repeat([1.0, 2.0], 5)[:, None, None] * np.ones((10, 17, 2), np.float32)
    detector = DetectorNoise(
        residual, np.ones((10, 17)), facing, np.repeat([0, 5], 5), np.full(10, 5)
    )
    offsets = np.broadcast_to(np.arange(-29, 1), (2, 30))  # longer than the runs
    replayed, _, depth = detector(np.random.default_rng(0), np.array([0.0, np.pi]), offsets)
    assert depth is None
    np.testing.assert_array_equal(replayed[0, ..., 1], 1)
    np.testing.assert_array_equal(replayed[1, ..., 1], 2)


SMALL: dict[str, Any] = {
    "steps": 4,
    "batch": 8,
    "channels": 16,
    "clip": 4,
    "dropout": 0.1,
    "validation": 16,
}


@pytest.mark.parametrize("lifter", ["rpsm", "videopose3d"])
def test_training_resumes_bit_exact(mocap_folder, tmp_path, lifter):
    import torch

    from pose3d_ros.training.loop import train
    from pose3d_ros.training.settings import TrainSettings

    settings = {**SMALL, "data": str(mocap_folder), "lifter": lifter}
    train(TrainSettings(**settings, output=str(tmp_path / "whole")), stop_after=3)
    train(TrainSettings(**settings, output=str(tmp_path / "part")), stop_after=2)
    train(TrainSettings(**settings, output=str(tmp_path / "part"), resume=True), stop_after=3)
    states = [
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"]
        for name in ("whole", "part")
    ]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name


@pytest.mark.parametrize(
    ("lifter", "flip", "people"),
    [
        ("rpsm", True, None),
        ("rpsm", False, 3),
        ("videopose3d", True, None),
        ("poseformer", False, None),
        ("martinez", True, 3),
    ],
)
def test_exported_lifters_answer_as_torch_does(tmp_path, lifter, flip, people):
    import torch

    from pose3d_ros import inference
    from pose3d_ros.training.build import build
    from pose3d_ros.training.export import RecurrentFlipTest, WindowFlipTest, export
    from pose3d_ros.training.settings import TrainSettings

    torch.manual_seed(0)
    network: Any = build(TrainSettings(lifter=lifter, channels=16)).eval()
    export(network, tmp_path / "lifter.onnx", flip, people)
    inputs = {name: torch.randn(3, *value.shape[1:]) for name, value in network.example(2).items()}
    wrapped: Any = (RecurrentFlipTest if "state" in inputs else WindowFlipTest)(network, flip)
    if "state" in inputs and flip:
        inputs["state"] = torch.randn(3, *wrapped.first_state(1).shape[1:])
    with torch.no_grad():
        expected = wrapped(*inputs.values())
    engine = inference.load(tmp_path / "lifter.onnx", "cpu", 1)
    assert engine.inputs["keypoints"][0] == people
    found = engine({name: value.numpy() for name, value in inputs.items()})
    engine.close()
    for name, value in zip(
        ("joints", "next_state"),
        expected if isinstance(expected, tuple) else (expected,),
        strict=False,
    ):
        np.testing.assert_allclose(found[name], value.numpy(), atol=1e-4)


def test_flip_test_of_a_mirrored_person_is_the_mirrored_answer():
    import torch

    from pose3d_ros.training.build import build
    from pose3d_ros.training.export import RecurrentFlipTest
    from pose3d_ros.training.settings import TrainSettings

    torch.manual_seed(0)
    machine: Any = build(TrainSettings(channels=16)).eval()
    recurrent: Any = RecurrentFlipTest(machine, flip=True)
    keypoints, state = torch.randn(2, 1, 18, 3), recurrent.first_state(2)
    for _ in range(3):
        straight, state = recurrent(keypoints, state)
        mirrored, _ = recurrent(
            recurrent.flip.inputs(keypoints), torch.cat(state.chunk(2, 1)[::-1], 1)
        )
    with torch.no_grad():
        again, _ = recurrent(keypoints, state)
    np.testing.assert_allclose(recurrent.flip.joints(mirrored).detach(), again, atol=1e-5)


@pytest.mark.parametrize(
    "options",
    [
        {"amp": True},
        {"accumulate": 2},
        {"loss": "mse", "schedule": "exponential"},
        {"bone_ratio": 0.1, "symmetry": 0.1, "velocity": 0.1},
    ],
)
def test_options_of_the_training_change_what_is_learnt(mocap_folder, tmp_path, options):
    import torch

    from pose3d_ros.training.checkpoint import load
    from pose3d_ros.training.loop import train
    from pose3d_ros.training.settings import TrainSettings

    learnt = []
    for name, extra in (("plain", {}), ("option", options)):
        train(
            TrainSettings(
                data=str(mocap_folder), output=str(tmp_path / name), **{**SMALL, **extra}
            ),
            2,
        )
        learnt.append(torch.cat([p.flatten() for p in load(tmp_path / name)[0].parameters()]))
    assert all(torch.isfinite(parameters).all() for parameters in learnt)
    assert not torch.equal(*learnt)


@pytest.mark.slow
def test_several_processes_train_one_network(mocap_folder, tmp_path):
    """Two processes with half the clips each; their networks are the same at every step, or the
    second would differ.
    """
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        "2",
        "-m",
        "pose3d_ros.cli",
        "train",
        "--data",
        str(mocap_folder),
        "--output",
        str(tmp_path),
        "--device",
        "cpu",
        "--steps",
        "4",
        "--batch",
        "8",
        "--channels",
        "16",
        "--clip",
        "4",
        "--validation",
        "16",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "rpsm.onnx").is_file() and len(
        (tmp_path / "curve.jsonl").read_text().splitlines()
    ) == 4


def test_wrong_data_and_folders_are_refused(mocap_folder, tmp_path):
    from pose3d_ros.training.checkpoint import load
    from pose3d_ros.training.loop import train
    from pose3d_ros.training.settings import TrainSettings

    with pytest.raises(ValueError, match="velocity loss: expected clips of 2 frames"):
        train(
            TrainSettings(
                data=str(mocap_folder), output=str(tmp_path), velocity=1.0, **{**SMALL, "clip": 1}
            )
        )
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="lacks index.json"):
        train(
            TrainSettings(
                data=str(tmp_path / "other"), noise="noise.npz", output=str(tmp_path), **SMALL
            )
        )
    with pytest.raises(ValueError, match="expected a folder that 'pose3d train' wrote"):
        load(tmp_path / "nothing")
