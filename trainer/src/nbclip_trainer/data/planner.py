"""Which rows each step takes: a pure function of seed and step, the same on every rank and after every resume."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain

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


Bad = Collection[int]
"""Rows whose images can't be decoded: no batch has them."""


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """The batches of a run: each epoch a new order of all rows, the rest that fills no batch left out.

    In the place of a bad row stands the next good one of the epoch's order, which is then in two batches of the epoch. So a batch
    depends on which rows are bad, and not on when they were found to be; and no other batch changes.

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

    def batch(self, step: int, bad: Bad = ()) -> PlannedBatch:
        """The batch of a step; raises InvalidInput where the good rows do not fill it."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order, start = _order(self.rows, self.seed, epoch), place * self.batch_size
        end = start + self.batch_size
        rows = good_rows(order[start:end].tolist(), chain(order[end:], order[:start]), bad) if bad else order[start:end]
        if len(rows) < self.batch_size:
            raise InvalidInput(
                f"{self.rows - len(bad)} training pairs whose images can be decoded do not fill a batch of {self.batch_size}",
                hint="lower batch_size, or fix the images",
            )
        return PlannedBatch(step, epoch, np.asarray(rows, np.int64))

    def batches(self, first_step: int = 0, bad: Callable[[], Bad] = tuple) -> Iterator[PlannedBatch]:
        """The batches from `first_step` on, each without the rows that are known to be bad when its turn comes."""
        for step in range(first_step, self.steps):
            yield self.batch(step, bad())


def good_rows(rows: Iterable[int], following: Iterable[int], bad: Bad) -> list[int]:
    """The rows of a batch, in the places of bad ones the next good ones of `following`; fewer rows where those run out."""
    others = (int(row) for row in following if row not in bad)
    filled = (next(others, None) if row in bad else row for row in rows)
    return [row for row in filled if row is not None]


@lru_cache(maxsize=2)
def _order(rows: int, seed: int, epoch: int) -> npt.NDArray[np.uint32]:
    # At ten million rows each rank holds two of these. Numbers of half the width are shuffled alike.
    order = np.arange(rows, dtype=np.uint32)
    np.random.default_rng((seed, epoch)).shuffle(order)
    return order
