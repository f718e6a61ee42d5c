"""Bytes of images, wherever they lie: in a file of their own, in a shard, or in a column of Parquet.

A place within a file follows its name: `train-000.tar#1536+20394` (offset and size in bytes), `part.parquet#image.bytes[17]`
(column, and row from 0). A path is read at any time and in any order; within Parquet, rows in their order are read fastest.
"""

from __future__ import annotations

import os
import re
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

_IN_SHARD = re.compile(r"(?P<file>.+\.tar)#(?P<offset>\d+)\+(?P<size>\d+)")
_IN_PARQUET = re.compile(r"(?P<file>.+)#(?P<column>[^#]+)\[(?P<row>\d+)\]")
_BATCH_ROWS, _BATCHES = 16, 8
"""Images of Parquet that are read at once, and how many such batches are kept: threads ask for them nearly in order."""


def place_in_shard(shard: Path, offset: int, size: int) -> str:
    """Where an image lies in a shard."""
    return f"{shard.absolute()}#{offset}+{size}"


def place_in_parquet(file: Path, column: str, row: int) -> str:
    """Where an image lies in a Parquet file; `row` counts from 0."""
    return f"{file.absolute()}#{column}[{row}]"


def open_image_file(path: Path) -> BinaryIO:
    """An image's bytes.

    Raises:
        OSError: there is no such file, or no image in it at this place.
    """
    place = str(path)
    if "#" in place and (match := _IN_SHARD.fullmatch(place)):
        with Path(match["file"]).open("rb") as shard:
            shard.seek(int(match["offset"]))
            return BytesIO(shard.read(int(match["size"])))
    if "#" in place and (match := _IN_PARQUET.fullmatch(place)):
        return BytesIO(_recent.read(Path(match["file"]), match["column"], int(match["row"])))
    return path.open("rb")


class _RecentImages:
    """The images of one column of one Parquet file that were read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._column = (Path(), "")
        self._starts: list[int] = []
        self._file: Any = None
        self._ahead: Iterator[Any] = iter(())
        self._kept: deque[tuple[int, Any]] = deque(maxlen=_BATCHES)
        self._next = 0
        self._whole = False

    def read(self, file: Path, column: str, row: int) -> bytes:
        """The bytes of a row's image; raises OSError if there are none."""
        with self._lock:
            if not self._whole or (file, column) != self._column:
                self._open(file, column)
            # After an error there is nothing to read on from.
            self._whole = False
            content = self._content(row)
            self._whole = True
        if content is None:
            raise OSError(f"no image in column {column} of row {row + 1}")
        return bytes(content)

    def _open(self, file: Path, column: str) -> None:
        import pyarrow.parquet as pq

        # Buffered, so that no row group is read as a whole.
        self._file = pq.ParquetFile(file, buffer_size=1 << 20, pre_buffer=False)
        sizes = [self._file.metadata.row_group(group).num_rows for group in range(self._file.num_row_groups)]
        self._starts = list(accumulate(sizes[:-1], initial=0))
        self._column = (file, column)
        self._go_to(0)

    def _go_to(self, group: int) -> None:
        groups, columns = range(group, len(self._starts)), [self._column[1]]
        self._ahead = self._file.iter_batches(_BATCH_ROWS, groups, columns, use_threads=False)
        self._next = self._starts[group]
        self._kept.clear()

    def _content(self, row: int) -> bytes | None:
        first = self._kept[0][0] if self._kept else self._next
        if row < first or self._group(row) > self._group(self._next):
            self._go_to(self._group(row))
        while row >= self._next:
            batch = next(self._ahead, None)
            if batch is None:
                raise OSError(f"no row {row + 1}")
            values = _leaf(batch)
            self._kept.append((self._next, values))
            self._next += len(values)
        start, values = next((start, values) for start, values in reversed(self._kept) if start <= row)
        return values[row - start].as_py()  # type: ignore[no-any-return]

    def _group(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1


def _leaf(batch: Any) -> Any:
    """The innermost column of a batch of one."""
    values = batch.column(0)
    while values.type.num_fields:
        values = values.field(0)
    return values


def _forget() -> None:
    global _recent
    _recent = _RecentImages()


_recent = _RecentImages()
# What is open is the parent's, and its lock may be held.
os.register_at_fork(after_in_child=_forget)
