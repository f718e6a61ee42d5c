"""Precision at K and average precision of class retrieval, per query, and what chance would reach.

A retrieved item is relevant if it has the query's class. Shape legend: Q queries, K ranks; `relevant_QK` is a ranking with
relevance in place of gallery indices.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nbclip_trainer.evaluation.ranking import NOTHING

Float64 = npt.NDArray[np.float64]


def relevance(
    index_QK: npt.NDArray[np.int64], query_class_Q: npt.NDArray[np.int64], gallery_class_G: npt.NDArray[np.int64]
) -> npt.NDArray[np.bool_]:
    """True where the item at a rank has the query's class, bool, [Q, K]; False at empty ranks."""
    return np.asarray((gallery_class_G[index_QK] == query_class_Q[:, None]) & (index_QK != NOTHING))


def precision_at(relevant_QK: npt.NDArray[np.bool_], k: int) -> Float64:
    """Relevant items among the first k, over k (also where fewer than k could be retrieved): [0, 1], [Q]."""
    return np.asarray(relevant_QK[:, :k].sum(axis=1) / k, np.float64)


def average_precision(relevant_QK: npt.NDArray[np.bool_]) -> Float64:
    """Mean of the precision at each relevant item's rank, over the whole ranking: [0, 1], [Q]; NaN without relevant items."""
    hits_QK = relevant_QK.cumsum(axis=1)
    precision_QK = hits_QK / np.arange(1, relevant_QK.shape[1] + 1)
    total_Q = relevant_QK.sum(axis=1)
    summed_Q = (precision_QK * relevant_QK).sum(axis=1)
    mean_Q: Float64 = np.divide(summed_Q, total_Q, out=np.full(len(total_Q), np.nan), where=total_Q > 0)
    return mean_Q


def class_figures(relevant_QK: npt.NDArray[np.bool_], ks: Sequence[int]) -> dict[str, Float64]:
    """`P@K` for each k, and `mAP`, per query, of full rankings; NaN for a query without a relevant candidate."""
    answerable_Q = relevant_QK.any(axis=1)
    figures = {f"P@{k}": np.where(answerable_Q, precision_at(relevant_QK, k), np.nan) for k in ks}
    return {**figures, "mAP": average_precision(relevant_QK)}


def chance_figures(
    relevant_Q: npt.NDArray[np.int64], candidates_Q: npt.NDArray[np.int64], ks: Sequence[int]
) -> dict[str, Float64]:
    """Expectation of `class_figures` over all orders of the candidates.

    Args:
        relevant_Q: R, relevant candidates of each query.
        candidates_Q: N, candidates of each query.
        ks: as in `class_figures`.

    Returns:
        P@K: R/N, less where k exceeds N. mAP: (H_N + (R - 1)/(N - 1)·(N - H_N)) / N with H_N the N-th harmonic number
        (Bestgen, Exact Expected Average Precision of the Random Baseline, 2015).
    """
    relevant_Q, candidates_Q = relevant_Q.astype(np.float64), candidates_Q.astype(np.float64)
    density_Q = np.where(relevant_Q > 0, relevant_Q / np.maximum(candidates_Q, 1), np.nan)
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, int(candidates_Q.max(initial=0)) + 1))])
    harmonic_Q = harmonic[candidates_Q.astype(int)]
    others_Q = (relevant_Q - 1) / np.maximum(candidates_Q - 1, 1)
    expected_Q = (harmonic_Q + others_Q * (candidates_Q - harmonic_Q)) / np.maximum(candidates_Q, 1)
    figures = {f"P@{k}": density_Q * np.minimum(candidates_Q, k) / k for k in ks}
    return {**figures, "mAP": np.where(relevant_Q > 0, expected_Q, np.nan)}


def missed_by_chance(
    candidates_Q: npt.NDArray[np.int64], relevant_Q: npt.NDArray[np.integer[Any] | np.floating[Any]], k: int
) -> Float64:
    """Probability that none of the first k of a random order is relevant: Π_{j<k} (N - R - j) / (N - j), elementwise."""
    missed = np.ones(len(candidates_Q))
    for drawn in range(k):
        left = np.maximum(candidates_Q - drawn, 0)
        missed *= np.where(left > 0, np.maximum(left - relevant_Q, 0) / np.maximum(left, 1), 1)
    return missed
