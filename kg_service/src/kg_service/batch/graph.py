"""The graph of a folder in which every shard is linked, as a store of the same captions would give it.

Of several rows with one image id the first counts, by file and row; one that says the same is left out, one that says something
else is rejected: as `ingest` does, whose outcomes these are (`graph.settlement`). As there, the concepts of all rows are part of
the graph.

Shape legend: N images, A attributes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from nbclip.errors import Conflict

from kg_service.batch.firsts import Firsts, find_firsts
from kg_service.batch.plan import Plan, read_plan
from kg_service.batch.records import check_linked, linked_path, read_done
from kg_service.batch.tables import attributes_in, images_in, images_of
from kg_service.graph.arrays import assemble_graph
from kg_service.graph.settlement import concept_batches, image_batch, settle
from kg_service.graph.store import Graph, GraphBatch, GraphCounts, ImageNode, Revision
from kg_service.ingest.pipeline import ConceptSource, around
from kg_service.storage.csr import pointers
from kg_service.vocabulary.model import BadRow
from kg_service.vocabulary.vocabulary import Vocabulary

_EDGE = "attributes.list.element"
_READ = ["image_id", "caption_sha256", "dataset", "split", *(f"{_EDGE}.{name}" for name in ("cui", "assertion", "linker"))]


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
        raise Conflict(
            f"{len(missing)} of {len(plan.shards)} shards of {folder} are not linked, such as {plan.place(missing[0])}",
            hint=f"kg-service batch run {folder}",
        )
    for number, record in done.items():
        check_linked(folder, number, record)
    paths = tuple(linked_path(folder, number) for number in done)
    ended = tuple(datetime.fromtimestamp(record.ended, UTC).isoformat(timespec="milliseconds") for record in done.values())
    return LinkedGraph(plan, paths, ended, vocabulary)


@dataclass(frozen=True)
class LinkedGraph:
    """A `GraphSource`; it has no states, so what was added since one can't be said.

    Attributes:
        plan: what was linked.
        shards: the tables of its shards (`tables.py`).
        ended: when each of them was linked (ISO 8601, UTC): its images were ingested then.
        vocabulary: that of the plan.
    """

    plan: Plan
    shards: tuple[Path, ...]
    ended: tuple[str, ...]
    vocabulary: ConceptSource

    def image_ids(self) -> set[str]:
        """The ids of all images."""
        columns = (pq.ParquetFile(path).read(["image_id"])["image_id"] for path in self.shards)
        return {image_id for column in columns for image_id in column.to_pylist()}

    def splits(self) -> list[str]:
        """The splits that images have, sorted."""
        return sorted(pc.unique(self._images["split"]).drop_null().to_pylist())

    def read_new(self, since: Revision, *, dataset: str | None = None, split: str | None = None) -> Graph | None:
        """None."""

    def read_graph(self, *, dataset: str | None = None, split: str | None = None) -> Graph:
        """As `GraphSource.read_graph`."""
        table = self._images
        for name, value in (("dataset", dataset), ("split", split)):
            if value is not None:
                table = table.filter(pc.field(name) == value)
        codes, concept_A = np.unique(table["concepts"].combine_chunks().flatten().to_numpy(), return_inverse=True)
        cuis = [f"C{code:07}" for code in codes.tolist()]
        row_A = np.repeat(np.arange(len(table)), pc.list_value_length(table["concepts"]).to_numpy())
        known = around((), cuis, self.vocabulary)
        place = {concept.cui: at for at, concept in enumerate(known.concepts)}
        to_concept = np.array([place[cui] for cui in cuis], np.int64)
        relations: dict[str, list[tuple[int, int]]] = {}
        for edge in known.relations:
            relations.setdefault(edge.relation, []).append((place[edge.subject], place[edge.target]))
        return assemble_graph(
            zip(range(len(table)), table["image_id"].to_pylist(), _hexadecimal(table["caption_sha256"]), strict=True),
            ((at, cui) for cui, at in place.items()),
            np.stack([row_A, to_concept[concept_A]], axis=1),
            _pairs((place[edge.child], place[edge.parent]) for edge in known.is_a),
            pc.unique(table["linker"]).drop_null().to_pylist(),
            {name: _pairs(edges) for name, edges in relations.items()},
        )

    def rejected(self) -> list[BadRow]:
        """Rows whose image another row before has with other content, in their order."""
        return [problem for _, problem in sorted(self._rejected(self._firsts.repeated), key=lambda each: each[0])]

    def counts(self) -> GraphCounts:
        """As `GraphSource.counts`."""
        known = self._around
        relations = Counter(edge.relation for edge in known.relations)
        images = sum(int(mask.sum()) for mask in self._firsts.masks)
        return GraphCounts(images, len(known.concepts), self._attributes[1], len(known.is_a), dict(sorted(relations.items())))

    def batches(self) -> Iterator[GraphBatch]:
        """As `GraphSource.batches`, shard by shard: a part of one is held at a time."""
        yield from concept_batches(self._around.concepts, [*self._around.is_a, *self._around.relations])
        for path, is_first_R, ended in zip(self.shards, self._firsts.masks, self.ended, strict=True):
            for images in images_in(path, is_first_R):
                yield image_batch([replace(image, ingested_at=ended) for image in images])

    def _rejected(self, ids: pa.Array) -> Iterator[tuple[tuple[int, int], BadRow]]:
        """Place and problem of rejected rows with these ids."""
        met: dict[str, list[tuple[tuple[int, int], ImageNode]]] = {}
        for number, path in enumerate(self.shards if len(ids) else ()):
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
    def _firsts(self) -> Firsts:
        return find_firsts(self.shards)

    @cached_property
    def _images(self) -> pa.Table:
        """What `read_graph` needs of the images, by shard."""
        masks = map(pa.array, self._firsts.masks)
        return pa.concat_tables(_compact(path).filter(mask) for path, mask in zip(self.shards, masks, strict=True))

    @cached_property
    def _attributes(self) -> tuple[set[str], int]:
        """The CUIs of all rows, and how many edges the images have."""
        found = [attributes_in(path, mask) for path, mask in zip(self.shards, self._firsts.masks, strict=True)]
        return set().union(*(cuis for cuis, _ in found)), sum(edges for _, edges in found)

    @cached_property
    def _around(self) -> GraphBatch:
        """All concepts and the edges among them."""
        return around((), self._attributes[0], self.vocabulary)


def _compact(path: Path) -> pa.Table:
    """The images of a shard: `concepts`, the numbers of the CUIs that are present, and `linker`, which found them."""
    table = pq.ParquetFile(path).read(_READ)
    lists = table["attributes"].combine_chunks()
    edges = lists.flatten()
    is_present = pc.equal(edges.field("assertion"), "present").to_numpy(zero_copy_only=False)
    offsets = pointers(is_present)[lists.offsets.to_numpy() - lists.offsets[0].as_py()]
    codes = pc.utf8_slice_codeunits(edges.field("cui").filter(pa.array(is_present)), 1).cast(pa.int32())
    # All edges of an image are of one linker, or given: so that of the first is enough.
    has_any, linkers = np.diff(offsets) > 0, edges.field("linker").filter(pa.array(is_present))
    linker = linkers.take(pa.array(offsets[:-1], mask=~has_any))
    return (
        table.drop_columns("attributes")
        .append_column("concepts", pa.ListArray.from_arrays(offsets.astype(np.int32), codes))
        .append_column("linker", linker.dictionary_encode())
    )


def _hexadecimal(digests: pa.ChunkedArray) -> Iterator[str]:
    return (digest.hex() for digest in digests.to_pylist())


def _pairs(edges: Any) -> npt.NDArray[np.int64]:
    return np.array(list(edges), np.int64).reshape(-1, 2)
