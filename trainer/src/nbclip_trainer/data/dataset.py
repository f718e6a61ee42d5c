"""Image-caption pairs from tables with named columns, WebDataset shards, and folders as ROCO has them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from nbclip.errors import InvalidId, InvalidInput, NotFound
from nbclip.ids import check_image_id

from nbclip_trainer.data.roco import read_roco
from nbclip_trainer.data.shards import read_shard
from nbclip_trainer.data.tables import REQUIRED, Values, read_csv, read_parquet

PLACE = ("read_from", "line")
"""Columns that `read_dataset` adds: where a row was read."""
_TABLES = (".csv", ".tsv", ".tab")
_PARTS = (".tar", ".parquet")


@dataclass(frozen=True, slots=True)
class Dataset:
    """Image-caption pairs in the order of their files.

    Attributes:
        frame: strings in `image_id`, `file` (absolute path), `caption`, `split` (null where there is none), `read_from` (file),
            in `line` the number of the row's last line (of the row in Parquet, of the pair in shards), and every other column as
            read, null where empty.
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
        return Dataset(self.frame[list(rows)])

    def of_split(self, split: str | None) -> Dataset:
        """The rows of this split; None: all. Raises InvalidInput if there are none."""
        if split is None:
            return self
        kept = Dataset(self.frame.filter(pl.col("split") == split))
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


def read_dataset(sources: Sequence[Path], split: str | None = None, *, columns: Mapping[str, str] | None = None) -> Dataset:
    """Reads several files or folders as one dataset; a table's images are relative to its folder.

    Args:
        sources: tables (.csv, .tsv, plain or .gz; .parquet) with the columns `image_id`, `file`, `caption`, and for splits
            `split`; shards (.tar, `shards.py`); folders of ROCO or ROCOv2 (`roco.py`); see `sources_of`.
        split: keep this split only; None keeps all rows.
        columns: the tables' names of those columns, where they are others: `{"image_id": "ID"}`.

    Raises:
        InvalidInput: a missing file or column, a bad, doubled or empty id or caption (named by file and line), an empty split.
    """
    named = {name: (columns or {}).get(name, name) for name in (*REQUIRED, "split")}
    if not sources:
        raise InvalidInput("no data given", hint="name at least one file or folder: --data metadata.csv")
    frames = [pl.DataFrame(_rows(Path(path), named), infer_schema_length=None) for path in sources_of(sources)]
    dataset = Dataset(pl.concat(frames, how="diagonal_relaxed"))
    _refuse_duplicates(dataset)
    return dataset.of_split(split)


def sources_of(paths: Sequence[Path]) -> list[Path]:
    """Files, and folders of ROCO, that the paths name: `*` and the like written out, folders of shards or Parquet files opened.

    Raises:
        InvalidInput: a pattern that nothing has.
    """
    return [source for path in paths for source in _sources(Path(path))]


def _sources(path: Path) -> list[Path]:
    if not path.exists() and any(character in path.name for character in "*?["):
        found = sorted(path.parent.glob(path.name))
        if not found:
            raise InvalidInput(f"{path}: no file matches", hint="quote the pattern, and check its folder")
        return found
    parts = sorted(part for suffix in _PARTS for part in path.glob(f"*{suffix}")) if path.is_dir() else []
    return parts or [path]


def _rows(path: Path, named: Mapping[str, str]) -> list[dict[str, str | int | None]]:
    """The rows of one source under the canonical column names."""
    try:
        rows = [
            {**_checked(values, f"{file}:{line}"), "read_from": str(file), "line": line}
            for file, line, values in _read(path, named)
        ]
    except OSError as error:
        raise InvalidInput(
            f"{path}: {error.strerror or error}", hint="name a CSV, TSV or Parquet file, shards or a folder"
        ) from error
    if not rows:
        raise InvalidInput(f"{path}: no rows", hint="is this the right file?")
    return rows


def _read(path: Path, named: Mapping[str, str]) -> Iterator[tuple[Path, int, Values]]:
    if path.is_dir():
        yield from read_roco(path)
        return
    name = path.name.lower()
    if name.endswith(".tar"):
        rows = read_shard(path)
    elif name.endswith(".parquet"):
        rows = read_parquet(path, named)
    elif name.removesuffix(".gz").endswith(_TABLES):
        rows = read_csv(path, named)
    elif name.endswith((".tar.gz", ".tgz")):
        raise InvalidInput(f"{path}: a packed shard can't be read in any order", hint="unpack it: gunzip makes a .tar of it")
    else:
        raise InvalidInput(
            f"{path}: unknown kind of file", hint=f"{', '.join(_TABLES)} (or .gz of these), .parquet, .tar, or a folder"
        )
    yield from ((path, line, values) for line, values in rows)


def _checked(row: Values, place: str) -> Values:
    values = {name: (value or "").strip() or None for name, value in row.items()}
    empty = [name for name in REQUIRED if values[name] is None]
    if empty:
        raise InvalidInput(f"{place}: empty {empty[0]}", hint="fill it or drop the row")
    try:
        check_image_id(str(values["image_id"]))
    except InvalidId as error:
        raise InvalidInput(f"{place}: {error.message}", hint=error.hint) from error
    return values


def _refuse_duplicates(dataset: Dataset) -> None:
    doubled = dataset.frame["image_id"].is_duplicated()
    if doubled.any():
        first = dataset.frame.with_row_index("row").filter(doubled)
        same = first.filter(pl.col("image_id") == first["image_id"][0])["row"].to_list()
        raise InvalidInput(
            f"{dataset.place(same[1])}: image_id {first['image_id'][0]!r} was already at {dataset.place(same[0])}",
            hint="ids are unique over all files of a run",
        )
