"""Removes snapshots that nothing needs any more."""

from __future__ import annotations

from nbclip.errors import BrokenArtefact, Conflict, Gone, NotFound
from nbclip.ids import check_snapshot_id

from kg_service.snapshot.aside import is_kept
from kg_service.snapshot.folder import SnapshotFolder
from kg_service.snapshot.manifest import stands_on
from kg_service.storage.locks import locked
from kg_service.storage.replacement import remove_folder

_PATIENCE_S = 10.0


def prune(snapshots: SnapshotFolder, keep: int, *, aside: bool = False) -> list[str]:
    """The ids of the snapshots that were removed: all but the last published, the `keep` newest others, and what these stand on.

    Those that were published aside (`aside.py`) stay too, and are no others; with `aside` they are as all. Damaged ones go, but
    for the last published and what it stands on, and do not count among those kept.
    A process that has one open keeps it; a later request for it, such as by a resumed training run, gets `Gone`.

    Raises:
        Unavailable: another process appends for longer than some seconds.
    """
    if not snapshots.path.is_dir():
        return []
    # Reading every file takes a while in which others need not wait; those few are looked at again.
    suspects = {each for each in snapshots.ids() if _is_damaged(snapshots, each)}
    with locked(snapshots.path, _PATIENCE_S):
        held, last = snapshots.ids(), snapshots.published_last()
        damaged = {each for each in suspects.intersection(held) if each != last and _is_damaged(snapshots, each)}
        whole = [each for each in held if each not in damaged]
        by_age = [each for each in whole if aside or each == last or not is_kept(snapshots.path / each)]
        kept = set(whole).difference(by_age[keep + (last in held) :])
        for wanted in tuple(kept):
            kept.update(_needs(snapshots, wanted))
        removed = [each for each in held if each not in kept]
        for each in removed:
            remove_folder(snapshots.path / each)
    return removed


def remove(snapshots: SnapshotFolder, wanted: str) -> None:
    """Removes one snapshot; whoever has it open goes on with it.

    Raises:
        NotFound: nothing is held at all.
        Gone: this one is not held.
        Conflict: it was published last, or another stands on it.
        Unavailable: another process appends for longer than some seconds.
    """
    path = snapshots.path / check_snapshot_id(wanted)
    if not path.is_dir():
        snapshots.manifest(wanted)  # says that it is not held
    with locked(snapshots.path, _PATIENCE_S):
        if wanted == snapshots.published_last():
            raise Conflict(f"{wanted} is the current snapshot", hint="publish another one first")
        for other in snapshots.ids():
            if wanted in _needs(snapshots, other):
                raise Conflict(f"{other} builds on {wanted}", hint=f"remove {other} first, or publish again")
        remove_folder(path)


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
