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

from pose3d_ros.multiview import PoseBuffer
from pose3d_ros.people import People2D
from pose3d_ros.skeleton import H36M17

MS = 1_000_000


def play(arrivals, cameras=3, max_latency_s=0.1, every_ms=5, until_ms=2000):
    """(arrival ms, camera, stamp ms) in; (taken at ms, common stamp ms, each camera's stamp ms or
    None) out.
    """
    buffer = PoseBuffer(cameras, max_latency_s)
    arrivals, taken = sorted(arrivals), []
    for now in range(0, until_ms, every_ms):
        while arrivals and arrivals[0][0] <= now:
            _, camera, stamp = arrivals.pop(0)
            buffer.add(camera, People2D.empty(H36M17, stamp * MS, (640, 480)), now * MS)
        while (got := buffer.take(now * MS)) is not None:
            people, stamp_ns = got
            taken.append(
                (now, stamp_ns // MS, [None if p is None else p.stamp_ns // MS for p in people])
            )
    return taken


def stream(camera, period=40, delay=10, start=0, end=1600, phase=0):
    return [(s + phase + delay, camera, s + phase) for s in range(start, end, period)]


def test_synchronous_cameras_go_together_at_once():
    taken = play(stream(0) + stream(1) + stream(2))
    assert [stamps for _, _, stamps in taken] == [[s, s, s] for s in range(0, 1600, 40)]
    assert all(now == stamp + 10 for now, stamp, _ in taken)


def test_out_of_phase_cameras_are_near_each_other():
    taken = play(stream(0) + stream(1, phase=13) + stream(2, phase=27))
    assert len(taken) == pytest.approx(40, abs=2)
    for _, common, stamps in taken[1:-1]:
        assert None not in stamps and np.abs(np.array(stamps) - common).max() <= 40


def test_the_common_time_is_one_that_every_camera_has_reached():
    """Beyond a camera's newest poses nobody knows where it saw people: the newest of the slowest
    counts.
    """
    buffer = PoseBuffer(3)
    for camera, stamp in enumerate((30, 5, 17)):
        buffer.add(camera, People2D.empty(H36M17, stamp * MS, (640, 480)), 40 * MS)
    taken = buffer.take(40 * MS)
    assert taken is not None and taken[1] == 5 * MS


def test_a_slow_camera_does_not_slow_the_fast_ones():
    taken = play(stream(0, period=20) + stream(1, period=20) + stream(2, period=300))
    assert len({stamps[0] for _, _, stamps in taken}) > 40, (
        "of 80: it is waited for only when it is due"
    )
    assert max(now - stamp for now, stamp, _ in taken) <= 130  # max_latency and the transport
    assert {s[2] for _, _, s in taken} - {None} == set(range(0, 1600, 300))


def test_a_late_camera_still_counts():
    taken = play(stream(0) + stream(1) + stream(2, delay=250))
    late = [(common, stamps[2]) for _, common, stamps in taken if stamps[2] is not None]
    assert len(late) > 10
    assert max(now - stamp for now, stamp, _ in taken) <= 125


def test_a_silent_camera_is_waited_for_only_shortly_and_welcome_back():
    taken = play(stream(0) + stream(1) + stream(2, end=400) + stream(2, start=1200))
    silent = [now - stamp for now, stamp, stamps in taken if 950 <= stamp < 1200]
    assert len(silent) == 6 and max(silent) <= 15
    assert max(now - stamp for now, stamp, _ in taken) <= 115
    assert [stamps for _, stamp, stamps in taken if stamp >= 1240] == [
        [s] * 3 for s in range(1240, 1600, 40)
    ]


def test_disorder_and_repetition():
    arrivals = stream(0) + stream(1)
    shuffled = [
        (now + (60 if i % 4 == 0 else 0), c, stamp) for i, (now, c, stamp) in enumerate(arrivals)
    ]
    taken = play(shuffled + shuffled, cameras=2)
    for camera in range(2):
        stamps = [s[camera] for _, _, s in taken if s[camera] is not None]
        assert stamps == sorted(set(stamps)) and len(stamps) >= 28
    commons = [common for _, common, _ in taken]
    assert commons == sorted(set(commons))


def test_a_clock_that_is_seconds_off_is_left_out():
    off = [(now, 2, stamp + 5000) for now, _, stamp in stream(2)]
    taken = play(stream(0) + stream(1) + off)
    assert [stamps for _, _, stamps in taken[1:]] == [[s, s, None] for s in range(40, 1600, 40)]
    buffer = PoseBuffer(3)
    for camera, stamp in enumerate((0, 0, 5000)):
        buffer.add(camera, People2D.empty(H36M17, stamp * MS, (640, 480)), 0)
    assert buffer.out_of_step(0) == [2]
    # Of two nobody knows who is right: the earlier, so that it is always the same.
    two = PoseBuffer(2)
    for camera, stamp in enumerate((5000, 0)):
        two.add(camera, People2D.empty(H36M17, stamp * MS, (640, 480)), 0)
    assert two.out_of_step(0) == [0]


def test_a_recording_that_starts_again():
    once = stream(0, end=4000) + stream(1, end=4000)
    taken = play(
        once + [(now + 4000, c, stamp) for now, c, stamp in once], cameras=2, until_ms=8100
    )
    assert [stamps for _, _, stamps in taken if None not in stamps] == 2 * [
        [s, s] for s in range(0, 4000, 40)
    ]


def test_one_camera():
    assert [stamps for _, _, stamps in play(stream(0), cameras=1)] == [
        [s] for s in range(0, 1600, 40)
    ]


def jumping(camera, when_ms, by_ms, messages=1, **options):
    """A camera whose ``messages`` from a stamp on are wrong by so much, while they arrive in
    time.
    """
    arrivals = stream(camera, **options)
    wrong = [i for i, (_, _, stamp) in enumerate(arrivals) if stamp >= when_ms][:messages]
    return [
        (now, c, stamp + by_ms if i in wrong else stamp)
        for i, (now, c, stamp) in enumerate(arrivals)
    ]


@pytest.mark.parametrize("cameras", [2, 4])
@pytest.mark.parametrize("messages", [1, 5, 1000])
@pytest.mark.parametrize(
    "by_ms", [-3_600_000, -800, -300, 700, 3_600_000], ids=lambda ms: f"{ms} ms"
)
def test_a_wrong_clock_of_one_camera_leaves_the_others_alone(cameras, by_ms, messages):
    others = [arrival for c in range(1, cameras) for arrival in stream(c)]
    taken = play(jumping(0, 800, by_ms, messages) + others, cameras)
    commons = [common for _, common, _ in taken]
    assert commons == sorted(set(commons)), "never back"
    fused = {stamp for _, _, stamps in taken for stamp in stamps[1:]} - {None}
    assert fused == set(range(0, 1600, 40)), "nothing of the others is lost"
    if messages < 1000:
        last = max(stamps[0] for _, _, stamps in taken if stamps[0] is not None)
        assert last == 1560, "and it counts again when it is right"


def test_a_message_of_stamp_zero_or_below_leaves_the_others_alone():
    start = 1_700_000_000_000
    for wrong in (0, -5_000):
        late = [
            (now - start, c, wrong if stamp == start + 800 else stamp)
            for now, c, stamp in stream(0, start=start, end=start + 1600)
        ]
        good = [
            (now - start, c, stamp) for now, c, stamp in stream(1, start=start, end=start + 1600)
        ]
        taken = play(late + good, cameras=2)
        assert [stamps[1] for _, _, stamps in taken] == list(range(start, start + 1600, 40))


@pytest.mark.parametrize("cameras", [1, 2, 4])
@pytest.mark.parametrize("by_ms", [-3_600_000, -1900, -500, -150, 600, 3_600_000])
def test_a_clock_that_is_set_on_all_cameras_is_followed_at_once(cameras, by_ms):
    taken = play([a for c in range(cameras) for a in jumping(c, 800, by_ms, 1000)], cameras)
    times = [now for now, _, _ in taken]
    assert np.diff(times).max() <= 80, "a frame may be lost"
    after = [(common, stamps) for now, common, stamps in taken if now >= 900]
    assert [common for common, _ in after] == list(range(920 + by_ms - 40, 1600 + by_ms, 40))[
        -len(after) :
    ]
    assert all(set(stamps) == {common} for common, stamps in after)


def test_most_cameras_tell_the_time_when_one_clock_is_not_set():
    set_back = [a for c in range(3) for a in jumping(c, 800, -2000, 1000)]
    taken = play(set_back + stream(3), cameras=4)
    assert [stamps for now, _, stamps in taken if now >= 860] == [
        [s, s, s, None] for s in range(-1120, -400, 40)
    ]


def test_a_few_milliseconds_late_is_dropped_or_used():
    """Drivers round: every tenth stamp is before the one before it."""
    rounded = [
        (now, c, stamp - 43 if i % 10 == 9 else stamp)
        for i, (now, c, stamp) in enumerate(stream(0))
    ]
    taken = play(rounded + stream(1), cameras=2)
    assert np.diff([common for _, common, _ in taken]).max() <= 80
    assert sum(None not in stamps for _, _, stamps in taken) >= 35


def test_a_camera_that_was_paused_does_not_bring_the_past_back():
    paused = stream(0, end=400) + stream(0, start=1200)
    resumed = paused + [(1205, 0, stamp) for stamp in range(400, 1200, 160)]
    commons = [common for _, common, _ in play(resumed + stream(1), cameras=2)]
    assert commons == sorted(set(commons)) and np.diff(commons).max() <= 120


def test_a_recording_that_plays_fast():
    """At ten times the speed stamps run ahead of the clock of arrivals."""
    arrivals = [(s // 10, c, s) for c in range(2) for s in range(0, 16000, 200)]
    taken = play(arrivals, cameras=2)
    assert [stamps for _, _, stamps in taken][-60:] == [[s, s] for s in range(4000, 16000, 200)]


def pairs(taken):
    """Cameras of each common time that gave poses within 0.3 s of it."""
    return [sum(s is not None and abs(s - t) <= 300 for s in stamps) for _, t, stamps in taken]


@pytest.mark.parametrize("phase", [30, 120, 180])
@pytest.mark.parametrize("period", [200, 250, 500])
def test_slow_cameras_out_of_phase_meet(period, phase):
    """Two cameras at 2 to 5 Hz, of which each takes its pictures at moments of its own."""
    arrivals = stream(0, period, end=10_000) + stream(1, period, end=10_000, phase=phase)
    taken = play(arrivals, 2, 0, until_ms=10_000)
    met = pairs(taken[3:])
    assert np.mean(np.array(met) == 2) > 0.9
    assert len(met) > 0.8 * 10_000 / period - 4


def test_cameras_of_an_overloaded_machine_meet():
    """Each node takes the newest picture when it is done with the last one, after 0.2 to 0.5 s."""
    rng = np.random.default_rng(0)
    arrivals = []
    for camera in range(2):
        now = rng.uniform(0, 300)
        while now < 20_000:
            stamp = int(now)
            now += rng.uniform(200, 500)
            arrivals.append((int(now), camera, stamp))
    met = pairs(play(arrivals, 2, 0, until_ms=20_000)[3:])
    assert np.mean(np.array(met) == 2) > 0.8 and len(met) > 30


@pytest.mark.parametrize("late", [300, 600, 800])
def test_a_camera_that_is_always_late_is_fused(late):
    arrivals = stream(0, end=6000) + stream(1, end=6000) + stream(2, end=6000, delay=10 + late)
    taken = [t for t in play(arrivals, 3, 0, until_ms=6000) if t[0] > 3000]
    assert np.mean(np.array(pairs(taken)) == 3) > 0.9 and len(taken) > 50
    # Who sets a limit is not kept waiting.
    taken = play(arrivals, 3, 0.1, until_ms=6000)
    assert max(now - stamp for now, stamp, _ in taken) < 200


def test_seconds_of_latency_of_all_cameras_change_nothing():
    arrivals = stream(0, end=4000, delay=2500) + stream(1, end=4000, delay=2520)
    assert np.mean(np.array(pairs(play(arrivals, 2, 0, until_ms=7000))) == 2) > 0.95


def test_uneven_rates():
    """Two fast cameras go on at their own rate, and a slow one counts when it has something."""
    arrivals = stream(0, end=6000) + stream(1, end=6000, phase=20) + stream(2, 330, end=6000)
    taken = [t for t in play(arrivals, 3, 0, until_ms=6000) if t[0] > 1000]
    met = np.array(pairs(taken))
    assert (met >= 2).mean() > 0.95 and (met == 3).sum() >= 12 and len(met) > 100
