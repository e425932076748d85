"""2D pose detectors: images in, ``People2D`` out. A new detector is one file and one line in
``DETECTORS``.
"""

from __future__ import annotations

from importlib import import_module
from typing import Protocol

import numpy as np

from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings, SettingsError
from pose3d_ros.skeleton import Skeleton
from pose3d_ros.stopwatch import Stopwatch


class Detector(Protocol):
    """Finds people and their keypoints in one image after the other of one camera."""

    skeleton: Skeleton
    """Joints of the people it returns."""
    maps: tuple[tuple[int | None, ...], ...]
    """Shapes (C, H, W) of the feature maps that people carry."""
    settings: PipelineSettings
    """May be replaced at any time; the live settings (``settings.py``) take effect with the next
    image.
    """

    @property
    def engine_name(self) -> str:
        """Name of the engine that runs it now, for diagnostics."""

    def __call__(
        self, image_bgr: np.ndarray, stamp_ns: int, stopwatch: Stopwatch | None = None
    ) -> People2D:
        """People in the image (H, W, 3) uint8, without ids. ``stamp_ns`` rises from call to call.

        ``stopwatch`` is told when people were looked for (``detect``) and when their keypoints
        were read (``pose``, which is all that a one-stage detector does).
        """

    def reset(self) -> None:
        """Forget where people were: time jumped back or the camera changed."""

    def close(self) -> None:
        """Free the engines; the detector cannot be called any more."""


DETECTORS = {
    "blazepose": "blazepose.detector:BlazePose",
    "simcc": "topdown:simcc",
    "heatmap": "topdown:heatmap",
    "heatmap-udp": "topdown:heatmap_udp",
    "rtmo": "onestage:rtmo",
    "yolo-pose": "onestage:yolo_pose",
}
"""``settings.detector`` -> module of this package and factory in it, which takes the
``PipelineSettings``.
"""
WITH_FEATURES = ("blazepose", "heatmap", "heatmap-udp", "simcc")
"""Detectors that give feature maps, top-down ones if their model has them; their factories take
``features``.
"""


def create(settings: PipelineSettings, features: bool = False) -> Detector:
    """The detector that ``settings.detector`` names; with ``features``, people come with its
    feature maps.

    Raises ``ModelError``, ``EngineError`` or ``SettingsError``, each in one line that says what to
    do.
    """
    if features and settings.detector not in WITH_FEATURES:
        raise SettingsError(
            f"detector: expected {' or '.join(WITH_FEATURES)}, whose feature maps this lifter "
            f"reads, "
            f"got '{settings.detector}'; change the detector or the lifter"
        )
    module, factory = DETECTORS[settings.detector].split(":")
    options = {"features": True} if features else {}
    detector: Detector = getattr(import_module(f"{__name__}.{module}"), factory)(
        settings, **options
    )
    return detector
