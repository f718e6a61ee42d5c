"""Image-caption pairs from CSV or TSV files with named columns."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from nbclip_shared.errors import InvalidId, InvalidInput, NotFound
from nbclip_shared.ids import check_image_id

REQUIRED = ("image_id", "file", "caption")
PLACE = ("csv", "line")
"""Columns that `read_dataset` adds: where a row was read."""


@dataclass(frozen=True, slots=True)
class Dataset:
    """Image-caption pairs in the order of their files.

    Attributes:
        frame: strings in `image_id`, `file` (absolute path), `caption`, `split` (null where the files have none), `csv`, in
            `line` the number of the row's last line, and every other column as read, null where empty.
    """

    frame: pl.DataFrame

    def __len__(self) -> int:
        return self.frame.height

    @property
    def ids(self) -> list[str]:
        """Image ids, unique."""
        return self.frame["image_id"].to_list()

    @property
    def captions(self) -> list[str]:
        """Captions, none of them empty."""
        return self.frame["caption"].to_list()

    @property
    def files(self) -> list[Path]:
        """Absolute paths of the pictures; they need not exist."""
        return [Path(file) for file in self.frame["file"]]

    def labels(self, column: str) -> list[str | None]:
        """An extra column's values, None where unknown.

        Raises:
            NotFound: no file has the column.
        """
        if column not in self.frame.columns:
            raise NotFound(f"the data have no column {column!r}", hint=f"there are: {', '.join(self.frame.columns)}")
        return self.frame[column].to_list()

    def take(self, rows: Sequence[int]) -> Dataset:
        """The dataset of these rows, in this order."""
        return Dataset(self.frame[list(rows)])

    def digest(self) -> str:
        """SHA-256 (hexadecimal) of ids and captions in their order: what a batch plan and its targets depend on."""
        text = "".join(f"{image_id}\t{caption}\n" for image_id, caption in zip(self.ids, self.captions, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()

    def place(self, row: int) -> str:
        """`file:line` of a row, for messages."""
        return "{}:{}".format(*self.frame.select(PLACE).row(row))


def read_dataset(csv_paths: Sequence[Path], split: str | None = None, *, columns: Mapping[str, str] | None = None) -> Dataset:
    """Reads several CSV (or, by suffix, TSV) files as one dataset; pictures are relative to their file's folder.

    Args:
        csv_paths: files with a header line and the columns `image_id`, `file`, `caption`, and for splits `split`.
        split: keep this split only; None keeps all rows.
        columns: the files' names of those columns, where they are others: `{"image_id": "ID"}`.

    Raises:
        InvalidInput: a missing file or column, a bad, doubled or empty id or caption (named by file and line), an empty split.
    """
    named = {name: (columns or {}).get(name, name) for name in (*REQUIRED, "split")}
    if not csv_paths:
        raise InvalidInput("no data given", hint="name at least one CSV file: --data metadata.csv")
    frames = [pl.DataFrame(_rows(Path(path), named), infer_schema_length=None) for path in csv_paths]
    dataset = Dataset(pl.concat(frames, how="diagonal_relaxed"))
    _refuse_duplicates(dataset)
    return dataset if split is None else _of_split(dataset, split)


def _rows(path: Path, named: Mapping[str, str]) -> list[dict[str, str | int | None]]:
    """The file's rows under the canonical column names."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t" if path.suffix in {".tsv", ".tab"} else ",")
            _check_header(path, reader.fieldnames or (), named)
            rows = [
                {**_row(row, f"{path}:{reader.line_num}", path.parent, named), "csv": str(path), "line": reader.line_num}
                for row in reader
            ]
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}", hint="name a CSV file with a header line") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{path}: not UTF-8 at byte {error.start}", hint="save the file as UTF-8") from error
    except csv.Error as error:
        raise InvalidInput(f"{path}: {error}", hint="is a quote left open?") from error
    if not rows:
        raise InvalidInput(f"{path}: no row under the header", hint="is this the right file?")
    return rows


def _row(row: Mapping[str, str], place: str, folder: Path, named: Mapping[str, str]) -> dict[str, str | None]:
    if None in row or None in row.values():
        raise InvalidInput(f"{place}: the row has not as many fields as the header", hint="is a quote left open?")
    extra = {name: value.strip() or None for name, value in row.items() if name not in named and name not in named.values()}
    values = {ours: row.get(theirs, "").strip() or None for ours, theirs in named.items()}
    empty = [name for name in REQUIRED if values[name] is None]
    if empty:
        raise InvalidInput(f"{place}: empty {empty[0]}", hint="fill it or drop the row")
    try:
        check_image_id(str(values["image_id"]))
    except InvalidId as error:
        raise InvalidInput(f"{place}: {error.message}", hint=error.hint) from error
    return {**extra, **values, "file": str((folder / str(values["file"])).absolute())}


def _check_header(path: Path, header: Sequence[str], named: Mapping[str, str]) -> None:
    missing = [named[name] for name in REQUIRED if named[name] not in header]
    if missing:
        raise InvalidInput(
            f"{path}:1: no column {', '.join(missing)} among: {', '.join(header) or 'nothing'}",
            hint="map your names: --set data.columns.image_id=ID",
        )


def _refuse_duplicates(dataset: Dataset) -> None:
    doubled = dataset.frame["image_id"].is_duplicated()
    if doubled.any():
        first = dataset.frame.with_row_index("row").filter(doubled)
        same = first.filter(pl.col("image_id") == first["image_id"][0])["row"].to_list()
        raise InvalidInput(
            f"{dataset.place(same[1])}: image_id {first['image_id'][0]!r} was already at {dataset.place(same[0])}",
            hint="ids are unique over all files of a run",
        )


def _of_split(dataset: Dataset, split: str) -> Dataset:
    kept = Dataset(dataset.frame.filter(pl.col("split") == split))
    if not len(kept):
        found = sorted(value for value in dataset.frame["split"].unique() if value is not None)
        raise InvalidInput(f"no row of split {split!r}", hint=f"splits there are: {', '.join(found) or 'none'}")
    return kept
