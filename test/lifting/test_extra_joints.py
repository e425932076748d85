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

"""Face, hands and feet: geometry, the shipped network on the demo clip, and everybody who reads
them.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bodies import CAMERA, STANDING_M

from pose3d_ros.io.joints_cloud import joints_layout, people_3d
from pose3d_ros.io.keypoints_cloud import keypoints_layout, people_2d
from pose3d_ros.io.rig_file import read_rig
from pose3d_ros.io.videos import frames
from pose3d_ros.lifting.extra_joints import ANCHORS, ExtraJoints
from pose3d_ros.lifting.lifter import LiftedPoses
from pose3d_ros.multiview import MultiViewTracker
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.resources import share
from pose3d_ros.skeleton import BODY30, COCO17, EXTRA_JOINTS, H36M17, anchors
from pose3d_ros.tracking import IdentityTracker

STEP_NS = 100_000_000
PEOPLE = 2
LARGEST_M, MEAN_M = 0.11, 0.06
"""Error from the anchor of any extra joint and of all, in the demo clip; a foot that is turned
round is off by 0.3 m.
"""


class _Engine:
    """Answers the depth of extra joints behind their anchors, and nothing else."""

    def __init__(self, depth_m: np.ndarray) -> None:
        self.depth_m = depth_m

    def __call__(self, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        answer = np.zeros((*self.depth_m.shape, 4), np.float32)
        answer[..., 2], answer[..., 3] = self.depth_m, np.log(0.02)
        return {"extra_joints": answer}


def test_a_joint_of_known_depth_lies_on_its_line_of_sight() -> None:
    rng = np.random.default_rng(0)
    root_m = np.array([[0.9, 0.3, 2.5], [0.0, 0.0, 4.0]])
    joints_m = np.tile(STANDING_M, (PEOPLE, 1, 1))
    extra_m = joints_m[:, ANCHORS] + rng.uniform(-0.15, 0.15, (PEOPLE, 13, 3))
    placed_m = np.concatenate([joints_m, extra_m], 1) + root_m[:, None]
    rays = placed_m[..., :2] / placed_m[..., 2:]
    confidence = np.ones((PEOPLE, 30), np.float32)
    towards = root_m / np.linalg.norm(root_m, axis=1, keepdims=True)
    behind_m = np.einsum("pji,pi->pj", extra_m - joints_m[:, ANCHORS], towards)
    size = np.linalg.norm(np.diff(STANDING_M[H36M17.limb_indices], axis=1), axis=-1).mean() / 0.25
    lifter = ExtraJoints(_Engine(behind_m / size))  # type: ignore[arg-type]
    poses = lifter(LiftedPoses(joints_m, np.full((PEOPLE, 17), 0.03)), root_m, rays, confidence)
    np.testing.assert_allclose(poses.joints_m[:, 17:], extra_m, atol=2e-3)
    np.testing.assert_allclose(poses.sigma_m[:, 17:], np.hypot(0.03, 0.02 * size), rtol=1e-3)


def test_who_is_placed_nowhere_has_no_face() -> None:
    lifter = ExtraJoints(_Engine(np.zeros((1, 13))))  # type: ignore[arg-type]
    poses = LiftedPoses(np.tile(STANDING_M, (PEOPLE, 1, 1)), np.ones((PEOPLE, 17)))
    root_m = np.array([[np.nan] * 3, [0, 0, 3.0]])
    found = lifter(poses, root_m, np.zeros((PEOPLE, 30, 2)), np.zeros((PEOPLE, 30)))
    assert np.isnan(found.joints_m[0, 17:]).all() and np.isfinite(found.joints_m[1]).all()


@pytest.fixture(scope="module")
def clip() -> list[tuple[Any, int]]:
    """Five images a second of 2 s of the demo clip's first camera."""
    return [*islice(frames(share("demo", "cam0.mp4")), 45, 110, 6)]


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    """Body30 of the demo clip (T, P, 30, 3) in the world."""
    with np.load(share("demo", "truth.npz")) as known:
        return np.concatenate([known["joints_m"], known["extra_joints_m"]], 2)


