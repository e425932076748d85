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

from pose3d_ros.kinematics import BONES, joint_angles_deg, offsets, place, rotations
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


def test_angles_have_opensim_s_signs() -> None:
    joints = at_rest(5)
    standing = joint_angles_deg(joints, times(joints))
    for side in "lr":  # the arms of the T are raised to the sides
        np.testing.assert_allclose(standing.pop(f"arm_add_{side}"), -90, atol=1e-6)
        for free in ("flex", "rot"):  # at the end of adduction's range these two are one turn
            standing.pop(f"arm_{free}_{side}")
    for name, angle in standing.items():
        np.testing.assert_allclose(angle, 0, atol=1e-6, err_msg=name)
    sitting = at_rest(5)
    knee, ankle = H36M17.indices("r_knee", "r_ankle")
    thigh = np.linalg.norm(sitting[0, knee] - sitting[0, H36M17.index("r_hip")])
    shin = np.linalg.norm(sitting[0, ankle] - sitting[0, knee])
    sitting[:, knee] = sitting[:, H36M17.index("r_hip")] + [thigh, 0, 0]  # forward, shin down
    sitting[:, ankle] = sitting[:, knee] - [0, 0, shin]
    elbow, wrist = H36M17.indices("l_elbow", "l_wrist")
    upper = np.linalg.norm(sitting[0, elbow] - sitting[0, H36M17.index("l_shoulder")])
    lower = np.linalg.norm(sitting[0, wrist] - sitting[0, elbow])
    sitting[:, elbow] = sitting[:, H36M17.index("l_shoulder")] - [0, 0, upper]  # hangs
    sitting[:, wrist] = sitting[:, elbow] + [lower, 0, 0]  # forearm forward
    found = joint_angles_deg(sitting, times(sitting))
    for name, expected in (
        ("hip_flexion_r", 90),
        ("knee_angle_r", 90),
        ("hip_adduction_r", 0),
        ("hip_flexion_l", 0),
        ("knee_angle_l", 0),
        ("elbow_flex_l", 90),
        ("arm_flex_l", 0),
        ("arm_add_l", 0),
        ("arm_rot_l", 0),
    ):
        np.testing.assert_allclose(found[name], expected, atol=1e-6, err_msg=name)


def test_leaning_and_spreading_have_the_sign_of_their_side() -> None:
    spread = at_rest(5)
    for side, sign in (("l", 1), ("r", -1)):
        hip, knee, ankle = H36M17.indices(f"{side}_hip", f"{side}_knee", f"{side}_ankle")
        for joint in (knee, ankle):
            length = np.linalg.norm(spread[0, joint] - spread[0, hip])
            spread[:, joint] = spread[:, hip] + length * np.array(
                [0, sign * np.sin(0.4), -np.cos(0.4)]
            )
    found = joint_angles_deg(spread, times(spread))
    for side in "lr":
        np.testing.assert_allclose(found[f"hip_adduction_{side}"], -np.degrees(0.4), atol=1e-6)
    lean = Rotation.from_euler("y", 25, degrees=True).as_matrix()  # forward, as a whole
    found = joint_angles_deg(spread @ lean.T, times(spread))
    np.testing.assert_allclose(found["pelvis_tilt"], -25, atol=1e-6)
    np.testing.assert_allclose(found["lumbar_extension"], 0, atol=1e-6)
    turn = Rotation.from_euler("z", 30, degrees=True).as_matrix()  # to the left
    found = joint_angles_deg(spread @ turn.T, times(spread))
    np.testing.assert_allclose(found["pelvis_rotation"], 30, atol=1e-6)
