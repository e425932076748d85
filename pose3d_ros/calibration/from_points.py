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

"""Poses of cameras from one image each of points whose positions in the room were measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import yaml

from pose3d_ros.camera import Camera
from pose3d_ros.errors import CalibrationError
from pose3d_ros.geometry import rigid, rotation_from_vector

MIN_POINTS = 4


def calibrate(
    path: Path, cameras: Mapping[str, Camera]
) -> tuple[dict[str, Camera], dict[str, np.ndarray]]:
    """Cameras in the frame of the measured points, and reprojection errors (K,) in pixels per
    camera.

    The file is YAML: ``points: {NAME: [x, y, z]}`` in metres, ``pixels: {CAMERA: {NAME: [u,
    v]}}``. Each camera stands alone (perspective-n-point, SQPnP by Terzakis and Lourakis, then
    least squares). Raises ``CalibrationError`` for a camera with fewer than ``MIN_POINTS``, points
    that are not in the list, and points on one line.
    """
    try:
        data = yaml.safe_load(path.read_text())
        points = {
            str(name): np.array(place, float).reshape(3) for name, place in data["points"].items()
        }
        pixels = {
            str(camera): {
                str(name): np.array(place, float).reshape(2) for name, place in seen.items()
            }
            for camera, seen in data["pixels"].items()
        }
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CalibrationError(
            f"{path}: expected points: {{NAME: [x, y, z]}} and pixels: "
            f"{{CAMERA: {{NAME: [u, v]}}}}; got {error!r}"
        ) from None
    placed, errors = {}, {}
    for name, camera in cameras.items():
        seen = pixels.get(name, {})
        unknown = sorted(set(seen) - set(points))
        if unknown:
            raise CalibrationError(
                f"{path}: camera {name} shows {', '.join(unknown)}, whose places are not among "
                f"the points"
            )
        if len(seen) < MIN_POINTS:
            raise CalibrationError(
                f"{path}: camera {name} shows {len(seen)} points, expected at least "
                f"{MIN_POINTS}, better 8 spread over the room and in height"
            )
        places, marks = np.stack([points[p] for p in seen]), np.stack(list(seen.values()))
        outside = np.isnan(camera.rays(marks)).any(1)
        if outside.any():
            raise CalibrationError(
                f"{path}: {', '.join(np.array(list(seen))[outside])} of camera {name} lie where "
                f"its lens model shows nothing: correct their pixels, or calibrate its intrinsics"
            )
        if np.linalg.svd(places - places.mean(0), compute_uv=False)[1] < 0.05:
            raise CalibrationError(
                f"{path}: the points that camera {name} shows lie on one line: add some beside it"
            )
        placed[name] = replace(camera, camera_from_world=_pose(camera, places, marks))
        errors[name] = np.linalg.norm(placed[name].project(places) - marks, axis=1)
    return placed, errors


def _pose(camera: Camera, places: np.ndarray, marks: np.ndarray) -> np.ndarray:
    rays = camera.rays(marks)
    _, turn, shift = cv2.solvePnP(places, rays, np.eye(3), None, flags=cv2.SOLVEPNP_SQPNP)
    turn, shift = cv2.solvePnPRefineLM(places, rays, np.eye(3), None, turn, shift)
    return rigid(rotation_from_vector(turn), shift.ravel())
