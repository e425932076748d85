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

"""Top-down detectors: a box per person, a crop per box, a pose per crop.

Crops and SimCC decoding follow mmpose and its readable twin rtmlib (Apache-2.0), with two
corrections. The networks were trained on RGB pictures (``bgr_to_rgb=True`` in mmpose's
configurations), which rtmlib overlooks. And a heat map belongs to its crop in one of two ways:
plain (HRNet), cell i at input pixel i * stride; or UDP (ViTPose; Huang et al., CVPR 2020), where
crop and map are aligned at the centres of their outer pixels. Mixing them shifts joints by up to
1.6 % of the crop, so the setting names the way.

Heat maps of both ways are refined by DARK (Zhang et al., CVPR 2020), a second-order fit to the
logarithm of the smoothed map: a quarter-pixel offset towards the higher neighbour, the older rule,
leaves errors of up to a quarter of a cell, one to two pixels of a person who fills the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

import cv2
import numpy as np

from pose3d_ros.detection.boxes import Network, channels_first, overlaps, suppress
from pose3d_ros.detection.detector import Detector
from pose3d_ros.detection.person_boxes import PersonDetector
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings
from pose3d_ros.skeleton import COCO17, HALPE26, Skeleton
from pose3d_ros.stopwatch import Stopwatch

PADDING = 1.25  # of a person's box, as in training
MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)  # RGB
SKELETONS = {len(skeleton): skeleton for skeleton in (COCO17, HALPE26)}

SEEN = 0.3  # confidence of a keypoint that tells where a person is
KEYPOINT_MARGIN = (
    1.25  # keypoints end before the body does; rtmlib's tracker enlarges them as much
)
MOST_OVERLAP = 0.45
DARK_KERNEL = 11  # cells; for the Gaussians of 2 cells that these networks are trained with
# (3, 13): the smoothed values of three cells from those of thirteen.
_SMOOTH = np.stack(
    [np.pad(cv2.getGaussianKernel(DARK_KERNEL, 0)[:, 0], (cell, 2 - cell)) for cell in range(3)]
)


class OutputForm(NamedTuple):
    """Form of the network's outputs: ``simcc``, or heat maps; and whether crops are ``aligned``
    as in UDP.
    """

    simcc: bool
    aligned: bool


class TopDown(Detector):
    """A detector that follows people: their next crops come from their last keypoints.

    The person detector runs while nobody is followed, and every ``detect_interval_s`` for
    newcomers. Where it finds nobody there is nobody. The skeleton follows from the number of
    joints, 17 (COCO) or 26 (Halpe). With ``features``, people carry the network's outputs
    features0, features1 and so on.
    """

    gives_maps = True
    form: ClassVar[OutputForm]

    def __init__(self, settings: PipelineSettings, features: bool = False) -> None:
        self.settings = settings
        self._network = Network(settings.detector_model, "detector_model", settings, features)
        self.skeleton, self.maps = self._forms()
        self._person = PersonDetector(settings)
        self._boxes = np.zeros((0, 4))
        self._searched_ns: int | None = None

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """The person detector's and the pose network's files."""
        return settings.person_model, settings.detector_model

    @property
    def engine_name(self) -> str:
        """Name of the engine, as it is now."""
        return self._network.engine.name

    def __call__(
        self, image_bgr: np.ndarray, stamp_ns: int, stopwatch: Stopwatch | None = None
    ) -> People2D:
        """People in an image (H, W, 3) uint8."""
        stopwatch = stopwatch or Stopwatch()
        size = (image_bgr.shape[1], image_bgr.shape[0])
        boxes = self._boxes
        due = (
            self._searched_ns is None
            or stamp_ns - self._searched_ns >= self.settings.detect_interval_s * 1e9
        )
        if due or not len(boxes):
            with stopwatch("detect"):
                found = self._person(image_bgr)
            lost = (
                overlaps(boxes, found).max(1, initial=0) < MOST_OVERLAP
            )  # the detector's box is the better one
            boxes = np.concatenate([boxes[lost], found])[: self.settings.max_people]
            self._searched_ns = stamp_ns
        if not len(boxes):
            self._boxes = boxes
            return People2D.empty(self.skeleton, stamp_ns, size)
        with stopwatch("pose"):
            people = self._poses(image_bgr, boxes, stamp_ns)
        # Half of the joints seen is a person; two boxes with the same joints are one.
        seen = np.flatnonzero(np.median(people.confidence, 1) >= SEEN)
        around = replace(people, features=())[seen].boxes_px(SEEN)
        kept = seen[np.sort(suppress(around, people.confidence[seen].mean(1), 0.9))]
        if len(kept) < len(people):  # else, as nearly always, feature maps need not be copied
            people = people[kept]
        self._boxes = enlarged(people.boxes_px(SEEN), KEYPOINT_MARGIN)
        return people

    def reset(self) -> None:
        """Forget where people were."""
        self._boxes = np.zeros((0, 4))
        self._searched_ns = None

    def close(self) -> None:
        """Free the engines."""
        self._network.close()
        self._person.close()

    def _poses(self, image_bgr: np.ndarray, boxes: np.ndarray, stamp_ns: int) -> People2D:
        """People in the boxes (P, 4)."""
        size = self._network.size
        origins, steps = crop_geometry(boxes, size, self.form.aligned)
        crops = np.stack(
            [crop(image_bgr, *geometry, size) for geometry in zip(origins, steps, strict=True)]
        )
        outputs, maps = self._split(self._network(channels_first(crops, True, MEAN, STD)))
        if self.form.simcc:
            cells, scores = decode_simcc(*outputs[:2])
            extent = np.array([outputs[0].shape[2], outputs[1].shape[2]])
        else:
            cells, scores = decode_heatmaps(outputs[0])
            extent = np.array(outputs[0].shape[:1:-1])
        aligned = int(self.form.aligned)
        in_crop = cells * (np.array(size) - aligned) / (extent - aligned)
        confidence = scores.clip(0, 1)
        keypoints = np.where(
            confidence[..., None] > 0, origins[:, None] + in_crop * steps[:, None], np.nan
        )
        return People2D(
            self.skeleton,
            keypoints,
            confidence,
            stamp_ns,
            (image_bgr.shape[1], image_bgr.shape[0]),
            features=tuple(maps),
            crop_from_image=crop_from_image(origins, steps, size) if maps else None,
        )

    def _split(self, outputs: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Outputs that hold the joints' places, and the feature maps."""
        first = len(outputs) - len(self._network.maps)
        return outputs[:first], outputs[first:]

    def _forms(self) -> tuple[Skeleton, tuple[tuple[int | None, ...], ...]]:
        """The network's joints, and the shapes (C, H, W) of its feature maps."""
        outputs, maps = self._split(self._network.try_out())
        shapes = [output.shape for output in outputs]
        if self.form.simcc:
            fits = (
                len(shapes) == 2
                and all(len(shape) == 3 for shape in shapes)
                and shapes[0][1] == shapes[1][1]
            )
        else:
            fits = len(shapes) == 1 and len(shapes[0]) == 4
        if not fits or shapes[0][1] not in SKELETONS:
            self._network.close()
            form = (
                "SimCC vectors [N, J, bins of x] and [N, J, bins of y]"
                if self.form.simcc
                else ("heat maps [N, J, height, width]")
            )
            raise self._network.unexpected(f"{form} of J = 17 (COCO) or 26 (Halpe) joints", shapes)
        return SKELETONS[shapes[0][1]], tuple(values.shape[1:] for values in maps)


