"""The conveyor: order, bounded look-ahead, errors in their place, nothing left running."""

import threading
import time

import pytest

from models.conveyor import Lanes, ahead


def test_results_come_in_the_order_of_the_items():
    def slow_first(item):
        time.sleep(0.05 if item == 0 else 0)
        return item * item

    with Lanes(3) as lanes:
        assert list(ahead(lanes, "squares", slow_first, range(20), 5)) == [i * i for i in range(20)]


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_no_more_is_under_way_than_allowed(depth):
    taken = []

    def items():
        for item in range(30):
            taken.append(item)
            yield item

    with Lanes(2) as lanes:
        for done, _ in enumerate(ahead(lanes, "work", abs, items(), depth), start=1):
            assert len(taken) <= done - 1 + depth


def test_lanes_work_side_by_side_and_book_their_seconds():
    meeting = threading.Barrier(2, timeout=10)
    with Lanes(2) as lanes:
        results = list(ahead(lanes, "meet", lambda _: meeting.wait() >= 0, range(4), 2))
        assert results == [True] * 4
        list(ahead(lanes, "sleep", time.sleep, [0.02, 0.02], 2))
        assert set(lanes.busy_seconds) == {"meet", "sleep"}
        assert lanes.busy_seconds["sleep"] >= 0.04


def test_an_error_is_raised_in_its_place_and_drops_what_has_not_begun():
    begun = []

    def work(item):
        begun.append(item)
        if item == 2:
            message = "two"
            raise ValueError(message)
        return item

    with Lanes(1) as lanes:
        results = ahead(lanes, "work", work, range(100), 3)
        assert [next(results), next(results)] == [0, 1]
        with pytest.raises(ValueError, match="two"):
            next(results)
    assert max(begun) <= 4


def test_nested_conveyors_share_lanes_and_end_together():
    with Lanes(1) as lanes:
        doubled = ahead(lanes, "double", lambda x: 2 * x, range(50), 3)
        summed = ahead(lanes, "add", lambda x: x + 1, doubled, 4)
        assert next(summed) == 1
        summed.close()
        doubled.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("lane")]


def test_leaving_the_context_waits_for_work_that_has_begun():
    begun, ended = threading.Event(), threading.Event()

    def work(_):
        begun.set()
        time.sleep(0.05)
        ended.set()

    with Lanes(1) as lanes:
        lanes.submit("work", work, None)
        assert begun.wait(10)
    assert ended.is_set()
