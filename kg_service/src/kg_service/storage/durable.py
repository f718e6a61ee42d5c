"""Files and folders that appear whole or not at all: written aside, fsynced, renamed, the parent folder fsynced."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nbclip.errors import Unavailable

_LOOK_AGAIN_S = 0.02


def write_file(path: Path, content: bytes) -> None:
    """Replaces `path` by `content`; after a crash it holds the old bytes or the new ones."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """A scratch folder in `parent`, to be filled and then handed to `install`; what is left of it is removed.

    Should the process be killed, it stays until `sweep` finds that nobody holds it.
    """
    parent.mkdir(parents=True, exist_ok=True)
    folder, descriptor = _held_folder(parent)
    try:
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(descriptor)


def _held_folder(parent: Path) -> tuple[Path, int]:
    """A new folder, and the descriptor that holds its lock."""
    while True:
        folder = Path(tempfile.mkdtemp(dir=parent, prefix=".new."))
        # Until it is held, a sweep may take it.
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY)
            if _lock(descriptor) and folder.exists():
                return folder, descriptor
            os.close(descriptor)


def sweep(parent: Path) -> None:
    """Removes the scratch folders in `parent` that no process holds: those of processes that were killed."""
    for folder in (*parent.glob(".new.*"), *parent.glob(".old.*")):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if _lock(descriptor):
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(descriptor)


def sync_all(folder: Path) -> None:
    """Flushes a folder and all that is in it to the disk."""
    for file in sorted(folder.rglob("*")):
        sync(file)
    sync(folder)


def install(folder: Path, target: Path) -> None:
    """Makes a filled scratch folder durable and renames it to `target`, which is replaced if it exists."""
    sync_all(folder)
    if target.exists():
        with new_folder(target.parent) as aside:
            target.rename(aside / target.name)
            try:
                folder.rename(target)
            except BaseException:
                (aside / target.name).rename(target)
                raise
    else:
        folder.rename(target)
    sync(target.parent)


@contextmanager
def locked(folder: Path, patience_s: float) -> Iterator[None]:
    """Holds a folder against others that lock it, in this process or another; waits so many seconds for them.

    Raises:
        Unavailable: another still holds it then.
    """
    deadline = time.monotonic() + patience_s
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        while not _lock(descriptor):
            if time.monotonic() > deadline:
                raise Unavailable(f"another process writes to {folder}", hint="try again when it has ended")
            time.sleep(_LOOK_AGAIN_S)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def sync(path: Path) -> None:
    """Flushes a file's or folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
