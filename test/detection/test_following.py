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

"""Finder and reader together: made-up ones, whose people are where the test says."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

from pose3d_ros.detection import following
from pose3d_ros.detection.finder import Look, SmallPicture, looks
from pose3d_ros.detection.following import FollowingDetector, Reading, in_company
from pose3d_ros.detection.poses import Poses, likeness
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import COCO17

FRAME_NS = 33_333_333
BODY = np.array(
    [[0, -8], [1, -9], [-1, -9], [2, -8], [-2, -8], [3, -5], [-3, -5], [5, -2], [-5, -2], [5, 1]]
    + [[-5, 1], [2, 1], [-2, 1], [2, 5], [-2, 5], [2, 9], [-2, 9]],
    float,
)
IMAGE = np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8)


def poses(*places: tuple[float, float], scale: float = 10.0, person: float = 0.6) -> Poses:
    """People 180 pixels high at these places (x, y)."""
    points = np.array([BODY * scale + place for place in places]).reshape(-1, 17, 2)
    return Poses(
        points,
        np.full(points.shape[:2], 0.8),
        np.concatenate([points.min(1), points.max(1)], 1),
        np.full(len(points), person),
    )


@dataclass
class Finder:
    """Sees the ``people``, a frame later when it looks beside the frames."""

    people: Poses
    busy: bool = False
    begun_ns: int = 0
    look = looks((640, 480))[0]
    in_first_round = False

    def now(self, image: np.ndarray, look: Look) -> Poses:
        return self.people

    def start(self, image: np.ndarray, look: Look, stamp_ns: int) -> None:
        self.busy, self.begun_ns = True, stamp_ns

    def due(self, stamp_ns: int) -> bool:
        return self.busy and stamp_ns > self.begun_ns

    def take(self) -> Poses:
        self.busy = False
        return self.people

    def next_look(self, size: tuple[int, int], everywhere: bool = True) -> Look:
        return self.look

    def reset(self) -> None:
        self.busy = False


@dataclass
class Reader:
    """Reads whoever of the ``people`` is nearest to the crop, or the first whom it shows, if it is
    ``drawn`` to them; ``presence`` is its gate, which is open for those who are vouched for if it
    is ``trusting``; crops ``drift_px``.
    """

    people: Poses
    presence: float = 1.0
    trusting: bool = False
    drawn: bool = False
    drift_px: float = 0.0
    skeleton = COCO17
    maps: tuple[tuple[int | None, ...], ...] = ()
    engine_name = "made up"

    def regions_of(self, found: Poses) -> np.ndarray:
        middle = (found.box_px[:, :2] + found.box_px[:, 2:]) / 2
        return np.column_stack([middle, np.full(len(middle), 250.0), np.zeros(len(middle))])

    def __call__(
        self, image_bgr: np.ndarray, where: np.ndarray, within: np.ndarray | None = None
    ) -> Reading:
        all_ = self.regions_of(self.people)
        apart = np.linalg.norm(where[:, None, :2] - all_[:, :2], axis=-1)
        if within is not None:
            middle = all_[:, :2]
            shown = (middle > within[:, None, :2]) & (middle < within[:, None, 2:])
            apart[~shown.all(-1)] = np.inf
        nearest = apart.argmin(1)
        if self.drawn:
            nearest = (apart < where[:, 2:3] / 2).argmax(1)
        count = len(where)
        return Reading(
            self.people.keypoints_px[nearest],
            np.full((count, 17), 0.9),
            np.where(np.isfinite(apart[np.arange(count), nearest]), self.presence, 0),
            np.full(count, 0.9),
            all_[nearest] + [self.drift_px, 0, 0, 0],
        )

    def believed(self, reading: Reading, known: np.ndarray, vouched: np.ndarray) -> np.ndarray:
        return np.asarray((reading.presence > 0.5) | (self.trusting & vouched))

    def close(self) -> None:
        pass


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch):
    """Frames of what a finder and a reader see of a picture that stands still."""

    def watched(found: Poses, reader: Reader, frames: int = 5) -> list[People2D]:
        finder = Finder(found)
        monkeypatch.setattr(following, "Finder", lambda settings: finder)
        detector = FollowingDetector(PipelineSettings(), reader)
        return [detector(IMAGE, frame * FRAME_NS) for frame in range(frames)]

    return watched


def middles(people: People2D) -> list[int]:
    return sorted(round(float(x)) for x in people.keypoints_px[..., 0].mean(1))


def test_whom_both_see_is_told_by_the_reader(watch) -> None:
    read = poses((203, 200), (423, 200))
    for people in watch(poses((200, 200), (420, 200)), Reader(read)):
        assert middles(people) == [203, 423]
        assert people.confidence.max() == np.float32(0.9)


def test_of_two_neighbours_both_are_told_where_the_reader_reads_one_twice(watch) -> None:
    found = poses((200, 200), (280, 200))
    for people in watch(found, Reader(poses((200, 200)))):
        assert middles(people) == [200, 280]


def test_who_is_hidden_is_not_kept_beside_the_one_before_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reader reads the one in front twice; the finder sees both, then one."""
    finder = Finder(poses((280, 200), (200, 200)))
    monkeypatch.setattr(following, "Finder", lambda settings: finder)
    detector = FollowingDetector(PipelineSettings(), Reader(poses((200, 200))))
    for frame in range(4):
        people = detector(IMAGE, frame * FRAME_NS)
    assert middles(people) == [200, 280]
    finder.people = poses((200, 200))
    for frame in range(4, 8):
        people = detector(IMAGE, frame * FRAME_NS)
    assert middles(people) == [200]


