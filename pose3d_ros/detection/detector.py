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

"""The interface of all 2D detectors, and their creation by name."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from pose3d_ros import registry
from pose3d_ros.arrays import ImageBgr
from pose3d_ros.detection.choice import chosen
from pose3d_ros.people import People2D
from pose3d_ros.settings import PipelineSettings, SettingsError
from pose3d_ros.skeleton import Skeleton
from pose3d_ros.stopwatch import Stopwatch

_log = logging.getLogger(__name__)


class Detector(ABC):
    """Finds people and their keypoints in one image after the other of one camera.

    A subclass is made from the ``PipelineSettings``, and, where it ``gives_maps``, from
    ``features`` as well: whether people shall come with feature maps. It sets ``skeleton``.
    """

    name: ClassVar[str] = ""
    """For people: the name it is registered under."""
    gives_maps: ClassVar[bool] = False
    """Whether people may come with feature maps."""
    gives_depth: ClassVar[bool] = False
    """Whether people come with ``root_relative_depth_px``."""

    skeleton: Skeleton
    """Joints of the people it returns."""
    maps: tuple[tuple[int | None, ...], ...] = ()
    """Shapes (C, H, W) of the feature maps that people carry."""
    settings: PipelineSettings
    """May be replaced at any time; the live settings (``settings.py``) take effect with the next
    image.
    """

    @classmethod
    def models(cls, settings: PipelineSettings) -> Sequence[str]:
        """Names or paths of the networks that it runs (``model_store.store.locate``)."""
        return ()

    @property
    def engine_name(self) -> str:
        """Name of the engine that runs it now, for diagnostics."""
        return self.name

    @abstractmethod
    def __call__(
        self, image_bgr: ImageBgr, stamp_ns: int, stopwatch: Stopwatch | None = None
    ) -> People2D:
        """People in the image (H, W, 3) uint8, without ids. ``stamp_ns`` rises from call to call.

        ``stopwatch`` is told when people were looked for (``detect``) and when their keypoints
        were read (``pose``, which is all that a one-stage detector does).
        """

    def reset(self) -> None:  # noqa: B027 - most have nothing to forget
        """Forget where people were: time jumped back or the camera changed."""

    def close(self) -> None:  # noqa: B027 - some have no engine
        """Free the engines; the detector cannot be called any more."""


def detector_class(settings: PipelineSettings) -> type[Detector]:
    """The class that ``settings.detector`` names, or that ``auto`` stands for on this machine."""
    name = chosen(settings).name if settings.detector == "auto" else settings.detector
    found: type[Detector] = registry.load(registry.DETECTORS, name)
    return found


def create(settings: PipelineSettings, features: bool = False) -> Detector:
    """The detector that ``settings.detector`` names; with ``features``, people come with its
    feature maps.

    Raises ``ModelError``, ``EngineError`` or ``SettingsError``, each in one line that says what to
    do.
    """
    if settings.detector == "auto":
        name, reason = chosen(settings, features)
        _log.info("detector auto is %s: %s", name, reason)
        settings = settings.changed(detector=name)
    made: Any = detector_class(settings)
    if features and not made.gives_maps:
        able = [
            name
            for name in registry.DETECTORS
            if registry.load(registry.DETECTORS, name).gives_maps
        ]
        raise SettingsError(
            f"detector: expected {' or '.join(able)}, whose feature maps this lifter reads, got "
            f"'{settings.detector}'; change the detector or the lifter"
        )
    detector: Detector = made(settings, features=True) if features else made(settings)
    return detector