def _tracked(clip: list[tuple[Any, int]], skeleton: str) -> list[People3D]:
    camera = read_rig(share("demo", "rig.yaml")).cameras["cam0"]
    camera = replace(camera, camera_from_world=np.eye(4))
    with MonocularPipeline(skeleton=skeleton) as pipeline:
        return [pipeline(image, camera, stamp_ns) for image, stamp_ns in clip]


def test_the_demos_people_have_face_hands_and_feet_where_they_are(
    clip: list[tuple[Any, int]], truth: np.ndarray
) -> None:
    camera = read_rig(share("demo", "rig.yaml")).cameras["cam0"]
    plain, whole = _tracked(clip, "h36m17"), _tracked(clip, "body30")
    errors, sigmas, forwards = [], [], []
    foot, heel = BODY30.indices("l_foot", "r_foot"), BODY30.indices("l_heel", "r_heel")
    for before, people in zip(plain, whole, strict=True):
        np.testing.assert_allclose(before.joints_m, people.joints_m[:, :17], atol=1e-5)
        np.testing.assert_allclose(before.sigma_m, people.sigma_m[:, :17], atol=1e-5)
        there = truth[round(people.stamp_ns * 30e-9)] @ camera.camera_from_world[:3, :3].T
        there += camera.camera_from_world[:3, 3]
        for joints, sigma in zip(people.joints_m, people.sigma_m, strict=True):
            own = there[np.linalg.norm(there[:, 0] - joints[0], axis=1).argmin()]
            hung = joints[17:] - joints[ANCHORS] - (own[17:] - own[ANCHORS])
            errors.append(np.linalg.norm(hung, axis=-1))
            sigmas.append(sigma[17:])
            forwards.append(((joints[foot] - joints[heel]) * (own[foot] - own[heel])).sum(-1))
    error = dict(zip(EXTRA_JOINTS, np.mean(errors, 0), strict=True))
    assert len(errors) > 15 and max(error.values()) < LARGEST_M, error
    assert np.mean(errors) < MEAN_M
    assert (np.array(forwards) > 0).mean() > 0.97, "feet point backwards"
    within = np.array(errors) < 3 * np.sqrt(3) * np.array(sigmas)
    assert within.mean() > 0.95


def test_two_cameras_triangulate_face_hands_and_feet(truth: np.ndarray) -> None:
    rig, errors = read_rig(share("demo", "rig.yaml")), []
    cameras = list(rig.cameras.values())
    tracker = MultiViewTracker(cameras, BODY30, rig.frame_id)
    rng = np.random.default_rng(0)
    for frame in range(0, 33, 3):  # before anybody hides somebody
        seen = []
        for camera in cameras:
            there = truth[frame] @ camera.camera_from_world[:3, :3].T
            pixels = camera.project(there + camera.camera_from_world[:3, 3], "camera")
            pixels = pixels + rng.normal(0, 2, pixels.shape)
            stamp_ns = round(frame * 1e9 / 30)
            seen.append(
                People2D(BODY30, pixels, np.full(pixels.shape[:2], 0.9), stamp_ns, camera.size)
            )
        people = tracker.update(seen, stamp_ns)
    for joints in people.joints_m:
        own = truth[frame][np.linalg.norm(truth[frame][:, 0] - joints[0], axis=1).argmin()]
        errors.append(np.linalg.norm(joints - own, axis=-1)[17:])
    assert len(errors) == PEOPLE and np.mean(errors) < 0.03


def test_hands_feet_and_face_are_exchanged_with_their_limbs() -> None:
    """A detector that takes left for right in one frame takes hands and feet as well."""
    rng, tracker = np.random.default_rng(0), IdentityTracker()
    extra_m = STANDING_M[ANCHORS] + rng.uniform(-0.1, 0.1, (13, 3))
    extra_m[:, 0] += [
        0.05 * (joint.startswith("l_") - joint.startswith("r_")) for joint in EXTRA_JOINTS
    ]
    body_m = np.concatenate([STANDING_M, extra_m]) + [0, 0, 3.0]
    pixels = CAMERA.project(body_m[None], "camera")
    for frame in range(12):
        swapped = frame == 9
        given = pixels[:, BODY30.flip] if swapped else pixels
        seen = People2D(BODY30, given, np.full((1, 30), 0.9), frame * STEP_NS, CAMERA.size)
        found = tracker(seen)
        np.testing.assert_allclose(found.keypoints_px, pixels, atol=1e-3)


