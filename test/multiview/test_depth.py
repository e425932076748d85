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

from dataclasses import replace

import numpy as np
import pytest
from bodies import moved
from rigs import detected, ring, standing

from pose3d_ros.geometry import look_at
from pose3d_ros.multiview import MultiViewTracker
from pose3d_ros.people import People2D, People3D, TrackState
from pose3d_ros.skeleton import COCO17, H36M17

STEP_NS = 40_000_000
DEPTH_SIGMA_M = 0.04


def walker(frame, start=(-0.5, 0.0), velocity=(0.4, 0.2)):
    return standing(
        np.array([start]) + np.array([velocity]) * frame * 0.04, np.zeros(1), 0.2 * frame
    )


def observed(camera, people_m, stamp_ns, rng, sigma_m=None, error_m=0.0, scale=1.0, **noise):
    """Detections of one camera, with depth if it has ``sigma_m``: wrong by ``error_m`` and in
    proportion ``scale``.
    """
    people = detected(camera, people_m, stamp_ns, rng, **noise)
    if sigma_m is None or not len(people):
        return people
    points = people_m @ camera.camera_from_world[:3, :3].T + camera.camera_from_world[:3, 3]
    nearest = np.linalg.norm(
        camera.project(people_m)[:, 0] - people.keypoints_px[:, None, 0], axis=-1
    ).argmin(1)
    depth = scale * points[nearest, :, 2] + error_m
    return replace(people, depth_m=depth, depth_sigma_m=np.full(depth.shape, sigma_m))


def play(cameras, sigmas, frames=60, seed=0, silent=lambda frame, c: False, **error):
    """One person before cameras of which some know depth; yields frame, result and truth."""
    rng = np.random.default_rng(seed)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(frames):
        truth, stamp_ns = walker(frame), frame * STEP_NS
        seen = [
            None
            if silent(frame, c)
            else observed(
                camera,
                truth,
                stamp_ns,
                rng,
                sigma,
                **{k: v(rng) for k, v in error.items()} if sigma else {},
            )
            for c, (camera, sigma) in enumerate(zip(cameras, sigmas, strict=True))
        ]
        yield frame, tracker.update(seen, stamp_ns), truth


def noise(rng):
    return rng.normal(0, DEPTH_SIGMA_M, (1, 17))


def test_depth_goes_back_with_the_keypoints_where_a_camera_exchanged_left_and_right():
    """One camera sees a person half from the side: the left shoulder is further away than the
    right one.
    """
    tracker, rng, camera = MultiViewTracker(ring(1), H36M17), np.random.default_rng(0), ring(1)[0]
    errors = []
    for frame in range(60):
        truth = standing(np.array([[0.016 * frame - 0.5, 0.0]]), np.array([0.8]), 0.2 * frame)
        people = observed(camera, truth, frame * STEP_NS, rng, DEPTH_SIGMA_M, noise_px=1.0)
        if frame >= 20 and frame % 5 == 0:
            people = people.with_joint_order(H36M17.flip[None])
        result = tracker.update([people], frame * STEP_NS)
        errors.append(np.linalg.norm(result.joints_m - truth, axis=-1).mean())
    # With the other side's depth it would be several centimetres in those frames.
    assert max(errors[20:]) < 1.5 * max(errors[10:20])


def test_one_camera_with_depth_is_enough():
    squared, errors = [], []
    for seed in range(5):
        for frame, result, truth in play(ring(1), [DEPTH_SIGMA_M], seed=seed, error_m=noise):
            assert result.ids.tolist() == [0]
            if frame >= 10:
                assert result.states[0] == TrackState.CONFIRMED
                error = np.linalg.norm(result.joints_m - truth, axis=-1)
                errors.append(error)
                squared.append((error / result.sigma_m) ** 2)
    assert np.mean(errors) < 0.06
    # Noise that is new in each frame is filtered; sigma leaves room for that which is not.
    assert 0.5 < np.mean(squared) < 3.3


