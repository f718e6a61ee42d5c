"""Finds images by id: an open-addressing table of rows beside the ids' bytes, so that workers share it and nothing is loaded.

The table has a power of two of places, at least twice as many as there are ids; an id's search begins at its hash (FNV-1a, 64
bits, mixed) and goes on to the next place until its bytes are found, or none stands there.
"""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.int64]
_compiled = numba.njit(nogil=True, cache=True)


def id_table(image_ids: Sequence[str]) -> tuple[Bytes, Rows, npt.NDArray[np.int32]]:
    """UTF-8 bytes of all ids, offsets [N + 1], and the table: row + 1 at each place that is taken, else 0; int32, [2^k].

    The ids are distinct.
    """
    text, offsets = _packed(image_ids)
    return text, offsets, fill_table(text, offsets)


def fill_table(text: Bytes, offsets: Rows) -> npt.NDArray[np.int32]:
    """The table of these ids."""
    table = np.zeros(1 << max(3, (2 * (len(offsets) - 1)).bit_length()), np.int32)
    _fill(text, offsets, table)
    return table


def find_rows(text: Bytes, offsets: Rows, table: npt.NDArray[np.int32], image_ids: Sequence[str]) -> Rows:
    """Row of each id, [R]; -1 where it is not there. The first three as `id_table` gives them."""
    rows: Rows = _find(text, offsets, table, *_packed(image_ids))
    return rows


def _packed(image_ids: Sequence[str]) -> tuple[Bytes, Rows]:
    text = "".join(image_ids).encode()
    lengths = map(len, image_ids) if text.isascii() else (len(image_id.encode()) for image_id in image_ids)
    offsets = np.zeros(len(image_ids) + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, len(image_ids)), out=offsets[1:])
    return np.frombuffer(text, np.uint8), offsets


@_compiled
def _hash(text, start, end):  # type: ignore[no-untyped-def]
    value = np.uint64(0xCBF29CE484222325)
    for at in range(start, end):
        value = (value ^ np.uint64(text[at])) * np.uint64(0x100000001B3)
    return (value ^ (value >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)


@_compiled
def _place(text, start, end, mask):  # type: ignore[no-untyped-def]
    return np.int64((_hash(text, start, end) >> np.uint64(20)) & np.uint64(mask))


@_compiled
def _fill(text, offsets, table):  # type: ignore[no-untyped-def]
    mask = len(table) - 1
    for row in range(len(offsets) - 1):
        place = _place(text, offsets[row], offsets[row + 1], mask)
        while table[place]:
            place = (place + 1) & mask
        table[place] = row + 1


@_compiled
def _find(text, offsets, table, wanted, wanted_offsets):  # type: ignore[no-untyped-def]
    mask = len(table) - 1
    rows = np.full(len(wanted_offsets) - 1, -1, np.int64)
    for r in range(len(rows)):
        start, end = wanted_offsets[r], wanted_offsets[r + 1]
        place = _place(wanted, start, end, mask)
        while table[place]:
            row = table[place] - 1
            if np.array_equal(text[offsets[row] : offsets[row + 1]], wanted[start:end]):
                rows[r] = row
                break
            place = (place + 1) & mask
    return rows
