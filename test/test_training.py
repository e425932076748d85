"""Training samples, metrics, networks, and that a training resumes where it stopped."""

import json
from typing import Any

import numpy as np
import pytest
from bodies import STANDING_M

from pose3d_ros.lifting.temporal import CANONICAL_HEIGHT_M
from pose3d_ros.skeleton import CMU22, H36M17
from pose3d_ros.training.metrics import align, mpjpe, pa_mpjpe
from pose3d_ros.training.mocap import (
    Mocap,
    change_body,
    facing_angle,
    heading,
    look,
    mirror,
    recombine,
    sample,
    stature,
    turn,
)

Z_UP = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
UPRIGHT_M = STANDING_M @ Z_UP  # x to the body's left, z up, facing -y


def _rotation(rng):
    q, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_pa_mpjpe_ignores_similarities_and_sees_mirrors():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(5, 12, 3))
    moved = 1.7 * truth @ _rotation(rng).T + [1, 2, 3]
    np.testing.assert_allclose(align(moved, truth), truth, atol=1e-9)
    mirrored = truth * [-1, 1, 1]
    assert (pa_mpjpe(mirrored, truth) > 0.3).all()


def test_mpjpe_by_hand():
    truth = np.zeros((3, 2, 3))
    predicted = truth.copy()
    predicted[1, 0] = [3, 4, 0]
    np.testing.assert_allclose(mpjpe(predicted, truth), [0, 2.5, 0])


def test_bodies_keep_their_pose_and_get_average_limbs():
    body = np.broadcast_to(UPRIGHT_M, (1, 4, 17, 3)).astype(np.float32)
    changed = change_body(body.copy(), np.ones((1, 10)))[0, 0]
    assert stature(changed) == pytest.approx(CANONICAL_HEIGHT_M, abs=1e-4)
    forearm = H36M17.indices("l_wrist", "l_elbow")
    before, after = (np.diff(b[forearm], axis=0)[0] for b in (UPRIGHT_M, changed))
    np.testing.assert_allclose(before / np.linalg.norm(before), after / np.linalg.norm(after), atol=1e-5)
    assert np.linalg.norm(after) == pytest.approx(0.153 * CANONICAL_HEIGHT_M, rel=0.05)


def test_recombined_body_turns_with_its_hips():
    turned = turn(UPRIGHT_M, np.array(1.0))
    both = recombine(turned, UPRIGHT_M)
    np.testing.assert_allclose(both, turned, atol=1e-5)
    assert np.angle(np.exp(1j * (heading(both) - heading(UPRIGHT_M)))) == pytest.approx(1.0)


def test_mirrored_body_faces_the_mirrored_way():
    rng = np.random.default_rng(1)
    camera = look(rng, np.broadcast_to(UPRIGHT_M, (20, 1, 17, 3)).astype(np.float32))[:, 0]
    np.testing.assert_allclose(facing_angle(mirror(camera)), -facing_angle(camera), atol=1e-5)
    assert (camera[..., 2] > 0).all() and (camera[:, H36M17.index("head"), 1] < camera[:, 3, 1]).all()


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


def test_windows_avoid_glitches_and_samples_are_reproducible(mocap_folder):
    mocap = Mocap.load(mocap_folder, "train", 27)
    assert not ((mocap.starts <= 151) & (mocap.starts + 26 >= 149)).any()
    first, again = (sample(np.random.default_rng(3), mocap, None, 8) for _ in range(2))
    np.testing.assert_array_equal(first.features, again.features)
    assert first.features.shape == (8, 27, 18, 3) and np.isfinite(first.features).all()
    np.testing.assert_array_equal(first.target_m[:, 0], 0)


@pytest.mark.parametrize("lifter", ["videopose3d", "martinez"])
def test_training_resumes_bit_exact_and_exports(mocap_folder, tmp_path, lifter):
    import torch

    from pose3d_ros import inference
    from pose3d_ros.training.lifter import FlipTest, TrainSettings, build, train

    settings: dict[str, Any] = {"data": str(mocap_folder), "steps": 4, "batch": 8, "channels": 16, "lifter": lifter}
    whole = train(TrainSettings(**settings, output=str(tmp_path / "whole")))
    part = TrainSettings(**settings, output=str(tmp_path / "part"))
    train(part, stop_after=2)
    train(TrainSettings(**settings, output=str(tmp_path / "part"), resume=True))
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"] for name in ("whole", "part")]
    for name, value in states[0].items():
        assert torch.equal(value, states[1][name]), name

    network = build(part)
    network.load_state_dict(states[0])
    network.eval()
    keypoints = np.random.default_rng(0).normal(size=(3, network.receptive_field, 18, 3)).astype(np.float32)
    with torch.no_grad():
        expected = FlipTest(network)(torch.from_numpy(keypoints)).numpy()
    engine = inference.load(whole, "cpu", 1)
    np.testing.assert_allclose(engine({"keypoints": keypoints})["joints"], expected, atol=1e-4)
    engine.close()
