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

"""Distance between people and robots: what is known exactly, and what is not known."""

import numpy as np
import pytest
from bodies import STANDING_M
from scipy.spatial.transform import Rotation

from pose3d_ros.separation import (
    FLESH_M,
    REACH_M,
    ShapesError,
    _nearest,
    ends_in,
    read_shapes,
    separation,
)
from pose3d_ros.skeleton import H36M17

BODY = STANDING_M.astype(float)
STILL, SURE = np.zeros((17, 3)), np.full(17, 0.05)
L_WRIST, L_ELBOW = H36M17.indices("l_wrist", "l_elbow")


def _from(point_m, body=BODY, velocity=STILL, sigma=SURE, radius_m=0.1):
    ends = np.array([[point_m, point_m]], float)
    return separation(body, sigma, velocity, ends, np.array([radius_m]))


def test_a_sphere_beside_the_hand():
    beside = BODY[L_WRIST] + [1.0, 0, 0]
    near = _from(beside)
    assert near.distance_m == pytest.approx(1.0 - 0.1 - FLESH_M[L_WRIST])
    assert (near.joint, near.measured, near.sigma_m) == (L_WRIST, True, pytest.approx(0.05))


def test_the_middle_of_a_bone_counts_too():
    """The middle of the thigh is nearer than knee and hip."""
    body = BODY.copy()
    body[H36M17.indices("l_wrist", "r_wrist"), 1] -= 1.0  # hands up
    hip, knee = (body[H36M17.index(name)] for name in ("l_hip", "l_knee"))
    near = _from((hip + knee) / 2 - [0, 0, 0.3], body)
    flesh = FLESH_M[H36M17.indices("l_hip", "l_knee")].mean()
    assert near.distance_m == pytest.approx(0.3 - 0.1 - flesh, abs=0.01)


def test_closing_speed_is_that_of_the_nearest_part_and_of_the_robot():
    velocity = STILL.copy()
    velocity[L_WRIST] = [0.5, 0, 0]
    beside = BODY[L_WRIST] + [1.0, 0, 0]
    assert _from(beside, velocity=velocity).closing_mps == pytest.approx(0.5)
    ends = np.array([[beside, beside]])
    towards = np.array([[[-0.3, 0, 0]] * 2])
    near = separation(BODY, SURE, velocity, ends, np.array([0.1]), towards)
    assert near.closing_mps == pytest.approx(0.8)


def test_an_unknown_hand_may_be_anywhere_the_arm_reaches():
    body = BODY.copy()
    body[L_WRIST] = np.nan
    beside = BODY[L_ELBOW] + [1.0, 0, 0]
    near = _from(beside, body)
    assert (near.joint, near.measured) == (L_WRIST, False)
    expected = 1.0 - 0.1 - REACH_M[L_ELBOW, L_WRIST] - FLESH_M[L_WRIST]
    assert near.distance_m == pytest.approx(expected)
    assert near.distance_m < _from(beside).distance_m


def test_of_a_person_of_whom_nothing_is_known_nobody_says_that_they_are_far():
    near = _from([9.0, 0, 0], np.full((17, 3), np.nan))
    assert (near.distance_m, near.joint, near.measured) == (0.0, -1, False)
    nowhere = separation(BODY, SURE, STILL, np.full((1, 2, 3), np.nan), np.array([0.1]))
    assert nowhere.distance_m == 0.0


def test_a_joint_without_sigma_is_not_sure():
    assert _from([3.0, 0, 0], sigma=np.full(17, np.nan)).sigma_m == np.inf


@pytest.mark.parametrize("seed", range(5))
def test_more_unknown_joints_never_make_a_person_farther(seed):
    rng = np.random.default_rng(seed)
    body, point = BODY.copy(), 2 * rng.standard_normal(3)
    before = _from(point, body).distance_m
    for joint in rng.permutation(17):
        body[joint] = np.nan
        now = _from(point, body).distance_m
        assert now <= before + 1e-9
        before = now
    assert before == 0


def test_nearest_points_of_lines_are_the_nearest_of_many():
    rng = np.random.default_rng(0)
    p1, q1, p2, q2 = rng.standard_normal((4, 6, 3))
    q1[0], q2[1] = p1[0], p2[1]  # points
    q2[2] = p2[2] + (q1[2] - p1[2])  # parallel
    _, _, gap = _nearest(p1, q1, p2, q2)
    t = np.linspace(0, 1, 201)[:, None, None]
    a, b = p1 + t * (q1 - p1), p2 + t * (q2 - p2)
    brute = np.linalg.norm(a[:, None, :, None] - b[None, :, None], axis=-1).min((0, 1))
    np.testing.assert_allclose(np.linalg.norm(gap, axis=-1), brute, atol=0.01)


def test_shapes_are_read_and_moved(tmp_path):
    file = tmp_path / "robot.yaml"
    file.write_text(
        "shapes:\n"
        "- {name: base, frame_id: base_link, center_m: [0, 0, 0.2], radius_m: 0.3}\n"
        "- {frame_id: tool0, from_m: [0, 0, 0], to_m: [0, 0, 0.4], radius_m: 0.05}\n"
    )
    base, tool = read_shapes(file)
    assert (base.name, base.radius_m, tool.name) == ("base", 0.3, "1")
    odom_from_tool = np.eye(4)
    odom_from_tool[:3, :3] = Rotation.from_euler("y", 90, degrees=True).as_matrix()
    odom_from_tool[:3, 3] = 1, 0, 1
    ends = ends_in([base, tool], {"tool0": odom_from_tool})
    assert np.isnan(ends[0]).all()
    np.testing.assert_allclose(ends[1], np.array([[1, 0, 1], [1.4, 0, 1]]), atol=1e-12)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("shapes: []", "expected a list 'shapes'"),
        ("other: 1", "expected a list 'shapes'"),
        ("shapes: [{frame_id: a, radius_m: 1}]", "entry 0: expected frame_id"),
        ("shapes: [{frame_id: a, radius_m: -1, center_m: [0, 0, 0]}]", "entry 0"),
        ("shapes: [{frame_id: a, radius_m: .nan, center_m: [0, 0, 0]}]", "entry 0"),
        ("shapes: [{frame_id: a, radius_m: 1, center_m: [0, 0]}]", "entry 0"),
        ("shapes: [{frame_id: '', radius_m: 1, center_m: [0, 0, 0]}]", "entry 0"),
        ("shapes: [3]", "entry 0"),
    ],
)
def test_shapes_that_are_none_end_in_one_line(tmp_path, text, why):
    file = tmp_path / "robot.yaml"
    file.write_text(text)
    with pytest.raises(ShapesError, match=why) as caught:
        read_shapes(file)
    assert "\n" not in str(caught.value) and "robot.yaml" in str(caught.value)
