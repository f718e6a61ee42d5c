"""What only all rows of an index tell: ids that are there twice, its splits, groups in two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from nbclip_trainer.data.identity import identities, lines_of
from nbclip_trainer.data.leaks import SHARED, shared
from nbclip_trainer.data.manifest import Part
from nbclip_trainer.data.mapped import Hashes, Rows, Table, hashes_of
from nbclip_trainer.data.rows import PLACE, digested, refuse_duplicates


class Tally(NamedTuple):
    """Facts of all rows and of each split, the largest first; rows by split; what is in two splits."""

    whole: Part
    splits: tuple[Part, ...]
    by_split: Rows
    shared: tuple[str, ...]


def tallied(table: Table, length_N: npt.NDArray[np.int32]) -> Tally:
    """Reads the table once, part by part.

    Args:
        table: the pairs.
        length_N: tokens of each caption that does not fit, else 0.

    Raises:
        InvalidInput: an id is there twice.
    """
    whole, splits = _Count(), dict[str | None, _Count]()
    code_N = np.empty(len(table), np.int32)
    for number in table.parts:
        names = table.column(number, "split").to_pylist()
        ids, captions, files = (table.column(number, name).to_pylist() for name in ("image_id", "caption", "file"))
        texts = _Texts(ids, captions, identities(files))
        own_N = table.rows_of_part(number)
        part = table.part(number)
        whole.add(part, texts, length_N[own_N], np.ones(len(names), np.bool_))
        for split in dict.fromkeys(names):
            count = splits.setdefault(split, _Count())
            code = list(splits).index(split)
            is_own = np.fromiter((name == split for name in names), np.bool_, len(names))
            code_N[own_N][is_own] = code
            count.add(part, texts, length_N[own_N], is_own)
    _refuse_duplicates(table)
    largest_first = sorted(splits, key=lambda split: -splits[split].rows)
    place = np.array([largest_first.index(split) for split in splits], np.int32)
    by_split = np.argsort(place[code_N], kind="stable").astype(np.int64)
    parts = tuple(splits[split].part(split) for split in largest_first)
    nowhere = list(splits).index(None) if None in splits else -1
    return Tally(whole.part(None), parts, by_split, tuple(_shared(table, name, code_N, nowhere) for name in SHARED))


class _Texts(NamedTuple):
    """What the digests of a part are of; of the images, their `identities`."""

    ids: list[str]
    captions: list[str]
    images: list[str | None]


@dataclass
class _Count:
    """A `Part` as its rows come."""

    rows: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    images: Any = field(default_factory=hashlib.sha256)
    filled: dict[str, None] = field(default_factory=dict)
    cut: int = 0
    longest: int = 0

    def add(self, part: Any, texts: _Texts, length_P: npt.NDArray[np.int32], own_P: Any) -> None:
        """Counts the rows of a part that are its own."""
        self.rows += int(np.count_nonzero(own_P))
        self.digest.update(digested(compress(texts.ids, own_P), compress(texts.captions, own_P)))
        self.images.update(lines_of(compress(texts.images, own_P)))
        for name in part.schema.names:
            if name not in self.filled and (part.column(name).is_valid().to_numpy(zero_copy_only=False) & own_P).any():
                self.filled[name] = None
        own_lengths = length_P[own_P]
        self.cut += int(np.count_nonzero(own_lengths))
        self.longest = max(self.longest, int(own_lengths.max(initial=0)))

    def part(self, split: str | None) -> Part:
        """What was counted."""
        return Part(
            split=split,
            rows=self.rows,
            sha256=self.digest.hexdigest(),
            images=self.images.hexdigest(),
            filled=tuple(self.filled),
            cut=self.cut,
            longest=self.longest,
        )


def _refuse_duplicates(table: Table) -> None:
    hash_N = np.concatenate(list(_hashes(table, "image_id")))
    ordered_N = np.sort(hash_N)
    doubled = ordered_N[1:][ordered_N[1:] == ordered_N[:-1]]
    if len(doubled):
        refuse_duplicates(table.frame(np.flatnonzero(np.isin(hash_N, doubled)), ["image_id", *PLACE]))


def _shared(table: Table, name: str, code_N: npt.NDArray[np.int32], nowhere: int) -> str:
    """As `leaks.shared`; values that may be in two splits are found by their hashes."""
    if not any(name in table.part(number).schema.names for number in table.parts):
        return ""
    hash_N = np.concatenate(list(_hashes(table, name)))
    known_N = np.concatenate([table.column(number, name).is_valid().to_numpy(zero_copy_only=False) for number in table.parts])
    known_N &= code_N != nowhere
    pairs = pl.DataFrame({"value": hash_N[known_N], "split": code_N[known_N]}).unique()
    doubled = pairs.filter(pl.col("value").is_duplicated())["value"].to_numpy()
    rows = np.flatnonzero(known_N & np.isin(hash_N, doubled))
    return shared(table.frame(rows, [name, "split", *PLACE]), name) if len(rows) else ""


def _hashes(table: Table, name: str) -> Iterator[Hashes]:
    """Of a column, part by part."""
    for number in table.parts:
        yield hashes_of(table.column(number, name))
