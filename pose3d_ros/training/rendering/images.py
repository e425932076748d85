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

"""Images of shots as a camera delivers them: whole, or the crops that the embedded detector
reads, rendered directly.

A crop is a pinhole camera: the whole picture's, rolled about its axis, with another focal length
and principal point. Where a lens distorts, a pinhole camera sees all that the lens does, and its
picture is then bent.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.detection import regions
from pose3d_ros.detection.blazepose.landmarks import SIDE
from pose3d_ros.training.rendering.renderer import Renderer
from pose3d_ros.training.rendering.scene import Shot


@dataclass(frozen=True)
class RenderedView:
    """A pinhole camera that is rendered, and for each pixel of the picture (H, W, 2) where in the
    render it is; None where they are the same.
    """

    camera: Camera
    where: np.ndarray | None = None

    def bend(self, render: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
        """The picture that the lens makes of the render."""
        if self.where is None:
            return render
        x, y = np.moveaxis(self.where, -1, 0)
        return cv2.remap(render, x, y, interpolation)


def view_of(camera: Camera, region: np.ndarray | None = None) -> RenderedView:
    """Of the crop of a region (4,) with 256 pixels to a side, or without one of the whole
    picture.
    """
    if region is None:
        size, back, scale, origin = camera.size, np.eye(2), 1.0, np.full(2, -0.5)
    else:
        cos, sin = np.cos(region[3]), np.sin(region[3])
        size, back, scale = (SIDE, SIDE), np.array([[cos, sin], [-sin, cos]]), region[2] / SIDE
        origin = regions.image_from_region(region[None])[0, :, 2]
    matrix, turn = np.eye(3), np.eye(4)
    turn[:2, :2] = back
    where = None
    if not len(camera.distortion):
        matrix[:2, :2] = camera.matrix[:2, :2] / scale
        matrix[:2, 2] = back @ (camera.matrix[:2, 2] - origin) / scale - 0.5
    else:
        pixels = np.moveaxis(np.mgrid[: size[1], : size[0]][::-1], 0, -1).reshape(-1, 2)
        pixels = scale * (pixels + 0.5) @ back + origin
        inside = ((pixels > -1) & (pixels < camera.size)).all(1)
        rays = camera.rays(pixels[inside]) @ back.T
        low, high = rays.min(0), rays.max(0)
        matrix[[0, 1], [0, 1]] = ((np.array(size) - 1) / (high - low)).min()
        matrix[:2, 2] = -matrix[0, 0] * low
        places = np.full((len(pixels), 2), -2, np.float32)
        places[inside] = matrix[0, 0] * (rays - low)
        where = places.reshape(size[1], size[0], 2)
    return RenderedView(
        Camera(matrix, size, camera_from_world=turn @ camera.camera_from_world), where
    )


def _drawn(
    renderer: Renderer, shot: Shot, view: RenderedView, frame: int
) -> tuple[np.ndarray, np.ndarray]:
    """Modelled surfaces (H, W, 4) while the shutter is open, and their distance in the render."""
    layers, depth_m = renderer.layers(view.camera, frame)
    if shot.exposure_frames:
        shares = shot.exposure_frames * np.array([1 / 3, 2 / 3])
        before = [renderer.layers(view.camera, max(frame - share, 0.0))[0] for share in shares]
        layers = np.mean([layers, *before], 0).astype(np.uint8)
    return view.bend(layers), depth_m


def _before(layers: np.ndarray, behind: np.ndarray) -> np.ndarray:
    return np.asarray(
        layers[..., :3] + (behind * (1 - layers[..., 3:] / np.float32(255))).astype(np.uint8)
    )


def whole(
    rng: np.random.Generator,
    renderer: Renderer,
    shot: Shot,
    frame: int,
    view: RenderedView | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Picture (H, W, 3) uint8 BGR, and the distance (H, W) of what is seen in the render of
    ``view_of(shot.camera)``, which need not be computed for each frame.
    """
    layers, depth_m = _drawn(renderer, shot, view or view_of(shot.camera), frame)
    return shot.sensor(rng, _before(layers, cv2.resize(shot.backdrop, shot.camera.size))), depth_m


def crop(
    rng: np.random.Generator, renderer: Renderer, shot: Shot, region: np.ndarray, frame: int
) -> tuple[np.ndarray, np.ndarray, Camera]:
    """Crop (256, 256, 3) uint8 of a region (4,), as ``regions.crop`` takes it of the sensor's
    picture; the distance (256, 256) of what is seen in the render; and the render's camera.
    """
    view = view_of(shot.camera, region)
    layers, depth_m = _drawn(renderer, shot, view, frame)
    share = shot.backdrop.shape[1] / shot.camera.size[0]
    behind = regions.crop(shot.backdrop, (region * [share, share, share, 1])[None], SIDE)[0]
    image, scale = _before(layers, behind), region[2] / SIDE
    if scale < 1:
        # The sensor has fewer pixels than the crop: sense at its resolution, then enlarge as the
        # crop does.
        side = max(round(region[2]), 16)
        image = shot.sensor(rng, cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA))
        image = cv2.resize(image, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR)
    else:
        image = shot.sensor(rng, image, scale)
    inside = np.zeros((SIDE, SIDE), np.uint8)
    corners = (np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * shot.camera.size - 0.5)[None]
    corners = SIDE * regions.transform(regions.region_from_image(region[None]), corners)[0] - 0.5
    cv2.fillConvexPoly(inside, np.rint(16 * corners).astype(np.int32), 1, shift=4)
    return image * inside[..., None], depth_m, view.camera
