"""From an experiment's grid and its observations to what is claimed: tables, verdicts and controls, none of it printed yet.

Claims are decided by the grid's endpoint: its metric, macro over classes, mean of the class tasks. The primary claim stands
alone, the others are adjusted together (Holm) over all sets of pictures of a table; single columns likewise. Controls must all
come out as they must, each for itself, else their table is void on those pictures.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import fmean

from nbclip_trainer.experiments.grid import EVERY_ARM, Comparison, Control, Grid
from nbclip_trainer.experiments.observations import CLASS_TASKS, MEAN, Column, Evidence, Subset
from nbclip_trainer.experiments.statistics import Estimate, estimate
from nbclip_trainer.experiments.verdicts import Case, Claimed, Judged, Verdict, judge_all

LEVEL = 0.95
FEWEST_CASES = 30
"""Subsets of fewer cases are left out."""
_Place = tuple[int, str, Column]
"""Number of a comparison, set of pictures, column."""


@dataclass(frozen=True, slots=True)
class ArmRow:
    """An arm's figures in per cent, by set of pictures and column."""

    arm: str
    title: str
    figures: dict[tuple[str, Column], Estimate]


@dataclass(frozen=True, slots=True)
class Claim:
    """A comparison: `endpoint` by set of pictures, `cells` by set and column, `subsets` by set and subset (not adjusted)."""

    comparison: Comparison
    endpoint: dict[str, Judged]
    cells: dict[tuple[str, Column], Judged]
    subsets: dict[tuple[str, Subset], Estimate]

    def verdict_on(self, pictures: Collection[str]) -> Verdict:
        """That of every one of these sets of pictures; refuted where one refutes and none reproduces; else open."""
        verdicts = {judged.verdict for name, judged in self.endpoint.items() if name in pictures}
        if verdicts == {Verdict.REPRODUCES}:
            return Verdict.REPRODUCES
        if Verdict.REFUTES in verdicts and Verdict.REPRODUCES not in verdicts:
            return Verdict.REFUTES
        return Verdict.UNDERPOWERED


@dataclass(frozen=True, slots=True)
class ControlResult:
    """An arm that must be above, equal to or below another: `reproduces` is as it must be, `refutes` is shown to be otherwise."""

    arm: str
    other: str
    control: Control
    pictures: str
    judged: Judged

    @property
    def is_as_it_must_be(self) -> bool:
        """Shown to be so; where the data cannot tell, the control is not passed."""
        return self.judged.verdict is Verdict.REPRODUCES


@dataclass(frozen=True, slots=True)
class JudgedTable:
    """One of the grid's tables."""

    name: str
    title: str
    rows: tuple[ArmRow, ...]
    claims: tuple[Claim, ...]
    controls: tuple[ControlResult, ...]

    @property
    def failed(self) -> tuple[ControlResult, ...]:
        """Controls that did not come out as they must."""
        return tuple(one for one in self.controls if not one.is_as_it_must_be)

    def is_void_on(self, pictures: str) -> bool:
        """It says nothing of these pictures: a control failed on them, or there is none."""
        judged = [one for one in self.controls if one.pictures == pictures]
        return not judged or not all(one.is_as_it_must_be for one in judged)


@dataclass(frozen=True, slots=True)
class Judgement:
    """All that was found. `columns` are those of every figure, `subsets` the parts of the pictures that are shown apart."""

    grid: Grid
    tables: tuple[JudgedTable, ...]
    columns: tuple[Column, ...]
    cases: dict[str, int]

    @property
    def endpoint(self) -> Column:
        """What claims are decided by."""
        return MEAN, self.grid.endpoint.metric

    @property
    def primary(self) -> tuple[JudgedTable, Claim] | None:
        """The claim that was named before the run, and its table."""
        return next(((table, claim) for table in self.tables for claim in table.claims if claim.comparison.primary), None)


def judge(grid: Grid, evidence: Evidence) -> Judgement:
    """Judges all tables of a grid.

    Raises:
        InvalidInput: as `Evidence.draws`.
    """
    columns = tuple(evidence.columns)
    tables = tuple(_table(grid, evidence, name, columns) for name in grid.all_tables)
    endpoint = MEAN, grid.endpoint.metric
    first = next(iter(grid.trained))
    cases = {name: draws.cases for name in grid.sets if (draws := evidence.draws(first, name, endpoint))}
    return Judgement(grid, tables, columns, cases)


