"""RRF files, and others of rows between delimiters, as streams of checked Arrow batches.

Every row of RRF ends in a pipe; no header, no quoting, UTF-8. RF2 has tabs between columns, and a header. Rows that break this
are reported by file and line and left out. Blocks are checked in several threads; memory is bounded by their size, whatever the
file holds.
"""

from __future__ import annotations

import gzip
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from nbclip.errors import InvalidInput
from pyarrow import csv

from kg_service.vocabulary.files import AGAIN, MAX_COMPRESSION, UNREADABLE, Part
from kg_service.vocabulary.model import BadRow
from kg_service.vocabulary.threads import map_in_order

OnBytes = Callable[[str, int, int], None]
"""Called with a stage (a file's name, or what is made), how much of it is done (bytes of a file), and how much there is."""
Select = Callable[[pa.Table], pa.Table]
"""Takes rows out of a table, or columns; it runs in any thread."""

_BLOCK_BYTES = 8 << 20
_MAX_LINE_BYTES = 1 << 20
_NEWLINE, _RETURN = ord("\n"), ord("\r")
_CUI_LENGTH = 8
_MOST_DIGITS = 18
_FIRST_BYTES, _LEAST_NULS = 256, 0.25
"""Of a file in UTF-16, about every second byte of the first row is a NUL."""

Ints = npt.NDArray[np.int64]
AreIds = Callable[[npt.NDArray[np.uint8], Ints, Ints], npt.NDArray[np.bool_]]


@dataclass(frozen=True, slots=True)
class Layout:
    """A file of a release.

    Attributes:
        stem: its name, without an ending.
        header: its columns, separated by spaces.
        cui_columns: the positions of those that hold an id.
        are_ids: whether what stands from each position to another in bytes is an id.
        id_name: what such an id is called.
        has_header: whether its first line names the columns; its rows then end without a delimiter.
        delimiter: between columns.
    """

    stem: str
    header: str
    cui_columns: tuple[int, ...] = (0,)
    are_ids: AreIds = field(default=lambda data, begin, end: _are_cuis(data, begin, end), repr=False)
    id_name: str = "CUI"
    has_header: bool = False
    delimiter: str = "|"

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return self.header.split()

    @property
    def file(self) -> str:
        """The name of its file where that is one."""
        return self.stem if self.has_header else f"{self.stem}.RRF"


MRCONSO = Layout("MRCONSO", "CUI LAT TS LUI STT SUI ISPREF AUI SAUI SCUI SDUI SAB TTY CODE STR SRL SUPPRESS CVF")
MRREL = Layout("MRREL", "CUI1 AUI1 STYPE1 REL CUI2 AUI2 STYPE2 RELA RUI SRUI SAB SL RG DIR SUPPRESS CVF", (0, 4))
MRSTY = Layout("MRSTY", "CUI TUI STN STY ATUI CVF")
MRRANK = Layout("MRRANK", "RANK SAB TTY SUPPRESS", ())


@dataclass(slots=True)
class BadRows:
    """Counts all bad rows and keeps the first `limit`; `lines` are those of each file that was read to its end, by its name."""

    limit: int
    count: int = 0
    first: list[BadRow] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)

    def add(self, file: str, line: int, reason: str) -> None:
        """Notes one row."""
        self.count += 1
        if len(self.first) < self.limit:
            self.first.append(BadRow(file, line, reason))


def read_rrf(
    parts: tuple[Part, ...],
    layout: Layout,
    keep: tuple[str, ...],
    bad_rows: BadRows,
    progress: OnBytes | None = None,
    select: Select = lambda rows: rows,
) -> Iterator[pa.Table]:
    """Streams what `select` makes of the columns `keep` of a file, tables of strings in order; bad rows go to `bad_rows`.

    Several parts are one file: their lines are counted on, and a row may begin in one and end in the next.

    Raises:
        InvalidInput: the file can't be read or unpacked, or ends, or a part of it ends, within a row that is not whole.
    """
    line, name = 1, parts[0].name if len(parts) == 1 else layout.file
    ends: dict[int, Part] = {}
    blocks = _line_blocks(parts, progress, ends)
    if layout.has_header:
        line, blocks = 2, _below_header(blocks, layout, parts[0])
    for count, reasons, rows in map_in_order(partial(_read_block, layout, keep, select), blocks):
        for row, reason in reasons:
            if part := ends.get(line + row):
                raise InvalidInput(
                    f"{part.place} is damaged or cut off: it ends within line {line + row}: {reason}",
                    hint=AGAIN if len(parts) == 1 else f"{AGAIN}, and the parts that follow it",
                )
            bad_rows.add(name, line + row, reason)
        line += count
        if rows is not None:
            yield rows
    bad_rows.lines[layout.file] = line - 1


