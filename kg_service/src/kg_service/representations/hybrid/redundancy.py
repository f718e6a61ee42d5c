"""Redundancy of concepts: how far the images of one are those of another.

One word of a caption often brings several concepts (pneumonia and lung disease; or a linker that keeps its runners-up), and a
word that brings five would count five times. So each concept's weight is shared with those beside it that stand for the same.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from kg_service.representations.weights import both_ways, entries

_LEAST = 0.5
"""Concepts that stand together less often than apart say different things."""


def overlaps(count_MM: sparse.csr_array) -> sparse.csr_array:
    """J: Jaccard index of the images of two concepts where it is .5 or more, diagonal 0; float32 CSR, [M, M], symmetric.

    Args:
        count_MM: how many images have both concepts (`weights.together`).
    """
    frequency_M = count_MM.diagonal()
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for one, other, both in entries(count_MM):
        share = both / (frequency_M[one] + frequency_M[other] - both)
        kept = (share >= _LEAST) & (one != other)
        found.append((one[kept], other[kept], share[kept].astype(np.float32)))
    lower, higher, jaccard = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return both_ways(lower, higher, jaccard, len(frequency_M))
