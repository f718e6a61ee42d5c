"""Works ahead of a reader: an iterator that runs in a thread, and answers that are there when their turn comes.

    questions = ((batch, batch["image_id"]) for batch in batches)
    for batch, matrix in with_answers(questions, service.targets, ahead=4):
        ...

`SoftTargetLoss.prefetched` is made of it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from types import TracebackType
from typing import Generic, Self, TypeVar

from nbclip.errors import InvalidInput

_PATIENCE = 2.0
T = TypeVar("T")
Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Prefetched(Generic[T], Iterator[T]):
    """Takes items from `source` in a thread of its own, at most `ahead` of them before they are asked for.

    What `source` raises is raised at the item's turn. Use as a context manager; leaving it stops the thread.
    """

    def __init__(self, source: Iterator[T], ahead: int) -> None:
        _check_ahead(ahead)
        self._source = source
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(ahead)
        self._stopped = threading.Event()
        # In a copy of the reader's context, so that what is asked belongs to the reader's trace.
        self._thread = threading.Thread(target=copy_context().run, args=(self._run,), name="prefetch", daemon=True)

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


def with_answers(
    questions: Iterable[tuple[T, Question]], ask: Callable[[Question], Answer], ahead: int
) -> Iterator[tuple[T, Answer]]:
    """Each item with the answer to its question, asked `ahead` items before its turn, one question after the other.

    Args:
        questions: items and their questions; taken in the reader's thread, so they may be of torch's or a model's making.
        ask: called in a thread of its own. What it raises is raised at the item's turn, and ends the iterator.
        ahead: at least 1; so many items are held at a time.

    Raises:
        InvalidInput: `ahead` is less than 1.
    """
    _check_ahead(ahead)
    return _with_answers(questions, ask, ahead)


def _check_ahead(ahead: int) -> None:
    if not isinstance(ahead, int) or ahead < 1:
        raise InvalidInput(f"ahead={ahead!r}", hint="a number of batches, at least 1")


def _with_answers(
    questions: Iterable[tuple[T, Question]], ask: Callable[[Question], Answer], ahead: int
) -> Iterator[tuple[T, Answer]]:
    asked: queue.SimpleQueue[tuple[Question] | None] = queue.SimpleQueue()
    waiting: deque[T] = deque()
    with Prefetched((ask(*question) for question in iter(asked.get, None)), ahead) as answers:
        try:
            for item, question in questions:
                asked.put((question,))
                waiting.append(item)
                if len(waiting) > ahead:
                    yield waiting.popleft(), next(answers)
            while waiting:
                yield waiting.popleft(), next(answers)
        finally:
            # The thread waits for a question or for this.
            asked.put(None)
