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

"""A camera of which nothing is known learns its height and tilt from people who walk by."""

import logging
import math

import numpy as np
import pytest
from bodies import STANDING_M
from scipy.spatial.transform import Rotation

from pose3d_ros.place.floor import Floor
from pose3d_ros.place.learned_floor import (
    EVERY_S,
    LEAST_LOOKS,
    SURE_TILT_RAD,
    FloorLearner,
    Looks,
    fit,
)
from pose3d_ros.place.placement import Placement
from pose3d_ros.place.stature import SOLE_SHARE
from pose3d_ros.skeleton import H36M17

SECOND = 1_000_000_000
SCATTER = 0.06  # of statures
FEET = np.ones((1, 17), bool)


def walked(floor, size, rng, count, lifted_rad=0.05, start_m=None):
    """Pelvis (N, 3) and poses (N, 17, 3) in the camera's axes of somebody ``size`` times as tall
    as is assumed, who walks about and sways, as a lifter says that they are: as tall as is
    assumed, with distances wrong by 3 %, and all trunks leaning away.
    """
    sway = Rotation.from_rotvec(rng.normal(0, 0.07, (count, 3)) * [1, 0, 1])
    facing = Rotation.from_euler("y", rng.uniform(0, 2 * np.pi, (count, 1)))
    poses = np.einsum("nij,kj->nki", (sway * facing).as_matrix(), STANDING_M)
    z = (start_m or rng.uniform(2, 5)) + np.cumsum(rng.normal(0, 0.4, count))
    z = np.clip(z, 1.5, 7)
    x = np.clip(np.cumsum(rng.normal(0, 0.4, count)), -0.5 * z, 0.5 * z)
    hip_m = size * (0.82 + SOLE_SHARE * 0.84)
    pelvis = np.stack([x, np.full(count, floor.height_m - hip_m), z], 1)
    pelvis = pelvis @ floor.upright_from_camera / size * np.exp(rng.normal(0, 0.03, (count, 1)))
    leant = Rotation.from_rotvec([lifted_rad, 0, 0]).as_matrix()
    return pelvis, poses @ floor.upright_from_camera @ leant.T


def crowd(floor, sizes, rng, each=15):
    looks = None
    for person, size in enumerate(sizes):
        pelvis, poses = walked(floor, size, rng, each)
        new = Looks.of(np.full(each, person), pelvis, poses, np.ones((each, 17), bool))
        looks = new if looks is None else looks.joined(new)
    return looks


@pytest.mark.parametrize(
    ("height_m", "pitch_deg", "roll_deg"), [(1.2, 0, 0), (2.5, 30, 5), (0.5, -15, -8)]
)
def test_several_people_tell_height_and_tilt(height_m, pitch_deg, roll_deg):
    truth = Floor.from_tilt(height_m, math.radians(pitch_deg), math.radians(roll_deg))
    rng = np.random.default_rng(0)
    found = fit(crowd(truth, rng.normal(1, SCATTER, 8), rng), SCATTER)
    assert found is not None
    assert found.height_sigma_m < 0.06 * height_m, "surer than one stature"
    assert abs(found.height_m - height_m) < 3 * found.height_sigma_m
    off = math.acos(min(float(found.up @ truth.up), 1.0))
    assert off < 3 * found.tilt_sigma_rad < math.radians(4)


def test_sigma_is_honest():
    """Of 40 cameras that see three people each, as many are within one sigma as should be."""
    rng, heights, tilts = np.random.default_rng(1), [], []
    for _ in range(40):
        truth = Floor.from_tilt(rng.uniform(0.6, 2.5), rng.uniform(-0.2, 0.5), rng.normal(0, 0.05))
        looks = crowd(truth, rng.normal(1, SCATTER, 3), rng)
        found = fit(looks, SCATTER)
        assert found is not None
        heights.append((found.height_m - truth.height_m) / found.height_sigma_m)
        tilts.append(math.acos(min(float(found.up @ truth.up), 1.0)) / found.tilt_sigma_rad)
    assert 0.5 < np.mean(np.abs(heights) < 1) < 0.9, "0.68 of one axis"
    assert 0.5 < np.mean(np.array(tilts) < 1.5) < 0.95, "0.68 of two axes"


def test_a_child_among_adults_does_not_lower_the_camera():
    truth, rng = Floor.from_tilt(1.2, 0.2), np.random.default_rng(2)
    found = fit(crowd(truth, [1.0, 0.6, 1.02], rng), SCATTER)
    assert found is not None and found.height_m == pytest.approx(1.2, rel=0.08)


