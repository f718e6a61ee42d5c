"""What the ranks of torch.distributed give each other for a loss; in a process that is alone every function returns its argument.

Shape legend: R rows (one rank's pairs), C columns (the global batch), D dimensions.
"""

from __future__ import annotations

from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from torch import distributed as dist
from torch.autograd.function import FunctionCtx, once_differentiable

T = TypeVar("T")


def place() -> tuple[int, int]:
    """This process's rank, from 0, and the number of ranks; (0, 1) where torch.distributed is not initialised."""
    if not dist.is_available() or not dist.is_initialized():
        return 0, 1
    return dist.get_rank(), dist.get_world_size()


def gathered(rows_RD: Tensor) -> Tensor:
    """All ranks' rows in rank order, [C, ...]; gradients come back from every rank's loss (open_clip: `gather_with_grad`).

    Args:
        rows_RD: of any floating dtype, of one shape on all ranks, which call this together.
    """
    _, ranks = place()
    return rows_RD if ranks == 1 else cast(Tensor, _Gathered.apply(rows_RD, ranks))


def from_all(value: T) -> list[T]:
    """Each rank's value, in their order, on every rank; all ranks call this together. It travels by pickle.

    With NCCL alone it passes through GPUs, which are waited for; a group of `cpu:gloo,cuda:nccl` sends it from memory to memory.
    """
    _, ranks = place()
    if ranks == 1:
        return [value]
    parcels: list[Any] = [None] * ranks
    dist.all_gather_object(parcels, value)
    return cast(list[T], parcels)


class _Gathered(torch.autograd.Function):
    """All-gather whose backward is a reduce-scatter: a row's gradient is the sum of what each rank's loss gave it."""

    @staticmethod
    def forward(ctx: FunctionCtx, rows_RD: Tensor, ranks: int) -> Tensor:
        columns_CD = rows_RD.new_empty(ranks * len(rows_RD), *rows_RD.shape[1:])
        dist.all_gather_into_tensor(columns_CD, rows_RD.contiguous())
        return columns_CD

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient_CD: Tensor) -> tuple[Tensor, None]:
        gradient_RD = gradient_CD.new_empty(len(gradient_CD) // dist.get_world_size(), *gradient_CD.shape[1:])
        dist.reduce_scatter_tensor(gradient_RD, gradient_CD.contiguous())
        return gradient_RD, None
