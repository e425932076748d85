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

"""Recordings on disk, and training clips from them."""

from dataclasses import replace

import numpy as np
import pytest
from bodies import STANDING_M

from pose3d_ros.camera import Camera
from pose3d_ros.lifting.lifter import CANONICAL_HEIGHT_M
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.augmentation import stature
from pose3d_ros.training.data.recordings import (
    CLIP_RATE_HZ,
    Recording,
    Recordings,
    completed,
    read,
    write,
)

LOOKING_UP_Y = np.array(
    [[1, 0, 0, 0], [0, 0, -1, 1.5], [0, 1, 0, 0], [0, 0, 0, 1.0]]
)  # world z up, camera at 1.5 m
CAMERA = Camera(
    np.array([[900, 0, 640], [0, 910, 360], [0, 0, 1.0]]),
    (1280, 720),
    np.array([-0.2, 0.1, 0, 0, 0]),
    camera_from_world=LOOKING_UP_Y,
)


def walking(rate_hz=30.0, frames=60, **changes):
    """Somebody who walks past at 1 m/s, 5 m before the camera."""
    upright = STANDING_M @ np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]])
    joints = np.repeat((upright + [-1, 5, 1])[None], frames, 0)
    joints[..., 0] += np.arange(frames)[:, None] / rate_hz
    fields = {
        "name": "walk",
        "joints_m": joints,
        "keypoints_px": CAMERA.project(joints),
        "camera": CAMERA,
        "confidence": np.full((frames, 17), 0.9),
        "rate_hz": rate_hz,
        "subject": "A",
        "action": "Walking",
    }
    return Recording(**{**fields, **changes})


def test_what_is_written_is_read(tmp_path):
    made = walking(
        detector="hrnet",
        images="A/img_{frame:04d}.jpg",
        valid=np.arange(60) > 3,
        frame=np.arange(60) + 7,
    )
    assert write(tmp_path, "val", made) == tmp_path / "val" / "walk.npz"
    (got,) = read(tmp_path, "val")
    for name in ("joints_m", "keypoints_px", "confidence", "valid", "frame"):
        np.testing.assert_array_equal(getattr(got, name), getattr(made, name), err_msg=name)
    for name in ("name", "rate_hz", "subject", "action", "detector", "images"):
        assert getattr(got, name) == getattr(made, name)
    np.testing.assert_array_equal(got.camera.camera_from_world, LOOKING_UP_Y)
    assert got.camera.size == (1280, 720) and len(got.camera.distortion) == 5
    np.testing.assert_allclose(
        got.camera.project(got.joints_camera_m, "camera"), got.keypoints_px, atol=1e-2
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"joints_m": np.zeros((60, 15, 3))},
            r"expected joints_m of shape \(60, 17, 3\), got \(60, 15, 3\)",
        ),
        ({"confidence": np.full((60, 17), 90.0)}, "expected confidence from 0 to 1"),
        (
            {"keypoints_px": np.full((60, 17, 2), np.nan)},
            "expected confidence 0 where keypoints_px is NaN",
        ),
        ({"joints_m": np.full((60, 17, 3), np.nan)}, "expected joints_m in every valid frame"),
        ({"name": "../walk"}, "expected a name of letters"),
        ({"rate_hz": -1.0}, "expected a positive rate_hz"),
    ],
)
def test_a_recording_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        walking(**changes)


def test_wrong_units_and_axes_are_refused(tmp_path):
    good = walking()
    with pytest.raises(
        ValueError, match=r"expected a person of 0.5 to 2.6 m, got 1.\d+e\+03 m: are joints_m"
    ):
        write(tmp_path, "val", replace(good, joints_m=good.joints_m * 1000))
    with pytest.raises(ValueError, match="got a median distance of .* px: check the axes"):
        write(tmp_path, "val", replace(good, camera=replace(CAMERA, camera_from_world=np.eye(4))))
    with pytest.raises(ValueError, match="expected a split among train, val, got 'test'"):
        write(tmp_path, "test", good)


def test_files_that_are_no_recordings_are_named(tmp_path):
    with pytest.raises(ValueError, match="train: expected a folder with recordings"):
        read(tmp_path, "train")
    path = write(tmp_path, "train", walking())
    with np.load(path) as data:
        entries = {name: data[name] for name in data if name != "rate_hz"}
    np.savez(path, **entries)
    with pytest.raises(ValueError, match=r"walk.npz: expected a recording .*rate_hz"):
        list(read(tmp_path, "train"))
    path.write_bytes(b"PK")
    with pytest.raises(ValueError, match=r"walk.npz: expected a recording"):
        list(read(tmp_path, "train"))
    np.savez(path, **entries, rate_hz=np.array({"pickled": 1}, object))
    with pytest.raises(ValueError, match="rate_hz.*expected an array of numbers"):
        list(read(tmp_path, "train"))


