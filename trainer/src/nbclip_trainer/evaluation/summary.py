"""Figures per query to the numbers of a table: macro means, and medians of ranks, with bootstrap intervals.

Paired differences of two runs are summarised in the same way.

Shape legend: M metrics, Q queries.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from nbclip_trainer.evaluation.bootstrap import Interval, intervals, median_interval
from nbclip_trainer.evaluation.labelled import codes
from nbclip_trainer.evaluation.pairs import MEDIAN_RANK
from nbclip_trainer.runs.results import KEYS, Figure, ScoringProtocol

_SUBSETS = ("caption_source", "source")


def summarise(queries: pl.DataFrame, protocol: ScoringProtocol) -> list[Figure]:
    """One figure for each ranker, direction, task, metric and subset of the queries.

    Args:
        queries: the columns of `results.QUERY_COLUMNS`.
        protocol: its resamples, level and seed.
    """
    figures: list[Figure] = []
    parts = queries.partition_by("ranker", "direction", "task", maintain_order=True, as_dict=True)
    for (ranker, direction, task), part in parts.items():
        for subset, chosen in _subsets(part):
            figures += _figures((str(ranker), str(direction), str(task), subset), chosen, protocol)
    return figures


def differences(queries: pl.DataFrame, baseline: pl.DataFrame) -> pl.DataFrame:
    """Per query, `queries`' value less `baseline`'s: the same columns, to be summarised with paired intervals."""
    paired = queries.join(baseline.select(*KEYS, pl.col("value").alias("base")), on=KEYS, how="inner", maintain_order="left")
    return paired.with_columns(pl.col("value") - pl.col("base")).drop("base")


def _subsets(part: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """All queries, and those of each caption source and each data source where there is more than one."""
    yield "all", part
    for column in _SUBSETS:
        names = part[column].drop_nulls().unique().sort()
        if len(names) > 1:
            yield from ((f"{column}={name}", part.filter(pl.col(column) == name)) for name in names)


def _figures(key: tuple[str, str, str, str], chosen: pl.DataFrame, protocol: ScoringProtocol) -> list[Figure]:
    metrics = chosen["metric"].unique(maintain_order=True).to_list()
    value_MQ = chosen["value"].to_numpy().reshape(len(metrics), -1)
    first = chosen.head(value_MQ.shape[1])
    case_Q, stratum_Q = first["case"].to_numpy(), codes(first["stratum"].to_list())
    resampling: dict[str, Any] = {"resamples": protocol.resamples, "level": protocol.level, "seed": protocol.seed}
    found = intervals(value_MQ, case_Q, stratum_Q, **resampling)
    return [
        _figure(
            key,
            metric,
            median_interval(value_Q, case_Q, **resampling) if metric == MEDIAN_RANK else interval,
            value_Q,
            stratum_Q,
        )
        for metric, interval, value_Q in zip(metrics, found, value_MQ, strict=True)
    ]


def _figure(
    key: tuple[str, str, str, str],
    metric: str,
    interval: Interval,
    value_Q: np.ndarray[tuple[int], np.dtype[np.float64]],
    stratum_Q: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> Figure:
    ranker, direction, task, subset = key
    counted_Q = ~np.isnan(value_Q)
    value, low, high = (None if math.isnan(number) else number for number in (interval.value, interval.low, interval.high))
    return Figure(
        ranker=ranker,
        direction=direction,
        task=task,
        subset=subset,
        metric=metric,
        value=value,
        low=low,
        high=high,
        queries=int(counted_Q.sum()),
        unanswered=int((~counted_Q).sum()),
        classes=len(np.unique(stratum_Q[counted_Q])),
    )
