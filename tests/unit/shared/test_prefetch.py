import threading
import time

import pytest
from nbclip.errors import InvalidInput
from nbclip.prefetch import Prefetched, with_answers


@pytest.mark.parametrize("ahead", [0, -1, 1.5, None])
def test_a_number_ahead_that_is_none_is_refused_at_once(ahead):
    with pytest.raises(InvalidInput, match=r"^ahead=.*; a number of batches, at least 1"):
        Prefetched(iter([]), ahead)
    with pytest.raises(InvalidInput, match=r"^ahead="):
        with_answers([], str, ahead)


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


def test_answers_come_with_their_items_and_questions_are_taken_by_the_reader():
    here, takers, answerers = threading.get_ident(), set(), set()

    def questions():
        for number in range(10):
            takers.add(threading.get_ident())
            yield f"item {number}", number

    def ask(number):
        answerers.add(threading.get_ident())
        return number * number

    assert list(with_answers(questions(), ask, 3)) == [(f"item {number}", number * number) for number in range(10)]
    assert takers == {here}
    assert here not in answerers


def test_an_answer_that_fails_is_raised_at_its_items_turn():
    found = []
    with pytest.raises(ZeroDivisionError):
        found.extend(with_answers(((number, number) for number in (2, 1, 0, 5)), lambda number: 4 // number, 4))
    assert found == [(2, 2), (1, 4)]


def test_questions_are_asked_while_the_reader_is_at_work():
    asked = threading.Event()
    answers = with_answers(((number, number) for number in range(9)), lambda number: asked.set() if number == 3 else None, 3)
    assert next(answers) == (0, None)
    assert asked.wait(5), "the fourth question, while the first item is worked on"


@pytest.mark.parametrize("ahead", [1, 20])
def test_any_distance_gives_the_same_answers(ahead):
    assert [answer for _, answer in with_answers(zip("abc", (1, 2, 3), strict=True), str, ahead)] == ["1", "2", "3"]
