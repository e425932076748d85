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

"""Place, frame and velocity of people in the pipeline, by a camera that stands or moves over a
floor: a detector and a lifter that know the truth, and everything else as it is.
"""

import math
from dataclasses import replace

import numpy as np
import pytest
from bodies import CAMERA, STANDING_M

from pose3d_ros.detection import Detector
from pose3d_ros.geometry import look_at, transform_points
from pose3d_ros.lifting import Lifter
from pose3d_ros.lifting.lifter import LiftedPoses
from pose3d_ros.people import People2D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.place.floor import Floor
from pose3d_ros.place.placement import BODY_SIGMA_M
from pose3d_ros.place.stature import SOLE_SHARE
from pose3d_ros.settings import PipelineSettings, SettingsError
from pose3d_ros.skeleton import H36M17

IMAGE = np.zeros((CAMERA.size[1], CAMERA.size[0], 3), np.uint8)
LEVEL = STANDING_M @ np.array([[0, -1, 0], [0, 0, -1], [1.0, 0, 0]])  # x forward, z up
HIP_M = 0.82 + SOLE_SHARE * 0.84


class World(Detector, Lifter):
    """A standing body ``size`` times the assumed one, with the pelvis over ``place_m`` (2,) of the
    floor, as it looks from ``camera``.
    """

    name = "world"
    skeleton = H36M17

    def __init__(self, size, place_m):
        self.settings, self.size, self.camera = PipelineSettings(), size, CAMERA
        self.pelvis_m = np.array([*place_m, size * HIP_M])
        self.confidence = np.full(17, 0.9)

    def __call__(self, subject, second, *rest):
        if isinstance(subject, People2D):
            self.up = rest[-1]
            return self._lifted(subject)
        pixels = self.camera.project((self.size * LEVEL + self.pelvis_m)[None])
        confidence = np.where(np.isfinite(pixels).all(-1), self.confidence, 0)
        return People2D(H36M17, pixels, confidence, second, CAMERA.size)

    def _lifted(self, people):
        joints = LEVEL @ self.camera.camera_from_world[:3, :3].T
        count = len(people)
        return LiftedPoses(np.stack([joints] * count), np.full((count, 17), 0.03))


def _pipeline(world, **settings):
    return MonocularPipeline(detector=world, lifter=world, **settings)


def _run(pipeline, world, cameras, **options):
    """Results at 30 Hz of the cameras in turn."""
    results = []
    for i, camera in enumerate(cameras):
        world.camera = camera
        results.append(pipeline(IMAGE, camera, i * 33_333_333, **options))
    return results


def _posed(x=0.0, height_m=1.0, pitch_deg=10.0, yaw_rad=0.0):
    """The camera over the floor, at (x, 0), looking along x, down and to the left."""
    p = math.radians(pitch_deg)
    ahead = np.array(
        [math.cos(yaw_rad) * math.cos(p), math.sin(yaw_rad) * math.cos(p), -math.sin(p)]
    )
    at = np.array([x, 0, height_m])
    return replace(CAMERA, camera_from_world=look_at(at, at + ahead))


@pytest.mark.parametrize("size", [0.65, 1.0, 1.15])
def test_with_the_camera_s_height_people_of_any_size_stand_where_they_stand(size):
    world = World(size, (4.0, 0.5))
    truth = transform_points(_posed().camera_from_world, size * LEVEL + world.pelvis_m)
    tilt = {"camera_height_m": 1.0, "camera_pitch_deg": 10.0}
    with _pipeline(world, **tilt) as pipeline:
        results = _run(pipeline, world, [_posed()] * 30)
    np.testing.assert_allclose(results[-1].joints_m[0], truth, atol=0.08)  # 2 % of 4 m
    with _pipeline(world) as pipeline:
        assumed = _run(pipeline, world, [_posed()] * 30)
    error = np.linalg.norm(assumed[-1].joints_m[0] - truth, axis=-1).max()
    assert error == pytest.approx(abs(1 / size - 1) * 4.1, abs=0.35)
    # The floor is surer than a stature that anybody may have.
    assert results[-1].sigma_m.max() < 0.8 * assumed[-1].sigma_m.max()


