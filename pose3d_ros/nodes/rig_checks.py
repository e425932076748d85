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

"""Checks of a rig at work: whether its cameras are heard, agree, and find anybody."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from pose3d_ros.calibration.disagreement import cause, exchanged
from pose3d_ros.camera import Camera
from pose3d_ros.multiview.calibration_monitor import Displacement
from pose3d_ros.multiview.pose_buffer import LONGEST_WAIT_S, MAX_AGE_S
from pose3d_ros.nodes.camera_input import CameraInput
from pose3d_ros.nodes.inputs import SILENCE_S
from pose3d_ros.nodes.managed_node import ManagedNode
from pose3d_ros.people import People2D

DISAGREEMENT_S = 5.0  # cameras that see people, but never the same ones, do not fit together
CAUSE_S, REMEMBERED_S = 10.0, 8.0  # between two searches for the cause, and what it is found in
APART_S = 5.0  # without anybody, although cameras see people at moments of their own
NOBODY_S = 20.0  # of 2D poses since the start


def clock_offsets(
    inputs: Sequence[CameraInput], out_of_step: Sequence[int]
) -> list[tuple[CameraInput, float]]:
    """Offset of each live camera's stamps from those of the cameras in use, in seconds;
    ``out_of_step``: indices of those not in use (``PoseBuffer``).
    """
    lags = [
        (camera, lag) for camera in inputs if camera.alive and (lag := camera.lag_s) is not None
    ]
    unused = {id(inputs[index]) for index in out_of_step}
    in_use = sorted(lag for camera, lag in lags if id(camera) not in unused)
    if not in_use:
        return []
    middle = in_use[(len(in_use) - 1) // 2]
    return [(camera, lag - middle) for camera, lag in lags]


class RigChecks:
    """Says what is wrong with a rig as a whole, and which camera does not fit the others."""

    def __init__(self, node: ManagedNode[Any], inputs: Sequence[CameraInput]) -> None:
        self._node, self._inputs = node, inputs
        now = time.monotonic()
        self._alone_since = self._heard_since = now
        self._count_anew()
        self._disagree_since: float | None = None
        self._cause, self._cause_at = "", -CAUSE_S
        self._exchanged: str | None = None  # since a camera stands elsewhere than calibrated
        self._recent: list[deque[People2D]] = [deque() for _ in inputs]
        self._anybody = self._corrected = False
        self._ever_seeing: set[str] = set()

    def heard(self, cameras: int) -> None:
        """Take the number of cameras that sent poses of one moment."""
        self._moments += 1
        self._common += cameras > 1

    def record(self, seen: Sequence[People2D | None], people: int) -> None:
        """Take one moment: what each camera saw, and how many people were found."""
        seeing = [
            camera.name
            for camera, poses in zip(self._inputs, seen, strict=True)
            if poses is not None and len(poses)
        ]
        for recent, poses in zip(self._recent, seen, strict=True):
            if poses is not None:
                recent.append(poses)
            while recent and recent[-1].stamp_ns - recent[0].stamp_ns > REMEMBERED_S * 1e9:
                recent.popleft()
        self._anybody |= people > 0
        self._ever_seeing |= set(seeing)
        self._seeing |= set(seeing)
        if people:
            self._node.solved("apart")
            self._count_anew()
        if people or len(seeing) < 2:
            self._disagree_since = None
        elif self._disagree_since is None:
            self._disagree_since = time.monotonic()

    def clocks(self, used_s: Sequence[float]) -> None:
        """Say once which cameras' stamps are off by how many seconds ``used_s``, as people's
        motion tells.
        """
        if self._corrected or not any(used_s):
            return
        self._corrected = True
        off = ", ".join(
            f"{camera.name} {1e3 * offset_s:+.0f} ms"
            for camera, offset_s in zip(self._inputs, used_s, strict=True)
        )
        self._node.get_logger().info(
            f"cameras' clocks differ, as people's motion tells; added to their stamps: {off} "
            f"('pose3d calibrate time' writes it into the rig file)"
        )

    def check(self, moved: Sequence[Displacement | None], out_of_step: Sequence[int]) -> None:
        """Say what is wrong now; ``moved`` as the calibration monitor tells of each camera, and
        indices of those ``out_of_step`` as the buffer tells.
        """
        self._check_number()
        self._check_moments()
        self._check_clocks(out_of_step)
        self._check_places(moved)
        self._check_agreement()
        self._check_anybody()

    def _check_number(self) -> None:
        live = [camera for camera in self._inputs if camera.alive]
        if len(live) != 1 or live[0].tells_depth:
            self._alone_since = time.monotonic()
            self._node.solved("views")
        elif time.monotonic() - self._alone_since > SILENCE_S:
            self._node.problem(
                "views",
                f"only camera {live[0].name} is heard: nobody new is found without a second one"
                + (
                    ""
                    if len(self._inputs) > 1
                    else ", and the rig has no other; for one camera there is the monocular node"
                ),
            )

    def _check_moments(self) -> None:
        """Cameras that are too slow, each at moments of its own, are seldom fused."""
        if time.monotonic() - self._counted_since <= APART_S:
            return
        depth = any(camera.tells_depth for camera in self._inputs)
        if len(self._seeing) > 1 and 2 * self._common < self._moments and not depth:
            limit_s = self._node.settings.max_latency_s
            self._node.problem(
                "apart",
                f"several cameras see people, and for {APART_S:g} s nobody was found: of most "
                "moments only one camera sent its poses within "
                + (f"max_latency_s ({limit_s:g} s)" if limit_s else f"{LONGEST_WAIT_S:g} s")
                + "; lower the images' rate to what the cameras' nodes manage"
                + (", or set max_latency_s to 0, which waits as they need" if limit_s else ""),
            )
        else:
            self._node.solved("apart")
        self._count_anew()

    def _count_anew(self) -> None:
        self._counted_since = time.monotonic()
        self._moments = self._common = 0  # of these, with poses of two cameras
        self._seeing: set[str] = set()

    def _check_clocks(self, out_of_step: Sequence[int]) -> None:
        for camera, offset_s in clock_offsets(self._inputs, out_of_step):
            if abs(offset_s) <= MAX_AGE_S:
                camera.in_time_at = time.monotonic()
                camera.solved("clock")
            elif time.monotonic() - camera.in_time_at > SILENCE_S:
                waits = not self._node.settings.max_latency_s and -LONGEST_WAIT_S < offset_s < 0
                camera.problem(
                    "clock",
                    f"its stamps are {abs(offset_s):.1f} s "
                    f"{'ahead of' if offset_s > 0 else 'behind'}"
                    f" the other cameras', "
                    + ("for which all wait" if waits else "so that its poses are not used")
                    + ": synchronise the clocks (chrony, PTP), or make its detector faster",
                )
            else:
                camera.solved("clock")

    def _check_places(self, moved: Sequence[Displacement | None]) -> None:
        if not any(moved):
            self._exchanged = None
        elif self._exchanged is None:
            self._exchanged = exchanged(*self._seen_by())
        for camera, displacement in zip(self._inputs, moved, strict=True):
            if displacement is None:
                camera.solved("moved")
                continue
            since = time.strftime("%H:%M:%S", time.localtime(displacement.since_ns * 1e-9))
            camera.problem(
                "moved",
                f"has moved, or its calibration is wrong: it sees people {displacement.px:.0f} px "
                f"from where the other cameras see them, since {since}; "
                + (self._exchanged or "run 'pose3d calibrate refine'"),
            )

    def _check_agreement(self) -> None:
        if self._disagree_since is None:
            self._node.solved("agreement")
            return
        now = time.monotonic()
        if now - self._disagree_since <= DISAGREEMENT_S:
            return
        if now - self._cause_at >= CAUSE_S:
            self._cause, self._cause_at = cause(*self._seen_by()), time.monotonic()
        self._node.problem(
            "agreement",
            f"several cameras see people, but for {DISAGREEMENT_S:g} s no two see the same: "
            f"{self._cause}",
        )

    def _seen_by(self) -> tuple[list[Camera], list[str], list[list[People2D]]]:
        """Cameras that are known, their names, and what they saw in the last seconds."""
        known = [
            (camera, camera_input.name, list(recent))
            for camera_input, recent in zip(self._inputs, self._recent, strict=True)
            if recent and (camera := camera_input.camera(recent[-1].stamp_ns)) is not None
        ]
        return [k[0] for k in known], [k[1] for k in known], [k[2] for k in known]

    def _check_anybody(self) -> None:
        """Note for /diagnostics, where cameras send and nobody was found since the start; not in
        the log, for a room may be empty.
        """
        now = time.monotonic()
        if not any(camera.alive for camera in self._inputs):
            self._heard_since = now
        if self._anybody:
            self._node.solved("nobody")
        elif now - self._heard_since > NOBODY_S:
            seeing = sorted(self._ever_seeing)
            cause = (
                f"only camera {seeing[0]} has seen anybody: two are needed, and their views must "
                f"overlap"
                if len(seeing) == 1
                else f"{len(seeing)} cameras have seen people, but no two the same: see whether "
                f"their views overlap and calibration and clocks are right"
                if seeing
                else "no camera has seen anybody: if somebody is there, see in their overlays "
                "whether the pictures are upright, bright and sharp"
            )
            self._node.problems["nobody"] = (
                f"nobody was found yet, in {now - self._heard_since:.0f} s of 2D poses: {cause}"
            )
