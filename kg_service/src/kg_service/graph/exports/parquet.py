"""A graph as Parquet files, for analysis: images, attributes, concepts, is_a, relations; a row group a batch of the source."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
from nbclip.ids import caption_sha256
from pyarrow.parquet import ParquetWriter

from kg_service.graph.exports.tables import OnImages, Table, write_tables
from kg_service.graph.store import GraphBatch, GraphCounts, GraphSource

_TYPES = {"start": pa.int64(), "end": pa.int64(), "score": pa.float64(), "semantic_types": pa.list_(pa.string())}
_NULLABLE = ("dataset", "split")
_CONCEPT = ("cui", "name", "semantic_types", "source")
_IS_A = ("child", "parent", "source")
_RELATION = ("subject", "relation", "target", "source")
_ATTRIBUTE = ("cui", "text", "start", "end", "score", "rule", "assertion", "linker")
_attribute = attrgetter(*_ATTRIBUTE)


def export_parquet(source: GraphSource, folder: Path, *, on_images: OnImages = lambda images: None) -> GraphCounts:
    """Writes the files; arguments, result and errors as `write_tables`."""
    return write_tables(source, folder, _TABLES, _open, on_images=on_images)


def _image_rows(batch: GraphBatch) -> Iterable[tuple[Any, ...]]:
    for image in batch.images:
        yield image.image_id, image.caption, caption_sha256(image.caption), image.dataset, image.split, image.ingested_at


def _attribute_rows(batch: GraphBatch) -> Iterable[tuple[Any, ...]]:
    return ((image.image_id, *_attribute(edge)) for image in batch.images for edge in image.attributes)


def _table(columns: Iterable[str], rows: Callable[[GraphBatch], Iterable[tuple[Any, ...]]]) -> Table:
    fields = [pa.field(name, _TYPES.get(name, pa.string()), nullable=name in _NULLABLE) for name in columns]
    return Table(pa.schema(fields), rows)


_TABLES = {
    "images.parquet": _table(("image_id", "caption", "caption_sha256", "dataset", "split", "ingested_at"), _image_rows),
    "attributes.parquet": _table(("image_id", *_ATTRIBUTE), _attribute_rows),
    "concepts.parquet": _table(_CONCEPT, lambda batch: map(attrgetter(*_CONCEPT), batch.concepts)),
    "is_a.parquet": _table(_IS_A, lambda batch: map(attrgetter(*_IS_A), batch.is_a)),
    "relations.parquet": _table(_RELATION, lambda batch: map(attrgetter(*_RELATION), batch.relations)),
}


def _open(path: Path, schema: pa.Schema) -> ParquetWriter:
    return ParquetWriter(path, schema, compression="zstd")
