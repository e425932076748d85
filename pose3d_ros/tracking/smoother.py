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

"""Non-causal smoothing of recorded people: each frame knows what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
from scipy.linalg import solveh_banded

from pose3d_ros.people import People3D, TrackState

CUTOFF_HZ = 6.0  # usual for gait (Winter, 2009)
Array = npt.NDArray[np.float64]


def smoothed(frames: Sequence[People3D], cutoff_hz: float = CUTOFF_HZ) -> list[People3D]:
    """The people of consecutive frames with smooth paths of joints and the velocities of these.

    What was predicted is replaced by what leads from before to after. Joints whose sigma is
    larger than usual for them count less; sigma stays as it is. Tracks of fewer than three frames,
    or whose stamps do not ascend, stay as they are.
    """
    joints = [people.joints_m.copy() for people in frames]
    velocities = [people.velocity_mps.copy() for people in frames]
    for person in {person for people in frames for person in people.ids.tolist()}:
        where = [
            (frame, int(np.flatnonzero(people.ids == person)[0]))
            for frame, people in enumerate(frames)
            if person in people.ids
        ]
        track = [frames[frame][[row]] for frame, row in where]
        times_s = np.array([people.stamp_ns for people in track]) * 1e-9
        if len(track) < 3 or (np.diff(times_s) <= 0).any():
            continue
        path = np.concatenate([people.joints_m for people in track]).astype(float)
        sigma = np.concatenate([people.sigma_m for people in track]).astype(float)
        seen = np.concatenate([people.states for people in track]) != TrackState.OCCLUDED
        for joint in range(path.shape[1]):
            known = seen & np.isfinite(path[:, joint]).all(-1) & (sigma[:, joint] > 0)
            if known.sum() < 3:
                continue
            usual = np.median(sigma[known, joint])
            weights = np.where(known, (usual / np.where(known, sigma[:, joint], 1)) ** 2, 0)
            path[:, joint] = smooth_path(times_s, path[:, joint], weights, cutoff_hz)
        speeds = np.gradient(path, times_s, axis=0)
        for (frame, row), place, speed in zip(where, path, speeds, strict=True):
            joints[frame][row], velocities[frame][row] = place, speed
    return [
        replace(people, joints_m=of_frame, velocity_mps=speeds)
        for people, of_frame, speeds in zip(frames, joints, velocities, strict=True)
    ]


def smooth_path(times_s: Array, path: Array, weights: Array, cutoff_hz: float) -> Array:
    """The curve (T, D) through ``path`` (T, D), at ascending ``times_s`` (T,) with ``weights``
    (T,) of which three are above zero, for which the weighted squared distance, and the squared
    acceleration divided by the cut-off frequency to the fourth power, are least together
    (Whittaker, 1923).

    At an even rate and weights of one its response is that of a second-order Butterworth filter
    run forwards and backwards, as biomechanics has it: a half at the cut-off, no delay.
    """
    steps = np.diff(times_s)
    width = (steps[:-1] + steps[1:]) / 2
    # second differences: rows of (T-2, T), three numbers in each
    rows = np.stack([1 / steps[:-1], -(1 / steps[:-1] + 1 / steps[1:]), 1 / steps[1:]]) / width
    penalty = width / (2 * np.pi * cutoff_hz) ** 4
    banded = np.zeros((3, len(times_s)))  # upper form
    banded[2] = weights * np.median(steps)
    for column in range(3):
        banded[2, column : len(banded[2]) - 2 + column] += penalty * rows[column] ** 2
    banded[1, 1:-1] += penalty * rows[0] * rows[1]
    banded[1, 2:] += penalty * rows[1] * rows[2]
    banded[0, 2:] += penalty * rows[0] * rows[2]
    known = np.where(weights[:, None] > 0, path, 0)
    pulled = weights[:, None] * np.median(steps) * known
    return np.asarray(solveh_banded(banded, pulled))
