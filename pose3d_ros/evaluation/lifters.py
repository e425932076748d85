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

"""Evaluation of lifters on recordings with 3D truth, by the protocols of the papers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from pose3d_ros import lifting
from pose3d_ros.metrics import protocols
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import H36M17
from pose3d_ros.training.data.image_clips import image_path, read_image
from pose3d_ros.training.data.recordings import Recording

COLUMNS = (
    "mpjpe_mm",
    "pa_mpjpe_mm",
    "n_mpjpe_mm",
    "mpjve_mm",
    "pck_percent",
    "auc_percent",
    "seen_percent",
)
Report = dict[str, dict[str, float | None]]


def lift(
    lifter: lifting.Lifter,
    recording: Recording,
    settings: PipelineSettings,
    person: int,
    folder: Path,
    up: bool = False,
) -> np.ndarray:
    """Poses (T, 17, 3) relative to the pelvis in the camera's axes, NaN where no keypoint is
    known.

    The lifter is called as in the pipeline: once for each frame with somebody, causally, by a
    track id. One that looks at images gets the recording's from the dataset's ``folder``. With
    ``up`` it is told where the world's z axis points. Raises ``ValueError`` where there is no
    image, or no world.
    """
    poses = np.full(recording.joints_m.shape, np.nan, np.float32)
    depth = recording.root_relative_depth_px
    if lifter.reads_depth and depth is None:
        raise ValueError(
            f"lifter {lifter.name}: expected recordings with root_relative_depth_px, which it "
            f"reads, got {recording.name} without; take recordings of a detector that tells it"
        )
    up_in_camera = recording.camera.camera_from_world[:3, 2] if up else None
    if up and np.array_equal(recording.camera.camera_from_world, np.eye(4)):
        raise ValueError(
            f"up: expected recordings that know the camera in a world with z up, got "
            f"{recording.name}, whose world is the camera's; leave --up out"
        )
    for row in np.flatnonzero((recording.confidence > 0).any(1)):
        stamp_ns = round((row + 1) / recording.rate_hz * 1e9)
        people = People2D(
            H36M17,
            recording.keypoints_px[[row]],
            recording.confidence[[row]],
            stamp_ns,
            recording.camera.size,
            np.array([person]),
            root_relative_depth_px=None if depth is None else depth[[row]],
        )
        image = (
            read_image(image_path(folder, recording, recording.frame[row]), recording.camera.size)
            if lifter.reads_images
            else None
        )
        seen = people.confident(settings.min_confidence)
        answer = lifter(seen, recording.camera, settings, image, up=up_in_camera)
        poses[row] = answer.joints_m[0]
    lifter.forget(np.zeros(0, int))
    return poses


def evaluate(
    lifter: str,
    recordings: Iterable[Recording],
    settings: PipelineSettings,
    folder: Path,
    up: bool = False,
) -> Report:
    """Scores of a lifter, by name or as the path of an ONNX file, for every action, with two
    averages.

    ``recordings`` are those of the dataset in ``folder``, ``up`` as ``lift`` has it.

    ``average`` is the mean over actions, which Human3.6M's papers report; ``all frames`` the mean
    over frames, which MPI-INF-3DHP's report. A frame counts when it is valid and a pose was found;
    ``seen_percent`` of the valid ones were. A velocity counts between two such frames; None where
    there is none.
    """
    values: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))
    model = lifting.create(
        settings.changed(**{"lifter_model" if lifter.endswith(".onnx") else "lifter": lifter})
    )
    try:
        for person, recording in enumerate(recordings):
            poses = lift(model, recording, settings, person, folder, up)
            poses[~recording.valid] = np.nan
            scores = protocols(poses, recording.joints_camera_m)
            scores["seen_percent"] = 100.0 * np.isfinite(poses[recording.valid]).all((1, 2))
            for name, numbers in scores.items():
                values[recording.action][name].append(numbers[np.isfinite(numbers)])
    finally:
        model.close()
    report = {action: _means(values[action]) for action in sorted(values)}
    every = {name: [part for parts in values.values() for part in parts[name]] for name in COLUMNS}
    average = {name: _mean([means[name] for means in report.values()]) for name in COLUMNS}
    frames = _means(every)
    return {**report, "average": {**average, "frames": frames["frames"]}, "all frames": frames}


def _means(parts: dict[str, list[np.ndarray]]) -> dict[str, float | None]:
    means = {name: _mean(np.concatenate(parts[name]).tolist()) for name in COLUMNS}
    return {**means, "frames": sum(len(part) for part in parts["seen_percent"])}


def _mean(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
