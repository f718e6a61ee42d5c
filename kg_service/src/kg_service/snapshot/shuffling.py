"""Edges with their targets shuffled: what leads where is by chance, how many edges each concept has is as it was.

A shuffle swaps the targets of two edges at a time, (a, b) and (c, d) to (a, d) and (c, b), where this gives no edge twice and
both go up: each concept has a rank, its height over these edges and within one height at random. So no cycle comes up, and every
concept keeps its number of edges that leave it and that lead to it. Swapping edges to sample graphs by degree: Milo et al., arXiv
cond-mat/0312028; in an order, so that they stay acyclic: Karrer and Newman, Phys. Rev. Lett. 102 (2009).

Shape legend: M concepts, E edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csgraph

from kg_service.representations.weights import edge_matrix

_SWAPS_PER_EDGE = 10


def shuffled(edges_E2: npt.NDArray[np.int32], concepts: int, seed: int) -> tuple[npt.NDArray[np.int32], int]:
    """The edges after the shuffle, distinct, sorted, int32, [E, 2]; and how many of them there were not before.

    Of few edges no two may be able to change places.
    """
    rng = np.random.default_rng(seed)
    rank = _ranks(edges_E2, concepts, rng).tolist()
    source, target = edges_E2.T.tolist()
    held = set(zip(source, target, strict=True))
    for first, second in rng.integers(len(source), size=(_SWAPS_PER_EDGE * len(source), 2)).tolist() if source else ():
        a, b, c, d = source[first], target[first], source[second], target[second]
        if rank[a] < rank[d] and rank[c] < rank[b] and held.isdisjoint(((a, d), (c, b))):
            held -= {(a, b), (c, d)}
            held |= {(a, d), (c, b)}
            target[first], target[second] = d, b
    moved = len(held.difference(map(tuple, edges_E2.tolist())))
    return np.array(sorted(held), np.int32).reshape(-1, 2), moved


def _ranks(edges_E2: npt.NDArray[np.int32], concepts: int, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """The longest way down from each concept, and below 1 at random; concepts of one cycle have one rank; [M]."""
    parts, part_M = csgraph.connected_components(edge_matrix(edges_E2, concepts), connection="strong")
    source_E, target_E = part_M[edges_E2[:, 0]], part_M[edges_E2[:, 1]]
    source_E, target_E = source_E[source_E != target_E], target_E[source_E != target_E]
    height, lower = np.zeros(parts), np.full(parts, -1.0)
    while (height != lower).any():
        lower = height.copy()
        np.maximum.at(height, target_E, lower[source_E] + 1)
    ranks_M: npt.NDArray[np.float64] = (height + rng.random(parts))[part_M]
    return ranks_M
