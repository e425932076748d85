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

"""MoveNet's decoding on heads that are made by hand: each has people at known places."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pose3d_ros.detection.movenet import multipose, thunder
from pose3d_ros.detection.movenet.decoding import (
    JOINTS,
    STRIDE,
    decode_people,
    decode_single,
    without_twins,
)
from pose3d_ros.settings import PipelineSettings

NO = -20.0
POSE = np.array(
    [[0, -8], [1, -9], [-1, -9], [2, -8], [-2, -8], [3, -5], [-3, -5], [5, -2], [-5, -2], [5, 1]]
    + [[-5, 1], [2, 1], [-2, 1], [2, 5], [-2, 5], [2, 9], [-2, 9]],
    float,
)
"""A body in cells (17, 2) x y around its centre, in COCO's order."""


def heads(size: tuple[int, int], people: Sequence[tuple[float, float]]) -> dict[str, np.ndarray]:
    """MultiPose's heads of ``size`` (height, width) for people at these centres (x, y) in cells,
    whose joints are a quarter of a cell right of and below their cells.
    """
    height, width = size
    made = {
        "center": np.full((1, height, width), NO),
        "box_scale": np.zeros((2, height, width)),
        "box_offset": np.zeros((2, height, width)),
        "heat": np.full((JOINTS, height, width), NO),
        "regress": np.zeros((2 * JOINTS, height, width)),
        "offset": np.full((2 * JOINTS, height, width), 0.25),
    }
    for x, y in people:
        column, row = int(x), int(y)
        made["center"][0, row, column] = 4
        made["box_scale"][:, row, column] = 24, 16
        made["regress"][:, row, column] = (POSE[:, ::-1] + [0.6, -0.4]).ravel()  # rough
        for joint, (dx, dy) in enumerate(POSE.astype(int)):
            made["heat"][joint, row + dy, column + dx] = 3
    return made


def test_keypoints_are_where_the_heat_is() -> None:
    poses = decode_people(heads((64, 96), [(20, 20), (60, 40)]), 30, 0.1)
    expected = (POSE + [[[20, 20]], [[60, 40]]] + 0.25) * STRIDE
    order = np.argsort(poses.box_px[:, 0])
    np.testing.assert_allclose(poses.keypoints_px[order], expected)
    np.testing.assert_allclose(poses.box_px[order[0]], np.array([12, 8, 28, 32]) * STRIDE)
    assert (poses.scores > 0.8).all() and (poses.person > 0.8).all()


def test_more_than_six_people_are_found() -> None:
    places = [(10 + 18 * column, 14 + 28 * row) for column in range(5) for row in range(2)]
    assert len(decode_people(heads((64, 96), places), 30, 0.1).person) == 10
    assert len(decode_people(heads((64, 96), places), 7, 0.1).person) == 7


def test_nobody_is_nobody() -> None:
    poses = decode_people(heads((16, 16), []), 30, 0.1)
    assert poses.keypoints_px.shape == (0, 17, 2) and len(poses.person) == 0


def test_of_twins_the_better_one_stays() -> None:
    poses = decode_people(heads((64, 96), [(20, 20), (60, 40)]), 30, 0.1)
    twice = poses.joined(poses[np.array([0])])
    twice.keypoints_px[2] += 1.0  # a quarter of a cell away
    twice.person[2] = 0.99
    assert sorted(without_twins(twice)) == [1, 2]


def test_the_person_in_the_middle_of_the_crop_is_read() -> None:
    made = heads((64, 64), [(33, 32), (10, 40)])
    made["center"][0, 40, 10] = 5  # seen better, but a neighbour
    batch: Any = {name: head[None].astype(np.float32) for name, head in made.items()}
    points, scores, centre = decode_single(batch)
    np.testing.assert_allclose(points[0], (POSE + [33, 32] + 0.25) / 64, atol=1e-6)
    assert (scores > 0.9).all() and centre[0] > 0.9


@pytest.mark.parametrize("size", [(1280, 720), (720, 1280), (33, 500), (1, 1)])
def test_a_letterbox_fits_and_tells_its_scale(size: tuple[int, int]) -> None:
    image = np.full((size[1], size[0], 3), 255, np.uint8)
    picture, scale = multipose.letterbox(image, 384)
    assert picture.shape[0] % 32 == picture.shape[1] % 32 == 0
    assert max(picture.shape) == 384
    filled: Any = (picture > 250).all(-1)
    assert filled.any(0).sum() == round(size[0] * scale[0])
    assert filled.any(1).sum() == round(size[1] * scale[1])


def test_a_crop_holds_the_whole_body() -> None:
    points = (POSE * 10 + [300, 200])[None]
    (x, y, side, angle) = thunder.square_around(points, np.ones((1, 17)))[0]
    np.testing.assert_allclose([x, y], [300, 210], rtol=1e-4)  # the middle of the hips
    assert angle == 0 and (np.abs(points[0] - [x, y]).max() * 1.2 <= side / 2 + 1e-3)


def test_ten_crops_are_read_a_few_at_once_each_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's memory grows with the largest batch."""
    sizes: list[int] = []

    class Engine:
        def __call__(self, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            crops = feeds["image"]
            sizes.append(len(crops))
            made = [heads((64, 64), [(int(crop[0, 0, 0]), 32)]) for crop in crops]
            return {
                name: np.stack([one[name] for one in made], dtype=np.float32) for name in made[0]
            }

    monkeypatch.setattr(thunder, "locate", lambda name: name)
    monkeypatch.setattr("pose3d_ros.inference.load", lambda *_: Engine())
    image = np.tile(np.arange(256, dtype=np.uint8)[None, :, None], (256, 1, 3))
    where = np.array([[158.0 + place, 128, 256, 0] for place in range(10)])
    reading = thunder.Thunder(PipelineSettings())(image, where)
    assert max(sizes) <= 4 and sum(sizes) == 10
    columns = (reading.keypoints_px[:, 0, 0] - where[:, 0] + 128) / 256 * 64 - 0.25
    np.testing.assert_allclose(columns, np.arange(10) + 30, atol=1.1)
