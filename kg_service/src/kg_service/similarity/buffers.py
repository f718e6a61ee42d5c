"""Memory for large matrices, taken again and again: fresh memory costs as much as filling it, a page fault at a time.

A buffer is leased for as long as anything refers to the array that was given out: a view of it, or what a socket still has to
send. So nothing must be given back by hand, and nothing can be overwritten too early.
"""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

_SMALLEST = 1 << 20
_KEPT_EACH = 4
_free: dict[int, list[bytearray]] = {}
"""Buffers that nobody holds, by size, a power of two. Lists are changed by single appends and pops, which need no lock: the
end of a lease can come at any time, in any thread."""


def empty(shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
    """As `numpy.empty`, C order; from 1 MiB on in memory that was used before, if there is some."""
    kind = np.dtype(dtype)
    count = math.prod(shape)
    if count * kind.itemsize < _SMALLEST:
        return np.empty(shape, kind)
    size = 1 << (count * kind.itemsize - 1).bit_length()
    free = _free.setdefault(size, [])
    try:
        buffer = free.pop()
    except IndexError:
        buffer = bytearray(size)
    # All views have this array as their base, so it lives as long as the last of them.
    leased = np.frombuffer(buffer, kind, count)
    weakref.finalize(leased, _end_lease, free, buffer).atexit = False
    return leased.reshape(shape)


def empty_bytes(count: int) -> npt.NDArray[np.uint8]:
    """So many bytes, as `empty` gives them."""
    return empty((count,), np.uint8)


def _end_lease(free: list[bytearray], buffer: bytearray) -> None:
    if len(free) < _KEPT_EACH:
        free.append(buffer)
