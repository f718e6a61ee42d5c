"""The graph of a folder in which every shard is linked, as a store of the same captions would give it.

Of several rows with one image id the first counts, by file and row; one that says the same is left out, one that says something
else is rejected: as `ingest` does, whose outcomes these are (`graph.settlement`). As there, the concepts of all rows are part of
the graph.

Shape legend: A attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from nbclip.errors import Conflict
from nbclip.wording import counted

from kg_service.batch.merging import Merged, merge
from kg_service.batch.plan import Plan, read_plan
from kg_service.batch.records import check_linked, linked_path, read_done
from kg_service.batch.tables import attributes_in, images_in, images_of
from kg_service.graph.arrays import Concepts, assemble_concepts, distinct_pairs
from kg_service.graph.settlement import concept_batches, image_batch, settle
from kg_service.graph.store import Graph, GraphBatch, GraphCounts, ImageNode, Revision
from kg_service.ingest.pipeline import ConceptSource, around
from kg_service.storage.arrays import ArrayWriter, open_array
from kg_service.storage.scratch import new_folder
from kg_service.storage.strings import StringsWriter, map_strings
from kg_service.storage.sweeping import sweep
from kg_service.vocabulary.codes import Codes
from kg_service.vocabulary.model import BadRow
from kg_service.vocabulary.vocabulary import Vocabulary

Int64s = npt.NDArray[np.int64]

_MOST_CUIS = 1 << 31


def open_linked(folder: Path, vocabulary: Vocabulary) -> LinkedGraph:
    """The graph of a folder.

    Args:
        folder: with a plan, each shard of which is linked.
        vocabulary: that of the plan.

    Raises:
        NotFound: there is no plan.
        Conflict: it was planned with another vocabulary, or a shard is not linked yet.
        BrokenArtefact: plan or shards are damaged.
    """
    plan = read_plan(folder)
    if plan.linking.vocabulary != vocabulary.sha256:
        raise Conflict(
            f"{folder} was planned with another vocabulary ({plan.linking.vocabulary:.12}…) than this ({vocabulary.sha256:.12}…)",
            hint="use the same one, with --vocabulary",
        )
    found = {number: read_done(folder, plan.id, number) for number in range(len(plan.shards))}
    done = {number: record for number, record in found.items() if record}
    missing = [number for number in found if number not in done]
    if missing:
        shards = counted(len(plan.shards), "shard")
        raise Conflict(
            f"{folder}: {len(missing):,} of {shards} not linked yet, such as {plan.place(missing[0])}",
            hint=f"kg-service batch run {folder}",
        )
    for number, record in done.items():
        check_linked(folder, number, record)
    paths = tuple(linked_path(folder, number) for number in done)
    ended = tuple(datetime.fromtimestamp(record.ended, UTC).isoformat(timespec="milliseconds") for record in done.values())
    return LinkedGraph(folder, plan, paths, ended, vocabulary)


@dataclass(frozen=True)
class LinkedGraph:
    """A `GraphSource`; it has no states, so what was added since one can't be said.

    Attributes:
        folder: of the batch, where what is sorted lies while it is needed.
        plan: what was linked.
        shards: the tables of its shards (`tables.py`).
        ended: when each of them was linked (ISO 8601, UTC): its images were ingested then.
        vocabulary: that of the plan.
    """

    folder: Path
    plan: Plan
    shards: tuple[Path, ...]
    ended: tuple[str, ...]
    vocabulary: ConceptSource

    def image_ids(self) -> set[str]:
        """The ids of all images."""
        return {image_id for ids in self._merged.images["image_id"].chunks for image_id in ids.to_pylist()}

    def splits(self) -> list[str]:
        """The splits that images have, sorted."""
        return sorted(pc.unique(self._merged.images["split"]).drop_null().to_pylist())

    def read_new(self, since: Revision, *, dataset: str | None = None, split: str | None = None) -> Graph | None:
        """None."""

    def read_graph(self, *, dataset: str | None = None, split: str | None = None) -> Graph:
        """As `GraphSource.read_graph`; its images are mapped, from files in the batch's folder that nothing else sees."""
        selected = partial(self._selected, {"dataset": dataset, "split": split})
        merged, linkers = self._merged, set[str]()
        had = np.zeros(len(merged.cuis), np.bool_)
        for images in selected():
            had[images["concepts"].flatten().to_numpy()] = True
            linkers.update(pc.unique(images["linker"].drop_null()).to_pylist())
        concepts = self._concepts(np.flatnonzero(had))
        with new_folder(self.folder) as scratch:
            _write_images(scratch, selected(), concepts)
            return Graph(
                image_ids=map_strings(scratch, "id"),
                caption_sha256=map_strings(scratch, "caption"),
                cuis=concepts.cuis,
                attribute_indptr=open_array(scratch / "indptr.npy"),
                attribute_indices=open_array(scratch / "indices.npy"),
                is_a=concepts.is_a,
                linkers=tuple(sorted(linkers)),
                relations=concepts.relations,
            )

    def _selected(self, wanted: Mapping[str, str | None]) -> Iterator[pa.RecordBatch]:
        """Images that have these values, by id, some at a time."""
        for images in self._merged.images.to_batches():
            for name, value in wanted.items():
                if value is not None:
                    images = images.filter(pc.equal(images[name], value))
            yield images

    def _concepts(self, codes: Int64s) -> Concepts:
        """The concepts of these codes and what stands around them in the vocabulary; their keys begin with all codes."""
        cuis = self._merged.cuis.values()
        key = {cui: code for code, cui in enumerate(cuis)}
        known = around((), [cuis[code] for code in codes.tolist()], self.vocabulary)
        for concept in known.concepts:
            key.setdefault(concept.cui, len(key))
        relations: dict[str, list[tuple[int, int]]] = {}
        for edge in known.relations:
            relations.setdefault(edge.relation, []).append((key[edge.subject], key[edge.target]))
        return assemble_concepts(
            [(key[concept.cui], concept.cui) for concept in known.concepts],
            codes,
            _pairs((key[edge.child], key[edge.parent]) for edge in known.is_a),
            {name: _pairs(edges) for name, edges in relations.items()},
        )

    def rejected(self) -> list[BadRow]:
        """Rows whose image another row before has with other content, in their order."""
        return [problem for _, problem in sorted(self._rejected(self._merged.repeated), key=lambda each: each[0])]

    def counts(self) -> GraphCounts:
        """As `GraphSource.counts`."""
        known = self._around
        relations = Counter(edge.relation for edge in known.relations)
        images = sum(int(mask.sum()) for mask in self._merged.masks)
        return GraphCounts(images, len(known.concepts), self._attributes[1], len(known.is_a), dict(sorted(relations.items())))

    def batches(self) -> Iterator[GraphBatch]:
        """As `GraphSource.batches`, shard by shard: a part of one is held at a time."""
        yield from concept_batches(self._around.concepts, [*self._around.is_a, *self._around.relations])
        for path, is_first_R, ended in zip(self.shards, self._merged.masks, self.ended, strict=True):
            for images in images_in(path, is_first_R):
                yield image_batch([replace(image, ingested_at=ended) for image in images])

    def _rejected(self, ids: Sequence[str]) -> Iterator[tuple[tuple[int, int], BadRow]]:
        """Place and problem of rejected rows with these ids."""
        met: dict[str, list[tuple[tuple[int, int], ImageNode]]] = {}
        for number, path in enumerate(self.shards if ids else ()):
            table = pq.read_table(path, filters=pc.field("image_id").isin(ids))
            for row, image in images_of(table):
                met.setdefault(image.image_id, []).append(((number, row), image))
        for rows in met.values():
            outcomes = settle([image for _, image in rows], {}, "reject").outcomes
            for ((number, row), image), outcome in zip(rows, outcomes, strict=True):
                if outcome.outcome == "rejected":
                    file = str(self.plan.sources[self.plan.shards[number].source].path)
                    yield (number, row), BadRow(file, row, f"image {image.image_id} rejected: {outcome.reason}")

    @cached_property
    def _merged(self) -> Merged:
        sweep(self.folder)
        with new_folder(self.folder) as scratch:
            return merge(self.shards, scratch, Codes("CUI", _MOST_CUIS))

    @cached_property
    def _attributes(self) -> tuple[set[str], int]:
        """The CUIs of all rows, and how many edges the images have."""
        found = [attributes_in(path, mask) for path, mask in zip(self.shards, self._merged.masks, strict=True)]
        return set().union(*(cuis for cuis, _ in found)), sum(edges for _, edges in found)

    @cached_property
    def _around(self) -> GraphBatch:
        """All concepts and the edges among them."""
        return around((), self._attributes[0], self.vocabulary)


def _write_images(folder: Path, images: Iterable[pa.RecordBatch], concepts: Concepts) -> None:
    """Writes ids, caption digests and concepts of images, in this order."""
    with (
        StringsWriter(folder, "id") as ids,
        StringsWriter(folder, "caption") as digests,
        ArrayWriter(folder / "indptr.npy", np.int64) as indptr,
        ArrayWriter(folder / "indices.npy", np.int32) as indices,
    ):
        indptr.add(np.zeros(1, np.int64))
        for some in images:
            ids.add(some["image_id"])
            digests.add(pa.array([digest.hex() for digest in some["caption_sha256"].to_pylist()], pa.string()))
            row_A = np.repeat(np.arange(len(some)), pc.list_value_length(some["concepts"]).to_numpy())
            codes = some["concepts"].flatten().to_numpy().astype(np.int64)
            row_A, concept_A = distinct_pairs(row_A, concepts.positions(codes), len(concepts.cuis))
            indptr.add(indices.length + np.cumsum(np.bincount(row_A, minlength=len(some))))
            indices.add(concept_A)


def _pairs(edges: Iterable[tuple[int, int]]) -> Int64s:
    return np.array(list(edges), np.int64).reshape(-1, 2)
