"""Files and folders that are replaced in one step: written aside, flushed, renamed; then the folder that names them is flushed.

A reader finds the old content or the new one, whenever the process dies. Two folders change places by one system call
(`exchange.py`). A file system without that call takes two renames. If the process dies between them, the next sweep completes the
replacement, and so does whoever opens an artefact that is missing (`artefact.py`). A pointer to versioned folders would close
this gap, but turn each folder there into a link, which breaks when the folder is copied or moved.
"""

from __future__ import annotations

import os
from pathlib import Path

from nbclip.flushing import sync

from kg_service.storage.exchange import exchange
from kg_service.storage.scratch import CONTENT, FORMER, new_file, new_folder
from kg_service.storage.writing import writing


def write_file(path: Path, content: bytes, *, scratch: Path | None = None) -> None:
    """Replaces the file `path`, mode 0600.

    Args:
        path: the file, which need not be there.
        content: all of its bytes.
        scratch: a folder on the same file system to write in; default: that of `path`.
    """
    with writing(path):
        with new_file(scratch or path.parent) as (new, stream):
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
            new.replace(path)
        sync(path.parent)


def install(folder: Path, target: Path) -> None:
    """Flushes a folder that `new_folder` made beside `target`, and puts it there; an older `target` is replaced."""
    sync_all(folder)
    install_flushed(folder, target)


def install_flushed(folder: Path, target: Path) -> None:
    """As `install`, for a folder that `sync_all` has flushed already."""
    if not os.path.lexists(target):
        folder.rename(target)
    elif not exchange(folder, target):
        _rename_both(folder, target)
    sync(target.parent)


def _rename_both(folder: Path, target: Path) -> None:
    former = folder.parent / FORMER / target.name
    former.parent.mkdir()
    target.rename(former)
    try:
        folder.rename(target)
    except BaseException:
        former.rename(target)
        raise


def finish_install(place: Path) -> None:
    """Completes an `install` that was killed between its two renames: the new folder, whole and flushed, gets its name."""
    content = place / CONTENT
    for former in place.glob(f"{FORMER}/*"):
        target = place.parent / former.name
        if content.exists() and not os.path.lexists(target):
            content.rename(target)
            sync(target.parent)


def remove_folder(folder: Path) -> None:
    """Removes a folder, which is there whole or not at all."""
    with new_folder(folder.parent) as aside:
        folder.rename(aside / folder.name)
        sync(folder.parent)


def sync_all(folder: Path) -> None:
    """Flushes a folder and all that is in it to the disk."""
    for file in sorted(folder.rglob("*")):
        sync(file)
    sync(folder)
