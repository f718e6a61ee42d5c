"""Similarities on the device that trains: the service's matrix copied there, or image vectors multiplied there.

Shape legend: R rows (one rank's images), C columns (the global batch), A concepts of the batch, P entries, d dense dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from nbclip.codec import TargetMatrix
from nbclip.vectors import VectorBatch
from torch import Tensor

from nbclip_trainer.targets.source import Answer

_COLUMNS_AT_ONCE = 2_048
"""Bounds the dense weights of a block of columns: 160 MB for 20,000 concepts."""


def similarity_on(device: torch.device, answer: Answer, own_R: Tensor) -> Tensor:
    """S of a source's answer, float32 in [-1, 1], [R, C]; a row's own column is 1.

    Args:
        device: where the loss is computed.
        answer: the matrix, or the vectors of the columns.
        own_R: column of each row's own image, int64, [R].
    """
    if isinstance(answer, TargetMatrix):
        return torch.from_numpy(answer.values.copy()).to(device)
    own_R = own_R.to(device)
    similarity_RC = multiply(answer, own_R, device)
    return similarity_RC.scatter_(1, own_R[:, None], 1.0)


@torch.no_grad()
def multiply(batch: VectorBatch, rows_R: Tensor, device: torch.device) -> Tensor:
    """x·xᵀ of some of the batch's images with all of them, clipped to [-1, 1]; float32, [R, C], equal to the service's to 1e-5.

    Sparse rows meet the columns' dense weights a block at a time. TF32, which has three decimals, is never used.
    """
    dense_Cd = torch.from_numpy(batch.dense).to(device).float()
    with _whole_float32():
        similarity_RC = dense_Cd[rows_R] @ dense_Cd.T
    concepts, concept_P = torch.unique(torch.from_numpy(batch.indices).to(device), return_inverse=True)
    indptr = torch.from_numpy(batch.indptr).to(device).long()
    image_P = torch.repeat_interleave(torch.arange(len(batch), device=device), indptr.diff())
    weight_P = torch.from_numpy(batch.data).to(device).float()
    place_2P, shape = torch.stack((image_P, concept_P)), (len(batch), len(concepts))
    sparse_RA = torch.sparse_coo_tensor(place_2P, weight_P, shape, check_invariants=False).index_select(0, rows_R)
    for start in range(0, len(batch), _COLUMNS_AT_ONCE):
        end = min(start + _COLUMNS_AT_ONCE, len(batch))
        of_block = slice(indptr[start], indptr[end])
        weight_AB = weight_P.new_zeros(len(concepts), end - start)
        weight_AB[concept_P[of_block], image_P[of_block] - start] = weight_P[of_block]
        similarity_RC[:, start:end] += torch.sparse.mm(sparse_RA, weight_AB)
    return similarity_RC.clamp_(-1, 1)


@contextmanager
def _whole_float32() -> Iterator[None]:
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(precision)
