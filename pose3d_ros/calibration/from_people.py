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

"""Extrinsics refined from people who walk through the rig: bundle adjustment on 2D poses alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse.csgraph import connected_components

from pose3d_ros.calibration.bundle_adjustment import (
    PixelObservations,
    adjust,
    aligned,
    pose_uncertainty,
    steps_between,
)
from pose3d_ros.calibration.people_matching import (
    GATE_FACTOR,
    INITIAL_GATE_M,
    LIMB_JOINTS,
    MIN_GATE_M,
    Poses2D,
    match_people,
)
from pose3d_ros.camera import Camera
from pose3d_ros.errors import CalibrationError
from pose3d_ros.multiview.rig import Rig
from pose3d_ros.multiview.triangulation import triangulate_linear

PRIOR = (0.3, 0.1)  # one standard deviation of the given poses in metres and radians
REACH_M = 3.0  # distance of people from cameras, at which radians are compared with metres
MAX_POSITION_SIGMA_M = 0.1  # a camera known worse is not determined
ROUNDS = 8  # of matching and adjusting
CONVERGED = (2e-4, 2e-5)  # metres and radians that no camera moves by in the last round
MIN_LOSS_PX = 2.0
BLOCKS, HELD_OUT_EVERY = 10, 3  # the recording is cut into blocks, every third is held out
MIN_FRAMES = 20  # with somebody matched, per camera
MIN_POSES = 5  # that differ, per camera, else the person stood still
POSE_M = 0.1  # mean distance of joints by which poses differ
MAX_OBSERVATIONS = 30000  # frames beyond that are left out: slower and no better
# Least reduction of the error on frames held out: in simulations of a detector that is 15 to 25 mm
# off, differently from each side, a rig that gains less locates people no better than the given.
MIN_GAIN = 0.05


@dataclass(frozen=True)
class Errors:
    """Reprojection of triangulated joints in undistorted pixels, over ``observations`` joints in
    single views.
    """

    median_px: float
    p90_px: float
    observations: int


@dataclass(frozen=True)
class Refinement:
    """Refined cameras, and errors on frames ``used`` and ``held_out``, with the given cameras and
    the refined ones.

    Per camera (C,): ``moved_mm``, ``turned_deg``, and the uncertainty of both, ``sigma_mm`` and
    ``sigma_deg``: one standard deviation if errors in different frames were independent; the truth
    is rather worse. ``scale``: factor of distances that fits the known bone.
    """

    cameras: tuple[Camera, ...]
    used: tuple[Errors, Errors]
    held_out: tuple[Errors, Errors]
    moved_mm: np.ndarray
    turned_deg: np.ndarray
    sigma_mm: np.ndarray
    sigma_deg: np.ndarray
    frames: int
    people: int
    scale: float = 1.0

    @property
    def better(self) -> bool:
        """Whether frames that were held out are explained better, and not by leaving more of them
        out.
        """
        before, after = self.held_out
        return (
            after.median_px < (1 - MIN_GAIN) * before.median_px
            and after.observations > 0.9 * before.observations
        )


def refine(
    cameras: Sequence[Camera],
    names: Sequence[str],
    poses: Poses2D,
    bone: tuple[str, str, float] | None = None,
    say: Callable[[str], object] = lambda _: None,
) -> Refinement:
    """Adjust the cameras' poses; frame and scale, which images do not determine, stay as given.

    ``bone``: two joints of ``LIMB_JOINTS`` and their distance in metres, where the rig's scale is
    not to be trusted. ``say`` is told what is being done. Raises ``CalibrationError`` when the
    recording does not determine the cameras, and says why.
    """
    given = Rig.of(cameras)
    if len(given) < 2:
        raise CalibrationError(
            "expected at least two cameras that see the same people, got one: its place cannot "
            "be seen from its own pictures"
        )
    frames = np.unique(poses.frame)
    block = np.searchsorted(frames, poses.frame) * BLOCKS // max(len(frames), 1)
    held = block % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    rig, gate_m = given, np.full((len(given), len(given)), INITIAL_GATE_M)
    for number in range(1, ROUNDS + 1):
        person, gate_m = _match(rig, poses[~held], gate_m)
        chosen, points = _pixel_observations(rig, poses[~held], person)
        _check_determined(names, poses[~held], person, points)
        median_px = _errors(rig, poses[~held], person).median_px
        loss_px = max(MIN_LOSS_PX, median_px)
        say(
            f"round {number} of at most {ROUNDS}: {len(points)} joints, "
            f"{median_px:.1f} px from where the cameras have them together"
        )
        bodies = np.tile(np.eye(4), (len(points), 1, 1))
        bodies[:, :3, 3] = points[:, 2:]
        before = _poses(rig)
        after, bodies = adjust(
            before, rig.focal_px, bodies, chosen, loss_px, _poses(given), PRIOR, rigid=False
        )
        sigma = pose_uncertainty(after, rig.focal_px, bodies, chosen, REACH_M)
        after = aligned(after, _poses(given), REACH_M, scale=True)
        rig = Rig.of(
            [
                replace(camera, camera_from_world=pose)
                for camera, pose in zip(cameras, after, strict=True)
            ]
        )
        by = steps_between(before, after)
        if (
            np.linalg.norm(by[:, 3:], axis=1).max() < CONVERGED[0]
            and np.linalg.norm(by[:, :3], axis=1).max() < CONVERGED[1]
        ):
            break
    unknown = [
        f"{name} {metres * 1e3:.0f} mm"
        for name, metres in zip(names, sigma[:, 0], strict=True)
        if not metres < MAX_POSITION_SIGMA_M
    ]
    if unknown:
        raise CalibrationError(
            f"the people's places do not tell where cameras are: known to {', '.join(unknown)}, "
            f"expected {MAX_POSITION_SIGMA_M * 1e3:.0f} mm: walk through all of the room, near "
            f"and far, and record longer"
        )
    scale = 1.0
    if bone is not None:
        scale = bone[2] / _bone_length(points, bone)
        rig = Rig.of([_scaled(camera, scale) for camera in rig.cameras])
    by = steps_between(_poses(given), _poses(rig))

    def errors(part: np.ndarray) -> tuple[Errors, Errors]:
        initial_m = np.full(gate_m.shape, INITIAL_GATE_M)
        return (
            _errors(given, poses[part], _match(given, poses[part], initial_m)[0]),
            _errors(rig, poses[part], _match(rig, poses[part], initial_m)[0]),
        )

    return Refinement(
        rig.cameras,
        errors(~held),
        errors(held),
        np.linalg.norm(by[:, 3:], axis=1) * 1e3,
        np.degrees(np.linalg.norm(by[:, :3], axis=1)),
        sigma[:, 0] * 1e3,
        np.degrees(sigma[:, 1]),
        len(np.unique(poses.frame[~held][person >= 0])),
        len(np.unique(person[person >= 0])),
        scale,
    )


def _poses(rig: Rig) -> np.ndarray:
    return np.stack([camera.camera_from_world for camera in rig.cameras])


def _match(rig: Rig, poses: Poses2D, gate_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Persons (N,) and the gates (C, C) that fit the rig's accuracy, not wider than ``gate_m``."""
    usual_m = match_people(rig, poses, gate_m)[1]
    gate_m = np.minimum(gate_m, np.maximum(MIN_GATE_M, GATE_FACTOR * usual_m))
    return match_people(rig, poses, gate_m)[0], gate_m


