"""What images may be scored by, and whether a split has any of it: better known before a training than after."""

from __future__ import annotations

from nbclip_trainer.data.dataset import Dataset

CLASS_TASKS = ("modality", "organ", "modality_organ")
LABELS = (*CLASS_TASKS, "cuis")
SCORED_SPLIT = "retrieval"
"""That `nbclip evaluate` scores unless told otherwise."""


def without_labels(dataset: Dataset, split: str) -> bool:
    """Whether the split has rows, and none of them a label."""
    return split in dataset.splits() and not set(LABELS) & set(dataset.filled(split))


def unscorable(dataset: Dataset, split: str = SCORED_SPLIT) -> str:
    """What `nbclip evaluate` could not score of this split of a dataset; empty where it has labels."""
    if split not in dataset.splits():
        return f"nothing can be scored: no row of split {split!r}"
    if without_labels(dataset, split):
        named = ", ".join(LABELS)
        return (
            f"only Recall@K of captions can be scored: split {split!r} has none of the columns {named}, or others named by "
            "data.columns"
        )
    return ""
