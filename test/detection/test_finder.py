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

"""Where the finder looks, and what it sees there of the demo clip's people far away."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pose3d_ros.detection.finder import FAR, LEAST, NEAR, OVERLAP, SWEEP, Finder, Look, looks
from pose3d_ros.model_store.store import ModelError
from pose3d_ros.resources import share
from pose3d_ros.settings import PipelineSettings

SIZES = [(1280, 720), (1920, 1080), (720, 1280), (3840, 2160), (768, 576), (960, 200)]


def inside(look: Look, box: np.ndarray) -> bool:
    """Whether a look shows the whole box x0 y0 x1 y1."""
    x0, y0, x1, y1 = look.part
    return bool(x0 <= box[0] and y0 <= box[1] and box[2] <= x1 and box[3] <= y1)


@pytest.mark.parametrize("size", SIZES)
def test_small_people_are_whole_in_one_part_at_least(size: tuple[int, int]) -> None:
    near, far, *parts = looks(size)
    assert near.part == far.part == (0, 0, *size) and (near.side, far.side) == (NEAR, FAR)
    assert len(parts) == 4
    scale = min(SWEEP / max(size), 1.0)
    rng = np.random.default_rng(0)
    for _ in range(200):
        extent = rng.uniform(0.1, 1, 2) * np.minimum(OVERLAP / scale - 2, size)
        corner = rng.uniform(0, np.array(size) - extent)
        box = np.concatenate([corner, corner + extent])
        assert any(inside(part, box) for part in parts)
    for part in parts:
        assert part.scale == pytest.approx(scale, rel=0.01), "no pixels are made up"
        assert part.part[0] >= 0 and part.part[2] <= size[0] and part.part[3] <= size[1]
        assert part.scale > far.scale
        assert part.scale * OVERLAP / scale >= 2 * LEAST


def test_images_that_a_far_look_shows_whole_have_no_parts() -> None:
    assert [look.side for look in looks((640, 480))] == [NEAR, FAR]


def made() -> Finder:
    try:
        return Finder(PipelineSettings(engine="cpu"))
    except ModelError as error:
        pytest.skip(str(error))


def test_every_part_is_looked_at_once_before_any_is_again() -> None:
    finder = made()
    size = (1280, 720)
    near, far, *parts = looks(size)
    first = [finder.next_look(size) for _ in range(10)]
    assert first[:2] == [near, far] and first[2::2] == parts and not finder.in_first_round
    assert first[3::2] == [near] * 4, "whoever is followed is seen again meanwhile"
    then = [finder.next_look(size) for _ in range(16)]
    assert then[:4] == [far, near, parts[0], near] and set(then) == set(first)
    assert [finder.next_look(size, everywhere=False) for _ in range(3)] == [near, near, far]
    finder.reset()
    assert finder.next_look(size) == first[0] and finder.in_first_round
    finder.close()


def test_people_45_pixels_high_are_found_in_parts_alone() -> None:
    """The demo clip, seen from further away: the floor goes on."""
    video = cv2.VideoCapture(str(share("demo", "cam0.mp4")))
    frame = video.read()[1]
    finder = made()
    near = finder.now(frame, looks((frame.shape[1], frame.shape[0]))[0])
    height = np.ptp(near.keypoints_px[near.person > 0.3][..., 1], axis=1).max()
    scale = 45 / height
    small = cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    image = np.full((720, 1280, 3), np.median(frame, axis=(0, 1)), np.uint8)
    image[500 : 500 + small.shape[0], 900 : 900 + small.shape[1]] = small
    whole, far, *parts = looks((1280, 720))
    assert not (finder.now(image, whole).person > 0.15).any()
    found = finder.now(image, parts[3])
    assert (found.person > 0.15).sum() == 2
    expected = (near.keypoints_px[near.person > 0.3] + 0.5) * scale - 0.5 + [900, 500]
    apart = np.linalg.norm(found.keypoints_px[:2, None].mean(2) - expected.mean(1), axis=-1)
    assert (apart.min(0) < 5).all()
    assert parts[3].sees(found).sum() == 0, "too small to tell their keypoints"
    finder.close()


def test_whom_a_part_cuts_it_does_not_tell() -> None:
    video = cv2.VideoCapture(str(share("demo", "cam0.mp4")))
    frame = video.read()[1]
    finder = made()
    whole = looks((frame.shape[1], frame.shape[0]))[0]
    seen = finder.now(frame, whole)
    seen = seen[seen.person > 0.3]
    assert len(seen) == 2
    left, right = np.sort((seen.box_px[:, 0] + seen.box_px[:, 2]) / 2)
    beside = Look(
        whole.size, (0, 0, round(right), frame.shape[0]), NEAR
    )  # through the right one's middle
    found = finder.now(frame, beside)
    assert ((found.box_px[:, 0] + found.box_px[:, 2]) / 2 < (left + right) / 2).all()
    finder.close()
