"""Runs an iterator ahead of its reader."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import Generic, Self, TypeVar

_PATIENCE = 2.0
T = TypeVar("T")


class Prefetched(Generic[T], Iterator[T]):
    """Takes items from `source` in a thread of its own, at most `ahead` of them before they are asked for.

    What `source` raises is raised at the item's turn. Use as a context manager; leaving it stops the thread.
    """

    def __init__(self, source: Iterator[T], ahead: int) -> None:
        self._source = source
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(ahead)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stopped.set()
        # A full queue would hold the thread; a source that hangs is left behind, it is a daemon's.
        deadline = time.monotonic() + _PATIENCE
        while self._thread.is_alive() and time.monotonic() < deadline:
            self._drop_one()
            self._thread.join(timeout=0.01)

    def __next__(self) -> T:
        item, error = self._queue.get()
        if error is not None:
            # The next call, if there is one, finds the same end.
            self._queue.put((item, error))
            raise error
        return item  # type: ignore[return-value]

    def _run(self) -> None:
        try:
            for item in self._source:
                self._queue.put((item, None))
                if self._stopped.is_set():
                    return
            self._queue.put((None, StopIteration()))
        except Exception as error:  # noqa: BLE001 - it belongs to the reader, whatever it is
            self._queue.put((None, error))

    def _drop_one(self) -> None:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return
