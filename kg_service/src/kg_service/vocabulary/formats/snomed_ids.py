"""Identifiers of SNOMED CT: 6 to 18 digits, of which the last checks the others (Verhoeff's dihedral check)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_LEAST, _MOST = 6, 18
_PRODUCT = np.array(
    [
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        [1, 2, 3, 4, 0, 6, 7, 8, 9, 5],
        [2, 3, 4, 0, 1, 7, 8, 9, 5, 6],
        [3, 4, 0, 1, 2, 8, 9, 5, 6, 7],
        [4, 0, 1, 2, 3, 9, 5, 6, 7, 8],
        [5, 9, 8, 7, 6, 0, 4, 3, 2, 1],
        [6, 5, 9, 8, 7, 1, 0, 4, 3, 2],
        [7, 6, 5, 9, 8, 2, 1, 0, 4, 3],
        [8, 7, 6, 5, 9, 3, 2, 1, 0, 4],
        [9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ],
    np.uint8,
)
"""The dihedral group of order ten: rotations 0 to 4, reflections 5 to 9."""
_ONCE = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4]


def _permutations() -> npt.NDArray[np.uint8]:
    rows = [list(range(10))]
    for _ in range(7):
        rows.append([_ONCE[digit] for digit in rows[-1]])
    return np.array(rows, np.uint8)


_PERMUTED = _permutations()


def are_sctids(data: npt.NDArray[np.uint8], begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Whether what stands from `begin` to `end` in `data` is an identifier of SNOMED CT, bool, [n]."""
    length = end - begin
    good = np.asarray((length >= _LEAST) & (length <= _MOST))
    check = np.zeros(len(begin), np.uint8)
    for place in range(_MOST):
        there = good & (place < length)
        # Below the digit 0, the difference wraps round to a large one.
        digit = data[np.where(there, end - 1 - place, 0)] - np.uint8(ord("0")) if len(data) else check
        good &= ~there | (digit <= 9)
        there &= good
        check[there] = _PRODUCT[check[there], _PERMUTED[place % 8][digit[there]]]
    return np.asarray(good & (check == 0), np.bool_)
