"""Files, folders and patterns to rows, whatever their format.

    csv, tsv     header; columns by name, quoting as in RFC 4180; commas, tabs, semicolons or bars separate, as the header tells
    roco         `ID<TAB>caption`, no header, no quoting
    ndjson       one object a line
    parquet      columns by name; images may stand in it, as bytes or as the Hugging Face hub has them
    webdataset   shards (.tar): `shards.py`

Text may be packed with gzip. A folder is one of ROCO or ROCOv2 (`folders.py`), or has several such files. A row that can't be
used has a `problem`, and reading continues after it. How a file is to be read is a `Layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain, takewhile
from pathlib import Path
from typing import get_args

from nbclip.errors import InvalidInput
from nbclip.files.addresses import Address, Location
from nbclip.files.delimited import is_table, read_roco, read_table
from nbclip.files.folders import read_part, roco_parts
from nbclip.files.layout import Format, Layout
from nbclip.files.lines import AS_UTF_8, NOT_UTF_8, Line, Span, TextFile
from nbclip.files.ndjson import AN_OBJECT_A_LINE, ONE_VALUE, is_one_value, object_of, read_ndjson
from nbclip.files.notes import warn
from nbclip.files.rows import Row
from nbclip.files.shards import read_shard
from nbclip.files.sources import format_of, size_in_bytes, sources_of

_CONTAINERS = ("webdataset", "parquet")
_AT_ONCE = 32
"""Addresses that are asked for their size at once."""


class Rows:
    """The rows of files, in their order; each iteration reads them anew.

    Args:
        paths: files, folders and patterns (`sources_of`).
        layout: how they are read.
        span: of a single file, the rows that are read; default: all.

    Attributes:
        paths: the files and folders of ROCO that are read.
        size: their bytes.
        empty: those in which no row was found, good or bad.

    Raises:
        InvalidInput: when made, nothing is there of a name; when read, a file can't be read as a whole.
    """

    def __init__(self, paths: Iterable[Location], layout: Layout, span: Span | None = None) -> None:
        self.paths = sources_of(paths)
        self.layout = layout
        self._span = span
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            self._sizes = list(pool.map(size_in_bytes, self.paths))
        self._starts = list(accumulate(self._sizes, initial=0))
        self.size = self._starts[-1]
        self.empty: list[Location] = []
        self._done = 0
        self._share = 0.0
        self._position: Callable[[], int] = int

    @property
    def position(self) -> int:
        """Bytes taken so far, of `size`; packed bytes where files are packed; 0 for a pipe."""
        return self._done + self._position()

    def __iter__(self) -> Iterator[Row]:
        self.empty = []
        for number in range(len(self.paths)):
            with self.at_hand(number):
                yield from self.of(number)

    @contextmanager
    def at_hand(self, number: int) -> Iterator[None]:
        """One of `paths`; what is no text is copied from its address, since it is read more than once, and in any order."""
        path, size, self._share = self.paths[number], self._sizes[number], 0.0
        self._done = self._starts[number]
        self._position = partial(self._of_share, size)
        is_copied = isinstance(path, Address) and (self.layout.format or format_of(path)) in _CONTAINERS
        with path.copied(self._note_share) if isinstance(path, Address) and is_copied else nullcontext():
            yield
        self._done, self._position = self._starts[number + 1], int

    def of(self, number: int) -> Iterator[Row]:
        """The rows of one of `paths`, which is at hand."""
        path, count = self.paths[number], 0
        for row in self._folder(path) if isinstance(path, Path) and path.is_dir() else self._spanned(path):
            count += 1
            yield row
        if not count:
            self.empty.append(path)

    def _folder(self, path: Path) -> Iterator[Row]:
        parts = roco_parts(path)
        if not parts:
            raise InvalidInput(
                f"{path}: neither ROCO (captions.txt, or SPLIT/radiology/captions.txt) nor ROCOv2 (SPLIT_captions.csv), "
                "and no file that can be read",
                hint="name a table (.csv, .tsv, .parquet), .ndjson, shards (.tar), or a folder of these",
            )
        if self.layout.columns:
            warn(f"{path}: ROCO has no columns to choose; not used here: {', '.join(self.layout.columns)}")
        for part in parts:
            yield from read_part(part, self.layout)

    def _spanned(self, path: Location) -> Iterator[Row]:
        if self._span is None:
            return self._file(path)
        first, stop = self._span.first, self._span.stop
        return (row for row in takewhile(lambda row: row.number < stop, self._file(path)) if row.number >= first)

    def _file(self, path: Location) -> Iterator[Row]:
        kind = self.layout.format or format_of(path)
        # Of what was copied, the copy is what took the time.
        done = self._note_share if isinstance(path, Path) else lambda share: None
        if kind == "webdataset":
            yield from read_shard(path, self._untold(path, kind), done)
        elif kind == "parquet":
            yield from _parquet_reader()(path, self._untold(path, kind), done, self._span)
        else:
            with TextFile(path) as source:
                self._position = lambda: source.position
                yield from self._text(path, iter(source) if self._span is None else source.lines(self._span))

    def _text(self, path: Location, lines: Iterator[Line]) -> Iterator[Row]:
        name, layout = str(path), self.layout
        first = next((line for line in lines if line.problem or line.text.strip()), None)
        kind = layout.format or told_format(path, first, layout)
        lines = lines if first is None else chain([first], lines)
        if kind == "ndjson":
            rows = read_ndjson(name, lines, self._untold(path, kind))
        elif kind == "roco":
            _check_roco(path, layout)
            rows = read_roco(name, lines)
        else:
            usual = "\t" if kind == "tsv" else ","
            chosen = layout.separator or (usual if layout.format else None)
            rows = read_table(name, lines, replace(layout, separator=chosen), usual)
        yield from _with_word_on_encoding(rows)

    def _of_share(self, size: int) -> int:
        return int(self._share * size)

    def _note_share(self, share: float) -> None:
        self._share = share

    def _untold(self, path: Location, kind: Format) -> Layout:
        """The layout of a file that has no separator; raises InvalidInput if one was given."""
        if self.layout.separator:
            raise InvalidInput(f"{path}: a separator was given, and {kind} has none", hint="leave it out")
        return self.layout


def _with_word_on_encoding(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, and a warning at the first that is not UTF-8."""
    told = False
    for row in rows:
        if not told and row.problem.startswith(NOT_UTF_8):
            told = True
            warn(f"{row.file}:{row.number}: {row.problem}; {AS_UTF_8}")
        yield row


