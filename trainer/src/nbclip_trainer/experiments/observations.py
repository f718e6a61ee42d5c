"""Scored runs of an experiment as one long frame, and what is read of it: a macro mean of every run of an arm.

One row a query, run and metric, image→image in the space of the arm's ranker:

arm, set           names of the grid; an arm that only reads another's runs has rows of its own
seed, kg_seed      of the run; kg_seed is null where the arm has none
task, metric       as in queries.parquet
query, case        image id, and code of the case it is resampled with
stratum            the query's class, one for all in CUI tasks
caption_source, source   of the query, null where the data do not say
value              the figure in per cent, null where there is none

Shape legend: S seeds, K KG seeds, Q queries, R runs, C cases.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from nbclip.errors import InvalidInput

from nbclip_trainer.evaluation.labelled import codes
from nbclip_trainer.experiments.statistics import Draws, Float64, case_weights, macro_draws, mean_of
from nbclip_trainer.runs.results import CUI_TASK, LINKED_TASK, Scored, check_comparable, read_scored

CLASS_TASKS = ("modality", "organ", "modality_organ")
MEAN = "mean"
"""The task that is the mean of the class tasks: what a claim is decided by."""
_TASKS = (*CLASS_TASKS, CUI_TASK, LINKED_TASK)
_METRICS = r"^(P@|cui_coverage@|cui_overlap@|cui_overlap_rare@)"
Column = tuple[str, str]
"""Task and metric."""
Subset = tuple[str, str]
"""A column of the frame and the value that a query must have there."""


@dataclass(frozen=True, slots=True)
class Source:
    """An evaluation on disk, read as one run of an arm on one set of pictures; `ranker` is whose figures it takes of it."""

    arm: str
    seed: int
    kg_seed: int | None
    pictures: str
    folder: Path
    ranker: str = "model"


def observe(sources: Iterable[Source]) -> pl.DataFrame:
    """The frame of the head of this file.

    Raises:
        InvalidInput: evaluations of one set of pictures were scored differently, or have nothing of the ranker.
        NBClipError: as `read_scored`.
    """
    first: dict[str, Scored] = {}
    parts = []
    for source in sources:
        scored = read_scored(source.folder)
        check_comparable(scored, first.setdefault(source.pictures, scored))
        parts.append(_rows(source, scored.queries))
    return pl.concat(parts)


def _rows(source: Source, queries: pl.DataFrame) -> pl.DataFrame:
    found = queries.filter(
        (pl.col("ranker") == source.ranker)
        & (pl.col("direction") == "image→image")
        & pl.col("task").is_in(_TASKS)
        & pl.col("metric").str.contains(_METRICS)
    )
    if found.is_empty():
        raise InvalidInput(
            f"{source.folder}: no image→image figures of the ranker {source.ranker!r}, which arm {source.arm!r} reads",
            hint="its towers may have no features before the projections; give the arm another ranker",
        )
    constants = {"arm": source.arm, "set": source.pictures, "ranker": source.ranker}
    return found.select(
        *(pl.lit(value).cast(pl.Categorical).alias(name) for name, value in constants.items()),
        pl.lit(source.seed, pl.Int64).alias("seed"),
        pl.lit(source.kg_seed, pl.Int64).alias("kg_seed"),
        *(pl.col(name).cast(pl.Categorical) for name in ("task", "metric", "stratum", "caption_source", "source")),
        "query",
        "case",
        (100 * pl.col("value").fill_nan(None)).alias("value"),
    )


@dataclass(slots=True)
class Evidence:
    """Macro means of the arms' runs, drawn once each; all arms of a set of pictures share their resamples.

    Attributes:
        frame: of `observe`.
        resamples: of the cases.
        seed: of the resampling.
    """

    frame: pl.DataFrame
    resamples: int = 2000
    seed: int = 0
    _parts: dict[tuple[object, ...], pl.DataFrame] = field(default_factory=dict)
    _weights: dict[str, tuple[Float64, Float64]] = field(default_factory=dict)
    _known: dict[tuple[str, str, Column, Subset | None], Draws | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._parts = self.frame.partition_by("arm", "set", "task", "metric", as_dict=True)
        for (pictures,), part in self.frame.partition_by("set", as_dict=True).items():
            cases = np.sort(part["case"].unique().to_numpy())
            self._weights[str(pictures)] = cases, case_weights(len(cases), self.resamples, self.seed)

    @property
    def metrics(self) -> list[str]:
        """Of the class tasks, in the order of the frame."""
        return (
            self.frame.filter(pl.col("task").is_in(CLASS_TASKS))["metric"].unique(maintain_order=True).cast(pl.String).to_list()
        )

    @property
    def columns(self) -> list[Column]:
        """The mean of the class tasks by metric, then each task's own."""
        pairs = self.frame.select(pl.col("task", "metric").cast(pl.String)).unique(maintain_order=True).rows()
        return [*((MEAN, metric) for metric in self.metrics), *sorted(pairs, key=lambda pair: _TASKS.index(pair[0]))]

    def subsets(self, pictures: str) -> list[Subset]:
        """Values of the queries' caption source and source, where a set of pictures has more than one."""
        part = self.frame.filter(pl.col("set") == pictures)
        values = {name: sorted(part[name].drop_nulls().unique().cast(pl.String)) for name in ("caption_source", "source")}
        return [(name, value) for name, found in values.items() if len(found) > 1 for value in found]

    def draws(self, arm: str, pictures: str, column: Column, subset: Subset | None = None) -> Draws | None:
        """A macro mean of each run of an arm; None where the pictures have no such figure.

        Raises:
            InvalidInput: a run of the arm is missing, or one was asked other queries than the rest.
        """
        key = arm, pictures, column, subset
        if key not in self._known:
            self._known[key] = self._mean(*key) if column[0] == MEAN else self._drawn(*key)
        return self._known[key]

    def _mean(self, arm: str, pictures: str, column: Column, subset: Subset | None) -> Draws | None:
        parts = [self.draws(arm, pictures, (task, column[1]), subset) for task in CLASS_TASKS]
        found = [part for part in parts if part is not None]
        return mean_of(found) if found else None

    def _drawn(self, arm: str, pictures: str, column: Column, subset: Subset | None) -> Draws | None:
        part = self._parts.get((arm, pictures, *column))
        if part is not None and subset is not None:
            part = part.filter(pl.col(subset[0]) == subset[1])
        if part is None or part["value"].is_null().all():
            return None
        part = part.sort("seed", "kg_seed", "query", maintain_order=True)
        shape = tuple(part[name].n_unique() for name in ("seed", "kg_seed", "query"))
        if part.height != np.prod(shape):
            raise InvalidInput(
                f"arm {arm!r}, set {pictures!r}: {part.height} values are not {shape[0]} seeds × {shape[1]} KG seeds × "
                f"{shape[2]} queries",
                hint="a run is missing or was evaluated on other pictures: the same command makes it",
            )
        asked = part.head(shape[2])
        cases, weights = self._weights[pictures]
        case_Q = np.searchsorted(cases, asked["case"].to_numpy())
        value_RQ = part["value"].fill_null(np.nan).to_numpy().reshape(-1, shape[2])
        value_R, drawn_RB = macro_draws(value_RQ, case_Q, codes(asked["stratum"].cast(pl.String).to_list()), weights)
        answered = len(np.unique(case_Q[~np.isnan(value_RQ[0])]))
        return Draws(value_R.reshape(shape[:2]), drawn_RB.reshape(*shape[:2], -1), answered)


def in_order(columns: Sequence[Column], metric: str) -> list[Column]:
    """Those of a metric, the mean first."""
    return [column for column in columns if column[1] == metric]
