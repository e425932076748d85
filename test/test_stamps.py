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

import numpy as np
import pytest

from pose3d_ros.stamps import Order, RateLimit, StampOrder

MS = 1_000_000


@pytest.mark.parametrize("start_ns", [-10_000 * MS, 0, 1_800_000_000_000 * MS])
def test_late_frames_are_dropped_and_jumps_back_begin_anew(start_ns):
    order = StampOrder()
    assert order(start_ns) is Order.ADVANCES
    assert order(start_ns + 100 * MS) is Order.ADVANCES
    assert order(start_ns + 97 * MS) is Order.LATE
    assert order(start_ns + 100 * MS) is Order.LATE  # the same again
    assert order.newest_ns == start_ns + 100 * MS
    assert order(start_ns - 50 * MS) is Order.JUMPED_BACK
    assert order(start_ns) is Order.ADVANCES  # from there on
    assert order(start_ns - 3_600_000 * MS) is Order.JUMPED_BACK


def test_looking_at_a_stamp_remembers_nothing():
    order = StampOrder()
    order(0)
    assert order.of(-200 * MS) is Order.JUMPED_BACK
    assert order(MS) is Order.ADVANCES


def test_after_a_reset_any_stamp_is_the_first():
    order = StampOrder()
    order(1000 * MS)
    order.reset()
    assert order(0) is Order.ADVANCES


@pytest.mark.parametrize(("camera_hz", "limit_hz"), [(30, 20), (30, 30), (30, 7), (12, 20)])
def test_a_rate_limit_holds_on_average_and_does_not_slow_a_slower_camera(camera_hz, limit_hz):
    limit = RateLimit()
    jitter = np.random.default_rng(0).uniform(-2, 2, 10 * camera_hz) * MS
    stamps_ns = np.arange(10 * camera_hz) * (1e9 / camera_hz) + jitter
    passed = sum(limit(int(stamp_ns), limit_hz) for stamp_ns in stamps_ns)
    assert passed == pytest.approx(10 * min(camera_hz, limit_hz), abs=2)


def test_a_rate_limit_of_zero_is_none_and_time_may_jump():
    limit = RateLimit()
    assert all(limit(stamp * MS, 0) for stamp in range(5))
    assert [limit(stamp * MS, 10) for stamp in (0, 50, 100)] == [True, False, True]
    assert limit(-5000 * MS, 10)
    assert not limit(-4950 * MS, 10)
