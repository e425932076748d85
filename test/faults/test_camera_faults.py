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

"""The monocular node survives what happens to its images; ``camera_faults.py`` has more of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
import camera_faults

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bench() -> Iterator[camera_faults.Bench]:
    made = camera_faults.Bench()
    try:
        assert made.spin(camera_faults.START_S, made.somebody) is not None, "somebody is shown"
        yield made
    finally:
        made.close()


@pytest.mark.parametrize(
    "name",
    [
        "source killed and restarted",
        "200 broken images",
        "camera_info with fy 1e-30",
        "one image at 1970",
    ],
)
def test_somebody_is_shown_again(bench: camera_faults.Bench, name: str) -> None:
    outcome = camera_faults.run(bench, camera_faults.SCENARIOS[name])
    assert camera_faults.good(outcome), outcome
