"""What is being written, beside where it will be: a file or a place `.kg-new.<random>`, locked while its process lives.

.kg-new.3f9a01/         a place
    lock                held by its process; if nobody holds it, that process was killed
    content/            the folder that is being filled
    former/<name>       the folder that `content` is about to replace, on some file systems (`replacement.py`)
    elsewhere           link to another folder in which the process may leave scratch (`sweeping.py`)
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

from kg_service.storage.flushing import make_folder
from kg_service.storage.writing import writing

PREFIX = ".kg-new."
LOCK, CONTENT, FORMER, ELSEWHERE = "lock", "content", "former", "elsewhere"


@contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """An empty folder inside `parent`, which is made if missing; whatever is left of it at the end is removed."""
    make_folder(parent)
    with new_place(parent) as place:
        content = place / CONTENT
        content.mkdir()
        yield content


@contextmanager
def new_place(parent: Path) -> Iterator[Path]:
    """A new place in `parent`, held during the block and removed at its end."""
    with ExitStack() as stack:
        place = _held_place(parent, stack)
        try:
            yield place
        finally:
            shutil.rmtree(place, ignore_errors=True)


def _held_place(parent: Path, stack: ExitStack) -> Path:
    while True:
        with writing(parent):
            place = Path(tempfile.mkdtemp(dir=parent, prefix=PREFIX))
        # Before it is locked, a sweep may remove it.
        with suppress(FileNotFoundError), ExitStack() as attempt:
            if attempt.enter_context(held(place / LOCK)) and place.exists():
                stack.push(attempt.pop_all())
                return place


@contextmanager
def new_file(folder: Path) -> Iterator[tuple[Path, BinaryIO]]:
    """Path and stream of an empty file in `folder`, mode 0600, to write and rename in the block; removed if the block fails."""
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
        # Before it is locked, a sweep may remove it.
        if _lock(descriptor) and os.fstat(descriptor).st_nlink:
            return Path(name), stream
        stream.close()


@contextmanager
def held(lock: Path) -> Iterator[bool]:
    """Whether this process got the lock, for the block; False if another holds it. The file is made if missing."""
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield _lock(descriptor)
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    # Imported here: most commands neither find scratch nor make any.
    from filelock import lock_descriptor

    return lock_descriptor(descriptor, blocking=False)
