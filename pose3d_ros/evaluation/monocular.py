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

"""Evaluation of the monocular pipeline on videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from pose3d_ros.camera import Camera
from pose3d_ros.geometry import transform_points
from pose3d_ros.io.npz import NpzError, read_npz
from pose3d_ros.metrics import id_switches, jitter_mm, mpjpe, pa_mpjpe
from pose3d_ros.offline import recorded
from pose3d_ros.people import People3D
from pose3d_ros.pipeline import MonocularPipeline
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17, SKELETONS, Skeleton
from pose3d_ros.stopwatch import Stopwatch, summaries

LIMB_JOINTS = tuple(
    f"{side}_{name}"
    for name in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in "lr"
)


def truth_joints_of(
    data: Mapping[str, npt.NDArray[Any]],
) -> tuple[Skeleton, npt.NDArray[np.float64]]:
    """Skeleton and ``joints_m`` (T, P, J, 3) in metres of reference poses; raises ``NpzError``."""
    name = str(data["skeleton"]) if "skeleton" in data else H36M17.name
    if name not in SKELETONS:
        raise NpzError(f"expected a skeleton among {', '.join(SKELETONS)}, got '{name[:40]}'")
    skeleton, joints = SKELETONS[name], data["joints_m"]
    whole = joints.ndim == 4 and joints.shape[2:] == (len(skeleton), 3)
    if not whole or joints.dtype.kind not in "fiu":
        raise NpzError(
            f"expected {len(skeleton)} joints of {name}, got joints_m {joints.dtype} "
            f"{joints.shape}"
        )
    return skeleton, joints.astype(float)


@dataclass(frozen=True)
class CameraTruth:
    """Reference poses of one camera: limb joints (T, P, 12, 3) in metres in its frame, NaN where
    not known.
    """

    joints_m: np.ndarray

    @classmethod
    def load(cls, path: Path, camera: int) -> CameraTruth:
        """Read an npz with ``joints_m`` (T, P, J, 3) in the world and ``camera_from_world`` (C, 4,
        4).

        The entry ``skeleton`` names the joint set; without it, it is h36m17. Raises ``NpzError``.
        """
        try:
            data = read_npz(path, ("joints_m", "camera_from_world"), ("skeleton",))
            skeleton, joints = truth_joints_of(data)
            transforms = data["camera_from_world"]
            if transforms.shape[1:] != (4, 4) or transforms.dtype.kind not in "fiu":
                raise NpzError(f"got camera_from_world {transforms.dtype} {transforms.shape}")
            if not np.isfinite(transforms).all():
                raise NpzError("got a camera_from_world that is not finite")
        except NpzError as error:
            raise NpzError(
                f"truth {path}: expected an npz with joints_m (T, P, J, 3), camera_from_world "
                f"(C, 4, 4) and perhaps skeleton; {error}"
            ) from None
        if camera >= len(transforms):
            raise NpzError(
                f"truth {path}: expected a camera for each video, got {len(transforms)}"
            )
        joints = joints[:, :, skeleton.indices(*LIMB_JOINTS)]
        return cls(transform_points(transforms[camera], joints))


def evaluate_video(
    path: Path,
    camera: Camera | None,
    truth: CameraTruth | None,
    settings: PipelineSettings,
    bag_topic: str = "",
) -> dict[str, Any]:
    """Run a fresh pipeline over a video, a folder of images or a bag (its ``bag_topic``).

    Without a camera, that of the bag's camera_info is taken, else a field of view of 60 degrees is
    assumed. Raises ``SourceError``.
    """
    results: list[People3D] = []
    stopwatches: list[Stopwatch] = []
    with MonocularPipeline(settings) as pipeline:
        for image, seen_by, stamp_ns in recorded(str(path), camera, bag_topic):
            stopwatches.append(Stopwatch())
            results.append(pipeline(image, seen_by, stamp_ns, stopwatch=stopwatches[-1]))
    if not results:
        raise ValueError(f"video {path}: no frame could be read")
    seen = [
        person
        for result in results
        if result.people_2d is not None
        for person in result.people_2d.ids
    ]
    report: dict[str, Any] = {
        "video": path.name,
        "frames": len(results),
        "found": float(
            np.mean(
                [result.people_2d is not None and len(result.people_2d) > 0 for result in results]
            )
        ),
        "people_per_frame": len(seen) / len(results),
        "ids": len(set(seen)),
        "ms_per_frame": float(np.median([stopwatch.total_s for stopwatch in stopwatches]) * 1e3),
        "ms_per_stage": {stage: taken.mean_ms for stage, taken in summaries(stopwatches).items()},
        "jitter_mm": jitter_mm(results, H36M17.index("pelvis")),
    }
    if truth is not None:
        report.update(errors(results, truth))
    return report


def errors(results: list[People3D], truth: CameraTruth) -> dict[str, Any]:
    """Errors on the 12 limb joints in millimetres, relative to the middle of the hips; people
    matched per frame.
    """
    limbs = H36M17.indices(*LIMB_JOINTS)
    hips = [LIMB_JOINTS.index("l_hip"), LIMB_JOINTS.index("r_hip")]
    relative, absolute, aligned, velocity, matches = [], [], [], [], []
    before: dict[int, tuple[int, np.ndarray, np.ndarray]] = {}
    expected = 0
    for frame, (result, people) in enumerate(zip(results, truth.joints_m, strict=False)):
        known = np.flatnonzero(np.isfinite(people).all((1, 2)))
        expected += len(known)
        predicted = result.joints_m[:, limbs].astype(float)
        # Compared as the camera sees them: two people in line with it differ less in space than
        # depth is uncertain.
        rays, true_rays = (
            predicted[..., :2] / predicted[..., 2:],
            people[known][..., :2] / people[known][..., 2:],
        )
        distance = np.linalg.norm(rays[:, None] - true_rays, axis=-1).mean(-1)
        for row, column in zip(*linear_sum_assignment(distance), strict=True):
            person = int(known[column])
            p, t = predicted[row], people[person]
            absolute.append(np.linalg.norm(p[hips].mean(0) - t[hips].mean(0)))
            p, t = p - p[hips].mean(0), t - t[hips].mean(0)
            relative.append(mpjpe(p, t))
            aligned.append(pa_mpjpe(p, t))
            if person in before and before[person][0] == frame - 1:
                velocity.append(mpjpe(p - before[person][1], t - before[person][2]))
            before[person] = (frame, p, t)
            matches.append((person, int(result.ids[row])))
    mm = {
        name: float(np.mean(values) * 1e3) if values else None
        for name, values in (
            ("pa_mpjpe_mm", aligned),
            ("mpjpe_mm", relative),
            ("velocity_error_mm", velocity),
            ("root_mm", absolute),
        )
    }
    return {**mm, "recall": len(aligned) / max(expected, 1), "id_switches": id_switches(matches)}
