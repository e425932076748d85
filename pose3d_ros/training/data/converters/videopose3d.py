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

"""VideoPose3D's archives (Pavllo et al., CVPR 2019) of Human3.6M and HumanEva-I.

``data_3d_*.npz`` holds ``positions_3d``: subject -> trial -> (T, J, 3) world metres;
``data_2d_*.npz`` holds ``positions_2d``: subject -> trial -> for each camera (T, J, 2) pixels, and
``metadata`` with the ``layout_name`` of the joints. Both are pickled dictionaries, read without
executing anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pose3d_ros.training.data.converters import human36m, humaneva
from pose3d_ros.training.data.converters.archives import load_npz
from pose3d_ros.training.data.converters.skeletons import DETECTED, keypoints
from pose3d_ros.training.data.recordings import Recording


@dataclass(frozen=True)
class Detections:
    """2D joints of one detector: ``positions[subject][trial][camera]`` (T, J, 2 or 3) of the
    ``layout``'s joints.

    ``detector`` is empty for projected joints ("gt").
    """

    detector: str
    layout: str
    positions: dict[str, dict[str, list[np.ndarray]]]

    def of(self, subject: str, trial: str) -> list[np.ndarray]:
        """One trial's arrays; ``ValueError`` when there are none."""
        try:
            return self.positions[subject][trial]
        except KeyError:
            raise ValueError(
                f"expected 2D joints ({self.detector or 'gt'}) of {subject} {trial}, got none"
            ) from None

    def as_h36m17(self, subject: str, trial: str) -> list[tuple[np.ndarray, np.ndarray]]:
        """Keypoints and confidence of each camera."""
        return [
            keypoints(np.asarray(camera), DETECTED[self.layout])
            for camera in self.of(subject, trial)
        ]


def load_detections(path: Path) -> Detections:
    """From ``data_2d_DATASET_DETECTOR.npz``; raises ``ValueError``."""
    data = load_npz(path)
    if not isinstance(data.get("positions_2d"), dict):
        raise ValueError(f"{path}: expected positions_2d, got {', '.join(data)}")
    metadata: dict[str, Any] = data.get("metadata", {})
    name = re.fullmatch(r"data_2d_([a-z0-9]+)_(.+)", path.stem)
    detector = name[2] if name else path.stem
    layout = metadata.get("layout_name") or {17: "h36m", 15: "humaneva15"}.get(
        metadata.get("num_joints", 0), ""
    )
    if layout not in DETECTED:
        raise ValueError(
            f"{path}: expected joints laid out as one of {', '.join(DETECTED)}, got metadata "
            f"{metadata}"
        )
    return Detections("" if detector == "gt" else detector, layout, data["positions_2d"])


def convert(sources: Sequence[Path]) -> Iterator[tuple[str, Recording]]:
    """Recordings with their split of one ``data_3d`` file and the ``data_2d`` files that belong to
    it.

    Human3.6M takes one, or none, and projects the joints; HumanEva-I needs ``gt``, whose cameras
    the files do not give, and takes another one for the keypoints. Raises ``ValueError``.
    """
    path, *others = sources
    positions = load_npz(path).get("positions_3d")
    if not isinstance(positions, dict) or not positions:
        raise ValueError(
            f"{path}: expected VideoPose3D's data_3d_*.npz, with positions_3d, before its "
            f"data_2d_*.npz"
        )
    detections = [load_detections(other) for other in others]
    if not any("/" in subject for subject in positions):
        if len(detections) > 1:
            raise ValueError(
                f"expected one data_2d file at most for Human3.6M, got {len(detections)}"
            )
        return human36m_recordings(positions, *detections)
    projected = [d for d in detections if not d.detector]
    detected = [d for d in detections if d.detector]
    if len(projected) != 1 or len(detected) > 1:
        raise ValueError(
            "expected data_2d_humaneva15_gt.npz and at most one other data_2d file for HumanEva-I"
        )
    return humaneva.recordings(_trials(positions, projected[0], *detected))


def human36m_recordings(
    positions: human36m.Positions, detections: Detections | None = None
) -> Iterator[tuple[str, Recording]]:
    """Human3.6M's recordings with a detector's keypoints, or projected ones."""
    if detections is None:
        return human36m.recordings(positions)
    return human36m.recordings(positions, detections.as_h36m17, detections.detector)


def _trials(
    positions: human36m.Positions, projected: Detections, detected: Detections | None = None
) -> Iterator[humaneva.Trial]:
    for key, trials in positions.items():
        split, _, subject = key.partition("/")
        for trial, joints_m in trials.items() if split in humaneva.SPLITS else ():
            yield humaneva.Trial(
                split,
                subject,
                trial,
                joints_m,
                projected.of(key, trial),
                detected.as_h36m17(key, trial) if detected else None,
                detected.detector if detected else "",
            )
