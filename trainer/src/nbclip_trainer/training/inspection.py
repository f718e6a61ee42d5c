"""What targets are like before anything is trained: the batches of a run, their target rows, and the labels of their images.

Images are not opened, so batches are those of a run in which none is bad.

Shape legend: N rows over all batches, R rows of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import combinations, islice

import numpy as np
import torch
from nbclip.errors import InvalidInput
from nbclip.targets import duplicate_mask

from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.dataset import Dataset
from nbclip_trainer.data.filtering import narrowed
from nbclip_trainer.data.labels import CLASS_TASKS
from nbclip_trainer.data.opening import open_dataset
from nbclip_trainer.data.planner import BatchPlan, PlannedBatch
from nbclip_trainer.models.captions import ByRow, keys_of
from nbclip_trainer.parallel.world import World
from nbclip_trainer.targets.neighbours import (
    UNLABELLED,
    Bool,
    Codes,
    Neighbours,
    effective_neighbours,
    mass_change,
    neighbours_of,
    row_purity,
)
from nbclip_trainer.targets.rows import target_rows
from nbclip_trainer.targets.source import TargetSource
from nbclip_trainer.training.inspected import Inspection, Seen, source_changes, source_figures
from nbclip_trainer.training.sources import open_source

_CPU = torch.device("cpu")
Named = tuple[str, TrainConfig]
"""A source of targets: its name, which several seeds of one representation share, and the run that would take it."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """A source of targets, its name and settings, and its snapshot."""

    name: str
    config: TrainConfig
    source: TargetSource
    snapshot: str | None


@dataclass(frozen=True, slots=True)
class _Split:
    """The pairs that are trained on: codes of their classes by column and of their cases, one a pair, and caption keys."""

    dataset: Dataset
    classes: Mapping[str, Codes]
    case: Codes
    keys: ByRow


def inspect_targets(
    named: Sequence[Named], *, batches: int | None = None, tell: Callable[[int, int], None] = lambda done, planned: None
) -> Inspection:
    """Purity and change of the targets of some sources, in the batches that a run would take.

    Args:
        named: the sources; their settings differ in `targets` alone. Those of one name are the seeds of one source.
        batches: how many; None: those of an epoch.
        tell: told after each batch how many of how many are done.

    Raises:
        NBClipError: wrong data, no service, no such snapshot, or one that lacks images or knows others.
    """
    config = named[0][1]
    whole = open_dataset(config.data)
    split = _read(narrowed(whole.of_split(config.data.train_split), config.data))
    plan = BatchPlan(len(split.dataset), config.batch_size, config.epochs, config.seed)
    planned = plan.steps_per_epoch if batches is None else min(batches, plan.steps)
    with ExitStack() as undo:
        opened, seen = [], list[Seen]()
        for name, of_source in named:
            source, facts = open_source(of_source, None, split.dataset, whole, World(_CPU))
            undo.callback(source.close)
            opened.append(_Opened(name, of_source, source, facts.get("snapshot")))
        for batch in islice(plan.batches(), planned):
            seen.append(_seen(batch, split, opened))
            tell(len(seen), planned)
        rows_N = np.concatenate([batch.rows for batch in islice(plan.batches(), planned)])
    every = {name: np.concatenate([one[name] for one in seen], axis=-1) for name in seen[0]}
    names, case_N = [one.name for one in opened], split.case[rows_N]
    return Inspection(
        split=config.data.train_split, seed=config.seed, batch_size=config.batch_size, batches=planned, rows=len(rows_N),
        sources=source_figures(names, [one.snapshot for one in opened], every, case_N),
        changes=source_changes(names, every, case_N),
    )  # fmt: skip


def _read(train: Dataset) -> _Split:
    ids = train.ids
    groups = train.labels("group") if "group" in train.names else [None] * len(train)
    cases = [f"group {group}" if group else f"image {image_id}" for group, image_id in zip(groups, ids, strict=True)]
    found = {column: _codes(train.labels(column)) for column in CLASS_TASKS if column in train.names}
    classes = {column: code_N for column, code_N in found.items() if (code_N != UNLABELLED).any()}
    if not classes:
        raise InvalidInput(
            f"no training image has a label in {', '.join(CLASS_TASKS)}: there is nothing that rows could be pure by",
            hint="name another column: --set data.columns.modality=COLUMN",
        )
    return _Split(train, classes, _codes(cases), keys_of(train))


def _codes(values: Sequence[str | None]) -> Codes:
    code_of: dict[str | None, int] = {None: UNLABELLED}
    return np.fromiter((code_of.setdefault(value, len(code_of)) for value in values), np.int64, len(values))


def _seen(batch: PlannedBatch, split: _Split, opened: Sequence[_Opened]) -> Seen:
    """The figures of a batch's rows."""
    may_SRR = [_may_be_neighbours(batch, split, one.config) for one in opened]
    found, known_SR = zip(*(_neighbours(batch, split, one, may) for one, may in zip(opened, may_SRR, strict=True)), strict=True)
    seen = {"mass": np.stack([one.mass for one in found]), "effective": np.stack([effective_neighbours(one) for one in found])}
    seen["known"] = np.stack(known_SR).astype(np.float64)
    for column, code_N in split.classes.items():
        code_R = code_N[batch.rows]
        seen[f"purity {column}"] = np.stack([row_purity(one.among_others, code_R, code_R) for one in found])
        seen[f"chance {column}"] = np.stack([row_purity(may, code_R, code_R) for may in may_SRR])
    seen["change"] = np.full((len(found), len(found), len(batch.rows)), np.nan)
    for first, second in combinations(range(len(found)), 2):
        seen["change"][first, second] = seen["change"][second, first] = mass_change(found[first], found[second])
    return seen


def _may_be_neighbours(batch: PlannedBatch, split: _Split, config: TrainConfig) -> Bool:
    """All but a row's own column and, where they are positives, those with its caption."""
    others_RR = ~np.eye(len(batch.rows), dtype=bool)
    if config.targets.duplicates == "ignore":
        return others_RR
    key_R = split.keys[batch.rows]
    same_RR: Bool = duplicate_mask(key_R, key_R).numpy()
    return others_RR & ~same_RR


def _neighbours(batch: PlannedBatch, split: _Split, one: _Opened, may_RR: Bool) -> tuple[Neighbours, Bool]:
    """The neighbours in a source's target rows, and which rows have knowledge."""
    ids, key_R, own_R = split.dataset.values("image_id", batch.rows), split.keys[batch.rows], torch.arange(len(batch.rows))
    targets = target_rows(one.source.fetch(ids, ids), own_R, key_R, key_R, one.config.targets, _CPU)
    return neighbours_of(targets.rows.numpy(), own_R.numpy(), may_RR), targets.has_knowledge.numpy()
