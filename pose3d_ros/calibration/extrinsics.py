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

"""Poses of cameras from a board that several of them see in the same moments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree
from scipy.spatial.transform import Rotation

from pose3d_ros.calibration.board_images import BoardDetections, BoardImages
from pose3d_ros.calibration.boards import MIN_CORNERS, Board, Corners
from pose3d_ros.calibration.bundle_adjustment import PixelObservations, adjust
from pose3d_ros.camera import Camera
from pose3d_ros.errors import CalibrationError
from pose3d_ros.geometry import rigid, rotation_from_vector
from pose3d_ros.multiview.rig import Rig

PRIOR = (1.0, 0.5)  # metres and radians: weak, it only holds the world's frame
ROUNDS = 3
AGREEMENT = (0.1, 0.1)  # radians, share of the distance: relative poses that differ by less agree
BAD_MOMENT = 4.0  # times the median error: the board moved while cameras looked at other times
MIN_LOSS_PX = 0.5
MAX_MOMENTS = 200


@dataclass(frozen=True)
class BoardObservation:
    """Corners of the board that ``camera`` (index) saw in ``moment`` (index)."""

    camera: int
    moment: int
    corners: Corners


@dataclass(frozen=True)
class Extrinsics:
    """Cameras in the first camera's frame, boards (M, 4, 4) of the ``moments`` (M,) that were
    used, and per camera the reprojection errors of the corners in pixels. ``dropped``: moments
    that did not fit.
    """

    cameras: dict[str, Camera]
    world_from_board: np.ndarray
    moments: np.ndarray
    errors_px: dict[str, np.ndarray]
    dropped: int

    def at_board(self, moment: int) -> Extrinsics:
        """The same with the world at the board of that moment, or of the nearest one that was
        used: z out of its printed side, up when it lies on the floor.
        """
        return self._moved(self.world_from_board[int(np.abs(self.moments - moment).argmin())])

    def at_camera(self, name: str) -> Extrinsics:
        """The same with the world at a camera's optical frame."""
        return self._moved(np.linalg.inv(self.cameras[name].camera_from_world))

    def _moved(self, old_from_new: np.ndarray) -> Extrinsics:
        cameras = {
            name: replace(camera, camera_from_world=camera.camera_from_world @ old_from_new)
            for name, camera in self.cameras.items()
        }
        return replace(
            self,
            cameras=cameras,
            world_from_board=np.linalg.inv(old_from_new) @ self.world_from_board,
        )


def common_indices(pictures: Sequence[BoardImages]) -> list[list[int]]:
    """Indices of the images of each camera that belong to the same moments: the same time in
    videos, the same place in the order of files.

    Raises ``CalibrationError`` for videos mixed with files, and for different numbers of files.
    """
    if len({p.video for p in pictures}) > 1:
        raise CalibrationError("expected videos of all cameras or images of all cameras, not both")
    counts = {p.name: p.count for p in pictures}
    if not pictures[0].video and len(set(counts.values())) > 1:
        raise CalibrationError(
            f"expected as many images of every camera, taken in the same moments, got "
            f"{', '.join(f'{n} of {name}' for name, n in counts.items())}"
        )
    end_s = min(p.times_s[-1] for p in pictures)
    period_s = max(
        (float(np.median(np.diff(p.times_s))) for p in pictures if p.count > 1), default=1
    )
    times_s = np.linspace(0, end_s, min(int(end_s / period_s + 1e-6) + 1, MAX_MOMENTS))
    nearest = [_nearest(p.times_s, times_s) for p in pictures]
    # A moment of which a camera has no picture, because it left some out, is no moment of all.
    apart_s = [np.abs(p.times_s[i] - times_s) for p, i in zip(pictures, nearest, strict=True)]
    common = np.all([apart <= 0.5 * period_s + 1e-6 for apart in apart_s], axis=0)
    return [i[common].tolist() for i in nearest]


