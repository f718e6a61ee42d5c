"""Concept vectors from co-occurrence: the truncated SVD of the positive pointwise mutual information of concepts in captions."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import svds

_CONTEXT_EXPONENT = 0.75
_DENSE_BELOW = 200


def cooccurrence_vectors(attribute_NM: sparse.csr_array, dimension: int) -> npt.NDArray[np.float32]:
    """W = U √S of the PPMI matrix, largest singular values first, each column's largest entry positive.

    Args:
        attribute_NM: 1.0 where image n has concept m; CSR, [N, M].
        dimension: d; columns beyond the rank that can be computed are left out.

    Returns:
        float32, [M, ≤ d].
    """
    ppmi_MM = _ppmi(attribute_NM)
    concepts = ppmi_MM.shape[0]
    if min(dimension, concepts, ppmi_MM.nnz) == 0:
        return np.zeros((concepts, 0), np.float32)
    if concepts <= max(_DENSE_BELOW, dimension):
        left, strength, _ = np.linalg.svd(ppmi_MM.toarray())
    else:
        left, strength, _ = svds(ppmi_MM, k=dimension, v0=np.ones(concepts), solver="arpack")
    order = np.argsort(-strength, kind="stable")[:dimension]
    vectors_Md = left[:, order] * np.sqrt(strength[order])
    sign_d = np.sign(vectors_Md[np.abs(vectors_Md).argmax(axis=0), np.arange(vectors_Md.shape[1])])
    signed_Md: npt.NDArray[np.float32] = (vectors_Md * sign_d).astype(np.float32)
    return signed_Md


def _ppmi(attribute_NM: sparse.csr_array) -> sparse.csr_array:
    """max(0, ln(p(c, a) / (p(c) q(a)))), q the context distribution raised to .75; diagonal 0; CSR, [M, M]."""
    count_MM = sparse.coo_array(attribute_NM.T @ attribute_NM)
    off_diagonal = count_MM.row != count_MM.col
    row, column, count = count_MM.row[off_diagonal], count_MM.col[off_diagonal], count_MM.data[off_diagonal]
    if len(count) == 0:
        return sparse.csr_array(count_MM.shape)
    total_M = np.bincount(row, count, minlength=count_MM.shape[0])
    context_M = total_M**_CONTEXT_EXPONENT
    information = np.log(count * context_M.sum() / (total_M[row] * context_M[column]))
    kept = information > 0
    return sparse.csr_array((information[kept], (row[kept], column[kept])), shape=count_MM.shape)
