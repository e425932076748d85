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