@pytest.mark.parametrize("places", [[(200, 200)], [(200, 200), (300, 200)]])
def test_a_mirrored_body_has_the_sides_that_the_finder_sees(watch, places) -> None:
    found = poses(*places)
    mirrored = replace(found, keypoints_px=found.keypoints_px[:, COCO17.flip])
    for people in watch(found, Reader(mirrored)):
        assert people.confidence.max() == np.float32(0.9)  # it is what the reader reads
        order = people.keypoints_px[..., 0].mean(1).argsort()
        np.testing.assert_allclose(people.keypoints_px[order], found.keypoints_px)


@pytest.mark.parametrize(("person", "told"), [(0.15, 235), (0.6, 200)])
def test_a_look_that_sees_less_than_one_before_casts_no_doubt(
    monkeypatch: pytest.MonkeyPatch, person: float, told: int
) -> None:
    """Somebody beside another moves, and the finder sees them where they were."""
    finder = Finder(poses((200, 200), (280, 200)))
    monkeypatch.setattr(following, "Finder", lambda settings: finder)
    reader = Reader(finder.people)
    detector = FollowingDetector(PipelineSettings(detect_interval_s=0.0), reader)
    for frame in range(4):
        assert middles(detector(IMAGE, frame * FRAME_NS)) == [200, 280]
    reader.people = poses((235, 200), (280, 200))
    finder.people = poses((200, 200), person=person).joined(poses((280, 200)))
    for frame in range(4, 8):
        people = detector(IMAGE, frame * FRAME_NS)
    assert middles(people) == [told, 280]


def test_who_stands_alone_is_read_whatever_the_finder_says(watch) -> None:
    """No neighbour to slide to: the reader knows poses better."""
    for people in watch(poses((200, 200)), Reader(poses((240, 200)))):
        assert middles(people) == [240]


