"""2D poses of cameras that are not synchronised, put together for one common time after
another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from pose3d_ros.people import People2D

LIVE_S = 0.5  # a camera that has sent nothing for this long is not waited for
TIME_JUMP_S = 2.0  # stamps that go back by more belong to a new recording
MAX_SKEW_S = 1.0  # a camera whose stamps are further from the others' has another clock
MAX_POSES = 30  # 2D poses kept per camera


@dataclass
class _Stream:
    pending: deque[tuple[People2D, int]] = field(
        default_factory=lambda: deque(maxlen=MAX_POSES)
    )  # with arrival time
    newest_ns: int | None = None
    period_ns: int = 0  # between its newest stamp and the one before
    used_ns: int | None = None
    arrival_ns: int | None = None


class PoseBuffer:
    """Buffers 2D poses per camera; ``take`` hands out one from each for a common time.

    A common time is complete when every live camera has something new. Late cameras are waited for
    ``max_latency_s`` after the first arrival, and what comes later still counts the next time.
    Silent ones are not waited for at all, nor slow ones whose next stamp, as their last two tell,
    is not due within that time. Arrival times ``now_ns`` come from any steady clock, stamps from
    the cameras: they are never compared.
    """

    def __init__(self, cameras: int, max_latency_s: float = 0.1) -> None:
        self._streams = [_Stream() for _ in range(cameras)]
        self._latency_ns = round(max_latency_s * 1e9)
        self._stamp_ns: int | None = None

    def add(self, camera: int, people: People2D, now_ns: int) -> bool:
        """Buffer what a camera saw; False for what is not newer than what was handed out, or known
        already.
        """
        stream = self._streams[camera]
        if stream.newest_ns is not None and people.stamp_ns < stream.newest_ns - TIME_JUMP_S * 1e9:
            self._streams[camera] = stream = _Stream()
        stream.arrival_ns = now_ns
        if (
            stream.used_ns is not None
            and people.stamp_ns <= stream.used_ns
            or any(people.stamp_ns == other.stamp_ns for other, _ in stream.pending)
        ):
            return False
        stream.pending.append((people, now_ns))
        if stream.newest_ns is None or people.stamp_ns > stream.newest_ns:
            stream.period_ns = (
                0 if stream.newest_ns is None else people.stamp_ns - stream.newest_ns
            )
            stream.newest_ns = people.stamp_ns
        return True

    def out_of_step(self, now_ns: int) -> list[int]:
        """Live cameras whose clock differs by over ``MAX_SKEW_S`` from the others': they are left
        out.
        """
        newest = {
            c: s.newest_ns
            for c, s in enumerate(self._streams)
            if s.newest_ns is not None and self._live(s, now_ns)
        }
        middle = sorted(newest.values())[(len(newest) - 1) // 2] if newest else 0
        return [c for c, n in newest.items() if abs(n - middle) > MAX_SKEW_S * 1e9]

    def take(self, now_ns: int) -> tuple[list[People2D | None], int] | None:
        """2D poses (None of a camera that has nothing new) and their common stamp, or None: it is
        not time yet.

        The common time is the newest that all cameras have reached who are not later than
        ``max_latency_s``; each gives the poses nearest to it, with their own stamps.
        """
        ignored = self.out_of_step(now_ns)
        streams = [_Stream() if c in ignored else stream for c, stream in enumerate(self._streams)]
        waiting = [stream.pending for stream in streams if stream.pending]
        if not waiting:
            return None
        reached = [max(people.stamp_ns for people, _ in pending) for pending in waiting]
        complete = all(
            stream.pending
            or not self._live(stream, now_ns)
            or stream.newest_ns is not None
            and stream.newest_ns + stream.period_ns > max(reached) + self._latency_ns
            for stream in streams
        )
        if not complete and now_ns - min(pending[0][1] for pending in waiting) < self._latency_ns:
            return None
        stamp_ns = min(r for r in reached if r >= max(reached) - self._latency_ns)
        if (
            self._stamp_ns is not None
            and self._stamp_ns - TIME_JUMP_S * 1e9 < stamp_ns <= self._stamp_ns
        ):
            return None
        self._stamp_ns = stamp_ns
        return [self._nearest(stream, stamp_ns) for stream in streams], stamp_ns

    @staticmethod
    def _live(stream: _Stream, now_ns: int) -> bool:
        return stream.arrival_ns is not None and now_ns - stream.arrival_ns <= LIVE_S * 1e9

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
