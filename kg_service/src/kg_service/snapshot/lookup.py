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
_FIRST, _FACTOR = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_BETWEEN = "\0"
"""In no image id."""
_compiled = numba.njit(nogil=True, cache=True)


def id_table(image_ids: Sequence[str]) -> tuple[Bytes, Rows, npt.NDArray[np.int32]]:
    """UTF-8 bytes of all ids, offsets [N + 1], and the table: row + 1 at each place that is taken, else 0; int32, [2^k].

    The ids are distinct.
    """
    text, offsets = packed(image_ids)
    return text, offsets, fill_table(text, offsets)


def fill_table(text: Bytes, offsets: Rows) -> npt.NDArray[np.int32]:
    """The table of these ids."""
    table = np.zeros(1 << max(3, (2 * (len(offsets) - 1)).bit_length()), np.int32)
    _fill(text, offsets, table)
    return table


def find_rows(text: Bytes, offsets: Rows, table: npt.NDArray[np.int32], image_ids: Sequence[str]) -> Rows:
    """Row of each id, [R]; -1 where it is not there. The first three as `id_table` gives them."""
    wanted = _BETWEEN.join(image_ids).encode()
    if not image_ids or wanted.count(_BETWEEN.encode()) >= len(image_ids):
        # Of ids that could not be told apart; no image has such a one.
        apart = [[-1] if _BETWEEN in each else find_rows(text, offsets, table, [each]) for each in image_ids]
        return np.array(apart, np.int64).reshape(-1)
    rows: Rows = _find(text, offsets, table, np.frombuffer(wanted, np.uint8), len(image_ids))
    return rows


def packed(image_ids: Sequence[str]) -> tuple[Bytes, Rows]:
    """UTF-8 bytes of all ids, and offsets, [N + 1]."""
    text = "".join(image_ids).encode()
    lengths = map(len, image_ids) if text.isascii() else (len(image_id.encode()) for image_id in image_ids)
    offsets = np.zeros(len(image_ids) + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, len(image_ids)), out=offsets[1:])
    return np.frombuffer(text, np.uint8), offsets


@_compiled
def _mixed(value, mask):  # type: ignore[no-untyped-def]
    """The place at which the search for an id with this hash begins."""
    value = (value ^ (value >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((value >> np.uint64(20)) & np.uint64(mask))


@_compiled
def _fill(text, offsets, table):  # type: ignore[no-untyped-def]
    mask = len(table) - 1
    for row in range(len(offsets) - 1):
        value = _FIRST
        for at in range(offsets[row], offsets[row + 1]):
            value = (value ^ np.uint64(text[at])) * _FACTOR
        place = _mixed(value, mask)
        while table[place]:
            place = (place + 1) & mask
        table[place] = row + 1


@_compiled
def _find(text, offsets, table, wanted, count):  # type: ignore[no-untyped-def]
    """Rows of ids that stand one after another with a zero byte between them.

    What is far apart in memory is read for all of them in a loop of its own, so that the processor waits for many at once.
    """
    mask = len(table) - 1
    end_R, place_R = np.empty(count, np.int64), np.empty(count, np.int64)
    row_R, first_R = np.empty(count, np.int64), np.empty(count, np.int64)
    found, value = 0, _FIRST
    for at in range(len(wanted) + 1):
        if at == len(wanted) or wanted[at] == 0:
            end_R[found], place_R[found] = at, _mixed(value, mask)
            found, value = found + 1, _FIRST
        else:
            value = (value ^ np.uint64(wanted[at])) * _FACTOR
    for r in range(count):
        row_R[r] = table[place_R[r]] - 1
    for r in range(count):
        first_R[r] = offsets[row_R[r]] if row_R[r] >= 0 else 0
    start = 0
    for r in range(count):
        row, first, place = row_R[r], first_R[r], place_R[r]
        while row >= 0 and not _is(text, first, offsets[row + 1], wanted, start, end_R[r]):
            place = (place + 1) & mask
            row = table[place] - 1
            first = offsets[row] if row >= 0 else 0
        row_R[r], start = row, end_R[r] + 1
    return row_R


@_compiled
def _is(text, first, last, wanted, start, end):  # type: ignore[no-untyped-def]
    if last - first != end - start:
        return False
    for at in range(end - start):  # noqa: SIM110 - numba compiles no generator
        if text[first + at] != wanted[start + at]:
            return False
    return True
