"""Whether the head of a Ray cluster is there, asked without Ray."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager, suppress
from typing import Any, Final

from nbclip.errors import Unavailable

AGAIN: Final = "run it again: what is linked stays"
_PATIENCE_S, _LOOKS_EVERY_S = 5.0, 1.0
_GONE_AFTER_S = 20.0
"""Less than the minute after which Ray ends a process whose head is gone, with a status and words of its own."""


def reach(address: str) -> None:
    """Raises OSError, or OverflowError for a port that is none, where nothing listens at HOST:PORT."""
    host, _, port = address.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), _PATIENCE_S).close()


@contextmanager
def watched(address: str, answers: Callable[[], bool]) -> Iterator[Future[Any]]:
    """What raises Unavailable once the head has been gone for long, or another one was there; it is cancelled after the block.

    Args:
        address: of the head, HOST:PORT.
        answers: asks what listens there whether it is the head that was there first.
    """
    gone: Future[Any] = Future()
    watcher = threading.Thread(target=_watch, args=(address, answers, gone), daemon=True)
    watcher.start()
    try:
        yield gone
    finally:
        gone.cancel()
        watcher.join(_PATIENCE_S)


def _watch(address: str, answers: Callable[[], bool], gone: Future[Any]) -> None:
    seen = time.monotonic()
    while not gone.done():
        with suppress(OSError):
            reach(address)
            if answers():
                seen = time.monotonic()
        if time.monotonic() - seen > _GONE_AFTER_S and gone.set_running_or_notify_cancel():
            gone.set_exception(Unavailable(f"the Ray cluster failed: its head, {address}, is gone", hint=AGAIN))
        with suppress(TimeoutError, CancelledError):
            gone.exception(_LOOKS_EVERY_S)