def _pixel_observations(
    rig: Rig, poses: Poses2D, person: np.ndarray
) -> tuple[PixelObservations, np.ndarray]:
    """Observations of joints, and the points (M, 5) they belong to: person, joint, x, y, z."""
    members = np.flatnonzero(person >= 0)
    if (thin := len(members) * len(LIMB_JOINTS) // MAX_OBSERVATIONS + 1) > 1:
        frames = np.unique(poses.frame[members])[::thin]
        members = members[np.isin(poses.frame[members], frames)]
    people, who = np.unique(person[members], return_inverse=True)
    pixels = np.zeros((len(people), len(LIMB_JOINTS), len(rig), 2))
    weight = np.zeros(pixels.shape[:3])
    pixels[who, :, poses.view[members]] = poses.pixels[members]
    weight[who, :, poses.view[members]] = poses.weight[members]
    weight[(weight > 0).sum(-1) < 2] = 0
    known = weight.any(-1)
    pixels, weight = pixels[known], weight[known]
    points = triangulate_linear(rig, pixels, weight) if len(pixels) else np.zeros((0, 3))
    body, view = np.nonzero(weight)
    chosen = PixelObservations(
        pixels[body, view], view, body, np.zeros((len(body), 3)), weight[body, view]
    )
    row, joint = np.nonzero(known)
    return chosen, np.concatenate([people[row][:, None], joint[:, None], points], 1)


def _errors(rig: Rig, poses: Poses2D, person: np.ndarray) -> Errors:
    """Reprojection of joints triangulated from all their views."""
    chosen, points = _pixel_observations(rig, poses, person)
    if not len(points):
        return Errors(np.inf, np.inf, 0)
    pixels, _ = rig.project_by_point(points[:, 2:])
    away = np.linalg.norm(pixels[chosen.body, chosen.view] - chosen.pixels, axis=1)
    return Errors(float(np.median(away)), float(np.quantile(away, 0.9)), len(away))


def _check_determined(
    names: Sequence[str], poses: Poses2D, person: np.ndarray, points: np.ndarray
) -> None:
    """Raise ``CalibrationError`` unless every camera shares enough frames, and enough different
    poses, with the others.
    """
    for view, name in enumerate(names):
        mine = (person >= 0) & (poses.view == view)
        frames = len(np.unique(poses.frame[mine]))
        if frames < MIN_FRAMES:
            raise CalibrationError(
                f"camera {name}: {frames} frames show somebody whom another camera sees too, "
                f"expected at least {MIN_FRAMES}: record longer, or the given extrinsics are too "
                "far off for this ('pose3d calibrate extrinsics' starts from nothing)"
            )
        different = _different_poses(points[np.isin(points[:, 0], person[mine])])
        if different < MIN_POSES:
            raise CalibrationError(
                f"camera {name}: people hardly move ({different} poses that differ by {POSE_M:g} "
                f"m, expected {MIN_POSES}): this does not tell where the camera is; walk through "
                "the room"
            )
    together = np.zeros((len(names), len(names)))
    for row in np.unique(person[person >= 0]):
        views = poses.view[person == row]
        together[np.ix_(views, views)] += 1
    groups = connected_components(together >= MIN_FRAMES)[1]
    if groups.max():
        parts = [
            " ".join(n for n, g in zip(names, groups, strict=True) if g == k)
            for k in range(groups.max() + 1)
        ]
        raise CalibrationError(
            f"cameras {' / '.join(parts)} never see the same people: nothing tells where they "
            "are to each other; walk where both see you"
        )


def _different_poses(points: np.ndarray) -> int:
    """How many of the people (M, 5) differ by ``POSE_M`` from each other; stops counting at
    ``MIN_POSES``.
    """
    people, row = np.unique(points[:, 0], return_inverse=True)
    joints = np.full((len(people), len(LIMB_JOINTS), 3), np.nan)
    joints[row, points[:, 1].astype(int)] = points[:, 2:]
    different: list[np.ndarray] = []
    for pose in joints:
        away = [np.linalg.norm(pose - other, axis=-1) for other in different]
        shared = [a[np.isfinite(a)] for a in away]
        if all(len(a) >= 4 and a.mean() > POSE_M for a in shared):
            different.append(pose)
        if len(different) == MIN_POSES:
            break
    return len(different)


def _bone_length(points: np.ndarray, bone: tuple[str, str, float]) -> float:
    """Median length of a bone over all people in metres."""
    ends = [
        {int(row[0]): row[2:] for row in points[points[:, 1] == LIMB_JOINTS.index(joint)]}
        for joint in bone[:2]
    ]
    lengths = [
        np.linalg.norm(ends[0][person] - ends[1][person])
        for person in ends[0].keys() & ends[1].keys()
    ]
    if not lengths:
        raise CalibrationError(
            f"no frame shows both {bone[0]} and {bone[1]} to two cameras: choose another bone"
        )
    return float(np.median(lengths))


def _scaled(camera: Camera, scale: float) -> Camera:
    """Distances from the world's origin multiplied by ``scale``: the floor stays at zero."""
    pose = camera.camera_from_world.copy()
    pose[:3, 3] *= scale
    return replace(camera, camera_from_world=pose)
