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

"""Pictures of people: what is drawn is where it belongs."""

import numpy as np
import pytest

from pose3d_ros.drawing import draw_people, limb_colours, render_view, viewpoint
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17

SIZE = (320, 240)
FOCUS_M = np.array([0.3, 0.2, 4.0])
STANDING_M = np.zeros((17, 3))
STANDING_M[:, 1] = 0.9 - np.linspace(0, 1.7, 17)  # y points down
STANDING_M[:, 0] = np.linspace(-0.4, 0.4, 17)


@pytest.mark.parametrize("azimuth", [0.0, 0.7, 2.5, -1.2])
def test_a_viewpoint_looks_at_its_focus_from_its_distance(azimuth):
    view = viewpoint(FOCUS_M, 5.0, SIZE, azimuth)
    np.testing.assert_allclose(view.project(FOCUS_M), (159.5, 119.5), atol=1e-6)
    assert np.linalg.norm(view.position_m - FOCUS_M) == pytest.approx(5.0)
    assert np.linalg.det(view.camera_from_world[:3, :3]) == pytest.approx(
        1.0
    )  # turned, never mirrored
    assert view.position_m[1] < FOCUS_M[1]  # from above
    assert view.project(FOCUS_M - [0, 0.5, 0])[1] < 119  # up is up


def test_a_viewpoint_straight_ahead_sees_what_the_camera_sees():
    view = viewpoint(FOCUS_M, 4.0, SIZE, 0.0, 0.0)
    np.testing.assert_allclose(view.camera_from_world[:3, :3], np.eye(3), atol=1e-12)


def test_a_person_is_drawn_where_the_view_sees_them():
    view = viewpoint(FOCUS_M, 5.0, SIZE)
    joints = STANDING_M + FOCUS_M
    empty = render_view(joints[None][:0], np.zeros(0, int), H36M17, view, FOCUS_M[1] + 0.9)
    picture = render_view(joints[None], np.array([3]), H36M17, view, FOCUS_M[1] + 0.9)
    assert empty.shape == picture.shape == (240, 320, 3)
    wrist = H36M17.index("r_wrist")  # the last one, so that nothing covers it
    x, y = view.project(joints[wrist]).round().astype(int)
    colour = (
        255 * limb_colours(H36M17, 3)[[child for _, child in H36M17.limbs].index("r_wrist")][::-1]
    )
    assert np.abs(picture[y, x] - colour).max() < 40
    changed = np.argwhere((picture != empty).any(-1))[:, ::-1]
    around = view.project(
        np.concatenate([joints, joints * [1, 0, 1] + [0, FOCUS_M[1] + 0.9, 0]])
    )  # and the shadow
    assert (changed >= around.min(0) - [5, 30]).all()  # the id is above the head
    assert (changed <= around.max(0) + [20, 5]).all()


def test_unknown_joints_and_people_behind_the_view_are_not_drawn():
    view = viewpoint(FOCUS_M, 5.0, SIZE)
    nowhere = np.full((1, 17, 3), np.nan)
    behind = STANDING_M[None] + view.position_m - 3 * view.camera_from_world[2, :3]
    floor = FOCUS_M[1] + 0.9
    empty = render_view(nowhere[:0], np.zeros(0, int), H36M17, view, floor)
    np.testing.assert_array_equal(render_view(nowhere, np.array([1]), H36M17, view, floor), empty)
    assert (render_view(behind, np.array([1]), H36M17, view, floor) == 255).sum() == (
        empty == 255
    ).sum()


def test_a_limb_that_is_not_seen_is_dashed():
    """Half of the forearm's line is left out, in the picture and in space."""
    image, wrist = np.zeros((240, 320, 3), np.uint8), H36M17.index("r_wrist")
    keypoints = np.full((1, 17, 2), np.nan)
    keypoints[0, [H36M17.index("r_elbow"), wrist]] = (40, 100), (200, 100)
    confidence = np.full((1, 17), 0.9)
    lengths = []
    for sure in (0.9, 0.1, 0.0):
        confidence[0, wrist] = sure
        people = People2D(H36M17, keypoints, confidence, 0, (320, 240), np.array([7]))
        lengths.append(draw_people(image, people)[100, 50:190].any(-1).mean())
    assert lengths[0] == 1 and 0.3 < lengths[1] < 0.8 and lengths[2] == 0
    view, joints = viewpoint(FOCUS_M, 5.0, SIZE), (STANDING_M + FOCUS_M)[None]
    unseen = np.zeros((1, 17), bool)
    whole, dashed = (
        render_view(joints, np.array([3]), H36M17, view, FOCUS_M[1] + 0.9, unseen ^ flip)
        for flip in (False, np.arange(17) == wrist)
    )
    assert (whole != dashed).any()


def test_the_overlay_marks_sure_joints_and_leaves_the_picture_alone():
    image = np.zeros((240, 320, 3), np.uint8)
    keypoints = np.stack([np.linspace(40, 200, 17), np.linspace(200, 40, 17)], 1)
    keypoints[5] = (1e9, -1e9)  # a detector may say anything
    keypoints[6] = np.nan
    confidence = np.full(17, 0.9)
    confidence[13] = 0.1
    overlay = draw_people(
        image, People2D(H36M17, keypoints[None], confidence[None], 0, (320, 240), np.array([7]))
    )
    assert not image.any()
    for joint, (x, y) in enumerate(keypoints):
        if joint not in (5, 6):
            assert (overlay[int(y.round()), int(x.round())] > 200).all() == (joint != 13), (
                H36M17.joints[joint]
            )
