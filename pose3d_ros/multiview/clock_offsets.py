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

"""Offsets of cameras' clocks while they work, from the motion of the people whom they track.

A camera whose clock is off sees a joint where it was or will be: its residual is the joint's
velocity in the image times the offset. `calibration.time_offsets` does the same of recordings.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import dot, inverse_symmetric

MAX_OFFSET_S = 0.06  # further off, joints are too far from where they are expected
LEAST_SPEED_MPS = 0.3  # of people who tell anything
MOST_JOINTS = 60  # of one moment, those of the fastest
GAP_S = 0.1  # moments nearer to each other tell the same
# Errors are independent from block to block; so many of the last blocks in which people moved are
# remembered, and so many are needed.
BLOCK_S, BLOCKS, LEAST_BLOCKS = 1.0, 30, 8
DETECTOR_SIGMA_S = 0.005  # detectors' errors follow the motion: no offset is known better
LEAST_OFFSET_S = 2 * DETECTOR_SIGMA_S  # by which some camera is off, else all count as right
SURE_SIGMAS, MAX_SIGMA_S = 3.0, 0.01  # an offset that is used is so many of its sigma, this small
BIAS_PX = 20.0  # one standard deviation of what a camera's calibration is off, in a block


class _Block(NamedTuple):
    """Normal equations of the offsets from the stamps as they are: ``information`` (C, C) in
    1/s^2 and ``right`` (C,) in 1/s.
    """

    information: np.ndarray
    right: np.ndarray


class ClockOffsets:
    """Offsets of C cameras' clocks from their mean, learned from people's residuals.

    ``used_s`` (C,): seconds to add to each camera's stamps, 0 until motion tells for sure that
    they are off; ``offset_s`` and ``sigma_s`` (C,), what is known so far, one standard deviation.
    An offset and a calibration that is off are told apart by this: the first follows the velocity,
    the second stays. Nobody who stands still tells anything.
    """

    def __init__(self, cameras: int) -> None:
        self.used_s, self.offset_s = np.zeros((2, cameras))
        self.sigma_s = np.full(cameras, np.inf)
        self._blocks: deque[_Block] = deque(maxlen=BLOCKS)
        self._learned_ns = 0
        self._begin(0)

    def _begin(self, stamp_ns: int) -> None:
        cameras = len(self.used_s)
        self._began_ns = stamp_ns
        # Of this block's offsets, and of what each camera's pixels are off in x and y.
        self._information, self._right = np.zeros((cameras, 3, cameras, 3)), np.zeros((cameras, 3))

    def learn(
        self,
        rig: Rig,
        mean: np.ndarray,
        velocity: np.ndarray,
        residual_px: np.ndarray,
        precision: np.ndarray,
        stamp_ns: int,
    ) -> None:
        """Learn from joints ``mean`` (M, 3) of people who move with ``velocity`` (M, 3), their
        residuals (M, C, 2) and ``precision`` (M, C) in 1/px^2, 0 where a view does not agree.

        The velocity is the whole body's, as predicted: in a single joint's its noise would count
        as motion, and in a corrected one as motion that goes with the residuals.
        """
        if not 0 <= stamp_ns - self._began_ns < BLOCK_S * 1e9:
            self._end_block()
            self._begin(stamp_ns)
        if 0 < stamp_ns - self._learned_ns < GAP_S * 1e9:
            return
        self._learned_ns = stamp_ns
        speed = np.sqrt(dot(velocity, velocity)) * ((precision > 0).sum(1) > 1)
        rows = np.argsort(-speed)[:MOST_JOINTS]
        rows = rows[speed[rows] > LEAST_SPEED_MPS]
        if not len(rows):
            return
        count, cameras = len(rows), len(rig)
        pixels, depth = rig.project_by_point(mean[rows])
        by_point = rig.derivative(pixels, np.maximum(depth, NEAR_M))
        # What a camera's offset and bias move its pixels by, (M, C, 2, 3).
        moved = np.empty((count, cameras, 2, 3))
        moved[..., 0] = (by_point @ velocity[rows][:, None, :, None])[..., 0]
        moved[..., 1:] = np.eye(2)
        weight = precision[rows][..., None, None]
        residual = residual_px[rows][..., None]
        of_point = (weight * by_point).swapaxes(-1, -2)
        of_camera = (weight * moved).swapaxes(-1, -2)
        # What the point itself follows tells nothing: it is eliminated (Schur's complement).
        shared = (of_point @ moved).transpose(0, 2, 1, 3).reshape(count, 3, 3 * cameras)
        followed = inverse_symmetric((of_point @ by_point).sum(1)) @ shared
        own = (of_camera @ moved).sum(0)
        flat = shared.reshape(-1, 3 * cameras)
        information = -(flat.T @ followed.reshape(flat.shape)).reshape(cameras, 3, cameras, 3)
        information[np.arange(cameras), :, np.arange(cameras)] += own
        pull = (of_point @ residual).sum(1)
        right = (of_camera @ residual).sum(0)[..., 0]
        right = right - (followed.swapaxes(1, 2) @ pull).sum(0).reshape(cameras, 3)
        self._information += information
        self._right += right

    def _end_block(self) -> None:
        """Add the block's normal equations, less the biases, and estimate anew."""
        information, right = self._information, self._right
        if not information.any():
            return
        count = len(right)
        across = information[:, 0, :, 1:].reshape(count, 2 * count)
        biases = information[:, 1:, :, 1:].reshape(2 * count, 2 * count)
        share = across @ np.linalg.inv(biases + np.eye(2 * count) / BIAS_PX**2)
        own = information[:, 0, :, 0] - share @ across.T
        told = right[:, 0] - share @ right[:, 1:].ravel() + own @ self.used_s
        self._blocks.append(_Block(own, told))
        self._estimate()

    def _estimate(self) -> None:
        information = np.sum([block.information for block in self._blocks], 0)
        inverse = np.linalg.pinv(information, rcond=1e-6, hermitian=True)  # the mean is 0
        self.offset_s = inverse @ np.sum([block.right for block in self._blocks], 0)
        left = np.stack([b.right - b.information @ self.offset_s for b in self._blocks])
        scatter = inverse @ (left.T @ left) @ inverse
        statistical = np.where(np.diag(information) > 0, np.sqrt(np.diag(scatter)), np.inf)
        self.sigma_s = np.hypot(statistical, DETECTOR_SIGMA_S)
        change = np.abs(self.offset_s - self.used_s)
        sure = change > SURE_SIGMAS * np.hypot(statistical, 1e-3)
        if not self.used_s.any():
            sure &= change > LEAST_OFFSET_S
        known = self.sigma_s < MAX_SIGMA_S
        if len(self._blocks) >= LEAST_BLOCKS and (sure & known).any():
            self.used_s = np.where(
                known, np.clip(self.offset_s, -MAX_OFFSET_S, MAX_OFFSET_S), self.used_s
            )
            self._blocks.clear()
