"""Image-caption pairs from tables with named columns, WebDataset shards, and folders as ROCO has them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import polars as pl
from nbclip.errors import InvalidInput
from nbclip.files.addresses import Location, location
from nbclip.files.layout import LABEL_FIELDS, Layout, Spelling
from nbclip.files.reading import Rows
from nbclip.files.rows import MAX_BAD_ROW_SHARE

from nbclip_trainer.data.identity import identities, lines_of
from nbclip_trainer.data.rows import (
    PLACE,
    REQUIRED,
    Values,
    columns_of,
    digested,
    refuse_bad_rows,
    refuse_duplicates,
    refuse_no_column,
    refuse_no_split,
    usable,
)
from nbclip_trainer.data.settings import Columns, DataSettings

_log = logging.getLogger(__name__)
BAD_ROWS_NAMED = 20
"""Of rows that were left out, how many the log and a run's facts name."""
FIELDS = ("image_id", "file", "caption", "split", "cuis", *LABEL_FIELDS)
_SPELLING = Spelling("--set data.columns.{field}={column}", "--set data.separator={name}", "--set data.format={name}")


class Dataset(Protocol):
    """Image-caption pairs, by row in the order of their files: in memory (`FrameDataset`) or in an index (`IndexedDataset`)."""

    @property
    def bad_rows(self) -> Sequence[str]:
        """`file:line: reason` of each row that was left out when the files were read."""
        ...

    @property
    def names(self) -> Sequence[str]:
        """The columns."""
        ...

    def __len__(self) -> int: ...

    def values(self, column: str, rows: Iterable[int]) -> list[Any]:
        """A column's values in some rows, None where there is none or no such column."""
        ...

    def labels(self, column: str) -> Sequence[Any]:
        """A column's values in all rows, None where unknown; raises NotFound where no file has the column."""
        ...

    def of_split(self, split: str | None) -> Self:
        """The rows of this split; None: all. Raises InvalidInput if there are none."""
        ...

    def others(self, split: str) -> Self:
        """The rows of all other splits, and of none."""
        ...

    def frame_of(self, splits: Collection[str]) -> pl.DataFrame:
        """All columns of the rows of these splits, in memory."""
        ...

    def frame_at(self, rows: Sequence[int]) -> pl.DataFrame:
        """All columns of some rows, which ascend, in memory."""
        ...

    def splits(self) -> dict[str | None, int]:
        """How many rows each split has, the largest first."""
        ...

    def filled(self, split: str) -> Collection[str]:
        """The columns that have a value in a row of the split."""
        ...

    def rows_of(self, ids: Collection[str]) -> dict[str, int]:
        """The row of each of these images, as far as it is here."""
        ...

    def digest(self) -> str:
        """SHA-256 (hexadecimal) of ids and captions in their order: what a batch plan and its targets depend on."""
        ...

    def images_digest(self) -> str:
        """SHA-256 (hexadecimal) of the `identities` of all images; of an index, as they were when it was made."""
        ...

    @property
    def ids(self) -> Sequence[str]:
        """Image ids, unique."""
        return self.labels("image_id")

    @property
    def captions(self) -> Sequence[str]:
        """Captions, none of them empty."""
        return self.labels("caption")

    def file(self, row: int) -> Location:
        """The absolute path of an image, or its address, as `open_image` takes it; it need not exist."""
        return location(self.values("file", [row])[0])

    def place(self, row: int) -> str:
        """`file:line` of a row, for messages."""
        return ":".join(str(self.values(name, [row])[0]) for name in PLACE)

    def warn_of_bad_rows(self) -> None:
        """Counts the rows that were left out in the log, and names the first."""
        for bad in self.bad_rows[:BAD_ROWS_NAMED]:
            _log.warning("left out: %s", bad)
        if self.bad_rows:
            _log.warning("%d rows left out; `nbclip validate` lists them", len(self.bad_rows))


