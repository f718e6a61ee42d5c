"""Graph to the files of a snapshot: read it once, fit every representation, write the arrays, name them by their content."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import structlog
from nbclip.errors import BrokenArtefact, Conflict, Gone, InvalidInput, NBClipError, NotFound
from threadpoolctl import threadpool_limits

from kg_service.graph.store import Graph, GraphSource
from kg_service.representations.from_cards import method_of
from kg_service.representations.from_settings import with_control
from kg_service.representations.model import Card, FittedRepresentation, ImageVectors, Representation
from kg_service.representations.weights import IMAGES_AT_ONCE, attribute_matrix
from kg_service.snapshot.ancestry import relation_arrays
from kg_service.snapshot.aside import note_served, set_aside
from kg_service.snapshot.changes import NO_CHANGES, Changes, changed, in_manifest, save_changes
from kg_service.snapshot.cuis import cui_array
from kg_service.snapshot.folder import SnapshotFolder
from kg_service.snapshot.manifest import Manifest, encoded, id_of
from kg_service.snapshot.mark import Mark, write_mark
from kg_service.snapshot.segment import Variant, save_images, save_vectors
from kg_service.snapshot.vocabulary_check import warn_of_other_is_a
from kg_service.storage.arrays import save_arrays
from kg_service.storage.artefact import MANIFEST, describe_files
from kg_service.storage.replacement import install_flushed, sync_all
from kg_service.storage.scratch import new_folder
from kg_service.vocabulary.vocabulary import Vocabulary

version_of = functools.cache(importlib.metadata.version)
"""Of an installed package; looking it up takes milliseconds."""
VERSIONED = ("nbclip-kg-service", "numpy", "scipy")
OnStage = Callable[[str, float], None]
"""Is told what begins, and which share of the stages is done."""


def silent(stage: str, fraction: float) -> None:
    """Nobody is told."""


@dataclass(frozen=True)
class Prepared:
    """A snapshot that lies in a scratch folder, written and flushed, and is to be installed.

    Attributes:
        id: of the snapshot.
        manifest: of the snapshot.
        mark: the state of the graph that it was made of; None where the graph has no states.
    """

    id: str
    manifest: Manifest
    mark: Mark | None
    _scratch: Path
    _folder: Path
    _is_held: bool

    def install(self, *, aside: bool = False) -> None:
        """Puts it in its place. The caller holds the snapshots' folder until this one, or one that stands on it, is current.

        Args:
            aside: whether it is not to be the current one.
        """
        target = self._folder / self.id
        is_new = not target.exists()
        _put_in_place(self._scratch, target, is_held=self._is_held)
        if self.mark:
            write_mark(target, self.mark)
        if aside:
            set_aside(target, is_new=is_new)
        else:
            note_served(target)


@contextmanager
def prepared(
    store: GraphSource,
    folder: Path,
    *,
    vocabulary: Mapping[str, str],
    representations: Mapping[str, Representation] | None = None,
    dataset: str | None = None,
    split: str | None = None,
    hierarchy: Vocabulary | None = None,
    changes: Changes = NO_CHANGES,
    on_stage: OnStage = silent,
) -> Iterator[Prepared]:
    """What is to be published, written beside the snapshots; removed on leaving, unless it was installed.

    Arguments and errors are those of `publication.publish`.
    """
    on_stage("reading the graph", 0)
    whole = store.read_graph(dataset=dataset, split=split)
    if not len(whole.image_ids):
        raise _no_image(store, dataset, split)
    if not len(whole.attribute_indices):
        raise Conflict("no image has a concept", hint="see what the linker finds: kg-service link 'a caption'")
    if hierarchy is not None:
        warn_of_other_is_a(whole.cuis, whole.is_a, hierarchy)
    graph = changed(whole, changes)
    with new_folder(folder) as scratch:
        save_changes(scratch, whole, changes)
        manifest = _write(scratch, graph, vocabulary, representations, on_stage, changes=changes, dataset=dataset, split=split)
        new_id = write_manifest(scratch, manifest)
        mark = Mark(graph.revision, graph.linkers) if graph.revision else None
        yield Prepared(new_id, manifest, mark, scratch, folder, _is_whole(folder, new_id))


def _write(
    scratch: Path,
    graph: Graph,
    vocabulary: Mapping[str, str],
    representations: Mapping[str, Representation] | None,
    on_stage: OnStage,
    *,
    changes: Changes,
    dataset: str | None,
    split: str | None,
) -> Manifest:
    """Fits the graph and writes the files of its snapshot, all but the manifest, which it returns."""
    # In one thread BLAS adds up in one order, so the same graph gives the same bits on every machine of a kind.
    with threadpool_limits(1, "blas"):
        save_images(scratch, graph.image_ids, graph.caption_sha256)
        _write_graph(scratch, graph)
        variants = _fit(graph, with_control(representations), on_stage)
        cards, with_knowledge = _write_variants(scratch, graph, variants)
        return Manifest(
            vocabulary=dict(vocabulary),
            linkers=list(graph.linkers),
            dataset=dataset,
            split=split,
            images=len(graph.image_ids),
            images_with_knowledge=with_knowledge,
            concepts=len(graph.cuis),
            attributes=len(graph.attribute_indices),
            is_a_edges=len(graph.is_a),
            relation_edges={name: len(edges) for name, edges in graph.relations.items()},
            variants=cards,
            versions={name: version_of(name) for name in _versioned(cards)},
            files=describe_files(scratch),
            **in_manifest(changes),
        )


def write_manifest(scratch: Path, manifest: Manifest) -> str:
    """Adds the manifest to the files of a snapshot, flushes all, and returns the snapshot's id."""
    content = encoded(manifest)
    (scratch / MANIFEST).write_bytes(content)
    sync_all(scratch)
    return id_of(content)


