"""Files of captions to items, row by row; the formats are those of `nbclip.files`.

A row that can't be used is yielded as a BadRow, and reading continues after it. A row needs a caption, unless it brings CUIs.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from nbclip.errors import InvalidInput
from nbclip.files.companions import matched, read_companion
from nbclip.files.layout import Format, Layout
from nbclip.files.notes import warn
from nbclip.files.reading import Rows
from nbclip.files.rows import Row as FileRow
from nbclip.files.rows import problem_of
from nbclip.schemas.base import message_of
from nbclip.schemas.images import ImageItem
from pydantic import ValidationError

from kg_service.vocabulary.model import BadRow

FIELDS = ("image_id", "caption", "cuis", "dataset", "split")


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a file is read.

    Attributes:
        format: default: by the file's name and content.
        columns: field of `FIELDS` to column, as `nbclip.files.layout.Layout` has them.
        cuis: a companion file of CUIs (`nbclip.files.companions`); an image that it lacks has its caption linked.
        dataset: of rows that name none.
        split: of rows that name none.
        relink: link the captions of all rows, also of those that bring CUIs.
        separator: of a table, by name or as it is; default: by the header.
        bulk: as the service reads what is sent to it: rows without a caption are taken too, as images without a concept, which
            they were in 0.1.0; objects with a key that looks misspelt are bad rows, as nobody would see a warning.
    """

    format: Format | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    cuis: Path | None = None
    dataset: str | None = None
    split: str | None = None
    relink: bool = False
    separator: str | None = None
    bulk: bool = False

    def layout(self, required: tuple[str, ...] = ("image_id", "caption"), *, extras: bool = False) -> Layout:
        """How the files' rows are read.

        Raises:
            InvalidInput: a column is chosen for what is no field, or is not read.
        """
        if self.relink and (self.cuis is not None or "cuis" in self.columns):
            raise InvalidInput("every caption is to be linked, and CUIs are given", hint="leave out --relink, or the CUIs")
        fields = tuple(name for name in FIELDS if not (self.relink and name == "cuis"))
        return Layout(fields, required, self.columns, extras, self.format, self.separator, refuse_misspelt=self.bulk)


@dataclass(frozen=True, slots=True)
class Row:
    """An item, its file, and the line on which it begins, counted from 1."""

    file: str
    line: int
    item: ImageItem


def read_items(rows: Rows, options: ReadOptions) -> Generator[Row | BadRow, None, None]:
    """Yields rows in order, bad rows of the companion file first.

    Raises:
        InvalidInput: the format is not known, the header lacks a column, the companion file has no id of the rows, or a file
            breaks off.
    """
    companion: dict[str, list[str]] = {}
    if options.cuis is not None:
        companion, bad = companion_of(rows, options.cuis, "and their captions are linked")
        yield from bad
    unused = 0
    for row in rows:
        cuis = None if options.relink else row.values.get("cuis")
        given = companion.get(row.values.get("image_id") or "")
        unused += cuis is not None and given is not None
        yield _item(row, given if cuis is None else cuis, options)
    for path in rows.empty:
        warn(f"{path}: no rows")
    if unused:
        warn(f"{options.cuis}: {unused} rows bring CUIs of their own, which are used instead")


def companion_of(rows: Rows, path: Path, otherwise: str) -> tuple[dict[str, list[str]], list[BadRow]]:
    """A companion file's CUIs by the rows' ids, and its bad rows.

    Args:
        rows: read once for their ids.
        path: the companion file.
        otherwise: what becomes of images that it lacks.

    Raises:
        InvalidInput: it can't be read, or has no id of the rows.
    """
    pipe = next((each for each in rows.paths if isinstance(each, Path) and not (each.is_file() or each.is_dir())), None)
    if pipe is not None:
        raise InvalidInput(f"{pipe} can be read once only, and CUIs of a companion file need its ids first", hint="give a file")
    companion = read_companion(path)
    chosen = {name: column for name, column in rows.layout.columns.items() if name == "image_id"}
    layout = replace(rows.layout, fields=("image_id",), required=("image_id",), columns=chosen, extras=False)
    ids = dict.fromkeys(image_id for row in Rows(rows.paths, layout) if (image_id := row.values.get("image_id")))
    return matched(companion, ids, otherwise), [bad_row(row, row.problem) for row in companion.bad]


def bad_row(row: FileRow, problem: str) -> BadRow:
    """A row that can't be used."""
    return BadRow(row.file, row.number, problem)


def reason(error: ValidationError) -> str:
    """What is wrong with a row, in one line."""
    problems = []
    for detail in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in detail["loc"])
        problems.append(f"{place}: {message_of(detail)}" if place else message_of(detail))
    return "; ".join(problems[:3])


def _item(row: FileRow, cuis: list[str] | None, options: ReadOptions) -> Row | BadRow:
    if options.bulk and cuis is None and not row.values.get("caption"):
        cuis = []
    problem = problem_of(row, ("caption",) if cuis is None else ())
    if problem:
        return bad_row(row, problem)
    values = row.values
    try:
        item = ImageItem(
            image_id=values["image_id"],
            caption=values.get("caption") or "",
            cuis=cuis,
            dataset=values.get("dataset") or options.dataset,
            split=values.get("split") or options.split,
        )
    except ValidationError as error:
        return bad_row(row, reason(error))
    return Row(row.file, row.number, item)
