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

"""Boards drawn and seen through cameras with known calibration."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from pose3d_ros.calibration.boards import Board
from pose3d_ros.camera import Camera

SQUARE_PX = 60


def drawn(board: Board, legacy: bool = False) -> np.ndarray:
    """The printed board, ``SQUARE_PX`` a square, without a border."""
    if board.charuco:
        pattern = cv2.aruco.CharucoBoard(
            (board.columns, board.rows),
            board.square_m,
            board.marker_m,
            cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, board.dictionary)),
        )
        pattern.setLegacyPattern(legacy)
        return pattern.generateImage((board.columns * SQUARE_PX, board.rows * SQUARE_PX))
    light = np.indices((board.rows + 1, board.columns + 1)).sum(0) % 2
    return np.kron(light, np.full((SQUARE_PX, SQUARE_PX), 255)).astype(np.uint8)


def photographed(
    camera: Camera,
    board: Board,
    world_from_board: np.ndarray,
    picture: np.ndarray | None = None,
    noise: float = 2.0,
) -> np.ndarray:
    """Grey picture (H, W) of the board with a white border on grey, with the camera's distortion,
    antialiased.
    """
    texture = np.pad(drawn(board) if picture is None else picture, SQUARE_PX, constant_values=255)
    width, height = camera.size
    rays = _fine_rays(
        camera.matrix.tobytes(), camera.size, tuple(camera.distortion), camera.distortion_model
    )
    pose = camera.camera_from_world @ world_from_board
    rotation, translation = pose[:3, :3], pose[:3, 3]
    depth = rotation[:, 2] @ translation / (rays @ rotation[:, 2])
    local = (depth[..., None] * rays - translation) @ rotation / board.square_m * SQUARE_PX
    # the first inner corner is one square from the edge, two from the border's
    where = np.stack([local[..., 0], -local[..., 1]], -1) + 2 * SQUARE_PX - 0.5
    where[depth < 0] = -1e6
    across, down = np.ascontiguousarray(where.astype(np.float32).transpose(2, 0, 1))
    seen = cv2.remap(texture, across, down, cv2.INTER_LINEAR, borderValue=140)
    seen = cv2.resize(seen, (width, height), interpolation=cv2.INTER_AREA)
    return np.clip(seen + np.random.default_rng(0).normal(0, noise, seen.shape), 0, 255).astype(
        np.uint8
    )


@lru_cache(maxsize=4)
def _fine_rays(
    matrix: bytes, size: tuple[int, int], distortion: tuple[float, ...], model: str
) -> np.ndarray:
    """(2H, 2W, 3) rays of a camera's quarters of pixels, which take a second: each photo of the
    camera has the same.
    """
    camera = Camera(np.frombuffer(matrix).reshape(3, 3), size, np.array(distortion), model)
    y, x = np.mgrid[: 2 * size[1], : 2 * size[0]]
    rays = camera.rays(np.stack([x, y], -1) / 2 - 0.25)
    return np.concatenate([rays, np.ones((*x.shape, 1))], -1)


def placed(
    board: Board, x: float, y: float, z: float, tilt_x: float, tilt_y: float, turn: float
) -> np.ndarray:
    """world_from_board (4, 4) with the board's middle at x y z, z out of it turned away from the
    world's by tilts.
    """
    pose = np.eye(4)
    pose[:3, :3] = (
        cv2.Rodrigues(np.array([tilt_x, tilt_y, 0.0]))[0]
        @ cv2.Rodrigues(np.array([0.0, 0, turn]))[0]
    )
    pose[:3, 3] = [x, y, z] - pose[:3, :3] @ board.points_m.mean(0)
    return pose