def test_resampled_motion_keeps_its_speed():
    slow = walking(25.0, 51)
    fast = slow.resampled(30.0)
    assert len(fast) == 61 and fast.rate_hz == 30
    np.testing.assert_allclose(np.diff(fast.joints_m[..., 0], axis=0), 1 / 30, atol=1e-5)
    np.testing.assert_array_equal(fast.joints_m[[0, 30, 60]], slow.joints_m[[0, 25, 50]])
    assert fast.frame[[0, 30, 60]].tolist() == [0, 25, 50]


def test_unknown_frames_stay_unknown_when_resampled():
    valid, confidence = np.ones(51, bool), np.full((51, 17), 0.9)
    valid[10], confidence[20, 3] = False, 0
    keypoints = walking(25.0, 51).keypoints_px.copy()
    keypoints[20, 3] = np.nan
    fast = walking(25.0, 51, valid=valid, confidence=confidence, keypoints_px=keypoints).resampled(
        30.0
    )
    time = np.arange(61) / 30
    np.testing.assert_array_equal(fast.valid, np.abs(time - 10 / 25) > 1 / 25 - 1e-6)
    np.testing.assert_array_equal(
        fast.confidence[:, 3] == 0, np.abs(time - 20 / 25) < 1 / 25 - 1e-6
    )
    assert (fast.confidence[:, 4] > 0).all()


def test_clips_are_seen_where_they_are_and_have_the_canonical_stature(tmp_path):
    valid = np.ones(60, bool)
    valid[40] = False
    write(tmp_path, "train", walking(valid=valid))
    shorter = (walking(25.0).joints_m - [-1, 5, 0]) * 0.6 + [-1, 5, 0]
    write(
        tmp_path,
        "train",
        walking(25.0, name="young", joints_m=shorter, keypoints_px=CAMERA.project(shorter)),
    )
    recordings = Recordings.load(tmp_path, "train", (-6, -3, 0))
    clips = recordings.sample(np.random.default_rng(0), 50, varied=False)
    assert clips.rays.shape == (50, 3, 17, 2) and clips.rays.dtype == np.float32
    np.testing.assert_allclose(
        clips.joints_m[..., :2] / clips.joints_m[..., 2:], clips.rays, atol=2e-4
    )
    np.testing.assert_allclose(stature(clips.joints_m), CANONICAL_HEIGHT_M, atol=1e-3)
    speed_mps = (CANONICAL_HEIGHT_M - 0.18) / (
        stature(STANDING_M) - 0.18
    )  # 0.18 m are below ankles and above heads
    np.testing.assert_allclose(
        np.diff(clips.joints_m[:, :, 0, 0], axis=1), 3 / CLIP_RATE_HZ * speed_mps, atol=1e-4
    )
    first = recordings.newest[
        recordings.newest < 60
    ]  # no clip reaches before the beginning or shows frame 40
    assert first.tolist() == [i for i in range(6, 60) if i not in (40, 43, 46)]


def test_half_of_the_clips_are_mirrored(tmp_path):
    """Mirrored, the left hand is still at the body's left."""
    write(tmp_path, "train", walking())
    clips = Recordings.load(tmp_path, "train", (-3, 0)).sample(np.random.default_rng(0), 100)
    direction = np.sign(np.diff(clips.joints_m[:, :, 0, 0], axis=1)[:, 0])
    assert 30 < (direction < 0).sum() < 70
    np.testing.assert_allclose(
        clips.joints_m[..., :2] / clips.joints_m[..., 2:], clips.rays, atol=2e-4
    )
    left, right = H36M17.indices("l_wrist", "r_wrist")
    assert (clips.joints_m[:, :, left, 0] > clips.joints_m[:, :, right, 0]).all()


def test_single_frames_need_no_rate(tmp_path):
    write(tmp_path, "train", walking(2.0, 8))
    assert len(Recordings.load(tmp_path, "train", (0,)).newest) == 8
    with pytest.raises(ValueError, match="expected at least 15 Hz to interpolate from, got 2 Hz"):
        Recordings.load(tmp_path, "train", (-3, 0))
    with pytest.raises(ValueError, match="expected rising whole offsets that end with 0"):
        Recordings.load(tmp_path, "train", (0, -3))


def test_lacking_joints_are_completed_on_the_spine():
    pose = STANDING_M.copy()
    pose[H36M17.indices("spine", "neck")] = np.nan
    full = completed(pose)
    assert np.isfinite(full).all()
    np.testing.assert_allclose(full, STANDING_M, atol=0.06)


def test_every_second_frame():
    half = walking(50.0, 51).every(25)
    assert half.rate_hz == 2 and half.frame.tolist() == [0, 25, 50]
