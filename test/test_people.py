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

"""People in one image: rows and orders of joints."""

from dataclasses import fields

import numpy as np
import pytest

from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17

PEOPLE, JOINTS = 3, len(H36M17)


@pytest.fixture
def people():
    """People of whom everything is known that can be, each number another one."""
    rng = np.random.default_rng(0)
    per_joint = (PEOPLE, JOINTS)
    return People2D(
        H36M17,
        rng.random((*per_joint, 2)),
        rng.random(per_joint),
        1,
        (640, 480),
        np.array([4, 2, 7]),
        (rng.random((PEOPLE, 8, 4, 4)),),
        rng.random((PEOPLE, 2, 3)),
        rng.random(per_joint),
        rng.random(per_joint),
        rng.random(per_joint),
    )


def test_each_person_has_an_order_of_joints_that_all_values_follow(people):
    order = np.stack([np.arange(JOINTS), H36M17.flip, np.roll(np.arange(JOINTS), 1)])
    ordered = people.with_joint_order(order)
    for field in fields(People2D):
        before, after = getattr(people, field.name), getattr(ordered, field.name)
        assert before is not None, f"{field.name}: give the people of this test one"
        if np.shape(before)[:2] == (PEOPLE, JOINTS):
            before = np.stack([person[own] for person, own in zip(before, order, strict=True)])
        np.testing.assert_array_equal(after, before, err_msg=field.name)


def test_chosen_people_keep_all_that_is_known_of_them(people):
    chosen = people[[2, 0]]
    for field in fields(People2D):
        before, after = getattr(people, field.name), getattr(chosen, field.name)
        if field.name == "features":
            before, after = before[0], after[0]
        wanted = before[[2, 0]] if np.shape(before)[:1] == (PEOPLE,) else before
        np.testing.assert_array_equal(after, wanted, err_msg=field.name)


def test_left_and_right_exchanged_twice_is_as_before(people):
    flip = np.stack([H36M17.flip] * PEOPLE)
    twice = people.with_joint_order(flip).with_joint_order(flip)
    np.testing.assert_array_equal(twice.keypoints_px, people.keypoints_px)


def test_an_order_for_one_person_is_not_an_order_for_three(people):
    with pytest.raises(ValueError, match=r"order: expected shape \(3, 17\), got \(17,\)"):
        people.with_joint_order(H36M17.flip)
