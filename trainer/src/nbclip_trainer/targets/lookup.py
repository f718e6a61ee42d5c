"""Rows by image id in a table of many ids that lie in a mapped file: no text of them is held, 12 bytes of each id are.

Shape legend: N ids of the table, R ids that are asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from nbclip_trainer.data.mapped import Hashes, Rows, hashes_of

_AT_ONCE = 1_000_000


class IdTable:
    """The rows of ids, by their hashes in rising order.

    Args:
        text: the ids one after another in UTF-8, uint8.
        offsets: where each begins and the last one ends, int64, [N + 1].
    """

    def __init__(self, text: npt.NDArray[np.uint8], offsets: Rows) -> None:
        # Files of 0.1.0 have offsets anywhere, which Arrow does not read.
        aligned = np.require(offsets, np.int64, "A")
        self._ids = pa.LargeStringArray.from_buffers(len(offsets) - 1, pa.py_buffer(aligned), pa.py_buffer(text))
        hash_N = np.concatenate([np.zeros(0, np.uint64), *self._hashes()])
        self._hash_N, self._row_N = _ordered(hash_N)

    def rows(self, image_ids: Sequence[str]) -> Rows:
        """The row of each id, -1 where there is none; int64, [R]."""
        wanted = pl.Series(image_ids, dtype=pl.String)
        asked = wanted.to_arrow()
        row_R = np.full(len(wanted), -1, np.int64)
        hash_R, open_R = _ordered(wanted.hash().to_numpy())
        place_R = np.searchsorted(self._hash_N, hash_R)
        while len(open_R):
            # Different ids may have the same hash: then the next one is looked at.
            here = self._has(hash_R, place_R)
            hash_R, open_R, place_R = hash_R[here], open_R[here], place_R[here]
            found_R = self._row_N[place_R]
            is_same = _same(self._ids, found_R, asked, open_R)
            row_R[open_R[is_same]] = found_R[is_same]
            hash_R, open_R, place_R = hash_R[~is_same], open_R[~is_same], place_R[~is_same] + 1
        return row_R

    def has_hashes(self, hash_R: Hashes) -> npt.NDArray[np.bool_]:
        """Whether an id of the table has each of some hashes, which ascend: in a fifth of the time of `rows`.

        An id that the table lacks has the hash of another with a chance of N / 2^64.
        """
        return self._has(hash_R, np.searchsorted(self._hash_N, hash_R))

    def hashes_of_rows(self, row_R: Rows) -> Hashes:
        """The hashes of the ids in some rows."""
        return hashes_of(self._ids.take(pa.array(row_R)))

    def _has(self, hash_R: Hashes, place_R: Rows) -> npt.NDArray[np.bool_]:
        """Whether the hashes are in these places."""
        here = place_R < len(self._hash_N)
        here[here] = self._hash_N[place_R[here]] == hash_R[here]
        return here

    def _hashes(self) -> Iterator[Hashes]:
        for start in range(0, len(self._ids), _AT_ONCE):
            yield hashes_of(self._ids[start : start + _AT_ONCE])


def in_order(hash_N: Hashes) -> Hashes:
    """Hashes in rising order; Polars sorts in several threads."""
    return pl.Series(hash_N).sort().to_numpy()


def _ordered(hash_N: Hashes) -> tuple[Hashes, npt.NDArray[np.int32]]:
    """Hashes in rising order, and where each was.

    In their order they are found several times as fast, since what is near in memory is asked for together. Polars sorts pairs of
    numbers twice as fast as numpy finds their order.
    """
    ordered = pl.DataFrame({"hash": hash_N, "row": np.arange(len(hash_N), dtype=np.int32)}).sort("hash")
    return ordered["hash"].to_numpy(), ordered["row"].to_numpy()


def _same(ids: Any, row_R: npt.NDArray[Any], others: Any, place_R: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where the ids in these rows are the others in these places."""
    equal = pc.equal(ids.take(pa.array(row_R)), others.take(pa.array(place_R)))
    return np.asarray(equal.to_numpy(zero_copy_only=False), np.bool_)