def test_a_hand_follows_a_wrist_that_leaps() -> None:
    tracker, wrist = IdentityTracker(), BODY30.index("l_wrist")
    hangs = anchors(BODY30) == wrist
    extra_m = STANDING_M[ANCHORS] + 0.05
    pixels = CAMERA.project((np.concatenate([STANDING_M, extra_m]) + [0, 0, 3.0])[None], "camera")
    for frame in range(10):
        given = pixels.copy()
        if frame == 9:
            given[:, hangs] += 300
        seen = People2D(BODY30, given, np.full((1, 30), 0.9), frame * STEP_NS, CAMERA.size)
        found = tracker(seen)
    assert (found.confidence[0, hangs] == 0).all() and (found.confidence[0, ~hangs] > 0).all()


def _people(count: int) -> People3D:
    rng = np.random.default_rng(count)
    return People3D(
        BODY30,
        rng.normal(size=(count, 30, 3)),
        rng.uniform(size=(count, 30)),
        rng.uniform(size=(count, 30)),
        rng.normal(size=(count, 30, 3)),
        np.arange(count),
        np.full(count, TrackState.CONFIRMED),
        34,
        "map",
    )


def _message(layout: Any) -> Any:
    header = SimpleNamespace(stamp=SimpleNamespace(sec=0, nanosec=34), frame_id="map")
    names = ("height", "width", "fields", "point_step", "row_step", "data", "is_bigendian")
    return SimpleNamespace(header=header, **{name: getattr(layout, name) for name in names})


@pytest.mark.parametrize("count", [0, PEOPLE])
def test_a_cloud_tells_its_skeleton_and_readers_of_17_joints_take_the_first(count: int) -> None:
    given = _people(count)
    cloud = _message(joints_layout(given))
    assert people_3d(cloud).skeleton is BODY30
    np.testing.assert_array_equal(people_3d(cloud).joints_m, given.joints_m)
    first = people_3d(cloud, H36M17)
    assert first.skeleton is H36M17
    np.testing.assert_array_equal(first.joints_m, given.joints_m[:, :17])
    back = first.to(BODY30)
    assert np.isnan(back.joints_m[:, 17:]).all() and not back.confidence[:, 17:].any()


def test_a_cloud_as_wide_as_expected_has_the_joints_that_are_expected() -> None:
    """COCO has 17 as well."""
    pixels = np.random.default_rng(0).uniform(0, 400, (PEOPLE, 17, 2)).astype(np.float32)
    people = People2D(COCO17, pixels, np.full((PEOPLE, 17), 0.5), 34, (640, 480))
    read = people_2d(_message(keypoints_layout(people)), COCO17)
    assert read.skeleton is COCO17
    np.testing.assert_array_equal(read.keypoints_px, pixels)


def test_cameras_with_and_without_hands_and_feet_go_together() -> None:
    pixels = np.random.default_rng(0).uniform(0, 400, (PEOPLE, 30, 2)).astype(np.float32)
    people = People2D(BODY30, pixels, np.full((PEOPLE, 30), 0.5), 34, (640, 480))
    whole, first = (_message(keypoints_layout(seen)) for seen in (people, people.to(H36M17)))
    np.testing.assert_array_equal(people_2d(whole, H36M17).keypoints_px, pixels[:, :17])
    widened = people_2d(first, BODY30)
    np.testing.assert_array_equal(widened.keypoints_px[:, :17], pixels[:, :17])
    assert np.isnan(widened.keypoints_px[:, 17:]).all() and not widened.confidence[:, 17:].any()
