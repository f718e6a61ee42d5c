"""What would let a run see more of its validation and test images than it should."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.indexed import IndexedDataset
from nbclip_trainer.data.rows import PLACE

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


def shared_groups(dataset: Dataset) -> str:
    """Which cases or patients (`group`) have images in two splits, in a sentence; empty where none has."""
    if isinstance(dataset, IndexedDataset):
        return dataset.index.manifest.shared_groups
    return shared_groups_of(dataset.frame_of([name for name in dataset.splits() if name is not None]))


def shared_groups_of(frame: pl.DataFrame) -> str:
    """The same of rows with the columns `group`, `split`, `read_from` and `line`."""
    if "group" not in frame.columns:
        return ""
    rows = frame.filter(pl.col("group").is_not_null(), pl.col("split").is_not_null())
    firsts = rows.group_by("group", "split", maintain_order=True).agg(pl.col(*PLACE).first())
    shared = firsts.filter(pl.len().over("group") > 1)
    groups = shared["group"].unique(maintain_order=True).to_list()
    if not groups:
        return ""
    named = [_named(group, shared.filter(pl.col("group") == group)) for group in groups[:_NAMED_AT_MOST]]
    rest = ", …" if len(groups) > len(named) else ""
    return f"values of group in two splits: {len(groups)}, {', '.join(named)}{rest}"


def _named(group: str, firsts: pl.DataFrame) -> str:
    places = (f"{split} at {file}:{line}" for split, file, line in firsts.select("split", *PLACE).iter_rows())
    return f"{group} ({', '.join(places)})"
