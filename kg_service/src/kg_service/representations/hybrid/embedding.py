"""The hybrid's vectors, image by image: weights, their spread, the co-occurrence part, unit length. The formula is `hybrid.py`'s.

Shape legend: N images, C concepts that have a row in the tables, M concepts that they reach, d co-occurrence dimensions, P
entries of `has`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy import sparse

from kg_service.representations.model import read_only
from kg_service.representations.weights import Float64s

_compiled = numba.njit(nogil=True, cache=True)
_inlined = numba.njit(inline="always")


@dataclass(frozen=True, slots=True)
class Embedded:
    """What `embed_images` gives.

    Attributes:
        weight: w_c of each entry of `has`, float64, [P].
        exact: x1, scaled to its part of a unit vector; CSR, [N, M].
        smooth: √smoothing · x2, scaled to the rest of it; [N, d].
    """

    weight: Float64s
    exact: sparse.csr_array
    smooth: npt.NDArray[Any]


def embed_images(
    has_NC: sparse.csr_array,
    idf_C: Float64s,
    overlap_CC: sparse.csr_array,
    spread_CM: sparse.csr_array,
    cooccurrence_Cd: npt.NDArray[np.float32],
    *,
    redundancy: float,
    smoothing: float,
    dtype: npt.DTypeLike,
) -> Embedded:
    """Vectors of images with these concepts; each is worked out by itself in float64, whatever stands beside it.

    Rows of `has_NC` ascend; `dtype` is float32 or float64.
    """
    weight_P, indptr, indices, data, smooth_Nd = _embed(
        *_csr(has_NC)[:2],
        _typed(np.sqrt(idf_C), np.float64),
        redundancy,
        *_csr(overlap_CC),
        *_csr(spread_CM),
        spread_CM.shape[1],
        _typed(cooccurrence_Cd, np.float32),
        np.sqrt(smoothing),
        np.zeros(0, dtype),
    )
    exact_NM = sparse.csr_array((data, indices, indptr), shape=(has_NC.shape[0], spread_CM.shape[1]))
    return Embedded(weight_P, exact_NM, smooth_Nd)


def _csr(matrix: sparse.csr_array) -> tuple[Any, Any, Any]:
    return _typed(matrix.indptr, np.int64), _typed(matrix.indices, np.int32), _typed(matrix.data, np.float32)


def _typed(array: npt.NDArray[Any], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    return read_only(np.ascontiguousarray(array, dtype))


@_compiled
def _embed(  # type: ignore[no-untyped-def]
    has_indptr, has_indices, root_idf_C, redundancy, overlap_indptr, overlap_indices, overlap_data,
    spread_indptr, spread_indices, spread_data, reach, cooccurrence_Cd, root_smoothing, like,
):  # fmt: skip
    images, width = len(has_indptr) - 1, cooccurrence_Cd.shape[1]
    room = 0
    for concept in has_indices:
        room += spread_indptr[concept + 1] - spread_indptr[concept]
    weight_P = np.empty(len(has_indices), np.float64)
    indptr = np.zeros(images + 1, np.int64)
    # Rounded as they are written: to fresh memory of twice the size would take as long as the arithmetic.
    indices, data = np.empty(room, np.int32), np.empty(room, like.dtype)
    smooth_Nd = np.empty((images, width), like.dtype)
    # What one image adds up stays in a core's own memory; of `sum_M` counts only what the image has seen.
    crowd_C, sum_M, seen_M, smooth_d = np.zeros(len(root_idf_C)), np.zeros(reach), np.full(reach, -1, np.int32), np.zeros(width)
    for n in range(images):
        first, last, start = has_indptr[n], has_indptr[n + 1], indptr[n]
        _weigh(first, last, has_indices, root_idf_C, redundancy, overlap_indptr, overlap_indices, overlap_data, crowd_C, weight_P)
        free = start
        smooth_d[:] = 0.0
        for p in range(first, last):
            # Unsigned, a position needs no look whether it counts from the end, and loops are vectorised.
            concept, weight = np.uint64(has_indices[p]), weight_P[p]
            for at in range(np.uint64(spread_indptr[concept]), np.uint64(spread_indptr[concept + np.uint64(1)])):
                reached = np.uint64(spread_indices[at])
                if seen_M[reached] != n:
                    seen_M[reached], sum_M[reached] = n, 0.0
                    indices[free] = reached
                    free += 1
                sum_M[reached] += weight * spread_data[at]
            for k in range(width):
                smooth_d[k] += weight * cooccurrence_Cd[concept, np.uint64(k)]
        indptr[n + 1] = free
        _sort(indices, start, free)
        exact_scale, smooth_scale = _scales(start, free, indices, sum_M, smooth_d, root_smoothing)
        for at in range(np.uint64(start), np.uint64(free)):
            data[at] = sum_M[np.uint64(indices[at])] * exact_scale
        for k in range(width):
            smooth_Nd[n, k] = smooth_d[k] * smooth_scale
    return weight_P, indptr, indices[: indptr[-1]], data[: indptr[-1]], smooth_Nd


@_inlined
def _weigh(first, last, has_indices, root_idf_C, redundancy, overlap_indptr, overlap_indices, overlap_data, crowd_C, weight_P):  # type: ignore[no-untyped-def]
    """Fills w_c of one image's concepts; `crowd_C` is zeros, and zeros again in the end."""
    for p in range(first, last):
        for at in range(overlap_indptr[has_indices[p]], overlap_indptr[has_indices[p] + 1]):
            crowd_C[overlap_indices[at]] += overlap_data[at]
    for p in range(first, last):
        weight_P[p] = root_idf_C[has_indices[p]] / (1 + redundancy * crowd_C[has_indices[p]])
    for p in range(first, last):
        for at in range(overlap_indptr[has_indices[p]], overlap_indptr[has_indices[p] + 1]):
            crowd_C[overlap_indices[at]] = 0.0


@_inlined
def _sort(values, start, end):  # type: ignore[no-untyped-def]
    """Sorts some of them in place: few, or sorted in runs."""
    for at in range(start + 1, end):
        value, place = values[at], at
        while place > start and values[place - 1] > value:
            values[place] = values[place - 1]
            place -= 1
        values[place] = value


@_inlined
def _scales(start, end, indices, sum_M, smooth_d, root_smoothing):  # type: ignore[no-untyped-def]
    """By what both parts of one vector are multiplied: each to its length, then both together to 1; what is zero stays."""
    exact_square, smooth_square = 0.0, 0.0
    for at in range(np.uint64(start), np.uint64(end)):
        value = sum_M[np.uint64(indices[at])]
        exact_square += value * value
    for k in range(len(smooth_d)):
        smooth_square += smooth_d[k] * smooth_d[k]
    has_exact, has_smooth = exact_square > 0, smooth_square > 0
    length = np.sqrt((1.0 if has_exact else 0.0) + (root_smoothing * root_smoothing if has_smooth else 0.0))
    exact_scale = 1 / (np.sqrt(exact_square) * length) if has_exact else 0.0
    smooth_scale = root_smoothing / (np.sqrt(smooth_square) * length) if has_smooth else 0.0
    return exact_scale, smooth_scale