def _nearest(rising: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """Index of the nearest of some rising numbers for each value."""
    after = np.searchsorted(rising, values).clip(0, len(rising) - 1)
    before = (after - 1).clip(0)
    return np.where(values - rising[before] <= rising[after] - values, before, after)


def board_observations(
    views: Sequence[BoardDetections], indices: Sequence[Sequence[int]]
) -> list[BoardObservation]:
    """Observations per camera and moment, from the boards that were detected."""
    place = [{index: moment for moment, index in enumerate(row)} for row in indices]
    return [
        BoardObservation(c, place[c][i], corners)
        for c, view in enumerate(views)
        for i, corners in zip(view.indices, view.corners, strict=True)
    ]


def calibrate(
    cameras: Mapping[str, Camera], board: Board, seen: Sequence[BoardObservation]
) -> Extrinsics:
    """Poses of cameras whose intrinsics are known: by PnP over a tree of shared views, then bundle
    adjustment of cameras and boards. Raises ``CalibrationError`` when cameras share no view, or
    the board looks alike from two ends.
    """
    names = list(cameras)
    if board.ambiguous:
        raise CalibrationError(
            f"the {board} looks the same upside down, so that cameras may disagree: use a board "
            f"with an "
            f"odd number of corners on one side and an even one on the other, or a ChArUco board"
        )
    seen = [_within_lens(cameras[names[s.camera]], s) for s in seen]
    poses = [_board_poses(cameras[names[s.camera]], board, s.corners) for s in seen]
    start = _initial_poses(names, seen, poses)
    rig = Rig.of(
        [
            replace(cameras[name], camera_from_world=pose)
            for name, pose in zip(names, start, strict=True)
        ]
    )
    moments = np.unique([s.moment for s in seen])
    boards = _boards(rig, board, seen, poses, moments)
    corners, given, consistent = (
        _pixel_observations(rig, board, seen, moments),
        start,
        np.ones(len(moments), bool),
    )
    for _ in range(ROUNDS):
        away = _errors(rig, boards, corners)
        usual = [np.median(away[corners.body == m]) for m in range(len(moments))]
        consistent = np.asarray(usual) <= BAD_MOMENT * np.median(usual) + MIN_LOSS_PX
        used = corners[consistent[corners.body]]
        loss_px = max(MIN_LOSS_PX, float(np.median(away)))
        poses_now = np.stack([camera.camera_from_world for camera in rig.cameras])
        after, boards = adjust(
            poses_now, rig.focal_px, boards, used, loss_px, given, PRIOR, rigid=True
        )
        rig = Rig.of(
            [
                replace(c, camera_from_world=pose)
                for c, pose in zip(rig.cameras, after, strict=True)
            ]
        )
    away = _errors(rig, boards, corners)
    errors = {
        name: away[(corners.view == c) & consistent[corners.body]] for c, name in enumerate(names)
    }
    absent = [name for name, error in errors.items() if not len(error)]
    if absent:
        raise CalibrationError(
            f"cameras {' '.join(absent)}: what they saw of the board does not fit the others: "
            "are the recordings of the same moments, and the intrinsics right?"
        )
    result = Extrinsics(
        dict(zip(names, rig.cameras, strict=True)),
        boards[consistent],
        moments[consistent],
        errors,
        int((~consistent).sum()),
    )
    return result.at_camera(names[0])


def reprojection(
    cameras: Mapping[str, Camera], board: Board, seen: Sequence[BoardObservation]
) -> dict[str, np.ndarray]:
    """Reprojection errors in pixels per camera of a rig calibrated before, with each moment's
    board where it fits best.
    """
    rig = Rig.of(list(cameras.values()))
    moments = np.unique([s.moment for s in seen])
    corners = _pixel_observations(rig, board, seen, moments)
    boards = _boards(
        rig,
        board,
        seen,
        [_board_poses(rig.cameras[s.camera], board, s.corners) for s in seen],
        moments,
    )
    held = np.stack([camera.camera_from_world for camera in rig.cameras])
    _, boards = adjust(
        held, rig.focal_px, boards, corners, MIN_LOSS_PX, held, (1e-7, 1e-7), rigid=True
    )
    away = _errors(rig, boards, corners)
    return {name: away[corners.view == c] for c, name in enumerate(cameras)}


def _boards(
    rig: Rig,
    board: Board,
    seen: Sequence[BoardObservation],
    poses: Sequence[list[np.ndarray]],
    moments: np.ndarray,
) -> np.ndarray:
    """Initial world_from_board (M, 4, 4)."""
    pairs = list(zip(seen, poses, strict=True))
    return np.stack(
        [_best_board(rig, board, [pair for pair in pairs if pair[0].moment == m]) for m in moments]
    )


def _within_lens(camera: Camera, seen: BoardObservation) -> BoardObservation:
    """The observation without corners that have no ray. ``CalibrationError`` when few are left."""
    inside = np.isfinite(camera.rays(seen.corners.pixels)).all(1)
    if inside.all():
        return seen
    if inside.sum() < MIN_CORNERS:
        raise CalibrationError(
            f"a board lies where the lens model of camera {camera.frame_id} shows nothing: "
            f"calibrate its intrinsics with boards in the image's corners"
        )
    corners = Corners(seen.corners.ids[inside], seen.corners.pixels[inside])
    return replace(seen, corners=corners)


def _board_poses(camera: Camera, board: Board, corners: Corners) -> list[np.ndarray]:
    """camera_from_board (4, 4), the better of a plane's two solutions first (Collins and Bartoli's
    IPPE).
    """
    rays = camera.rays(corners.pixels)
    _, turns, shifts, _ = cv2.solvePnPGeneric(
        board.points_m[corners.ids], rays, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
    )
    return [
        rigid(rotation_from_vector(turn), shift.ravel())
        for turn, shift in zip(turns, shifts, strict=True)
    ]


def _initial_poses(
    names: Sequence[str], seen: Sequence[BoardObservation], poses: Sequence[list[np.ndarray]]
) -> np.ndarray:
    """camera_from_first (C, 4, 4) over the tree of the pairs that agree on most shared views."""
    count = len(names)
    votes, relative = np.zeros((count, count)), np.tile(np.eye(4), (count, count, 1, 1))
    for a in range(count):
        at_a = {s.moment: p for s, p in zip(seen, poses, strict=True) if s.camera == a}
        for b in range(a + 1, count):
            pairs = [
                q @ np.linalg.inv(p)
                for s, found in zip(seen, poses, strict=True)
                if s.camera == b and s.moment in at_a
                for p in at_a[s.moment]
                for q in found
            ]
            if pairs:
                relative[b, a], votes[a, b] = _consensus_pose(np.stack(pairs))
                relative[a, b] = np.linalg.inv(relative[b, a])
    parts, label = connected_components(votes, directed=False)
    if parts > 1:
        groups = " / ".join(
            " ".join(n for n, g in zip(names, label, strict=True) if g == k) for k in range(parts)
        )
        raise CalibrationError(
            f"cameras {groups} never see the board in the same moment: nothing tells where they "
            f"are to "
            f"each other; show the board where both see it, and start the recordings together"
        )
    tree = minimum_spanning_tree(np.where(votes > 0, 1 / np.maximum(votes, 1), 0))
    order, before = breadth_first_order(tree, 0, directed=False)
    result = np.tile(np.eye(4), (count, 1, 1))
    for c in order[1:]:
        result[c] = relative[c, before[c]] @ result[before[c]]
    return result


def _consensus_pose(poses: np.ndarray) -> tuple[np.ndarray, int]:
    """Pose (4, 4) among (N, 4, 4) that most others are close to, and how many are."""
    turns = Rotation.from_matrix(poses[:, :3, :3])
    distance = np.linalg.norm(poses[:, :3, 3], axis=1)
    agreeing = np.zeros(len(poses), int)
    for i, pose in enumerate(poses):
        angle = (turns * turns[i].inv()).magnitude()
        apart = np.linalg.norm(poses[:, :3, 3] - pose[:3, 3], axis=1)
        agreeing[i] = (
            (angle < AGREEMENT[0]) & (apart < AGREEMENT[1] * np.maximum(distance[i], 0.1))
        ).sum()
    return poses[agreeing.argmax()], int(agreeing.max())


def _best_board(
    rig: Rig, board: Board, seen: Sequence[tuple[BoardObservation, list[np.ndarray]]]
) -> np.ndarray:
    """world_from_board (4, 4) of one moment: the solution of a camera that the others agree with
    most.
    """
    candidates = np.stack(
        [
            np.linalg.inv(rig.cameras[s.camera].camera_from_world) @ pose
            for s, poses in seen
            for pose in poses
        ]
    )
    corners = _pixel_observations(rig, board, [replace(s, moment=0) for s, _ in seen], np.zeros(1))
    errors = [np.median(_errors(rig, candidate[None], corners)) for candidate in candidates]
    return np.asarray(candidates[int(np.argmin(errors))])


def _pixel_observations(
    rig: Rig, board: Board, seen: Sequence[BoardObservation], moments: np.ndarray
) -> PixelObservations:
    view = np.concatenate([np.full(len(s.corners.ids), s.camera) for s in seen])
    body = np.concatenate(
        [np.full(len(s.corners.ids), np.searchsorted(moments, s.moment)) for s in seen]
    )
    pixels = rig.undistort(np.concatenate([s.corners.pixels for s in seen]), view)
    local = board.points_m[np.concatenate([s.corners.ids for s in seen])]
    return PixelObservations(pixels, view, body, local, np.ones(len(view)))


def _errors(rig: Rig, world_from_board: np.ndarray, corners: PixelObservations) -> np.ndarray:
    """Reprojection errors (N,) of corners in undistorted pixels."""
    boards = world_from_board[corners.body]
    points = (boards[:, :3, :3] @ corners.local_m[..., None])[..., 0] + boards[:, :3, 3]
    pixels, _ = rig.project_by_point(points)
    return np.asarray(
        np.linalg.norm(pixels[np.arange(len(corners)), corners.view] - corners.pixels, axis=1)
    )
