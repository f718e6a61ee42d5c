"""What ranks exchange in a step. With a single process every function returns its argument.

Tensors of the model travel on its device; figures and decisions are a few bytes in memory.

Shape legend: R rows (one rank's pairs), C columns (the global batch), D dimensions.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.autograd.function import FunctionCtx, once_differentiable

from nbclip_trainer.parallel.world import World

T = TypeVar("T")
_BUCKET_ELEMENTS = 16 * 2**20


def gathered(rows_RD: Tensor, world: World) -> Tensor:
    """All ranks' rows in rank order, [C, ...]; gradients come back from every rank's loss (open_clip: `gather_with_grad`)."""
    return rows_RD if world.ranks == 1 else cast(Tensor, _Gathered.apply(rows_RD, world.ranks))


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


@torch.no_grad()
def average_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Replaces each gradient by its mean over ranks: that of the global batch, whose loss is the mean of the ranks' losses.

    Parameters without a gradient are the same on every rank, since all have the same graph.
    """
    if world.ranks == 1:
        return
    for bucket in _buckets([parameter.grad for parameter in parameters if parameter.grad is not None]):
        flat = torch.cat([gradient.flatten() for gradient in bucket])
        dist.all_reduce(flat)
        parts = torch.split(flat / world.ranks, [gradient.numel() for gradient in bucket])
        for gradient, part in zip(bucket, parts, strict=True):
            gradient.copy_(part.view(gradient.shape))


def _buckets(gradients: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Few large messages instead of many small ones, none so large that its copy matters; one dtype each."""
    bucket: list[Tensor] = []
    for gradient in gradients:
        if bucket and (bucket[0].dtype != gradient.dtype or sum(part.numel() for part in bucket) >= _BUCKET_ELEMENTS):
            yield bucket
            bucket = []
        bucket.append(gradient)
    if bucket:
        yield bucket


def mean_over_ranks(values: Sequence[float], world: World) -> list[float]:
    """Each value's mean over ranks, the same on all of them."""
    return list(values) if world.ranks == 1 else [value / world.ranks for value in _summed(values)]


def sum_over_ranks(values: Sequence[float], world: World) -> list[float]:
    """Each value's sum over ranks, the same on all of them."""
    return list(values) if world.ranks == 1 else _summed(values)


def _summed(values: Sequence[float]) -> list[float]:
    total = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return cast(list[float], total.tolist())


def on_any_rank(flag: bool, world: World) -> bool:
    """Whether the flag is up on some rank; all ranks get one answer."""
    return sum_over_ranks([float(flag)], world)[0] > 0


def from_all(value: T, world: World) -> list[T]:
    """Each rank's value, in their order, on every rank."""
    if world.ranks == 1:
        return [value]
    parcels: list[Any] = [None] * world.ranks
    dist.all_gather_object(parcels, value)
    return cast(list[T], parcels)


def from_first(value: T, world: World) -> T:
    """Rank 0's value, on every rank; what others give is not looked at."""
    if world.ranks == 1:
        return value
    parcel: list[Any] = [value]
    dist.broadcast_object_list(parcel, device=torch.device("cpu"))
    return cast(T, parcel[0])


@torch.no_grad()
def copy_from_first(model: nn.Module, world: World) -> None:
    """Gives every rank rank 0's weights and statistics."""
    if world.ranks == 1:
        return
    for tensor in model.state_dict().values():
        whole = tensor.contiguous()
        dist.broadcast(whole, src=0)
        tensor.copy_(whole)