def test_an_error_that_stays_is_within_sigma():
    # Every depth is wrong by the same 4 cm, for seconds: sigma must not shrink as if that averaged
    # out.
    for frame, result, truth in play(ring(1), [DEPTH_SIGMA_M], error_m=lambda rng: 0.04):
        if frame >= 10:
            error = np.linalg.norm(result.joints_m - truth, axis=-1)
            assert error.mean() == pytest.approx(0.04, abs=0.015)
            assert (result.sigma_m > 0.02).all()
            assert np.mean((error / result.sigma_m) ** 2) < 6


def near_each_other():
    """Two cameras 10 cm apart, whose rays hardly tell depth."""
    left = ring(1)[0]
    shifted = left.camera_from_world.copy()
    shifted[0, 3] -= 0.1
    return [left, replace(left, camera_from_world=shifted)]


@pytest.mark.parametrize("cameras", [near_each_other(), ring(2)])
def test_depth_lowers_the_error_of_two_views(cameras):
    def error(sigmas):
        return np.mean(
            [
                np.linalg.norm(result.joints_m[0] - truth[0], axis=-1).mean()
                for seed in range(3)
                for frame, result, truth in play(cameras, sigmas, 40, seed, error_m=noise)
                if frame >= 10
            ]
        )

    without, with_depth = error([None, None]), error([DEPTH_SIGMA_M, None])
    assert with_depth < 1.05 * without
    if cameras[1].position_m[1] < 1:
        assert with_depth < 0.6 * without


def test_a_depth_that_is_somebody_elses_is_not_believed():
    # For half a second the depth image shows somebody who stands before the wrist.
    wrist = H36M17.index("l_wrist")
    before = np.zeros((1, 17))
    before[0, wrist] = -1.0
    count = iter(range(1000))
    *_, (_, result, truth) = play(
        ring(1), [DEPTH_SIGMA_M], 35, error_m=lambda rng: noise(rng) + before * (next(count) >= 22)
    )
    assert np.linalg.norm(result.joints_m[0, wrist] - truth[0, wrist]) < 0.25


def test_handover_from_several_cameras_to_one_lifter_and_back():
    # The lifter takes the person for 8 % smaller than they are, so every joint is 0.4 m too near.
    shape_rng = np.random.default_rng(1)
    shape = shape_rng.normal(0, 0.05, (1, 17))
    ids, alone, back = set(), [], []
    for frame, result, truth in play(
        ring(3),
        [0.45, None, None],
        160,
        silent=lambda f, c: c > 0 and 30 <= f < 130,
        scale=lambda rng: 0.92,
        error_m=lambda rng: shape,
    ):
        ids |= set(result.ids.tolist())
        if frame >= 5:
            assert len(result) == 1 and result.states[0] == TrackState.CONFIRMED
        error = (
            np.linalg.norm(result.joints_m[0] - truth[0], axis=-1)
            if len(result)
            else np.full(17, np.inf)
        )
        if 120 <= frame < 130:
            alone.append(error)
            assert (result.sigma_m > 0.1).all()  # per axis; along the ray it is 0.45 m
            assert (error < 3 * 0.45).all()
        elif frame >= 135:
            back.append(error)
            assert (result.sigma_m < 0.05).all()
    assert ids == {0}
    assert 0.2 < np.mean(alone) < 0.5 and np.mean(back) < 0.02


