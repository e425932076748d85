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

"""Bundle adjustment of camera poses together with points, or with rigid boards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import csr_matrix
from scipy.spatial.transform import Rotation

from pose3d_ros.geometry import camera_pose
from pose3d_ros.multiview.rig import NEAR_M

MOVED_M = 0.02  # a camera whose pose changed by more was moved


@dataclass(frozen=True)
class PixelObservations:
    """N observations: undistorted ``pixels`` (N, 2) as of ``Rig``, the camera ``view`` (N,), the
    ``body`` (N,) they belong to, their position on it ``local_m`` (N, 3) (zeros for a point), and
    ``weight`` (N,) in 0..1.
    """

    pixels: np.ndarray
    view: np.ndarray
    body: np.ndarray
    local_m: np.ndarray
    weight: np.ndarray

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, rows: np.ndarray) -> PixelObservations:
        return PixelObservations(
            self.pixels[rows],
            self.view[rows],
            self.body[rows],
            self.local_m[rows],
            self.weight[rows],
        )


def apply_steps(camera_from_world: np.ndarray, by: np.ndarray) -> np.ndarray:
    """Cameras (C, 4, 4) turned by the rotation vectors ``by[:, :3]``, their centres shifted by
    ``by[:, 3:]`` metres; both in the cameras' own (new) axes.
    """
    turn = Rotation.from_rotvec(by[:, :3]).as_matrix()
    result: np.ndarray = camera_from_world.copy()
    result[:, :3] = turn @ camera_from_world[:, :3]
    result[:, :3, 3] += by[:, 3:]
    return result


def steps_between(camera_from_world: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Steps (C, 6) by which ``apply_steps`` gets ``camera_from_world`` to ``others`` (C, 4, 4)."""
    turn = others[:, :3, :3] @ camera_from_world[:, :3, :3].transpose(0, 2, 1)
    shift = others[:, :3, 3] - (turn @ camera_from_world[:, :3, 3:])[..., 0]
    return np.concatenate([Rotation.from_matrix(turn).as_rotvec(), shift], 1)


