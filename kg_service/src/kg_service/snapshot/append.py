"""Appends new images to a published snapshot without refitting: its frozen tables embed them, beside its own images.

An appended snapshot is immutable and named by its content like every other. It has files of its own for its images, and names the
snapshots that have the rest: the published one that it stands on, and earlier appended ones. A new segment takes in those before
it that are less than twice its size, so there are few, each image is written few times, and no list grows long.

    base ◀── segment of 800 ◀── segment of 300 ◀── new images: 100        then        base ◀── 800 ◀── 300 ◀── 100
    base ◀── segment of 800 ◀── segment of 300 ◀── new images: 200        then        base ◀── segment of 1,300

What the tables say stays as it was: document frequencies, co-occurrence, ancestors. Images that were replaced keep their former
vector, those deleted stay, and concepts that the base does not know are left out, until a snapshot is published anew: compaction.

Shape legend: N images of the graph, M concepts of the graph, P attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import structlog
from nbclip.schemas.snapshots import AppendCounts
from scipy import sparse

from kg_service.graph.store import Graph, GraphSource, GraphStore
from kg_service.representations.from_cards import method_of
from kg_service.representations.model import FittedRepresentation, other_version
from kg_service.snapshot.cuis import cui_array
from kg_service.snapshot.folder import CURRENT, SnapshotFolder
from kg_service.snapshot.manifest import Appended, Manifest
from kg_service.snapshot.mark import Mark, read_mark, write_mark
from kg_service.snapshot.opened import Snapshot
from kg_service.snapshot.preparation import VERSIONED, install_snapshot, version_of
from kg_service.snapshot.rarest import as_published
from kg_service.snapshot.segment import Segment, Variant, caption_keys, image_arrays, joined, joined_concepts, save_segment
from kg_service.storage.arrays import Arrays
from kg_service.storage.artefact import describe_files
from kg_service.storage.csr import pointers, ranges
from kg_service.storage.locks import locked
from kg_service.storage.replacement import write_file
from kg_service.storage.scratch import new_folder

_PATIENCE_S = 5.0
_TRIED = 32
_TOLERANCE = 1e-5


def append(store: GraphStore, snapshots: SnapshotFolder) -> tuple[str, AppendCounts]:
    """Appends the images that the current snapshot lacks, of its dataset and split, and makes the result the current one.

    The same snapshot and the same images give the same id. Where nothing is new, the current id is returned and nothing written.

    Raises:
        Unavailable: nothing is published yet; or another process appends for longer than some seconds.
        BrokenArtefact: the current snapshot is damaged, and no other is whole.
        OtherVersion: another version of this program made it, whose vectors this one would not give.
    """
    snapshots.verify_rest(snapshots.open())  # where nothing is published there is no folder to lock
    with locked(snapshots.path, _PATIENCE_S):
        current = snapshots.open()
        snapshots.verify_rest(current)
        new_id, counts = append_new(store, snapshots, current)
        if new_id != current.id:
            write_file(snapshots.path / CURRENT, new_id.encode())
    return new_id, counts


def with_elsewhere(store: GraphStore, part: Manifest, counts: AppendCounts) -> AppendCounts:
    """The counts of an append with `elsewhere`, which has the store count its images; `part` is the manifest of what it gave."""
    if counts.appended or (part.dataset is None and part.split is None):
        return counts
    return counts.model_copy(update={"elsewhere": store.counts().images - (part.images - counts.deleted)})


def append_new(store: GraphSource, snapshots: SnapshotFolder, current: Snapshot) -> tuple[str, AppendCounts]:
    """As `append`, to one snapshot; which one is the current one stays as it is."""
    part = current.manifest
    mark = read_mark(snapshots.path / current.id)
    added = store.read_new(mark.revision, dataset=part.dataset, split=part.split) if mark else None
    # An image that was deleted before the mark and has come back is no new one.
    if added is not None and (current.positions(added.image_ids) < 0).all():
        return append_graph(snapshots, current, added, mark)
    return append_graph(snapshots, current, store.read_graph(dataset=part.dataset, split=part.split))


def append_graph(
    snapshots: SnapshotFolder, current: Snapshot, graph: Graph, mark: Mark | None = None
) -> tuple[str, AppendCounts]:
    """As `append`, of the images of a graph to a snapshot; which one is the current one stays as it is.

    Args:
        snapshots: where the snapshot is.
        current: is appended to.
        graph: all of the snapshot's part of the graph, or what was added to it since the state that `mark` names.
        mark: of `current`, where `graph` is what was added since.
    """
    graph = as_published(current.base, graph)
    known = _known(current, graph)
    rows_N = current.positions(graph.image_ids)
    new = np.flatnonzero(rows_N < 0)
    has_N = np.diff(known.indptr) > 0
    counts = AppendCounts(
        appended=len(new),
        without_vector=int(np.count_nonzero(~has_N[new])),
        concepts_left_out=known.left_out(graph, new),
        replaced=mark.replaced if mark else _replaced(current, graph, known, rows_N),
        deleted=mark.deleted if mark else len(current) - int(np.count_nonzero(rows_N >= 0)),
        by_concepts=_learned_apart(current) if len(new) else [],
    )
    linkers = sorted({*graph.linkers, *(mark.linkers if mark else ())})
    new_id = current.id
    if len(new):
        ids, digests = ([column[at] for at in new.tolist()] for column in (graph.image_ids, graph.caption_sha256))
        segment = embed_segment(current, ids, digests, *_rows(known.indptr, known.indices, new))
        new_id = _write(snapshots, current, segment, linkers)
    if graph.revision:
        write_mark(snapshots.path / new_id, Mark(graph.revision, tuple(linkers), counts.replaced, counts.deleted))
    stale = counts.replaced + counts.deleted
    structlog.get_logger().info(
        "images appended", snapshot=new_id, **counts.model_dump(), **({"hint": "publish again to pick them up"} if stale else {})
    )
    return new_id, counts


def _learned_apart(snapshot: Snapshot) -> list[str]:
    """The representations that gave the published images what their concepts alone would not."""
    variants = snapshot.base.segment.vectors
    return sorted({variant[0] for variant in variants if not snapshot.base.fitted(variant).follows_from_concepts})


def embed_segment(
    snapshot: Snapshot,
    image_ids: list[str],
    digests: list[str],
    indptr: npt.NDArray[np.int64],
    indices: npt.NDArray[np.int32],
) -> Segment:
    """New images by the snapshot's frozen tables; what need not be stored is left out.

    Args:
        snapshot: of which the tables are.
        image_ids: N ids that it does not hold.
        digests: of their captions.
        indptr: int64, [N + 1].
        indices: where their concepts stand in the snapshot's CUIs, ascending for each image; int32, [P].

    Raises:
        OtherVersion: another version of this program made the snapshot, whose vectors this one would not give.
    """
    has_NM = _matrix(indptr, indices, len(snapshot.base.graph["cuis"]))
    vectors = {}
    for variant in snapshot.base.segment.vectors:
        if not method_of(snapshot.base.manifest.variants["/".join(variant)]).stored:
            continue
        fitted = snapshot.base.fitted(variant)
        if fitted.follows_from_concepts:
            _refuse_other_version(snapshot, variant, fitted)
        vectors[variant] = fitted.embed_known(image_ids, has_NM)
    concepts: Arrays = {"attribute_indptr": indptr, "attribute_indices": indices}
    return Segment(image_arrays(image_ids, digests), concepts, vectors)


def with_tail(snapshot: Snapshot, segment: Segment) -> Snapshot:
    """The snapshot with further images, in memory alone."""
    return replace(snapshot, tail=joined([each for each in (snapshot.tail, segment) if each is not None]))


@dataclass(frozen=True, slots=True)
class _Known:
    """The graph's attributes whose concepts the base knows, as CSR over its CUIs, and which of the graph's concepts it knows."""

    indptr: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int32]
    knows: npt.NDArray[np.bool_]

    def left_out(self, graph: Graph, rows: npt.NDArray[np.int64]) -> int:
        """How many concepts of these images the base does not know."""
        _, concepts = _rows(graph.attribute_indptr, graph.attribute_indices, rows)
        return int(np.count_nonzero(~self.knows[np.unique(concepts)]))


def _known(snapshot: Snapshot, graph: Graph) -> _Known:
    held, wanted = np.asarray(snapshot.base.graph["cuis"]), cui_array(graph.cuis)
    place_M = np.searchsorted(held, wanted).clip(max=len(held) - 1)
    known_M = held[place_M] == wanted
    kept_P = known_M[graph.attribute_indices]
    indptr = pointers(kept_P)[graph.attribute_indptr]
    # Both lists of CUIs are sorted, so positions still ascend.
    return _Known(indptr, place_M[graph.attribute_indices[kept_P]].astype(np.int32), known_M)


def _replaced(snapshot: Snapshot, graph: Graph, known: _Known, rows_N: npt.NDArray[np.int64]) -> int:
    """Images that the snapshot holds, and that have another caption or other concepts in the graph."""
    held = np.flatnonzero(rows_N >= 0)
    keys = caption_keys([graph.caption_sha256[at] for at in held.tolist()], [graph.image_ids[at] for at in held.tolist()])
    changed = keys != snapshot.caption_keys(rows_N[held])
    # Of appended images concepts that the base does not know were left out; a published image had none such.
    more = (np.diff(graph.attribute_indptr) != np.diff(known.indptr))[held] & (rows_N[held] < len(snapshot.base.segment))
    now, then = _codes(*_rows(known.indptr, known.indices, held)), _codes(*_held_rows(snapshot, rows_N[held]))
    other = np.setxor1d(now, then, assume_unique=True) >> 32
    changed[other] = True
    return int(np.count_nonzero(changed | more))


def _codes(indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Row and concept of each attribute in one number, [P]."""
    rows = np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
    return (rows << 32) | indices.astype(np.int64)


