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

"""Buffer of 2D poses of cameras that are not synchronised: brings them to one common time after
another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pose3d_ros.people import People2D
from pose3d_ros.stamps import JUMP_BACK_S, Order, StampOrder

# A camera that has sent nothing for this long, or for two of its periods, is not waited for,
LIVE_S = 0.5
HEARD_S = 2.0  # and after this long has no vote on what time it is
MAX_AGE_S = 0.3  # 2D poses further from the common time than this are of no use to the tracker
MAX_SKEW_S = 1.0  # a camera whose stamps are later than this, or ahead, has another clock
USUAL_LATENCY_S = 0.1  # the wait for a late camera where nothing else is asked or needed,
LONGEST_WAIT_S = 1.0  # and the longest one.
MAX_POSES = 30  # 2D poses buffered per camera
MAX_PERIODS_AHEAD = 3  # of its own by which a camera may be ahead of the others, and JUMP_BACK_S


@dataclass
class _Stream:
    """2D poses of one camera that were not handed out, with their arrival. ``in_step``: their
    stamps are of the rig's time.
    """

    pending: deque[tuple[People2D, int]] = field(default_factory=lambda: deque(maxlen=MAX_POSES))
    in_step: bool = True
    order: StampOrder = field(default_factory=StampOrder)  # of the stamps in step
    period_ns: int = 0  # between its newest stamp in step and the one before
    used_ns: int | None = None
    arrival_ns: int | None = None
    delay_ns: float | None = None  # from stamp to arrival, smoothed, with its mean deviation
    deviation_ns: float = 0.0

    @property
    def clock_ns(self) -> int:
        """Difference of the camera's clock from the clock of arrivals, less the latency."""
        people, arrival_ns = self.pending[-1]
        return people.stamp_ns - arrival_ns

    def heard(self, now_ns: int, within_s: float) -> bool:
        """Whether something arrived within some time."""
        return self.arrival_ns is not None and now_ns - self.arrival_ns <= within_s * 1e9

    def live(self, now_ns: int) -> bool:
        """Whether it still sends, at its own rate."""
        return self.heard(now_ns, max(LIVE_S, 2e-9 * self.period_ns))

    def learn_delay(self, delay_ns: int) -> None:
        """Smooth the delay as TCP does its round-trip time (RFC 6298)."""
        if self.delay_ns is None:
            self.delay_ns, self.deviation_ns = float(delay_ns), 0.0
            return
        error = delay_ns - self.delay_ns
        self.deviation_ns += (abs(error) - self.deviation_ns) / 4
        self.delay_ns += error / 8


