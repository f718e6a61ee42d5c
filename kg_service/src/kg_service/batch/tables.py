"""Images and their edges as a Parquet table, ordered by image id, then by row: the same images give the same bytes.

image_id, row (in its file), caption, caption_sha256 (32 bytes), dataset, split, and `attributes`, a list of structures with the
fields of `AttributeEdge`.

Shape legend: R rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from nbclip.ids import caption_sha256

from kg_service.graph.store import AttributeEdge, ImageNode

_ROW_GROUP = 4_096
_TYPES = {"start": pa.int32(), "end": pa.int32(), "score": pa.float64()}
_FIELDS = tuple(field.name for field in fields(AttributeEdge))
_EDGE = pa.struct([pa.field(name, _TYPES.get(name, pa.string()), nullable=False) for name in _FIELDS])
_edge = attrgetter(*_FIELDS)
SCHEMA = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("caption", pa.large_string(), nullable=False),
        pa.field("caption_sha256", pa.binary(32), nullable=False),
        pa.field("dataset", pa.string()),
        pa.field("split", pa.string()),
        pa.field("attributes", pa.list_(pa.field("element", _EDGE, nullable=False)), nullable=False),
    ]
)


def table_of(rows: Sequence[int], images: Sequence[ImageNode]) -> pa.Table:
    """The table of images that stand in these rows."""
    digests = [bytes.fromhex(caption_sha256(image.caption)) for image in images]
    texts = ([getattr(image, name) for image in images] for name in ("dataset", "split"))
    columns = [[image.image_id for image in images], rows, [image.caption for image in images], digests, *texts]
    arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=False)]
    return pa.Table.from_arrays([*arrays, _lists(images)], schema=SCHEMA)


def _lists(images: Sequence[ImageNode]) -> pa.Array:
    edges = [_edge(edge) for image in images for edge in image.attributes]
    columns = zip(*edges, strict=True) if edges else [()] * len(_FIELDS)
    values = [pa.array(column, field.type) for column, field in zip(columns, _EDGE, strict=True)]
    offsets = pa.array(accumulate((len(image.attributes) for image in images), initial=0), pa.int32())
    field = SCHEMA.field("attributes").type
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(values, fields=list(_EDGE)), type=field)


def parquet_of(tables: Iterable[pa.Table]) -> bytes:
    """A Parquet file of all their rows."""
    table = pa.concat_tables([SCHEMA.empty_table(), *tables]).sort_by([("image_id", "ascending"), ("row", "ascending")])
    sink = pa.BufferOutputStream()
    pq.write_table(
        table, sink, row_group_size=_ROW_GROUP, compression="zstd", compression_level=3, use_dictionary=True, version="2.6"
    )
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def images_in(path: Path, is_wanted_R: npt.NDArray[np.bool_]) -> Iterator[list[ImageNode]]:
    """The images of the wanted rows of a file, in order, some thousand at a time."""
    start = 0
    for rows in pq.ParquetFile(path).iter_batches(_ROW_GROUP):
        wanted = pa.array(is_wanted_R[start : start + len(rows)])
        yield [image for _, image in images_of(rows.filter(wanted))]
        start += len(rows)


def attributes_in(path: Path, is_wanted_R: npt.NDArray[np.bool_]) -> tuple[set[str], int]:
    """The CUIs of all rows of a file, and how many edges the wanted rows have."""
    lists = pq.ParquetFile(path).read(["attributes.list.element.cui"])["attributes"].combine_chunks()
    edges = pc.list_value_length(lists).to_numpy()[is_wanted_R].sum()
    return set(pc.unique(lists.flatten().field("cui")).to_pylist()), int(edges)


def images_of(table: pa.Table | pa.RecordBatch) -> Iterator[tuple[int, ImageNode]]:
    """Row and image of each row of a table."""
    for row in table.to_pylist():
        values: dict[str, Any] = {name: row[name] for name in ("image_id", "caption", "dataset", "split")}
        yield row["row"], ImageNode(attributes=tuple(AttributeEdge(**edge) for edge in row["attributes"]), **values)