@dataclass(frozen=True)
class FrameDataset(Dataset):
    """Pairs in memory.

    Attributes:
        frame: strings in `image_id`, `file` (absolute path), `caption`, `split` (null where there is none), `read_from` (file),
            in `line` the number of the row's first line (of the row in Parquet, of the pair in shards), and every other column as
            read, null where empty.
        bad_rows: see `Dataset`.
    """

    frame: pl.DataFrame
    bad_rows: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.frame.height

    @property
    def names(self) -> list[str]:
        """See `Dataset`."""
        return self.frame.columns

    @property
    def files(self) -> list[Location]:
        """`file` of each row."""
        return [location(file) for file in self.frame["file"]]

    def values(self, column: str, rows: Iterable[int]) -> list[Any]:
        """See `Dataset`."""
        wanted = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), np.int64)
        return self.frame[column][wanted].to_list() if column in self.frame.columns else [None] * len(wanted)

    def labels(self, column: str) -> list[Any]:
        """See `Dataset`."""
        refuse_no_column(column, self.names)
        return self.frame[column].to_list()

    def take(self, rows: Sequence[int]) -> FrameDataset:
        """The dataset of these rows, in this order."""
        return replace(self, frame=self.frame[list(rows)])

    def of_split(self, split: str | None) -> FrameDataset:
        """See `Dataset`."""
        if split is None:
            return self
        refuse_no_split(split, self.splits())
        return replace(self, frame=self.frame_of([split]))

    def others(self, split: str) -> FrameDataset:
        """See `Dataset`."""
        return replace(self, frame=self.frame.filter(pl.col("split").ne_missing(split)))

    def frame_of(self, splits: Collection[str]) -> pl.DataFrame:
        """See `Dataset`."""
        return self.frame.filter(pl.col("split").is_in(list(splits)))

    def frame_at(self, rows: Sequence[int]) -> pl.DataFrame:
        """See `Dataset`."""
        return self.frame[list(rows)]

    def splits(self) -> dict[str | None, int]:
        """See `Dataset`."""
        return dict(self.frame["split"].value_counts(sort=True).iter_rows())

    def filled(self, split: str) -> Collection[str]:
        """See `Dataset`."""
        return [column.name for column in self.frame_of([split]) if column.count()]

    def rows_of(self, ids: Collection[str]) -> dict[str, int]:
        """See `Dataset`."""
        found = self.frame.select("image_id").with_row_index("row").filter(pl.col("image_id").is_in(list(ids)))
        return dict(found.select("image_id", "row").iter_rows())

    def digest(self) -> str:
        """See `Dataset`."""
        return hashlib.sha256(digested(self.ids, self.captions)).hexdigest()

    def images_digest(self) -> str:
        """See `Dataset`."""
        return hashlib.sha256(lines_of(identities(self.labels("file")))).hexdigest()


def read_dataset(
    sources: Sequence[Location],
    split: str | None = None,
    *,
    layout: Layout | None = None,
    max_bad_row_share: float = MAX_BAD_ROW_SHARE,
) -> FrameDataset:
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
    rows = rows_of_files(sources, layout or layout_of(DataSettings()))
    good: list[Values] = []
    bad: list[str] = []
    for found in usable(rows):
        bad.append(found) if isinstance(found, str) else good.append(found)
    refuse_empty(rows)
    refuse_bad_rows(len(bad), len(good), next(iter(bad), ""), max_bad_row_share)
    schema = {name: pl.Int64() if name == "line" else pl.String() for name in columns_of(good)}
    frame = pl.DataFrame(good, schema=schema)
    refuse_duplicates(frame)
    return FrameDataset(frame, tuple(bad)).of_split(split)


def rows_of_files(sources: Sequence[Location], layout: Layout) -> Rows:
    """The rows of files, not yet read; raises InvalidInput where there are none of them."""
    if not sources:
        raise InvalidInput("no data given", hint="name at least one file or folder: --data metadata.csv")
    return Rows(sources, layout)


def refuse_empty(rows: Rows) -> None:
    """Raises InvalidInput, once they are read, if a file had no row."""
    if rows.empty:
        raise InvalidInput(f"{rows.empty[0]}: no rows", hint="is this the right file?")


def layout_of(settings: DataSettings) -> Layout:
    """How the files of these settings are read."""
    usual = Columns()
    columns = {name: column for name, column in settings.columns.model_dump().items() if column != getattr(usual, name)}
    return Layout(FIELDS, REQUIRED, columns, True, settings.format, settings.separator, _SPELLING)
