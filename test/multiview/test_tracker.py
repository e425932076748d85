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

import cv2
import numpy as np
import pytest
from bodies import moved
from rigs import detected, ring, standing
from scipy.optimize import linear_sum_assignment

from pose3d_ros.geometry import (
    inverse_transform,
    look_at,
    rigid,
    rotation_from_vector,
    transform_points,
)
from pose3d_ros.multiview import MultiViewTracker, PoseBuffer
from pose3d_ros.multiview.association import NOBODY, assign
from pose3d_ros.people import People2D, TrackState
from pose3d_ros.skeleton import COCO17, H36M17

STEP_NS = 40_000_000
LEGS = np.isin(
    np.arange(17), H36M17.indices("r_hip", "r_knee", "r_ankle", "l_hip", "l_knee", "l_ankle")
)


def walking(start, velocity):
    """Paths of people: seconds -> joints (P, 17, 3)."""
    start, velocity = np.array(start, float), np.array(velocity, float)
    heading = np.arctan2(velocity[:, 1], velocity[:, 0]) - np.pi / 2
    return lambda t: standing(start + t * velocity, heading, 6 * t)


def run(cameras, paths, frames, seed=0, silent=lambda frame, camera: False, **noise):
    """Follow ``paths``; yields frame, result and truth."""
    rng = np.random.default_rng(seed)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(frames):
        truth = paths(frame * STEP_NS * 1e-9)
        seen = [
            None if silent(frame, c) else detected(camera, truth, frame * STEP_NS, rng, **noise)
            for c, camera in enumerate(cameras)
        ]
        yield frame, tracker.update(seen, frame * STEP_NS), truth


def believed(result):
    return result.states != TrackState.TENTATIVE


def owners(result, truth):
    """Id of the person nearest to each of the truth's people, with the distance of their
    joints.
    """
    joints, ids = result.joints_m[believed(result)], result.ids[believed(result)]
    distance = np.nanmean(np.linalg.norm(joints[None] - truth[:, None], axis=-1), -1)
    return ids[distance.argmin(1)], distance.min(1)


def one_id_each(steps, start=5, within_m=0.1):
    """The ids of the people, after having checked that they stay theirs and nobody else is
    there.
    """
    ids = None
    for frame, result, truth in steps:
        if frame < start:
            continue
        assert believed(result).sum() == len(truth), f"frame {frame}"
        now, distance = owners(result, truth)
        assert distance.max() < within_m, f"frame {frame}"
        ids = now if ids is None else ids
        np.testing.assert_array_equal(now, ids)
        assert len(set(ids)) == len(truth)
    return ids


TRIO = walking([(-1, 0), (1, 0.5), (0, -1)], [(0.8, 0), (-0.6, 0.3), (0.3, 0.9)])


@pytest.mark.parametrize("count", [2, 3, 5])
def test_follows_people(count):
    errors, sigmas = [], []
    for frame, result, truth in run(ring(count), TRIO, 40):
        if frame >= 10:
            ids, _ = owners(result, truth)
            rows = [int(np.flatnonzero(result.ids == i)[0]) for i in ids]
            errors.append(np.linalg.norm(result.joints_m[rows] - truth, axis=-1))
            sigmas.append(result.sigma_m[rows])
            assert result.confidence[rows].min() > 0.4
            np.testing.assert_allclose(
                result.velocity_mps[rows, 0, :2], [(0.8, 0), (-0.6, 0.3), (0.3, 0.9)], atol=0.5
            )
    # Sigma counts the detector's disagreement between views, which these synthetic joints do not
    # have.
    assert np.median(errors) < 0.025
    assert np.mean(np.array(errors) < 3 * np.array(sigmas)) > 0.97
    one_id_each(run(ring(count), TRIO, 40))


def test_missing_joints_and_false_people():
    one_id_each(run(ring(4), TRIO, 60, missed=0.2, false_people=0.3), within_m=0.15)


def test_a_crowd_is_neither_merged_nor_split():
    places = [(x, y) for x in (-0.6, 0, 0.6) for y in (-0.3, 0.3)]
    one_id_each(run(ring(5), walking(places, [(0, 0.1)] * 6), 30))


def test_people_who_cross_keep_their_ids():
    one_id_each(run(ring(4), walking([(-1.5, 0.2), (1.5, -0.2)], [(1.5, 0), (-1.5, 0)]), 50))


