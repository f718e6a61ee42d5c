"""Things that are opened once, however many threads ask for one at the same time."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Generic, TypeVar

Opened = TypeVar("Opened")


class OpenOnce(Generic[Opened]):
    """Opens by name, and keeps those asked for last.

    The first thread that asks opens; others that ask for the same meanwhile wait for it, those that ask for another do not. What
    fails fails for all who wait, and is not kept: the next who asks tries again.
    """

    def __init__(self, open_one: Callable[[str], Opened], most: int) -> None:
        self._open_one = open_one
        self._most = most
        self._lock = threading.Lock()
        self._opened: OrderedDict[str, Opened] = OrderedDict()
        self._opening: dict[str, Future[Opened]] = {}
        self._not_kept: set[str] = set()

    def __call__(self, name: str) -> Opened:
        """The thing of this name; raises what opening it raises."""
        with self._lock:
            if name in self._opened:
                self._opened.move_to_end(name)
                return self._opened[name]
            others = self._opening.get(name)
            if others is None:
                own = self._opening[name] = Future()
        return self._open(name, own) if others is None else others.result()

    def get(self, name: str) -> Opened | None:
        """The thing of this name if it is open; it counts as asked for."""
        with self._lock:
            if name in self._opened:
                self._opened.move_to_end(name)
            return self._opened.get(name)

    def held(self) -> dict[str, Opened]:
        """All that are open, by name."""
        with self._lock:
            return dict(self._opened)

    def forget(self, names: Collection[str]) -> None:
        """These are opened again when they are next asked for, and so is what is just being opened: it may hold them."""
        with self._lock:
            for name in names:
                self._opened.pop(name, None)
            self._not_kept |= self._opening.keys()

    def _open(self, name: str, waited_for: Future[Opened]) -> Opened:
        try:
            opened = self._open_one(name)
        except BaseException as error:
            with self._lock:
                del self._opening[name]
                self._not_kept.discard(name)
            waited_for.set_exception(error)
            raise
        with self._lock:
            del self._opening[name]
            if name not in self._not_kept:
                self._opened[name] = opened
            self._not_kept.discard(name)
            while len(self._opened) > self._most:
                self._opened.popitem(last=False)
        waited_for.set_result(opened)
        return opened
