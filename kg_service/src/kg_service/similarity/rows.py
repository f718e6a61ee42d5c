"""Rows of image vectors: which have one, and their copies in a table of their own. Without Python's lock.

Shape legend: R rows, A concepts, d dense dimensions, P entries of the sparse part.
"""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from kg_service.representations.model import ImageVectors, read_only

Rows = npt.NDArray[np.int64]
"""Rows of a snapshot; one below zero is an image that the snapshot does not hold, equal numbers are equal images."""
VectorTable = tuple[Any, Any, Any, Any]
"""indptr, indices and data of a CSR matrix, and the dense part beside it."""
_LINE = 16
"""Numbers of four bytes in a cache line."""
_compiled = numba.njit(nogil=True, cache=True)


def has_knowledge(vectors: ImageVectors, columns_C: Rows) -> npt.NDArray[np.bool_]:
    """h: bool, [C], False where the image has no vector or the snapshot does not hold it."""
    if vectors.tail is not None:
        first, tail = vectors.tables()
        later_C = columns_C >= len(first)
        joined_C = np.empty(len(columns_C), np.bool_)
        joined_C[~later_C] = has_knowledge(first, columns_C[~later_C])
        joined_C[later_C] = has_knowledge(tail, columns_C[later_C] - len(first))
        return joined_C
    known_C = np.empty(len(columns_C), np.bool_)
    _has_vector(*arrays_of(vectors), read_only(columns_C), known_C)
    return known_C


def arrays_of(vectors: ImageVectors) -> VectorTable:
    """A table as the kernels take it."""
    exact = vectors.sparse
    return read_only(exact.indptr), read_only(exact.indices), read_only(exact.data), read_only(vectors.dense)


def entries_of(vectors: ImageVectors, rows_R: Rows) -> int:
    """P: how many entries the sparse vectors of these rows have."""
    tables = vectors.tables()
    return int(_entries(read_only(tables[0].sparse.indptr), read_only(tables[-1].sparse.indptr), read_only(rows_R)))


def fill_rows(vectors: ImageVectors, rows_R: Rows, indptr: Any, indices: Any, data: Any, dense: Any) -> None:
    """Fills a table with the vectors of these rows, in order; zero where a row is below zero.

    Args:
        vectors: of N images, or of N and those of a tail.
        rows_R: which of them.
        indptr: int32, [R + 1].
        indices: int32, [P].
        data: float32, [P].
        dense: float32, [R, d].
    """
    tables, wanted_R = vectors.tables(), read_only(rows_R)
    # Where there is no tail no row is in it.
    table, tail = arrays_of(tables[0]), arrays_of(tables[-1])
    _touch(table, tail, wanted_R)
    _gather(table, tail, wanted_R, indptr, indices, data, dense)


def take_rows(vectors: ImageVectors, rows_R: Rows) -> VectorTable:
    """What `fill_rows` fills, in a new table."""
    entries = entries_of(vectors, rows_R)
    indptr, indices, data = np.empty(len(rows_R) + 1, np.int32), np.empty(entries, np.int32), np.empty(entries, np.float32)
    dense = np.empty((len(rows_R), vectors.dense.shape[1]), np.float32)
    fill_rows(vectors, rows_R, indptr, indices, data, dense)
    return read_only(indptr), read_only(indices), read_only(data), read_only(dense)


@_compiled
def _has_vector(indptr, indices, data, dense_Nd, rows_C, known_C):  # type: ignore[no-untyped-def]
    for c in range(len(rows_C)):
        row = rows_C[c]
        known = row >= 0 and indptr[row + 1] > indptr[row]
        if row >= 0 and not known:
            for k in range(dense_Nd.shape[1]):
                known |= dense_Nd[row, k] != 0
        known_C[c] = known


@_compiled
def _entries(indptr, tail_indptr, rows_R):  # type: ignore[no-untyped-def]
    images = len(indptr) - 1
    total = 0
    for row in rows_R:
        if row >= images:
            total += tail_indptr[row - images + 1] - tail_indptr[row - images]
        elif row >= 0:
            total += indptr[row + 1] - indptr[row]
    return total


@_compiled
def _touch(table, tail, rows_R):  # type: ignore[no-untyped-def]
    """Reads something of each cache line that these rows have: the processor waits for many rows at once, not for one by one."""
    images, seen = len(table[0]) - 1, np.float32(0)
    for row in rows_R:
        if row >= images:
            seen += _touch_row(tail, row - images)
        elif row >= 0:
            seen += _touch_row(table, row)
    return seen


@_compiled
def _touch_row(table, row):  # type: ignore[no-untyped-def]
    indptr, indices, data, dense_Nd = table
    seen = np.float32(0)
    for at in range(indptr[row], indptr[row + 1], _LINE):
        seen += indices[at] + data[at]
    for k in range(0, dense_Nd.shape[1], _LINE):
        seen += dense_Nd[row, k]
    return seen


@_compiled
def _gather(table, tail, rows_R, to_indptr, to_indices, to_data, to_Rd):  # type: ignore[no-untyped-def]
    """The vectors of some rows of two tables, the second's from N on."""
    images, place = len(table[0]) - 1, 0
    to_indptr[0] = 0
    for r in range(len(rows_R)):
        row = rows_R[r]
        if row >= images:
            place = _copy(tail, row - images, to_indices, to_data, to_Rd[r], place)
        elif row >= 0:
            place = _copy(table, row, to_indices, to_data, to_Rd[r], place)
        else:
            to_Rd[r] = 0
        to_indptr[r + 1] = place


@_compiled
def _copy(table, row, to_indices, to_data, to_d, place):  # type: ignore[no-untyped-def]
    indptr, indices, data, dense_Nd = table
    for at in range(indptr[row], indptr[row + 1]):
        to_indices[place], to_data[place] = indices[at], data[at]
        place += 1
    for k in range(len(to_d)):
        to_d[k] = dense_Nd[row, k]
    return place
