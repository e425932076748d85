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

"""HumanEva-I (Sigal et al., IJCV 2010), as VideoPose3D's ConvertHumanEva.m exports it: 15 joints,
3 cameras, 60 Hz.

Its split is the dataset's own: Train and Validate. Frames without motion capture are not valid.
Neither the neck nor the spine is known, so neither is scored. The cameras are found from the
joints that the export projects into the pictures.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pose3d_ros.camera import Camera
from pose3d_ros.training.data.converters.archives import load_mat
from pose3d_ros.training.data.converters.fitting import fit_camera
from pose3d_ros.training.data.converters.skeletons import HUMANEVA15, keypoints, truth
from pose3d_ros.training.data.recordings import Recording

RATE_HZ = 60.0
SIZE = (640, 480)
SPLITS = {"Train": "train", "Validate": "val"}
CAMERAS = ("C1", "C2", "C3")


@dataclass(frozen=True)
class Trial:
    """``joints_m`` (T, 15, 3) in the world and, for each camera, ``projected_px`` (T, 15, 2) and a
    detector's H36M17 keypoints and confidence, if there is one.
    """

    split: str
    subject: str
    name: str
    joints_m: np.ndarray
    projected_px: list[np.ndarray]
    detected: list[tuple[np.ndarray, np.ndarray]] | None = None
    detector: str = ""


def load(folder: Path) -> Iterator[Trial]:
    """The export's ``Train/S1/Walking_1.mat`` and so on: ``poses_3d`` (T, 15, 3) in millimetres
    and ``poses_2d`` (3, T, 15, 2). Raises ``ValueError``.
    """
    paths = sorted(path for split in SPLITS for path in (folder / split).glob("S*/*.mat"))
    if not paths:
        raise ValueError(
            f"{folder}: expected Train/S1/*.mat and Validate/S1/*.mat of ConvertHumanEva.m, got "
            f"none"
        )
    for path in paths:
        data = load_mat(path)
        joints, pixels = data.get("poses_3d"), data.get("poses_2d")
        if (
            joints is None
            or pixels is None
            or joints.shape[1:] != (15, 3)
            or pixels.shape != (3, len(joints), 15, 2)
        ):
            shapes = [getattr(value, "shape", None) for value in (joints, pixels)]
            raise ValueError(
                f"{path}: expected poses_3d (T, 15, 3) and poses_2d (3, T, 15, 2), got {shapes}: "
                "export with N_JOINTS = 15"
            )
        yield Trial(
            path.parts[-3],
            path.parts[-2],
            path.stem.replace("_", " "),
            joints / 1000,
            list(pixels),
        )


def recordings(trials: Iterable[Trial]) -> Iterator[tuple[str, Recording]]:
    """Recordings with their split. All trials of a subject have the same cameras."""
    by_subject: dict[str, list[Trial]] = defaultdict(list)
    for trial in trials:
        by_subject[trial.subject].append(trial)
    for subject, own in sorted(by_subject.items()):
        cameras = [_camera(own, number) for number in range(len(CAMERAS))]
        for trial in own:
            joints_m = truth(trial.joints_m, HUMANEVA15)
            for number, name in enumerate(CAMERAS):
                pixels, confidence = (
                    trial.detected[number]
                    if trial.detected
                    else keypoints(trial.projected_px[number], HUMANEVA15)
                )
                yield (
                    SPLITS[trial.split],
                    Recording(
                        f"{subject}_{trial.name.replace(' ', '_')}_{name}",
                        joints_m,
                        pixels[: len(joints_m)],
                        confidence[: len(joints_m)],
                        cameras[number],
                        RATE_HZ,
                        subject,
                        trial.name.split(" ")[0],
                        trial.detector,
                        valid=np.isfinite(trial.joints_m).all((1, 2)),
                    ),
                )


def _camera(trials: list[Trial], number: int) -> Camera:
    points = np.concatenate([trial.joints_m.reshape(-1, 3) for trial in trials])
    pixels = np.concatenate([trial.projected_px[number].reshape(-1, 2) for trial in trials])
    return fit_camera(points, pixels, SIZE)
