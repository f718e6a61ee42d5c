"""Concept vectors from co-occurrence: the truncated SVD of the positive pointwise mutual information of concepts in captions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import svds

from kg_service.representations.weights import both_ways, entries

_CONTEXT_EXPONENT = 0.75
_DENSE_UP_TO = 1_000
"""Concepts up to which the whole SVD is computed: below the rank asked for, the sparse solver goes on from random vectors."""
_PAIRS_UP_TO = 1 << 22
"""Pairs of concepts that are looked at: where more occur, the most frequent ones. Of millions of captions most pairs stand in one
or two, whose information is large and says little."""
_NOTHING = 1e-9
"""Of the largest singular value, or the longest vector: what is smaller is rounding."""


def cooccurrence_vectors(count_MM: sparse.csr_array, dimension: int) -> npt.NDArray[np.float32]:
    """W = U √S of the PPMI matrix, largest singular values first, each column's largest entry positive.

    Args:
        count_MM: how many images have both concepts (`weights.together`), above the diagonal.
        dimension: d; columns beyond the rank that can be computed are left out.

    Returns:
        float32, [M, ≤ d].
    """
    ppmi_MM = _ppmi(count_MM)
    active = np.flatnonzero(np.diff(ppmi_MM.indptr))
    if min(dimension, len(active)) == 0:
        return np.zeros((ppmi_MM.shape[0], 0), np.float32)
    left_Ad = _left_vectors(sparse.csr_array(ppmi_MM[active][:, active]), dimension)
    sign_d = np.sign(left_Ad[np.abs(left_Ad).argmax(axis=0), np.arange(left_Ad.shape[1])])
    vectors_Md = np.zeros((ppmi_MM.shape[0], left_Ad.shape[1]), np.float32)
    # Of a concept that none of them reaches the solver leaves rounding, whose direction differs from machine to machine.
    length_A = np.linalg.norm(left_Ad, axis=1)
    reached_A = length_A > _NOTHING * length_A.max()
    vectors_Md[active[reached_A]] = left_Ad[reached_A] * sign_d
    return vectors_Md


def _left_vectors(ppmi_AA: sparse.csr_array, dimension: int) -> npt.NDArray[np.float64]:
    """U √S of the A concepts that stand beside others, largest singular values first; [A, ≤ d]."""
    concepts = ppmi_AA.shape[0]
    if concepts <= max(_DENSE_UP_TO, dimension):
        left, strength, _ = np.linalg.svd(ppmi_AA.toarray())
    else:
        left, strength, _ = svds(ppmi_AA, k=dimension, v0=np.ones(concepts), solver="arpack")
    order = np.argsort(-strength, kind="stable")[:dimension]
    strength = np.where(strength > _NOTHING * strength.max(), strength, 0.0)
    vectors_Ad: npt.NDArray[np.float64] = left[:, order] * np.sqrt(strength[order])
    return vectors_Ad


def _ppmi(count_MM: sparse.csr_array) -> sparse.csr_array:
    """max(0, ln(p(c, a) / (p(c) q(a)))), q the context distribution raised to .75; diagonal 0; CSR, [M, M]."""
    lower, higher, count = _frequent_pairs(count_MM)
    if len(count) == 0:
        return sparse.csr_array(count_MM.shape)
    counts_MM = sparse.coo_array(both_ways(lower, higher, count.astype(np.float64), count_MM.shape[0]))
    row, column = counts_MM.row, counts_MM.col
    total_M = np.bincount(row, counts_MM.data, minlength=count_MM.shape[0])
    context_M = total_M**_CONTEXT_EXPONENT
    information = np.log(counts_MM.data * context_M.sum() / (total_M[row] * context_M[column]))
    kept = information > 0
    return sparse.csr_array((information[kept], (row[kept], column[kept])), shape=count_MM.shape)


def _frequent_pairs(count_MM: sparse.csr_array) -> tuple[npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[np.int32]]:
    """The lower and the higher concept of each pair, and its count: all pairs, or those from the least count on that leaves out
    enough of them."""
    pairs_of_count = np.zeros(count_MM.data.max(initial=0) + 1, np.int64)
    for one, other, both in entries(count_MM):
        pairs_of_count += np.bincount(both[one != other], minlength=len(pairs_of_count))
    pairs_from_count = pairs_of_count[::-1].cumsum()[::-1]
    least = max(1, int(np.argmax(pairs_from_count <= _PAIRS_UP_TO)))
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.int32))]
    for one, other, both in entries(count_MM):
        kept = (one != other) & (both >= least)
        found.append((one[kept], other[kept], both[kept]))
    lower, higher, count = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return lower, higher, count
