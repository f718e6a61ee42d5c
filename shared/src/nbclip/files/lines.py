"""Physical lines of a text file, plain or gzip; damage is reported by line and never stops the reading."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from io import BufferedReader
from itertools import islice
from types import TracebackType
from typing import IO, Self, cast

from nbclip.errors import InvalidInput
from nbclip.files.addresses import Location, size_of
from nbclip.files.foreign import foreign_kind

MAX_LINE_BYTES = 1 << 20
MAX_RATIO, _FREE_BYTES = 200, 64 << 20
"""How many times as long as packed a file may be, after the first 64 MiB: captions pack to a tenth, a bomb to a thousandth."""
_BOM = b"\xef\xbb\xbf"
_GZIP = b"\x1f\x8b"
_UTF16 = re.compile(rb"\xff\xfe|\xfe\xff|[^\0]\0[^\0]\0|\0[^\0]\0[^\0]")
NOT_UTF_8 = "not UTF-8"
AS_UTF_8 = "save it as UTF-8; if it is Windows-1252, as older programs write: iconv -f WINDOWS-1252 -t UTF-8 FILE > NEW"


@dataclass(frozen=True, slots=True)
class Line:
    """A line with its line end, counted from 1; where it is damaged, `text` is empty and `problem` says why."""

    number: int
    text: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """Consecutive rows of a file, which can be read without those before them (`spans.py`).

    Attributes:
        first: number of the first row, as `rows.Row` has it.
        stop: number of the first row behind it, or one more than the last row's.
        rows: how many rows there are, good and bad.
        start: byte at which the first row begins; 0 in a file that is not of lines.
        end: byte behind the last row; of a file that is not of lines, its size.
        head: lines at the beginning of the file that are read too, as they say how it is read.
    """

    first: int
    stop: int
    rows: int
    start: int
    end: int
    head: int = 0


class TextFile:
    """An open UTF-8 file, unpacked on the way if its name or its first bytes say gzip; a byte order mark is skipped.

    Raises:
        InvalidInput: there is no such file, or it can't be read.
    """

    def __init__(self, path: Location) -> None:
        self.path = path
        self._resources = ExitStack()
        try:
            self._raw = self._resources.enter_context(cast(BufferedReader, path.open("rb")))
        except OSError as error:
            raise InvalidInput(f"can't read {path}: {error.strerror}", hint="check the path") from error
        self.size = size_of(path)
        self._stream: IO[bytes] = self._raw
        self._unpacked = 0
        if path.suffix == ".gz" or self._raw.peek(2).startswith(_GZIP):
            self._stream = self._resources.enter_context(cast(IO[bytes], gzip.GzipFile(fileobj=self._raw)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._resources.close()

    @property
    def is_packed(self) -> bool:
        """Whether it is unpacked on the way."""
        return self._stream is not self._raw

    @property
    def position(self) -> int:
        """Bytes of the file taken so far, of `size`; packed bytes where it is packed; 0 for a pipe."""
        return self._raw.tell() if self._raw.seekable() else 0

    def __iter__(self) -> Iterator[Line]:
        return self._lines(1)

    def lines(self, span: Span) -> Iterator[Line]:
        """The lines of a span's head, then all from its first row on: a damaged row is told by what stands behind it."""
        yield from islice(self._lines(1), span.head)
        if span.start:
            self._raw.seek(span.start)
        yield from self._lines(span.first)

    def _lines(self, number: int) -> Iterator[Line]:
        while content := self._next_line(number):
            if number == 1:
                content = self._begun(content)
            yield _line(number, content)
            number += 1

    def _next_line(self, number: int) -> bytes:
        """The next line's bytes; of a line that is too long, only so many that this shows."""
        try:
            content = self._stream.readline(MAX_LINE_BYTES + 1)
            end = content
            while len(end) > MAX_LINE_BYTES and not end.endswith(b"\n"):
                self._count(len(end), number)
                end = self._stream.readline(MAX_LINE_BYTES + 1)
            self._count(len(end), number)
        except (EOFError, OSError, zlib.error) as error:
            raise InvalidInput(
                f"{self.path}:{number}: can't be read on: {error}",
                hint="get the whole file, and read it again",
            ) from error
        return content

    def _count(self, length: int, number: int) -> None:
        """Notes bytes that were read; raises InvalidInput if there are far more of them than the file has."""
        self._unpacked += length
        packed = self.is_packed and self.size > 0
        if packed and self._unpacked > max(_FREE_BYTES, MAX_RATIO * self.size):
            raise InvalidInput(
                f"{self.path}:{number}: over {MAX_RATIO} times as long as packed", hint="send it unpacked if this is intended"
            )

    def _begun(self, content: bytes) -> bytes:
        """The first line without a byte order mark; raises InvalidInput where the file is no UTF-8 with lines."""
        if kind := foreign_kind(content):
            raise InvalidInput(f"{self.path} is {kind.what}", hint=kind.hint)
        if _UTF16.match(content):
            raise InvalidInput(f"{self.path} is UTF-16", hint="save it as UTF-8, in Excel as CSV UTF-8")
        if b"\n" not in content and b"\r" in content.rstrip(b"\r"):
            raise InvalidInput(f"{self.path}: its lines end with CR alone", hint="tr '\\r' '\\n' < FILE > NEW")
        return content.removeprefix(_BOM)


def _line(number: int, content: bytes) -> Line:
    if len(content) > MAX_LINE_BYTES:
        return Line(number, "", f"longer than {MAX_LINE_BYTES} bytes")
    if b"\0" in content:
        return Line(number, "", "NUL byte")
    try:
        return Line(number, content.decode())
    except UnicodeDecodeError as error:
        return Line(number, "", f"{NOT_UTF_8}: byte 0x{content[error.start]:02x} at byte {error.start + 1}")
