"""What is being written, beside where it will be: a file or a place `.kg-new.<random>`, locked while its process lives.

.kg-new.3f9a01/            a place
    lock                nobody holds it once its process is gone, which was killed then
    content/            the folder that is being filled
    former/<name>       the folder whose place `content` takes (`replacement.py`)
    elsewhere           link to another folder in which that process may leave scratch (`sweeping.py`)
.kg-new.8c1b77          a file, which is its own lock
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

PREFIX = ".kg-new."
LOCK, CONTENT, FORMER, ELSEWHERE = "lock", "content", "former", "elsewhere"


@contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """An empty folder on the file system of `parent`, which is made if missing; what is left of it at the end is removed."""
    parent.mkdir(parents=True, exist_ok=True)
    with new_place(parent) as place:
        content = place / CONTENT
        content.mkdir()
        yield content


@contextmanager
def new_place(parent: Path) -> Iterator[Path]:
    """A place in `parent`, held until the end of the block and removed then."""
    with ExitStack() as stack:
        place = _held_place(parent, stack)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _held_place(parent: Path, stack: ExitStack) -> Path:
    while True:
        place = Path(tempfile.mkdtemp(dir=parent, prefix=PREFIX))
        # Until it is held, a sweep may take it.
        with suppress(FileNotFoundError), ExitStack() as attempt:
            if attempt.enter_context(held(place / LOCK)) and place.exists():
                stack.push(attempt.pop_all())
                return place


@contextmanager
def new_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """An empty file in `folder`, mode 0600, to be written and renamed in the block; it is removed if the block fails."""
    path, stream = _held_file(folder)
    try:
        with stream:
            yield path, stream
    except BaseException:
        path.unlink(missing_ok=True)
        raise


def _held_file(folder: Path) -> tuple[Path, BinaryIO]:
    while True:
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=PREFIX)
        stream = os.fdopen(descriptor, "wb")
        # Until it is held, a sweep may take it.
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return Path(name), stream
        stream.close()


@contextmanager
def held(lock: Path) -> Iterator[bool]:
    """Whether this process holds a lock file, made if missing, for the block: False where another process does."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    # Not at the top: most commands neither find scratch nor make any.
    from filelock import lock_descriptor

    return lock_descriptor(descriptor, blocking=False)
