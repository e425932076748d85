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

import numpy as np
import pytest
from rigs import standing

from pose3d_ros.multiview.bones import Bones
from pose3d_ros.skeleton import H36M17

ALL = np.ones((1, 17), bool)
KNEE, ANKLE = H36M17.indices("l_knee", "l_ankle")


def lengths(joints):
    return np.linalg.norm(np.diff(joints[:, H36M17.limb_indices], axis=2)[:, :, 0], axis=-1)


@pytest.fixture
def person():
    return standing(np.zeros((1, 2)), np.zeros(1))


@pytest.fixture
def learnt(person):
    bones, rng = Bones(H36M17), np.random.default_rng(0)
    bones.add(1)
    for _ in range(100):
        bones.learn(person + rng.normal(0, 0.01, person.shape), ALL)
    return bones


def test_learns_the_lengths_of_somebody_who_stands_still(learnt, person):
    np.testing.assert_allclose(np.exp(learnt.log_length), lengths(person), rtol=0.03)


def test_bones_tell_how_much_nearer_somebody_seems_than_they_are(learnt, person):
    np.testing.assert_allclose(learnt.size(0.8 * person, ALL), 1 / 0.8, rtol=0.02)
    few = np.zeros_like(ALL)
    few[0, [KNEE, ANKLE]] = True
    assert np.isnan(learnt.size(person, few)).all()


def test_an_impossible_joint_is_the_less_certain_one(learnt, person):
    sigma = np.full((1, 17), 0.01)
    assert not learnt.implausible(person, sigma, ALL).any()
    person[0, ANKLE] += [0, 0, -0.5]
    sigma[0, ANKLE] = 0.05
    assert np.flatnonzero(learnt.implausible(person, sigma, ALL)[0]).tolist() == [ANKLE]
    unseen = ALL.copy()
    unseen[0, ANKLE] = False
    assert not learnt.implausible(person, sigma, unseen).any()


def test_cameras_that_insist_are_believed(learnt, person):
    person[0, ANKLE] += [0, 0, -0.5]
    sigma = np.full((1, 17), 0.01)
    for _ in range(30):
        wrong = learnt.implausible(person, sigma, ALL)
        learnt.learn(person, ALL & ~wrong)
    assert not wrong.any()


def test_a_loose_joint_moves_along_its_ray(learnt, person):
    # The ankle's depth (y) is not known: the lower leg is put right by moving in y alone.
    truth = person.copy()
    person[0, ANKLE, 1] += 0.4
    covariance = np.tile(1e-4 * np.eye(3), (1, 17, 1, 1))
    covariance[0, ANKLE, 1, 1] = 0.5
    loose = np.zeros((1, 17), bool)
    loose[0, ANKLE] = True
    moved = learnt.constrain_lengths(person, covariance, ALL, loose)
    assert np.abs(moved - person)[0, ANKLE, [0, 2]].max() < 1e-2
    before, after = (
        abs(
            np.linalg.norm(j[0, ANKLE] - j[0, KNEE])
            - np.linalg.norm(truth[0, ANKLE] - truth[0, KNEE])
        )
        for j in (person, moved)
    )
    assert after < 0.5 * before
    np.testing.assert_array_equal(np.delete(moved, ANKLE, 1), np.delete(person, ANKLE, 1))


def test_a_side_teaches_the_other(person):
    bones = Bones(H36M17)
    bones.add(1)
    right = ALL.copy()
    right[0, [KNEE, ANKLE]] = False
    for _ in range(50):
        bones.learn(person, right)
    person[0, ANKLE, 1] += 0.3
    loose = ~right
    moved = bones.constrain_lengths(person, np.tile(0.1 * np.eye(3), (1, 17, 1, 1)), ALL, loose)
    assert np.linalg.norm(moved[0, ANKLE] - moved[0, KNEE]) < np.linalg.norm(
        person[0, ANKLE] - person[0, KNEE]
    )


def test_a_leg_is_as_long_as_the_other_one(person):
    """The left lower leg was never measured; the right one was, and is longer than legs are
    thought to be.
    """
    bones = Bones(H36M17)
    bones.add(1)
    seen = ALL.copy()
    seen[0, ANKLE] = False
    for _ in range(50):
        bones.learn(person, seen)
    truth = person[0, ANKLE] - person[0, KNEE]
    person[0, ANKLE] = person[0, KNEE] + 0.5 * truth
    covariance = np.tile(1e-4 * np.eye(3), (1, 17, 1, 1))
    covariance[0, ANKLE] = np.eye(3)
    moved = bones.constrain_lengths(person, covariance, ALL, ~seen)
    np.testing.assert_allclose(moved[0, ANKLE] - moved[0, KNEE], truth, atol=0.02)


def test_people_come_and_go(learnt):
    learnt.add(2)
    assert learnt.log_length.shape == (3, len(H36M17.limbs))
    learnt.keep(np.array([False, True, True]))
    assert learnt.log_length.shape == (2, len(H36M17.limbs)) and np.ptp(learnt.log_length) == 0