class SimCC(TopDown):
    """RTMPose and other SimCC networks."""

    name = "simcc"
    form = OutputForm(simcc=True, aligned=False)


class HeatMap(TopDown):
    """HRNet and other networks with plain heat maps."""

    name = "heatmap"
    form = OutputForm(simcc=False, aligned=False)


class HeatMapUdp(TopDown):
    """ViTPose and other networks trained with unbiased data processing."""

    name = "heatmap-udp"
    form = OutputForm(simcc=False, aligned=True)


def enlarged(boxes: np.ndarray, factor: float) -> np.ndarray:
    """Boxes (P, 4) x0 y0 x1 y1 about the same centres."""
    centres, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * factor
    return np.concatenate([centres - half, centres + half], 1)


def crop_geometry(
    boxes: np.ndarray, size: tuple[int, int], aligned: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Image pixel (P, 2) of each crop's first pixel, and image pixels (P, 2) per pixel of the
    crop.

    Boxes (P, 4) x0 y0 x1 y1, padded and widened to the aspect ratio of ``size`` (width, height).
    ``aligned``: the centres of the outer pixels of the crop lie on the border of the box (UDP).
    """
    padded = enlarged(boxes, PADDING)
    extent = np.maximum(
        padded[:, 2:] - padded[:, :2], 1.0
    )  # a person of no size cannot be cropped
    aspect = size[0] / size[1]
    extent = np.stack(
        [
            np.maximum(extent[:, 0], extent[:, 1] * aspect),
            np.maximum(extent[:, 1], extent[:, 0] / aspect),
        ],
        1,
    )
    return (padded[:, :2] + padded[:, 2:] - extent) / 2, extent / (np.array(size) - int(aligned))


def crop_from_image(origins: np.ndarray, steps: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(P, 2, 3) affine maps from image pixels to the unit square of each crop, whose corners are
    those of its outer pixels, for what ``crop_geometry`` gives.
    """
    maps = np.zeros((len(origins), 2, 3))
    maps[:, [0, 1], [0, 1]] = 1 / (steps * size)
    maps[:, :, 2] = (0.5 - origins / steps) / size
    return maps


def crop(
    image_bgr: np.ndarray, origin: np.ndarray, step: np.ndarray, size: tuple[int, int]
) -> np.ndarray:
    """The crop (height, width, 3) uint8 of ``size`` (width, height); black outside of the
    image.
    """
    image_from_crop = np.array([[step[0], 0, origin[0]], [0, step[1], origin[1]]])
    return cv2.warpAffine(
        image_bgr, image_from_crop, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    )


def decode_simcc(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins (P, J, 2) and scores (P, J) of SimCC vectors (P, J, bins of x) and (P, J, bins of y).

    The score is the mean of both maxima, as in rtmlib.
    """
    return np.stack([x.argmax(2), y.argmax(2)], 2).astype(float), (x.max(2) + y.max(2)) / 2


def decode_heatmaps(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cells (P, J, 2), with fractions by DARK, and scores (P, J) of heat maps (P, J, H, W).

    The refinement stays within a cell: at a map's border, where the fit has no neighbours, it may
    point anywhere.
    """
    people, joints, height, width = maps.shape
    flat = maps.reshape(-1, height, width)
    peaks = flat.reshape(len(flat), -1).argmax(1)
    scores = flat.reshape(len(flat), -1).max(1)
    peaks = np.stack([peaks % width, peaks // width], 1)
    fractions = np.where(scores[:, None] > 0, refinement(flat, peaks), 0)
    return (peaks + fractions).reshape(people, joints, 2), scores.reshape(people, joints)


def refinement(heat: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    """Fractions (N, 2) of a cell from the peaks (N, 2), x y, of heat maps (N, H, W) to their
    maxima, by DARK.
    """
    # The kernel reaches 5 cells, so this neighbourhood gives what smoothing the whole map would,
    # mirrored borders too.
    reach = DARK_KERNEL // 2 + 1
    around = np.arange(-reach, reach + 1)
    columns, rows = (
        _mirrored(peaks[:, axis, None] + around, heat.shape[2 - axis]) for axis in (0, 1)
    )
    window = heat[np.arange(len(heat))[:, None, None], rows[:, :, None], columns[:, None]]
    log = np.log((_SMOOTH @ window @ _SMOOTH.T).clip(0.001, 50))  # (N, 3, 3)
    dx, dy = (log[:, 1, 2] - log[:, 1, 0]) / 2, (log[:, 2, 1] - log[:, 0, 1]) / 2
    dxx, dyy = (
        log[:, 1, 2] - 2 * log[:, 1, 1] + log[:, 1, 0],
        log[:, 2, 1] - 2 * log[:, 1, 1] + log[:, 0, 1],
    )
    dxy = (
        log[:, 2, 2]
        - log[:, 1, 2]
        - log[:, 2, 1]
        + 2 * log[:, 1, 1]
        - log[:, 1, 0]
        - log[:, 0, 1]
        + log[:, 0, 0]
    ) / 2
    determinant = dxx * dyy - dxy**2
    maximum = (determinant >= 1e-9) & (dxx < 0)
    step = (
        np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], 1)
        / np.where(maximum, determinant, 1)[:, None]
    )
    return np.where(maximum[:, None], step.clip(-1, 1), 0)


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Indices within ``length``, mirrored at the first and the last (OpenCV's
    BORDER_REFLECT_101).
    """
    period = max(2 * (length - 1), 1)
    within = np.abs(index) % period
    return np.asarray(np.minimum(within, period - within))
