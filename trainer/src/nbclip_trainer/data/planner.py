"""Which rows each step takes: a pure function of seed and step, the same on every rank and after every resume."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from nbclip.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class PlannedBatch:
    """One step's global batch, or one rank's share of it.

    Attributes:
        step: counted from 0 over the whole run.
        epoch: counted from 0.
        rows: rows of the dataset, int64, [N] or [N / ranks], no row twice.
        offset: place of the first of `rows` in the global batch.
        global_size: N; None where `rows` are the global batch.
    """

    step: int
    epoch: int
    rows: npt.NDArray[np.int64]
    offset: int = 0
    global_size: int | None = None


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The batches of a run: each epoch a new order of all rows, the rest that fills no batch left out.

    Raises:
        InvalidInput: the data do not fill one batch.
    """

    rows: int
    batch_size: int
    epochs: int
    seed: int

    def __post_init__(self) -> None:
        if self.rows < self.batch_size:
            raise InvalidInput(f"{self.rows} training pairs do not fill a batch of {self.batch_size}", hint="lower batch_size")

    @property
    def steps_per_epoch(self) -> int:
        """Full batches in an epoch."""
        return self.rows // self.batch_size

    @property
    def steps(self) -> int:
        """Steps of the whole run."""
        return self.epochs * self.steps_per_epoch

    def batches(self, first_step: int = 0) -> Iterator[PlannedBatch]:
        """The batches from `first_step` on."""
        for epoch in range(first_step // self.steps_per_epoch, self.epochs):
            order = np.random.default_rng((self.seed, epoch)).permutation(self.rows)
            for step in range(max(first_step, epoch * self.steps_per_epoch), (epoch + 1) * self.steps_per_epoch):
                start = (step % self.steps_per_epoch) * self.batch_size
                yield PlannedBatch(step, epoch, order[start : start + self.batch_size])
