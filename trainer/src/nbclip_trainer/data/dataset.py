"""Image-caption pairs from tables with named columns, WebDataset shards, and folders as ROCO has them."""

from __future__ import annotations

import hashlib
import logging
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import polars as pl
from nbclip.errors import InvalidInput, NotFound
from nbclip.files.layout import LABEL_FIELDS, Layout, Spelling
from nbclip.files.reading import Rows
from nbclip.files.rows import MAX_BAD_ROW_SHARE, Row, as_text, problem_of

from nbclip_trainer.data.settings import Columns, DataSettings

_log = logging.getLogger(__name__)
BAD_ROWS_NAMED = 20
"""Of rows that were left out, how many the log and a run's facts name."""
PLACE = ("read_from", "line")
"""Columns that `read_dataset` adds: where a row was read."""
FIELDS = ("image_id", "file", "caption", "split", "cuis", *LABEL_FIELDS)
REQUIRED = ("image_id", "file", "caption")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]|\\\\")
_SPELLING = Spelling("--set data.columns.{field}={column}", "--set data.separator={name}", "--set data.format={name}")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Image-caption pairs in the order of their files.

    Attributes:
        frame: strings in `image_id`, `file` (absolute path), `caption`, `split` (null where there is none), `read_from` (file),
            in `line` the number of the row's first line (of the row in Parquet, of the pair in shards), and every other column as
            read, null where empty.
        bad_rows: `file:line: reason` of each row that was left out when the files were read.
    """

    frame: pl.DataFrame
    bad_rows: tuple[str, ...] = ()

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
        """Absolute paths of the images, as `open_image` takes them; they need not exist."""
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
        return replace(self, frame=self.frame[list(rows)])

    def of_split(self, split: str | None) -> Dataset:
        """The rows of this split; None: all. Raises InvalidInput if there are none."""
        if split is None:
            return self
        kept = replace(self, frame=self.frame.filter(pl.col("split") == split))
        if not len(kept):
            found = sorted(value for value in self.frame["split"].unique() if value is not None)
            hint = (
                f"splits there are: {', '.join(found)}"
                if found
                else "--set data.train_split=null data.valid_split=null takes all"
            )
            raise InvalidInput(f"no row of split {split!r}", hint=hint)
        return kept

    def digest(self) -> str:
        """SHA-256 (hexadecimal) of ids and captions in their order: what a batch plan and its targets depend on."""
        text = "".join(f"{image_id}\t{caption}\n" for image_id, caption in zip(self.ids, self.captions, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()

    def place(self, row: int) -> str:
        """`file:line` of a row, for messages."""
        return "{}:{}".format(*self.frame.select(PLACE).row(row))

    def warn_of_bad_rows(self) -> None:
        """Counts the rows that were left out in the log, and names the first."""
        for bad in self.bad_rows[:BAD_ROWS_NAMED]:
            _log.warning("left out: %s", bad)
        if self.bad_rows:
            _log.warning("%d rows left out; `nbclip validate` lists them", len(self.bad_rows))


def read_dataset(
    sources: Sequence[Path],
    split: str | None = None,
    *,
    layout: Layout | None = None,
    max_bad_row_share: float = MAX_BAD_ROW_SHARE,
) -> Dataset:
    """Reads several files or folders as one dataset; a table's images are relative to its folder.

    Args:
        sources: what `nbclip.files.reading` reads: tables, objects, Parquet, shards, and folders of these or of ROCO, with the
            fields `image_id`, `file`, `caption`, and for splits `split`.
        split: keep this split only; None keeps all rows.
        layout: how they are read (`layout_of`).
        max_bad_row_share: greatest share of rows that may be left out because they can't be used.

    Raises:
        InvalidInput: a missing file or column, too many rows that can't be used, an id that is there twice, an empty split.
    """
    if not sources:
        raise InvalidInput("no data given", hint="name at least one file or folder: --data metadata.csv")
    good: list[dict[str, str | int | None]] = []
    bad: list[str] = []
    rows = Rows(sources, layout or layout_of(DataSettings()))
    for row in rows:
        problem = problem_of(row, REQUIRED) or _unreachable(str(row.values["file"]))
        bad.append(f"{row.file}:{row.number}: {problem}") if problem else good.append(_values(row))
    if rows.empty:
        raise InvalidInput(f"{rows.empty[0]}: no rows", hint="is this the right file?")
    _refuse_bad(bad, len(good), max_bad_row_share)
    dataset = Dataset(pl.DataFrame(good, schema=_schema(good)), tuple(bad))
    _refuse_duplicates(dataset)
    return dataset.of_split(split)


def layout_of(settings: DataSettings) -> Layout:
    """How the files of these settings are read."""
    usual = Columns()
    columns = {name: column for name, column in settings.columns.model_dump().items() if column != getattr(usual, name)}
    return Layout(FIELDS, REQUIRED, columns, True, settings.format, settings.separator, _SPELLING)


def _values(row: Row) -> dict[str, str | int | None]:
    """A row's values as text, under the names of `Dataset.frame`."""
    values = {name: value if isinstance(value, str) else as_text(value) for name, value in row.values.items()}
    file = _path(_folder(row.file), str(values["file"]))
    return {"split": None, **values, "file": file, "read_from": row.file, "line": row.number}


def _unreachable(file: str) -> str:
    """Why an image's file can't be a path of this machine; empty if it may be one."""
    if _ADDRESS.match(file):
        return f"file is an address, and no path of a downloaded image: {file:.80}"
    return f"file is a path of another machine, under Windows: {file:.80}" if _DRIVE.match(file) else ""


def _path(folder: Path, file: str) -> str:
    """A file's path; with slashes where it was written under Windows, and in the normal form that its name has on disk."""
    path = folder / file
    if ("\\" not in file and file.isascii()) or path.exists():
        return str(path)
    plain = file.replace("\\", "/")
    forms = (folder / unicodedata.normalize(form, plain) for form in ("NFC", "NFD"))
    return str(next((other for other in forms if other.exists()), folder / plain))


@cache
def _folder(file: str) -> Path:
    return Path(file).absolute().parent


def _schema(rows: Sequence[Mapping[str, object]]) -> dict[str, pl.DataType]:
    """All columns of all rows, in the order in which they come up; all but `line` are texts."""
    keys = dict.fromkeys(map(tuple, rows))
    names = dict.fromkeys((*REQUIRED, "split", *PLACE, *(name for each in keys for name in each)))
    return {name: pl.Int64() if name == "line" else pl.String() for name in names}


def _refuse_bad(bad: Sequence[str], good: int, max_bad_row_share: float) -> None:
    if len(bad) > max_bad_row_share * (len(bad) + good):
        raise InvalidInput(
            f"{len(bad)} of {len(bad) + good} rows can't be used, first: {bad[0]}",
            hint="`nbclip validate` lists them; data.max_bad_row_share is the limit",
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