def _held_rows(snapshot: Snapshot, rows: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Concepts of these rows of a snapshot, in order, as CSR."""
    concepts = joined_concepts(snapshot.segments)
    return _rows(concepts["attribute_indptr"], concepts["attribute_indices"], rows)


def _rows(
    indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int32]]:
    """Some rows of a CSR matrix, in order: row pointers and indices."""
    counts = indptr[rows + 1] - indptr[rows]
    return pointers(counts), indices[ranges(indptr[rows], counts)]


def _matrix(indptr: npt.NDArray[np.int64], indices: npt.NDArray[np.int32], concepts: int) -> sparse.csr_array:
    """1.0 where the image has the concept; CSR."""
    return sparse.csr_array((np.ones(len(indices)), indices, indptr), shape=(len(indptr) - 1, concepts))


def _refuse_other_version(snapshot: Snapshot, variant: Variant, fitted: FittedRepresentation) -> None:
    """The tables must give the vectors that the base has, or new images would be compared by another measure."""
    base = snapshot.base.segment
    tried = min(_TRIED, len(base))
    indptr, indices = _rows(base.concepts["attribute_indptr"], base.concepts["attribute_indices"], np.arange(tried))
    has = _matrix(indptr, indices, len(snapshot.base.graph["cuis"]))
    held, given = base.vectors[variant], fitted.embed_known([base.image_id(row) for row in range(tried)], has)
    gaps = ((held.sparse[:tried] - given.sparse).data, held.dense[:tried] - given.dense)
    if max(np.abs(gap).max(initial=0) for gap in gaps) > _TOLERANCE:
        raise other_version(f"its {'/'.join(variant)} comes out otherwise here")


def _write(snapshots: SnapshotFolder, current: Snapshot, segment: Segment, linkers: Sequence[str]) -> str:
    """Installs the snapshot that `current` and a segment make; returns its id."""
    before = current.manifest
    new, with_knowledge = len(segment), int(np.count_nonzero(np.diff(segment.concepts["attribute_indptr"])))
    earlier, taken_in = _taken_in(snapshots, current, new)
    whole = joined([*(snapshots.segment(each) for each in taken_in), segment])
    with new_folder(snapshots.path) as scratch:
        save_segment(scratch, whole)
        manifest = before.model_copy(
            update={
                "linkers": sorted({*before.linkers, *linkers}),
                "images": before.images + new,
                "images_with_knowledge": before.images_with_knowledge + with_knowledge,
                "attributes": before.attributes + len(segment.concepts["attribute_indices"]),
                "versions": before.versions | {name: version_of(name) for name in VERSIONED},
                "files": describe_files(scratch),
                "appended": Appended(
                    base=before.appended.base if before.appended else current.id,
                    earlier=list(earlier),
                    images=(before.appended.images if before.appended else 0) + new,
                    own=len(whole),
                ),
            }
        )
        new_id = install_snapshot(scratch, snapshots.path, manifest)
    snapshots.note_verified(new_id, manifest.files)
    return new_id


def _taken_in(snapshots: SnapshotFolder, current: Snapshot, new: int) -> tuple[list[str], list[str]]:
    """Which segments are kept as they are, and which become one with that of `new` images, oldest first."""
    appended = current.manifest.appended
    kept = [*appended.earlier, current.id] if appended else []
    taken_in: list[str] = []
    while kept and (size := len(snapshots.segment(kept[-1]))) < 2 * new:
        taken_in.insert(0, kept.pop())
        new += size
    return kept, taken_in
