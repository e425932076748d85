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

"""Where the time of frames goes: spans, their percentiles, and the values in diagnostics."""

import pytest

from pose3d_ros.stopwatch import Stopwatch, summaries, summary


def frame(**stages):
    """A frame whose stages take so many milliseconds, one after the other."""
    stopwatch, now = Stopwatch(), 0.0
    for stage, milliseconds in stages.items():
        stopwatch.add(stage, now, now + milliseconds * 1e-3)
        now += milliseconds * 1e-3
    return stopwatch


def test_percentiles_are_of_the_frames_in_which_a_stage_ran():
    stopwatches = [frame(pose=number, lift=2) for number in range(1, 11)]
    stopwatches[3].add("detect", 0.020, 0.025)
    taken = summaries(stopwatches)
    assert list(taken) == ["detect", "pose", "lift"], "in the order of a frame's way"
    assert taken["pose"] == pytest.approx((5.5, 9.55, 10, 5.5, 1.0))
    assert taken["detect"] == pytest.approx((5, 5, 5, 0.5, 0.1))
    assert sum(stage.mean_ms for stage in taken.values()) == pytest.approx(
        1e3 * sum(sum(stopwatch.seconds.values()) for stopwatch in stopwatches) / len(stopwatches)
    )


def test_a_stage_that_runs_twice_counts_once_with_both_times():
    stopwatch = frame(pose=3, detect=1)
    stopwatch.add("pose", 0.010, 0.012)
    assert stopwatch.seconds == pytest.approx({"pose": 0.005, "detect": 0.001})
    assert stopwatch.total_s == pytest.approx(0.012)
    assert summaries([stopwatch])["pose"].frames == 1.0


def test_a_stage_that_fails_is_stamped_all_the_same():
    stopwatch = Stopwatch()
    with pytest.raises(KeyError), stopwatch("pose"):
        raise KeyError
    assert [span.stage for span in stopwatch.spans] == ["pose"]


def test_nothing_happened():
    assert summaries([]) == {}
    assert summary([0.001], 4) == pytest.approx((1, 1, 1, 0.25, 0.25))


def test_report_for_diagnostics():
    pytest.importorskip("rclpy", reason="needs rclpy")
    from pose3d_ros.nodes.diagnostics import FrameTimes, report

    statistics = FrameTimes()
    for number in range(1, 5):
        statistics.add(None if number == 1 else number * 0.01, frame(pose=number))
    values = report(statistics.take(), 2.0)
    assert values["rate_hz"] == 2
    assert (values["latency_p50_ms"], values["latency_max_ms"]) == pytest.approx((30, 40))
    assert (values["pose_p50_ms"], values["pose_max_ms"]) == pytest.approx((2.5, 4))
    assert report(statistics.take(), 2.0) == {"rate_hz": 0}
