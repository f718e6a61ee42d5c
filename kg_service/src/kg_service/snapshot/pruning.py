"""Removes snapshots that nothing needs any more, and what killed processes left beside them."""

from __future__ import annotations

from pathlib import Path

from nbclip.errors import BrokenArtefact, Gone, NotFound

from kg_service.snapshot.reader import SnapshotFolder, stands_on
from kg_service.storage.durable import locked, new_folder, sweep

_PATIENCE_S = 10.0


def prune(snapshots: SnapshotFolder, keep: int) -> list[str]:
    """Removes all snapshots but the current one, the `keep` newest others, and what these stand on; returns the ids removed.

    Damaged ones go too, but for the current one and what it stands on, and do not count among those kept.
    A process that has one open goes on with it; whoever asks for one anew, such as a training that is resumed, is told `Gone`.

    Raises:
        Unavailable: another process appends for longer than some seconds.
    """
    if not snapshots.path.is_dir():
        return []
    sweep(snapshots.path)
    # Reading every file takes a while in which others need not wait; those few are looked at again.
    suspects = {each for each in snapshots.ids() if _is_damaged(snapshots, each)}
    with locked(snapshots.path, _PATIENCE_S):
        held, current = snapshots.ids(), snapshots.current()
        damaged = {each for each in suspects.intersection(held) if each != current and _is_damaged(snapshots, each)}
        whole = [each for each in held if each not in damaged]
        kept = set(whole[: keep + (current in held)])
        for wanted in tuple(kept):
            kept.update(_needs(snapshots, wanted))
        removed = [each for each in held if each not in kept]
        for each in removed:
            _remove(snapshots.path / each)
    return removed


def _is_damaged(snapshots: SnapshotFolder, wanted: str) -> bool:
    try:
        snapshots.verify(wanted)
    except BrokenArtefact:
        return True
    except (Gone, NotFound):
        return False
    return False


def _needs(snapshots: SnapshotFolder, wanted: str) -> tuple[str, ...]:
    try:
        return stands_on(snapshots.manifest(wanted))
    except BrokenArtefact:
        return ()


def _remove(folder: Path) -> None:
    """Takes a snapshot away in one step, so that none is ever held in part."""
    with new_folder(folder.parent) as aside:
        folder.rename(aside / folder.name)
