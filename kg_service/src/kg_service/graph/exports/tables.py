"""A graph as tables in files, for other programs: written batch by batch, in a folder that appears whole or not at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
from nbclip.errors import Conflict

from kg_service.graph.store import ConceptNode, GraphBatch, GraphCounts, GraphSource
from kg_service.storage.replacement import install
from kg_service.storage.scratch import new_folder

OnImages = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Table:
    """A file: its columns, and the rows that a batch adds to it."""

    schema: pa.Schema
    rows: Callable[[GraphBatch], Iterable[tuple[Any, ...]]]


class TableWriter(Protocol):
    """Writes one file, as pyarrow's writers do."""

    def write_batch(self, batch: pa.RecordBatch) -> None:
        """Appends rows."""

    def close(self) -> None:
        """Ends the file."""


def write_tables(
    source: GraphSource,
    folder: Path,
    tables: Mapping[str, Table],
    open_writer: Callable[[Path, pa.Schema], TableWriter],
    *,
    more_files: Mapping[str, str] | None = None,
    on_images: OnImages = lambda images: None,
) -> GraphCounts:
    """Writes a file for each table, holding one batch of the graph at a time in memory, and every CUI.

    Args:
        source: what is exported; what is written to it meanwhile may be in the files or not, but no edge lacks an end.
        folder: made; must be empty if it is there.
        tables: by file name.
        open_writer: opens a file of this name for rows of this schema.
        more_files: texts that go with them, by file name.
        on_images: called after every batch with the number of images written so far.

    Returns:
        What was written.

    Raises:
        Conflict: the folder holds something.
        Unavailable: the source can't be read; there is no folder then.
    """
    _refuse_content(folder)
    written = GraphCounts(0, 0, 0, 0)
    with new_folder(folder.parent) as scratch:
        with ExitStack() as stack:
            writers = {
                name: stack.enter_context(closing(open_writer(scratch / name, table.schema))) for name, table in tables.items()
            }
            for batch in each_concept_once(source.batches()):
                for name, table in tables.items():
                    _append(writers[name], table, batch)
                written = _added(written, batch)
                on_images(written.images)
        for name, text in (more_files or {}).items():
            (scratch / name).write_text(text, encoding="utf-8")
        install(scratch, folder)
    return written


def each_concept_once(batches: Iterable[GraphBatch]) -> Iterator[GraphBatch]:
    """The same graph with every concept in one batch only.

    In what a source gives, a concept stands once with all that is known of it, and bare wherever an edge names it. One of
    which nothing is known is bare everywhere: it comes last.
    """
    known: set[str] = set()
    bare: set[str] = set()
    for batch in batches:
        described = [concept for concept in batch.concepts if concept != ConceptNode(concept.cui, "")]
        known.update(concept.cui for concept in described)
        bare.update(concept.cui for concept in batch.concepts)
        yield replace(batch, concepts=described)
    yield GraphBatch(concepts=[ConceptNode(cui, "") for cui in sorted(bare - known)])


def _append(writer: TableWriter, table: Table, batch: GraphBatch) -> None:
    rows = list(table.rows(batch))
    if rows:
        columns = [pa.array(column, field.type) for column, field in zip(zip(*rows, strict=True), table.schema, strict=True)]
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=table.schema))


def _added(counts: GraphCounts, batch: GraphBatch) -> GraphCounts:
    return GraphCounts(
        images=counts.images + len(batch.images),
        concepts=counts.concepts + len(batch.concepts),
        attributes=counts.attributes + sum(len(image.attributes) for image in batch.images),
        is_a=counts.is_a + len(batch.is_a),
        relations=dict(sorted((Counter(counts.relations) + Counter(edge.relation for edge in batch.relations)).items())),
    )


def _refuse_content(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise Conflict(f"{folder} is not empty", hint="name a new folder, or empty this one")
