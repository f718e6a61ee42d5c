"""From scored runs to the paper's table: means over seeds, paired differences with intervals, and whether an order holds.

A figure is the mean over seeds of each query's value, so that intervals (over cases, as in every evaluation) are of the arm and
not of one training; what seeds do stands beside it as their range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from statistics import fmean
from typing import Any

import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.evaluation.pairs import MEDIAN_RANK
from nbclip_trainer.evaluation.summary import differences, summarise
from nbclip_trainer.experiments.arms import CLASS_KS, CLASS_TASKS, CUI_KS, PAIRS, TABLES, Arm, TableName
from nbclip_trainer.experiments.plan import Plan
from nbclip_trainer.runs.folder import read_facts
from nbclip_trainer.runs.results import KEYS, PAIR_TASK, Figure, Scored, ScoringProtocol, check_comparable, read_scored
from nbclip_trainer.runs.tracking import read_metrics

CUI_METRIC = "cui_coverage"
"""Of the CUI@K family the one that rises with K, as the paper's does; the paper does not say how it counts."""
_STATED = 0.5
Column = tuple[str, str]
"""Task and metric."""
COLUMNS: tuple[Column, ...] = (
    *(("cui", f"{CUI_METRIC}@{k}") for k in CUI_KS),
    *((task, f"P@{k}") for task in CLASS_TASKS for k in CLASS_KS),
)
"""In the order of `Arm.paper`."""
PAIR_METRICS = ("Recall@1", "Recall@5", "Recall@10", MEDIAN_RANK)
PAIR_COLUMNS = tuple((direction, metric) for direction in ("image→caption", "caption→image") for metric in PAIR_METRICS)
"""Direction and metric. The paper has no such figures."""


class Verdict(StrEnum):
    """How our figures stand to the paper's order."""

    HOLDS = "holds"
    OPPOSITE = "opposite"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Entry:
    """A figure of an arm: `figure` over all seeds, None where the data has no such task; `seeds` one value each."""

    figure: Figure | None
    seeds: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ArmRow:
    """A row: the paper's figures, and ours by column; `alarms` are what the trainings complained of.

    `recalls` are each seed's values by `PAIR_COLUMNS`, None where there is none.
    """

    arm: Arm
    entries: tuple[Entry, ...]
    recalls: tuple[tuple[float | None, ...], ...]
    alarms: tuple[str, ...]
    diagnostics: dict[str, float]


@dataclass(frozen=True, slots=True)
class Order:
    """The paper's difference of two arms in a column, per cent, and ours with its interval."""

    column: Column
    paper: float
    difference: Figure | None
    seeds: tuple[float, ...]
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class ArmPair:
    """Two arms, column by column."""

    first: Arm
    second: Arm
    orders: tuple[Order, ...]

    def count(self, verdict: Verdict) -> int:
        """Columns of this verdict."""
        return sum(order.verdict is verdict for order in self.orders)


@dataclass(frozen=True, slots=True)
class ReproducedTable:
    """All that is printed. `floors` are raw pixels and chance by column, None where there is none; `recall_floor` is chance."""

    name: TableName
    plan: Plan
    protocol: ScoringProtocol
    rows: tuple[ArmRow, ...]
    floors: dict[str, tuple[float | None, ...]]
    recall_floor: tuple[float | None, ...]
    pairs: tuple[ArmPair, ...]
    facts: dict[str, Any]


def read_table(name: TableName, plan: Plan) -> ReproducedTable:
    """Reads and judges what `run_all` left.

    Raises:
        InvalidInput: the runs were scored differently, or their targets come from different snapshots.
        NotFound: a run is missing.
    """
    arms = TABLES[name]
    scored = {arm: [read_scored(plan.run_dir(arm, seed)) for seed in plan.seeds] for arm in arms}
    first = scored[arms[0]][0]
    for run in (run for runs in scored.values() for run in runs):
        check_comparable(run, first)
    facts = _common_facts(plan, arms)
    protocol = first.evaluation.protocol
    queries = {arm: _image_to_image(scored[arm]) for arm in arms}
    return ReproducedTable(
        name=name,
        plan=plan,
        protocol=protocol,
        rows=tuple(_row(arm, plan, scored[arm], queries[arm], protocol) for arm in arms),
        floors={ranker: _values(first, ranker) for ranker in ("raw pixels", "chance")},
        recall_floor=_recalls(first, "chance"),
        pairs=tuple(_pair(pair, scored, queries, protocol) for pair in PAIRS[name]),
        facts=facts,
    )


def judge(paper: float, difference: Figure | None, seeds: Sequence[float]) -> Verdict:
    """An order holds, or is opposite, where the interval excludes 0 and all seeds agree; else it is open.

    Args:
        paper: the paper's difference, per cent; under half a point it states no order.
        difference: ours, with its interval.
        seeds: the difference of each seed's runs.
    """
    if difference is None or difference.low is None or difference.high is None or abs(paper) < _STATED:
        return Verdict.OPEN
    if difference.low <= 0 <= difference.high or len({seed > 0 for seed in seeds}) > 1:
        return Verdict.OPEN
    return Verdict.HOLDS if (difference.low > 0) == (paper > 0) else Verdict.OPPOSITE


