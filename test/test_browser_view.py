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

"""The browser view: what it draws, that its page is served, and people moving in a real
browser.
"""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from pose3d_ros.browser_view import (
    ANKLE_ABOVE_FLOOR_M,
    FRUSTUM_M,
    UPRIGHT_FROM_OPTICAL,
    BrowserView,
    BrowserViewError,
)
from pose3d_ros.camera import Camera
from pose3d_ros.geometry import look_at
from pose3d_ros.people import People3D, TrackState
from pose3d_ros.resources import share
from pose3d_ros.skeleton import H36M17

pytest.importorskip("viser", reason="needs viser: pip install viser")
LIMBS = len(H36M17.limbs)


@pytest.fixture
def view() -> Iterator[BrowserView]:
    made = BrowserView(port=0, optical=False)
    yield made
    made.close()


def people(frame: int, count: int = 2) -> People3D:
    """The people of the demo clip as they really move, z up."""
    with np.load(share("demo", "truth.npz")) as truth:
        joints = truth["joints_m"]
    velocity = 30 * (joints[frame + 1] - joints[frame])
    return People3D(
        H36M17,
        joints[frame, :count],
        np.ones((count, 17)),
        np.full((count, 17), 0.03),
        velocity[:count],
        np.arange(count),
        np.full(count, TrackState.CONFIRMED),
        round(frame * 1e9 / 30),
        "world",
    )


def with_confidence(seen: People3D, joint: str, confidence: float) -> People3D:
    changed = seen.confidence.copy()
    changed[0, H36M17.index(joint)] = confidence
    return replace(seen, confidence=changed)


def test_limbs_lie_between_joints_and_unseen_ones_are_thin(view: BrowserView) -> None:
    seen = people(10)
    view.show(seen)
    assert view._limbs.points.shape == (2 * LIMBS, 2, 3)
    assert len(view._unseen.points) == 0
    np.testing.assert_allclose(
        view._limbs.points[:LIMBS], seen.joints_m[0][H36M17.limb_indices], atol=1e-6
    )
    view.show(with_confidence(people(11), "l_wrist", 0.1))
    assert len(view._unseen.points) == 1  # the forearm
    assert len(view._limbs.points) == 2 * LIMBS - 1


def test_unknown_joints_are_not_drawn(view: BrowserView) -> None:
    seen = people(10)
    joints = seen.joints_m.copy()
    joints[1] = np.nan
    view.show(replace(seen, joints_m=joints, sigma_m=np.full((2, 17), np.nan)))
    assert len(view._limbs.points) == LIMBS
    assert list(view._labels) == [0]


def test_labels_tell_id_speed_and_sigma(view: BrowserView) -> None:
    seen = people(30)
    view.show(seen)
    speed = np.linalg.norm(seen.velocity_mps[1, H36M17.index("pelvis")])
    assert view._labels[1].text == f"1  {speed:.1f} m/s  ±3 cm"
    view.show(people(31, count=1))
    assert list(view._labels) == [0]


def test_trails_keep_five_seconds_and_begin_anew_when_time_jumps_back(view: BrowserView) -> None:
    for frame in range(0, 180, 7):
        view.show(people(frame))
    assert len(view._trails.points) == 2 * 21  # steps of 7/30 s in 5 s
    view.show(people(0))
    assert len(view._trails.points) == 0


def test_floor_of_an_optical_frame_is_below_the_feet(view: BrowserView) -> None:
    view.set_optical(True)
    seen = people(10)
    view.show(replace(seen, joints_m=seen.joints_m @ UPRIGHT_FROM_OPTICAL))
    lowest = np.median(seen.joints_m[..., 2].min(1))
    assert view._grid.position[2] == pytest.approx(lowest - ANKLE_ABOVE_FLOOR_M, abs=1e-5)


def test_cameras_stand_where_they_are(view: BrowserView) -> None:
    camera = Camera.from_fov(640, 480, 1.0)
    view.show_camera("left", camera, np.zeros((480, 640, 3), np.uint8))
    frustum = view._frusta["left"]
    assert frustum.aspect == pytest.approx(640 / 480)
    assert 2 * np.arctan(np.tan(frustum.fov / 2) * frustum.aspect) == pytest.approx(1.0)
    np.testing.assert_allclose(frustum.position, 0, atol=1e-9)


@pytest.mark.parametrize("turns", [(0, 90, 180, 270), (-30, 30), (0,)])
def test_no_camera_stands_between_the_start_and_the_people(
    view: BrowserView, turns: tuple[int, ...]
) -> None:
    view.set_optical(False)
    places = [np.array([4 * np.cos(turn), 4 * np.sin(turn), 1.8]) for turn in np.deg2rad(turns)]
    for place in places:
        camera = replace(
            Camera.from_fov(640, 480, 1.0), camera_from_world=look_at(place, (0, 0, 1))
        )
        view.show_camera(str(place), camera)
    start = view._server.initial_camera
    np.testing.assert_allclose(start.look_at, (0, 0, 0.8), atol=0.5)
    way = np.linspace(start.position, (0, 0, 0), 50)
    for place in places:
        assert np.linalg.norm(way - place, axis=1).min() > FRUSTUM_M


def test_paused_view_stands_still(view: BrowserView) -> None:
    view.show(people(10))
    before = view._limbs.points.copy()
    view._paused.value = True
    view.show(people(60))
    np.testing.assert_array_equal(view._limbs.points, before)


def test_page_is_served_on_this_machine_alone(view: BrowserView) -> None:
    assert view.url.startswith("http://localhost:")
    with urllib.request.urlopen(view.url, timeout=10) as page:
        assert b"<html" in page.read().lower()
    assert not view.watched


def test_address_of_another_machine_is_refused_in_one_line() -> None:
    with pytest.raises(BrowserViewError, match="expected an address of this machine"):
        BrowserView("192.0.2.1", 0)  # TEST-NET-1 of RFC 5737


def test_people_appear_move_and_go_in_a_browser(view: BrowserView) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("needs Debian's chromium: apt install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    drawing = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
    patience_ms = 120_000  # a busy machine draws without a GPU
    with playwright.sync_playwright() as browsers:
        browser = browsers.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", *drawing], timeout=patience_ms
        )
        page = browser.new_page(viewport={"width": 640, "height": 480})
        page.set_default_timeout(patience_ms)
        page.goto(view.url)
        page.get_by_text("waiting for people").wait_for()
        view.show(people(0))
        page.get_by_text("2 people in").wait_for()
        assert view.watched
        view.show(people(60))
        page.get_by_text("at 2.00 s").wait_for()
        view.show(people(90, count=1))
        page.get_by_text("1 person in").wait_for()
        browser.close()
