"""Image vectors to similarities: S = x·xᵀ between rows and columns of a batch. Pure, in one thread, without Python's lock.

Concepts that stand in a large share of the columns (ancestors, frequent findings) are columns of one dense product, together
with the dense part of the vectors; of the others each has the list of its columns, which a row adds up (Gustavson, ACM TOMS
1978). Where rows and columns are the same images, the upper half is worked out and mirrored.

Shape legend: R rows, C columns, A concepts, N images, d dense dimensions, F frequent concepts, P postings.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy.linalg.blas import ssyrk

from kg_service.representations.model import ImageVectors, read_only
from kg_service.similarity.buffers import empty
from kg_service.similarity.rows import Rows, VectorTable, arrays_of, take_rows

_FREQUENT_SHARE = 0.15
_TILE = 32
_CELLS_AT_ONCE = 1 << 17
"""Half a mebibyte of S, which stays in a core's own memory until it is final."""
_compiled = numba.njit(nogil=True, cache=True)


def similarity(
    vectors: ImageVectors,
    rows_R: Rows,
    columns_C: Rows,
    out_RC: npt.NDArray[np.floating[Any]] | None = None,
    on_rows: Callable[[npt.NDArray[np.float32], int, int], None] | None = None,
) -> npt.NDArray[np.float32]:
    """S: cosine of the image vectors, 0 where either has none, exactly 1 where row and column are the same image.

    Args:
        vectors: unit or zero vectors of N images.
        rows_R: which of them are the rows, [R]; below zero: none, such an image is similar to itself alone.
        columns_C: which of them are the columns, [C]; the same object as `rows_R` where they are the same.
        out_RC: where S is put, float32, C order; None: into memory of its own.
        on_rows: told of S and of the first of some rows and the one after the last, as soon as these are final, in order; it may
            change them.

    Returns:
        float32 in [-1, 1], [R, C]; symmetric to the bit where rows and columns are the same.
    """
    square = columns_C is rows_R
    concepts = vectors.sparse.shape[1]
    start_A, end_A = np.zeros(concepts, np.int32), np.zeros(concepts, np.int32)
    sides = (columns_C,) if square else (columns_C, rows_R)
    (indptr, indices, data, dense), (column_at_C, *others) = batch_table(vectors, *sides)
    csr = indptr, indices, data
    row_at_R = others[0] if others else column_at_C
    limit = max(1, int(_FREQUENT_SHARE * len(columns_C)))
    frequent, column_P, weight_P = _index_columns(*csr, column_at_C, limit, start_A, end_A)
    dense_CF = _dense_part(dense, *csr, column_at_C, start_A, frequent)
    dense_RF = dense_CF if square else _dense_part(dense, *csr, row_at_R, start_A, frequent)
    # Of a square batch BLAS fills what is the upper half in C order, and rows are mirrored to the lower half as they are final.
    sim_RC = empty((len(rows_R), len(columns_C)), np.float32) if out_RC is None else out_RC
    if square:
        ssyrk(1.0, dense_CF.T, beta=0.0, c=sim_RC.T, trans=1, lower=1, overwrite_c=1)
    else:
        np.matmul(dense_RF, dense_CF.T, out=sim_RC)
    index = row_at_R, rows_R, columns_C, start_A, end_A, column_P, weight_P, square
    step = _TILE * max(1, _CELLS_AT_ONCE // (_TILE * len(columns_C)))
    for first in range(0, len(rows_R), step):
        end = min(first + step, len(rows_R))
        _add_postings(csr, *index, sim_RC, first, end)
        if square:
            _mirror(sim_RC, first, end)
        if on_rows is not None:
            on_rows(sim_RC, first, end)
    return sim_RC


def similarity_to_all(vectors: ImageVectors, row: int) -> npt.NDArray[np.float32]:
    """One row of S against every image: what `similarity` gives but for rounding, in one pass that copies nothing; [N].

    Each image's value is added up in an order of its own: images with the same vector have the same value to the bit.
    """
    (indptr, indices, data, dense), (at,) = batch_table(vectors, np.array([row]))
    start, end = indptr[at[0]], indptr[at[0] + 1]
    weight_A = np.zeros(vectors.sparse.shape[1], np.float32)
    weight_A[indices[start:end]] = data[start:end]
    sim_N, first = np.empty(len(vectors), np.float32), 0
    for table in vectors.tables():
        _multiply_all(*arrays_of(table), weight_A, read_only(dense[at[0]]), sim_N[first : first + len(table)])
        first += len(table)
    sim_N[row] = 1.0
    return sim_N


def fill_float16(values: npt.NDArray[np.float32], out: npt.NDArray[np.floating[Any]]) -> None:
    """Values in [-1, 1], rounded to nearest even: as numpy does it, several times as fast. Both in C order, of one shape."""
    flat = values.reshape(-1)
    _round_to_float16(read_only(flat), read_only(flat.view(np.uint32)), out.reshape(-1).view(np.uint16))


def batch_table(vectors: ImageVectors, *sides: Rows) -> tuple[VectorTable, list[Rows]]:
    """One table that holds all rows of a batch's sides, and where in it the rows of each side are.

    It is the vectors' own where they have no tail; otherwise a copy of these rows, for the kernel reads one table. Rows below
    zero are not held: they stay so, or have no vector in the copy.
    """
    if vectors.tail is None:
        return arrays_of(vectors), list(sides)
    starts = np.cumsum([0, *map(len, sides)])
    table = take_rows(vectors, sides[0] if len(sides) == 1 else np.concatenate(sides))
    return table, [np.arange(start, end) for start, end in pairwise(starts)]


@_compiled
def _index_columns(indptr, indices, data, columns_C, limit, start_A, end_A):  # type: ignore[no-untyped-def]
    """Fills start and end of each concept's postings: 1-based; start is -1 - f for the f-th frequent concept, 0 for no concept.

    Returns:
        F, and columns and weights of the postings, int32 and float32, [P + 1].
    """
    for column in columns_C:
        if column >= 0:
            for at in range(indptr[column], indptr[column + 1]):
                end_A[indices[at]] += 1
    frequent, free = 0, 1
    for column in columns_C:
        if column >= 0:
            for at in range(indptr[column], indptr[column + 1]):
                concept = indices[at]
                if start_A[concept] == 0:
                    if end_A[concept] > limit:
                        frequent += 1
                        start_A[concept] = -frequent
                    else:
                        start_A[concept] = free
                        free += end_A[concept]
                        end_A[concept] = start_A[concept]
    column_P, weight_P = np.empty(free, np.int32), np.empty(free, np.float32)
    for c in range(len(columns_C)):
        column = columns_C[c]
        if column >= 0:
            for at in range(indptr[column], indptr[column + 1]):
                concept = indices[at]
                if start_A[concept] > 0:
                    place = end_A[concept]
                    column_P[place], weight_P[place] = c, data[at]
                    end_A[concept] = place + 1
    return frequent, column_P, weight_P


@_compiled
def _dense_part(dense_Nd, indptr, indices, data, rows_R, start_A, frequent):  # type: ignore[no-untyped-def]
    """The rows' dense vectors and their weights of frequent concepts: float32, [R, d + F], at least one column for BLAS."""
    width = dense_Nd.shape[1]
    part_RF = np.zeros((len(rows_R), max(1, width + frequent)), np.float32)
    for r in range(len(rows_R)):
        row = rows_R[r]
        if row >= 0:
            for k in range(width):
                part_RF[r, k] = dense_Nd[row, k]
            for at in range(indptr[row], indptr[row + 1]):
                place = start_A[indices[at]]
                if place < 0:
                    part_RF[r, width - 1 - place] = data[at]
    return part_RF


@_compiled
def _add_postings(csr, row_at_R, rows_R, columns_C, start_A, end_A, column_P, weight_P, square, sim_RC, first, end):  # type: ignore[no-untyped-def]
    """Adds what rare concepts bring to some rows, in order, then holds S in its range; if square, from the diagonal on."""
    indptr, indices, data = csr
    for r in range(first, end):
        row = row_at_R[r]
        sim_C = sim_RC[r]
        if row >= 0:
            for at in range(indptr[row], indptr[row + 1]):
                concept = indices[at]
                place = start_A[concept]
                if place > 0:
                    weight = data[at]
                    for posting in range(place, end_A[concept]):
                        sim_C[column_P[posting]] += weight * weight_P[posting]
                    if square:
                        # The first posting that is left is this row's own: later rows have no need of it.
                        start_A[concept] = place + 1
        for c in range(r if square else 0, len(columns_C)):
            sim_C[c] = np.float32(1.0) if columns_C[c] == rows_R[r] else min(np.float32(1.0), max(np.float32(-1.0), sim_C[c]))


@numba.njit(nogil=True, cache=True, fastmath={"reassoc", "contract"})
def _multiply_all(indptr, indices, data, dense_Nd, weight_A, dense_d, sim_N):  # type: ignore[no-untyped-def]
    """Fills S between one vector, its sparse part `weight_A` and its dense one, and every image of a table.

    Sums may be reordered to add several elements at a time, for each image alike.
    """
    for image in range(len(sim_N)):
        total = np.float32(0)
        for k in range(dense_Nd.shape[1]):
            total += dense_d[k] * dense_Nd[image, k]
        for at in range(np.uint64(indptr[image]), np.uint64(indptr[image + 1])):
            total += weight_A[np.uint64(indices[at])] * data[at]
        sim_N[image] = min(np.float32(1.0), max(np.float32(-1.0), total))


@_compiled
def _mirror(sim_RR, first, end):  # type: ignore[no-untyped-def]
    """Copies some rows of the upper half of a square matrix to the lower, through a tile that lies together in memory; `first` is
    a tile's first row."""
    size = len(sim_RR)
    tile = np.empty((_TILE, _TILE), np.float32)
    for top in range(first, end, _TILE):
        bottom = min(top + _TILE, size)
        for left in range(top, size, _TILE):
            right = min(left + _TILE, size)
            for r in range(top, bottom):
                for c in range(left, right):
                    tile[c - left, r - top] = sim_RR[r, c]
            for c in range(left, right):
                for r in range(top, min(bottom, c)):
                    sim_RR[c, r] = tile[c - left, r - top]


@_compiled
def _round_to_float16(values, bits, rounded):  # type: ignore[no-untyped-def]
    """Bits of float32 values in [-1, 1], to bits of float16: the exponent is biased anew, and 13 bits are rounded away."""
    for at in range(len(values)):
        magnitude = bits[at] & np.uint32(0x7FFFFFFF)
        odd = (magnitude >> np.uint32(13)) & np.uint32(1)
        normal = (magnitude - np.uint32(0x38000000) + np.uint32(0xFFF) + odd) >> np.uint32(13)
        # Below 2^-14 steps are all 2^-24.
        subnormal = np.uint32(np.rint(abs(values[at]) * np.float32(1 << 24)))
        sign = (bits[at] >> np.uint32(16)) & np.uint32(0x8000)
        rounded[at] = np.uint16((normal if magnitude >= np.uint32(0x38800000) else subnormal) | sign)
