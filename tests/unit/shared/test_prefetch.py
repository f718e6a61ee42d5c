import threading
import time

import pytest
from nbclip.prefetch import Prefetched


def test_items_come_in_order_and_end():
    with Prefetched(iter(range(50)), 3) as items:
        assert list(items) == list(range(50))


def test_it_works_ahead_but_not_further_than_told():
    taken = []

    def source():
        for number in range(20):
            taken.append(number)
            yield number

    with Prefetched(source(), 3) as items:
        assert next(items) == 0
        deadline = time.monotonic() + 5
        while len(taken) < 4 and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        assert 4 <= len(taken) <= 5, "three wait in the queue, one may wait for a place in it"


def test_an_error_comes_up_at_its_own_item_and_stays():
    def source():
        yield 1
        raise ValueError("broken")

    with Prefetched(source(), 4) as items:
        assert next(items) == 1
        for _ in range(2):
            with pytest.raises(ValueError, match="broken"):
                next(items)


def test_leaving_early_stops_the_thread():
    before = threading.active_count()
    with Prefetched(iter(range(1000)), 2) as items:
        next(items)
    assert threading.active_count() == before


def test_leaving_does_not_wait_for_a_source_that_hangs():
    hang = threading.Event()

    def source():
        yield hang.wait(60)

    started = time.monotonic()
    with Prefetched(source(), 2):
        pass
    assert time.monotonic() - started < 10
    hang.set()
