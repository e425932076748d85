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

"""MoveNet Thunder: reads COCO's 17 keypoints of one person from an upright crop."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pose3d_ros import inference
from pose3d_ros.detection import regions
from pose3d_ros.detection.confidence import CALIBRATIONS, logits_of
from pose3d_ros.detection.following import FollowingDetector, Reading
from pose3d_ros.detection.movenet import multipose
from pose3d_ros.detection.movenet.decoding import decode_single
from pose3d_ros.detection.poses import Poses
from pose3d_ros.model_store.store import locate
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import COCO17

MODEL = "movenet-thunder"
SIDE = 256
AT_ONCE = 4
"""Crops in one call: ten take 260 MB more, and longer, on a CPU."""
MIN_SCORE = 0.2
Array = npt.NDArray[Any]
_TORSO = np.array(COCO17.indices("l_shoulder", "r_shoulder", "l_hip", "r_hip"))


def square_around(keypoints_px: Array, scores: Array) -> Array:
    """Upright regions (P, 4) around people's keypoints (P, 17, 2) with scores (P, 17).

    As MoveNet's own cropping (TF Hub's tutorial): around the middle of the hips, 1.9 times as far
    as the torso and 1.2 times as far as any sure keypoint reaches.
    """
    sure: Array = np.asarray(scores > MIN_SCORE)
    torso = keypoints_px[:, _TORSO]
    hips: Array = np.asarray(sure[:, _TORSO[2:]].any(1))
    weight = np.where(hips[:, None], (sure * np.isin(np.arange(17), _TORSO[2:])), sure) + 1e-6
    centre = (keypoints_px * weight[..., None]).sum(1) / weight.sum(1)[:, None]
    reach = np.abs(keypoints_px - centre[:, None]).max(-1)
    of_torso = np.abs(torso - centre[:, None]).max((1, 2))
    of_body = np.where(sure, reach, 0).max(1)
    half = np.maximum(1.9 * of_torso, 1.2 * of_body)
    return np.column_stack([centre, 2 * np.maximum(half, 8), np.zeros(len(half))])


class Thunder:
    """The reader (see ``detection.following.Reader``)."""

    skeleton = COCO17
    maps: tuple[tuple[int | None, ...], ...] = ()

    def __init__(self, settings: PipelineSettings) -> None:
        self._engine = inference.load(
            locate(MODEL),
            settings.engine,
            settings.threads,
            None,
            settings.precision,
            settings.max_people,
        )
        self._calibration = CALIBRATIONS[MODEL]

    @property
    def engine_name(self) -> str:
        """Name of the engine, as it is now."""
        return self._engine.name

    def regions_of(self, found: Poses) -> Array:
        """Where the finder's people are."""
        return square_around(found.keypoints_px, found.scores)

    def __call__(self, image_bgr: Array, where: Array, within: Array | None = None) -> Reading:
        """Keypoints in the regions ``where`` (P, 4), seen ``within`` the boxes (P, 4)."""
        crops = regions.crop(image_bgr, where, SIDE, within)
        parts = [
            self._engine({"image": crops[first : first + AT_ONCE]})
            for first in range(0, len(crops), AT_ONCE)
        ]
        heads = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        points, scores, centre = decode_single(heads)
        keypoints = regions.transform(regions.image_from_region(where), points)
        return Reading(
            keypoints,
            self._calibration(logits_of(scores)),
            centre,
            scores.mean(1),
            square_around(keypoints, scores),
        )

    def believed(self, reading: Reading, known: Array, vouched: Array) -> Array:
        """By the mean score."""
        return np.asarray(reading.sharpness > 0.15)

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


class MoveNet(FollowingDetector):
    """MultiPose finds people, Thunder reads them: COCO's 17 keypoints."""

    name = "movenet"

    def __init__(self, settings: PipelineSettings) -> None:
        super().__init__(settings, Thunder(settings))

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """Finder and reader."""
        return multipose.MODEL, MODEL
