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

"""People who walk are predicted where they walk to, and those who do not move where they are."""

import numpy as np
import pytest
from bodies import STANDING_M

from pose3d_ros.people import People3D, TrackState, sigma_of
from pose3d_ros.skeleton import BODY25B, H36M17
from pose3d_ros.tracking import ahead

SECOND = 1_000_000_000
WALK = np.array([1.2, 0.0, 0.0])
SIGMA_M = np.array([0.02, 0.02, 0.2])  # a person of unknown stature: along the line of sight


def person(velocity: np.ndarray, skeleton=H36M17, joints_m: np.ndarray | None = None) -> People3D:
    joints = STANDING_M + [0, 0, 4.0] if joints_m is None else joints_m
    shape = (1, len(skeleton))
    covariance = np.broadcast_to(np.diag(SIGMA_M**2), (*shape, 3, 3))
    return People3D(
        skeleton,
        joints[None],
        np.ones(shape),
        sigma_of(covariance),
        np.broadcast_to(velocity, (*shape, 3)),
        np.array([7]),
        np.array([TrackState.CONFIRMED]),
        SECOND,
        "camera",
        covariance_m2=covariance,
    )


def test_now_is_as_it_was() -> None:
    people = person(WALK)
    now = ahead(people, 0.0)
    np.testing.assert_array_equal(now.joints_m, people.joints_m)
    np.testing.assert_array_equal(now.sigma_m, people.sigma_m)
    assert now.stamp_ns == people.stamp_ns


def test_who_walks_is_ahead_and_who_stands_stays() -> None:
    later = ahead(person(WALK), 0.1)
    assert later.stamp_ns == 1.1 * SECOND and later.ids == [7]
    way = later.joints_m - person(WALK).joints_m
    assert (way[..., 0] > 0.08).all() and (way[..., 0] <= 0.12).all()
    np.testing.assert_allclose(way[..., 1:], 0, atol=1e-6)
    np.testing.assert_array_equal(ahead(person(0 * WALK), 0.5).joints_m, person(0 * WALK).joints_m)


def test_speed_along_an_unsure_line_of_sight_counts_less() -> None:
    aside, away = (
        (ahead(person(np.roll(WALK, axis)), 0.2).joints_m - person(WALK).joints_m)[0, 0, axis]
        for axis in (0, 2)
    )
    assert 0 < away < 0.8 * aside


def test_a_hand_that_waves_does_not_fly_away() -> None:
    waving = np.zeros((17, 3))
    wrist = H36M17.index("l_wrist")
    waving[wrist] = 2.0, 0.0, 0.0
    later = ahead(person(waving), 1.0)
    way = (later.joints_m - person(waving).joints_m)[0]
    assert 0 < way[wrist, 0] < 0.25
    np.testing.assert_array_equal(np.delete(way, wrist, 0), 0)


def test_sigma_grows_with_time_and_more_so_of_feet_than_of_hips() -> None:
    people = person(WALK)
    before = people.sigma_m
    for seconds in (0.05, 0.1, 0.3, 1.0):
        later = ahead(people, seconds)
        assert (later.sigma_m > before).all()
        assert later.covariance_m2 is not None
        np.testing.assert_allclose(sigma_of(later.covariance_m2), later.sigma_m, rtol=1e-5)
        grown = later.sigma_m[0] ** 2 - people.sigma_m[0] ** 2
        assert grown[H36M17.index("l_ankle")] > 1.5 * grown[H36M17.index("l_hip")]
        before = later.sigma_m
        # The line of sight is still the less certain one.
        along, across = later.covariance_m2[0, 0, 2, 2], later.covariance_m2[0, 0, 0, 0]
        assert along - across > 0.2**2 - 0.02**2 - 1e-6


def test_unknown_joints_stay_unknown_and_other_skeletons_are_predicted_too() -> None:
    joints = np.tile(np.arange(25.0)[:, None], (1, 3))
    joints[BODY25B.index("l_hip")] = np.nan
    velocity = np.where(np.isnan(joints), np.nan, WALK)
    later = ahead(person(velocity, BODY25B, joints), 0.1)
    np.testing.assert_array_equal(np.isnan(later.joints_m[0]), np.isnan(joints))
    known = np.isfinite(joints)
    np.testing.assert_allclose(later.joints_m[0][known], (joints + 0.1 * WALK)[known], atol=0.03)


def test_the_past_is_not_predicted() -> None:
    with pytest.raises(ValueError, match="0 s ahead or more, got -0.1 s"):
        ahead(person(WALK), -0.1)


def test_nobody() -> None:
    assert len(ahead(People3D.empty(H36M17, 0, "camera"), 0.2)) == 0
