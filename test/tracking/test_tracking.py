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

"""Identity, sides and filtering over time."""

from dataclasses import replace

import numpy as np
import pytest
from bodies import CAMERA, STANDING_M, dressed, moved, seen
from scipy.spatial.transform import Rotation

from pose3d_ros.people import People2D, TrackState, sigma_of
from pose3d_ros.skeleton import H36M17
from pose3d_ros.tracking import IdentityTracker, PoseFilter
from pose3d_ros.tracking.appearance import Appearance
from pose3d_ros.tracking.filter import Measurements

SECOND = 1_000_000_000
RATE = 30


def _stamps(seconds, start=0):
    return [start + SECOND + i * SECOND // RATE for i in range(int(seconds * RATE))]


def test_crossing_people_keep_their_ids():
    """Two people walk past each other at 1 m/s, one metre apart in depth, and the detector changes
    their order.
    """
    tracker, rng = IdentityTracker(), np.random.default_rng(0)
    owners = []
    for i, stamp in enumerate(_stamps(3)):
        x = -1.5 + i / RATE
        people = seen([[x, 0, 4.0], [-x, 0, 5.0]], stamp)
        order = rng.permutation(2)
        ids = tracker(people[order]).ids[np.argsort(order)]
        owners.append(tuple(ids))
    assert len(set(owners)) == 1 and owners[0][0] != owners[0][1]


def test_a_person_behind_a_pillar_comes_back_with_the_same_id_and_a_new_one_does_not():
    tracker = IdentityTracker()
    for stamp in _stamps(1):
        first = tracker(seen([[0, 0, 4.0]], stamp)).ids
    for stamp in _stamps(0.8, SECOND):
        tracker(seen(np.zeros((0, 3)), stamp))
    back = tracker(seen([[0.1, 0, 4.0], [2.0, 0, 4.0]], int(2.9 * SECOND))).ids
    assert back[0] == first[0] and back[1] > first[0]


RED, BLUE = ((40, 40, 200), (60, 60, 60)), ((180, 90, 30), (170, 190, 200))  # shirt, trousers


def _behind_a_pillar(goes_on, clothes, rate, colours=True):
    """Ids of two people in the first and in the last frame of a film, (2, 2): they come towards
    each other, are hidden for a second, then both go on or have turned back.
    """
    tracker, owners = IdentityTracker(), []
    for i in range(int(4 * rate)):
        t = i / rate - 1.75
        x = max(abs(t) - 0.2, 0.0)
        side = 1 if t > 0 and goes_on else -1
        people = seen([[side * x, 0, 4.0], [-side * x, 0, 4.1]], int((1 + i / rate) * SECOND))
        shown = people if x > 0.3 else people[:0]
        ids = tracker(shown, dressed(people, clothes) if colours else None).ids
        if len(ids):
            owners.append(ids.tolist())
    return owners[0], owners[-1]


@pytest.mark.parametrize("rate", [30, 15, 10, 7.5])
@pytest.mark.parametrize("goes_on", [True, False])
def test_clothes_tell_who_comes_out_from_behind_a_pillar(rate, goes_on):
    before, after = _behind_a_pillar(goes_on, (RED, BLUE), rate)
    assert before == after


@pytest.mark.parametrize("colours", [True, False])
def test_motion_tells_it_in_the_same_clothes_and_without_a_picture(colours):
    """Who goes on is known; who turns back while hidden cannot be."""
    before, after = _behind_a_pillar(True, (RED, RED), 10, colours)
    assert before == after
    before, after = _behind_a_pillar(False, (RED, RED), 10, colours)
    assert before == after[::-1]


@pytest.mark.parametrize(("clothes", "same"), [(RED, True), (BLUE, False)])
@pytest.mark.parametrize("colours", [True, False])
def test_who_comes_back_after_three_seconds_is_known_by_the_clothes(clothes, same, colours):
    """Out of the picture to the right, and into it from the left, somewhat darker there."""
    tracker = IdentityTracker()

    def walk(start_s, from_m, worn, light):
        shown = []
        for stamp in _stamps(1.5, int(start_s * SECOND)):
            elapsed = (stamp - SECOND) * 1e-9 - start_s
            people = seen([[from_m + elapsed, 0, 4.0]], stamp)
            inside = ((people.keypoints_px >= 0) & (people.keypoints_px < CAMERA.size)).all((1, 2))
            image = dressed(people, [np.multiply(worn, light).tolist()]) if colours else None
            shown += tracker(people[inside], image).without_tentative().ids.tolist()
        return set(shown)

    (before,), (after,) = walk(0, 1.0, RED, 1.0), walk(4.5, -2.7, clothes, 0.95)
    assert (before == after) == (same and colours)


def test_colours_of_one_person_differ_less_than_those_of_two():
    """Also when one of them stands half in the shade; a part that is hidden is not learnt."""
    people = seen([[-1, 0, 4.0], [1, 0, 4.0]], 0)
    image = dressed(people, (RED, BLUE))
    shade = image.copy()
    shade[:, : image.shape[1] // 2] = shade[:, : image.shape[1] // 2] * 0.7
    apart = Appearance.of(people, image).distance(Appearance.of(people, shade))
    assert np.diag(apart).max() < 0.3 * min(apart[0, 1], apart[1, 0])
    together = seen([[0, 0, 4.0], [0.1, 0, 5.0]], 0)
    looks = Appearance.of(together, dressed(together, (RED, BLUE)))
    assert looks.known.all() and not looks.free[1].any()


def test_ids_are_not_used_again():
    tracker = IdentityTracker()
    first = int(IdentityTracker()(seen([[0, 0, 4.0]], 0)).ids[0])  # nor by another tracker
    met = [first]
    for visit in range(3):
        for stamp in _stamps(0.3, visit * 10 * SECOND):
            met.append(int(tracker(seen([[0, 0, 4.0]], stamp)).ids[0]))
        tracker(seen(np.zeros((0, 3)), (visit * 10 + 5) * SECOND))
        if visit == 1:
            tracker.reset()
    assert sorted(set(met)) == [first, first + 1, first + 2, first + 3]


def test_a_ghost_of_one_frame_is_tentative_and_forgotten():
    tracker = IdentityTracker()
    people = tracker(seen([[0, 0, 4.0]], SECOND))
    assert people.states == [TrackState.TENTATIVE] and not len(people.without_tentative())
    tracker(seen(np.zeros((0, 3)), SECOND + SECOND // RATE))
    assert people.ids[0] not in tracker.known_ids


@pytest.mark.parametrize(("rate", "frames"), [(30, 2), (15, 2), (10, 2), (7.5, 2), (4, 1), (1, 1)])
def test_a_person_is_confirmed_in_the_third_frame(rate, frames):
    """Or in the second where these are far apart."""
    tracker = IdentityTracker()
    states = [
        int(tracker(seen([[0, 0, 4.0]], int((1 + i / rate) * SECOND))).states[0]) for i in range(5)
    ]
    assert states == [TrackState.TENTATIVE] * frames + [TrackState.CONFIRMED] * (5 - frames)


@pytest.mark.parametrize(("leap_m", "same"), [(0.3, True), (1.0, False)])
def test_nobody_leaps_by_two_body_sizes_between_two_frames(leap_m, same):
    """The root mean square size is 0.48 m here: 0.3 m in a thirtieth of a second may be, 1 m is
    somebody else.
    """
    tracker, stamps = IdentityTracker(), _stamps(1)
    for stamp in stamps[:-1]:
        before = tracker(seen([[0, 0, 4.0]], stamp)).ids[0]
    assert (tracker(seen([[leap_m, 0, 4.0]], stamps[-1])).ids[0] == before) == same


def test_who_runs_past_another_at_ten_frames_a_second_is_known_by_the_motion():
    """Both at 3 m/s in opposite directions: in the frame after they met, each stands where the
    other one was.
    """
    tracker, owners = IdentityTracker(), []
    for i in range(10):
        x = -1.35 + 0.3 * i
        owners.append(
            tuple(tracker(seen([[x, 0, 5.0], [-x, 0, 5.0]], SECOND + i * SECOND // 10)).ids)
        )
    assert len(set(owners)) == 1


def test_somebody_three_times_as_far_away_is_somebody_else():
    """A person steps out of the picture, and one far behind, hidden until now, appears in the same
    place.
    """
    tracker, stamps = IdentityTracker(), _stamps(1)
    for stamp in stamps[:-1]:
        near = tracker(seen([[0, 0, 3.0]], stamp)).ids[0]
    assert tracker(seen([[0, 0, 9.5]], stamps[-1])).ids[0] != near


def test_of_two_tracks_of_one_person_the_confirmed_one_goes_on():
    """A detector that once found somebody twice: what is left lies a little nearer to the
    ghost.
    """
    tracker, stamps = IdentityTracker(), _stamps(1)
    for stamp in stamps[:-2]:
        person = tracker(seen([[0, 0, 4.0]], stamp)).ids[0]
    assert tracker(seen([[0, 0, 4.0], [0.04, 0, 4.0]], stamps[-2])).ids[0] == person
    assert tracker(seen([[0.03, 0, 4.0]], stamps[-1])).ids.tolist() == [person]


EXCHANGES = {
    "body": [i for i in range(17) if H36M17.flip[i] != i],
    "legs": H36M17.indices("l_hip", "r_hip", "l_knee", "r_knee", "l_ankle", "r_ankle"),
    "arms": H36M17.indices("l_shoulder", "r_shoulder", "l_elbow", "r_elbow", "l_wrist", "r_wrist"),
}


@pytest.mark.parametrize("part", EXCHANGES.values(), ids=EXCHANGES.keys())
def test_a_sudden_exchange_of_sides_is_undone(part):
    tracker = IdentityTracker()
    for i, stamp in enumerate(_stamps(1)):
        people = seen([[0, 0, 4.0]], stamp)
        truth = people.keypoints_px.copy()
        if 10 <= i < 20:
            exchanged = people.keypoints_px[:, H36M17.flip[part]]
            people = moved(people, np.s_[:, part], exchanged)
        np.testing.assert_allclose(tracker(people).keypoints_px, truth, atol=1e-3)


def test_what_is_known_of_joints_goes_back_with_them_when_an_exchange_is_undone():
    """Of two people, the second is exchanged in one frame: place, confidence, depth, sigma and
    relief go together.
    """
    tracker, per_joint = IdentityTracker(), np.arange(34.0).reshape(2, 17)
    names = "keypoints_px", "confidence", "depth_m", "depth_sigma_m", "root_relative_depth_px"
    for stamp in _stamps(1):
        truth = replace(
            seen([[-0.8, 0, 4.0], [0.8, 0, 4.0]], stamp),
            confidence=0.5 + 0.01 * per_joint,
            depth_m=4 + 0.01 * per_joint,
            depth_sigma_m=0.04 + 0.001 * per_joint,
            root_relative_depth_px=per_joint - 17,
        )
        told = {name: getattr(truth, name).copy() for name in names}
        if stamp == _stamps(1)[-1]:
            for value in told.values():
                value[1] = value[1, H36M17.flip]
        tracked = tracker(replace(truth, **told))
    for name in names:
        np.testing.assert_array_equal(getattr(tracked, name), getattr(truth, name), err_msg=name)


def test_a_detector_that_insists_is_believed():
    tracker = IdentityTracker()
    for i, stamp in enumerate(_stamps(3)):
        people = seen([[0, 0, 4.0]], stamp)
        if i >= 10:
            people = moved(people, np.s_[:], people.keypoints_px[:, H36M17.flip])
        said = people.keypoints_px.copy()
        tracked = tracker(people).keypoints_px
    np.testing.assert_array_equal(tracked, said)


def test_sides_that_were_wrong_at_first_are_not_kept_for_long():
    """Mirrored in the two frames that show somebody first, right from then on."""
    tracker = IdentityTracker()
    for i, stamp in enumerate(_stamps(0.3)):
        people = seen([[0, 0, 4.0]], stamp)
        truth = people.keypoints_px.copy()
        if i < 2:
            people = moved(people, np.s_[:], people.keypoints_px[:, H36M17.flip])
        tracked = tracker(people).keypoints_px
        if i > 5:
            np.testing.assert_allclose(tracked, truth, atol=1e-3)


def test_turning_round_is_no_exchange():
    """A person who turns once in two seconds: left and right pass through each other smoothly."""
    tracker = IdentityTracker()
    for i, stamp in enumerate(_stamps(2)):
        angle = np.pi * i / RATE
        cos, sin = np.cos(angle), np.sin(angle)
        turned = STANDING_M @ np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
        people = seen([[0, 0, 4.0]], stamp)
        people = moved(people, 0, CAMERA.project(turned + [0, 0, 4.0], "camera"))
        said = people.keypoints_px.copy()
        tracked = tracker(people)
        np.testing.assert_array_equal(tracked.keypoints_px, said)
        assert (tracked.confidence > 0).all()


def test_a_keypoint_that_leaps_is_doubted_until_it_stays():
    tracker = IdentityTracker()
    wrist = H36M17.index("l_wrist")
    doubted = []
    for i, stamp in enumerate(_stamps(1)):
        people = seen([[0, 0, 4.0]], stamp)
        if i >= 10:
            elsewhere = people.keypoints_px[0, wrist] + [200, -150]
            people = moved(people, np.s_[0, wrist], elsewhere)
        doubted.append(tracker(people).confidence[0, wrist] == 0)
    assert not any(doubted[:10]) and all(doubted[10:15]) and not any(doubted[20:])


@pytest.mark.parametrize("wrong", [1, 3])
def test_a_wrong_beginning_is_not_held_for_longer_than_it_lasted(wrong):
    tracker = IdentityTracker()
    wrist = H36M17.index("l_wrist")
    doubted = []
    for i, stamp in enumerate(_stamps(1)[:10]):
        people = seen([[0, 0, 4.0]], stamp)
        if i < wrong:
            people = moved(people, np.s_[0, wrist], people.keypoints_px[0, wrist] + [200, -150])
        doubted.append(tracker(people).confidence[0, wrist] == 0)
    assert sum(doubted) < wrong and not any(doubted[2 * wrong :])


@pytest.mark.parametrize(("leap_m", "believed"), [(0.5, True), (0.8, False)])
def test_a_resting_hand_is_not_elsewhere_a_tenth_of_a_second_later(leap_m, believed):
    """15 cm of error and 5 m/s make 65 cm; what is further away is something else that looks like
    a hand.
    """
    tracker, wrist = IdentityTracker(), H36M17.index("l_wrist")
    for i in range(10):
        tracker(seen([[0, 0, 4.0]], SECOND + i * SECOND // 10))
    people = seen([[0, 0, 4.0]], 2 * SECOND)
    place = CAMERA.project(STANDING_M[wrist] + [leap_m, 0, 4.0], "camera")
    people = moved(people, np.s_[0, wrist], place)
    assert (tracker(people).confidence[0, wrist] > 0) == believed


def _turned(yaw_rad):
    """(3, 3) from the axes of the camera before it turned to the left to those after."""
    return Rotation.from_rotvec([0, yaw_rad, 0]).as_matrix()


def _seen_turned(place, yaw_rad, stamp):
    """A person in the picture of the camera that has turned; nobody when it looks elsewhere."""
    points = (STANDING_M + np.array(place)) @ _turned(yaw_rad).T
    pixels = CAMERA.project(points[None], "camera")
    inside = np.isfinite(pixels).all() and ((pixels >= 0) & (pixels < CAMERA.size)).all()
    return People2D(H36M17, pixels, np.full((1, 17), 0.9), stamp, CAMERA.size)[: int(inside)]


def _carried(pixels, turns):
    rays = CAMERA.rays(pixels)
    rays = np.concatenate([rays, np.ones_like(rays[..., :1])], -1)
    return CAMERA.project(rays @ turns.swapaxes(-1, -2), "camera")


@pytest.mark.parametrize("carried", [True, False])
def test_an_id_stays_when_the_camera_is_known_to_have_turned(carried):
    tracker, yaw_rad = IdentityTracker(), 0.5
    for i in range(5):
        before = tracker(_seen_turned([-1, 0, 4.0], 0, SECOND + i * SECOND // 10))
    people = _seen_turned([-1, 0, 4.0], yaw_rad, SECOND + SECOND // 2)
    assert len(people) == 1
    if carried:
        tracker.carry(_turned(yaw_rad), _carried)
    assert (tracker(people).ids == before.ids).all() == carried


def test_whom_the_camera_turns_away_from_is_the_same_when_it_turns_back():
    """All round by 100 degrees and back within 1.6 s, which is behind the camera."""
    tracker, before, found = IdentityTracker(), 0.0, []
    angles = [*[0.0] * 5, *np.linspace(0, 1.75, 9)[1:], *np.linspace(1.75, 0, 9)[1:]]
    for i, yaw_rad in enumerate(angles):
        tracker.carry(_turned(yaw_rad - before), _carried)
        people = tracker(_seen_turned([-0.5, 0, 4.0], yaw_rad, SECOND + i * SECOND // 10))
        before = yaw_rad
        found.append(people.ids.tolist())
    assert found[0] == found[-1] != [] and [] in found


def _measured(*places, ids=None, sigma=0.05):
    """People who stand at these places; ids are 0, 1 and on."""
    count = len(places)
    covariance = np.broadcast_to(np.diag([1e-4, 1e-4, 4e-3]), (count, 3, 3))
    return Measurements(
        np.arange(count, dtype=np.int32) if ids is None else np.array(ids, np.int32),
        np.array(places, float),
        covariance,
        covariance + 1e-2 * np.eye(3),
        np.stack([STANDING_M.astype(float)] * count),
        np.full((count, 17), sigma),
        np.ones((count, 17)),
        np.full(count, TrackState.CONFIRMED, np.int8),
        np.array(places, float),
    )


def test_filter_smooths_noise_and_tells_the_velocity():
    rng, people = np.random.default_rng(0), PoseFilter()
    raw, smooth, speeds = [], [], []
    for i, stamp in enumerate(_stamps(3)):
        truth = np.array([-1.5 + i / RATE, 0, 4.0])
        noisy = truth + rng.normal(0, [0.01, 0.01, 0.06])
        people.predict(stamp)
        people.update(_measured(noisy), 1.0)
        joints, velocities, _, _ = people.joints()
        raw.append(noisy[2] - 4)
        smooth.append(joints[0, 0, 2] - 4)
        speeds.append(velocities[0].mean(0))
    assert np.std(smooth[30:]) < 0.8 * np.std(raw[30:])
    np.testing.assert_allclose(np.mean(speeds[30:], axis=0), [1, 0, 0], atol=0.1)
    # Differences of the noisy places would be off by 2.5 m/s.
    assert np.std(np.array(speeds[30:])[:, 2]) < 0.6


def _speeds(mps, rate, seconds=4.0):
    """Away from the camera, as the filter tells it frame by frame: of somebody 4 m away who does
    not move before the second second, then goes away; the distance errs by 8 cm for 0.1 s at a
    time.
    """
    rng, people, error, speeds = np.random.default_rng(1), PoseFilter(), 0.0, []
    alike = np.exp(-1 / rate / 0.1)
    for frame in range(round(seconds * rate)):
        error = alike * error + rng.normal(0, 0.08 * (1 - alike**2) ** 0.5)
        here = 4 + mps * max(frame / rate - 2, 0)
        measured = _measured((0, 0, here + error))
        measured.root_covariance = np.tile(np.diag([0.01, 0.01, 0.15]) ** 2, (1, 1, 1))
        people.predict(round(frame / rate * 1e9))
        people.update(measured, 1.0)
        speeds.append(people.joints()[1][0, 0, 2])
    return np.array(speeds)


@pytest.mark.parametrize("rate", [15, 30, 60])
def test_who_stands_has_hardly_a_speed_along_an_unsure_line_of_sight(rate):
    assert np.median(np.abs(_speeds(0, rate)[rate:])) < 0.15


def test_who_sets_off_along_the_line_of_sight_has_most_of_the_speed_half_a_second_later():
    speeds = np.mean([_speeds(1.3, rate)[round(2.5 * rate)] for rate in (15, 30, 60)])
    assert 0.7 < speeds < 1.5


def test_a_hand_that_moves_beside_the_body_has_a_velocity():
    """The person stands, and the left hand goes sideways at 1 m/s."""
    people, wrist = PoseFilter(), H36M17.index("l_wrist")
    for i, stamp in enumerate(_stamps(1)):
        measured = _measured([0, 0, 4.0])
        measured.joints_m[0, wrist, 0] += i / RATE
        people.predict(stamp)
        people.update(measured, 1.0)
    velocities = people.joints()[1][0]
    np.testing.assert_allclose(velocities[wrist], [1, 0, 0], atol=0.1)
    np.testing.assert_allclose(np.delete(velocities, wrist, 0), 0, atol=0.05)


def test_sigma_follows_how_well_a_person_is_measured():
    """Badly for a second, then well, then badly again."""
    people, sigmas = PoseFilter(), []
    for start, sigma in ((0, 0.5), (1, 0.05), (2, 0.5)):
        for stamp in _stamps(1, start * SECOND):
            people.predict(stamp)
            people.update(_measured([0, 0, 4.0], sigma=sigma), 1.0)
        sigmas.append(sigma_of(people.joints()[2]).mean())
    assert sigmas[1] < 0.5 * sigmas[0] and sigmas[2] > 2 * sigmas[1]


def test_without_smoothing_measurements_pass():
    people = PoseFilter()
    for i, stamp in enumerate(_stamps(1)):
        place = [0.3 * (i % 2), 0, 4.0]
        people.predict(stamp)
        people.update(_measured(place), 0.0)
        np.testing.assert_allclose(people.joints()[0][0, 0], place, atol=0.01)


def test_an_unseen_person_goes_on_with_rising_sigma_and_falling_confidence():
    people = PoseFilter()
    stamps = _stamps(1)
    for i, stamp in enumerate(stamps):
        people.predict(stamp)
        people.update(_measured([i / RATE, 0, 4.0]), 1.0)
    before, _, covariance, confidence = people.joints()
    for ahead in (1, 2, 3):
        people.predict(stamps[-1] + ahead * SECOND // 10)
        after, _, later_covariance, later_confidence = people.joints()
        assert (np.linalg.eigvalsh(later_covariance - covariance) > 0).all()
        assert (later_confidence < confidence).all()
        covariance, confidence = later_covariance, later_confidence
    assert (
        0.1 < after[0, 0, 0] - before[0, 0, 0] < 0.3
    )  # at most 0.3 s at 1 m/s: the velocity fades
    assert people.states == [TrackState.OCCLUDED]
    people.forget(np.array([0]), 0.2)
    assert not len(people.ids)


def test_one_wild_measurement_moves_little_but_a_lasting_one_wins():
    people = PoseFilter()
    stamps = _stamps(3)
    for i, stamp in enumerate(stamps):
        people.predict(stamp)
        people.update(_measured([1.0 if i == 20 or i >= 40 else 0.0, 0, 4.0]), 1.0)
        x = people.joints()[0][0, 0, 0]
        if i == 20:
            assert x < 0.4
    assert abs(x - 1.0) < 0.05


def test_who_has_gone_leaves_nothing_behind():
    """A hundred people come, each for half a second, and go."""
    tracker, people = IdentityTracker(), PoseFilter()
    ids = set()
    for visit in range(100):
        for stamp in _stamps(0.5, 4 * visit * SECOND):
            person = int(tracker(seen([[0, 0, 4.0]], stamp)).ids[0])
            ids.add(person)
            people.predict(stamp)
            people.update(_measured([0, 0, 4.0], ids=[person]), 1.0)
            people.forget(tracker.known_ids, 0.5)
            assert len(tracker.known_ids) == len(people.ids) == 1
        tracker(seen(np.zeros((0, 3)), (4 * visit + 3) * SECOND + SECOND // 2))
    assert len(ids) == 100


def test_people_are_filtered_as_if_they_were_alone():
    rng, together = np.random.default_rng(0), PoseFilter()
    alone = {person: PoseFilter() for person in range(3)}
    for i, stamp in enumerate(_stamps(1)):
        here = [person for person in range(3) if (i + person) % 4 or i < 2]
        places = rng.normal([0, 0, 4], 0.1, (len(here), 3))
        together.predict(stamp)
        together.update(_measured(*places, ids=here), 1.0)
        for person, own in alone.items():
            own.predict(stamp)
            if person in here:
                own.update(_measured(places[here.index(person)], ids=[person]), 1.0)
    for person, own in alone.items():
        row = together.ids.tolist().index(person)
        for both, single in zip(together.joints(), own.joints(), strict=True):
            np.testing.assert_allclose(both[row], single[0], atol=1e-12)
        assert together.states[row] == own.states[0]