def test_whom_far_looks_see_near_ones_do_not_lose(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then neither sees them."""
    near, far = looks((640, 480))
    both, one = poses((200, 200), (420, 200), scale=6.0), poses((200, 200), scale=6.0)
    finder = Finder(both)
    monkeypatch.setattr(following, "Finder", lambda settings: finder)
    reader = Reader(both, presence=0.0, trusting=True)
    detector = FollowingDetector(PipelineSettings(detect_interval_s=0.0), reader)
    finder.look = far
    detector(IMAGE, 0)
    finder.look, finder.people = near, one
    for frame in range(1, 9):
        assert middles(detector(IMAGE, frame * FRAME_NS)) == [200, 420]
    finder.look = far
    for frame in range(9, 13):
        people = detector(IMAGE, frame * FRAME_NS)
    assert middles(people) == [200]


def test_a_crop_that_slides_off_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """To somebody whom the finder does not see, while it looks."""
    finder = Finder(poses((200, 200), (280, 200)))
    monkeypatch.setattr(following, "Finder", lambda settings: finder)
    monkeypatch.setattr(finder, "due", lambda stamp_ns: False)
    reader = Reader(poses((200, 200), (240, 200), (280, 200)), drift_px=-25)
    detector = FollowingDetector(PipelineSettings(), reader)
    told = [middles(detector(IMAGE, frame * FRAME_NS)) for frame in range(6)]
    assert told == [[200, 280]] * 6


def test_who_moves_fast_beside_another_is_not_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """To where the finder has seen them, and the other one is now nearer, while it looks."""
    finder = Finder(poses((200, 200), (240, 200)))
    monkeypatch.setattr(following, "Finder", lambda settings: finder)
    reader = Reader(finder.people)
    detector = FollowingDetector(PipelineSettings(), reader)
    for frame in range(4):
        assert middles(detector(IMAGE, frame * FRAME_NS)) == [200, 240]
    monkeypatch.setattr(finder, "due", lambda stamp_ns: False)
    for frame, place in enumerate([165, 150, 150, 150], start=4):
        reader.people = poses((place, 200), (240, 200))
        assert middles(detector(IMAGE, frame * FRAME_NS)) == [place, 240]


def test_who_comes_out_from_behind_another_is_told_with_the_next_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though most of them is where the other one is."""
    finder = Finder(poses((200, 200)))
    monkeypatch.setattr(following, "Finder", lambda settings: finder)
    reader = Reader(poses((200, 200), (226, 200)))
    detector = FollowingDetector(PipelineSettings(detect_interval_s=0.0), reader)
    for frame in range(3):
        assert middles(detector(IMAGE, frame * FRAME_NS)) == [200]
    finder.people = reader.people
    told = [middles(detector(IMAGE, frame * FRAME_NS)) for frame in range(3, 6)]
    assert told[-1] == [200, 226]


@pytest.mark.parametrize("person", [0.15, 0.6])
def test_where_the_reader_is_drawn_to_a_neighbour_it_reads_each_apart(watch, person) -> None:
    found = poses((200, 200)).joined(poses((280, 200), person=person))
    for people in watch(found, Reader(poses((203, 200), (283, 200)), drawn=True)):
        assert middles(people) == [203, 283]
        assert (people.confidence == np.float32(0.9)).all(), "the reader's own keypoints"


@pytest.mark.parametrize(
    ("person", "presence", "alone", "in_company"),
    [
        (0.15, 0.9, True, True),
        (0.15, 0.3, False, False),
        (0.25, 0.9, True, True),
        (0.25, 0.3, False, True),
        (0.35, 0.3, True, True),
    ],
)
def test_of_weak_newcomers_the_reader_decides(watch, person, presence, alone, in_company) -> None:
    """In company, where people hide each other, the finder's word counts for more."""
    reader = Reader(poses((200, 200), (280, 200)), presence, trusting=True)
    found = poses((200, 200), person=person)
    for people in watch(found, reader, frames=2):
        assert (200 in middles(people)) == alone
    for people in watch(found.joined(poses((280, 200))), reader, frames=2):
        assert (200 in middles(people)) == in_company


def test_a_weak_newcomer_whom_the_reader_reads_otherwise_is_nobody(watch) -> None:
    """Alone, and beside another."""
    read, found = poses((240, 200), (320, 200)), poses((200, 200), person=0.15)
    for people in watch(found, Reader(read)):
        assert len(people) == 0
    for people in watch(found.joined(poses((320, 200))), Reader(read)):
        assert middles(people) == [320]


@pytest.mark.parametrize(("person", "told"), [(0.6, 1), (0.25, 0)])
def test_whom_the_reader_refuses_is_told_where_the_finder_is_sure(watch, person, told) -> None:
    found = poses((200, 200), person=person)
    for people in watch(found, Reader(poses((200, 200)), presence=0.0)):
        assert len(people) == told


def test_one_whom_the_finder_sees_twice_is_one(watch) -> None:
    for people in watch(poses((200, 200), (206, 202)), Reader(poses((201, 200)))):
        assert len(people) == 1


def test_company_is_somebody_else_within_the_crop() -> None:
    where = np.array([[200.0, 200, 250, 0], [300, 200, 80, 0], [600, 200, 250, 0]])
    boxes = poses((200, 200), (300, 200), (600, 200)).box_px
    assert in_company(where, boxes).tolist() == [True, False, False]


def test_likeness_falls_with_distance_and_not_with_size() -> None:
    for scale in (1.0, 10.0):
        one = poses((300, 200), scale=scale)
        values = [
            float(likeness(one, one.keypoints_px + shift * scale, one.scores)[0, 0])
            for shift in (0.0, 1.0, 3.0, 30.0)
        ]
        assert values[0] == pytest.approx(1) and values[3] < 0.01
        assert values[1] == pytest.approx(0.87, abs=0.01)
        assert (np.diff(values) < 0).all()


def test_poses_move_with_the_picture() -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
    before, after = SmallPicture(image), SmallPicture(np.roll(image, (8, 12), axis=(0, 1)))
    found = poses((200, 200), (400, 250))
    moved = after.moved(found, before)
    np.testing.assert_allclose(
        moved.keypoints_px - found.keypoints_px, np.broadcast_to([12, 8], (2, 17, 2)), atol=1.5
    )
    np.testing.assert_allclose(moved.box_px - found.box_px, [[12, 8, 12, 8]] * 2, atol=1.5)


def test_where_nothing_can_be_followed_poses_stay() -> None:
    grey = SmallPicture(np.full((480, 640, 3), 90, np.uint8))
    found = poses((200, 200))
    assert np.isfinite(grey.moved(found, grey).keypoints_px).all()
    other = SmallPicture(np.full((100, 640, 3), 90, np.uint8))
    assert other.moved(found, grey) is found, "pictures of another size say nothing"