class PoseBuffer:
    """Buffers 2D poses per camera; ``take`` hands out one from each for a common time.

    A common time is complete when every live camera has something new. Late cameras are waited for
    ``max_latency_s`` after the first arrival, and what comes later still counts the next time.
    Silent ones are not waited for at all, nor slow ones whose next stamp, as their last two tell,
    is not due within that time. With 0 the cameras tell how long: half of their usual period, so
    that slow ones meet, and as much as one is usually later than the others, up to
    ``LONGEST_WAIT_S``. Arrival times ``now_ns`` come from any steady clock.

    Stamps out of step are left out until they fit again: those of a camera that jump, back by more
    than ``JUMP_BACK_S`` or ahead, and those more than ``MAX_SKEW_S`` behind the others' or
    ``MAX_AGE_S`` ahead. When
    most of the cameras that are heard have jumped to the same time, a clock was set or a recording
    plays again: the buffer starts afresh from there. Of two cameras that disagree, the one that
    was in use goes on; at first, the one whose clock is behind.
    """

    def __init__(self, cameras: int, max_latency_s: float = 0.0) -> None:
        self._streams = [_Stream() for _ in range(cameras)]
        self._latency_ns = round(max_latency_s * 1e9)
        self._newest: tuple[int, int] | None = None  # newest stamp in step, and its arrival
        self._stamp_ns: int | None = None  # common time handed out last

    def add(self, camera: int, people: People2D, now_ns: int) -> bool:
        """Buffer what a camera saw; False for what is not used: not newer than what was handed
        out, known already, or out of step.
        """
        stream, stamp_ns = self._streams[camera], people.stamp_ns
        stream.arrival_ns = now_ns
        fits = self._fits(stream, stamp_ns, now_ns)
        if fits != stream.in_step:
            stream.pending.clear()
            stream.in_step = fits
            if fits:
                stream.order.reset()
        if not fits:
            stream.pending.append((people, now_ns))
            self._restart_with_most(stream, now_ns)
            return stream.in_step
        if (stream.used_ns is not None and stamp_ns <= stream.used_ns) or any(
            stamp_ns == other.stamp_ns for other, _ in stream.pending
        ):
            return False
        stream.pending.append((people, now_ns))
        stream.learn_delay(now_ns - stamp_ns)
        before_ns = stream.order.newest_ns
        if stream.order(stamp_ns) is Order.ADVANCES and before_ns is not None:
            stream.period_ns = min(stamp_ns - before_ns, round(MAX_SKEW_S * 1e9))
        if self._newest is None or stamp_ns > self._newest[0]:
            self._newest = stamp_ns, now_ns
        return True

    def _fits(self, stream: _Stream, stamp_ns: int, now_ns: int) -> bool:
        """Whether a stamp is in step with the other cameras' and with those of its own camera."""
        if self._newest is None:
            return True
        newest_ns, arrival_ns = self._newest
        ahead_ns = now_ns - arrival_ns + MAX_AGE_S * 1e9
        if stream.in_step and stream.order.newest_ns is not None:
            if stream.order.of(stamp_ns) is Order.JUMPED_BACK:
                return False
            ahead_ns = max(now_ns - arrival_ns, MAX_PERIODS_AHEAD * stream.period_ns)
            ahead_ns += JUMP_BACK_S * 1e9
        elif stream.used_ns is not None and stamp_ns <= stream.used_ns:
            return False
        return newest_ns - MAX_SKEW_S * 1e9 <= stamp_ns <= newest_ns + ahead_ns

    def _restart_with_most(self, stream: _Stream, now_ns: int) -> None:
        """Start afresh from the time of a stream out of step, when most cameras agree with it."""
        heard = [s for s in self._streams if s.heard(now_ns, HEARD_S)]
        agreeing = [
            s
            for s in heard
            if not s.in_step
            and s.pending
            and abs(s.clock_ns - stream.clock_ns) <= MAX_SKEW_S * 1e9
        ]
        most = 2 * len(agreeing) > len(heard)
        if not most and self._stamp_ns is None and self._newest is not None:
            behind = stream.clock_ns < self._newest[0] - self._newest[1]
            most = 2 * len(agreeing) == len(heard) and behind
        if not most:
            return
        for s in self._streams:
            s.in_step, s.used_ns = s in agreeing or s.arrival_ns is None, None
            if s in agreeing:
                before_ns, (people, _) = s.order.newest_ns, s.pending[-1]
                # A recording that plays fast seems to jump ahead until its period is known.
                step_ns = people.stamp_ns - before_ns if before_ns is not None else 0
                s.period_ns = step_ns if 0 < step_ns < MAX_SKEW_S * 1e9 else 0
                s.order.newest_ns = people.stamp_ns
        self._newest = max((s.pending[-1][0].stamp_ns, s.pending[-1][1]) for s in agreeing)
        self._stamp_ns = None

    def out_of_step(self, now_ns: int) -> list[int]:
        """Indices of live cameras that are left out, because their stamps do not fit the
        others'.
        """
        return [
            c for c, s in enumerate(self._streams) if not s.in_step and s.heard(now_ns, LIVE_S)
        ]

    def take(self, now_ns: int) -> tuple[list[People2D | None], int] | None:
        """2D poses (None of a camera that has nothing new) and their common stamp, or None while a
        common time is not complete.

        The common time is the newest that all cameras have reached who are not later than
        ``max_latency_s`` after most; each gives the poses nearest to it, with their own stamps.
        """
        streams = [s if s.in_step else _Stream() for s in self._streams]
        waiting = [stream.pending for stream in streams if stream.pending]
        if not waiting:
            return None
        reached = sorted(max(people.stamp_ns for people, _ in pending) for pending in waiting)
        due_ns, wait_ns = self._waits(now_ns, alone=len(waiting) == 1)
        complete = all(
            stream.pending
            or not stream.live(now_ns)
            or stream.order.newest_ns is not None
            and stream.order.newest_ns + stream.period_ns > reached[-1] + due_ns
            for stream in streams
        )
        if not complete and now_ns - min(pending[0][1] for pending in waiting) < wait_ns:
            return None
        # One camera that is ahead of most others does not leave these behind.
        most_ns = reached[len(reached) // 2]
        stamp_ns = min(r for r in reached if r >= most_ns - wait_ns)
        if self._stamp_ns is not None and stamp_ns <= self._stamp_ns:
            return None
        self._stamp_ns = stamp_ns
        return [self._nearest(stream, stamp_ns) for stream in streams], stamp_ns

    def _waits(self, now_ns: int, alone: bool) -> tuple[float, float]:
        """How far ahead a camera's next stamp may be to be worth waiting for, and how long to wait
        after the first arrival, in nanoseconds. One that is ``alone`` finds nobody: a second one
        is worth a whole period.
        """
        if self._latency_ns:
            return self._latency_ns, self._latency_ns
        live = [s for s in self._streams if s.in_step and s.live(now_ns) and s.period_ns]
        if not live:
            return USUAL_LATENCY_S * 1e9, USUAL_LATENCY_S * 1e9
        period_ns = sorted(s.period_ns for s in live)[(len(live) - 1) // 2]
        share = 1.0 if alone else 0.5
        due_ns = min(max(USUAL_LATENCY_S * 1e9, share * period_ns), MAX_AGE_S * 1e9)
        delays = [
            (s.delay_ns or 0.0, s.deviation_ns) for s in live if s.period_ns <= 2 * period_ns
        ]
        latest = max(delay + 2 * deviation for delay, deviation in delays)
        late_ns = latest - min(delay for delay, _ in delays)
        return due_ns, min(due_ns + late_ns, LONGEST_WAIT_S * 1e9)

    @staticmethod
    def _nearest(stream: _Stream, stamp_ns: int) -> People2D | None:
        """Take the poses nearest to a stamp out of the stream, and forget older ones."""
        if not stream.pending:
            return None
        chosen = min(
            (people for people, _ in stream.pending),
            key=lambda people: abs(people.stamp_ns - stamp_ns),
        )
        stream.used_ns = chosen.stamp_ns
        stream.pending = deque(
            ((p, a) for p, a in stream.pending if p.stamp_ns > chosen.stamp_ns), maxlen=MAX_POSES
        )
        return chosen
