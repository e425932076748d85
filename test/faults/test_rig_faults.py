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

"""The multi-view node survives what happens to its cameras; ``rig_faults.py`` has more of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
import rig_faults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rig() -> Iterator[rig_faults.Bench]:
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    with rig_faults.bench("faults") as made:
        yield made


@pytest.mark.parametrize(
    "name",
    [
        "camera killed and restarted",
        "camera stopped for 2 s",
        "300 clouds of garbage",
        "one clock an hour behind",
        "one clock at 1970",
        "all clocks back by an hour",
    ],
)
def test_everybody_is_shown_again(rig: rig_faults.Bench, name: str) -> None:
    scenario = rig_faults.SCENARIOS[name]
    outcome = rig_faults.run(rig, scenario)
    assert rig_faults.good(scenario, outcome), outcome
