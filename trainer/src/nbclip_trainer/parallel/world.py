"""Where a process stands among the ranks of a run, on which device it computes, and how ranks find each other.

torchrun and srun say it by environment variables; a process without them is alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from nbclip.errors import InvalidInput
from torch import Tensor
from torch import distributed as dist
from torch.distributed import PrefixStore  # type: ignore[attr-defined]
from torch.distributed.rendezvous import rendezvous

from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.errors import RankLost
from nbclip_trainer.parallel.settings import DeviceSettings

_VARIABLES = (("RANK", "LOCAL_RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_STEP_NUM_TASKS"))
"""torchrun's and srun's names for the same three numbers."""


@dataclass(frozen=True, slots=True)
class World:
    """One rank's place.

    Attributes:
        device: where this rank computes.
        rank: counted from 0.
        ranks: how many there are.
    """

    device: torch.device
    rank: int = 0
    ranks: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is rank 0, which alone writes and shows anything."""
        return self.rank == 0

    def own(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """This rank's equal share of a global batch, [N] to [N / ranks]."""
        return np.split(rows, self.ranks)[self.rank]

    def share(self, batch: PlannedBatch) -> PlannedBatch:
        """This rank's part of a planned batch."""
        rows = self.own(batch.rows)
        return replace(batch, rows=rows, offset=self.rank * len(rows), global_size=len(batch.rows))

    def own_columns(self, batch_size: int) -> Tensor:
        """Columns of this rank's own images in the global batch, int64, [N / ranks]."""
        share = batch_size // self.ranks
        return torch.arange(share, device=self.device) + self.rank * share

    def check_divides(self, batch_size: int) -> None:
        """Refuses a global batch that ranks can't share equally, since the mean over ranks would not be the mean over pairs."""
        if batch_size % self.ranks:
            below = batch_size - batch_size % self.ranks
            raise InvalidInput(
                f"batch_size={batch_size} is the global batch, and {self.ranks} ranks can't share it equally",
                hint=f"batch_size={below or self.ranks}, or another number of processes",
            )


class _Place(NamedTuple):
    rank: int
    local_rank: int
    ranks: int


def alone(settings: DeviceSettings) -> World:
    """The world of a single process.

    Raises:
        InvalidInput: no such device here.
    """
    return World(_device(settings, _Place(0, 0, 1)))


@contextmanager
def joined(settings: DeviceSettings, *, patience: float = 1800.0) -> Iterator[World]:
    """This process's world: joins the ranks that torchrun or srun started, or is alone.

    Args:
        settings: which device; with several ranks on GPUs each takes that of its local rank.
        patience: seconds that a rank waits for another one before it takes it for lost.

    Raises:
        InvalidInput: no such device here; ranks of srun that were not told where rank 0 is.
        RankLost: another rank did not come, or went away.
    """
    place = _place(os.environ)
    if place is None or place.ranks == 1:
        yield World(_device(settings, place or _Place(0, 0, 1)))
        return
    _check_address(os.environ)
    device = _device(settings, place)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    with lost_ranks_named():
        # Figures and decisions travel over gloo, from memory to memory, so that they never wait for a GPU's queue.
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo",
            store=_store(place, timedelta(seconds=patience)),
            rank=place.rank,
            world_size=place.ranks,
            timeout=timedelta(seconds=patience),
        )
        yield World(device, place.rank, place.ranks)
        # Only after success: what failed may have left others in the middle of a call that this would wait for.
        dist.destroy_process_group()


@contextmanager
def lost_ranks_named() -> Iterator[None]:
    """Turns torch's ways of saying that another rank is gone into one line."""
    try:
        yield
    except RuntimeError as error:
        # gloo has no error class of its own.
        if not isinstance(error, dist.DistError) and "gloo" not in str(error):
            raise
        raise RankLost(
            f"another rank is gone: {' '.join(str(error).split()):.200}",
            hint="its own message says why; torchrun --max-restarts N starts all of them again from the newest checkpoint",
        ) from error


def restarts() -> int:
    """How often torchrun has started this run's ranks again after one of them died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def tower_dtype(world: World, settings: DeviceSettings) -> torch.dtype:
    """What the towers compute in: where `device.precision` is auto, bfloat16 on a GPU and float32 on a CPU."""
    if settings.precision == "fp16":
        return torch.float16
    half = settings.precision == "bf16" or (settings.precision == "auto" and world.device.type == "cuda")
    return torch.bfloat16 if half else torch.float32


def autocast(world: World, settings: DeviceSettings) -> torch.autocast:
    """Half precision for the towers where `tower_dtype` is such."""
    dtype = tower_dtype(world, settings)
    half = dtype != torch.float32
    return torch.autocast(world.device.type, dtype=dtype if half else torch.bfloat16, enabled=half)


def _place(environment: Mapping[str, str]) -> _Place | None:
    for names in _VARIABLES:
        if all(name in environment for name in names):
            return _Place(*(int(environment[name]) for name in names))
    return None


def _store(place: _Place, timeout: timedelta) -> PrefixStore:
    """Where ranks tell each other their addresses.

    torchrun's store outlives the ranks it starts again; without a prefix they would find the addresses of the dead ones.
    """
    store, _, _ = next(rendezvous("env://", place.rank, place.ranks, timeout=timeout))
    return PrefixStore(f"restart {restarts()}", store)


def _check_address(environment: Mapping[str, str]) -> None:
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in environment]
    if missing:
        raise InvalidInput(
            f"several ranks, and {' and '.join(missing)} not set: where is rank 0?",
            hint='export MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1) MASTER_PORT=29500',
        )


def _device(settings: DeviceSettings, place: _Place) -> torch.device:
    name = settings.name if settings.name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and place.ranks > 1:
        name = f"cuda:{place.local_rank}"
    elif name.startswith("cuda:") and place.ranks > 1:
        raise InvalidInput(f"device.name={name!r} is one GPU for {place.ranks} ranks", hint="device.name=auto gives each its own")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        if reason.startswith("Expected one of"):  # twenty kinds of devices that torch has names for
            reason = "no such device"
        raise InvalidInput(f"device.name={name!r}: {reason}", hint="auto, cpu, cuda or cuda:N") from error
    return device
