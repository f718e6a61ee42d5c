"""How well a similarity ranks a pool. Shape legend: P images of a pool; each measure gives one figure a query, [P]."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

Floats = npt.NDArray[np.float64]

_JITTER = 1e-6


def ranking(sim_PP: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int64]:
    """Every query's k most similar other images, best first, int64, [P, k]; ties go in one order, whatever the method."""
    jitter_PP = np.random.default_rng(0).random(sim_PP.shape, np.float32) * np.float32(_JITTER)
    distance_PP = jitter_PP - sim_PP
    np.fill_diagonal(distance_PP, np.inf)
    first = np.argpartition(distance_PP, k, axis=1)[:, :k]
    within = np.argsort(np.take_along_axis(distance_PP, first, axis=1), axis=1)
    return np.take_along_axis(first, within, axis=1)


def ncg(order: npt.NDArray[np.int64], gain_PP: npt.NDArray[np.float32], k: int) -> Floats:
    """Gain of the first k over the most that any k could have; NaN where there is none to be had."""
    got = np.take_along_axis(gain_PP, order[:, :k], axis=1).sum(axis=1)
    best = -np.partition(-gain_PP, k - 1, axis=1)[:, :k].sum(axis=1)
    return np.divide(got, best, out=np.full(len(got), np.nan), where=best > 0)


def precision(order: npt.NDArray[np.int64], relevant_PP: npt.NDArray[np.bool_], k: int) -> Floats:
    """Share of the first k that are relevant; NaN where nothing is."""
    share = np.take_along_axis(relevant_PP, order[:, :k], axis=1).mean(axis=1)
    return np.where(relevant_PP.any(axis=1), share, np.nan)


def spearman(sim_PP: npt.NDArray[np.float32], gain_PP: npt.NDArray[np.float32]) -> Floats:
    """Rank correlation of similarity and gain over the other images; NaN where either is constant."""
    off = ~np.eye(len(sim_PP), dtype=bool)
    width = len(sim_PP) - 1
    rank_s, rank_g = (rankdata(m[off].reshape(-1, width), axis=1) - (width + 1) / 2 for m in (sim_PP, gain_PP))
    scale = np.sqrt((rank_s**2).sum(axis=1) * (rank_g**2).sum(axis=1))
    return np.divide((rank_s * rank_g).sum(axis=1), scale, out=np.full(len(scale), np.nan), where=scale > 0)


def paired_interval(
    first: Floats, second: Floats, clusters: npt.NDArray[np.int64], resamples: int = 2_000, seed: int = 0
) -> tuple[float, float, float]:
    """Mean of first - second with its 95 % bootstrap interval; whole clusters (articles) are drawn, with all their queries."""
    both = ~(np.isnan(first) | np.isnan(second))
    total_C = np.bincount(clusters[both], (first - second)[both], minlength=clusters.max() + 1)
    count_C = np.bincount(clusters[both], minlength=clusters.max() + 1)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(count_C), np.full(len(count_C), 1 / len(count_C)), size=resamples)
    means = (drawn @ total_C) / (drawn @ count_C)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(total_C.sum() / count_C.sum()), float(low), float(high)
