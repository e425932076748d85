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

"""BlazePose: geometry and decoding on known input, and the detector on the package's own demo
clip.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pose3d_ros import detection
from pose3d_ros.camera import Camera
from pose3d_ros.detection import regions
from pose3d_ros.detection.blazepose import landmarks
from pose3d_ros.detection.blazepose.detector import BlazePose
from pose3d_ros.detection.following import Reading, distinct_people
from pose3d_ros.model_store.store import ModelError
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import BLAZEPOSE33, H36M17

FRAME_NS = 33_333_333


# Regions


def test_a_region_stands_as_its_person_does():
    # Head to the right of the hips: the person lies, turned clockwise by a right angle.
    region = regions.from_alignment(np.array([[100.0, 50.0]]), np.array([[140.0, 50.0]]), 1.25)
    np.testing.assert_allclose(region, [[100, 50, 100, np.pi / 2]])
    corners = regions.transform(
        regions.image_from_region(region), np.array([[[0.5, 0.5], [0.5, 0.0], [0.0, 0.5]]])
    )
    np.testing.assert_allclose(corners, [[[100, 50], [150, 50], [100, 0]]], atol=1e-9)


def test_region_from_image_undoes_image_from_region():
    region = np.array([[30.0, 40.0, 25.0, 0.7], [100.0, -5.0, 300.0, -2.0]])
    points = np.random.default_rng(0).normal(size=(2, 7, 2))
    there = regions.transform(regions.image_from_region(region), points)
    np.testing.assert_allclose(
        regions.transform(regions.region_from_image(region), there), points, atol=1e-9
    )


@pytest.mark.parametrize("side", [64, 16])  # at one pixel to a pixel, and shrunk by four
def test_a_crop_keeps_places_to_a_fraction_of_a_pixel(side):
    y, x = np.mgrid[:120, :160]
    image = np.exp(-((x - 71.0) ** 2 + (y - 52.0) ** 2) / 50)[..., None].repeat(3, 2) * 255
    region = np.array([[75.0, 60.0, 64.0, 0.4]])
    picture = regions.crop(image.astype(np.uint8), region, side)[0, ..., 0].astype(float)
    rows, columns = np.mgrid[:side, :side] + 0.5
    centre = np.array([(picture * columns).sum(), (picture * rows).sum()]) / picture.sum() / side
    found = regions.transform(regions.image_from_region(region), centre[None, None])
    np.testing.assert_allclose(found, [[[71, 52]]], atol=0.3)


def test_outside_of_the_image_is_black():
    picture = regions.crop(
        np.full((40, 40, 3), 255, np.uint8), np.array([[0.0, 20.0, 40.0, 0.0]]), 40
    )[0, ..., 0]
    assert (picture[:, :19] == 0).all()
    assert (picture[1:-1, 21:] == 255).all()


@pytest.mark.parametrize("side", [40, 10])  # at one pixel to a pixel, and shrunk by four
def test_a_crop_shows_what_is_within_its_box_as_the_whole_crop_does(side: int) -> None:
    image = np.random.default_rng(0).integers(100, 256, (80, 80, 3), dtype=np.uint8)
    image = np.kron(image[::8, ::8], np.ones((8, 8, 1), np.uint8))
    where, box = np.array([[40.0, 40, 40, 0]]), np.array([[28.0, 36, 52, 90]])
    whole, part = regions.crop(image, where, side)[0], regions.crop(image, where, side, box)[0]
    scale = side / 40
    shown = np.s_[int(17 * scale) + 1 : side - 1, int(8 * scale) + 1 : int(32 * scale) - 1]
    np.testing.assert_allclose(part[shown], whole[shown], atol=1)
    hidden = part.copy()
    hidden[int(15 * scale) :, int(7 * scale) : int(33 * scale) + 1] = 0
    assert not hidden.any() and whole.any()


# Landmarks


def test_points_move_to_the_heat_near_them():
    heat = np.full((1, 3, 64, 64), -20.0)
    heat[0, 0, 30, 20], heat[0, 0, 30, 21] = 5.0, 5.0
    heat[0, 1, 5, 5] = 5.0  # out of reach of its point
    heat[0, 2, 0, 63] = 5.0  # its window leaves the map
    points = np.array([[[21.4 / 64, 28.6 / 64], [0.5, 0.5], [62.0 / 64, 1.0 / 64]]])
    expected = np.array([[[20.5 / 64, 30 / 64], [0.5, 0.5], [63 / 64, 0]]])
    np.testing.assert_allclose(landmarks.refine(points, heat), expected, atol=1e-6)


def test_points_outside_of_the_crop_stay():
    points = np.array([[[-0.2, 0.5], [0.5, 1.7]]])
    np.testing.assert_array_equal(landmarks.refine(points, np.full((1, 2, 64, 64), 9.0)), points)


def test_of_one_pose_seen_twice_the_sharper_stays() -> None:
    pose = np.random.default_rng(0).uniform(0, 200, (33, 2))
    reading = Reading(
        np.stack([pose, pose + 3, pose + [300, 0]]),
        np.ones((3, 33)),
        np.ones(3),
        np.array([0.7, 0.9, 0.8]),
        np.zeros((3, 4)),
    )
    sides = np.full(3, 250.0)
    assert distinct_people(reading, sides, reading.sharpness, np.ones(3, bool)).tolist() == [1, 2]
    assert distinct_people(
        reading, sides, reading.sharpness, np.array([True, False, True])
    ).tolist() == [0, 2]


def test_whom_the_finder_sees_need_not_be_seen_as_sharply(detector) -> None:
    def believed(presence: float, heat: float, known: bool, vouched: bool) -> bool:
        reading = Reading(
            np.zeros((1, 33, 2)),
            np.ones((1, 33)),
            np.array([presence]),
            np.array([heat]),
            np.zeros((1, 4)),
        )
        return bool(detector._reader.believed(reading, np.array([known]), np.array([vouched])))

    assert believed(0.9, 0.6, False, False)
    assert not believed(0.3, 0.6, False, False) and believed(0.3, 0.6, True, False)
    assert not believed(0.3, 0.35, True, False) and believed(0.3, 0.35, True, True)
    assert not believed(0.01, 0.35, True, True), "nobody, whatever was there before"


# The detector


@pytest.fixture(scope="module")
def detector():
    try:
        detector = detection.create(PipelineSettings(engine="cpu"))
    except ModelError as error:
        pytest.skip(str(error))
    yield detector
    detector.close()


@pytest.fixture(scope="module")
def clip():
    """Frames of camera 0 of the demo clip, and where its two people are in them: (T, 2, 17, 2)."""
    video = cv2.VideoCapture(str(share("demo", "cam0.mp4")))
    frames = [video.read()[1] for _ in range(12)]
    with np.load(share("demo", "truth.npz")) as truth:
        camera = Camera.from_yaml(share("demo", "cam0.yaml"))
        world = truth["camera_from_world"][0]
        camera = Camera(
            camera.matrix, camera.size, camera.distortion, camera.distortion_model, world
        )
        return frames, camera.project(truth["joints_m"][:12])


def test_both_people_are_found_and_followed(detector, clip):
    frames, truth = clip
    detector.reset()
    for index, frame in enumerate(frames):
        people = detector(frame, index * FRAME_NS).to(H36M17)
        assert len(people) == 2
        distance = np.linalg.norm(
            people.keypoints_px[:, None] - truth[index], axis=-1
        )  # (found, true, joint)
        height = np.ptp(truth[index][..., 1], axis=-1)
        error = np.nanmedian(distance, axis=-1) / height
        assert (error.min(0) < 0.05).all()
        assert set(error.argmin(0)) == {0, 1}
    assert people.skeleton is H36M17
    assert people.image_size == (1280, 720)


@pytest.mark.parametrize("kind", ["black", "noise", "floor"])
def test_no_person_is_invented(detector, clip, kind):
    image = {
        "black": np.zeros((480, 640, 3), np.uint8),
        "noise": np.random.default_rng(0).integers(0, 256, (480, 640, 3), dtype=np.uint8),
        "floor": clip[0][0][560:720, :300],
    }[kind]
    detector.reset()
    people = detector(image, 0)
    assert len(people) == 0
    assert people.skeleton is BLAZEPOSE33


def test_who_left_is_dropped_and_found_again_elsewhere(detector, clip):
    frame = clip[0][0]
    detector.reset()
    assert len(detector(frame, 0)) == 2
    assert len(detector(np.zeros_like(frame), FRAME_NS)) == 0
    counts = [len(detector(frame[:, ::-1].copy(), (2 + k) * FRAME_NS)) for k in range(5)]
    assert counts[-1] == 2


def test_who_leaves_the_crop_between_two_frames_is_found_beside_it_at_once(detector, clip):
    """The camera pans by over half the crop's side. The sweep is not due: it looked everywhere a
    frame ago.
    """
    frame = clip[0][0].copy()
    frame[:, :720] = 0  # one person alone
    detector.reset()
    before = detector(frame, 0)
    after = detector(np.roll(frame, -260, axis=1), FRAME_NS)
    assert len(before) == len(after) == 1
    moved = np.linalg.norm(after.keypoints_px - before.keypoints_px + [260, 0], axis=-1)
    assert np.median(moved) < 0.02 * np.ptp(before.keypoints_px[0, :, 1])


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 900, 3), (900, 3, 3)])
def test_images_of_any_size(detector, shape):
    detector.reset()
    assert len(detector(np.full(shape, 128, np.uint8), 0)) == 0


def test_at_most_max_people_and_features_of_each(clip):
    frame = clip[0][0]
    try:
        detector = BlazePose(PipelineSettings(engine="cpu", max_people=1), features=True)
    except ModelError as error:
        pytest.skip(str(error))
    people = detector(frame, 0)
    assert [level.shape[1:] for level in people.features] == [
        (48, 64, 64),
        (48, 32, 32),
        (48, 16, 16),
        (144, 8, 8),
    ]
    assert {len(level) for level in people.features} == {len(people)} == {1}
    assert people.crop_from_image is not None
    inside = regions.transform(people.crop_from_image, people.keypoints_px)[0][
        people.confidence[0] > 0.5
    ]
    assert ((inside > 0) & (inside < 1)).all()
    assert len(detector(frame, FRAME_NS)) == 1
    detector.close()
