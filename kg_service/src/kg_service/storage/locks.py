"""Locks between processes. The kernel gives a lock back when its holder ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from nbclip.errors import Unavailable

from kg_service.storage.writing import writing

_LOOK_AGAIN_S = 0.02


@contextmanager
def locked(folder: Path, patience_s: float, *, name: str = ".lock") -> Iterator[None]:
    """Holds the lock file `name` of a folder during the block, against other processes and other threads.

    Raises:
        Unavailable: another still holds it after `patience_s` seconds.
    """
    # A file and not the folder: NFS locks only what can be opened for writing.
    lock = FileLock(folder / name, timeout=patience_s, poll_interval=_LOOK_AGAIN_S)
    try:
        with writing(folder):
            lock.acquire()
    except Timeout as error:
        raise Unavailable(f"another process writes to {folder}", hint="try again when it has finished") from error
    try:
        yield
    finally:
        lock.release()
