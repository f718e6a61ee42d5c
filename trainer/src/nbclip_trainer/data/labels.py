"""What images may be scored by, and whether a split has any of it: better known before a training than after."""

from __future__ import annotations

import polars as pl

CLASS_TASKS = ("modality", "organ", "modality_organ")
LABELS = (*CLASS_TASKS, "cuis")
SCORED_SPLIT = "retrieval"
"""That `nbclip evaluate` scores unless told otherwise."""


def without_labels(frame: pl.DataFrame, split: str) -> bool:
    """Whether the split has rows, and none of them a label."""
    rows = frame.filter(pl.col("split") == split)
    return rows.height > 0 and all(rows[name].is_null().all() for name in LABELS if name in rows.columns)


def unscorable(frame: pl.DataFrame, split: str = SCORED_SPLIT) -> str:
    """What `nbclip evaluate` could not score of this split of a dataset's frame; empty where it has labels."""
    if not (frame["split"] == split).any():
        return f"nothing can be scored: no row of split {split!r}"
    if without_labels(frame, split):
        named = ", ".join(LABELS)
        return (
            f"only Recall@K of captions can be scored: split {split!r} has none of the columns {named}, or others named by "
            "data.columns"
        )
    return ""
