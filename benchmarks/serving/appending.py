"""New linked captions into serving: appended to a snapshot in memory and durably, and what segments cost the kernel."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from kernels import least_seconds
from kg_service.graph.embedded.store import open_embedded
from kg_service.graph.store import AttributeEdge, ConceptNode, Graph, GraphBatch, ImageNode, Revision
from kg_service.similarity.kernel import similarity
from kg_service.snapshot import Snapshot, SnapshotFolder
from kg_service.snapshot.append import append_graph, embed_segment, with_tail
from kg_service.snapshot.mark import Mark
from kg_service.snapshot.segment import Segment
from kg_service.storage.replacement import write_file

_SEGMENTS = (0, 1, 8)
_RUNS = 5
_TURNS = 15


def append_seconds(file: Path, snapshot: Snapshot, images: int) -> dict[str, float]:
    """CPU seconds from ids, caption digests and concepts of new images, as linking leaves them, to a snapshot that serves them.

    In memory is vectors of every variant, ids and their table, caption keys. Durable is with files, digests, fsync, CURRENT, and
    the check of all that by the process that then serves it. What is new is read from the store before, which is a row of its
    own, or, where images were replaced or deleted, the whole graph, which is then compared with the snapshot.
    """
    ids, _, indptr, indices = _new(snapshot, images)
    kept = [variant for variant in snapshot.base.segment.vectors if variant[1] != "noise"]

    def vectors_of(variant: tuple[str, str]) -> Callable[[], object]:
        has = Segment({"caption_keys": np.zeros(images)}, {"attribute_indptr": indptr, "attribute_indices": indices}, {})
        matrix = has.has(len(snapshot.cuis))
        return lambda: snapshot.base.fitted(variant).embed_known(ids, matrix)

    seconds = {f"vectors alone, {'/'.join(variant)}": least_seconds(vectors_of(variant), runs=_RUNS) for variant in kept}
    store = open_embedded(file)
    snapshots, graph = SnapshotFolder(snapshot.base.folder.parent), store.read_graph()
    return seconds | {
        "in memory": in_memory_seconds(snapshot, images),
        "durable": _durable(snapshot, images),
        "what is new read from the store": read_new_seconds(file, snapshot, images),
        "the whole graph read from the store": least_seconds(store.read_graph, runs=2),
        "compared with the snapshot": least_seconds(lambda: append_graph(snapshots, snapshot, graph), runs=2),
    }


def in_memory_seconds(snapshot: Snapshot, images: int) -> float:
    """CPU seconds until a snapshot in memory has so many new images."""
    new = _new(snapshot, images)
    return least_seconds(lambda: with_tail(snapshot, embed_segment(snapshot, *new)), runs=_RUNS)


def _durable(snapshot: Snapshot, images: int) -> float:
    """The least of several; each begins with the published snapshot alone."""
    ids, digests, indptr, indices = _new(snapshot, images)
    used, places = np.unique(indices, return_inverse=True)
    cuis, no_is_a, linkers = tuple(snapshot.cui(concept) for concept in used), np.zeros((0, 2), np.int32), ("dictionary-1",)
    graph = Graph(tuple(ids), tuple(digests), cuis, indptr, places.astype(np.int32), no_is_a, linkers)
    mark = Mark(Revision(0, ""), linkers)
    times = []
    with tempfile.TemporaryDirectory(dir=snapshot.base.folder.parents[1]) as name:
        folder = Path(name)
        shutil.copytree(snapshot.base.folder, folder / snapshot.id)
        snapshots = SnapshotFolder(folder)
        for _ in range(_RUNS):
            write_file(folder / "CURRENT", snapshot.id.encode())
            opened = snapshots.open()
            opened.base.fitted(("hybrid", "dk")), opened.base.fitted(("hybrid", "dk_ek"))
            begun = time.process_time()
            new_id, _ = append_graph(snapshots, opened, graph, mark)
            write_file(folder / "CURRENT", new_id.encode())
            snapshots.open()
            times.append(time.process_time() - begun)
            shutil.rmtree(folder / new_id)
            snapshots = SnapshotFolder(folder)
    return min(times)


def read_new_seconds(file: Path, snapshot: Snapshot, images: int) -> float:
    """CPU seconds to read as many new images, and nothing else, from a copy of the graph store in a file."""
    ids, _, indptr, indices = _new(snapshot, images)
    cuis = [[snapshot.cui(concept) for concept in row] for row in np.split(indices, indptr[1:-1])]
    nodes = [ImageNode(image_id, image_id, tuple(map(AttributeEdge, row))) for image_id, row in zip(ids, cuis, strict=True)]
    concepts = [ConceptNode(cui, "") for cui in sorted({cui for row in cuis for cui in row})]
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        copied = Path(folder) / file.name
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copied)) as target:
            source.backup(target)
        with closing(open_embedded(copied)) as store:
            since = store.read_graph().revision
            assert since is not None
            store.write(GraphBatch(nodes, concepts))
            return least_seconds(lambda: store.read_new(since), runs=_RUNS)


def segment_seconds(snapshot: Snapshot, rows: Sequence[int] | np.ndarray, appended: int) -> dict[str, float]:
    """CPU seconds of a square batch by number of segments: the same vectors, of which a tenth are of appended images.

    The three take turns, so that other work on the machine meets all alike.
    """
    works = {}
    for count in _SEGMENTS:
        held = snapshot
        for part in range(count):
            share = appended // count
            ids, digests, indptr, indices = _new(snapshot, share, first=part * share)
            held = with_tail(held, embed_segment(held, ids, digests, indptr, indices))
        batch = np.array(rows)
        # Image n of those appended has the concepts, and so the vector, of the snapshot's own image n.
        batch[::10] = np.arange(len(batch[::10])) * 7 % appended + (len(snapshot) if count else 0)
        vectors = held.vectors("hybrid", "dk_ek")
        works[f"{count} segments"] = lambda batch=batch, vectors=vectors: similarity(vectors, batch, batch)
    turns = [{name: least_seconds(work, runs=1) for name, work in works.items()} for _ in range(_TURNS)]
    return {name: min(turn[name] for turn in turns) for name in works}


def _new(snapshot: Snapshot, images: int, first: int = 0) -> tuple[list[str], list[str], np.ndarray, np.ndarray]:
    """As many new images, with concepts as some of the snapshot's own have them."""
    concepts = snapshot.base.segment.concepts
    pointers = np.asarray(concepts["attribute_indptr"][first : first + images + 1])
    ids = [f"NEW_{number:08}" for number in range(first, first + images)]
    digests = [f"{number:064x}" for number in range(first, first + images)]
    return ids, digests, pointers - pointers[0], np.asarray(concepts["attribute_indices"][pointers[0] : pointers[-1]])
