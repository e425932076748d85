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

"""The floor as people who stand on it tell."""

import math

import numpy as np
import pytest
from bodies import STANDING_M
from scipy.spatial.transform import Rotation

from pose3d_ros.place.floor import Floor
from pose3d_ros.place.floor_of_people import LEAST_POSES, floor_of_people
from pose3d_ros.place.stature import SOLE_SHARE


def _crowd(floor, count, seed=0):
    """Poses in the camera's axes of people who stand about on the floor and lean a little."""
    rng = np.random.default_rng(seed)
    leans = Rotation.from_rotvec(rng.normal(0, 0.1, (count, 3)) * [1, 0, 1]).as_matrix()
    bodies = np.einsum("nij,kj->nki", leans, STANDING_M)
    pelvis_y = floor.height_m - 0.82 - SOLE_SHARE * 0.84
    places = np.stack(
        [rng.uniform(-2, 2, count), np.full(count, pelvis_y), rng.uniform(2, 6, count)], 1
    )
    return (bodies + places[:, None]) @ floor.upright_from_camera


@pytest.mark.parametrize(
    ("height_m", "pitch_deg", "roll_deg"), [(1.2, 0, 0), (2.5, 30, 5), (0.5, -20, -8)]
)
def test_people_who_stand_tell_tilt_and_height(height_m, pitch_deg, roll_deg):
    truth = Floor.from_tilt(height_m, math.radians(pitch_deg), math.radians(roll_deg))
    poses = _crowd(truth, 200)
    lying = poses[:60, :, [0, 2, 1]]  # some do something else
    unknown = np.full((5, 17, 3), np.nan)
    found = floor_of_people(np.concatenate([poses, lying, unknown]))
    assert found is not None
    assert math.degrees(math.acos(min(float(found.up @ truth.up), 1.0))) < 2.5
    assert found.height_m == pytest.approx(height_m, abs=0.15)


def test_an_upright_view_is_that_of_a_level_camera():
    floor = Floor.from_tilt(1.0, math.radians(25), math.radians(10))
    np.testing.assert_allclose(floor.upright_from_camera @ floor.up, [0, -1, 0], atol=1e-12)
    assert np.linalg.det(floor.upright_from_camera) == pytest.approx(1)
    np.testing.assert_allclose(Floor.from_tilt(1.0).upright_from_camera, np.eye(3), atol=1e-12)


def test_too_few_people_tell_nothing():
    assert floor_of_people(_crowd(Floor.from_tilt(1.0), LEAST_POSES - 1)) is None
    assert floor_of_people(np.zeros((0, 17, 3))) is None