def test_sigma_knows_that_hips_are_not_where_they_look_and_doubtful_keypoints():
    world, wrist, other = World(1.0, (4.0, 0.5)), *H36M17.indices("l_wrist", "r_wrist")
    tilt = {"camera_height_m": 1.0, "camera_pitch_deg": 10.0}
    world.confidence = np.where(np.arange(17) == wrist, 0.5, 0.95)
    with _pipeline(world, **tilt) as pipeline:
        people = _run(pipeline, world, [_posed()] * 30)[-1]
    variances = np.linalg.eigvalsh(people.covariance_m2[0])
    assert (variances >= BODY_SIGMA_M**2).all(), "in every direction"
    assert variances[wrist, 0] > variances[other, 0] + 0.03**2


def test_in_a_fixed_frame_people_are_upright_on_the_floor():
    world = World(1.1, (4.0, 0.5))
    fixed = {"fixed_frame": "odom", "camera_height_m": 1.0, "camera_pitch_deg": 10.0}
    with _pipeline(world, **fixed) as pipeline:
        world.camera = _posed()
        for i in range(10):
            by_settings = pipeline(IMAGE, CAMERA, i * 33_333_333)  # which knows of no pose
    with _pipeline(world, fixed_frame="odom") as pipeline:
        by_pose = _run(
            pipeline,
            world,
            [_posed()] * 10,
            floor=Floor.from_pose(_posed().camera_from_world),
        )[-1]
        with pytest.raises(SettingsError, match="fixed_frame 'odom': expected to know where"):
            pipeline(IMAGE, CAMERA, 10**9)
    depth = transform_points(_posed().camera_from_world, 1.1 * LEVEL + world.pelvis_m)[:, 2]
    for people in (by_settings, by_pose):
        assert people.frame_id == "odom"
        assert people.people_2d.depth_m[0] == pytest.approx(depth, abs=0.1)
        assert (people.people_2d.depth_sigma_m[0] > people.sigma_m[0]).all(), "most is along it"
        pelvis = people.joint("pelvis")[0]
        np.testing.assert_allclose(people.joints_m[0], 1.1 * LEVEL + world.pelvis_m, atol=0.08)
        np.testing.assert_allclose((people.joint("head")[0] - pelvis)[:2], [-0.02, 0], atol=0.05)


def test_the_lifter_is_told_which_way_is_up_where_that_is_known():
    level_m, posed = {"camera_height_m": 1.0, "camera_pitch_deg": 10.0}, _posed()
    truth = posed.camera_from_world[:3, 2]
    floor = Floor.from_pose(posed.camera_from_world)
    for settings, options, expected in (
        (level_m, {}, Floor.from_tilt(1.0, np.radians(10)).up),
        ({}, {"floor": floor}, truth),
        ({"fixed_frame": "odom"}, {}, truth),
        ({}, {}, None),
    ):
        world = World(1.0, (4.0, 0.5))
        with _pipeline(world, **settings) as pipeline:
            _run(pipeline, world, [posed], **options)
        if expected is None:
            assert world.up is None
        else:
            np.testing.assert_allclose(world.up, expected, atol=1e-9)


def test_a_robot_that_drives_and_turns_leaves_a_standing_person_standing():
    """0.5 m/s and 0.5 rad/s; the person leaves the picture at the end, and is still there."""
    world, rate = World(1.0, (5.0, -0.5)), 30
    cameras = [_posed(0.5 * i / rate, yaw_rad=0.5 * (i / rate - 1)) for i in range(2 * rate)]
    floors = [Floor.from_pose(camera.camera_from_world) for camera in cameras]
    speeds, ids = [], set()
    with _pipeline(world, fixed_frame="odom") as pipeline:
        for i, (camera, floor) in enumerate(zip(cameras, floors, strict=True)):
            world.camera = camera
            people = pipeline(IMAGE, camera, i * 33_333_333, floor=floor)
            ids |= set(people.ids.tolist())
            if i > 10:
                speeds.append(np.linalg.norm(people.velocity_mps[0], axis=-1).max())
                np.testing.assert_allclose(people.joint("pelvis")[0], world.pelvis_m, atol=0.05)
    assert len(ids) == 1 and max(speeds) < 0.1
    world = World(1.0, (5.0, -0.5))
    with _pipeline(world) as pipeline:  # in the camera's own frame the person flies past
        moving = _run(pipeline, world, cameras)
    assert np.linalg.norm(moving[-1].velocity_mps[0], axis=-1).max() > 1