def test_a_lifter_completes_a_hand_that_one_camera_sees():
    # Three cameras see the body, and one of them the arm: the body tells how far the lifter is
    # off.
    arm = H36M17.indices("l_elbow", "l_wrist")
    cameras, errors = ring(3), {}
    for sigma in (None, 0.45):
        rng, found = np.random.default_rng(0), []
        tracker = MultiViewTracker(cameras, H36M17)
        shape = rng.normal(0, 0.05, (1, 17))
        for frame in range(60):
            truth, stamp_ns = walker(frame), frame * STEP_NS
            seen = [observed(cameras[0], truth, stamp_ns, rng, sigma, scale=0.92, error_m=shape)]
            for camera in cameras[1:]:
                people = observed(camera, truth, stamp_ns, rng)
                seen.append(moved(people, np.s_[:, arm], np.nan))
            result = tracker.update(seen, stamp_ns)
            if frame >= 20:
                error = np.linalg.norm(result.joints_m[0, arm] - truth[0, arm], axis=-1)
                found.append(error)
                assert (error < 3 * np.sqrt(3) * result.sigma_m[0, arm]).all()
        errors[sigma] = np.mean(found)
    assert errors[0.45] < 0.08 and errors[0.45] < errors[None]


def test_people_whom_one_camera_puts_at_the_wrong_place_are_found_by_the_second():
    # The lifter is 0.6 m off, beyond what other cameras are searched for; the second camera comes
    # a second later.
    results = list(
        play(
            ring(2), [0.6, None], 60, silent=lambda f, c: c == 1 and f < 25, scale=lambda rng: 0.88
        )
    )
    assert all(result.ids.tolist() == [0] for _, result, _ in results)
    assert np.linalg.norm(results[20][1].joints_m[0] - results[20][2][0], axis=-1).mean() > 0.4
    for _, result, truth in results[30:]:
        assert np.linalg.norm(result.joints_m[0] - truth[0], axis=-1).mean() < 0.05


def test_a_ghost_that_the_other_cameras_do_not_see_is_nobody():
    cameras, rng = ring(3), np.random.default_rng(0)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(60):
        poster = observed(
            cameras[0], standing(np.array([[0.3, 0.2]]), np.zeros(1)), frame * STEP_NS, rng, 0.3
        )
        empty = [People2D.empty(H36M17, frame * STEP_NS, camera.size) for camera in cameras[1:]]
        result = tracker.update([poster, *empty], frame * STEP_NS)
        assert not (result.states != TrackState.TENTATIVE).any()


@pytest.mark.parametrize(("again", "same"), [(7, True), (8, False)])
def test_whom_a_camera_knows_again_is_the_same_track(again, same):
    """Somebody is hidden for 0.3 s and comes back 1.2 m from where they were last seen."""
    camera, rng, ids = ring(1)[0], np.random.default_rng(0), []
    tracker = MultiViewTracker([camera], H36M17)
    for frame in range(60):
        place = walker(frame) if frame < 40 else walker(frame, (-0.5, 1.2))
        seen = observed(camera, place, frame * STEP_NS, rng, 0.2)
        seen = replace(seen, ids=np.full(len(seen), 7 if frame < 40 else again))
        if 32 <= frame < 40:
            seen = People2D.empty(H36M17, frame * STEP_NS, camera.size)
        result = tracker.update([seen], frame * STEP_NS)
        ids.append(set(result.ids[result.states == TrackState.CONFIRMED].tolist()))
    assert len(ids[31]) == len(ids[59]) == 1
    assert (ids[31] == ids[59]) == same


def test_people_found_twice_by_one_camera_are_one():
    camera, rng = ring(1)[0], np.random.default_rng(0)
    tracker = MultiViewTracker([camera], H36M17)
    for frame in range(30):
        once = observed(camera, walker(frame), frame * STEP_NS, rng, 0.3)
        result = tracker.update([once[[0, 0]]], frame * STEP_NS)
        assert len(result) == 1