def adjust(
    camera_from_world: np.ndarray,
    focal_px: np.ndarray,
    world_from_body: np.ndarray,
    seen: PixelObservations,
    loss_px: float,
    given: np.ndarray,
    prior: tuple[float, float],
    rigid: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Camera poses (C, 4, 4) and body poses (B, 4, 4) of the smallest soft-L1 reprojection error.

    Bodies only move when they are not ``rigid`` (points), else they turn, too. ``prior``: how far
    cameras may be from the ``given`` poses (C, 4, 4), one standard deviation in metres and
    radians. Residuals beyond ``loss_px`` count linearly (Triggs et al., Bundle Adjustment, 2000).
    Pictures do not tell the world's frame, and those of points not the scale: see ``aligned``.
    """
    problem = _Problem(camera_from_world, focal_px, world_from_body, seen, given, prior, rigid)
    solved = least_squares(
        problem.residuals,
        np.zeros(problem.unknowns),
        problem.jacobian,
        method="trf",
        tr_solver="lsmr",
        loss="soft_l1",
        f_scale=loss_px,
        x_scale="jac",
        ftol=1e-7,
        xtol=1e-9,
        max_nfev=100,
    )
    cameras, bodies = problem.split(solved.x)
    return apply_steps(camera_from_world, cameras), _move_bodies(world_from_body, bodies)


def pose_uncertainty(
    camera_from_world: np.ndarray,
    focal_px: np.ndarray,
    world_from_point: np.ndarray,
    seen: PixelObservations,
    reach_m: float,
) -> np.ndarray:
    """Uncertainty (C, 2) of camera poses: one standard deviation of position in metres and of
    orientation in radians, if the errors of all pixels were independent, apart from the world's
    frame and scale.

    From the normal equations without the points (Schur complement) and without the seven
    directions that pictures do not tell, which are those of the smallest eigenvalues when a radian
    weighs as much as ``reach_m``.
    """
    problem = _Problem(
        camera_from_world,
        focal_px,
        world_from_point,
        seen,
        camera_from_world,
        (1.0, 1.0),
        rigid=False,
    )
    unknowns, rows = 6 * len(camera_from_world), 2 * len(seen)
    zero = np.zeros(problem.unknowns)
    jacobian, residuals = problem.jacobian(zero)[:rows], problem.residuals(zero)[:rows]
    by_camera, by_point = jacobian[:, :unknowns], jacobian[:, unknowns:]
    crossed = (by_point.T @ by_camera).toarray().reshape(-1, 3, unknowns)
    points = (by_point.T @ by_point).tobsr((3, 3)).data + 1e-9 * np.eye(3)
    normal = (by_camera.T @ by_camera).toarray() - np.einsum(
        "pia,pib->ab", crossed, np.linalg.solve(points, crossed)
    )
    scale = np.tile(np.repeat([1 / reach_m, 1.0], 3), len(camera_from_world))
    values, vectors = np.linalg.eigh(normal * scale[:, None] * scale)
    known = vectors[:, 7:] / np.sqrt(np.maximum(values[7:], 1e-12))
    noise = 1.4826 * np.median(np.abs(residuals)) * np.sqrt(rows / max(rows - problem.unknowns, 1))
    variance = ((known * scale[:, None]) ** 2).sum(1).reshape(-1, 2, 3).sum(-1) * noise**2
    return np.asarray(np.sqrt(variance[:, ::-1]))


def aligned(
    camera_from_world: np.ndarray, given: np.ndarray, reach_m: float, scale: bool
) -> np.ndarray:
    """The cameras (C, 4, 4) in the world, and with ``scale`` in the scale, in which they are
    nearest to ``given``.

    A camera is its centre and points at ``reach_m`` along its axes. Distances beyond ``MOVED_M``
    count linearly, so that one camera that was moved does not turn the world of all others.
    Umeyama's closed form (1991), reweighted.
    """
    tips = np.concatenate([np.zeros((1, 3)), reach_m * np.eye(3)])

    def points(poses: np.ndarray) -> np.ndarray:
        return np.asarray((tips - poses[:, None, :3, 3]) @ poses[:, :3, :3])

    source, target = points(camera_from_world), points(given)
    weight = np.ones(len(given))
    for _ in range(50):
        w = (weight / weight.sum())[:, None, None] / len(tips)
        middle, goal = (w * source).sum((0, 1)), (w * target).sum((0, 1))
        a, b = source - middle, target - goal
        u, spread, vt = np.linalg.svd(np.einsum("cki,ckj->ij", w * b, a))
        sign = np.array([1, 1, np.linalg.det(u @ vt)])
        turn = u * sign @ vt
        size = (spread * sign).sum() / (w * a * a).sum() if scale else 1.0
        away = np.linalg.norm(size * a @ turn.T - b, axis=-1).max(1)
        weight = 1 / np.maximum(away, MOVED_M)
    centre = size * (source[:, 0] - middle) @ turn.T + goal
    return camera_pose(camera_from_world[:, :3, :3] @ turn.T, centre)


def _move_bodies(world_from_body: np.ndarray, by: np.ndarray) -> np.ndarray:
    result: np.ndarray = world_from_body.copy()
    result[:, :3, :3] = Rotation.from_rotvec(by[:, :3]).as_matrix() @ result[:, :3, :3]
    result[:, :3, 3] += by[:, 3:]
    return result


class _Problem:
    """Residuals and their derivatives by the unknowns: steps (rotation, translation) of cameras,
    then of bodies.
    """

    def __init__(
        self,
        cameras: np.ndarray,
        focal_px: np.ndarray,
        bodies: np.ndarray,
        seen: PixelObservations,
        given: np.ndarray,
        prior: tuple[float, float],
        rigid: bool,
    ) -> None:
        self.cameras, self.bodies, self.seen, self.focal = (
            cameras,
            bodies,
            seen,
            focal_px[seen.view, None],
        )
        self.scale = np.sqrt(seen.weight)[:, None]
        self.prior = np.tile(1 / np.repeat([prior[1], prior[0]], 3), len(cameras))
        self.off = steps_between(given, cameras).ravel()
        self.free = 6 if rigid else 3
        self.unknowns = 6 * len(cameras) + self.free * len(bodies)
        count = len(seen)
        rows = np.repeat(np.arange(2 * count), 6 + self.free)
        columns = np.concatenate(
            [
                6 * seen.view[:, None] + np.arange(6),
                6 * len(cameras) + self.free * seen.body[:, None] + np.arange(self.free),
            ],
            1,
        )
        extra = np.arange(6 * len(cameras))
        self.rows = np.concatenate([rows, 2 * count + extra])
        self.columns = np.concatenate([np.repeat(columns, 2, 0).ravel(), extra])

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Steps of cameras (C, 6) and of bodies (B, 6); points do not turn."""
        cameras, bodies = np.split(x, [6 * len(self.cameras)])
        of_bodies = np.zeros((len(self.bodies), 6))
        of_bodies[:, 6 - self.free :] = bodies.reshape(-1, self.free)
        return cameras.reshape(-1, 6), of_bodies

    def _camera_points(
        self, x: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        cameras, bodies = self.split(x)
        arm = (
            _move_bodies(self.bodies, bodies)[self.seen.body, :3, :3]
            @ self.seen.local_m[..., None]
        )[..., 0]
        world = arm + self.bodies[self.seen.body, :3, 3] + bodies[self.seen.body, 3:]
        poses = apply_steps(self.cameras, cameras)[self.seen.view]
        point = (poses[:, :3, :3] @ world[..., None])[..., 0] + poses[:, :3, 3]
        point[:, 2] = np.maximum(point[:, 2], NEAR_M)
        return point, arm, poses[:, :3, :3], cameras

    def residuals(self, x: np.ndarray) -> np.ndarray:
        """(2 N + 6 C,): reprojection in pixels, and the cameras' steps in standard deviations of
        the prior.
        """
        point = self._camera_points(x)[0]
        away = (self.focal * point[:, :2] / point[:, 2:] - self.seen.pixels) * self.scale
        return np.concatenate([away.ravel(), (x[: len(self.off)] + self.off) * self.prior])

    def jacobian(self, x: np.ndarray) -> csr_matrix:
        """Derivative of ``residuals``."""
        point, arm, rotation, cameras = self._camera_points(x)
        bodies = self.split(x)[1]
        by_point = np.zeros((len(point), 2, 3))
        by_point[:, 0, 0] = by_point[:, 1, 1] = (self.focal * self.scale / point[:, 2:])[:, 0]
        by_point[:, :, 2] = -self.focal * self.scale * point[:, :2] / point[:, 2:] ** 2
        turned = point - cameras[self.seen.view, 3:]
        blocks = [
            by_point @ -_cross(turned) @ _left_jacobian(cameras[:, :3])[self.seen.view],
            by_point,
        ]
        by_world = by_point @ rotation
        if self.free == 6:
            blocks.append(by_world @ -_cross(arm) @ _left_jacobian(bodies[:, :3])[self.seen.body])
        values = np.concatenate([*blocks, by_world], 2)
        return csr_matrix(
            (np.concatenate([values.ravel(), self.prior]), (self.rows, self.columns)),
            (2 * len(point) + len(self.prior), self.unknowns),
        )


def _cross(v: np.ndarray) -> np.ndarray:
    """(N, 3, 3) matrices whose product with u is the cross product of v (N, 3) and u."""
    zero = np.zeros(len(v))
    x, y, z = v.T
    return np.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(-1, 3, 3)


def _left_jacobian(v: np.ndarray) -> np.ndarray:
    """Left Jacobian (N, 3, 3) of SO(3) at vectors v (N, 3) (Sola et al., 2018, (145))."""
    angle = np.maximum(np.linalg.norm(v, axis=1), 1e-6)[:, None, None]
    k = _cross(v)
    jacobian: np.ndarray = (
        np.eye(3)
        + (1 - np.cos(angle)) / angle**2 * k
        + (angle - np.sin(angle)) / angle**3 * (k @ k)
    )
    return jacobian
