"""Bytes of images, wherever they lie: in a file of their own, in a shard, or in a column of Parquet.

A place within a file follows its name: `train-000.tar#1536+20394` (offset and size in bytes), `part.parquet#image.bytes[17]`
(column, and row from 0). A path is read at any time and in any order; within Parquet, rows in their order are read fastest.
"""

from __future__ import annotations

import errno
import os
import re
import threading
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from io import BytesIO
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO

from nbclip.errors import NotFound
from nbclip.files.addresses import Address, Location, location

_IN_SHARD = re.compile(r"(?P<file>.+\.tar)#(?P<offset>\d+)\+(?P<size>\d+)")
_IN_PARQUET = re.compile(r"(?P<file>.+)#(?P<column>[^#]+)\[(?P<row>\d+)\]")
_AT_ONCE = 32
"""Images at addresses that are asked for at once."""
_BATCH_ROWS, _BATCHES = 16, 8
"""Images of Parquet that are read at once, and how many such batches are kept: threads ask for them nearly in order."""


def place_in_shard(shard: Location, offset: int, size: int) -> str:
    """Where an image lies in a shard."""
    return f"{shard.absolute()}#{offset}+{size}"


def place_in_parquet(file: Location, column: str, row: int) -> str:
    """Where an image lies in a Parquet file; `row` counts from 0."""
    return f"{file.absolute()}#{column}[{row}]"


def open_image_file(path: Location) -> BinaryIO:
    """An image's bytes.

    Raises:
        OSError: there is no such file, or no image in it at this place.
        NBClipError: it lies at an address, and can't be read there (`remote.read_range`).
    """
    place = str(path)
    if (coming := _coming.pop(place, None)) is not None:
        return BytesIO(coming.result())
    if "#" in place and (match := _IN_SHARD.fullmatch(place)):
        return BytesIO(_in_shard(match))
    if "#" in place and (match := _IN_PARQUET.fullmatch(place)):
        return BytesIO(_recent.read(location(match["file"]), match["column"], int(match["row"])))
    return BytesIO(_whole(path)) if isinstance(path, Address) else path.open("rb")


def opened_parquet(file: Location) -> Any:
    """A Parquet file that reads columns of row groups bit by bit, and none as a whole."""
    import pyarrow.parquet as pq

    source = file if isinstance(file, Path) else file.copy or file.open("rb")
    return pq.ParquetFile(source, buffer_size=1 << 20, pre_buffer=False)


@contextmanager
def fetched(places: Iterable[Location]) -> Iterator[None]:
    """While the block opens images one by one, those at addresses come together, and each is held until it is opened.

    Not those of Parquet, which are read in its order.
    """
    elsewhere = {place.url: place for place in places if isinstance(place, Address) and not _IN_PARQUET.fullmatch(place.url)}
    if not elsewhere:
        yield
        return
    pool = ThreadPoolExecutor(_AT_ONCE)
    try:
        _coming.update({url: pool.submit(_content, place) for url, place in elsewhere.items()})
        yield
    finally:
        for url in elsewhere:
            _coming.pop(url, None)
        pool.shutdown(cancel_futures=True)


def _content(place: Address) -> bytes:
    match = _IN_SHARD.fullmatch(place.url)
    return _in_shard(match) if match else _whole(place)


def _whole(place: Address) -> bytes:
    """The bytes of an image of its own, which is missing as a file of this machine may be."""
    try:
        return place.read(0, place.found().size)
    except NotFound as error:
        raise FileNotFoundError(errno.ENOENT, "there is no such file", place.url) from error


def _in_shard(match: re.Match[str]) -> bytes:
    shard, offset, size = location(match["file"]), int(match["offset"]), int(match["size"])
    if isinstance(shard, Address):
        return shard.read(offset, offset + size)
    with shard.open("rb") as file:
        file.seek(offset)
        return file.read(size)


class _RecentImages:
    """The images of one column of one Parquet file that were read last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._column: tuple[Location | None, str] = (None, "")
        self._starts: list[int] = []
        self._file: Any = None
        self._ahead: Iterator[Any] = iter(())
        self._kept: deque[tuple[int, Any]] = deque(maxlen=_BATCHES)
        self._next = 0
        self._whole = False

    def read(self, file: Location, column: str, row: int) -> bytes:
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

    def _open(self, file: Location, column: str) -> None:
        self._file = opened_parquet(file)
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
    _coming.clear()


_recent = _RecentImages()
_coming: dict[str, Future[bytes]] = {}
# What is open is the parent's, and its lock may be held.
os.register_at_fork(after_in_child=_forget)
