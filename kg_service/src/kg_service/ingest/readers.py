"""Files of images and captions to items, row by row.

    csv, tsv    header; columns by name (`ALIASES`, or as `ReadOptions.columns` says), quoting as in RFC 4180
    roco        `ID<TAB>caption`, no header, no quoting
    ndjson      one `ImageItem` a line

A row that can't be used is yielded as a BadRow, and reading continues after it.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from nbclip.errors import InvalidId, InvalidInput
from nbclip.ids import check_cui
from nbclip.schemas.images import ImageItem
from pydantic import ValidationError

from kg_service.ingest.lines import Line, TextFile
from kg_service.vocabulary.model import BadRow

Format = Literal["csv", "tsv", "roco", "ndjson"]
ALIASES: dict[str, tuple[str, ...]] = {
    "image_id": ("image_id", "id"),
    "caption": ("caption",),
    "cuis": ("cuis", "cui"),
    "dataset": ("dataset", "source"),
    "split": ("split",),
}
_SUFFIXES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".txt": "roco",
    ".ndjson": "ndjson",
    ".jsonl": "ndjson",
}
_MAX_RECORD_LINES = 1_000
_SEPARATORS = re.compile(r"[\s;|,]+")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a file is read.

    Attributes:
        format: default: by the file's name.
        columns: field of `ImageItem` to column name, for files with a header; unnamed fields go by `ALIASES`.
        cuis: a companion file of rows `ID, CUI, CUI, ...` (tab-separated, or .csv), with or without header; an image
            that it lacks has its caption linked.
        dataset: of rows that name none.
        split: of rows that name none.
        relink: link the captions of all rows, also of those that bring CUIs.
    """

    format: Format | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    cuis: Path | None = None
    dataset: str | None = None
    split: str | None = None
    relink: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """An item and the line on which it begins, counted from 1."""

    line: int
    item: ImageItem


@dataclass(frozen=True, slots=True)
class Record:
    """A row's values by field, or why it has none."""

    line: int
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""


def read_items(source: TextFile, options: ReadOptions) -> Iterator[Row | BadRow]:
    """Yields the rows of a file in order, bad rows of the companion file first.

    Raises:
        InvalidInput: the format is not known, the header lacks a column, or the file breaks off.
    """
    kind = options.format or format_of(source.path)
    companion: dict[str, list[str]] = {}
    if options.cuis is not None:
        with TextFile(options.cuis) as cuis:
            yield from read_companion(cuis, companion)
    for record in records(source, kind, options.columns):
        if record.problem:
            yield BadRow(str(source.path), record.line, record.problem)
            continue
        try:
            yield Row(record.line, _item(record.values, companion, options))
        except ValidationError as error:
            yield BadRow(str(source.path), record.line, reason(error))


def format_of(path: Path) -> Format:
    """The format by the file's name.

    Raises:
        InvalidInput: the name says none.
    """
    name = path.with_suffix("") if path.suffix == ".gz" else path
    known = _SUFFIXES.get(name.suffix.lower())
    if known is None:
        raise InvalidInput(f"{path}: unknown kind of file", hint=f"say which format it has: {', '.join(get_args(Format))}")
    return known


def records(
    source: TextFile, kind: Format, columns: Mapping[str, str], required: Sequence[str] = ("image_id", "caption")
) -> Iterator[Record]:
    """The rows of a file as they stand; a table must have the columns that are `required`.

    Raises:
        InvalidInput: the header lacks a column, or the file breaks off.
    """
    if kind == "ndjson":
        return _json_records(source)
    if kind == "roco":
        return _roco_records(source)
    return _table_records(source, "," if kind == "csv" else "\t", columns, required)


def _json_records(source: TextFile) -> Iterator[Record]:
    for line in source:
        if line.problem or line.text.strip():
            yield Record(line.number, {"json": line.text}, line.problem)


def _roco_records(source: TextFile) -> Iterator[Record]:
    for line in source:
        image_id, tab, caption = line.text.rstrip("\r\n").partition("\t")
        if line.problem or tab:
            yield Record(line.number, {"image_id": image_id.strip(), "caption": caption.strip()}, line.problem)
        elif image_id.strip():
            yield Record(line.number, problem="no tab between image id and caption")


