"""Tables of pairs with named columns: CSV, TSV, Parquet."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import polars as pl
from nbclip.errors import InvalidInput

REQUIRED = ("image_id", "file", "caption")
SPLITS = {"train": "train", "valid": "valid", "validation": "valid", "val": "valid", "test": "test", "retrieval": "retrieval"}
"""Splits by what files and folders of them are called."""
Values = dict[str, str | None]
"""A row by column; `file` is absolute."""


def read_csv(path: Path, named: Mapping[str, str]) -> Iterator[tuple[int, Values]]:
    """Last line and values of each row of a `.csv`, `.tsv` or `.tab`, plain or `.gz`."""
    name = path.name.lower()
    delimiter = "\t" if name.removesuffix(".gz").endswith((".tsv", ".tab")) else ","
    try:
        with (gzip.open if name.endswith(".gz") else open)(path, "rt", encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            _check_columns(f"{path}:1", reader.fieldnames or (), named)
            for row in reader:
                if None in row or None in row.values():
                    raise InvalidInput(
                        f"{path}:{reader.line_num}: the row and the header differ in fields", hint="is a quote left open?"
                    )
                yield reader.line_num, _renamed(row, path.parent, named)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 at byte {error.start}", hint="save the file as UTF-8") from error
    except csv.Error as error:
        raise InvalidInput(f"{path}: {error}", hint="is a quote left open?") from error
    except (EOFError, gzip.BadGzipFile) as error:
        raise InvalidInput(f"{path}: {error}", hint="fetch the whole file again") from error


def read_parquet(path: Path, named: Mapping[str, str]) -> Iterator[tuple[int, Values]]:
    """Number (from 1) and values of each row; values are made text, lists are joined by spaces."""
    try:
        frame = pl.read_parquet(path)
    except pl.exceptions.PolarsError as error:
        raise InvalidInput(f"{path}: not a Parquet file: {str(error).splitlines()[0]}", hint="was it cut off?") from error
    _check_columns(str(path), frame.columns, named)
    _check_types(path, frame.schema, named)
    texts = frame.select(_as_text(name, kind) for name, kind in frame.schema.items() if not isinstance(kind, _NO_TEXT))
    for number, row in enumerate(texts.iter_rows(named=True), 1):
        yield number, _renamed(row, path.parent, named)


_NO_TEXT = (pl.Binary, pl.Struct, pl.Object)
_LISTS = (pl.List, pl.Array)


def _check_types(path: Path, schema: Mapping[str, pl.DataType], named: Mapping[str, str]) -> None:
    """Refuses images inside the table, and captions that are several."""
    for name in REQUIRED:
        kind = schema[named[name]]
        if isinstance(kind, (*_NO_TEXT, *_LISTS)):
            raise InvalidInput(
                f"{path}: column {named[name]} is {kind}, not text",
                hint="images are read from files, not from within Parquet: write them out, or make shards (.tar)"
                if isinstance(kind, _NO_TEXT)
                else "a pair has one caption: explode the list",
            )


def _as_text(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if isinstance(kind, pl.Array):
        column = column.arr.to_list()
    return column.cast(pl.List(pl.String)).list.join(" ") if isinstance(kind, _LISTS) else column.cast(pl.String)


def _renamed(row: Mapping[str, str | None], folder: Path, named: Mapping[str, str]) -> Values:
    """Under our names; other columns keep theirs."""
    extra = {name: value for name, value in row.items() if name not in named and name not in named.values()}
    values = {ours: row.get(theirs) for ours, theirs in named.items()}
    file = (values["file"] or "").strip()
    return {**extra, **values, "file": str((folder / file).absolute()) if file else None}


def _check_columns(place: str, columns: Sequence[str], named: Mapping[str, str]) -> None:
    missing = [named[name] for name in REQUIRED if named[name] not in columns]
    if missing:
        raise InvalidInput(
            f"{place}: no column {', '.join(missing)} among: {', '.join(columns) or 'nothing'}",
            hint="map your names: --set data.columns.image_id=ID"
            if len(columns) > 1
            else "columns are separated by commas in .csv, by tabs in .tsv",
        )
