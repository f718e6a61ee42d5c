"""Which rows of the shards count: of several with one image id the first, by file and row.

Shape legend: R rows of a shard.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Firsts:
    """The rows that count.

    Attributes:
        masks: for each shard whether a row is the first of its image, bool, [R].
        repeated: the ids that several rows have, each once.
    """

    masks: tuple[Bools, ...]
    repeated: pa.Array


def find_firsts(paths: Sequence[Path]) -> Firsts:
    """The rows of these shards (`tables.py`) that count. It reads their ids alone, and holds all of them until it returns."""
    columns = [pq.ParquetFile(path).read(["image_id"])["image_id"] for path in paths]
    # Large: the ids of all shards may have more bytes than 32 bits count.
    ids = pa.chunked_array([chunk for column in columns for chunk in column.chunks], pa.string()).cast(pa.large_string())
    encoded = ids.dictionary_encode().combine_chunks()
    is_first = np.zeros(len(encoded), np.bool_)
    # A shard is ordered by id, then by row, so the first of an id in the shards' order is the first by file and row.
    is_first[np.unique(encoded.indices.to_numpy(), return_index=True)[1]] = True
    repeated = encoded.filter(pa.array(~is_first)).dictionary_decode()
    masks = np.split(is_first, np.cumsum([len(column) for column in columns])[:-1])
    return Firsts(tuple(masks), pc.unique(repeated).cast(pa.string()))
