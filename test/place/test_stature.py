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

"""What feet on the floor tell of people's size."""

import math

import numpy as np
import pytest
from bodies import CAMERA, STANDING_M

from pose3d_ros.place.floor import Floor
from pose3d_ros.place.root import solve_root
from pose3d_ros.place.stature import SOLE_SHARE, Statures, by_floor, feet_seen, stands
from pose3d_ros.skeleton import H36M17

PRIOR = 0.06**2
IDS = np.array([4, 7, 9])
PLACES_M = np.array([[0, 0, 2.0], [1.5, 0, 4.0], [-2.0, 0, 6.0]])
SIGMA_M = np.full((3, 17), 0.03)
SECOND = 1_000_000_000
ANKLES = H36M17.indices("l_ankle", "r_ankle")


def _on_floor(size, camera_height_m, pitch_deg=0.0, raised_m=0.0):
    """Ratios and variances by the floor of three people of this ``size``, beside the assumed one,
    whose soles are ``raised_m`` above the floor.
    """
    floor = Floor.from_tilt(camera_height_m, math.radians(pitch_deg))
    forward, left, up, below = floor.camera_from_level[:3].T
    turn = np.stack([-left, -up, forward], 1)  # of an upright body before a tilted camera
    body = STANDING_M @ turn.T
    # Ankles are 0.82 m below the pelvis, and the soles below these.
    pelvis_m = size * (0.82 + SOLE_SHARE * _leg()) + raised_m
    roots = below + pelvis_m * up + PLACES_M @ turn.T
    rays = CAMERA.rays(CAMERA.project(roots[:, None] + size * body, "camera"))
    joints = np.broadcast_to(body, (3, 17, 3))
    assumed, _ = solve_root(joints, SIGMA_M, rays, np.ones((3, 17)))
    return by_floor(assumed, joints, SIGMA_M, rays, np.ones((3, 17), bool), floor)


def _leg():
    hip, knee, ankle = STANDING_M[H36M17.indices("l_hip", "l_knee", "l_ankle")]
    return float(np.linalg.norm(hip - knee) + np.linalg.norm(knee - ankle))


@pytest.mark.parametrize("size", [0.65, 1.0, 1.18])
@pytest.mark.parametrize(("height_m", "pitch_deg"), [(0.4, 0), (1.2, 10), (2.5, 30), (0.5, -15)])
def test_feet_on_the_floor_tell_the_size_of_children_and_of_giants(size, height_m, pitch_deg):
    scale, variance = _on_floor(size, height_m, pitch_deg)
    np.testing.assert_allclose(scale, size, rtol=1e-4)
    assert (variance > 0).all()


def test_a_higher_camera_tells_distance_better():
    sigmas = [np.sqrt(_on_floor(1.0, height_m)[1]) for height_m in (0.3, 1.0, 2.5)]
    assert (sigmas[0] > 2 * sigmas[1]).all() and (sigmas[1] > 1.5 * sigmas[2]).all()
    assert (np.diff(sigmas[1]) >= 0).all()  # and a nearer person, by the camera's tilt


def test_a_floor_at_the_camera_tells_nothing():
    assert np.isnan(_on_floor(1.0, 0.05)[0]).all()


def _poses():
    """Somebody who stands, and others who do something else, in a level camera's axes."""
    index = H36M17.index
    standing = STANDING_M.astype(float)
    sitting = standing.copy()
    for side in "lr":
        hip, knee, ankle = H36M17.indices(*(f"{side}_{name}" for name in ("hip", "knee", "ankle")))
        sitting[knee] = sitting[hip] + [0, 0, -0.42]
        sitting[ankle] = sitting[knee] + [0, 0.40, 0]
    lying = standing[:, [1, 0, 2]]
    bending = standing.copy()
    upper = [i for i in range(17) if bending[i, 1] < 0]
    bending[upper] = bending[upper][:, [0, 2, 1]]
    walking = standing.copy()
    walking[index("l_ankle")] += [0, -0.04, -0.3]
    walking[index("r_ankle")] += [0, -0.06, 0.35]
    return np.stack([standing, walking, sitting, lying, bending])


def test_who_sits_lies_or_bends_does_not_stand():
    assert stands(_poses(), np.array([0, -1.0, 0])).tolist() == [True, True, False, False, False]


