"""Columns of random rows as Arrow arrays, and rows as bytes: what writes a file of hundreds of megabytes in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Column = pa.Array | str
"""One text a row, or one for all rows."""


def identifiers(letter: str, numbers: npt.NDArray[np.integer], digits: int = 8) -> pa.Array:
    """`letter` and each number with leading zeros: C0024109 for 24109 with 7 digits."""
    width = digits + 1
    text = np.empty((len(numbers), width), np.uint8)
    text[:, 0] = ord(letter)
    rest = numbers.astype(np.int64)
    for position in range(digits, 0, -1):
        rest, digit = np.divmod(rest, 10)
        text[:, position] = digit + ord("0")
    offsets = np.arange(len(numbers) + 1, dtype=np.int32) * width
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(offsets), pa.py_buffer(text))


def weighted(luck: np.random.Generator, shares: Sequence[float], count: int) -> Ints:
    """`count` positions in `shares`, each as often as its share has it."""
    bounds = np.cumsum(shares)
    return np.searchsorted(bounds / bounds[-1], luck.random(count), side="right")


def taken(values: Sequence[str] | pa.Array, positions: Ints, where: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """The value at each position; null where `where` is false."""
    indices = pa.array(positions, mask=None if where is None else ~where)
    return pa.array(values, pa.string()).take(indices) if not isinstance(values, pa.Array) else values.take(indices)


def write_rows(stream: BinaryIO, columns: Sequence[Column]) -> int:
    """Writes rows as RRF has them, a pipe after each column; returns how many bytes."""
    lines = pc.binary_join_element_wise(*columns, "\n", "|")
    start, stop = np.frombuffer(lines.buffers()[1], np.int32)[[lines.offset, lines.offset + len(lines)]]
    return stream.write(memoryview(lines.buffers()[2])[start:stop])
