"""Rows of files as the values of a pair, or why they are none."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import polars as pl
from nbclip.errors import InvalidInput, NotFound
from nbclip.files.addresses import Address, Location, location
from nbclip.files.rows import Row, as_text, problem_of

REQUIRED = ("image_id", "file", "caption")
PLACE = ("read_from", "line")
"""Columns that are added: where a row was read."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
Values = dict[str, str | int | None]
"""A pair by column: texts, null where empty, and the number `line`."""


def usable(rows: Iterable[Row]) -> Iterator[Values | str]:
    """Each row's values under the names of a dataset's columns, or `file:line: reason` of one that can't be used."""
    for row in rows:
        problem = problem_of(row, REQUIRED) or _unreachable(row)
        yield f"{row.file}:{row.number}: {problem}" if problem else _values(row)


def columns_of(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """All columns of all rows, in the order in which they come up."""
    keys = dict.fromkeys(map(tuple, rows))
    return list(dict.fromkeys((*REQUIRED, "split", *PLACE, *(name for each in keys for name in each))))


def refuse_bad_rows(bad: int, good: int, first: str, max_bad_row_share: float) -> None:
    """Raises InvalidInput where too large a share of the rows can't be used."""
    if bad > max_bad_row_share * (bad + good):
        raise InvalidInput(
            f"{bad} of {bad + good} rows can't be used, first: {first}",
            hint="`nbclip validate` lists them; data.max_bad_row_share is the limit",
        )


def digested(ids: Iterable[str], captions: Iterable[str]) -> bytes:
    """The bytes that `Dataset.digest` is of."""
    return "".join(f"{image_id}\t{caption}\n" for image_id, caption in zip(ids, captions, strict=True)).encode()


def refuse_no_column(column: str, names: Sequence[str]) -> None:
    """Raises NotFound where it is none of the data's."""
    if column not in names:
        raise NotFound(f"the data have no column {column!r}", hint=f"there are: {', '.join(names)}")


def refuse_no_split(split: str, splits: Collection[str | None]) -> None:
    """Raises InvalidInput where it is none of the data's."""
    if split not in splits:
        found = ", ".join(sorted(name for name in splits if name is not None))
        hint = f"splits there are: {found}" if found else "--set data.train_split=null data.valid_split=null takes all"
        raise InvalidInput(f"no row of split {split!r}", hint=hint)


def refuse_duplicates(frame: pl.DataFrame) -> None:
    """Raises InvalidInput, naming both places, if an image id is there twice."""
    doubled = frame.filter(frame["image_id"].is_duplicated())
    if doubled.height:
        same = doubled.filter(pl.col("image_id") == doubled["image_id"][0])
        first, second = ("{}:{}".format(*place) for place in same.select(PLACE).head(2).iter_rows())
        raise InvalidInput(
            f"{second}: image_id {doubled['image_id'][0]!r} was already at {first}", hint="ids are unique over all files of a run"
        )


def _values(row: Row) -> Values:
    values = {name: value if isinstance(value, str) else as_text(value) for name, value in row.values.items()}
    file = _place(_folder(row.file), str(values["file"]))
    return {"split": None, **values, "file": file, "read_from": row.file, "line": row.number}


def _unreachable(row: Row) -> str:
    """Why an image's file can't be a path of this machine, or a place in a file that was read; empty if it may be one."""
    file = str(row.values["file"])
    if _ADDRESS.match(file) and not file.startswith(f"{row.file}#"):
        # What follows may be a signature.
        return f"file is an address, and no path of a downloaded image: {file.partition('?')[0]:.80}"
    return f"file is a path of another machine, under Windows: {file:.80}" if _DRIVE.match(file) else ""


def _place(folder: Location, file: str) -> str:
    if isinstance(folder, Address):
        return file if _ADDRESS.match(file) else f"{folder}/{file}"
    return _path(folder, file)


def _path(folder: Path, file: str) -> str:
    """A file's path; with slashes where it was written under Windows, and in the normal form that its name has on disk."""
    path = folder / file
    if ("\\" not in file and file.isascii()) or path.exists():
        return str(path)
    plain = file.replace("\\", "/")
    forms = (folder / unicodedata.normalize(form, plain) for form in ("NFC", "NFD"))
    return str(next((other for other in forms if other.exists()), folder / plain))


@cache
def _folder(file: str) -> Location:
    return location(file).absolute().parent
