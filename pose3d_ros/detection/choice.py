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

"""``detector: auto``: the best reader of the embedded ones that this machine carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from pose3d_ros import inference
from pose3d_ros.inference import autotune
from pose3d_ros.model_store.store import locate, verify
from pose3d_ros.settings import PipelineSettings

BETTER, LIGHTER = "blazepose-heavy", "blazepose"
"""Detectors to choose from; the first is named as its network is."""
RATE_HZ = 30.0
"""Rate of the cameras that it shall keep up with."""
SHARE = 0.5
"""Share of the time between two images for reading people; the rest is for finding, lifting and
publishing them, and for the other programs of a robot.
"""


class Choice(NamedTuple):
    """A detector's name, and why it was chosen."""

    name: str
    reason: str


def chosen(settings: PipelineSettings, features: bool = False) -> Choice:
    """The detector that ``auto`` stands for; one with feature maps where ``features`` are needed.

    What the better one costs is looked up, not measured (``autotune.stored``).
    """
    if features:
        return Choice(LIGHTER, "the lifter reads its feature maps")
    if inference.uses_gpu(settings.engine):
        return Choice(BETTER, "there is a GPU")
    return by_cost(settings.max_people, lambda: stored_ms(settings))


def by_cost(people: int, cost_ms: Callable[[], float | None]) -> Choice:
    """The detector for so many people at ``RATE_HZ``, by the time that the better one takes for
    one person (None: not measured).
    """
    cost, budget = cost_ms(), 1e3 * SHARE / RATE_HZ
    if cost is None:
        return Choice(
            LIGHTER,
            f"it is not known what {BETTER} costs here ('pose3d benchmark --detector auto' "
            "measures it)",
        )
    takes = (
        f"{BETTER} takes {people} x {cost:.1f} ms of the {budget:.1f} ms that {RATE_HZ:g} Hz leave"
    )
    return Choice(BETTER if people * cost <= budget else LIGHTER, takes)


def stored_ms(settings: PipelineSettings) -> float | None:
    """Milliseconds of the better network for one person on this CPU, where that was measured."""
    if verify(BETTER) is not None:  # not fetched, so nobody measured it
        return None
    return autotune.stored(locate(BETTER), settings.precision).milliseconds