def test_people_who_sit_or_whose_feet_are_unseen_tell_nothing():
    poses = STANDING_M[None].copy()
    root = np.array([[0.0, 0.2, 4.0]])
    assert len(Looks.of(np.array([1]), root, poses, FEET)) == 1
    assert not len(Looks.of(np.array([1]), root, poses, ~FEET))
    sits = poses.copy()
    for side in "lr":
        sits[0, H36M17.indices(f"{side}_knee", f"{side}_ankle")] += [[0, -0.4, -0.4]]
    assert not len(Looks.of(np.array([1]), root, sits, FEET))
    assert not len(Looks.of(np.array([1]), root * np.nan, poses, FEET))
    assert not len(Looks.of(np.zeros(0, int), root[:0], poses[:0], FEET[:0]))


def test_cameras_and_settings_that_tell_nothing_do_no_harm():
    """Straight down, where nobody's feet tell the tilt; with statures that are sure."""
    rng = np.random.default_rng(6)
    feet_m = np.array([0.0, 0.0, 3.0]) + rng.normal(0, 1e-12, (30, 3))
    below = Looks(np.arange(30) % 3, feet_m, np.full(30, 0.1), np.tile([0.0, 0, -1], (30, 1)))
    found = fit(below, 0.0)
    assert found is None or found.tilt_sigma_rad > SURE_TILT_RAD
    assert fit(below[np.zeros(0, int)], SCATTER) is None


def test_nothing_is_told_before_it_is_sure_and_then_said_once(caplog):
    truth, rng = Floor.from_tilt(1.2, 0.2), np.random.default_rng(3)
    walks = [walked(truth, size, rng, 40) for size in (1.0, 1.05, 0.97)]
    learner, told = FloorLearner(), []
    with caplog.at_level(logging.INFO):
        for moment in range(200):  # five a second: two of three come too soon
            now = [walk[moment // 5 : moment // 5 + 1] for walks_ in walks for walk in walks_]
            roots, poses = np.concatenate(now[::2]), np.concatenate(now[1::2])
            looks = Looks.of(np.arange(3), roots, poses, np.ones((3, 17), bool))
            learner.update(looks, SCATTER, moment * SECOND // 5)
            told.append(learner.floor is not None)
    first = told.index(True)
    assert first * 0.2 >= (LEAST_LOOKS / 3 - 1) * EVERY_S, "slowly"
    assert told[-1]
    said = [record.message for record in caplog.records if "floor is learned" in record.message]
    assert len(said) == 1 and "camera is 1." in said[0]


def test_a_camera_that_is_turned_by_hand_is_never_sure():
    rng, learner = np.random.default_rng(4), FloorLearner()
    for moment in range(60):
        tilt = Floor.from_tilt(1.2, rng.uniform(-0.4, 0.4), rng.uniform(-0.4, 0.4))
        pelvis, poses = walked(tilt, 1.0, rng, 3)
        learner.update(
            Looks.of(np.arange(3), pelvis, poses, np.ones((3, 17), bool)),
            SCATTER,
            moment * SECOND,
        )
        assert learner.floor is None


def test_a_child_who_comes_later_is_placed_by_the_floor_that_adults_told():
    truth, rng, placement = Floor.from_tilt(1.2, 0.15), np.random.default_rng(5), Placement()

    def place(person, pelvis, poses, moment):
        points = poses + pelvis[:, None]
        rays = points[..., :2] / points[..., 2:]
        return placement(
            np.array([person]),
            poses,
            np.full((1, 17), 0.03),
            rays,
            np.ones((1, 17)),
            moment * SECOND // 2,
            stature_m=1.7,
            stature_sigma_m=0.1,
            feet=FEET,
            learn_floor=True,
        )

    for person, size in enumerate((1.0, 1.04, 0.95)):
        walk = walked(truth, size, rng, 20)
        for moment in range(20):
            place(person, walk[0][[moment]], walk[1][[moment]], 20 * person + moment)
    assert placement.learned_floor is not None
    pelvis, poses = walked(truth, 0.65, rng, 6, start_m=4.0)
    for moment in range(6):
        placed = place(9, pelvis[[moment]], poses[[moment]], 60 + moment)
    true_m = np.linalg.norm(pelvis[-1]) * 0.65
    assert np.linalg.norm(placed.root_m[0]) == pytest.approx(true_m, rel=0.1)
    stature_m, sigma_m = placement.statures(np.array([9]), 1.7, 0.1)
    assert abs(stature_m[0] - 0.65 * 1.7) < 2 * sigma_m[0] < 0.25
    # No surer than the camera's height is, which all statures share.
    floor = placement.learned_floor
    assert sigma_m[0] > 0.8 * 0.65 * 1.7 * floor.height_sigma_m / floor.height_m
