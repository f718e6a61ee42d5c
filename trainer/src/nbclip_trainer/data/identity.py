"""What changes when an image does, wherever it lies: its place in its container, and that one's size and time or version."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from nbclip.errors import NotFound
from nbclip.files.addresses import Address, Location, location

if TYPE_CHECKING:
    from nbclip.files.remote import Found

_THREADS, _AT_ONCE = 16, 1_024
"""Files on another machine answer slowly, and many at once."""


def identities(files: Iterable[str | Location]) -> list[str | None]:
    """Of images in their order; None where there is none. A container at an address is asked for once."""
    every, found_at = list(files), cache(_found_at)
    parts = (every[start : start + _AT_ONCE] for start in range(0, len(every), _AT_ONCE))
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(chain.from_iterable(pool.map(partial(_of_part, found_at), parts)))


def lines_of(found: Iterable[str | None]) -> bytes:
    """Identities as they are digested."""
    return "".join(f"{one or 'missing'}\n" for one in found).encode()


def _of_part(found_at: Callable[[str], Found | None], files: Sequence[str | Location]) -> list[str | None]:
    return [_of_address(one, found_at) if isinstance(one, Address) else _of_path(one) for one in map(location, files)]


def _of_address(address: Address, found_at: Callable[[str], Found | None]) -> str | None:
    container, _, place = address.url.partition("#")
    found = found_at(container)
    return None if found is None else f"{place} {found.size} {found.version}"


def _found_at(url: str) -> Found | None:
    try:
        return Address(url).found()
    except NotFound:
        return None


def _of_path(file: Path) -> str | None:
    container, _, place = str(file).partition("#")
    for path in (file, Path(container)):
        try:
            status = path.stat()
        except OSError:
            continue
        return f"{place if path != file else ''} {status.st_size} {status.st_mtime_ns}"
    return None