def _image_to_image(runs: Sequence[Scored]) -> pl.DataFrame:
    """Per query the mean over seeds of the joint space's image→image values; other columns as in the first run."""
    frames = [_asked(run.queries) for run in runs]
    mean = pl.concat(frames).group_by(*KEYS, maintain_order=True).agg(pl.col("value").mean())
    return frames[0].drop("value").join(mean, on=KEYS, how="left", maintain_order="left").select(frames[0].columns)


def _asked(queries: pl.DataFrame) -> pl.DataFrame:
    return queries.filter((pl.col("ranker") == "model") & (pl.col("direction") == "image→image"))


def _row(arm: Arm, plan: Plan, runs: Sequence[Scored], queries: pl.DataFrame, protocol: ScoringProtocol) -> ArmRow:
    figures = _by_column(summarise(queries, protocol))
    by_seed = [_values(run, "model") for run in runs]
    entries = [
        Entry(figures.get(column), tuple(value for values in by_seed if (value := values[place]) is not None))
        for place, column in enumerate(COLUMNS)
    ]
    records = [list(read_metrics(plan.run_dir(arm, seed))) for seed in plan.seeds]
    recalls = tuple(_recalls(run, "model") for run in runs)
    return ArmRow(arm, tuple(entries), recalls, tuple(_alarms(plan, records)), _diagnostics(records))


def _pair(
    pair: tuple[Arm, Arm], scored: dict[Arm, list[Scored]], queries: dict[Arm, pl.DataFrame], protocol: ScoringProtocol
) -> ArmPair:
    first, second = pair
    found = _by_column(summarise(differences(queries[first], queries[second]), protocol))
    by_seed = [(_values(one, "model"), _values(other, "model")) for one, other in zip(scored[first], scored[second], strict=True)]
    orders = []
    for place, column in enumerate(COLUMNS):
        paper = round(first.paper[place] - second.paper[place], 2)
        pairs = [(ours[place], theirs[place]) for ours, theirs in by_seed]
        seeds = tuple(mine - other for mine, other in pairs if mine is not None and other is not None)
        orders.append(Order(column, paper, found.get(column), seeds, judge(paper, found.get(column), seeds)))
    return ArmPair(first, second, tuple(orders))


def _values(run: Scored, ranker: str) -> tuple[float | None, ...]:
    figures = {
        (figure.task, figure.metric): figure.value
        for figure in run.evaluation.figures
        if (figure.ranker, figure.direction, figure.subset) == (ranker, "image→image", "all")
    }
    return tuple(figures.get(column) for column in COLUMNS)


def _recalls(run: Scored, ranker: str) -> tuple[float | None, ...]:
    figures = {
        (figure.direction, figure.metric): figure.value
        for figure in run.evaluation.figures
        if (figure.ranker, figure.task, figure.subset) == (ranker, PAIR_TASK, "all")
    }
    return tuple(figures.get(column) for column in PAIR_COLUMNS)


def _by_column(figures: Sequence[Figure]) -> dict[Column, Figure]:
    return {(figure.task, figure.metric): figure for figure in figures if figure.subset == "all" and figure.value is not None}


def _alarms(plan: Plan, records: Sequence[Sequence[dict[str, Any]]]) -> Iterator[str]:
    """Each kind of alarm once a seed."""
    for seed, run in zip(plan.seeds, records, strict=True):
        kinds = {record["message"].partition(":")[0]: record for record in reversed(run) if record["kind"] == "alarm"}
        yield from (f"seed {seed}, step {record['step']}: {record['message']}" for record in kinds.values())


def _diagnostics(records: Sequence[Sequence[dict[str, Any]]]) -> dict[str, float]:
    """Means over seeds of each run's last diagnostics."""
    last: list[dict[str, Any]] = [
        next((record for record in reversed(run) if record["kind"] == "diagnostics"), {}) for run in records
    ]
    names = ("cosine_spread", "effective_positives", "target_entropy", "without_knowledge", "one_hot", "spearman", "logit_scale")
    values = {name: [float(run[name]) for run in last if run.get(name) is not None] for name in names}
    return {name: fmean(found) for name, found in values.items() if found}


def _common_facts(plan: Plan, arms: Sequence[Arm]) -> dict[str, Any]:
    facts = [read_facts(plan.run_dir(arm, seed)) for arm in arms for seed in plan.seeds]
    snapshots = {run["targets"]["snapshot"] for run in facts if run["targets"].get("snapshot")}
    if len(snapshots) > 1:
        raise InvalidInput(
            f"{plan.folder}: targets of {len(snapshots)} snapshots: {', '.join(sorted(snapshots))}",
            hint="all runs of a table need one: --set targets.snapshot=ID, in a new --out",
        )
    shown = {name: facts[0].get(name) for name in ("data", "versions", "git", "steps")}
    return {"snapshot": next(iter(snapshots), None), **shown}
