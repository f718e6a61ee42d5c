import socket
import threading

import pytest
from kg_service.batch import heads
from nbclip.errors import Unavailable


@pytest.fixture
def head(monkeypatch):
    """A head, asked every 10 ms, and gone after 100 ms."""
    monkeypatch.setattr(heads, "_LOOKS_EVERY_S", 0.01)
    monkeypatch.setattr(heads, "_GONE_AFTER_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server):
    return "{}:{}".format(*server.getsockname())


def test_a_head_that_goes_is_said_and_one_that_is_there_is_not(head):
    with heads.watched(address(head), lambda: True) as gone:
        with pytest.raises(TimeoutError):
            gone.result(0.4)
        head.close()
        with pytest.raises(Unavailable, match=r"its head, 127\.0\.0\.1:\d+, is gone") as caught:
            gone.result(20)
    assert "run it again" in caught.value.hint


def test_another_head_in_its_place_is_not_it(head):
    answers = iter([True] * 5)
    with heads.watched(address(head), lambda: next(answers, False)) as gone, pytest.raises(Unavailable, match="is gone"):
        gone.result(20)


def test_nobody_watches_after_the_block(head):
    before = set(threading.enumerate())
    with heads.watched(address(head), lambda: True) as gone:
        (watcher,) = set(threading.enumerate()) - before
    assert not watcher.is_alive()
    assert gone.cancelled()
