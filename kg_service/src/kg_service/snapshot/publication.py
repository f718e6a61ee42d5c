"""Makes the current snapshot anew from the graph: a publication, or the compaction of one that was appended to.

Fitting takes up to hours, in which others append and publish. What ends later never takes back what was served meanwhile: images
that were appended are appended to the new snapshot before it is current, and one of a former state of the graph gives way.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import structlog
from nbclip.errors import BrokenArtefact, Gone, NotFound

from kg_service.graph.store import GraphSource
from kg_service.representations.from_cards import representations_of_cards
from kg_service.representations.model import Representation
from kg_service.snapshot.append import append_new
from kg_service.snapshot.changes import NO_CHANGES, Changes, changes_of
from kg_service.snapshot.folder import CURRENT, SnapshotFolder
from kg_service.snapshot.mark import Mark, read_mark
from kg_service.snapshot.preparation import OnStage, Prepared, prepared, silent
from kg_service.storage.locks import locked
from kg_service.storage.replacement import write_file
from kg_service.vocabulary.vocabulary import Vocabulary

_PATIENCE_S = 300.0
"""For the snapshots' folder, once hours may have gone into fitting: an append that reads the whole graph takes a while."""


def publish(
    store: GraphSource,
    folder: Path,
    *,
    vocabulary: Mapping[str, str],
    representations: Mapping[str, Representation] | None = None,
    dataset: str | None = None,
    split: str | None = None,
    hierarchy: Vocabulary | None = None,
    changes: Changes = NO_CHANGES,
    current: bool = True,
    on_stage: OnStage = silent,
) -> str:
    """Freezes the graph, or the part that one dataset or split has, and makes it the current snapshot.

    The same graph gives the same id, and publishing it again writes nothing new, but makes it the newest. It is published, and
    not current, if another snapshot of a later state of the graph was published meanwhile.

    Args:
        store: where the graph is.
        folder: the snapshots' folder.
        vocabulary: release, digest and licence of the vocabulary, for the manifest.
        representations: what to fit, by the name that requests call it; default: the default one. The control is always held too.
        dataset: only images of this dataset.
        split: only images of this split.
        hierarchy: the vocabulary, to warn where the graph's is_a are not those of it.
        changes: what it is to have otherwise than the graph.
        current: whether to serve it from now on; if not, what is served stays, and pruning leaves this one (`aside.py`).
        on_stage: is told of reading the graph, of fitting each representation, and of writing.

    Returns:
        The snapshot's id; where images were appended to the former one meanwhile, the id of the new one with these.

    Raises:
        InvalidInput: the graph has no image of this part, or none of the edges begins at a concept of an image.
        Conflict: it has none at all, or none with a concept; or there is nothing to shuffle.
        MissingExtra: a representation needs what is not installed.
        Unavailable: another process appends, compacts or prunes for longer than some minutes.
    """
    snapshots, log = SnapshotFolder(folder), structlog.get_logger()
    before = base_id(snapshots)
    made = prepared(
        store,
        folder,
        vocabulary=vocabulary,
        representations=representations,
        dataset=dataset,
        split=split,
        hierarchy=hierarchy,
        changes=changes,
        on_stage=on_stage,
    )
    with made as new, locked(folder, _PATIENCE_S):
        new.install(aside=not current)
        snapshots.note_verified(new.id, new.manifest.files)
        if not current:
            log.info("snapshot published aside: what is served stays", snapshot=new.id, images=new.manifest.images)
            return new.id
        base = base_id(snapshots)
        if base not in (before, None) and _is_later(read_mark(folder / base), new):
            log.warning("not made current: a later state of the graph was published meanwhile", snapshot=new.id, current=base)
            return new.id
        new_id, served = new.id, snapshots.current()
        if served and _is_later(read_mark(folder / served), new):
            new_id, _ = append_new(store, snapshots, snapshots.open(new.id))
        write_file(folder / CURRENT, new_id.encode())
    log.info("snapshot published", snapshot=new_id, images=new.manifest.images, concepts=new.manifest.concepts)
    return new_id


def compact(
    store: GraphSource, snapshots: SnapshotFolder, *, vocabulary: Mapping[str, str], hierarchy: Vocabulary | None = None
) -> str | None:
    """Publishes the current snapshot's part of the graph anew, by the same representations, and makes it the current one.

    Returns:
        The new id; None if meanwhile another snapshot was published, which stays the current one.

    Raises:
        as `publish` and `append`.
    """
    before = snapshots.open().manifest
    base = base_id(snapshots)
    made = prepared(
        store,
        snapshots.path,
        vocabulary=vocabulary,
        representations=representations_of_cards(before.variants),
        dataset=before.dataset,
        split=before.split,
        hierarchy=hierarchy,
        changes=changes_of(snapshots.path / str(base), before),
    )
    with made as new, locked(snapshots.path, _PATIENCE_S):
        if base_id(snapshots) != base:
            structlog.get_logger().warning("compaction dropped: another snapshot was published meanwhile", snapshot=new.id)
            return None
        new.install()
        snapshots.note_verified(new.id, new.manifest.files)
        new_id, _ = append_new(store, snapshots, snapshots.open(new.id))
        write_file(snapshots.path / CURRENT, new_id.encode())
    structlog.get_logger().info("snapshot compacted", snapshot=new_id)
    return new_id


def base_id(snapshots: SnapshotFolder) -> str | None:
    """The published snapshot that the current one is, or stands on; None if there is none whose manifest can be read."""
    current = snapshots.current()
    with suppress(NotFound, Gone, BrokenArtefact):
        appended = snapshots.manifest(current).appended if current else None
        return appended.base if appended else current
    return None


def _is_later(mark: Mark | None, new: Prepared) -> bool:
    """Whether a mark is of a later state of the graph than what was prepared is."""
    return mark is not None and new.mark is not None and mark.revision.number > new.mark.revision.number
