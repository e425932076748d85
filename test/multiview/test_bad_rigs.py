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

"""Rigs whose calibration is off, noisy detectors, single moments."""

from dataclasses import replace

import numpy as np
import pytest
from rigs import detected, ring, standing

from pose3d_ros.geometry import rigid, rotation_from_vector
from pose3d_ros.multiview import MultiViewTracker, fuse
from pose3d_ros.people import People2D, TrackState
from pose3d_ros.skeleton import H36M17

STEP_NS = 40_000_000
PLACES = np.array([[-1.0, 0.6], [0.9, -0.8], [0.3, 1.2]])
EVERYBODY = standing(PLACES, np.array([0.3, 2.0, 4.0]))


def off(cameras, rng, degrees=0.0, metres=0.0):
    """The cameras as a calibration has them that is off by so much."""
    result = []
    for camera in cameras:
        axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
        error = rigid(rotation_from_vector(np.radians(degrees) * axis), metres * way)
        result.append(replace(camera, camera_from_world=error @ camera.camera_from_world))
    return result


def found(result, truth=EVERYBODY):
    """Which of the truth's people are there, within 0.35 m."""
    away = np.nanmean(np.linalg.norm(result.joints_m[:, None] - truth, axis=-1), -1)
    return (away < 0.35).any(0)


def moment(cameras, rng, noise_px=3.0, truth=EVERYBODY):
    return [detected(camera, truth, 0, rng, noise_px) for camera in cameras]


@pytest.mark.parametrize(
    ("degrees", "metres", "noise_px"), [(0, 0.03, 3), (0.5, 0.0, 3), (1, 0.0, 3), (0, 0, 12)]
)
def test_everybody_is_found_in_single_moments_of_a_bad_rig(degrees, metres, noise_px):
    rng, cameras = np.random.default_rng(0), ring(3)
    results = [
        fuse(moment(cameras, rng, noise_px), off(cameras, rng, degrees, metres)) for _ in range(20)
    ]
    assert np.mean([found(result) for result in results]) > 0.95
    assert np.mean([len(result) for result in results]) < 3.2


def test_one_good_frame_of_three_cameras_confirms_and_of_two_does_not():
    rng = np.random.default_rng(1)
    three, two = (fuse(moment(ring(n), rng), ring(n)) for n in (3, 2))
    assert len(three) == 3 and (three.states == TrackState.CONFIRMED).all()
    assert len(two) >= 3 and (two.states == TrackState.TENTATIVE).all()


def test_fuse_needs_somebody_to_look():
    with pytest.raises(ValueError, match="at least one camera"):
        fuse([None, None], ring(2))


@pytest.mark.parametrize("noise_px", [3.0, 20.0])
def test_sigma_follows_the_noise_from_the_first_frame(noise_px):
    rng, cameras = np.random.default_rng(2), ring(4)
    ratios = []
    for _ in range(20):
        result = fuse(moment(cameras, rng, noise_px), cameras)
        error = np.linalg.norm(result.joints_m[:, None] - EVERYBODY, axis=-1)
        nearest = np.nanmean(error, -1).argmin(1)
        ratios.append(error[np.arange(len(result)), nearest] / result.sigma_m)
    assert 0.4 < np.sqrt(np.nanmean(np.square(np.concatenate(ratios))) / 3) < 1.4


def test_sigma_is_right_for_noise_and_for_errors_that_stay():
    """Keypoints that are off by the same from frame to frame are not averaged out."""
    cameras = ring(4)
    for stays in (False, True):
        rng = np.random.default_rng(3)
        offsets = rng.normal(0, 12.0, (len(cameras), 1, 17, 2))
        tracker = MultiViewTracker(cameras, H36M17)
        errors, sigmas = [], []
        for frame in range(60):
            seen = []
            for c, camera in enumerate(cameras):
                noise = offsets[c] if stays else rng.normal(0, 12.0, (1, 17, 2))
                pixels = camera.project(EVERYBODY[:1]) + noise
                seen.append(
                    People2D(H36M17, pixels, np.ones((1, 17)), frame * STEP_NS, camera.size)
                )
            result = tracker.update(seen, frame * STEP_NS)
            if frame >= 30:
                errors.append(np.linalg.norm(result.joints_m[0] - EVERYBODY[0], axis=-1))
                sigmas.append(result.sigma_m[0])
        ratio = np.sqrt(np.mean(np.square(errors)) / 3 / np.mean(np.square(sigmas)))
        assert 0.6 < ratio < 1.35, (stays, ratio)


def test_whoever_is_larger_than_people_can_be_is_nobody():
    """Rays of two different people that happen to meet make such poses."""
    cameras = ring(2, height=1.0)
    giant = 1.6 * standing(np.zeros((1, 2)), np.zeros(1))
    seen = [detected(camera, giant, 0, np.random.default_rng(4), 1.0) for camera in cameras]
    assert not len(fuse(seen, cameras))
    usual = standing(np.zeros((1, 2)), np.zeros(1))
    seen = [detected(camera, usual, 0, np.random.default_rng(4), 1.0) for camera in cameras]
    assert len(fuse(seen, cameras)) == 1
