"""What an inspection of targets finds: means over rows, with intervals over cases. `targets.neighbours` has the formulas.

Shape legend: N rows over all batches, S sources, with each seed of one apart.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, product

import numpy as np

from nbclip_trainer.evaluation.bootstrap import intervals
from nbclip_trainer.runs.results import Record
from nbclip_trainer.targets.neighbours import Codes, Float64

Seen = Mapping[str, Float64]
"""Figures by row, NaN where a row has none: `mass`, `effective`, `known`, `purity COLUMN` and `chance COLUMN`, [S, N]; `change`,
[S, S, N]."""


class Mean(Record):
    """A mean over rows, null where none counts, with its 95 % interval over cases, null of under ten cases."""

    value: float | None
    low: float | None
    high: float | None
    rows: int


class Purity(Record):
    """Row purity by one column of classes; beside it what even neighbours would have, over the same rows."""

    column: str
    purity: Mean
    chance: float | None


class SourceFigures(Record):
    """What the targets of a source are like; means over rows, and over seeds where the source has several.

    Attributes:
        snapshots: that of each seed, null where there is none.
        neighbour_mass: the neighbours' share of the whole row.
        effective_neighbours: of rows that have neighbours; null where none has.
        without_knowledge: share of rows whose image has no usable CUI, or no label.
        without_neighbours: share of rows that have no neighbours.
    """

    name: str
    snapshots: tuple[str | None, ...]
    purity: tuple[Purity, ...]
    neighbour_mass: float
    effective_neighbours: float | None
    without_knowledge: float
    without_neighbours: float


class Change(Record):
    """The mass that changes from one source to another, or among the seeds of one, where `first` is `second`.

    Attributes:
        change: of each row the mean over the pairs of seeds.
        pairs: how many these are.
    """

    first: str
    second: str
    change: Mean
    pairs: int


class Inspection(Record):
    """What `nbclip targets inspect` finds out."""

    split: str | None
    seed: int
    batch_size: int
    batches: int
    rows: int
    sources: tuple[SourceFigures, ...]
    changes: tuple[Change, ...]


def source_figures(names: Sequence[str], snapshots: Sequence[str | None], seen: Seen, case_N: Codes) -> tuple[SourceFigures, ...]:
    """A source's figures, one after the other.

    Args:
        names: of each of the S, equal ones for the seeds of one source.
        snapshots: of each of the S.
        seen: their figures by row.
        case_N: code of each row's case.
    """
    columns = [key.removeprefix("purity ") for key in seen if key.startswith("purity ")]
    places = _places(names)
    keys = list(product(places, columns))
    means = _means([_over_seeds(seen[f"purity {column}"][places[name]]) for name, column in keys], case_N)
    mean_of = dict(zip(keys, means, strict=True))
    return tuple(
        SourceFigures(
            name=name,
            snapshots=tuple(snapshots[place] for place in own),
            purity=tuple(
                Purity(column=column, purity=mean_of[name, column], chance=_chance(seen, column, own)) for column in columns
            ),
            neighbour_mass=float(seen["mass"][own].mean()),
            effective_neighbours=_number(_mean(seen["effective"][own])),
            without_knowledge=1 - float(seen["known"][own].mean()),
            without_neighbours=float((seen["mass"][own] == 0).mean()),
        )
        for name, own in places.items()
    )


def source_changes(names: Sequence[str], seen: Seen, case_N: Codes) -> tuple[Change, ...]:
    """The change among the seeds of each source that has several, and between any two sources; arguments as above."""
    pairs = dict(_pairs(_places(names)))
    if not pairs:
        return ()
    means = _means([_over_seeds(np.stack([seen["change"][one] for one in of_two])) for of_two in pairs.values()], case_N)
    return tuple(
        Change(first=first, second=second, change=mean, pairs=len(of_two))
        for ((first, second), of_two), mean in zip(pairs.items(), means, strict=True)
    )


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    return {name: [place for place, other in enumerate(names) if other == name] for name in dict.fromkeys(names)}


def _pairs(places: Mapping[str, list[int]]) -> Iterator[tuple[tuple[str, str], list[tuple[int, int]]]]:
    """The pairs of seeds behind each pair of sources."""
    for first, second in combinations_with_replacement(places, 2):
        of_two = [(i, j) for i, j in product(places[first], places[second]) if i < j or first != second]
        if of_two:
            yield (first, second), of_two


def _means(value_MN: Sequence[Float64], case_N: Codes) -> list[Mean]:
    """Intervals over cases, of the same resamples for all."""
    found = intervals(np.stack(value_MN), case_N, np.zeros_like(case_N))
    return [
        Mean(value=_number(one.value), low=_number(one.low), high=_number(one.high), rows=int((~np.isnan(value_N)).sum()))
        for value_N, one in zip(value_MN, found, strict=True)
    ]


def _chance(seen: Seen, column: str, own: Sequence[int]) -> float | None:
    """Over the rows that have a purity."""
    purity_SN, chance_SN = seen[f"purity {column}"][own], seen[f"chance {column}"][own]
    return _number(_mean(np.where(np.isnan(purity_SN), np.nan, chance_SN)))


def _over_seeds(value_SN: Float64) -> Float64:
    """The mean of each row's figures, NaN where it has none, [N]."""
    count_N = (~np.isnan(value_SN)).sum(axis=0)
    sum_N: Float64 = np.nansum(value_SN, axis=0)
    mean_N: Float64 = np.divide(sum_N, count_N, out=np.full(len(count_N), np.nan), where=count_N > 0)
    return mean_N


def _mean(value_SN: Float64) -> float:
    """That of the rows' means over seeds."""
    return float(_over_seeds(_over_seeds(value_SN)[:, None])[0])


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
