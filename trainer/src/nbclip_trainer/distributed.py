"""Where a process stands among the ranks of a run, and on which device it computes. Today a run has one rank."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from nbclip_shared.errors import InvalidInput
from torch import Tensor

from nbclip_trainer.config import DeviceSettings


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

    def own(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """This rank's equal share of a global batch, [N] to [N / ranks]."""
        return np.split(rows, self.ranks)[self.rank]

    def own_columns(self, batch_size: int) -> Tensor:
        """Columns of this rank's own images in the global batch, int64, [N / ranks]."""
        share = batch_size // self.ranks
        return torch.arange(share, device=self.device) + self.rank * share


def alone(settings: DeviceSettings) -> World:
    """The world of a single process.

    Raises:
        InvalidInput: no such device here.
    """
    name = settings.name if settings.name != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InvalidInput(f"device.name={name!r}: {str(error).splitlines()[0]}", hint="auto, cpu, cuda or cuda:N") from error
    return World(device)


def autocast(world: World, settings: DeviceSettings) -> torch.autocast:
    """bfloat16 for the towers where `device.precision` says so: on a GPU by default, never by default on a CPU."""
    kind = world.device.type
    half = settings.precision == "bf16" or (settings.precision == "auto" and kind == "cuda")
    return torch.autocast(kind, dtype=torch.bfloat16, enabled=half)
