"""RRF files as streams of checked Arrow batches.

Every row ends in a pipe; no header, no quoting, UTF-8. Rows that break this are reported by file and line and left out. Memory
is bounded by the block size, whatever the file holds.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from nbclip_shared.errors import InvalidInput
from pyarrow import csv

from kg_service.vocabulary.model import BadRow

Progress = Callable[[str, int, int], None]
"""Called with a stage (a file's name), the bytes read of it and its size."""

_BLOCK_BYTES = 16 << 20
_MAX_LINE_BYTES = 1 << 20
_MAX_COMPRESSION = 200
_NEWLINE, _PIPE, _RETURN = ord("\n"), ord("|"), ord("\r")
_CUI_LENGTH = 8


@dataclass(frozen=True, slots=True)
class Layout:
    """A file of a release: its columns, separated by spaces, and the positions of those that hold a CUI."""

    stem: str
    header: str
    cui_columns: tuple[int, ...] = (0,)

    @property
    def columns(self) -> list[str]:
        """The columns' names."""
        return self.header.split()


MRCONSO = Layout("MRCONSO", "CUI LAT TS LUI STT SUI ISPREF AUI SAUI SCUI SDUI SAB TTY CODE STR SRL SUPPRESS CVF")
MRREL = Layout("MRREL", "CUI1 AUI1 STYPE1 REL CUI2 AUI2 STYPE2 RELA RUI SRUI SAB SL RG DIR SUPPRESS CVF", (0, 4))
MRSTY = Layout("MRSTY", "CUI TUI STN STY ATUI CVF")


@dataclass(slots=True)
class BadRows:
    """Counts all bad rows and keeps the first `limit`."""

    limit: int
    count: int = 0
    first: list[BadRow] = field(default_factory=list)

    def add(self, file: str, line: int, reason: str) -> None:
        """Notes one row."""
        self.count += 1
        if len(self.first) < self.limit:
            self.first.append(BadRow(file, line, reason))


def find_rrf(directory: Path, layout: Layout) -> Path:
    """The file of this layout in `directory`, plain or gzipped.

    Raises:
        InvalidInput: there is none.
    """
    for name in (f"{layout.stem}.RRF", f"{layout.stem}.RRF.gz"):
        if (directory / name).is_file():
            return directory / name
    raise InvalidInput(
        f"no {layout.stem}.RRF or {layout.stem}.RRF.gz in {directory}",
        hint="give the META folder of a UMLS release: it holds MRCONSO, MRREL and MRSTY",
    )


def read_rrf(
    path: Path, layout: Layout, keep: tuple[str, ...], bad_rows: BadRows, progress: Progress | None = None
) -> Iterator[pa.Table]:
    """Streams the columns `keep` of a file as tables of strings; bad rows go to `bad_rows`.

    Raises:
        InvalidInput: the file can't be read or unpacked.
    """
    line = 1
    for block in _line_blocks(path, progress):
        rows, reasons = _check_rows(block, layout)
        for row, reason in reasons:
            bad_rows.add(path.name, line + row, reason)
        line += len(rows)
        if not rows.all():
            block = _take_lines(block, rows)
        if block:
            yield _parse(block, layout, keep)


def _line_blocks(path: Path, progress: Progress | None) -> Iterator[bytes]:
    """Whole lines, about 16 MiB at a time, each ending in one newline."""
    carry = b""
    for chunk in _chunks(path, progress):
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield (carry + head + newline).replace(b"\r\n", b"\n")
            carry = b""
        # What is over the limit makes a bad row in any case: its length need not be kept.
        carry = (carry + tail)[: _MAX_LINE_BYTES + 1]
    if carry:
        yield carry.removesuffix(b"\r") + b"\n"


def _chunks(path: Path, progress: Progress | None) -> Iterator[bytes]:
    size = path.stat().st_size
    unpacked = 0
    try:
        with path.open("rb") as packed, _unpacked(path, packed) as stream:
            while chunk := stream.read(_BLOCK_BYTES):
                unpacked += len(chunk)
                if unpacked > _BLOCK_BYTES + _MAX_COMPRESSION * packed.tell():
                    raise InvalidInput(f"{path.name} unpacks to over {_MAX_COMPRESSION} times its size", hint="it is no RRF file")
                if progress:
                    progress(path.name, packed.tell(), size)
                yield chunk
    except (gzip.BadGzipFile, EOFError, zlib.error, OSError) as error:
        raise InvalidInput(f"{path} can't be read: {error}", hint="copy or download the file again") from error


def _unpacked(path: Path, packed: IO[bytes]) -> IO[bytes]:
    return gzip.open(packed) if path.suffix == ".gz" else packed  # type: ignore[return-value]


def _check_rows(block: bytes, layout: Layout) -> tuple[npt.NDArray[np.bool_], list[tuple[int, str]]]:
    """Which lines of the block are good rows, bool [lines], and the bad ones with reasons."""
    data = np.frombuffer(block, np.uint8)
    ends = np.flatnonzero(data == _NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    pipes = np.flatnonzero(data == _PIPE)
    first_pipe = np.searchsorted(pipes, starts)
    found = np.searchsorted(pipes, ends) - first_pipe
    reasons: dict[int, str] = {int(row): "over 1 MiB" for row in np.flatnonzero(ends - starts > _MAX_LINE_BYTES)}
    wrong_count = (found != len(layout.columns)) | (data[np.maximum(ends - 1, 0)] != _PIPE)
    for row in np.flatnonzero(wrong_count):
        reasons.setdefault(int(row), _column_reason(block[starts[row] : ends[row]], len(layout.columns)))
    whole = np.flatnonzero(~wrong_count)
    for column in layout.cui_columns:
        begin = starts[whole] if column == 0 else pipes[first_pipe[whole] + column - 1] + 1
        for row in whole[~_are_cuis(data, begin, pipes[first_pipe[whole] + column])]:
            reasons.setdefault(int(row), f"column {layout.columns[column]} is no CUI")
    for row in _undecodable(block, data, starts, ends):
        reasons.setdefault(row, "not UTF-8, or a NUL or carriage return inside")
    good = np.ones(len(ends), np.bool_)
    good[list(reasons)] = False
    return good, sorted(reasons.items())


def _column_reason(line: bytes, columns: int) -> str:
    if line and not line.endswith(b"|"):
        return f"no pipe at the end of the row ({line.count(b'|') + 1} columns, {columns} expected)"
    return f"{line.count(b'|')} columns, {columns} expected"


def _are_cuis(data: npt.NDArray[np.uint8], begin: npt.NDArray[np.int64], end: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    right_length = end - begin == _CUI_LENGTH
    if len(data) < _CUI_LENGTH:
        return np.zeros(len(begin), np.bool_)
    text = data[np.where(right_length, begin, 0)[:, None] + np.arange(_CUI_LENGTH)]
    digits = text[:, 1:]
    return np.asarray(right_length & (text[:, 0] == ord("C")) & ((digits >= ord("0")) & (digits <= ord("9"))).all(axis=1))


def _undecodable(
    block: bytes, data: npt.NDArray[np.uint8], starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]
) -> list[int]:
    rows: list[int] = []
    if b"\r" in block or b"\0" in block:
        rows += np.searchsorted(ends, np.flatnonzero((data == _RETURN) | (data == 0))).tolist()
    try:
        block.decode()
    except UnicodeDecodeError:
        candidates = np.unique(np.searchsorted(ends, np.flatnonzero(data >= 0x80))).tolist()
        rows += [row for row in candidates if not _is_utf8(block[starts[row] : ends[row]])]
    return rows


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
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
        csv.ParseOptions(delimiter="|", quote_char=False, escape_char=False),
        csv.ConvertOptions(include_columns=keep, column_types=dict.fromkeys(keep, pa.string()), strings_can_be_null=False),
    )
