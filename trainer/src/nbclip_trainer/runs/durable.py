"""Files that are there whole or not at all, and their digests."""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nbclip.flushing import sync

_UNFINISHED = ".tmp"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path`; what was written there takes `path`'s place, flushed to disk, at the end.

    An exception inside leaves `path` as it was and removes the temporary file.
    """
    temporary = path.with_name(f".{path.name}{_UNFINISHED}")
    try:
        yield temporary
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


@contextmanager
def in_turn(file: Path) -> Iterator[None]:
    """A block that one process at a time is in; the file, which stays, is empty."""
    with file.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def remove_unfinished(folder: Path) -> None:
    """Removes what killed processes had begun to write in a folder, which no other process writes to now."""
    for temporary in folder.glob(f".*{_UNFINISHED}"):
        temporary.unlink(missing_ok=True)


def sha256(path: Path) -> str:
    """SHA-256 of a file's content, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