def test_unseen_feet_tell_nothing_and_a_raised_one_does_not_count():
    floor, place = Floor.from_tilt(1.0), np.array([0, 1.0 - 0.82 - SOLE_SHARE * _leg(), 4.0])
    body = STANDING_M.astype(float)
    body[ANKLES[1]] += [0, -0.3, -0.1]
    rays = CAMERA.rays(CAMERA.project(body + place, "camera"))[None]
    seen = np.ones((1, 17), bool)

    def told():
        return by_floor(place[None], body[None], SIGMA_M[:1], rays, seen, floor)[0]

    np.testing.assert_allclose(told(), 1, atol=0.01)
    seen[0, ANKLES] = False
    assert np.isnan(told()).all()


def test_feet_at_the_picture_s_edge_or_unsure_are_not_seen():
    body = CAMERA.project(STANDING_M + [0, 0, 4.0], "camera")
    below = body + [0, CAMERA.size[1] - 5 - body[ANKLES, 1].max()]
    confidence = np.full((3, 17), 0.9)
    confidence[2] = 0.5
    seen = feet_seen(np.stack([body, below, body]), confidence, CAMERA.size)
    assert seen[:, ANKLES].all(1).tolist() == [True, False, False]
    nothing = feet_seen(np.full((1, 17, 2), np.nan), np.zeros((1, 17)), CAMERA.size)
    assert not nothing.any() and feet_seen(body[None][:0], confidence[:0], CAMERA.size).size == 0


def _fed(statures, values, sigma=0.04, start_s=0.0):
    """Believed or not: measurements of one person at 30 Hz."""
    return [
        bool(
            statures.update(
                IDS[:1],
                np.array([value]),
                np.array([sigma**2]),
                PRIOR,
                round((start_s + i / 30) * SECOND),
            )[1][0]
        )
        for i, value in enumerate(values)
    ]


@pytest.mark.parametrize("size", [0.65, 1.0, 1.2])
def test_a_stature_is_known_after_two_seconds(size):
    rng, statures = np.random.default_rng(0), Statures()
    _fed(statures, size * (1 + rng.normal(0, 0.04, 60)))
    scale, variance = statures(IDS[:1], PRIOR)
    assert scale[0] == pytest.approx(size, rel=0.03) and np.sqrt(variance[0]) < 0.035


def test_who_jumps_or_climbs_keeps_their_stature():
    statures = Statures()
    _fed(statures, np.full(60, 1.05))
    before = statures(IDS[:1], PRIOR)
    assert not any(_fed(statures, np.full(300, 1.3), start_s=3))
    np.testing.assert_array_equal(statures(IDS[:1], PRIOR), before)


def test_who_was_first_seen_on_a_chair_shrinks_when_they_step_down():
    statures = Statures()
    _fed(statures, np.full(60, 1.3))
    _fed(statures, np.full(300, 1.0), start_s=3)
    assert statures(IDS[:1], PRIOR)[0][0] == pytest.approx(1.0, abs=0.05)


def test_a_stature_measured_once_stays_known_until_the_person_is_forgotten():
    statures, variance = Statures(), np.full(3, 1e-4)
    first, _ = statures.update(IDS, np.array([1.1, np.nan, 0.9]), variance, PRIOR, 0)
    assert first == [4, 9]
    first, _ = statures.update(IDS, np.array([1.1, 1.2, 0.9]), variance, PRIOR, SECOND)
    assert first == [7]
    scale, variance = statures(IDS, PRIOR)
    np.testing.assert_allclose(scale, [1.1, 1.2, 0.9], atol=0.01)
    assert (variance <= 1e-4).all() and (variance >= 2.5e-5).all()
    statures.forget(np.array([7]))
    np.testing.assert_allclose(statures(IDS, PRIOR)[0], [1, 1.2, 1], atol=0.01)


def test_nothing_measured_leaves_the_assumed_stature():
    statures, nothing = Statures(), np.full(3, np.nan)
    first, believed = statures.update(IDS, nothing, nothing, PRIOR, 0)
    assert first == [] and not believed.any()
    np.testing.assert_array_equal(statures(IDS, PRIOR), [np.ones(3), np.full(3, PRIOR)])


def test_what_all_measurements_have_in_common_does_not_average_out():
    """A depth image that sees a coat is as wrong in a thousand frames as in one."""
    statures, sigma = Statures(), 0.04
    _fed(statures, np.full(1000, 1.1), sigma)
    scale, variance = statures(IDS[:1], PRIOR)
    assert scale[0] == pytest.approx(1.1, abs=0.005) and np.sqrt(variance[0]) >= sigma / 2