def install_snapshot(scratch: Path, folder: Path, manifest: Manifest) -> str:
    """Puts a filled scratch folder in its place among the snapshots, unless it is there already; returns its id.

    The caller holds the snapshots' folder.
    """
    new_id = write_manifest(scratch, manifest)
    _put_in_place(scratch, folder / new_id, is_held=_is_whole(folder, new_id))
    return new_id


def _put_in_place(scratch: Path, target: Path, *, is_held: bool) -> None:
    """`is_held`: whether it was there when it was looked at; it may have been pruned since."""
    if is_held and (target / MANIFEST).exists():
        os.utime(target / MANIFEST)  # its age is what pruning goes by
    else:
        install_flushed(scratch, target)


def _is_whole(folder: Path, held: str) -> bool:
    """Whether the snapshot is held undamaged; a damaged one is mended by publishing it again."""
    try:
        SnapshotFolder(folder).verify(held)
    except (NotFound, Gone, BrokenArtefact):
        return False
    return True


def _no_image(store: GraphSource, dataset: str | None, split: str | None) -> NBClipError:
    """The error of a graph that is empty, or has no image of this part."""
    chosen = " and ".join(f"{name} {value!r}" for name, value in (("dataset", dataset), ("split", split)) if value)
    hint = "ingest captions first: kg-service ingest FILE"
    if not chosen:
        return Conflict("the graph holds no image", hint=hint)
    if images := len(store.image_ids()):
        splits = ", ".join(store.splits())
        hint = f"its {images} images have the splits {splits}" if splits else f"none of its {images} images has a split"
        hint += "; rows set dataset and split, or the options --dataset and --split of ingest"
    return InvalidInput(f"the graph holds no image of {chosen}", hint=hint)


def _write_graph(folder: Path, graph: Graph) -> None:
    arrays = {
        "graph.cuis": cui_array(graph.cuis),
        "graph.attribute_indptr": graph.attribute_indptr,
        "graph.attribute_indices": graph.attribute_indices,
        "graph.is_a": graph.is_a,
    }
    save_arrays(folder, arrays | {f"graph.{name}": array for name, array in relation_arrays(graph.relations).items()})


def _fit(graph: Graph, representations: Mapping[str, Representation], on_stage: OnStage) -> dict[Variant, FittedRepresentation]:
    """Every form of every representation. How long it took is logged: in the manifest it would give each snapshot another id."""
    fitted: dict[Variant, FittedRepresentation] = {}
    stages = len(representations) + 2
    for number, (name, representation) in enumerate(representations.items(), 1):
        on_stage(f"fitting {name}", number / stages)
        began = time.perf_counter()
        fitted |= {(name, knowledge): form for knowledge, form in representation.variants(graph).items()}
        structlog.get_logger().info("representation fitted", representation=name, seconds=round(time.perf_counter() - began, 1))
    on_stage("writing", 1 - 1 / stages)
    return fitted


def _versioned(cards: Mapping[str, Card]) -> list[str]:
    """Packages whose version decides the bytes."""
    more = {package for card in cards.values() for package in method_of(card).packages}
    return [*VERSIONED, *sorted(more)]


def _write_variants(folder: Path, graph: Graph, variants: Mapping[Variant, FittedRepresentation]) -> tuple[dict[str, Card], int]:
    """Writes every variant; returns their cards and how many images have knowledge."""
    cards = {}
    for variant, fitted in variants.items():
        save_vectors(folder, variant, _embedded(graph, fitted))
        save_arrays(folder, {f"{'.'.join(variant)}.t.{name}": table for name, table in fitted.tables().items()})
        cards["/".join(variant)] = fitted.card()
    return cards, int(np.count_nonzero(np.diff(graph.attribute_indptr)))


def _embedded(graph: Graph, fitted: FittedRepresentation) -> Iterator[ImageVectors]:
    """The vectors of a graph's images, some at a time: they may take many times the memory of the graph."""
    for start in range(0, len(graph.image_ids), IMAGES_AT_ONCE):
        images = slice(start, min(start + IMAGES_AT_ONCE, len(graph.image_ids)))
        yield fitted.embed_known(graph.image_ids[images], attribute_matrix(graph, images))
