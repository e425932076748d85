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

"""People of a whole recording, one after the other: what formats with a file for each person
write.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose3d_ros.io.errors import PoseFileError
from pose3d_ros.people import People3D
from pose3d_ros.skeleton import H36M17, PUBLISHED, Skeleton

# A camera's optical frame (x right, y down, z forward) turned upright: x to the camera, which is
# forward for somebody who faces it, y to their left, z up.
Z_UP_FROM_OPTICAL = np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]], float)
MAX_GAPS = 100  # times as long as the frames that are there; a clock was set
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Motion:
    """One person in each of T frames: ``times_s`` (T,) since the recording's first frame,
    ``joints_m`` (T, J, 3) with x forward, y to the left and z up, ``sigma_m`` (T, J); NaN where
    unknown, and wherever the person is away.
    """

    person: int
    skeleton: Skeleton
    times_s: Array
    joints_m: Array
    sigma_m: Array

    @property
    def step_s(self) -> float:
        """Median time from one frame to the next; 1/30 s of a single frame."""
        steps = np.diff(self.times_s)
        steps = steps[steps > 0]
        return float(np.median(steps)) if len(steps) else 1 / 30

    def evenly(self) -> Motion:
        """The same at even steps, for formats that have a rate instead of times: frames in between
        are interpolated.
        """
        step_s = self.step_s
        count = round((self.times_s[-1] - self.times_s[0]) / step_s) + 1
        if count > MAX_GAPS * len(self.times_s):
            raise PoseFileError(
                f"expected frames at about even times, got {len(self.times_s)} within "
                f"{self.times_s[-1]:.0f} s of which most are {step_s:.3g} s apart"
            )
        times_s = self.times_s[0] + step_s * np.arange(count)
        return replace(
            self,
            times_s=times_s,
            joints_m=interpolated(self.times_s, self.joints_m, times_s, step_s),
            sigma_m=interpolated(self.times_s, self.sigma_m[..., None], times_s, step_s)[..., 0],
        )

    def whole(self) -> Motion:
        """The same at even steps without anything unknown: interpolated, and held before the
        first and after the last time that a joint was seen. Of Human3.6M's 17 joints, the first of
        every skeleton that is ``PUBLISHED``: their bones are known.

        Raises ``PoseFileError`` for another skeleton, and where a joint was never seen.
        """
        if self.skeleton not in PUBLISHED.values():
            raise PoseFileError(f"expected people of {H36M17.name}, got {self.skeleton.name}")
        count = len(H36M17)
        even = replace(
            self,
            skeleton=H36M17,
            joints_m=self.joints_m[:, :count],
            sigma_m=self.sigma_m[:, :count],
        ).evenly()
        never = ~np.isfinite(even.joints_m).all(-1).any(0)
        if never.any():
            names = ", ".join(np.array(H36M17.joints)[never])
            raise PoseFileError(f"person {self.person} was never seen with {names}")
        joints_m = interpolated(even.times_s, even.joints_m, even.times_s)
        return replace(even, joints_m=joints_m)


def interpolated(
    known_s: Array, points: Array, times_s: Array, step_s: float = np.inf
) -> npt.NDArray[np.float64]:
    """Points (T, J, D) of the times ``known_s`` (T,) at others (S,): linear between the known
    ones, the first and the last of them beyond. NaN in gaps of more than two steps, and half a
    step before the first and after the last.
    """
    result = np.full((len(times_s), *points.shape[1:]), np.nan)
    for joint in range(points.shape[1]):
        known = np.isfinite(points[:, joint]).all(-1)
        if not known.any():
            continue
        at_s = known_s[known]
        after = np.searchsorted(at_s, times_s)
        before_s = np.concatenate([[-np.inf], at_s])[after]
        after_s = np.concatenate([at_s, [np.inf]])[after]
        apart_s = np.minimum(times_s - before_s, after_s - times_s)
        near = (apart_s < step_s / 2) | (after_s - before_s < 2.01 * step_s)
        for axis in range(points.shape[2]):
            values = np.interp(times_s, at_s, points[known, joint, axis])
            result[near, joint, axis] = values[near]
    return result


class MotionFiles:
    """Writes a file for each person when all frames are there: NAME.ending, or NAME_ID.ending
    where there are several. ``save`` writes one and tells what is to be said of it.
    """

    def __init__(self, path: Path, save: Callable[[Path, Motion], str]) -> None:
        self._path = path
        self._save = save
        self._frames: list[People3D] = []

    def write(self, people: People3D) -> None:
        """Add the people of the next frame."""
        self._frames.append(people)

    def close(self, optical: bool) -> list[str]:
        """Write the files; a line for each."""
        everybody = sorted({person for people in self._frames for person in people.ids.tolist()})
        if not everybody:
            return [f"{self._path} is not written: nobody was seen"]
        several = len(everybody) > 1
        said = []
        for person in everybody:
            path = self._path
            if several:
                path = path.with_name(f"{path.stem}_{person}{path.suffix}")
            try:
                said.append(self._save(path, self._motion(person, optical)))
            except PoseFileError as error:  # the others' files are written all the same
                said.append(f"{path} is not written: {error}")
        return said

    def _motion(self, person: int, optical: bool) -> Motion:
        skeleton = self._frames[0].skeleton
        joints_m = np.full((len(self._frames), len(skeleton), 3), np.nan)
        sigma_m = np.full(joints_m.shape[:2], np.nan)
        for frame, people in enumerate(self._frames):
            row = np.flatnonzero(people.ids == person)
            if len(row):
                joints_m[frame], sigma_m[frame] = people.joints_m[row[0]], people.sigma_m[row[0]]
        if optical:
            joints_m = joints_m @ Z_UP_FROM_OPTICAL.T
        stamps_ns = np.array([people.stamp_ns for people in self._frames])
        return Motion(person, skeleton, (stamps_ns - stamps_ns[0]) * 1e-9, joints_m, sigma_m)