def test_what_a_lifter_has_seen():
    camera, rng = ring(1)[0], np.random.default_rng(0)
    flat = detected(camera, walker(0), 0, rng)[[0, 0]]
    flat = replace(flat, ids=np.array([7, 8]))
    joints = rng.uniform(1, 2, (2, 17, 3))
    people = People3D(
        H36M17,
        joints,
        np.ones((2, 17)),
        np.full((2, 17), 0.1),
        np.zeros((2, 17, 3)),
        np.array([3, 7]),
        np.ones(2),
        0,
        "camera",
        flat,
    )
    seen = people.as_seen()
    assert seen.depth_m is not None and seen.depth_sigma_m is not None
    np.testing.assert_allclose(seen.depth_m[0], joints[1, :, 2], rtol=1e-6)
    np.testing.assert_allclose(seen.depth_sigma_m[0], np.sqrt(3) * 0.1, rtol=1e-6)
    assert np.isnan(seen.depth_m[1]).all()
    fewer, other = seen[np.array([1])].depth_m, seen.to(COCO17).depth_m
    assert (
        fewer is not None
        and fewer.shape == (1, 17)
        and other is not None
        and other.shape == (2, 17)
    )
    with pytest.raises(ValueError, match="with their people_2d, got None"):
        replace(people, people_2d=None).as_seen()
    with pytest.raises(ValueError, match="depth_m and depth_sigma_m together"):
        replace(seen, depth_sigma_m=None)


def test_depths_have_the_stamp_of_their_camera():
    # A person walks at 2 m/s away from a camera whose stamps are 40 ms behind: 8 cm.
    camera, rng = ring(1)[0], np.random.default_rng(0)
    tracker = MultiViewTracker([camera], H36M17)
    for frame in range(1, 30):
        seen = observed(
            camera, walker(frame - 1, (2, 0), (-2.0, 0)), (frame - 1) * STEP_NS, rng, DEPTH_SIGMA_M
        )
        result = tracker.update([seen], frame * STEP_NS)
    error = result.joints_m[0] - walker(frame, (2, 0), (-2.0, 0))[0]
    assert np.linalg.norm(error.mean(0)) < 0.04


def test_wild_depths_harm_nobody():
    camera, rng = ring(1)[0], np.random.default_rng(0)
    tracker = MultiViewTracker([camera], H36M17)
    for frame in range(20):
        people = observed(camera, walker(frame), frame * STEP_NS, rng, DEPTH_SIGMA_M)
        wild = people.depth_m.copy()
        wild[:, ::3] = [np.nan, 0, -1, np.inf, 50, 0.001][frame % 6]
        sigma = people.depth_sigma_m.copy()
        sigma[:, 1] = [np.nan, 0, -1, np.inf][frame % 4]
        people = replace(people, depth_m=wild, depth_sigma_m=sigma)
        result = tracker.update([people], frame * STEP_NS)
        assert len(result) == 1
        assert np.nanmax(np.linalg.norm(result.joints_m[0] - walker(frame)[0], axis=-1)) < 0.5


def looking_ahead(x_m: float):
    """A camera at the height of a body's middle, 4 m before y = 0."""
    return replace(ring(1)[0], camera_from_world=look_at([x_m, -4, 1], [0, 0, 1]))


def test_whose_detections_were_exchanged_are_separated_by_what_cameras_know_of_depth():
    # Rays of two cameras to different people meet before both of them; at first each camera sees
    # another one of the two.
    people = standing(np.array([[0.45, 0.0], [-0.45, 0.0]]), np.zeros(2))
    cameras = [looking_ahead(-1.0), looking_ahead(1.0)]
    tracker, rng = MultiViewTracker(cameras, H36M17), np.random.default_rng(0)
    for frame in range(60):
        shown = people[[0]], people[[1]]
        seen = [
            observed(camera, of_both if frame < 20 else people, frame * STEP_NS, rng, 0.25)
            for camera, of_both in zip(cameras, shown, strict=True)
        ]
        result = tracker.update(seen, frame * STEP_NS)
        off = np.linalg.norm(result.joints_m[:, None] - people, axis=-1).mean(-1).min(-1)
        if frame == 19:
            assert off.min() > 0.5, "the rays meet where nobody is"
    assert len(result) == 2 and off.max() < 0.05
