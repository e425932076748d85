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

"""2D poses of a recording, matched between cameras while the rig's calibration is uncertain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.sparse.csgraph import connected_components

from pose3d_ros.calibration import recorded_keypoints
from pose3d_ros.camera import Camera
from pose3d_ros.errors import CalibrationError
from pose3d_ros.io.bags import is_bag
from pose3d_ros.io.npz import read_npz
from pose3d_ros.multiview.rig import NEAR_M, Rig
from pose3d_ros.multiview.triangulation import closest_approach
from pose3d_ros.skeleton import H36M17, SKELETONS, Skeleton

# Detectors locate these on the body from all sides, unlike eyes, ears and toes.
_LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
LIMB_JOINTS = tuple(f"{side}_{name}" for side in "lr" for name in _LIMBS)
# Rays of one person's joints pass each other within this, also in a rig that was moved by hand,
INITIAL_GATE_M = 0.5
MIN_GATE_M = 0.1  # and not closer than this in a perfect one, for the detector's errors.
GATE_FACTOR = 4.0  # of the median distance
RATIO = 1.5  # the second nearest must be further away by this factor, else the match is ambiguous
MIN_JOINTS = 4


@dataclass(frozen=True)
class Poses2D:
    """N recorded 2D poses: undistorted ``pixels`` (N, 12, 2) as of ``Rig`` of ``LIMB_JOINTS``,
    ``weight`` (N, 12) in 0..1 and 0 where unknown, ``frame`` (N,) and the camera ``view`` (N,).
    """

    pixels: np.ndarray
    weight: np.ndarray
    frame: np.ndarray
    view: np.ndarray

    def __len__(self) -> int:
        return len(self.view)

    def __getitem__(self, rows: np.ndarray) -> Poses2D:
        return Poses2D(self.pixels[rows], self.weight[rows], self.frame[rows], self.view[rows])


def load_poses(
    path: Path,
    names: list[str],
    cameras: list[Camera],
    skeleton: str | None = None,
    namespaces: list[str] | None = None,
    offsets_ns: list[int] | None = None,
) -> Poses2D:
    """Read an npz file: ``poses`` (N, J, 3) px and score, zeros where missing, ``frame`` (N,),
    ``view`` (N,), the camera's place in the rig file; or from a bag with the topics
    NAMESPACE/keypoints (by default the cameras' names), with ``offsets_ns`` added to the stamps.

    Raises ``CalibrationError`` for other content, for a joint count that fits no skeleton or
    several, and for poses of images of another size.
    """
    if path.is_dir() or is_bag(path):
        messages = recorded_keypoints.read(path, namespaces or names, offsets_ns)
        for name, camera, some in zip(names, cameras, messages, strict=True):
            sizes = {m.size for m in some} - {(0, 0), camera.size}
            if sizes:
                raise CalibrationError(
                    f"{path}: camera {name} is calibrated for {camera.size[0]}x{camera.size[1]}, "
                    f"but its "
                    f"keypoints are of images of {' and '.join(f'{w}x{h}' for w, h in sizes)}"
                )
        return _poses(
            path,
            names,
            cameras,
            skeleton or H36M17.name,
            *recorded_keypoints.at_common_times(messages),
        )
    try:
        data = read_npz(path, ("poses", "frame", "view"))
        poses, frame, view = (
            data["poses"].astype(float),
            data["frame"].astype(int),
            data["view"].astype(int),
        )
    except ValueError as error:
        raise CalibrationError(
            f"{path}: expected an npz file with poses, frame and view; {error}"
        ) from None
    return _poses(path, names, cameras, skeleton, poses, frame, view)


def _poses(
    path: Path,
    names: list[str],
    cameras: list[Camera],
    skeleton: str | None,
    poses: np.ndarray,
    frame: np.ndarray,
    view: np.ndarray,
) -> Poses2D:
    if (
        poses.ndim != 3
        or poses.shape[2] != 3
        or frame.shape != view.shape
        or frame.shape != poses.shape[:1]
    ):
        raise CalibrationError(
            f"{path}: expected poses (N, J, 3), frame (N,) and view (N,), got {poses.shape}, "
            f"{frame.shape} and {view.shape}"
        )
    if len(view) and (view.min() < 0 or view.max() >= len(cameras)):
        raise CalibrationError(
            f"{path}: has views {view.min()} to {view.max()}, but the rig has {len(cameras)} "
            f"cameras: expected views 0 to {len(cameras) - 1} in the rig's order"
        )
    joints = _skeleton(path, poses.shape[1], skeleton).indices(*LIMB_JOINTS)
    poses = poses[:, joints]
    known = np.isfinite(poses).all(-1) & (poses[..., 2] > 0) & (poses[..., :2] != 0).any(-1)
    for c, (name, camera) in enumerate(zip(names, cameras, strict=True)):
        reach = poses[view == c][known[view == c]][:, :2]
        if len(reach) and (np.quantile(reach, 0.95, axis=0) > 1.1 * np.array(camera.size)).any():
            x, y = reach.max(0)
            raise CalibrationError(
                f"{path}: camera {name} is calibrated for {camera.size[0]}x{camera.size[1]}, but "
                f"its poses reach x={x:.0f}, y={y:.0f}: expected 2D poses of images of the "
                "calibrated size"
            )
    pixels = Rig.of(cameras).undistort(np.where(known[..., None], poses[..., :2], np.nan), view)
    known = np.isfinite(pixels).all(-1)  # a lens may have no ray for a pixel
    pixels = np.where(known[..., None], pixels, 0)
    return Poses2D(pixels, np.where(known, np.minimum(poses[..., 2], 1), 0), frame, view)


def _skeleton(path: Path, joints: int, name: str | None) -> Skeleton:
    fitting = [s for s in SKELETONS.values() if len(s) == joints and name in (None, s.name)]
    if len(fitting) == 1:
        return fitting[0]
    options = ", ".join(f"{s.name} ({len(s)})" for s in SKELETONS.values())
    raise CalibrationError(
        f"{path}: has {joints} joints, which fits {' and '.join(s.name for s in fitting) or 'no'}"
        f"{' skeleton' if not fitting else ''}: expected --skeleton, one of {options}"
    )


def match_people(rig: Rig, poses: Poses2D, gate_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Person (N,) of each 2D pose, numbered over all frames, -1 for none; and the median distance
    (C, C) in metres at which the rays of one person's joints pass each other, per pair of cameras,
    infinite where nobody is matched.

    ``gate_m`` (C, C): rays that are further apart are of different people.

    Two views' poses are one person when each is the other's nearest by far, and all views of a
    person must agree. It is strict on purpose: a recording has enough frames, but a wrong match
    would move a camera.
    """
    person, count = np.full(len(poses), -1), 0
    distances: dict[tuple[int, int], list[float]] = {}
    order = np.argsort(poses.frame, kind="stable")
    for rows in (
        np.split(order, np.flatnonzero(np.diff(poses.frame[order])) + 1) if len(order) else []
    ):
        cost = _ray_distance(rig, poses[rows])
        accepted = np.zeros(cost.shape, bool)
        views = poses.view[rows]
        for a in np.unique(views):
            for b in np.unique(views[views > a]):
                i, j = np.flatnonzero(views == a), np.flatnonzero(views == b)
                accepted[np.ix_(i, j)] = _mutual_nearest(cost[np.ix_(i, j)], gate_m[a, b])
        groups = connected_components(accepted, directed=False)[1]
        for group in range(groups.max() + 1):
            members = np.flatnonzero(groups == group)
            seen_by = views[members]
            between = cost[np.ix_(members, members)]
            far = np.isfinite(between) & (between >= gate_m[np.ix_(seen_by, seen_by)])
            if len(members) > 1 and len(np.unique(seen_by)) == len(members) and not far.any():
                person[rows[members]] = count
                count += 1
                for i, j in zip(*np.nonzero(np.isfinite(between)), strict=True):
                    distances.setdefault((seen_by[i], seen_by[j]), []).append(between[i, j])
    usual_m = np.full(gate_m.shape, np.inf)
    for pair, some in distances.items():
        usual_m[pair] = np.median(some)
    return person, usual_m


def _ray_distance(rig: Rig, poses: Poses2D) -> np.ndarray:
    """Mean distance (N, N) in metres between the rays of two poses' joints; infinite within a
    camera.
    """
    rays, origin = rig.directions(poses.pixels, poses.view), rig.position_m[poses.view]
    a, b = rays[:, None], rays[None]
    gap = (origin[None] - origin[:, None])[:, :, None]
    on_a, on_b, _ = closest_approach(a, b, gap)
    miss = np.linalg.norm(on_a[..., None] * a - on_b[..., None] * b - gap, axis=-1)
    miss = np.where((on_a > NEAR_M) & (on_b > NEAR_M), np.minimum(miss, 10), 10)
    shared = np.sqrt(poses.weight[:, None] * poses.weight[None])
    enough = ((shared > 0).sum(-1) >= MIN_JOINTS) & (poses.view[:, None] != poses.view[None])
    mean_miss = (shared * miss).sum(-1) / np.maximum(shared.sum(-1), 1e-9)
    return np.asarray(np.where(enough, mean_miss, np.inf))


def _mutual_nearest(cost: np.ndarray, gate_m: float) -> np.ndarray:
    """Mask (I, J) of pairs within the gate that are each other's nearest by ``RATIO``."""

    def best(along: np.ndarray) -> np.ndarray:
        others = np.sort(np.concatenate([along, np.full((len(along), 2), np.inf)], 1), 1)[:, 1:2]
        return np.asarray((along == along.min(1, keepdims=True)) & (others > RATIO * along))

    return np.asarray((cost < gate_m) & best(cost) & best(cost.T).T)
