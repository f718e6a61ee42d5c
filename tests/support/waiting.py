"""Waiting for what other processes do."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(what: Callable[[], object], within_s: float) -> float:
    """Seconds until `what` answers with something true; fails after `within_s`."""
    begun = time.monotonic()
    while not what():
        assert time.monotonic() - begun < within_s, f"not within {within_s:g} s"
        time.sleep(0.1)
    return time.monotonic() - begun


class StopAfter:
    """A stop signal that comes after so many steps."""

    def __init__(self, steps: int) -> None:
        self._left = steps

    def is_set(self) -> bool:
        self._left -= 1
        return self._left <= 0
