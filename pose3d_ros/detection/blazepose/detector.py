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

"""BlazePose's landmark networks as readers: 33 keypoints of each person's crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros import inference
from pose3d_ros.detection import regions
from pose3d_ros.detection.blazepose import landmarks
from pose3d_ros.detection.blazepose.landmarks import FULL, HEAVY, LEVELS, REGION_SCALE
from pose3d_ros.detection.confidence import CALIBRATIONS
from pose3d_ros.detection.following import FollowingDetector, Reading
from pose3d_ros.detection.movenet import multipose
from pose3d_ros.detection.poses import Poses
from pose3d_ros.model_store.store import locate
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import BLAZEPOSE33, COCO17

MIN_SCORE = 0.2
HEAD_AND_FEET = 1.15
"""The circle around the body reaches so much further from the hips than the keypoints do."""
MIN_PRESENCE, MIN_HEAT = 0.5, 0.45
MIN_PRESENCE_FOLLOWED = 0.1
"""It is about the head, which another person may hide."""
MIN_PRESENCE_VOUCHED, MIN_HEAT_VOUCHED = 0.05, 0.3
"""Of whom the finder sees as well: in crowds 0.06 to 1 and 0.32 to 0.9; without anybody in the
crop below 0.01 and 0.34 (full), one of them at least (heavy).
"""
Array = npt.NDArray[Any]
_HIPS = np.array(COCO17.indices("l_hip", "r_hip"))
_SHOULDERS = np.array(COCO17.indices("l_shoulder", "r_shoulder"))


def regions_around(keypoints_px: Array, scores: Array) -> Array:
    """Regions (P, 4) around COCO keypoints (P, 17, 2), turned as the trunk is, as BlazePose's own
    person detector gives them.
    """
    sure = scores > MIN_SCORE
    hips = keypoints_px[:, _HIPS].mean(1)
    shoulders = keypoints_px[:, _SHOULDERS].mean(1)
    reach = np.linalg.norm(keypoints_px - hips[:, None], axis=-1)
    trunk = np.linalg.norm(shoulders - hips, axis=-1)
    radius = np.maximum(np.where(sure, reach, 0).max(1) * HEAD_AND_FEET, 1.8 * trunk)
    x, y = (shoulders - hips).T
    return np.column_stack([hips, 2 * REGION_SCALE * np.maximum(radius, 8), np.arctan2(x, -y)])


class BlazePoseReader:
    """The reader (see ``detection.following.Reader``)."""

    skeleton = BLAZEPOSE33

    def __init__(self, settings: PipelineSettings, model: str, features: bool = False) -> None:
        outputs = ["landmarks", "presence", "heatmap", *(LEVELS if features else ())]
        self._engine = inference.load(
            locate(model),
            settings.engine,
            settings.threads,
            outputs,
            settings.precision,
            settings.max_people,
        )
        self._calibration = CALIBRATIONS[model]
        self.maps = tuple(self._engine.outputs[level][1:] for level in LEVELS) if features else ()

    @property
    def engine_name(self) -> str:
        """Name of the engine, as it is now."""
        return self._engine.name

    def regions_of(self, found: Poses) -> Array:
        """Where the finder's people are."""
        return regions_around(found.keypoints_px, found.scores)

    def __call__(self, image_bgr: Array, where: Array, within: Array | None = None) -> Reading:
        """Keypoints in the regions ``where`` (P, 4), seen ``within`` the boxes (P, 4)."""
        found = landmarks.read(self._engine, image_bgr, where, self._calibration, within)
        return Reading(
            found.keypoints_px,
            found.confidence,
            found.presence,
            found.heat,
            regions.from_alignment(
                found.auxiliary_px[:, 0], found.auxiliary_px[:, 1], REGION_SCALE
            ),
            found.root_relative_depth_px,
            found.features,
        )

    def believed(self, reading: Reading, known: Array, vouched: Array) -> Array:
        """By presence and heat; whom the finder vouches for need not be seen as sharply."""
        presence = np.where(known, MIN_PRESENCE_FOLLOWED, MIN_PRESENCE)
        alone = (reading.presence >= presence) & (reading.sharpness >= MIN_HEAT)
        seen = (reading.presence >= MIN_PRESENCE_VOUCHED) & (reading.sharpness >= MIN_HEAT_VOUCHED)
        return np.asarray(alone | (vouched & seen))

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


class BlazePose(FollowingDetector):
    """MultiPose finds people, BlazePose full reads them: 33 keypoints, root-relative depth and,
    with ``features``, the encoder's maps: 48, 48, 48 and 144 channels with sides 64, 32, 16, 8.
    """

    name = "blazepose"
    gives_maps = gives_depth = True

    def __init__(self, settings: PipelineSettings, features: bool = False) -> None:
        super().__init__(settings, BlazePoseReader(settings, FULL, features))

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """Finder and reader."""
        return multipose.MODEL, FULL


class BlazePoseHeavy(FollowingDetector):
    """MultiPose finds people, BlazePose heavy reads them: better, at four times the cost."""

    name = "blazepose-heavy"
    gives_depth = True

    def __init__(self, settings: PipelineSettings) -> None:
        super().__init__(settings, BlazePoseReader(settings, HEAVY))

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """Finder and reader."""
        return multipose.MODEL, HEAVY
