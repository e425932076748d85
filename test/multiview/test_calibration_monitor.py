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

"""A camera that has moved is told from people's residuals; noise and bystanders are no reason."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from rigs import detected, ring, standing

from pose3d_ros.multiview import MultiViewTracker, calibration_monitor
from pose3d_ros.multiview.calibration_monitor import CalibrationMonitor, camera_residual
from pose3d_ros.people import TrackState
from pose3d_ros.skeleton import H36M17

STEP_NS = 40_000_000
WINDOW_S = 3.0


@pytest.fixture(autouse=True)
def short_window(monkeypatch):
    monkeypatch.setattr(calibration_monitor, "WINDOW_S", WINDOW_S)


def turned(camera, degrees, axis=(0, 1, 0)):
    transform = np.eye(4)
    transform[:3, :3] = cv2.Rodrigues(np.array(axis, float) * np.radians(degrees))[0]
    return replace(camera, camera_from_world=transform @ camera.camera_from_world)


def verdicts(real, assumed, frames=120, people=2):
    """Follow people with cameras that are not where they are thought to be; returns the watch."""
    random, tracker, rig_watch = (
        np.random.default_rng(0),
        MultiViewTracker(assumed, H36M17),
        CalibrationMonitor(len(assumed)),
    )
    for frame in range(frames):
        angle = 0.03 * frame + np.arange(people)
        truth = standing(
            np.stack([np.cos(angle), np.sin(angle)], -1) * (1 + np.arange(people))[:, None], angle
        )
        stamp_ns = frame * STEP_NS
        seen = [
            detected(camera, truth, stamp_ns, random, 3.0)
            for camera in (real(frame) if callable(real) else real)
        ]
        found = tracker.update(seen, stamp_ns)
        found = found[found.states != TrackState.TENTATIVE]
        rig_watch.update(
            [
                camera_residual(px, camera, s, found)
                for px, camera, s in zip(tracker.residuals_px, assumed, seen, strict=True)
            ],
            stamp_ns,
        )
    return rig_watch


def test_a_good_rig_is_good():
    cameras = ring(4)
    assert verdicts(cameras, cameras).moved == [None] * 4


@pytest.mark.parametrize("degrees", [4, 12])
def test_a_camera_that_is_pushed(degrees):
    """By a little, so that people are still recognised in it, and by so much that they are not."""
    cameras = ring(4)
    pushed = [*cameras[:2], turned(cameras[2], degrees), cameras[3]]
    moved = verdicts(lambda frame: pushed if frame >= 50 else cameras, cameras).moved
    assert [m is not None for m in moved] == [False, False, True, False]
    assert moved[2].px == pytest.approx(900 * np.tan(np.radians(degrees)), rel=0.3)
    assert moved[2].since_ns == pytest.approx(50 * STEP_NS, abs=1e9)


def test_of_two_cameras_both_are_named():
    cameras = ring(2)
    moved = verdicts([cameras[0], turned(cameras[1], 2, (1, 0, 0))], cameras).moved
    assert all(moved)


def test_a_bystander_whom_only_one_camera_sees_is_no_reason():
    """Nobody else is in that camera's picture: what it sees is elsewhere, and of another pose."""
    cameras, random = ring(4), np.random.default_rng(1)
    tracker, rig_watch = MultiViewTracker(cameras, H36M17), CalibrationMonitor(4)
    for frame in range(100):
        stamp_ns = frame * STEP_NS
        truth = standing(np.array([[0.02 * frame - 1, 0]]), np.zeros(1), 0.3 * frame)
        other = standing(np.array([[-1.0, 2.5]]), np.array([1.5]), 2.0)
        seen = [
            detected(camera, other if c == 3 else truth, stamp_ns, random)
            for c, camera in enumerate(cameras)
        ]
        found = tracker.update(seen, stamp_ns)
        found = found[found.states != TrackState.TENTATIVE]
        rig_watch.update(
            [
                camera_residual(px, camera, s, found)
                for px, camera, s in zip(tracker.residuals_px, cameras, seen, strict=True)
            ],
            stamp_ns,
        )
    assert rig_watch.moved == [None] * 4


def test_the_alarm_ends_when_the_camera_is_back():
    cameras = ring(4)
    pushed = [turned(cameras[0], 6), *cameras[1:]]
    back = int(WINDOW_S / 0.04) + 20
    rig_watch = verdicts(
        lambda frame: pushed if frame < 40 else cameras, cameras, frames=40 + back
    )
    assert rig_watch.moved == [None] * 4
