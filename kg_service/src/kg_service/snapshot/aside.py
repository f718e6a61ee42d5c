"""Snapshots that were published without being served: an experiment may be pinned to one as long as it takes.

Notes of this lie beside a snapshot's files and are no part of it, as the same content may be published both ways:

    kept        it was published aside: pruning leaves it
    unserved    it never was the current one: nothing else stands in for a damaged one by it
"""

from __future__ import annotations

from pathlib import Path

from kg_service.storage.replacement import write_file

_KEPT, _UNSERVED = "kept", "unserved"


def set_aside(folder: Path, *, is_new: bool) -> None:
    """Notes that the snapshot in a folder was published aside; `is_new`: it was not held before."""
    for name in (_KEPT, _UNSERVED) if is_new else (_KEPT,):
        write_file(folder / name, b"", scratch=folder.parent)


def note_served(folder: Path) -> None:
    """Notes that the snapshot in a folder is to be the current one."""
    (folder / _UNSERVED).unlink(missing_ok=True)


def is_kept(folder: Path) -> bool:
    """Whether the snapshot in a folder was published aside."""
    return (folder / _KEPT).exists()


def was_served(folder: Path) -> bool:
    """Whether it has been the current one, or was published as such."""
    return not (folder / _UNSERVED).exists()
