"""Image vectors to similarities: S = x·xᵀ between rows and columns of a batch. Pure.

Shape legend: R rows, C columns.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kg_service.representations.model import ImageVectors


def similarity(rows: ImageVectors, columns: ImageVectors, same_RC: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """S: cosine of the image vectors, 0 where either has none, exactly 1 where row and column are the same image.

    Args:
        rows: unit or zero vectors, R of them.
        columns: the same, C of them.
        same_RC: True where the row's image is the column's, [R, C].

    Returns:
        float32 in [-1, 1], [R, C].
    """
    sim_RC: npt.NDArray[np.float32] = (rows.sparse @ columns.sparse.T).toarray()
    sim_RC += rows.dense @ columns.dense.T
    np.clip(sim_RC, -1.0, 1.0, out=sim_RC)
    sim_RC[same_RC] = 1.0
    return sim_RC
