"""Removes snapshots that nothing needs any more."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from nbclip_shared.errors import BrokenArtefact

from kg_service.durable import locked
from kg_service.snapshot.reader import SnapshotFolder, stands_on

_PATIENCE_S = 10.0


def prune(snapshots: SnapshotFolder, keep: int) -> list[str]:
    """Removes all snapshots but the current one, the `keep` newest others, and what these stand on; returns the ids removed.

    A process that has one open goes on with it; whoever asks for one anew, such as a training that is resumed, is told `Gone`.

    Raises:
        Unavailable: another process appends for longer than some seconds.
    """
    if not snapshots.path.is_dir():
        return []
    with locked(snapshots.path, _PATIENCE_S):
        held = snapshots.ids()
        kept = set(held[: keep + (snapshots.current() in held)])
        for wanted in tuple(kept):
            kept.update(_needs(snapshots, wanted))
        removed = [each for each in held if each not in kept]
        for each in removed:
            _remove(snapshots.path / each)
    return removed


def _needs(snapshots: SnapshotFolder, wanted: str) -> tuple[str, ...]:
    try:
        return stands_on(snapshots.manifest(wanted))
    except BrokenArtefact:
        return ()


def _remove(folder: Path) -> None:
    """Takes a snapshot away in one step, so that none is ever held in part."""
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".old."))
    folder.rename(aside / folder.name)
    shutil.rmtree(aside)
