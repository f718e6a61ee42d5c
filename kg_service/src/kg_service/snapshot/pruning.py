"""Removes snapshots that nothing needs any more, and what killed processes left beside them."""

from __future__ import annotations

from pathlib import Path

from nbclip.errors import BrokenArtefact, Conflict, Gone, NotFound
from nbclip.ids import check_snapshot_id

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


def remove(snapshots: SnapshotFolder, wanted: str) -> None:
    """Removes one snapshot; whoever has it open goes on with it.

    Raises:
        NotFound: nothing is held at all.
        Gone: this one is not held.
        Conflict: it is the current one, or another stands on it.
        Unavailable: another process appends for longer than some seconds.
    """
    path = snapshots.path / check_snapshot_id(wanted)
    if not path.is_dir():
        snapshots.manifest(wanted)  # says that it is not held
    with locked(snapshots.path, _PATIENCE_S):
        if wanted == snapshots.current():
            raise Conflict(f"{wanted} is the current snapshot", hint="publish another one first")
        for other in snapshots.ids():
            if wanted in _needs(snapshots, other):
                raise Conflict(f"{other} stands on {wanted}", hint=f"remove {other} first, or publish anew")
        _remove(path)


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
