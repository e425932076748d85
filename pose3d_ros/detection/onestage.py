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

"""One-stage detectors: RTMO and YOLO-pose give everybody's keypoints in one pass over the image.

RTMO is decoded as rtmlib does it (Apache-2.0), YOLO-pose (v8 and v11 exports) by the layout that
its export documents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from pose3d_ros.detection.boxes import (
    Network,
    boxes_from_centres,
    channels_first,
    letterbox,
    suppress,
)
from pose3d_ros.detection.detector import Detector
from pose3d_ros.detection.poses import Poses
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import COCO17
from pose3d_ros.stopwatch import Stopwatch


class Convention(NamedTuple):
    """Input and output conventions of a family of networks."""

    outputs: str
    rgb: bool
    divisor: float
    centred: bool
    min_score: float
    most_overlap: float
    decode: Callable[[list[np.ndarray]], Poses | None]


def decode_rtmo(outputs: list[np.ndarray]) -> Poses | None:
    """From [1, N, 5] boxes with scores and [1, N, 17, 3] keypoints with visibility; None for
    another form.
    """
    if (
        len(outputs) < 2
        or outputs[0].ndim != 3
        or outputs[1].shape != (*outputs[0].shape[:2], len(COCO17), 3)
        or (outputs[0].shape[2] != 5)
    ):
        return None
    boxes, poses = outputs[0][0], outputs[1][0]
    return Poses(poses[..., :2], poses[..., 2], boxes[:, :4], boxes[:, 4])


def decode_yolo_pose(outputs: list[np.ndarray]) -> Poses | None:
    """From [1, 56, N]: centre x y, width, height, score, then x y confidence of 17 keypoints; None
    for another form.
    """
    if outputs[0].ndim != 3 or outputs[0].shape[:2] != (1, 5 + 3 * len(COCO17)):
        return None
    rows = outputs[0][0].T
    poses = rows[:, 5:].reshape(-1, len(COCO17), 3)
    return Poses(poses[..., :2], poses[..., 2], boxes_from_centres(rows[:, :4]), rows[:, 4])


# Thresholds are those of rtmlib and of Ultralytics' predictor.
RTMO = Convention(
    "RTMO's boxes [1, N, 5] and keypoints [1, N, 17, 3]", False, 1.0, False, 0.7, 0.45, decode_rtmo
)
YOLO_POSE = Convention(
    "YOLO-pose's [1, 56, N] (export without NMS)", True, 255.0, True, 0.25, 0.7, decode_yolo_pose
)


class OneStage(Detector):
    """A detector whose model looks at every image, so that nothing is kept between them."""

    skeleton = COCO17
    convention: ClassVar[Convention]

    def __init__(self, settings: PipelineSettings) -> None:
        self.settings = settings
        self._network = Network(settings.detector_model, "detector_model", settings)
        outputs = self._network.try_out()
        if self.convention.decode(outputs) is None:
            self.close()
            raise self._network.unexpected(
                self.convention.outputs, [output.shape for output in outputs]
            )

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """The network's file."""
        return (settings.detector_model,)

    @property
    def engine_name(self) -> str:
        """Name of the engine, as it is now."""
        return self._network.engine.name

    def __call__(
        self, image_bgr: np.ndarray, stamp_ns: int, stopwatch: Stopwatch | None = None
    ) -> People2D:
        """People in an image (H, W, 3) uint8."""
        with (stopwatch or Stopwatch())("pose"):
            return self._read(image_bgr, stamp_ns)

    def _read(self, image_bgr: np.ndarray, stamp_ns: int) -> People2D:
        how = self.convention
        fitted = letterbox(image_bgr, self._network.size, how.centred)
        found = how.decode(
            self._network(channels_first(fitted.picture[None], how.rgb, (0.0,), (how.divisor,)))
        )
        assert found is not None  # its form was seen when the model was loaded
        good = np.flatnonzero(found.person > how.min_score)
        kept = good[suppress(found.box_px[good], found.person[good], how.most_overlap)][
            : self.settings.max_people
        ]
        return People2D(
            COCO17,
            fitted.to_image(found.keypoints_px[kept]),
            found.scores[kept].clip(0, 1),
            stamp_ns,
            (image_bgr.shape[1], image_bgr.shape[0]),
        )

    def close(self) -> None:
        """Free the engine."""
        self._network.close()


class Rtmo(OneStage):
    """RTMO: boxes and keypoints, suppressed once more as in rtmlib."""

    name = "rtmo"
    convention = RTMO


class YoloPose(OneStage):
    """YOLO-pose, exported without its non-maximum suppression."""

    name = "yolo-pose"
    convention = YOLO_POSE