def _below_header(blocks: Iterator[bytes], layout: Layout, part: Part) -> Iterator[bytes]:
    """The lines below the first, each closed by a delimiter.

    Raises:
        InvalidInput: the first line names other columns.
    """
    delimiter = layout.delimiter.encode()
    first, _, rest = next(blocks, b"").partition(b"\n")
    if first.split(delimiter) != [column.encode() for column in layout.columns]:
        raise InvalidInput(
            f"{part.place}:1: the columns are {first.decode(errors='replace')!r:.200}",
            hint=f"they should be {', '.join(layout.columns)}, with tabs between",
        )
    for block in chain((rest,), blocks):
        if block:
            yield block.replace(b"\n", delimiter + b"\n")


def _read_block(
    layout: Layout, keep: tuple[str, ...], select: Select, block: bytes
) -> tuple[int, list[tuple[int, str]], pa.Table | None]:
    """How many lines the block has, which are bad and why, and what is selected of the others."""
    rows, reasons = _check_rows(block, layout)
    if reasons:
        block = _take_lines(block, rows)
    return len(rows), reasons, select(_parse(block, layout, keep)) if block else None


def _line_blocks(parts: tuple[Part, ...], progress: OnBytes | None, ends: dict[int, Part]) -> Iterator[bytes]:
    """Whole lines, about 8 MiB at a time, each ending in one newline; `ends` is told within which line, from 1, a part ends."""
    carry, lines = b"", 0
    for part in parts:
        for chunk in unpacked((part,), progress):
            head, newline, tail = chunk.rpartition(b"\n")
            if newline:
                block = b"".join((carry, head, newline))
                lines += block.count(b"\n")
                yield block.replace(b"\r\n", b"\n") if b"\r" in block else block
                carry = b""
            # What is over the limit makes a bad row in any case: its length need not be kept.
            carry = (carry + tail)[: _MAX_LINE_BYTES + 1]
        if carry:
            ends[lines + 1] = part
    if carry:
        yield carry.removesuffix(b"\r") + b"\n"


def unpacked(parts: tuple[Part, ...], progress: OnBytes | None = None) -> Iterator[bytes]:
    """What parts hold one after the other, without byte order marks, in pieces of at most 8 MiB.

    Raises:
        InvalidInput: a part can't be read or unpacked, or is not UTF-8 but UTF-16.
    """
    for part in parts:
        try:
            yield from _unpacked(part, progress)
        except UNREADABLE as error:
            raise InvalidInput(f"{part.place} can't be read: {error}", hint=AGAIN) from error


def _unpacked(part: Part, progress: OnBytes | None) -> Iterator[bytes]:
    size = 0
    with part.open() as packed, _stream(part, packed) as stream:
        while chunk := stream.read(_BLOCK_BYTES):
            whole = _without_mark(part.name, chunk) if not size else chunk
            size += len(chunk)
            if size > _BLOCK_BYTES + MAX_COMPRESSION * packed.tell():
                raise InvalidInput(
                    f"{part.name} unpacks to over {MAX_COMPRESSION} times its size", hint="check that it is a file of the release"
                )
            if progress:
                progress(part.name, packed.tell(), part.size)
            yield whole


def _stream(part: Part, packed: IO[bytes]) -> IO[bytes]:
    return gzip.open(packed) if part.is_gzipped else packed  # type: ignore[return-value]


def _without_mark(name: str, start: bytes) -> bytes:
    first = start[:_FIRST_BYTES]
    if first.count(0) > _LEAST_NULS * len(first):
        raise InvalidInput(f"{name} is in UTF-16, and files of a release are in UTF-8", hint=f"iconv -f UTF-16 -t UTF-8 {name}")
    return start.removeprefix(BOM_UTF8)


