"""Bootstrap intervals for a mean or a median over queries, and for the paired difference of two rankers.

Queries of one case are drawn together (cluster bootstrap: images of a case are no independent witnesses). Means are
macro: the mean over strata (classes) of the mean over a stratum's queries. Percentile intervals.

Shape legend: M metrics, B resamples, Q queries, C clusters, S strata.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

FEWEST_CASES = 10
"""Of fewer clusters no interval is drawn: resampling them says more of their number than of the figure."""
_LARGEST_PART = 2**23
"""Weights of resamples held at once for what is no mean."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure, NaN where no query counts, with its percentile interval, NaN where there are under `FEWEST_CASES` cases."""

    value: float
    low: float
    high: float


def intervals(
    value_MQ: Float64, cluster_Q: Codes, stratum_Q: Codes, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> list[Interval]:
    """Bootstrap intervals of macro means; for paired differences pass the differences of two rankers' values per query.

    Args:
        value_MQ: M metrics, or differences of them, of each query, [M, Q]; NaN leaves a query out of that metric.
        cluster_Q: code of the case that a query stands or falls with.
        stratum_Q: code of the query's class; one code for all gives the plain mean.
        resamples: B.
        level: coverage aimed at, in (0, 1).
        seed: of the resampling; equal seeds and clusters draw equal resamples.

    Returns:
        For each metric the figure on all queries, and the percentiles of it over the resamples.
    """
    sum_MCS, count_MCS = _sums(value_MQ, cluster_Q, stratum_Q)
    clusters = sum_MCS.shape[1]
    if not clusters:
        return [Interval(np.nan, np.nan, np.nan)] * len(value_MQ)
    weight_BC = _drawn(clusters, resamples, seed)
    value_M = _macro(np.ones((1, clusters)), sum_MCS, count_MCS)[:, 0]
    drawn_MB = _macro(weight_BC, sum_MCS, count_MCS)
    # A resample without any query of a metric has no figure; with ten cases or more that all but never happens.
    enough_M = (count_MCS.sum(axis=2) > 0).sum(axis=1) >= FEWEST_CASES
    return [_interval(value, drawn_B, enough, level) for value, drawn_B, enough in zip(value_M, drawn_MB, enough_M, strict=True)]


def median_interval(value_Q: Float64, cluster_Q: Codes, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Interval:
    """Bootstrap interval of a median over queries; arguments as of `intervals`."""
    counted_Q = np.flatnonzero(~np.isnan(value_Q))
    if not len(counted_Q):
        return Interval(np.nan, np.nan, np.nan)
    order_Q = counted_Q[value_Q[counted_Q].argsort(kind="stable")]
    statistic = partial(_medians, value_Q[order_Q])
    return statistic_interval(statistic, cluster_Q[order_Q], resamples=resamples, level=level, seed=seed)


def statistic_interval(
    statistic: Callable[[Float64], Float64], cluster_Q: Codes, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> Interval:
    """Bootstrap interval of a statistic that is no mean over queries.

    Args:
        statistic: how often each resample has each query, [B, Q], to the resamples' figures, [B]; NaN where it has none.
        cluster_Q: as in `intervals`, as are the others.
    """
    clusters, cluster_Q = np.unique(cluster_Q, return_inverse=True)
    weight_BC = _drawn(len(clusters), resamples, seed)
    parts = np.array_split(weight_BC, -(-resamples * len(cluster_Q) // _LARGEST_PART))
    drawn_B = np.concatenate([statistic(weight_bC[:, cluster_Q]) for weight_bC in parts])
    value = statistic(np.ones((1, len(cluster_Q))))[0]
    return _interval(value, drawn_B, len(clusters) >= FEWEST_CASES, level)


def _medians(rising_Q: Float64, weight_BQ: Float64) -> Float64:
    """Median of the values, each as often as its weight says, for each row of weights: that of `np.median`."""
    reached_BQ = weight_BQ.cumsum(axis=1)
    half_B1 = reached_BQ[:, -1:] / 2
    lower_B, upper_B = (reached_BQ < half_B1).sum(axis=1), (reached_BQ <= half_B1).sum(axis=1)
    middle_B: Float64 = (rising_Q[lower_B] + rising_Q[upper_B]) / 2
    return middle_B


def _drawn(clusters: int, resamples: int, seed: int) -> Float64:
    """How often each resample has each cluster, [B, C]."""
    uniform_C = np.full(clusters, 1 / clusters)
    return np.random.default_rng(seed).multinomial(clusters, uniform_C, size=resamples).astype(np.float64)


def _interval(value: float, drawn_B: Float64, enough: bool, level: float) -> Interval:
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.nanquantile(drawn_B, tails) if enough else (np.nan, np.nan)
    return Interval(float(value), float(low), float(high))


def _sums(value_MQ: Float64, cluster_Q: Codes, stratum_Q: Codes) -> tuple[Float64, Float64]:
    """Sum and count of each metric's values of each cluster in each stratum, both [M, C, S]."""
    counted_MQ = ~np.isnan(value_MQ)
    counted_Q = counted_MQ.any(axis=0)
    clusters, cluster_Q = np.unique(cluster_Q[counted_Q], return_inverse=True)
    strata, stratum_Q = np.unique(stratum_Q[counted_Q], return_inverse=True)
    sum_CSM, count_CSM = np.zeros((2, len(clusters), len(strata), len(value_MQ)))
    np.add.at(sum_CSM, (cluster_Q, stratum_Q), np.nan_to_num(value_MQ[:, counted_Q]).T)
    np.add.at(count_CSM, (cluster_Q, stratum_Q), counted_MQ[:, counted_Q].T)
    return np.moveaxis(sum_CSM, 2, 0), np.moveaxis(count_CSM, 2, 0)


def _macro(weight_BC: Float64, sum_MCS: Float64, count_MCS: Float64) -> Float64:
    """Mean over strata of the weighted mean within, [M, B]; a stratum that a resample missed is left out of it."""
    count_MBS = weight_BC @ count_MCS
    drawn_MBS = count_MBS > 0
    mean_MBS = np.divide(weight_BC @ sum_MCS, count_MBS, out=np.zeros_like(count_MBS), where=drawn_MBS)
    strata_MB = drawn_MBS.sum(axis=2)
    macro_MB: Float64 = np.divide(mean_MBS.sum(axis=2), strata_MB, out=np.full(strata_MB.shape, np.nan), where=strata_MB > 0)
    return macro_MB