def _table_records(source: TextFile, delimiter: str, columns: Mapping[str, str], required: Sequence[str]) -> Iterator[Record]:
    rows = _rows(iter(source), delimiter)
    header = next(rows, None)
    if header is None or isinstance(header[1], str):
        raise InvalidInput(f"{source.path}: no header", hint="the first line names the columns; or read it as format roco")
    positions = _positions(source.path, header[1], columns, required)
    for line, fields in rows:
        if isinstance(fields, str):
            yield Record(line, problem=fields)
        elif len(fields) != len(header[1]):
            yield Record(line, problem=f"{len(fields)} fields where the header has {len(header[1])}")
        else:
            yield Record(line, {name: fields[position] for name, position in positions.items()})


def _positions(path: Path, header: list[str], columns: Mapping[str, str], required: Sequence[str]) -> dict[str, int]:
    """Where in the header each field of `ImageItem` is."""
    unknown = sorted(columns.keys() - ALIASES.keys())
    if unknown:
        raise InvalidInput(f"no such field: {', '.join(unknown)}", hint=f"fields are {', '.join(ALIASES)}")
    names = [name.strip().casefold() for name in header]
    positions = {}
    for name, aliases in ALIASES.items():
        wanted = (columns[name].strip().casefold(),) if name in columns else aliases
        found = next((alias for alias in wanted if alias in names), None)
        if found is not None:
            positions[name] = names.index(found)
        elif name in columns or name in required:
            raise InvalidInput(
                f"{path}:1: no column {' or '.join(wanted)} in the header: {', '.join(header):.200}",
                hint=f"say which it is, --column {name}=…, or read a file without header as format roco",
            )
    return positions


def _rows(lines: Iterator[Line], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """First line and fields of each row, or what is wrong with it; blank lines are left out.

    A row with an unclosed quote is given up at its first line and reading goes on at the next one, so that it takes no good
    row with it.
    """
    ahead: deque[Line] = deque()
    while True:
        taken: list[Line] = []
        try:
            fields = next(csv.reader(_row_lines(ahead, lines, taken), delimiter=delimiter, strict=True))
        except StopIteration:
            return
        except csv.Error as error:
            ahead.extendleft(reversed(taken[1:]))
            yield taken[0].number, f"not a row of fields: {error}"
            continue
        if taken[0].problem:
            yield taken[0].number, taken[0].problem
        elif fields:
            yield taken[0].number, fields


def _row_lines(ahead: deque[Line], lines: Iterator[Line], taken: list[Line]) -> Iterator[str]:
    """The text of the lines of one row, noted in `taken`; ends before a damaged line, which is a row of its own."""
    while len(taken) < _MAX_RECORD_LINES:
        line = ahead.popleft() if ahead else next(lines, None)
        if line is None:
            return
        if line.problem and taken:
            ahead.appendleft(line)
            return
        taken.append(line)
        yield line.text


def read_companion(source: TextFile, cuis_by_id: dict[str, list[str]]) -> Iterator[BadRow]:
    """Fills `cuis_by_id`; yields the rows that can't be used."""
    delimiter = "," if ".csv" in source.path.suffixes else "\t"
    for line, fields in _rows(iter(source), delimiter):
        if isinstance(fields, str):
            yield BadRow(str(source.path), line, fields)
        elif fields[0].strip().casefold() not in ALIASES["image_id"]:
            try:
                cuis_by_id[fields[0].strip()] = [check_cui(cui) for cui in split_cuis(" ".join(fields[1:]))]
            except InvalidId as error:
                yield BadRow(str(source.path), line, str(error))


def _item(values: dict[str, Any], companion: Mapping[str, list[str]], options: ReadOptions) -> ImageItem:
    """The item; raises pydantic's ValidationError."""
    if "json" in values:
        item = ImageItem.model_validate_json(values["json"])
        values = item.model_dump()
    else:
        values = {name: value.strip() for name, value in values.items()}
        values["cuis"] = split_cuis(values.get("cuis", "")) or None
    cuis = values["cuis"] if values["cuis"] is not None else companion.get(values["image_id"])
    defaults = {"dataset": values.get("dataset") or options.dataset, "split": values.get("split") or options.split}
    return ImageItem.model_validate(values | {"cuis": None if options.relink else cuis} | defaults)


def split_cuis(text: str) -> list[str]:
    """CUIs separated by white space, commas, semicolons or bars."""
    return [cui for cui in _SEPARATORS.split(text) if cui]


def reason(error: ValidationError) -> str:
    """What is wrong with a row, in one line."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in detail["loc"])
        problems.append(f"{place}: {detail['msg']}" if place else detail["msg"])
    return "; ".join(problems[:3]).replace("Value error, ", "")
