"""Rows of different lengths in one array, as in CSR: row i is at pointers[i] to pointers[i + 1]."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer[Any]]
Int64s = npt.NDArray[np.int64]


def pointers(counts: Ints) -> Int64s:
    """Row pointers of rows with these lengths, int64, [N + 1]."""
    found = np.zeros(len(counts) + 1, np.int64)
    np.cumsum(counts, out=found[1:])
    return found


def ranges(starts: Ints, counts: Ints) -> Int64s:
    """start, start + 1, …, start + count - 1 of each range, one range after another; int64, [sum of counts]."""
    ends = pointers(counts)
    found: Int64s = np.arange(ends[-1]) + np.repeat(starts - ends[:-1], counts)
    return found
