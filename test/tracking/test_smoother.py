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

"""Smoothing of recorded people: the response that is documented, predictions, doubtful joints."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pose3d_ros.people import People3D, TrackState
from pose3d_ros.skeleton import H36M17
from pose3d_ros.tracking.smoother import smooth_path, smoothed

RATE_HZ = 30.0


def walk(paths_m: np.ndarray, **changes: np.ndarray) -> list[People3D]:
    """Frames (T,) of one person all of whose joints are at ``paths_m`` (T, 3)."""
    count = len(paths_m)
    sigma_m = changes.get("sigma_m", np.full(count, 0.02))
    states = changes.get("states", np.full(count, TrackState.CONFIRMED))
    return [
        People3D(
            H36M17,
            np.tile(place, (1, 17, 1)),
            np.ones((1, 17)),
            np.full((1, 17), sigma_m[frame]),
            np.zeros((1, 17, 3)),
            np.array([4]),
            states[[frame]],
            round(frame * 1e9 / RATE_HZ),
            "map",
        )
        for frame, place in enumerate(paths_m)
    ]


def pelvis(frames: list[People3D]) -> np.ndarray:
    return np.array([people.joints_m[0, 0] for people in frames])


@pytest.mark.parametrize(("frequency_hz", "gain"), [(1.0, 0.999), (6.0, 0.5), (12.0, 1 / 17)])
def test_response_is_butterworth_s_without_delay(frequency_hz: float, gain: float) -> None:
    times_s = np.arange(600) / 120
    wave = np.sin(2 * np.pi * frequency_hz * times_s)[:, None]
    smooth = smooth_path(times_s, wave, np.ones(600), 6.0)
    middle = slice(200, 400)
    np.testing.assert_allclose(smooth[middle], gain * wave[middle], atol=0.02)


def test_uneven_times_and_straight_lines_change_nothing() -> None:
    times_s = np.cumsum(np.random.default_rng(0).uniform(0.01, 0.1, 80))
    line = np.outer(times_s, [1.0, -2.0, 0.5])
    np.testing.assert_allclose(smooth_path(times_s, line, np.ones(80), 3.0), line, atol=1e-6)


def test_predictions_are_replaced_by_what_leads_from_before_to_after() -> None:
    path = np.outer(np.arange(40) / RATE_HZ, [1.0, 0, 0])
    states = np.full(40, TrackState.CONFIRMED)
    states[15:22] = TrackState.OCCLUDED
    predicted = path.copy()
    predicted[15:22, 1] += 0.3
    frames = smoothed(walk(predicted, states=states))
    np.testing.assert_allclose(pelvis(frames), path, atol=1e-4)
    np.testing.assert_allclose(
        [people.velocity_mps[0, 0] for people in frames], np.tile([1.0, 0, 0], (40, 1)), atol=1e-3
    )


def test_joint_that_its_sigma_doubts_moves_little() -> None:
    path, sigma_m = np.zeros((41, 3)), np.full(41, 0.02)
    path[20, 2] = 0.5
    sure = pelvis(smoothed(walk(path)))[20, 2]
    sigma_m[20] = 0.2
    assert pelvis(smoothed(walk(path, sigma_m=sigma_m)))[20, 2] < 0.05 * sure


def test_short_and_unknown_tracks_stay_as_they_are() -> None:
    path = np.random.default_rng(1).normal(size=(2, 3))
    frames = walk(path)
    assert smoothed(frames) == frames and smoothed([]) == []
    again = walk(np.random.default_rng(2).normal(size=(9, 3)))
    again = again[:5] + [replace(again[5], stamp_ns=again[4].stamp_ns)] + again[6:]
    assert smoothed(again) == again
    unknown = walk(np.full((5, 3), np.nan))
    assert np.isnan(pelvis(smoothed(unknown))).all()
