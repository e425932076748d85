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

"""Rotations of bones: of people in motion, of straight limbs, and of bodies that turn."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from pose3d_ros.kinematics import BONES, offsets, place, rotations
from pose3d_ros.resources import share
from pose3d_ros.skeleton import H36M17

RATE_HZ = 30.0


def somebody(person: int = 1) -> np.ndarray:
    """Joints (T, 17, 3) of one of the demo's people, z up."""
    with np.load(share("demo", "truth.npz")) as truth:
        return np.asarray(truth["joints_m"][:120, person], float)


def at_rest(frames: int) -> np.ndarray:
    """Joints (T, 17, 3) of a body in the rest pose: upright, arms stretched out, facing x."""
    lengths = offsets(somebody())
    still = {bone.name: np.tile(np.eye(3), (frames, 1, 1)) for bone in BONES}
    return place(np.zeros((frames, 3)), still, lengths)


def times(joints_m: np.ndarray) -> np.ndarray:
    return np.arange(len(joints_m)) / RATE_HZ


def step_deg(rotation: np.ndarray) -> np.ndarray:
    """Angle (T-1,) from each frame to the next."""
    between = np.swapaxes(rotation[:-1], -1, -2) @ rotation[1:]
    return np.degrees(Rotation.from_matrix(between).magnitude())


def test_body_of_constant_bones_is_placed_where_it_was() -> None:
    moving = somebody()
    body = place(moving[:, 0], rotations(moving, times(moving)), offsets(moving))
    again = place(body[:, 0], rotations(body, times(body)), offsets(body))
    np.testing.assert_allclose(again, body, atol=1e-9)
    assert np.linalg.norm(body - moving, axis=-1).mean() < 0.01  # skin and bones give way a little


def test_rest_pose_has_left_on_its_left_and_is_not_turned() -> None:
    joints = at_rest(3)
    left, right = (joints[0, H36M17.index(f"{side}_wrist")] for side in "lr")
    assert left[1] > 0.4 and right[1] < -0.4 and joints[0, H36M17.index("l_ankle"), 2] < -0.6
    for rotation in rotations(joints, times(joints)).values():
        np.testing.assert_allclose(rotation, np.tile(np.eye(3), (3, 1, 1)), atol=1e-9)


def test_bent_knee_and_elbow_turn_about_their_hinges() -> None:
    joints = at_rest(20)
    knee, ankle = H36M17.indices("l_knee", "l_ankle")
    elbow, wrist = H36M17.indices("r_elbow", "r_wrist")
    shin, forearm = (
        np.linalg.norm(joints[0, b] - joints[0, a]) for a, b in ((knee, ankle), (elbow, wrist))
    )
    angle = np.radians(60)
    joints[:, ankle] = joints[:, knee] + shin * np.array([-np.sin(angle), 0, -np.cos(angle)])
    joints[:, wrist] = joints[:, elbow] + forearm * np.array([np.sin(angle), -np.cos(angle), 0])
    found = rotations(joints, times(joints))
    for upper, lower, hinge in (
        ("LeftUpLeg", "LeftLeg", [0, 1, 0]),
        ("RightArm", "RightForeArm", [0, 0, 1]),
    ):
        np.testing.assert_allclose(found[upper][5], np.eye(3), atol=1e-6)
        bend = Rotation.from_matrix(found[upper][5].T @ found[lower][5]).as_rotvec()
        np.testing.assert_allclose(bend, angle * np.array(hinge), atol=1e-6)


def test_straight_limbs_with_noise_do_not_flip() -> None:
    joints = at_rest(300) + np.random.default_rng(0).normal(0, 0.01, (300, 17, 3))
    found = rotations(joints, times(joints))
    for name in ("LeftUpLeg", "LeftLeg", "RightUpLeg", "RightLeg", "LeftArm", "RightArm"):
        # noise of 1 cm turns the hips and shoulders that they hang on by 20 degrees
        assert step_deg(found[name]).max() < 25, name
        assert np.degrees(Rotation.from_matrix(found[name]).magnitude()).max() < 40, name


def test_elbow_that_seems_bent_backwards_a_little_stays_as_it_was() -> None:
    joints = at_rest(60)
    elbow, wrist = H36M17.indices("l_elbow", "l_wrist")
    forearm = np.linalg.norm(joints[0, wrist] - joints[0, elbow])
    angle = np.radians(40 * np.sin(np.linspace(0, 8, 60)) + 30)  # from 10 degrees backwards on
    joints[:, wrist] = joints[:, elbow] + forearm * np.stack(
        [np.sin(angle), np.cos(angle), 0 * angle], -1
    )
    upper = rotations(joints, times(joints))["LeftArm"]
    np.testing.assert_allclose(upper, np.tile(np.eye(3), (60, 1, 1)), atol=1e-6)


def test_turned_world_turns_every_bone() -> None:
    moving = somebody()
    turn = Rotation.from_euler("zyx", [70, 20, -40], degrees=True).as_matrix()
    found, turned = rotations(moving, times(moving)), rotations(moving @ turn.T, times(moving))
    for name, rotation in found.items():
        np.testing.assert_allclose(turned[name], turn @ rotation, atol=1e-9)
