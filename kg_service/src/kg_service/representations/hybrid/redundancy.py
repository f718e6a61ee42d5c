"""Redundancy of concepts: how far the images of one are those of another.

One word of a caption often brings several concepts (pneumonia and lung disease; or a linker that keeps its runners-up), and a
word that brings five would count five times. So each concept's weight is shared with those beside it that stand for the same.
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from kg_service.representations.weights import both_ways

_LEAST = 0.5
"""Concepts that stand together less often than apart say different things."""


def overlaps(count_MM: sparse.csr_array) -> sparse.csr_array:
    """J: Jaccard index of the images of two concepts where it is .5 or more, diagonal 0; float32 CSR, [M, M], symmetric.

    Args:
        count_MM: how many images have both concepts (`weights.together`).
    """
    both, frequency_M = sparse.coo_array(count_MM), count_MM.diagonal()
    share = both.data / (frequency_M[both.row] + frequency_M[both.col] - both.data)
    kept = (share >= _LEAST) & (both.row != both.col)
    return both_ways(both.row[kept], both.col[kept], share[kept].astype(np.float32), len(frequency_M))
