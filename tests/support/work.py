"""Work for processes that tests start: it imports little, as each of them does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def twice(number: int) -> int:
    """Work that takes a moment."""
    time.sleep(0.01)
    return 2 * number


def twice_unless_odd(number: int) -> int:
    """Work that kills its process."""
    if number % 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return twice(number)


def fails_of_three(number: int) -> int:
    """Work that raises."""
    if number == 3:
        raise ValueError(number)
    return twice(number)


def sleeps_but_for_0(folder: Path, number: int) -> None:
    """Work that ends for one number alone, once another process has begun with the next."""
    while number == 0 and not (folder / "1").exists():
        time.sleep(0.01)
    if number:
        sleeps_in(folder, number)


def sleeps_in(folder: Path, number: int) -> None:
    """Work that says which process does it, and does not end."""
    (folder / f"{number}").write_text(str(os.getpid()))
    time.sleep(600)