def told_format(path: Location, first: Line | None, layout: Layout) -> Format:
    """The format of a text: what its first line is, before what its name says."""
    named = format_of(path)
    text = "" if first is None else first.text
    if text.lstrip().startswith("{") and isinstance(object_of(text), dict):
        return "ndjson"
    if named in (None, "roco") and (layout.separator or (first is not None and is_table(first, layout))):
        return "csv" if named is None else "tsv"
    if named is None:
        hint = f"say which format it has, {layout.spelling.format.format(name='csv')}: {', '.join(get_args(Format))}"
        if first is None:
            raise InvalidInput(f"{path}: empty", hint="is this the right file?")
        if is_one_value(text):
            raise InvalidInput(f"{path}: {ONE_VALUE}", hint=AN_OBJECT_A_LINE)
        raise InvalidInput(f"{path}: unknown kind of file", hint=hint)
    return named


def _check_roco(path: Location, layout: Layout) -> None:
    """Refuses what ROCO's captions can't give: chosen columns, and image files where their folder is not known."""
    if layout.columns:
        raise InvalidInput(
            f"{path}: ROCO has no columns to choose, and {next(iter(layout.columns))} was chosen",
            hint=f"leave it out; or, if the first line is a header, {layout.spelling.format.format(name='tsv')}",
        )
    if "file" in layout.required:
        raise InvalidInput(f"{path}: ROCO's captions name no image files", hint="give the folder, with images/ in it")


def _parquet_reader() -> Callable[[Location, Layout, Callable[[float], None], Span | None], Iterator[Row]]:
    try:
        from nbclip.files.parquet import read_parquet
    except ModuleNotFoundError as error:
        raise InvalidInput(
            "Parquet is read with pyarrow, which is not installed", hint="pip install 'nbclip[parquet]'"
        ) from error
    return read_parquet
