"""What ranks exchange in a step. With a single process every function returns its argument.

Tensors of the model travel on its device; figures and decisions are a few bytes in memory.

Shape legend: R rows (one rank's pairs), C columns (the global batch), D dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import torch
from nbclip import gathering
from torch import Tensor, nn
from torch import distributed as dist

from nbclip_trainer.parallel.world import World

T = TypeVar("T")


def gathered(rows_RD: Tensor, world: World) -> Tensor:
    """All ranks' rows in rank order, [C, ...]; gradients come back from every rank's loss (open_clip: `gather_with_grad`)."""
    return rows_RD if world.ranks == 1 else gathering.gathered(rows_RD)


@torch.no_grad()
def mean_over_ranks(values: Tensor, world: World) -> Tensor:
    """Each value's mean over ranks, the same on all of them, on the values' device: on a GPU nothing waits for it."""
    if world.ranks == 1:
        return values.detach()
    total = values.detach().clone()
    dist.all_reduce(total)
    return total / world.ranks


def sum_over_ranks(values: Sequence[float], world: World) -> list[float]:
    """Each value's sum over ranks, the same on all of them; it travels from memory to memory and waits for no GPU."""
    if world.ranks == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(total)
    return cast(list[float], total.tolist())


def wait_for_all(world: World) -> None:
    """Returns once every rank has come here."""
    sum_over_ranks([0.0], world)


def on_any_rank(flag: bool, world: World) -> bool:
    """Whether the flag is up on some rank; all ranks get one answer."""
    return sum_over_ranks([float(flag)], world)[0] > 0


def from_all(value: T, world: World) -> list[T]:
    """Each rank's value, in their order, on every rank."""
    return [value] if world.ranks == 1 else gathering.from_all(value)


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
