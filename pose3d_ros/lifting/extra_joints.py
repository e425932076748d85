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

"""The extra joints of ``skeleton.BODY30``, of face, hands and feet: a small network of one frame
that hangs them onto a lifted pose of Human3.6M's 17.

What it is told of each is how far its keypoint is from that of its anchor (head, wrist or ankle),
in metres at the anchor's distance; what it answers is mostly how much further away it is. A body
30 cm taller is the same to it: lengths are in units of the body's mean bone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pose3d_ros.geometry import CAMERA_DOWN, look_along
from pose3d_ros.inference import Engine, load
from pose3d_ros.lifting.lifter import LiftedPoses
from pose3d_ros.model_store.store import locate
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import BODY30, EXTRA_JOINTS, H36M17, anchors

MODEL = "lifter-extra-joints"
ANCHORS = anchors(BODY30)[len(H36M17) :]
"""(13,) joints of Human3.6M's 17 that the extra ones hang from."""
MEAN_BONE_M = 0.25  # of a body of 1.70 m: the unit of length is four of them
FARTHEST = 0.6  # of an extra joint's keypoint from its anchor's; what is further is wrong
NEAREST_M = 0.1


@dataclass(frozen=True)
class ExtraInputs:
    """What the network is told of P people, in the axes of a virtual camera that looks at the
    root (``rotation`` (P, 3, 3) from the camera), in units of ``unit_m`` (P,).

    ``body`` (P, 17, 3): the lifted pose. ``points`` (P, 13, 3): x and y from the anchor's
    keypoint to that of each extra joint, and its confidence; zeros where it is not seen.
    ``slopes`` (P, 13, 2): how x and y change along the joint's line of sight.
    """

    body: np.ndarray
    points: np.ndarray
    slopes: np.ndarray
    unit_m: np.ndarray
    rotation: np.ndarray

    @classmethod
    def of(
        cls,
        joints_m: np.ndarray,
        root_m: np.ndarray,
        rays: np.ndarray,
        confidence: np.ndarray,
    ) -> ExtraInputs:
        """Of poses (P, 17, 3) relative to roots (P, 3) in the camera's axes, with rays (P, 30, 2)
        and confidence (P, 30), 0 where a keypoint is not to be used.
        """
        unit_m = units_m(joints_m)
        rotation = look_along(root_m, CAMERA_DOWN)
        turned = np.swapaxes(rotation, -1, -2)
        body = joints_m @ turned
        placed = (joints_m + root_m[:, None])[:, ANCHORS] @ turned
        depth_m = np.maximum(placed[..., 2:], NEAREST_M)
        seen = (confidence > 0) & np.isfinite(rays).all(-1)
        sight = np.concatenate(
            [np.where(seen[..., None], rays, 0), np.ones_like(rays[..., :1])], 2
        )
        sight = sight @ turned
        sight = sight[..., :2] / np.maximum(sight[..., 2:], NEAREST_M)
        own, seen_own = sight[:, len(H36M17) :], seen[:, len(H36M17) :]
        anchor = np.where(seen[:, ANCHORS, None], sight[:, ANCHORS], placed[..., :2] / depth_m)
        apart = (own - anchor) * depth_m / unit_m[:, None, None]
        seen_own &= (np.abs(apart) < FARTHEST).all(-1)
        points = np.concatenate([apart, confidence[:, len(H36M17) :, None]], -1)
        return cls(
            (body / unit_m[:, None, None]).astype(np.float32),
            np.where(seen_own[..., None], points, 0).astype(np.float32),
            np.where(seen_own[..., None], own, anchor).astype(np.float32),
            unit_m,
            rotation,
        )


def units_m(joints_m: np.ndarray) -> np.ndarray:
    """The unit of length (P,) of bodies (P, 17, 3): a metre where the mean bone is as long as
    that of somebody of 1.70 m.
    """
    bones = joints_m[:, H36M17.limb_indices[:, 1]] - joints_m[:, H36M17.limb_indices[:, 0]]
    mean = np.linalg.norm(bones, axis=-1).mean(1) / MEAN_BONE_M
    return np.asarray(np.where(mean > NEAREST_M, mean, 1.0))


class ExtraJoints:
    """Hangs the extra joints onto lifted poses."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @classmethod
    def create(cls, settings: PipelineSettings) -> ExtraJoints:
        """With the shipped network. Raises ``ModelError`` or ``EngineError``."""
        precision = "auto" if settings.precision in ("bf16", "int8") else settings.precision
        return cls(
            load(
                locate(MODEL),
                settings.engine,
                settings.threads,
                precision=precision,
                max_people=settings.max_people,
            )
        )

    def __call__(
        self,
        poses: LiftedPoses,
        root_m: np.ndarray,
        rays: np.ndarray,
        confidence: np.ndarray,
    ) -> LiftedPoses:
        """Poses of body30, of those of Human3.6M's 17 at their roots (P, 3) in the camera's axes.

        ``rays`` (P, 30, 2) with ``confidence`` (P, 30), 0 where a keypoint is not to be used: that
        joint is guessed from the pose, and its sigma tells so.
        """
        known = np.isfinite(root_m).all(1)  # others are placed nowhere
        people = len(poses.joints_m)
        joints_m = np.full((people, len(EXTRA_JOINTS), 3), np.nan, np.float32)
        sigma_m = np.full(joints_m.shape[:2], np.nan, np.float32)
        if known.any():
            inputs = ExtraInputs.of(
                poses.joints_m[known], root_m[known], rays[known], confidence[known]
            )
            answer = self._engine({"body": inputs.body, "points": inputs.points})["extra_joints"]
            offsets = answer[..., :3] * inputs.unit_m[:, None, None]
            offsets[..., :2] += inputs.points[..., :2] * inputs.unit_m[:, None, None]
            offsets[..., :2] += inputs.slopes * offsets[..., 2:]
            joints_m[known] = poses.joints_m[known][:, ANCHORS] + offsets @ inputs.rotation
            own_m = np.exp(answer[..., 3]) * inputs.unit_m[:, None]
            sigma_m[known] = np.hypot(poses.sigma_m[known][:, ANCHORS], own_m)
        return LiftedPoses(
            np.concatenate([poses.joints_m, joints_m], 1),
            np.concatenate([poses.sigma_m, sigma_m], 1),
        )

    def close(self) -> None:
        """Release the engine."""
        self._engine.close()
