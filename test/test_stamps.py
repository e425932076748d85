import pytest

from pose3d_ros.stamps import Order, StampOrder

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
