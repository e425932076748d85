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

"""The cause is named for which cameras that see people find nobody."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from rigs import ring
from test_time_offsets import NAMES, film

from pose3d_ros.calibration.disagreement import cause
from pose3d_ros.geometry import rigid, rotation_from_vector

CAMERAS = ring(3)
OUTWARD = rigid(rotation_from_vector([0, np.pi, 0]), np.zeros(3))


def test_clock_that_is_off_is_told_by_how_much() -> None:
    starts_s = (5, 5, 5.6)
    seen = [film(camera, s, 8, 10, 1, 0) for camera, s in zip(CAMERAS, starts_s, strict=True)]
    told = cause(CAMERAS, NAMES, seen)
    assert "stamps of camera c are 0.6 s behind those of a" in told
    assert "pose3d calibrate time" in told


def test_views_apart_are_told() -> None:
    turned = [
        replace(camera, camera_from_world=OUTWARD @ camera.camera_from_world)
        for camera in CAMERAS[:2]
    ]
    seen = [film(camera, 5, 8, 10, 1, 0) for camera in CAMERAS[:2]]
    assert "the views of a and b do not overlap" in cause(turned, NAMES[:2], seen)


def test_exchanged_cameras_are_told() -> None:
    seen = [film(camera, 5, 8, 10, 1, 0) for camera in CAMERAS]
    exchanged = [CAMERAS[1], CAMERAS[0], CAMERAS[2]]
    assert "cameras a and b are exchanged" in cause(exchanged, NAMES, seen)


def test_wrong_calibration_is_told() -> None:
    off = rigid(rotation_from_vector([0.2, 0.1, 0.1]), [0.3, 0.2, 0.1])
    moved = replace(CAMERAS[1], camera_from_world=off @ CAMERAS[1].camera_from_world)
    seen = [film(camera, 5, 8, 10, 1, 0) for camera in CAMERAS[:2]]
    assert "the calibration is wrong" in cause([CAMERAS[0], moved], NAMES[:2], seen)
