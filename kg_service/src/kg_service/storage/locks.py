"""Locks between processes. The kernel gives a lock back when its holder ends, however it ends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from nbclip.errors import Unavailable

_LOOK_AGAIN_S = 0.02


@contextmanager
def locked(folder: Path, patience_s: float, *, name: str = ".lock") -> Iterator[None]:
    """Holds a folder against all others that lock it, in this process or another, by the lock file `name` in it.

    Raises:
        Unavailable: another still holds it after `patience_s` seconds.
    """
    # A file, not the folder itself: NFS locks nothing that can't be opened for writing.
    lock = FileLock(folder / name, timeout=patience_s, poll_interval=_LOOK_AGAIN_S)
    try:
        lock.acquire()
    except Timeout as error:
        raise Unavailable(f"another process writes to {folder}", hint="try again when it has ended") from error
    try:
        yield
    finally:
        lock.release()
