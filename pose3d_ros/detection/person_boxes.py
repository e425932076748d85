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

"""Person boxes from YOLOX and RTMDet exports, for the top-down detectors.

Decoding follows rtmlib (Apache-2.0) and, for what it leaves open, the training configurations of
mmdetection.
"""

from __future__ import annotations

import numpy as np

from pose3d_ros.detection.boxes import (
    Network,
    boxes_from_centres,
    channels_first,
    letterbox,
    suppress,
)
from pose3d_ros.model_store.store import ModelError
from pose3d_ros.settings import PipelineSettings

PERSON = 0  # COCO's class
MIN_SCORE = 0.3
MOST_OVERLAP = 0.45
STRIDES = (8, 16, 32)

# Both families take BGR; what they subtract and divide by is in their training configurations
# only.
NORMALISATION = {
    "yolox": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    "rtmdet": ((103.53, 116.28, 123.675), (57.375, 57.12, 58.395)),
}


class PersonDetector:
    """People's boxes in an image.

    Two forms of export: boxes that have passed non-maximum suppression, [1, N, 5] of x0 y0 x1 y1
    score, if need be with their classes [1, N]; or YOLOX's raw predictions, [1, N, 5 + classes].
    The file does not tell how pictures are to be normalised, so its path must: it has to contain
    ``yolox`` or ``rtmdet`` (the last one counts).
    """

    def __init__(self, settings: PipelineSettings) -> None:
        name = settings.person_model.lower()
        family = max(NORMALISATION, key=name.rfind)
        if name and family not in name:
            raise ModelError(
                f"person_model: expected 'yolox' or 'rtmdet' in the path, got "
                f"'{settings.person_model}'; "
                f"the two want differently normalised pictures, so name the file after its family"
            )
        self._normalisation = NORMALISATION[family]
        self._network = Network(settings.person_model, "person_model", settings)
        self._decode(self._network.try_out())

    def __call__(self, image_bgr: np.ndarray) -> np.ndarray:
        """(P, 4) boxes x0 y0 x1 y1 in pixels, best first, of the people in an image (H, W, 3)
        uint8.
        """
        fitted = letterbox(image_bgr, self._network.size, centred=False)
        boxes, scores = self._decode(
            self._network(channels_first(fitted.picture[None], False, *self._normalisation))
        )
        boxes, scores = boxes[scores > MIN_SCORE], scores[scores > MIN_SCORE]
        kept = suppress(boxes, scores, MOST_OVERLAP)
        return fitted.to_image(boxes[kept].reshape(-1, 2, 2)).reshape(-1, 4)

    def close(self) -> None:
        """Free the engine."""
        self._network.close()

    def _decode(self, outputs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Boxes (N, 4) in the network's pixels and scores (N,) of people."""
        shape = outputs[0].shape
        if len(shape) == 3 and shape[::2] == (1, 5):
            boxes, scores = outputs[0][0, :, :4], outputs[0][0, :, 4]
            classes = [output[0] for output in outputs[1:] if output.shape == shape[:2]]
            people = classes[0] == PERSON if classes else np.ones(len(boxes), bool)
            return boxes[people], scores[people]
        corners, strides = grid(self._network.size)
        if len(shape) == 3 and shape[0] == 1 and shape[1] == len(corners) and shape[2] > 5:
            raw = outputs[0][0]
            centred = np.concatenate(
                [(raw[:, :2] + corners) * strides, np.exp(raw[:, 2:4]) * strides], 1
            )
            return boxes_from_centres(centred), raw[:, 4] * raw[:, 5 + PERSON]
        self.close()
        raise self._network.unexpected(
            f"person boxes [1, N, 5] or YOLOX predictions [1, {len(corners)}, 5 + classes]",
            [output.shape for output in outputs],
        )


def grid(size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Cells (N, 2) and strides (N, 1) of YOLOX's predictions for pictures of ``size`` (width,
    height).
    """
    cells, strides = [], []
    for stride in STRIDES:
        y, x = np.mgrid[: size[1] // stride, : size[0] // stride]
        cells.append(np.stack([x.ravel(), y.ravel()], 1))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(cells), np.concatenate(strides)
