"""What would let a run see more of its validation and test images than it should."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.indexed import IndexedDataset
from nbclip_trainer.data.rows import PLACE

SHARED = {"group": "values of group", "file": "image files"}
"""Columns of which a value must be in one split alone, and what they hold."""
_NAMED_AT_MOST = 3
_log = logging.getLogger(__name__)


def settled(leaks: Sequence[str], *, allowed: bool, way_out: str) -> list[str]:
    """The leaks that a run goes on with, for its facts; each was warned of.

    Args:
        leaks: sentences, empty ones among them.
        allowed: `data.allow_leaks`.
        way_out: what ends them.

    Raises:
        InvalidInput: there is one, and it is not allowed.
    """
    found = [leak for leak in leaks if leak]
    if found and not allowed:
        raise InvalidInput(
            f"leak: {'; '.join(found)}",
            hint=f"{way_out}; or --set data.allow_leaks=true, which the report and the model card then say",
        )
    for leak in found:
        _log.warning("leak, allowed by data.allow_leaks: %s", leak)
    return found


def shared_between_splits(dataset: Dataset) -> list[str]:
    """Which cases or patients (`group`) and which image files are in two splits, in a sentence each; empty where none is."""
    if isinstance(dataset, IndexedDataset):
        return list(dataset.index.manifest.shared)
    frame = dataset.frame_of([name for name in dataset.splits() if name is not None])
    return [shared(frame, column) for column in SHARED]


def shared(frame: pl.DataFrame, column: str) -> str:
    """The same of one column of rows that have it, `split`, `read_from` and `line`."""
    if column not in frame.columns:
        return ""
    rows = frame.filter(pl.col(column).is_not_null(), pl.col("split").is_not_null())
    firsts = rows.group_by(column, "split", maintain_order=True).agg(pl.col(*PLACE).first())
    found = firsts.filter(pl.len().over(column) > 1)
    values = found[column].unique(maintain_order=True).to_list()
    if not values:
        return ""
    named = [_named(value, found.filter(pl.col(column) == value)) for value in values[:_NAMED_AT_MOST]]
    rest = ", …" if len(values) > len(named) else ""
    return f"{SHARED[column]} in two splits: {len(values)}, {', '.join(named)}{rest}"


def _named(value: str, firsts: pl.DataFrame) -> str:
    places = (f"{split} at {file}:{line}" for split, file, line in firsts.select("split", *PLACE).iter_rows())
    return f"{value} ({', '.join(places)})"