@pytest.mark.parametrize("seed", range(3))
def test_a_silent_camera_stops_nobody(seed):
    order = np.random.default_rng(seed).permutation(4)
    one_id_each(run(ring(4), TRIO, 60, seed, silent=lambda frame, c: c == order[frame // 15]))


def test_short_occlusion_and_one_camera():
    def silent(frame, c):
        return 20 <= frame < 30 or 40 <= frame < 55 and c != 1

    person = walking([(-0.5, 0)], [(0.5, 0)])
    ids = set()
    for frame, result, truth in run(ring(3), person, 70, silent=silent):
        if frame < 5:
            continue
        assert len(result) == 1
        ids |= set(result.ids.tolist())
        occluded = 20 <= frame < 30
        assert result.states[0] == (TrackState.OCCLUDED if occluded else TrackState.CONFIRMED)
        error = np.linalg.norm(result.joints_m - truth, axis=-1)
        assert error.mean() < 0.25
        if occluded or 45 <= frame < 55:  # less is known, and sigma says so
            assert result.sigma_m.mean() > 0.02
    assert len(ids) == 1


def test_the_lost_are_dropped_and_ids_not_used_again():
    def silent(frame, c):
        return 10 <= frame < 50

    lengths, ids = [], []
    for _, result, _ in run(ring(3), walking([(0, 0)], [(0.1, 0)]), 60, silent=silent):
        lengths.append(len(result))
        ids.append(set(result.ids.tolist()))
    assert lengths[9] == 1 and lengths[45] == 0 and lengths[59] == 1
    assert ids[9] == {0} and ids[59] == {1}


def test_who_leaves_is_gone_when_the_cameras_agree():
    cameras, rng = ring(4), np.random.default_rng(0)
    person = walking([(0, 0)], [(0.3, 0)])
    tracker = MultiViewTracker(cameras, H36M17)
    shown = []
    for frame in range(30):
        truth = person(frame * STEP_NS * 1e-9)[: frame < 15]
        result = tracker.update(
            [detected(camera, truth, frame * STEP_NS, rng) for camera in cameras], frame * STEP_NS
        )
        shown.append(int(believed(result).sum()))
    assert shown[5:15] == [1] * 10 and shown[15] == 1 and shown[-1] == 0


def test_somebody_seen_by_one_camera_is_nobody_yet():
    for _, result, _ in run(ring(4), TRIO, 10, silent=lambda frame, c: c != 2):
        assert len(result) == 0
    for _, result, _ in run(ring(1), TRIO, 5):
        assert len(result) == 0


def test_false_people_alone_are_not_believed():
    nobody = walking(np.zeros((0, 2)), np.zeros((0, 2)))
    for _, result, _ in run(ring(5), nobody, 100, false_people=0.8):
        assert not believed(result).any()


def test_stamps_of_their_own():
    # Cameras that are not synchronised, people at 2 m/s: without making up for it the views are 8
    # cm apart.
    cameras, rng = ring(4), np.random.default_rng(0)
    offset_ns = np.array([0, -40, -20, -10]) * 1_000_000
    person = walking([(-1.5, 0)], [(2.0, 0)])
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(1, 36):
        stamp_ns = frame * STEP_NS
        result = tracker.update(
            [
                detected(camera, person((stamp_ns + o) * 1e-9), int(stamp_ns + o), rng, noise_px=1)
                for camera, o in zip(cameras, offset_ns, strict=True)
            ],
            stamp_ns,
        )
        if frame > 15:
            error = result.joints_m[0] - person(stamp_ns * 1e-9)[0]
            assert np.linalg.norm(error.mean(0)) < 0.02
    assert len(result) == 1 and result.ids[0] == 0


def test_old_repeated_and_impossible_input():
    cameras, rng = ring(3), np.random.default_rng(0)
    person = walking([(0, 0)], [(0.5, 0)])(0)
    tracker = MultiViewTracker(cameras, H36M17, max_occlusion_s=0.2)
    seen = [detected(camera, person, STEP_NS, rng) for camera in cameras]
    first = tracker.update(seen, STEP_NS)
    assert len(first) == 1
    # The same 2D poses again add nothing: no second person, no confidence in the first.
    again = tracker.update(seen, 2 * STEP_NS)
    assert again.states[0] == TrackState.OCCLUDED and again.sigma_m.mean() > first.sigma_m.mean()
    assert len(tracker.update(seen, 10 * STEP_NS)) == 0
    unknown = People2D(
        H36M17, np.full((2, 17, 2), np.nan), np.ones((2, 17)), 11 * STEP_NS, (1280, 960)
    )
    assert len(tracker.update([unknown] * 3, 11 * STEP_NS)) == 0
    assert len(tracker.update([None] * 3, 12 * STEP_NS)) == 0
    assert (
        len(tracker.update([People2D.empty(H36M17, 12 * STEP_NS, (1280, 960))] * 3, 12 * STEP_NS))
        == 0
    )
    half = [
        replace(
            p,
            keypoints_px=np.where(rng.random((1, 17, 1)) < 0.3, np.nan, p.keypoints_px),
            stamp_ns=13 * STEP_NS,
        )
        for p in seen
    ]
    assert len(tracker.update(half, 13 * STEP_NS)) == 1
    # Time that jumps back, as when a bag starts again, makes a new start.
    earlier_ns = 13 * STEP_NS - 3_000_000_000
    known = tracker.update(half, 13 * STEP_NS).ids[0]
    afresh = tracker.update([replace(p, stamp_ns=earlier_ns) for p in seen], earlier_ns)
    assert len(afresh) == 1 and afresh.stamp_ns == earlier_ns and afresh.ids[0] > known
    with pytest.raises(ValueError, match="each of 3 cameras, got 2"):
        tracker.update(seen[:2], 14 * STEP_NS)
    with pytest.raises(ValueError, match=r"h36m17, got coco17; People2D.to\(skeleton\)"):
        tracker.update([None, seen[1].to(COCO17), None], 14 * STEP_NS)


def test_bodies_in_two_pieces_are_one_person():
    # Detectors that put joints together to people often give arms and legs as two people.
    cameras, rng = ring(4), np.random.default_rng(0)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(40):
        truth = TRIO(frame * STEP_NS * 1e-9)
        seen = []
        for camera in cameras:
            people = detected(camera, truth, frame * STEP_NS, rng)
            if frame >= 10 or camera is cameras[0]:
                halves = [
                    np.where(part[:, None], people.keypoints_px, np.nan) for part in (LEGS, ~LEGS)
                ]
                people = People2D(
                    H36M17,
                    np.concatenate(halves),
                    np.tile(people.confidence, (2, 1)),
                    people.stamp_ns,
                    people.image_size,
                )
            seen.append(people)
        result = tracker.update(seen, frame * STEP_NS)
        if frame >= 5:
            assert len(result) == 3
            ids, distance = owners(result, truth)
            assert sorted(ids) == [0, 1, 2] and distance.max() < 0.06
            assert (result.confidence > 0.3).all()


def test_bodies_that_come_in_two_pieces_from_the_first_moment():
    cameras, rng = ring(4), np.random.default_rng(0)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(30):
        truth = TRIO(frame * STEP_NS * 1e-9)
        seen = []
        for camera in cameras:
            people = detected(camera, truth, frame * STEP_NS, rng)
            halves = [
                np.where(part[:, None], people.keypoints_px, np.nan) for part in (LEGS, ~LEGS)
            ]
            seen.append(
                People2D(
                    H36M17,
                    np.concatenate(halves),
                    np.tile(people.confidence, (2, 1)),
                    people.stamp_ns,
                    people.image_size,
                )
            )
        result = tracker.update(seen, frame * STEP_NS)
        if frame >= 5:
            assert len(result) == 3
            assert owners(result, truth)[1].max() < 0.06 and np.isfinite(result.joints_m).all()


def exchanged(people, rows):
    """Left taken for right in some of the people."""
    keypoints = people.keypoints_px.copy()
    keypoints[rows] = keypoints[rows][:, H36M17.flip]
    return replace(people, keypoints_px=keypoints)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_left_and_right_exchanged_in_some_views(count):
    cameras, rng = ring(count), np.random.default_rng(0)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(80):
        truth, stamp_ns = TRIO(frame * STEP_NS * 1e-9), frame * STEP_NS
        seen = [detected(camera, truth, stamp_ns, rng) for camera in cameras]
        # In the beginning every view has it wrong, later one detection of five.
        seen = [exchanged(p, rng.random(len(p)) < (1.0 if frame < 10 else 0.2)) for p in seen]
        result = tracker.update(seen, stamp_ns)
        if frame >= 30:
            assert believed(result).sum() == 3
            assert owners(result, truth)[1].max() < (0.08 if count > 2 else 0.1)


def test_a_detector_that_finds_everybody_twice():
    cameras, rng = ring(4), np.random.default_rng(0)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(20):
        truth = TRIO(frame * STEP_NS * 1e-9)
        result = tracker.update(
            [detected(camera, np.repeat(truth, 2, 0), frame * STEP_NS, rng) for camera in cameras],
            frame * STEP_NS,
        )
        assert len(result) == 3


def test_a_hand_that_is_somebody_elses_is_not_believed():
    # Both cameras put the wrist where no arm reaches: only the bones can tell.
    cameras, rng = ring(2), np.random.default_rng(0)
    person = walking([(0, 0)], [(0.3, 0)])
    wrist = H36M17.index("l_wrist")
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(25):
        truth = person(frame * STEP_NS * 1e-9)
        wrong = truth.copy()
        if frame >= 20:
            wrong[0, wrist] += [0.8, 0.3, 0.5]
        seen = [detected(camera, wrong, frame * STEP_NS, rng) for camera in cameras]
        result = tracker.update(seen, frame * STEP_NS)
    error = np.linalg.norm(result.joints_m[0] - truth[0], axis=-1)
    assert error[wrist] < 0.25 and np.delete(error, wrist).max() < 0.1


def test_cameras_of_all_kinds_through_the_buffer():
    # 30, 25 and 15 Hz, out of phase, one half a second silent, one 80 ms late; a person at 1 m/s.
    cameras, rng = ring(4), np.random.default_rng(0)
    person = walking([(-1, 0)], [(1.0, 0)])
    events = []
    for c, (period_ms, phase_ms, delay_ms) in enumerate(
        [(33, 0, 10), (40, 7, 15), (40, 21, 80), (66, 13, 20)]
    ):
        for stamp_ms in range(phase_ms, 2000, period_ms):
            if not (c == 1 and 1000 <= stamp_ms < 1500):
                events.append((stamp_ms + delay_ms, c, stamp_ms))
    tracker, buffer = MultiViewTracker(cameras, H36M17), PoseBuffer(4)
    results = []
    for now_ms, c, stamp_ms in sorted(events):
        truth = person(stamp_ms * 1e-3)
        buffer.add(c, detected(cameras[c], truth, stamp_ms * 1_000_000, rng), now_ms * 1_000_000)
        while (taken := buffer.take(now_ms * 1_000_000)) is not None:
            results.append(tracker.update(*taken))
    assert len(results) > 25
    for result in results[10:]:
        assert result.ids.tolist() == [0]
        error = np.linalg.norm(result.joints_m[0] - person(result.stamp_ns * 1e-9)[0], axis=-1)
        assert error.mean() < 0.06


def test_an_arm_that_one_camera_sees():
    cameras, rng = ring(3), np.random.default_rng(0)
    person = walking([(0, 0)], [(0.3, 0)])
    elbow, wrist, other = H36M17.indices("l_elbow", "l_wrist", "r_wrist")
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(30):
        truth = person(frame * STEP_NS * 1e-9)
        seen = [detected(camera, truth, frame * STEP_NS, rng) for camera in cameras]
        seen[1:] = [moved(people, np.s_[:, [elbow, wrist]], np.nan) for people in seen[1:]]
        result = tracker.update(seen, frame * STEP_NS)
    arm = H36M17.indices("l_shoulder", "l_elbow", "l_wrist")
    got, true = (
        np.linalg.norm(np.diff(joints[0, arm], axis=0), axis=-1)
        for joints in (result.joints_m, truth)
    )
    # The other arm has taught its length; towards the camera or away from it remains open, and
    # sigma says so.
    np.testing.assert_allclose(got, true, atol=0.08)
    error = np.linalg.norm(result.joints_m[0] - truth[0], axis=-1)
    assert (error < 3 * np.sqrt(3) * result.sigma_m[0]).all()
    assert (result.sigma_m[0, [elbow, wrist]] > 3 * result.sigma_m[0, other]).all()
    # Right in the picture of the camera that sees it.
    pixels = cameras[0].project(result.joints_m[0, [elbow, wrist]]) - cameras[0].project(
        truth[0, [elbow, wrist]]
    )
    assert np.abs(pixels).max() < 10


def test_forty_people():
    places = [(x, y) for x in np.linspace(-4, 4, 8) for y in np.linspace(-3, 3, 5)]
    cameras = ring(4, radius=12, height=5)
    one_id_each(run(cameras, walking(places, [(0.2, 0)] * 40), 8, missed=0.1), start=4)


def test_somebody_hidden_behind_another_for_a_second_is_still_there():
    # Three of four cameras see only one of two who stand together; they are both there all the
    # time.
    cameras, rng = ring(4), np.random.default_rng(0)
    pair = walking([(-0.16, 0), (0.16, 0)], [(0, 0.2), (0, 0.2)])
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(60):
        truth, stamp_ns = pair(frame * STEP_NS * 1e-9), frame * STEP_NS
        seen = [
            detected(camera, truth[:1] if 15 <= frame < 40 and c else truth, stamp_ns, rng)
            for c, camera in enumerate(cameras)
        ]
        result = tracker.update(seen, stamp_ns)
        if frame >= 5:
            assert sorted(result.ids[believed(result)]) == [0, 1], f"frame {frame}"
            assert owners(result, truth)[1].max() < (0.4 if 15 <= frame < 41 else 0.05)


def test_who_is_drawn_towards_somebody_passing_in_front_stays_where_the_other_camera_has_them():
    # Detectors take joints of the nearer one for those of the person behind.
    cameras, rng = ring(2), np.random.default_rng(0)
    tracker, errors = MultiViewTracker(cameras, H36M17), []
    for frame in range(100):
        aside = 0.8 * (frame * STEP_NS * 1e-9 - 2)
        behind, before = standing(np.array([(0, 0), (2, aside)]), np.zeros(2))
        on_the_ray = aside * 5 / 3  # where the nearer one is in the plane of the other
        drawn = behind + [0, on_the_ray * (abs(on_the_ray) < 0.3), 0]
        seen = [
            detected(camera, np.stack([person, before]), frame * STEP_NS, rng)
            for camera, person in zip(cameras, (drawn, behind), strict=True)
        ]
        result = tracker.update(seen, frame * STEP_NS)
        if frame >= 5:
            errors.append(owners(result, behind[None])[1][0])
    assert np.max(errors) < 0.2


@pytest.mark.parametrize("apart_m", [0.4, 0.6])
def test_two_people_made_of_each_others_detections_are_put_right(apart_m):
    # Rays to two different people meet as well, where nobody is, as these do in the beginning.
    cameras, rng = ring(2), np.random.default_rng(0)
    people = apart_m / 2 * np.array([[0.54, 0.84], [-0.54, -0.84]])
    origins = np.array([camera.position_m[:2] for camera in cameras])
    ways = people[:, None] - origins  # of each camera to each person
    between = [
        origins[0] + np.linalg.solve(np.stack([one, -other], 1), origins[1] - origins[0])[0] * one
        for one, other in ((ways[0, 0], ways[1, 1]), (ways[1, 0], ways[0, 1]))
    ]
    heading = np.array([0.5, 0.7])
    wrong, right = standing(np.array(between), heading), standing(people, heading)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(40):
        stamp_ns = frame * STEP_NS
        truth = wrong if frame < 10 else right
        result = tracker.update([detected(c, truth, stamp_ns, rng) for c in cameras], stamp_ns)
        if 3 <= frame < 10 or frame >= 20:
            ids, distance = owners(result, truth)
            assert len(set(ids)) == 2 and distance.max() < 0.1, f"frame {frame}"


def test_whom_one_camera_alone_sees_for_long_is_doubted_and_keeps_the_id():
    person = walking([(-0.5, 0)], [(0.3, 0)])
    alone = range(20, 60)
    states = {}
    for frame, result, _ in run(ring(3), person, 70, silent=lambda f, c: f in alone and c != 1):
        if frame >= 5:
            assert result.ids.tolist() == [0]
            states[frame] = result.states[0]
    assert states[40] == TrackState.CONFIRMED and states[59] == TrackState.TENTATIVE
    assert states[61] == TrackState.CONFIRMED


def test_a_crowd_before_many_cameras_has_no_ghosts():
    places = [(x, y) for x in np.linspace(-3, 3, 7) for y in np.linspace(-2, 2, 5)]
    one_id_each(run(ring(8, radius=12, height=4), walking(places, [(0.2, 0)] * 35), 6), start=3)


def test_each_detection_goes_to_one_person_for_the_largest_total():
    rng = np.random.default_rng(0)
    for _ in range(200):
        people, view = rng.integers(0, 5), np.sort(rng.integers(0, 3, rng.integers(0, 12)))
        score = rng.normal(0, 1, (len(view), people))
        chosen = assign(score, view, 3)
        for c in range(3):
            rows = np.flatnonzero(view == c)
            given = chosen[:, c][chosen[:, c] != NOBODY]
            assert len(set(given)) == len(given) and set(given) <= set(rows)
            total = sum(score[chosen[p, c], p] for p in range(people) if chosen[p, c] != NOBODY)
            gain = np.maximum(score[rows], 0)
            assert total == pytest.approx(gain[linear_sum_assignment(gain, maximize=True)].sum())


def test_a_view_that_exchanges_wrists_is_outvoted():
    cameras, rng = ring(4), np.random.default_rng(3)
    person = walking([(0, 0)], [(0.3, 0)])
    wrists = H36M17.indices("l_wrist", "r_wrist")
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(30):
        truth = person(frame * STEP_NS * 1e-9)
        seen = [detected(camera, truth, frame * STEP_NS, rng) for camera in cameras]
        if frame > 10:
            exchanged = seen[2].keypoints_px[:, wrists[::-1]]
            seen[2] = moved(seen[2], np.s_[:, wrists], exchanged)
        result = tracker.update(seen, frame * STEP_NS)
        if frame > 5:
            assert (
                np.linalg.norm(result.joints_m[0, wrists] - truth[0, wrists], axis=-1).max() < 0.06
            )


def test_a_camera_that_has_moved_shows_in_its_residual():
    cameras, rng = ring(5), np.random.default_rng(0)
    # Camera 1 was pushed: it looks 2 degrees to the side of where the calibration has it. Camera 4
    # comes late.
    turn = np.eye(4)
    turn[:3, :3] = cv2.Rodrigues(np.array([0, np.radians(2), 0]))[0]
    pushed = replace(cameras[1], camera_from_world=turn @ cameras[1].camera_from_world)
    tracker = MultiViewTracker(cameras, H36M17)
    assert tracker.residuals_px == [None] * 5
    for frame in range(60):
        truth, stamp_ns = TRIO(frame * STEP_NS * 1e-9), frame * STEP_NS
        real = [cameras[0], cameras[1] if frame < 30 else pushed, *cameras[2:]]
        seen = [detected(camera, truth, stamp_ns, rng) for camera in real]
        tracker.update([*seen[:4], None if frame < 50 else seen[4]], stamp_ns)
        residuals = tracker.residuals_px
        assert (residuals[4] is None) == (frame < 50)
        known = [r for r in residuals if r is not None]
        if 5 <= frame < 30:
            assert max(known) < 5
        elif frame >= 30:
            moved = residuals[1]
            assert moved is not None and moved > 10 and moved > 1.5 * sorted(known)[-2]


RED, BLUE = (1.0, 0.1, 0.1), (0.1, 0.1, 1.0)


def side_by_side(rng):
    """Two people who cross on a line parallel to the cameras' baseline: every pair of detections
    makes a body.
    """
    cameras = [
        replace(camera, camera_from_world=look_at([x, -4, 2], [0, 0, 1]))
        for camera, x in zip(ring(2), (-1.5, 1.5), strict=True)
    ]
    truth = standing(np.array([(-0.35, 0), (0.35, 0)]), np.zeros(2))
    seen = [detected(camera, truth, 0, rng) for camera in cameras]
    return cameras, truth, seen


def colours(cameras, truth, shirts):
    """Looks up which of the people a detection is of, as a picture would show it."""

    def appearance(c, people):
        away = np.nanmean(np.abs(people.keypoints_px[:, None] - cameras[c].project(truth)), (2, 3))
        return np.array(shirts)[away.argmin(1)]

    return appearance


def test_appearance_decides_where_geometry_cannot():
    def right(seed, shirts):
        cameras, truth, seen = side_by_side(np.random.default_rng(seed))
        appearance = None if shirts is None else colours(cameras, truth, shirts)
        result = MultiViewTracker(cameras, H36M17, appearance=appearance).update(seen, 0)
        apart = np.linalg.norm(result.joints_m[None] - truth[:, None], axis=-1).mean(-1)
        return len(result) == 2 and apart.min(1).max() < 0.1

    seeds = range(20)
    assert all(right(seed, (RED, BLUE)) for seed in seeds)
    without = [right(seed, None) for seed in seeds]
    assert not all(without), "geometry alone should leave it open"
    assert [
        right(seed, (RED, RED)) for seed in seeds
    ] == without  # who look alike are told apart by geometry alone


def test_appearance_of_the_wrong_shape():
    cameras, _, seen = side_by_side(np.random.default_rng(0))
    with pytest.raises(
        ValueError, match=r"each of 2 people of camera 0, got an array of shape \(2,\)"
    ):
        MultiViewTracker(cameras, H36M17, appearance=lambda c, people: np.zeros(2)).update(seen, 0)


def through_the_buffer(cameras, stamp_ns, frames, seed=0):
    """Follow ``TRIO`` at 25 Hz as the node does; ``stamp_ns`` (frame, camera) is what the cameras
    write. Yields the time of arrival in seconds and the believed ids.
    """
    buffer, tracker = PoseBuffer(len(cameras)), MultiViewTracker(cameras, H36M17)
    rng = np.random.default_rng(seed)
    for frame in range(frames):
        truth = TRIO(frame * STEP_NS * 1e-9)
        for c, camera in enumerate(cameras):
            buffer.add(c, detected(camera, truth, stamp_ns(frame, c), rng), frame * STEP_NS)
            while (taken := buffer.take(frame * STEP_NS)) is not None:
                result = tracker.update(*taken)
                yield frame * STEP_NS * 1e-9, result.ids[believed(result)].tolist()


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("wrong_s", [-3600.0, -3.0, -0.5, 0.6, 3600.0])
def test_one_wrong_stamp_changes_nobodys_id(count, wrong_s):
    def stamp_ns(frame, camera):
        wrong = frame in (20, 30) and camera == 0
        return frame * STEP_NS + round(wrong * wrong_s * 1e9)

    seen = [sorted(ids) for t, ids in through_the_buffer(ring(count), stamp_ns, 45) if t > 0.3]
    assert all(ids == [0, 1, 2] for ids in seen) and len(seen) >= 30


@pytest.mark.parametrize("count", [2, 4])
@pytest.mark.parametrize("by_s", [-3600.0, -1.9, -0.4, 3600.0])
def test_after_a_step_of_all_clocks_everybody_is_found_at_once_and_once(count, by_s):
    def stamp_ns(frame, camera):
        return 10**18 + frame * STEP_NS + round((frame >= 20) * by_s * 1e9)

    arrived, shown = zip(
        *((t, len(ids)) for t, ids in through_the_buffer(ring(count), stamp_ns, 40)), strict=True
    )
    assert max(shown) == 3
    assert np.diff(arrived).max() <= 2.1 * STEP_NS * 1e-9
    again = [t for t, people in zip(arrived, shown, strict=True) if t >= 0.8 and people == 3]
    assert again[0] < 0.8 + 0.25


def test_a_frame_some_milliseconds_late_changes_nobody():
    steps = list(
        through_the_buffer(
            ring(2), lambda frame, camera: frame * STEP_NS - (frame % 10 == 9) * 43_000_000, 50
        )
    )
    assert all(sorted(ids) == [0, 1, 2] for t, ids in steps if t > 0.3)
    tracker, rng = MultiViewTracker(ring(2), H36M17), np.random.default_rng(0)
    for frame in range(20):
        stamp = frame * STEP_NS - (frame % 5 == 4) * (STEP_NS + 3_000_000)
        truth = TRIO(frame * STEP_NS * 1e-9)
        result = tracker.update([detected(c, truth, stamp, rng) for c in ring(2)], stamp)
    assert sorted(result.ids[believed(result)]) == [0, 1, 2]


def test_more_people_than_can_be_are_cut_and_said_and_the_real_ones_stay(caplog):
    """A detector gone wild: a thousand boxes of low confidence beside the three real people."""
    cameras, rng = ring(2), np.random.default_rng(0)
    tracker = MultiViewTracker(cameras, H36M17)
    for frame in range(10):
        seen = []
        for camera in cameras:
            real = detected(camera, TRIO(frame * 0.04), frame * STEP_NS, rng)
            wild = rng.random((1000, 1, 2)) * camera.size + rng.normal(0, 30, (1000, 17, 2))
            seen.append(
                replace(
                    real,
                    keypoints_px=np.concatenate([wild, real.keypoints_px]),
                    confidence=np.concatenate([np.full((1000, 17), 0.2), real.confidence]),
                    ids=np.zeros(0, int),
                    states=np.zeros(0, int),
                )
            )
        result = tracker.update(seen, frame * STEP_NS)
    _, distance = owners(result, TRIO(9 * 0.04))
    assert distance.max() < 0.1
    said = [record.message for record in caplog.records]
    assert len(said) == 2 and "1003 people in one image, expected at most 64" in said[0]


def test_cameras_that_are_absent_or_replaced():
    cameras, rng = ring(4), np.random.default_rng(0)
    tracker = MultiViewTracker([*cameras[:2], None, None], H36M17)
    for frame in range(20):
        truth = TRIO(frame * 0.04)
        seen = [detected(camera, truth, frame * STEP_NS, rng) for camera in cameras]
        result = tracker.update(seen, frame * STEP_NS)
        assert tracker.residuals_px[2:] == [None, None]
        if frame == 9:
            tracker.set_cameras([None, cameras[1], cameras[2], None])
            break
    before = sorted(result.ids[believed(result)].tolist())
    for frame in range(10, 20):
        truth = TRIO(frame * 0.04)
        seen = [detected(camera, truth, frame * STEP_NS, rng) for camera in cameras]
        result = tracker.update(seen, frame * STEP_NS)
    assert sorted(result.ids[believed(result)].tolist()) == before == [0, 1, 2]
    assert tracker.residuals_px[0] is None and tracker.residuals_px[2] is not None
    with pytest.raises(ValueError, match="expected 4 cameras, got 3"):
        tracker.set_cameras(cameras[:3])


WORLDS = [
    rigid(rotation_from_vector(turn), shift)
    for turn, shift in (
        ([0, 0, 2.0], [30, -50, 0]),
        ([2.0, 1, -1], [0, 0, 0]),
        ([3, 0, 0], [0, 0, 9]),
    )
]


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("count", [2, 4])
def test_nothing_depends_on_the_frame_of_the_world(count, world):
    """The same pictures in another frame: the same people at the same places, joints that one
    view sees included.
    """
    cameras, rng = ring(count), np.random.default_rng(count)
    moved_cameras = [
        replace(c, camera_from_world=c.camera_from_world @ inverse_transform(world))
        for c in cameras
    ]
    here, there = MultiViewTracker(cameras, H36M17), MultiViewTracker(moved_cameras, H36M17)
    for frame in range(30):
        seen = [
            detected(camera, TRIO(frame * 0.04), frame * STEP_NS, rng, noise_px=3, missed=0.2)
            for camera in cameras
        ]
        expected, found = (t.update(seen, frame * STEP_NS) for t in (here, there))
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_array_equal(found.states, expected.states)
        back = transform_points(inverse_transform(world), found.joints_m.astype(float))
        np.testing.assert_allclose(back, expected.joints_m, atol=1e-4)
        np.testing.assert_allclose(found.sigma_m, expected.sigma_m, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("turn", [[0, 0, 0], [1, 2, -1]])
def test_nobody_is_lost_because_some_joints_are_seen_once(turn):
    """Two cameras, one moment, three joints that only one of them sees."""
    world = rigid(rotation_from_vector(turn), [10, -7, 2])
    for seed in range(40):
        rng = np.random.default_rng(seed)
        cameras = ring(2)
        person = standing(rng.uniform(-1.5, 1.5, (1, 2)), rng.uniform(0, 6, 1))
        seen = [detected(camera, person, 0, rng, noise_px=1) for camera in cameras]
        once, where = rng.permutation(17)[:3], rng.integers(0, 2, 3)
        pixels = [people.keypoints_px.copy() for people in seen]
        for joint, camera in zip(once, where, strict=True):
            pixels[camera][0, joint] = np.nan
        seen = [replace(p, keypoints_px=px) for p, px in zip(seen, pixels, strict=True)]
        tracker = MultiViewTracker(
            [
                replace(c, camera_from_world=c.camera_from_world @ inverse_transform(world))
                for c in cameras
            ],
            H36M17,
        )
        found = tracker.update(seen, 0)
        assert len(found) == 1, f"seed {seed}"
        error = found.joints_m[0] - transform_points(world, person[0])
        assert np.linalg.norm(error, axis=-1)[np.setdiff1d(np.arange(17), once)].max() < 0.06


@pytest.mark.parametrize("rate_hz", [2.5, 4.0])
def test_two_slow_cameras_out_of_phase_find_walking_people(rate_hz):
    cameras, rng = ring(2), np.random.default_rng(0)
    people = walking([(-1, 0), (1, 0.5)], [(0.6, 0), (-0.4, 0.3)])
    buffer, tracker, shown = PoseBuffer(2), MultiViewTracker(cameras, H36M17), []
    arrivals = sorted(
        (taken + rng.uniform(0.1, 0.3), c, taken)
        for c in range(2)
        for taken in np.arange(0, 5, 1 / rate_hz) + 0.4 * c / rate_hz
    )
    for now, c, taken in arrivals:
        seen = detected(cameras[c], people(taken), round(taken * 1e9), rng)
        buffer.add(c, seen, round(now * 1e9))
        while (got := buffer.take(round(now * 1e9))) is not None:
            result = tracker.update(*got)
            away = np.linalg.norm(result.joints_m[:, None] - people(got[1] * 1e-9), axis=-1)
            near = believed(result) & (np.nanmean(away, -1).min(1) < 0.3)
            shown.append(int(near.sum()))
    assert len(shown) > 3.5 * rate_hz and np.mean(np.array(shown[4:]) == 2) > 0.9
