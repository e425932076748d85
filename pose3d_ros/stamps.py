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

"""Order of acquisition stamps: one policy for pipelines, buffers, trackers and nodes of what is a
late frame and what is a jump back in time.
"""

from __future__ import annotations

from enum import Enum

JUMP_BACK_S = 0.1
"""Stamps further back than this are of another time: a clock was set, a recording plays again.

Drivers that round, and networks that reorder, stay below it: their late frames are dropped. A
clock that is set back by less costs the frames until it has caught up.
"""
EARLY = 0.25  # of a period by which a frame may come early: stamps jitter


class Order(Enum):
    """Relation of a stamp to the newest one before it."""

    ADVANCES = "advances"
    """It is later, or the first."""
    LATE = "late"
    """It is the same, or back by at most ``JUMP_BACK_S``: drop the frame, nothing else changes."""
    JUMPED_BACK = "jumped back"
    """It is back by more: forget everybody and begin anew with this frame."""


class StampOrder:
    """Remembers the newest stamp (ns, any integer, below zero too) and tells what the next one is.

    >>> order = StampOrder()
    >>> [order(stamp_ns).name for stamp_ns in (0, 40_000_000, 37_000_000, -5_000_000_000)]
    ['ADVANCES', 'ADVANCES', 'LATE', 'JUMPED_BACK']
    """

    def __init__(self) -> None:
        self.newest_ns: int | None = None

    def __call__(self, stamp_ns: int) -> Order:
        """The order of a stamp, which is the newest afterwards unless it is late."""
        order = self.of(stamp_ns)
        if order is not Order.LATE:
            self.newest_ns = stamp_ns
        return order

    def of(self, stamp_ns: int) -> Order:
        """The order that a stamp would have; nothing is remembered."""
        if self.newest_ns is None or stamp_ns > self.newest_ns:
            return Order.ADVANCES
        back_s = (self.newest_ns - stamp_ns) * 1e-9
        return Order.LATE if back_s <= JUMP_BACK_S else Order.JUMPED_BACK

    def reset(self) -> None:
        """Forget the newest stamp: the next one is the first."""
        self.newest_ns = None


class RateLimit:
    """Lets so many frames a second pass, by their stamps: of a camera's 30 Hz, at 20, two of
    three.
    """

    def __init__(self) -> None:
        self._due_ns: int | None = None

    def __call__(self, stamp_ns: int, rate_hz: float) -> bool:
        """Whether a frame may pass; at 0 Hz every one may."""
        if not rate_hz:
            self._due_ns = None
            return True
        period_ns = round(1e9 / rate_hz)
        due_ns = self._due_ns
        if due_ns is None or not -2 * period_ns < stamp_ns - due_ns <= period_ns:
            due_ns = stamp_ns  # the first, or one after a gap or a jump
        passes = stamp_ns >= due_ns - EARLY * period_ns
        self._due_ns = due_ns + period_ns if passes else due_ns
        return passes