def _check_rows(block: bytes, layout: Layout) -> tuple[npt.NDArray[np.bool_], list[tuple[int, str]]]:
    """Which lines of the block are good rows, bool [lines], and the bad ones with reasons."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    pipes = np.flatnonzero(data == ord(layout.delimiter))
    reasons: dict[int, str] = {int(row): "over 1 MiB" for row in np.flatnonzero(ends - starts > _MAX_LINE_BYTES)}
    first_pipe, wrong_count = _count_pipes(data, starts, ends, pipes, layout)
    for row in np.flatnonzero(wrong_count):
        reasons.setdefault(int(row), _column_reason(block[starts[row] : ends[row]], layout))
    whole = np.flatnonzero(~wrong_count)
    for column in layout.cui_columns:
        begin = starts[whole] if column == 0 else pipes[first_pipe[whole] + column - 1] + 1
        for row in whole[~layout.are_ids(data, begin, pipes[first_pipe[whole] + column])]:
            reasons.setdefault(int(row), f"column {layout.columns[column]} is no {layout.id_name}")
    for undecodable in _undecodable(block, data, starts, ends):
        reasons.setdefault(undecodable, "not UTF-8, or a NUL or carriage return inside")
    good = np.ones(len(ends), np.bool_)
    good[list(reasons)] = False
    return good, sorted(reasons.items())


def _count_pipes(
    data: npt.NDArray[np.uint8], starts: Ints, ends: Ints, pipes: Ints, layout: Layout
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The position in `pipes` of each line's first, and whether the line has another number of columns or no pipe at its end."""
    columns = len(layout.columns)
    if len(pipes) == columns * len(ends) and (pipes[columns - 1 :: columns] == ends - 1).all():
        return np.arange(0, len(pipes), columns), np.zeros(len(ends), np.bool_)
    first_pipe = np.searchsorted(pipes, starts)
    found = np.searchsorted(pipes, ends) - first_pipe
    return first_pipe, (found != columns) | (data[np.maximum(ends - 1, 0)] != ord(layout.delimiter))


def _column_reason(line: bytes, layout: Layout) -> str:
    found, columns = line.count(layout.delimiter.encode()), len(layout.columns)
    if line and not line.endswith(layout.delimiter.encode()):
        return f"no pipe at the end of the row ({found + 1} columns, {columns} expected)"
    return f"{found} columns, {columns} expected"


def _are_cuis(data: npt.NDArray[np.uint8], begin: Ints, end: Ints) -> npt.NDArray[np.bool_]:
    good = np.asarray(end - begin == _CUI_LENGTH)
    if len(data) < _CUI_LENGTH:
        return np.zeros(len(begin), np.bool_)
    begin = np.where(good, begin, 0)
    good &= data[begin] == ord("C")
    for place in range(1, _CUI_LENGTH):
        # Below the digit 0, the difference wraps round to a large one.
        good &= data[begin + place] - np.uint8(ord("0")) <= 9
    return good


def is_count(text: str) -> bool:
    """Whether a cell is a whole number, not below 0, of at most 18 digits."""
    return text.isdecimal() and len(text) <= _MOST_DIGITS


def cui_numbers(cuis: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """24109 for C0024109, of a column that has been checked, int32, [n]; a column of int32 has its numbers already."""
    if cuis.type == pa.int32():
        return np.asarray(cuis.to_numpy(), np.int32)
    text = cuis.combine_chunks()
    data = np.frombuffer(text.buffers()[2] or b"", np.uint8)[_CUI_LENGTH * text.offset :][: _CUI_LENGTH * len(text)]
    digits = data.reshape(-1, _CUI_LENGTH)[:, 1:] - np.uint8(ord("0"))
    return np.asarray(digits.astype(np.int32) @ (10 ** np.arange(_CUI_LENGTH - 2, -1, -1, dtype=np.int32)))


def _undecodable(block: bytes, data: npt.NDArray[np.uint8], starts: Ints, ends: Ints) -> list[int]:
    rows: list[int] = []
    if b"\r" in block or b"\0" in block:
        rows += np.searchsorted(ends, np.flatnonzero((data == _RETURN) | (data == 0))).tolist()
    if not _is_utf8(block):
        candidates = np.unique(np.searchsorted(ends, np.flatnonzero(data >= 0x80))).tolist()
        rows += [row for row in candidates if not _is_utf8(block[starts[row] : ends[row]])]
    return rows


def _is_utf8(text: bytes) -> bool:
    try:
        # Checks without making a text, five times as fast as decode().
        pa.array([text], pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return False
    return True


def _take_lines(block: bytes, rows: npt.NDArray[np.bool_]) -> bytes:
    data = np.frombuffer(block, np.uint8)
    lengths = np.diff(np.flatnonzero(data == _NEWLINE), prepend=-1)
    return data[np.repeat(rows, lengths)].tobytes()


def _parse(block: bytes, layout: Layout, keep: tuple[str, ...]) -> pa.Table:
    return csv.read_csv(
        pa.BufferReader(block),
        csv.ReadOptions(column_names=[*layout.columns, "end"], block_size=len(block) + 1, use_threads=False),
        csv.ParseOptions(delimiter=layout.delimiter, quote_char=False, escape_char=False),
        csv.ConvertOptions(include_columns=keep, column_types=dict.fromkeys(keep, pa.string()), strings_can_be_null=False),
    )
