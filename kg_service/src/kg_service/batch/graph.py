"""The graph of a folder in which every shard is linked, as a store of the same captions would give it.

Of several rows with one image id the first counts, by file and row; one that says the same is left out, one that says something
else is rejected: as `ingest` does, whose outcomes these are (`graph.settlement`).

Shape legend: N images, A attributes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from nbclip.errors import Conflict

from kg_service.batch.plan import Plan, read_plan
from kg_service.batch.records import check_linked, linked_path, read_done
from kg_service.batch.tables import images_of
from kg_service.graph.arrays import assemble_graph
from kg_service.graph.settlement import settle
from kg_service.graph.store import Graph, ImageNode, Revision
from kg_service.ingest.pipeline import ConceptSource, around
from kg_service.vocabulary.model import BadRow
from kg_service.vocabulary.vocabulary import Vocabulary

_EDGE = "attributes.list.element"
_READ = ["image_id", "row", "caption_sha256", "dataset", "split", *(f"{_EDGE}.{name}" for name in ("cui", "assertion", "linker"))]


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
    done = {number: read_done(folder, plan.id, number) for number in range(len(plan.shards))}
    missing = [number for number, record in done.items() if record is None]
    if missing:
        raise Conflict(
            f"{len(missing)} of {len(plan.shards)} shards of {folder} are not linked, such as {plan.place(missing[0])}",
            hint=f"kg-service batch run {folder}",
        )
    for number, record in done.items():
        if record is not None:
            check_linked(folder, number, record)
    return LinkedGraph(folder, plan, vocabulary)


@dataclass(frozen=True)
class LinkedGraph:
    """A `GraphSource`; it has no states, so what was added since one can't be said."""

    folder: Path
    plan: Plan
    vocabulary: ConceptSource

    def image_ids(self) -> set[str]:
        """The ids of all images."""
        return set(self._images["image_id"].to_pylist())

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
        row_A, cui_A, linkers = _present(table)
        cuis, concept_A = np.unique(cui_A, return_inverse=True)
        known = around((), cuis.tolist(), self.vocabulary)
        place = {concept.cui: at for at, concept in enumerate(known.concepts)}
        to_concept = np.array([place[cui] for cui in cuis.tolist()], np.int64)
        relations: dict[str, list[tuple[int, int]]] = {}
        for edge in known.relations:
            relations.setdefault(edge.relation, []).append((place[edge.subject], place[edge.target]))
        return assemble_graph(
            zip(range(len(table)), table["image_id"].to_pylist(), _hexadecimal(table["caption_sha256"]), strict=True),
            ((at, cui) for cui, at in place.items()),
            np.stack([row_A, to_concept[concept_A]], axis=1),
            _pairs((place[edge.child], place[edge.parent]) for edge in known.is_a),
            linkers,
            {name: _pairs(edges) for name, edges in relations.items()},
        )

    def rejected(self) -> list[BadRow]:
        """Rows whose image another row before has with other content, in their order."""
        ids = self._rows["image_id"].filter(pa.array(~self._first))
        return [problem for _, problem in sorted(self._rejected(pc.unique(ids)), key=lambda each: each[0])]

    def _rejected(self, ids: pa.Array) -> Iterator[tuple[tuple[int, int], BadRow]]:
        """Place and problem of rejected rows with these ids."""
        met: dict[str, list[tuple[tuple[int, int], ImageNode]]] = {}
        for number in range(len(self.plan.shards)) if len(ids) else ():
            table = pq.read_table(linked_path(self.folder, number), filters=pc.field("image_id").isin(ids))
            for row, image in images_of(table):
                met.setdefault(image.image_id, []).append(((number, row), image))
        for rows in met.values():
            outcomes = settle([image for _, image in rows], {}, "reject").outcomes
            for ((number, row), image), outcome in zip(rows, outcomes, strict=True):
                if outcome.outcome == "rejected":
                    file = str(self.plan.sources[self.plan.shards[number].source].path)
                    yield (number, row), BadRow(file, row, f"image {image.image_id} rejected: {outcome.reason}")

    @cached_property
    def _rows(self) -> pa.Table:
        """What is read of all shards, by image id, then by shard and row."""
        tables = []
        for number in range(len(self.plan.shards)):
            table = pq.ParquetFile(linked_path(self.folder, number)).read(_READ)
            tables.append(table.append_column("shard", pa.array(np.full(len(table), number, np.int32))))
        order = [("image_id", "ascending"), ("shard", "ascending"), ("row", "ascending")]
        return pa.concat_tables(tables).sort_by(order).combine_chunks()

    @cached_property
    def _first(self) -> npt.NDArray[np.bool_]:
        """Whether a row is the first of its image."""
        ids = self._rows["image_id"]
        same = pc.equal(ids.slice(1), ids.slice(0, max(len(ids) - 1, 0)))
        return np.concatenate([[True], ~same.to_numpy()])[: len(ids)]

    @cached_property
    def _images(self) -> pa.Table:
        return self._rows.filter(pa.array(self._first))


def _present(table: pa.Table) -> tuple[npt.NDArray[np.int64], npt.NDArray[Any], list[str]]:
    """Of each present attribute the table's row, int64, [A], and the CUI, [A]; and the linkers that made them."""
    lists = table["attributes"].combine_chunks()
    edges = lists.flatten()
    row_A = np.repeat(np.arange(len(lists)), lists.value_lengths().to_numpy())
    is_present = pc.equal(edges.field("assertion"), "present")
    cui_A = edges.field("cui").filter(is_present).to_numpy(zero_copy_only=False).astype(str)
    linkers: list[str] = pc.unique(edges.field("linker").filter(is_present)).to_pylist()
    return row_A[is_present.to_numpy(zero_copy_only=False)], cui_A, linkers


def _hexadecimal(digests: pa.ChunkedArray) -> Iterator[str]:
    return (digest.hex() for digest in digests.to_pylist())


def _pairs(edges: Any) -> npt.NDArray[np.int64]:
    return np.array(list(edges), np.int64).reshape(-1, 2)
