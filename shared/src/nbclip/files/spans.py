"""Files in spans: consecutive rows that are read without those before them, and are the same rows as of the whole file.

Where spans begin follows from the file and the number of rows asked for alone. A table is cut only where its rows really begin,
which takes reading it once: a quoted field may hold line breaks, and a damaged row may look as if it did. Files that can't be
read from the middle, packed ones and shards, are one span.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from nbclip.errors import InvalidInput, os_reason
from nbclip.files.folders import roco_parts
from nbclip.files.layout import Format, Layout
from nbclip.files.lines import Span, TextFile
from nbclip.files.ndjson import AHEAD
from nbclip.files.reading import Rows, told_format
from nbclip.files.sources import format_of

_PIECE = 1 << 20
_READABLE = "give a table, .ndjson, .parquet or shards"


def spans_of(path: Path, layout: Layout, rows: int) -> list[Span]:
    """The spans of a file, `rows` rows in each but the last; none where it has no row.

    Raises:
        InvalidInput: it is not there, is a folder, or can't be read as a whole.
    """
    _refuse_all_but_files(path)
    kind = layout.format or format_of(path)
    if kind == "parquet":
        return _of_parquet(path, layout, rows)
    if kind == "webdataset":
        return _whole(path, layout)
    with TextFile(path) as source:
        if source.is_packed:
            return _whole(path, layout)
        first = next((line for line in source if line.problem or line.text.strip()), None)
    return _of_lines(path, layout, rows, layout.format or told_format(path, first, layout))


def _refuse_all_but_files(path: Path) -> None:
    if not path.exists():
        raise InvalidInput(f"{path} does not exist", hint="check the path")
    if path.is_dir() and not roco_parts(path):
        what = "has no file that can be read" if any(path.iterdir()) else "is empty"
        raise InvalidInput(f"the folder {path} {what}", hint=_READABLE)
    if not path.is_file():
        what = "a folder of ROCO" if path.is_dir() else "no regular file"
        raise InvalidInput(f"{path} is {what}, and is not read in spans", hint=_READABLE)


def digest_of(path: Path, layout: Layout, span: Span) -> str:
    """SHA-256, in hexadecimal, of all that the rows of a span come of.

    Raises:
        InvalidInput: the file can't be read.
    """
    digest = hashlib.sha256()
    is_parquet = (layout.format or format_of(path)) == "parquet"
    if is_parquet:
        from nbclip.files.parquet import chunks_in_parquet

        parts = chunks_in_parquet(path, layout, span)
    else:
        parts = [(span.start, span.end - span.start)]
    try:
        with path.open("rb") as file:
            for _ in range(span.head):
                digest.update(file.readline())
            for start, length in parts:
                file.seek(start)
                for piece in _pieces(file, length):
                    digest.update(piece)
    except OSError as error:
        raise InvalidInput(f"can't read {os_reason(error)}", hint="check the path") from error
    return digest.hexdigest()


def _of_parquet(path: Path, layout: Layout, rows: int) -> list[Span]:
    from nbclip.files.parquet import chunks_in_parquet, rows_in_parquet

    count, size = rows_in_parquet(path), path.stat().st_size
    starts = range(0, count, rows)
    spans = [Span(start + 1, min(start + rows, count) + 1, min(rows, count - start), 0, size) for start in starts]
    if not spans:
        chunks_in_parquet(path, layout, Span(1, 1, 0, 0, size))  # refuses one that lacks a column
    return spans


def _whole(path: Path, layout: Layout) -> list[Span]:
    rows = _Rows(path, layout, 1 << 62)
    return [Span(1, rows.last + 1, rows.count, 0, path.stat().st_size)] if rows.count else []


def _of_lines(path: Path, layout: Layout, size: int, kind: Format) -> list[Span]:
    rows = _Rows(path, layout, size)
    if not rows.count:
        return []
    # Of a table the header is enough; the first objects have the keys there are.
    head = rows.firsts[0] if kind in ("csv", "tsv") else rows.ahead
    firsts = [1, *rows.firsts[1:]]
    starts = [0, *_starts(path, firsts[1:])]
    stops, ends = [*firsts[1:], rows.last + 1], [*starts[1:], path.stat().st_size]
    counts = [min(size, rows.count - before) for before in range(0, rows.count, size)]
    heads = [0, *(min(head, first) - 1 for first in firsts[1:])]
    return [Span(*each) for each in zip(firsts, stops, counts, starts, ends, heads, strict=True)]


class _Rows:
    """What of a file's rows says where it can be cut, once they are read.

    Attributes:
        count: how many there are.
        firsts: numbers of each `size`-th, from the first on.
        ahead: number of the first that is not looked at for the keys there are, or of the last.
        last: number of the last.
    """

    def __init__(self, path: Path, layout: Layout, size: int) -> None:
        self.count, self.firsts, self.ahead, self.last = 0, list[int](), 1, 0
        for row in Rows([path], layout):
            if self.count % size == 0:
                self.firsts.append(row.number)
            if self.count <= AHEAD:
                self.ahead = row.number
            self.count, self.last = self.count + 1, row.number


def _starts(path: Path, numbers: Sequence[int]) -> list[int]:
    """The byte at which each of these lines begins; they ascend."""
    found: list[int] = []
    with path.open("rb") as file:
        number, place = 1, 0
        for piece in iter(partial(file.readline, _PIECE), b""):
            if len(found) == len(numbers):
                break
            place += len(piece)
            number += piece.endswith(b"\n")
            if number == numbers[len(found)] and piece.endswith(b"\n"):
                found.append(place)
    return found


def _pieces(file: BinaryIO, length: int) -> Iterator[bytes]:
    while length > 0 and (piece := file.read(min(length, _PIECE))):
        length -= len(piece)
        yield piece
