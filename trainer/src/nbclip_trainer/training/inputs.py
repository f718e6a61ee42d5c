"""What each step takes: images and similarities of the same pairs on every rank, none of them with an image that is bad.

An image that can't be decoded is found by the rank whose turn it is to decode it, before the step. All ranks take it into their
quarantine at once, plan the batch anew (`BatchPlan`), and decode and ask for what has changed. What was decoded and asked for
ahead, by the plan of before, is put right when its turn comes. So the steps of a run follow from which images are bad, and not
from when that was found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
from nbclip.errors import NBClipError
from nbclip.prefetch import Prefetched
from torch import Tensor

from nbclip_trainer.data.images import Decoded, completed
from nbclip_trainer.data.planner import PlannedBatch, good_rows
from nbclip_trainer.errors import RankLost
from nbclip_trainer.parallel.collectives import sum_over_ranks
from nbclip_trainer.runs.quarantine import Quarantined
from nbclip_trainer.targets.source import Answer
from nbclip_trainer.training.session import Pairs, Session

Keep = Callable[[list[Quarantined]], None]
"""Writes down what was newly left out."""


class Inputs(NamedTuple):
    """A step's global batch, this rank's images and similarities, and the seconds that each was waited for."""

    batch: PlannedBatch
    images: Tensor
    matrix: Answer
    data_wait: float
    target_wait: float


class _Ahead(NamedTuple):
    """What was decoded and asked for ahead, for the batch as it was planned then."""

    decoded: Decoded
    batch: PlannedBatch
    matrix: Answer
    data_wait: float
    target_wait: float


class Intake:
    """The inputs of one step after the other; use as a context manager, which works ahead."""

    def __init__(self, session: Session, first_step: int, keep: Keep) -> None:
        """`keep` is told on every rank what was newly left out."""
        self._session, self._keep = session, keep
        self._images = session.train.images.training(session.world.share(batch) for batch in self._planned(first_step))
        answers = ((batch, session.answer(batch)) for batch in self._planned(first_step))
        self._answers = Prefetched(answers, session.config.service.prefetch)

    def take(self, step: int, *, stopping: bool) -> Inputs | None:
        """The inputs of a step; None where a rank was told to stop. All ranks take a step or none does.

        Raises:
            NBClipError: this rank has no targets; too many images are bad.
            RankLost: another rank has no targets.
        """
        ahead, inputs = None, None
        bad: dict[int, str] = {}
        while True:
            try:
                if not stopping:
                    ahead = ahead or self._awaited()
                    inputs, bad = self._put_right(step, ahead)
            except NBClipError:
                sum_over_ranks([False, True, False], self._session.world)
                raise
            stopped, failed, found = sum_over_ranks([stopping, False, bool(bad)], self._session.world)
            if failed:
                raise RankLost("another rank has no images or targets for the next step", hint="its own message says why")
            if stopped or not found:
                return None if stopped else inputs
            self._keep(self._session.train.quarantine.add(bad, step))

    def _planned(self, first_step: int) -> Iterator[PlannedBatch]:
        return self._session.plan.batches(first_step, lambda: self._session.train.quarantine.bad)

    def _awaited(self) -> _Ahead:
        started = time.perf_counter()
        decoded = next(self._images)
        has_images = time.perf_counter()
        batch, matrix = next(self._answers)
        return _Ahead(decoded, batch, matrix, has_images - started, time.perf_counter() - has_images)

    def _put_right(self, step: int, ahead: _Ahead) -> tuple[Inputs | None, dict[int, str]]:
        """The inputs by what is known to be bad now, or what this rank has found beside."""
        session, images = self._session, self._session.train.images
        batch = session.plan.batch(step, session.train.quarantine.bad)
        share = session.world.share(batch)

        def decode(rows: list[int]) -> Decoded:
            return next(images.at_once().training([replace(share, rows=np.array(rows, np.int64))]))

        decoded = completed(share.rows.tolist(), ahead.decoded, decode)
        if decoded.bad:
            return None, decoded.bad
        matrix = ahead.matrix if np.array_equal(batch.rows, ahead.batch.rows) else session.answer(batch)
        return Inputs(batch, decoded.pixels, matrix, ahead.data_wait, ahead.target_wait), {}

    def __enter__(self) -> Self:
        self._answers.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._answers.__exit__(kind, error, trace)
        # The processes that decode end with their iterator.
        self._images = iter(())


def plain_batches(pairs: Pairs, batches: Sequence[range], found: dict[int, str]) -> Iterator[tuple[list[int], Tensor]]:
    """Rows and images of batches in file order, in the places of bad images the next good ones.

    What is found to be bad is added to `found`.
    """
    every = range(len(pairs.dataset))

    def good(rows: range) -> list[int]:
        following = chain(every[rows.stop :], every[: rows.start])
        return good_rows(rows, following, {**pairs.quarantine.bad, **found})

    for rows, decoded in zip(batches, pairs.images.plain(good(rows) for rows in batches), strict=True):
        while (whole := completed(good(rows), decoded, lambda lacking: next(pairs.images.at_once().plain([lacking])))).bad:
            found.update(whole.bad)
        yield whole.rows, whole.pixels
