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

"""Parts of the detectors that search a whole image: letterboxing, non-maximum suppression,
reading an ONNX export.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from pose3d_ros import inference
from pose3d_ros.inference import Engine
from pose3d_ros.model_store.store import ModelError, locate
from pose3d_ros.settings import PipelineSettings

PADDING = 114  # the grey around the picture that all the YOLO family was trained with


class Letterboxed(NamedTuple):
    """A picture fitted into the network's, and the way back to the image."""

    picture: np.ndarray
    scale: np.ndarray
    offset_px: np.ndarray

    def to_image(self, points_px: np.ndarray) -> np.ndarray:
        """Image pixels (..., 2) of pixels (..., 2) of the picture.

        The exact inverse of the resampling, which keeps pixel corners in place: the reference
        decoders divide by the scale only and land half a pixel off when the scale is 1/2.
        """
        return np.asarray((points_px + 0.5 - self.offset_px) / self.scale - 0.5)


def letterbox(image_bgr: np.ndarray, size: tuple[int, int], centred: bool) -> Letterboxed:
    """Fit an image (H, W, 3) uint8 into ``size`` (width, height), keeping its aspect ratio.

    The picture is in the upper left corner (YOLOX, RTMDet, RTMO) or ``centred`` (Ultralytics).
    """
    height, width = image_bgr.shape[:2]
    ratio = min(size[0] / width, size[1] / height)
    rounded = round if centred else int  # as the reference of each
    fitted = max(1, rounded(width * ratio)), max(1, rounded(height * ratio))
    left, top = ((size[0] - fitted[0]) // 2, (size[1] - fitted[1]) // 2) if centred else (0, 0)
    picture = np.full((size[1], size[0], 3), PADDING, np.uint8)
    picture[top : top + fitted[1], left : left + fitted[0]] = cv2.resize(
        image_bgr, fitted, interpolation=cv2.INTER_LINEAR
    )
    return Letterboxed(picture, np.array(fitted) / (width, height), np.array([left, top], float))


def boxes_from_centres(boxes: np.ndarray) -> np.ndarray:
    """Corners x0 y0 x1 y1 (N, 4) of boxes given as centre and size x y w h (N, 4)."""
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1)


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = sides.clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(-1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9))


def suppress(boxes: np.ndarray, scores: np.ndarray, most_overlap: float) -> np.ndarray:
    """Indices, best first, of boxes (N, 4) that no better one overlaps by more than
    ``most_overlap``.
    """
    order = np.argsort(-scores, kind="stable")
    overlapping = overlaps(boxes[order], boxes[order]) > most_overlap
    kept = np.zeros(len(order), bool)
    for i in range(len(order)):
        kept[i] = not (overlapping[i, :i] & kept[:i]).any()
    return order[kept]


class Network:
    """An ONNX export with one image input of known size, which says what is wrong when it is
    another model.

    ``size`` (width, height) of its pictures, ``many`` whether it takes several at once. Feature
    maps are outputs named features0, features1 and so on: where ``features`` are asked for,
    ``maps`` are their names and they come last, otherwise they are left out. Raises ``ModelError``
    or ``EngineError``.
    """

    def __init__(
        self, path: str, setting: str, settings: PipelineSettings, features: bool = False
    ) -> None:
        if not path:
            raise ModelError(
                f"{setting}: expected the path of an ONNX model for detector "
                f"'{settings.detector}', got none; set {setting}"
            )
        self.path = locate(path)
        load = partial(
            inference.load,
            self.path,
            settings.engine,
            settings.threads,
            precision=settings.precision,
            max_people=settings.max_people,
        )
        self.engine: Engine = load()
        maps = sorted(
            (name for name in self.engine.outputs if re.fullmatch(r"features\d+", name)),
            key=lambda name: int(name.removeprefix("features")),
        )
        others = [name for name in self.engine.outputs if name not in maps]
        self.maps = tuple(maps) if features else ()
        if features and not maps:
            self.close()
            raise ModelError(
                f"{self.path}: expected feature maps among the outputs (features0, features1, "
                f"...), which the lifter reads, got {', '.join(others)}; take an HRNet of "
                "'pose3d models import', or a lifter without feature maps"
            )
        if others and (wanted := [*others, *self.maps]) != list(self.engine.outputs):
            self.close()
            self.engine = load(outputs=wanted)
        shapes = list(self.engine.inputs.values())
        if not self.engine.outputs:
            self.close()
            raise self.unexpected("outputs", [])
        if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][1] != 3 or None in shapes[0][2:]:
            self.close()
            raise self.unexpected(
                "one input [N, 3, height, width] of fixed height and width", shapes
            )
        self.many = shapes[0][0] is None
        self._input = next(iter(self.engine.inputs))
        self.size = (int(shapes[0][3] or 0), int(shapes[0][2] or 0))

    def unexpected(self, expected: str, got: Sequence[tuple[int | None, ...]]) -> ModelError:
        """The error for an export of another form."""
        shapes = " and ".join(str(["any" if n is None else n for n in shape]) for shape in got)
        return ModelError(
            f"{self.path}: expected {expected}, got {shapes or 'nothing'}; is this the export "
            "that the setting asks for?"
        )

    def __call__(self, pictures: np.ndarray) -> list[np.ndarray]:
        """Outputs, in the model's order, for pictures (N, 3, H, W) float32; one by one if it takes
        no more.
        """
        if self.many or len(pictures) == 1:
            return list(self.engine({self._input: pictures}).values())
        runs = [list(self.engine({self._input: picture[None]}).values()) for picture in pictures]
        return [np.concatenate(outputs) for outputs in zip(*runs, strict=True)]

    def try_out(self) -> list[np.ndarray]:
        """Outputs for one grey picture: the shapes that the model really gives."""
        return self(np.full((1, 3, self.size[1], self.size[0]), PADDING, np.float32))

    def close(self) -> None:
        """Free the engine."""
        self.engine.close()


def channels_first(
    pictures_bgr: np.ndarray, rgb: bool, mean: Sequence[float], std: Sequence[float]
) -> np.ndarray:
    """(N, 3, H, W) float32 network input of pictures (N, H, W, 3) uint8; ``mean`` and ``std`` in
    its colour order.
    """
    pictures = pictures_bgr[..., ::-1] if rgb else pictures_bgr
    # Turned before it is scaled: ten times faster than with the three colours innermost.
    planes = pictures.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    planes -= np.asarray(mean, np.float32)[:, None, None]
    planes /= np.asarray(std, np.float32)[:, None, None]
    return np.asarray(planes)
