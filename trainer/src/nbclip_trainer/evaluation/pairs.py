"""Retrieval of pairs: does an image find its caption, and a caption its image?

    Recall@K      1 where a right item is among the first K, else 0; the mean over queries is the R@K of the literature
    median rank   rank of the first right item, from 1; the median over queries

Captions that are equal but for white space have one key (`nbclip.ids.caption_key`, as in the losses). Every caption with the key
of the query's own is right, and so is every image whose caption has it. All images of the split are candidates, also those of
the query's own case: the own pair is what is looked for, and the others only make it harder. Ties are as in `ranking.rank`.

Shape legend: Q queries.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from nbclip_trainer.evaluation.retrieval import missed_by_chance

Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
MEDIAN_RANK = "median rank"
"""The one figure that is a median over queries and no mean."""


def pair_figures(rank_Q: Int64, ks: Sequence[int]) -> dict[str, Float64]:
    """`Recall@K` for each K, and the rank itself as `median rank`, per query.

    Args:
        rank_Q: rank of each query's first right item, from 1 (`ranking.first_right`).
        ks: cut-offs.
    """
    recall = {f"Recall@{k}": (rank_Q <= k).astype(np.float64) for k in ks}
    return {**recall, MEDIAN_RANK: rank_Q.astype(np.float64)}


def pair_chance(right_Q: Int64, gallery: int, ks: Sequence[int]) -> dict[str, Float64]:
    """Expectation of `pair_figures` over all orders of the gallery.

    Args:
        right_Q: R, right items of each query, at least 1.
        gallery: G, its size.
        ks: as in `pair_figures`.

    Returns:
        Recall@K: 1 - C(G - R, K) / C(G, K). Rank: (G + 1) / (R + 1), the mean of the smallest of R places drawn from G.
    """
    whole_Q = np.full(len(right_Q), gallery)
    recall = {f"Recall@{k}": 1 - missed_by_chance(whole_Q, right_Q, k) for k in ks}
    return {**recall, MEDIAN_RANK: (gallery + 1) / (right_Q + 1.0)}
