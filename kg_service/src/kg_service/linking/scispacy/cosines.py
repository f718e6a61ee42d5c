"""The nearest rows of a sparse matrix by cosine, found exactly and without reading most of it.

A query's 3-grams are split in two: the postings of the `rare` ones are added up, aliases are looked up in those of the `common`
ones, which are long. All weights are positive and all vectors of length 1, so with angles in place of cosines: an alias whose
cosine with the query is cos(wanted) or more has, by Cauchy-Schwarz twice, at least cos(left) · cos(left + wanted) in common
with a part of the query of length cos(left). Only aliases above that bound are looked up, and it rises with every 3-gram that
is added. While left + wanted is below a right angle it is above zero: an alias without a rare 3-gram can be passed over.

Shape legend: Q queries, A aliases, F 3-grams.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import sparse

Ints = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float32]
Found = tuple[Ints, Floats]

_LEVELS = (0.75, 0.5)
"""Floors that are tried before a lower one: most queries have k neighbours above them."""
_COMMON_SHARE = 0.8
"""Of the length that the common part may have at most: the more it has, the fewer postings are read and the more looked up."""
_ROUNDING = 1e-5
"""More than float32 sums go wrong by."""


def nearest(weights_FA: sparse.csr_array, queries_QF: sparse.csr_array, k: int, floor: float = 0.0) -> list[Found]:
    """Per query the `k` nearest aliases: positions, and cosines of `floor` (less 1e-5) to 1; ties go to the lower position.

    Args:
        weights_FA: float32 CSR, [F, A], columns of length 1 (or 0), indices ascending in each row.
        queries_QF: float32 CSR, [Q, F], rows of length 1 (or 0).
        k: how many at most, 1 or more.
        floor: aliases below are left out, [0, 1]; those at 0 always are. The higher, the faster.
    """
    sums_A: Floats = np.zeros(weights_FA.shape[1], np.float32)
    lengths_F = np.diff(weights_FA.indptr)
    found: list[Found] = []
    for row in range(queries_QF.shape[0]):
        part = slice(*queries_QF.indptr[row : row + 2])
        grams = queries_QF.indices[part]
        if not len(grams):
            found.append((np.zeros(0, np.int32), np.zeros(0, np.float32)))
            continue
        order = np.lexsort((grams, lengths_F[grams]))
        found.append(_nearest(weights_FA, grams[order], queries_QF.data[part][order], k, floor, sums_A))
    return found


def _nearest(weights_FA: sparse.csr_array, grams: Ints, weights: Floats, k: int, floor: float, sums_A: Floats) -> Found:
    """The `k` nearest of one query with these 3-grams, the rarest first; `sums_A` is all 0 before and after."""
    for level in (*(level for level in _LEVELS if level > floor), floor):
        alias, cosine = _above(weights_FA, grams, weights, level, sums_A)
        if len(alias) >= k:
            break
    if len(alias) > k:
        near = cosine >= np.partition(cosine, -k)[-k]
        alias, cosine = alias[near], cosine[near]
    order = np.lexsort((alias, -cosine))[:k]
    return alias[order], np.minimum(cosine[order], np.float32(1))


def _above(weights_FA: sparse.csr_array, grams: Ints, weights: Floats, floor: float, sums_A: Floats) -> Found:
    """All aliases with a cosine of `floor` or more, and above 0."""
    squares = np.cumsum(weights.astype(np.float64) ** 2)
    rare = 1 + int(np.searchsorted(squares, squares[-1] - (_COMMON_SHARE * floor) ** 2))
    rows = [slice(*weights_FA.indptr[gram : gram + 2]) for gram in grams]
    for row, weight in zip(rows[:rare], weights[:rare], strict=True):
        sums_A[weights_FA.indices[row]] += weight * weights_FA.data[row]
    alias, cosine = _collect(sums_A, [weights_FA.indices[row] for row in rows[:rare]], _least(squares[rare - 1], floor))
    for row, weight, square in zip(rows[rare:], weights[rare:], squares[rare:], strict=True):
        postings = weights_FA.indices[row]
        if not len(postings):
            continue
        position = np.minimum(np.searchsorted(postings, alias), len(postings) - 1)
        cosine = cosine + weight * weights_FA.data[row][position] * (postings[position] == alias)
        near = cosine >= _least(square, floor)
        alias, cosine = alias[near], cosine[near]
    near = cosine >= floor - _ROUNDING
    return alias[near], cosine[near]


def _collect(sums_A: Floats, postings: Sequence[Ints], least: float) -> Found:
    """The aliases of `postings` whose sums reach `least`, ascending, with their sums; sets these sums back to 0."""
    touched = np.concatenate([np.zeros(0, np.int32), *postings])
    near = sums_A[touched] >= max(least, np.finfo(np.float32).tiny)
    alias = np.unique(touched[near])
    cosine = sums_A[alias]
    sums_A[touched] = 0
    return alias, cosine


def _least(square: float, floor: float) -> float:
    """What an alias at `floor` has at least in common with a part of the query whose squared length is `square`."""
    length = math.sqrt(min(square, 1.0))
    return length * math.cos(math.acos(length) + math.acos(floor)) - _ROUNDING
