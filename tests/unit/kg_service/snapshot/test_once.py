"""A snapshot is opened once, however many threads ask at once."""

import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from kg_service.snapshot import SnapshotFolder
from kg_service.snapshot.once import OpenOnce
from kg_service.snapshot.publication import publish
from nbclip.errors import BrokenArtefact
from support.small_graphs import GraphOnly

AT_ONCE = 16
OPENED = Counter()
sys.addaudithook(lambda event, arguments: OPENED.update([str(arguments[0])]) if event == "open" else None)


@pytest.fixture
def folder(tmp_path, five_images):
    publish(GraphOnly(five_images), tmp_path, vocabulary={})
    return tmp_path


def at_once(ask):
    """What so many threads get that ask at the same moment."""
    barrier = threading.Barrier(AT_ONCE)

    def together(number):
        barrier.wait()
        return ask(number)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return [waiting.result() for waiting in [threads.submit(together, number) for number in range(AT_ONCE)]]


def files_opened(folder, work):
    """How often each file of the snapshots was opened meanwhile."""
    OPENED.clear()
    work()
    return {path: count for path, count in OPENED.items() if path.startswith(str(folder)) and path.endswith(".npy")}


def test_sixteen_threads_open_the_files_as_often_as_one(folder):
    once = files_opened(folder, SnapshotFolder(folder).open)
    snapshots = SnapshotFolder(folder)
    found = []
    assert files_opened(folder, lambda: found.extend(at_once(lambda _: snapshots.open()))) == once
    assert len(once) > 5
    assert all(each is found[0] for each in found)
    assert not files_opened(folder, snapshots.open)


def test_who_asks_for_another_is_not_held_up():
    begun, let_go = threading.Event(), threading.Event()

    def open_one(name):
        if name == "slow":
            begun.set()
            let_go.wait(20)
        return object()

    things = OpenOnce(open_one, most=4)
    with ThreadPoolExecutor(2) as threads:
        slow = threads.submit(things, "slow")
        assert begun.wait(20)
        fast = threads.submit(things, "fast").result(20)
        assert not slow.done()
        let_go.set()
        assert slow.result(20) is things("slow")
    assert things("fast") is fast


def test_what_fails_fails_for_all_who_wait_and_is_tried_again():
    tries, asking = [], threading.Semaphore(0)

    def open_one(name):
        tries.append(name)
        if len(tries) == 1:
            for _ in range(AT_ONCE):
                assert asking.acquire(timeout=20)
            time.sleep(0.1)  # the last of them is on its way
            raise BrokenArtefact("damaged")
        return object()

    things = OpenOnce(open_one, most=4)

    def ask(_):
        asking.release()
        try:
            return things("a")
        except BrokenArtefact as error:
            return error

    failed = at_once(ask)
    assert all(isinstance(each, BrokenArtefact) for each in failed)
    assert len(tries) == 1
    assert things("a") is things("a")
    assert len(tries) == 2


def test_no_more_are_kept_than_asked_for_and_the_last_used_stay():
    opened = []
    things = OpenOnce(lambda name: opened.append(name) or object(), most=2)
    for name in ("a", "b", "a", "c", "a", "b"):
        things(name)
    assert opened == ["a", "b", "c", "b"]


def test_what_is_looked_at_stays_as_what_is_asked_for():
    opened = []
    things = OpenOnce(lambda name: opened.append(name) or object(), most=2)
    for name in ("a", "b"):
        things(name)
    assert things.get("a") is things("a")
    things("b")
    assert things.get("a") is not None
    things("c")
    assert things.get("b") is None
    assert things.get("a") is not None
    assert opened == ["a", "b", "c"]


def test_what_is_being_opened_when_some_are_forgotten_is_opened_again():
    opening, go_on, opened = threading.Event(), threading.Event(), []

    def open_one(name):
        opened.append(name)
        opening.set()
        go_on.wait(20)
        return len(opened)

    once = OpenOnce(open_one, most=2)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(once, "a")
        opening.wait(20)
        once.forget(["b"])
        go_on.set()
        assert waiting.result() == 1
    assert (once.get("a"), once("a"), once("a"), once.held()) == (None, 2, 2, {"a": 2})
    once.forget(["a"])
    assert once.held() == {}
