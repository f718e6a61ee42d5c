"""The rows of all shards as one table by image id, of several with one id the first by file and row: sorted on disk.

Each shard is in this order already. What a graph needs of its rows is laid out for mapping, in runs; ids taken at even distances
cut the runs into buckets, and one bucket at a time is in memory, whatever the number of rows.

Shape legend: R rows of all shards.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kg_service.storage.csr import pointers, ranges
from kg_service.vocabulary.codes import Codes

Bools = npt.NDArray[np.bool_]
Int64s = npt.NDArray[np.int64]

_RUN = 1 << 16
_SAMPLED = 1 << 10
"""Of so many rows of a run the id of one is a place where buckets may end."""
_BUCKET = 1 << 16
_EDGE = "attributes.list.element"
_READ = ["image_id", "caption_sha256", "dataset", "split", *(f"{_EDGE}.{name}" for name in ("cui", "assertion", "linker"))]
SCHEMA = pa.schema(
    {
        "image_id": pa.string(),
        "caption_sha256": pa.binary(32),
        "dataset": pa.string(),
        "split": pa.string(),
        "linker": pa.string(),
        "concepts": pa.list_(pa.int32()),
    }
)


@dataclass(frozen=True, slots=True)
class Merged:
    """The rows that count.

    Attributes:
        images: of `SCHEMA`, by image id, mapped: `concepts` are the codes of the CUIs that are present, in no order and perhaps
            twice; `linker` found them, or is null.
        masks: for each shard whether a row is the first of its image, bool.
        repeated: the ids that several rows have, each once, sorted.
        cuis: the CUIs by their codes.
    """

    images: pa.Table
    masks: tuple[Bools, ...]
    repeated: tuple[str, ...]
    cuis: Codes


def merge(shards: Sequence[Path], folder: Path, cuis: Codes) -> Merged:
    """Merges the tables of shards (`tables.py`); `cuis` numbers the CUIs.

    The files in `folder`, about 150 bytes a row, may be removed after.
    """
    lengths = [pq.read_metadata(path).num_rows for path in shards]
    runs = _spilt(shards, folder / "runs.arrow", cuis)
    is_first_R, repeated = np.zeros(sum(lengths), np.bool_), dict[str, None]()
    with pa.OSFile(str(folder / "images.arrow"), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for place_R, bucket in _buckets(runs):
            order = pc.sort_indices(bucket["image_id"])  # equal ones stay in their order
            ids = bucket["image_id"].combine_chunks().take(order)
            is_first = _differs_from_former(ids)
            is_first_R[place_R[order.to_numpy()[is_first]]] = True
            repeated |= dict.fromkeys(ids.filter(pa.array(~is_first)).to_pylist())
            writer.write_table(bucket.take(order.filter(pa.array(is_first))).combine_chunks())
    return Merged(
        images=_mapped(folder / "images.arrow"),
        masks=tuple(np.split(is_first_R, np.cumsum(lengths)[:-1])),
        repeated=tuple(repeated),
        cuis=cuis,
    )


def _spilt(shards: Sequence[Path], path: Path, cuis: Codes) -> list[pa.RecordBatch]:
    """What is read of the rows of all shards, mapped, in runs; each of one shard, and sorted."""
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as writer:
        for shard in shards:
            for rows in pq.ParquetFile(shard).iter_batches(_RUN, columns=_READ):
                writer.write_batch(_compact(rows, cuis))
    runs: list[pa.RecordBatch] = _mapped(path).to_batches()
    return runs


def _mapped(path: Path) -> pa.Table:
    return pa.ipc.open_file(pa.memory_map(str(path))).read_all()


def _buckets(runs: Sequence[pa.RecordBatch]) -> Iterator[tuple[Int64s, pa.Table]]:
    """Rows that lie between two ids, in the order of the runs, with the places that they have among all; the ids ascend."""
    starts = pointers(np.array([len(run) for run in runs], np.int64))[:-1]
    columns = [run["image_id"] for run in runs]
    sampled = sorted(column[at].as_py() for column in columns for at in range(0, len(column), _SAMPLED))
    ends = [_cuts(columns, before) for before in sampled[_BUCKET // _SAMPLED :: _BUCKET // _SAMPLED]]
    for first, end in pairwise([starts * 0, *ends, np.array([len(run) for run in runs], np.int64)]):
        parts = [run.slice(at, stop - at) for run, at, stop in zip(runs, first.tolist(), end.tolist(), strict=True)]
        if (end > first).any():
            yield ranges(starts + first, end - first), pa.Table.from_batches(parts)


def _cuts(columns: Sequence[pa.StringArray], before: str) -> Int64s:
    """How many ids of each sorted column are below this one."""
    return np.array([bisect_left(column, before, key=pa.StringScalar.as_py) for column in columns], np.int64)


def _differs_from_former(ids: pa.StringArray) -> Bools:
    different: Bools = np.ones(len(ids), np.bool_)
    different[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy(zero_copy_only=False)
    return different


def _compact(rows: pa.RecordBatch, cuis: Codes) -> pa.RecordBatch:
    """Rows of a shard's table as `SCHEMA` has them."""
    lists = rows["attributes"]
    edges = lists.flatten()
    is_present = pc.equal(edges.field("assertion"), "present").to_numpy(zero_copy_only=False)
    offsets = pointers(is_present)[lists.offsets.to_numpy() - lists.offsets[0].as_py()]
    codes = pa.array(cuis.encode(pa.chunked_array([edges.field("cui").filter(pa.array(is_present))])))
    # All edges of an image are of one linker, or given: so that of the first is enough.
    has_any, linkers = np.diff(offsets) > 0, edges.field("linker").filter(pa.array(is_present))
    columns = {name: rows[name] for name in SCHEMA.names[:4]} | {
        "linker": linkers.take(pa.array(offsets[:-1], mask=~has_any)),
        "concepts": pa.ListArray.from_arrays(offsets.astype(np.int32), codes),
    }
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=SCHEMA)
