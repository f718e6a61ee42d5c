"""Files and folders that are replaced in one step: written aside, flushed, renamed, and the folder that names them flushed.

Whoever looks finds the old content or the new, whenever the process dies. Two folders change places by one system call
(`exchange.py`). Where a file system lacks that, they do by two renames; should the process die between them, the next sweep
ends what it began, and whoever opens an artefact that is missing sweeps (`artefact.py`).
"""

from __future__ import annotations

import os
from pathlib import Path

from kg_service.storage.exchange import exchange
from kg_service.storage.scratch import CONTENT, FORMER, new_file, new_folder


def write_file(path: Path, content: bytes, *, scratch: Path | None = None) -> None:
    """Replaces `path` by `content`, mode 0600.

    Args:
        path: of the file.
        content: all of it.
        scratch: folder for what is being written, on the same file system; default: that of `path`.
    """
    with new_file(scratch or path.parent) as (new, stream):
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
        new.replace(path)
    sync(path.parent)


def install(folder: Path, target: Path) -> None:
    """Flushes a filled folder, which `new_folder` gave beside `target`, and puts it in the place of `target`."""
    sync_all(folder)
    install_flushed(folder, target)


def install_flushed(folder: Path, target: Path) -> None:
    """As `install`, of a folder that `sync_all` has flushed."""
    if not os.path.lexists(target):
        folder.rename(target)
    elif not exchange(folder, target):
        former = folder.parent / FORMER
        former.mkdir()
        target.rename(former / target.name)
        folder.rename(target)
    sync(target.parent)


def finish_install(place: Path) -> None:
    """Ends an `install` that a killed process left between its two renames: the new folder, whole and flushed, gets its name."""
    content = place / CONTENT
    for former in place.glob(f"{FORMER}/*"):
        target = place.parent / former.name
        if content.exists() and not os.path.lexists(target):
            content.rename(target)
            sync(target.parent)


def remove_folder(folder: Path) -> None:
    """Takes a folder away in one step, so that none is ever there in part."""
    with new_folder(folder.parent) as aside:
        folder.rename(aside / folder.name)
        sync(folder.parent)


def sync_all(folder: Path) -> None:
    """Flushes a folder and all that is in it to the disk."""
    for file in sorted(folder.rglob("*")):
        sync(file)
    sync(folder)


def sync(path: Path) -> None:
    """Flushes a file's or folder's content to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