def _table(grid: Grid, evidence: Evidence, name: str, columns: Sequence[Column]) -> JudgedTable:
    table = grid.all_tables[name]
    rows = []
    for arm in table.arms:
        drawn = {(pictures, column): evidence.draws(arm, pictures, column) for pictures in grid.sets for column in columns}
        figures = {place: estimate(draws) for place, draws in drawn.items() if draws is not None}
        rows.append(ArmRow(arm, grid.arms[arm].title, figures))
    comparisons = [one for one in grid.comparisons if {one.first, one.second} <= set(table.arms)]
    claims = _claims(grid, evidence, comparisons, columns)
    return JudgedTable(name, table.title, tuple(rows), claims, _controls(grid, evidence, table.arms))


def _claims(grid: Grid, evidence: Evidence, comparisons: Sequence[Comparison], columns: Sequence[Column]) -> tuple[Claim, ...]:
    """Judged together: the endpoint of all but the primary claim, and the cells of all."""
    endpoint = MEAN, grid.endpoint.metric
    alone: dict[_Place, Case] = {}
    ends: dict[_Place, Case] = {}
    cells: dict[_Place, Case] = {}
    for place, comparison in enumerate(comparisons):
        paper = paper_with_means(grid.paper_difference(comparison))
        for pictures in grid.sets:
            for column in columns:
                found = _difference(evidence, comparison.first, comparison.second, pictures, column)
                if found is None:
                    continue
                effect = paper.get(column)
                case = found, Claimed.of_paper(effect, grid.endpoint.smallest_effect), effect
                if column == endpoint:
                    (alone if comparison.primary else ends)[place, pictures, column] = case
                elif column[0] != MEAN:
                    cells[place, pictures, column] = case
    judged = {
        **dict(zip(alone, judge_all(list(alone.values()), level=LEVEL, adjusted=False), strict=True)),
        **dict(zip(ends, judge_all(list(ends.values()), level=LEVEL), strict=True)),
        **dict(zip(cells, judge_all(list(cells.values()), level=LEVEL), strict=True)),
    }
    return tuple(
        Claim(
            comparison,
            {pictures: one for (at, pictures, column), one in judged.items() if at == place and column == endpoint},
            {(pictures, column): one for (at, pictures, column), one in judged.items() if at == place and column != endpoint},
            _subsets(grid, evidence, comparison),
        )
        for place, comparison in enumerate(comparisons)
    )


def _subsets(grid: Grid, evidence: Evidence, comparison: Comparison) -> dict[tuple[str, Subset], Estimate]:
    found = {}
    for pictures in grid.sets:
        for subset in evidence.subsets(pictures):
            one = _difference(evidence, comparison.first, comparison.second, pictures, (MEAN, grid.endpoint.metric), subset)
            if one is not None:
                found[pictures, subset] = one
    return found


def _controls(grid: Grid, evidence: Evidence, arms: Sequence[str]) -> tuple[ControlResult, ...]:
    found = []
    for arm in arms:
        control = grid.arms[arm].control
        if control is None:
            continue
        others = [other for other in arms if other != arm and grid.arms[other].is_trained]
        for other in others if control.of == EVERY_ARM else [control.of]:
            for pictures in grid.sets:
                one = _difference(evidence, arm, other, pictures, (MEAN, grid.endpoint.metric))
                if one is not None:
                    case = one, Claimed.of_control(control, grid.endpoint.smallest_effect), None
                    found.append(ControlResult(arm, other, control, pictures, judge_all([case], level=LEVEL, adjusted=False)[0]))
    return tuple(found)


def _difference(
    evidence: Evidence, first: str, second: str, pictures: str, column: Column, subset: Subset | None = None
) -> Estimate | None:
    ours, theirs = (evidence.draws(arm, pictures, column, subset) for arm in (first, second))
    if ours is None or theirs is None or (subset is not None and ours.cases < FEWEST_CASES):
        return None
    return estimate(ours - theirs)


def paper_with_means(paper: dict[Column, float]) -> dict[Column, float]:
    """The paper's figures, and their means over the class tasks where it gives all of a metric."""
    metrics = {metric for task, metric in paper if task in CLASS_TASKS}
    means = {
        (MEAN, metric): fmean(paper[task, metric] for task in CLASS_TASKS)
        for metric in metrics
        if all((task, metric) in paper for task in CLASS_TASKS)
    }
    return {**paper, **means}
