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

"""Clocks of cameras at work, told by people's motion."""

from dataclasses import replace

import numpy as np
import pytest
from rigs import detected, ring, standing

from pose3d_ros.geometry import rigid, rotation_from_vector
from pose3d_ros.multiview import MultiViewTracker
from pose3d_ros.skeleton import H36M17

RATE_HZ = 20


def circling(seconds, speed_mps=1.2):
    """Two people who walk in circles of 1.2 m, in opposite senses."""
    angle = np.array([1.0, -1.0]) * speed_mps / 1.2 * seconds + np.array([0.0, 2.5])
    places = 1.2 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return standing(places, angle + np.array([0.0, np.pi]), 6 * speed_mps * seconds)


def learned(late_s, seconds=12.0, speed_mps=1.2, turned_deg=0.0):
    """What a tracker knows whose cameras' pictures are taken ``late_s`` after their stamps."""
    rng, cameras = np.random.default_rng(0), ring(len(late_s))
    known = []
    for camera in cameras:
        axis = rng.normal(size=3)
        turn = rotation_from_vector(np.radians(turned_deg) * axis / np.linalg.norm(axis))
        known.append(
            replace(camera, camera_from_world=rigid(turn, np.zeros(3)) @ camera.camera_from_world)
        )
    tracker = MultiViewTracker(known, H36M17)
    for frame in range(int(seconds * RATE_HZ)):
        stamp_ns = round((1 + frame / RATE_HZ) * 1e9)
        seen = [
            detected(camera, circling(stamp_ns * 1e-9 + late, speed_mps), stamp_ns, rng)
            for camera, late in zip(cameras, late_s, strict=True)
        ]
        tracker.update(seen, stamp_ns)
    return tracker.clocks


@pytest.mark.parametrize("late_s", [(0, 0.04, 0), (0.03, -0.03)])
def test_a_camera_whose_clock_is_off_is_made_up_for(late_s):
    clocks = learned(late_s)
    np.testing.assert_allclose(clocks.used_s, np.subtract(late_s, np.mean(late_s)), atol=0.006)


@pytest.mark.parametrize("turned_deg", [0.0, 1.0])
def test_clocks_that_agree_stay_as_they_are_also_where_the_calibration_is_off(turned_deg):
    clocks = learned((0, 0, 0), turned_deg=turned_deg)
    assert not clocks.used_s.any()
    assert np.abs(clocks.offset_s).max() < 0.006


def test_people_who_stand_tell_nothing_of_clocks():
    clocks = learned((0, 0.04, 0), speed_mps=0.0)
    assert not clocks.used_s.any() and np.isinf(clocks.sigma_s).all()
