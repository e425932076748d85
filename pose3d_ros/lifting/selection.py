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

"""Lifter that the settings ask for, and its creation."""

from __future__ import annotations

from pose3d_ros import registry
from pose3d_ros.detection import Detector, detector_class
from pose3d_ros.lifting.lifter import Lifter, load_network
from pose3d_ros.lifting.recurrent import FrameLifter
from pose3d_ros.lifting.windowed import WindowLifter
from pose3d_ros.settings import PipelineSettings, SettingsError


def lifter_name(settings: PipelineSettings, detector_gives_depth: bool | None = None) -> str:
    """The name of the shipped lifter, or the path of the model, that the settings ask for.

    ``auto`` depends on whether the detector gives root-relative depth: where that is not told, on
    the detector that the settings name.
    """
    if settings.lifter_model or settings.lifter != "auto":
        return settings.lifter_model or settings.lifter
    if detector_gives_depth is None:
        detector_gives_depth = detector_class(settings).gives_depth
    return "rpsm-context" if detector_gives_depth else "rpsm"


def models(settings: PipelineSettings) -> tuple[str, ...]:
    """Names or paths of the networks of the lifter that the settings ask for."""
    if settings.lifter_model:
        return (settings.lifter_model,)
    return tuple(registry.load(registry.LIFTERS, lifter_name(settings)).models(settings))


def create(settings: PipelineSettings, detector: Detector | None = None) -> Lifter:
    """The lifter that the settings name; what a model of the user's own looks at is told by the
    names of its inputs. ``detector``: taken instead of the one that the settings name.

    Raises ``ModelError``, ``EngineError``, or ``SettingsError`` if the detector does not give the
    depth that the lifter reads.
    """
    source = detector_class(settings) if detector is None else detector
    lifter: Lifter
    if settings.lifter_model:
        engine = load_network(settings.lifter_model, settings)
        window = engine.inputs.keys() == {"keypoints"}
        lifter = WindowLifter(engine) if window else FrameLifter(engine)
    else:
        name = lifter_name(settings, source.gives_depth)
        lifter = registry.load(registry.LIFTERS, name).create(settings)
    try:
        check_depth(lifter, source)
    except SettingsError:
        lifter.close()
        raise
    return lifter


def check_depth(lifter: Lifter, detector: Detector | type[Detector]) -> None:
    """See that the detector gives the depth that the lifter reads. Raises ``SettingsError``."""
    if lifter.reads_depth and not detector.gives_depth:
        able = [
            name
            for name in registry.DETECTORS
            if registry.load(registry.DETECTORS, name).gives_depth
        ]
        raise SettingsError(
            f"lifter {lifter.name}: expected a detector that gives root-relative depth "
            f"({', '.join(able)}), got '{detector.name}'; set the lifter to rpsm or auto"
        )
