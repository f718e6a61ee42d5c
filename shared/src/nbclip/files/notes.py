"""What is worth a warning about a file, and stops nothing."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_log = logging.getLogger("nbclip.files")
_told = ContextVar("told", default=True)


def warn(text: str) -> None:
    """Tells it in the program's log, unless `untold` holds."""
    if _told.get():
        _log.warning(text)


@contextmanager
def untold() -> Iterator[None]:
    """Within it nothing is told: for a part of a file, when the whole was read before."""
    before = _told.set(False)
    try:
        yield
    finally:
        _told.reset(before)


def warn_of_doubled(place: str, columns: Sequence[str]) -> None:
    """Names each column that is there more than once."""
    for name in dict.fromkeys(name for name in columns if name.strip() and columns.count(name) > 1):
        warn(f"{place}: several columns are called {name}; the first is read")


def warn_of_misspelt(place: str, columns: Mapping[str, str]) -> None:
    """Names each column that is taken for no field and looks like one."""
    for column, field in columns.items():
        warn(f"{place}: {column!r} is read as no field; is it a misspelt {field}?")
