"""The data of a run in an index, the folder that `nbclip index` writes: opened in a moment, and in memory once for all ranks.

index.json          what it was made of and with, and the counts of each split
rows/00000.arrow    the columns of the pairs, in parts (`mapped.Table`)
tokens.npy          token ids of the captions, uint16 or int32, [N, context length]
keys.npy            `caption_keys`, int64, [N]
by_split.npy        rows, split after split and ascending in each, int64, [N]
frames.npy          rows of files of several images, and how many, int64, [F, 2]
bad_images.json     why an image can't be decoded, by row
bad_rows.txt        rows that are left out, one a line
known-*.json        what a snapshot was found to know of them (`remembered`)
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from nbclip.errors import InvalidInput, os_reason

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.manifest import AGAIN, MANIFEST, Manifest, Part, read_manifest, refuse_changed, refuse_other_reading
from nbclip_trainer.data.mapped import Column, MappedTensor, Rows, Table, mapped
from nbclip_trainer.data.rows import refuse_bad_rows, refuse_no_column, refuse_no_split
from nbclip_trainer.data.settings import CHECKS, DataSettings

_log = logging.getLogger(__name__)
ROWS, TOKENS, KEYS, BY_SPLIT = "rows", "tokens.npy", "keys.npy", "by_split.npy"
FRAMES, BAD_IMAGES, BAD_ROWS = "frames.npy", "bad_images.json", "bad_rows.txt"


@dataclass(frozen=True)
class Index:
    """An opened index; processes that get it map its files anew."""

    folder: Path
    manifest: Manifest
    table: Table

    def rows_of_split(self, split: str | None) -> Rows:
        """The rows of a split, ascending, mapped; None: those without one."""
        starts = accumulate((part.rows for part in self.manifest.splits), initial=0)
        [(start, part)] = [
            (start, part) for start, part in zip(starts, self.manifest.splits, strict=False) if part.split == split
        ]
        return mapped(self.folder / BY_SPLIT)[start : start + part.rows]

    def all_tokens(self) -> npt.NDArray[Any]:
        """`tokens.npy`, mapped."""
        return mapped(self.folder / TOKENS)


@dataclass(frozen=True)
class IndexedDataset(Dataset):
    """Rows of an index: `part` says which, `rows` are their numbers, None where they are all."""

    index: Index
    part: Part
    rows: Rows | None = None

    def __len__(self) -> int:
        return self.part.rows

    def __reduce__(self) -> tuple[Any, ...]:
        # Mapped rows would travel as a copy.
        rows = None if self.rows is None else np.asarray(self.rows) if self.part.split is None else self.part.split
        return _restored, (self.index, self.part, rows)

    @property
    def bad_rows(self) -> list[str]:
        """See `Dataset`."""
        return (self.index.folder / BAD_ROWS).read_text(encoding="utf-8").splitlines()

    @property
    def names(self) -> Sequence[str]:
        """See `Dataset`."""
        return self.index.manifest.names

    def in_index(self, rows: Iterable[int]) -> Rows:
        """The numbers in the index of rows of this dataset."""
        wanted = np.asarray(rows if isinstance(rows, np.ndarray) else list(rows), np.int64)
        return wanted if self.rows is None else np.asarray(self.rows[wanted])

    def values(self, column: str, rows: Iterable[int]) -> list[Any]:
        """See `Dataset`."""
        return self.index.table.values(column, self.in_index(rows))

    def labels(self, column: str) -> Sequence[Any]:
        """See `Dataset`; values are read when they are asked for."""
        refuse_no_column(column, self.names)
        return Column(self.index.table, column, self.rows)

    def of_split(self, split: str | None) -> IndexedDataset:
        """See `Dataset`."""
        if split is None:
            return self
        refuse_no_split(split, self.splits())
        [part] = [part for part in self.index.manifest.splits if part.split == split]
        return IndexedDataset(self.index, part, self.index.rows_of_split(split))

    def others(self, split: str) -> IndexedDataset:
        """See `Dataset`."""
        rows = self._joined([part.split for part in self.index.manifest.splits if part.split != split])
        return IndexedDataset(
            self.index, Part(split=None, rows=len(rows), sha256="", images="", filled=(), cut=0, longest=0), rows
        )

    def frame_of(self, splits: Collection[str]) -> pl.DataFrame:
        """See `Dataset`."""
        rows = self._joined([split for split in self.splits() if split in splits])
        return self.index.table.frame(rows, self.names)

    def frame_at(self, rows: Sequence[int]) -> pl.DataFrame:
        """See `Dataset`."""
        return self.index.table.frame(self.in_index(rows), self.names)

    def splits(self) -> dict[str | None, int]:
        """See `Dataset`."""
        return {part.split: part.rows for part in self.index.manifest.splits}

    def filled(self, split: str) -> Collection[str]:
        """See `Dataset`."""
        return next((part.filled for part in self.index.manifest.splits if part.split == split), ())

    def rows_of(self, ids: Collection[str]) -> dict[str, int]:
        """See `Dataset`."""
        own = self.own_rows(self.index.table.find("image_id", ids))
        return dict(zip(self.values("image_id", own), own.tolist(), strict=True))

    def digest(self) -> str:
        """See `Dataset`."""
        return self.part.sha256

    def images_digest(self) -> str:
        """See `Dataset`."""
        return self.part.images

    def own_rows(self, in_index: Rows) -> Rows:
        """The rows of this dataset that rows of the index are, of those that it has."""
        if self.rows is None:
            return in_index
        places = np.searchsorted(self.rows, in_index)
        here = places < len(self.rows)
        places, in_index = places[here], in_index[here]
        return np.asarray(places[self.rows[places] == in_index], np.int64)

    def tokens(self) -> MappedTensor:
        """Token ids of the captions, int32, [N, context length]."""
        return MappedTensor(self.index.all_tokens(), self.rows, np.int32)

    def keys(self) -> MappedTensor:
        """`caption_keys` of the captions, int64, [N]."""
        return MappedTensor(mapped(self.index.folder / KEYS), self.rows, np.int64)

    def _joined(self, splits: Sequence[str | None]) -> Rows:
        return np.sort(np.concatenate([np.zeros(0, np.int64), *map(self.index.rows_of_split, splits)]))


def is_index(path: Path) -> bool:
    """Whether a path is the folder of an index."""
    return (path / MANIFEST).is_file()


def open_index(folder: Path, settings: DataSettings) -> IndexedDataset:
    """All rows of an index.

    Raises:
        BrokenArtefact: it is damaged.
        InvalidInput: it is of another version, its files have changed since, or it was read in another way than `settings` say.
    """
    manifest = read_manifest(folder)
    refuse_changed(folder, manifest)
    refuse_other_reading(folder, manifest, settings)
    table = Table(folder / ROWS, manifest.whole.rows, manifest.part_rows)
    dataset = IndexedDataset(Index(folder, manifest, table), manifest.whole)
    if manifest.bad_rows:
        refuse_bad_rows(manifest.bad_rows, len(dataset), dataset.bad_rows[0], settings.max_bad_row_share)
    return dataset


def refuse_less_checked(index: Index, settings: DataSettings) -> None:
    """Raises InvalidInput where a run wants to know more of its images than the index does."""
    manifest = index.manifest
    if CHECKS.index(manifest.check) < CHECKS.index(settings.check):
        raise InvalidInput(
            f"{index.folder} was made with data.check={manifest.check}, not {settings.check}",
            hint=f"--set data.check={manifest.check}, or make it again with --set data.check={settings.check}",
        )
    if manifest.check != "none" and manifest.max_pixels != settings.max_pixels:
        raise InvalidInput(
            f"{index.folder} was made with data.max_pixels={manifest.max_pixels}, not {settings.max_pixels}", hint=AGAIN
        )


def remembered(dataset: Dataset, asked: Sequence[str], find: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `find` returns, as JSON has it, or what it once returned of this index; of other data it is found each time.

    Args:
        dataset: whose index keeps it.
        asked: all that it depends on, beside the index.
        find: finds it out.
    """
    if not isinstance(dataset, IndexedDataset):
        return find()
    path = dataset.index.folder / f"known-{hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]}.json"
    if path.is_file():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    found = find()
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        unfinished.write_text(json.dumps(found), encoding="utf-8")
        unfinished.replace(path)
    except OSError as error:
        _log.warning("%s can't be written, so that the next run asks again: %s", dataset.index.folder, os_reason(error))
    return found


def _restored(index: Index, part: Part, rows: Rows | str | None) -> IndexedDataset:
    return IndexedDataset(index, part, index.rows_of_split(rows) if isinstance(rows, str) else rows)
