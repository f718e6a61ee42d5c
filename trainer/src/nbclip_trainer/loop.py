"""The training loop: steps, records, validation, checkpoints, and the ways in which a run can stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from nbclip_shared.codec import TargetMatrix
from nbclip_shared.errors import Conflict, NBClipError
from rich.console import Console
from torch import Tensor

from nbclip_trainer.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from nbclip_trainer.config import TrainConfig
from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.diagnostics import alarms, diagnose
from nbclip_trainer.optimisation import warmup_steps
from nbclip_trainer.progress import Display
from nbclip_trainer.run_folder import check_same_data, check_same_shape, locked, read_facts, write_config, write_facts
from nbclip_trainer.session import Session, build_session, capture, restore
from nbclip_trainer.step import StepResult, train_step, validation_loss
from nbclip_trainer.targets.prefetch import Prefetched
from nbclip_trainer.tracking import Tracker

Item = TypeVar("Item")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: steps done, of how many, and the last validation loss (None without one)."""

    steps: int
    planned: int
    valid_loss: float | None

    @property
    def finished(self) -> bool:
        """Whether all planned steps are done."""
        return self.steps == self.planned


def train(
    config: TrainConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    stop: threading.Event | None = None,
    console: Console | None = None,
) -> Outcome:
    """Trains a model into a run folder, or goes on where a checkpoint left off.

    Args:
        config: all settings.
        run_dir: the run's folder; made if missing.
        resume: continue the newest checkpoint, or start if there is none; without it a folder that has one is refused.
        stop: when set, the run ends with a checkpoint after the step it is in.
        console: where progress is shown; None: nowhere.

    Raises:
        Conflict: the folder has a run already, one of other settings, or another process trains there.
        ServiceAway: the service stayed away; a checkpoint was written.
        NonFiniteLoss: loss or gradient is not finite; nothing of that step was applied.
        NBClipError: wrong data, settings or answers.
    """
    with locked(run_dir):
        resumed = has_checkpoint(run_dir)
        if resumed and not resume:
            raise Conflict(f"{run_dir}: has a run already", hint="--resume goes on with it; or choose another --run")
        if resumed:
            check_same_shape(run_dir, config)
        else:
            # Before the service is asked: a run that never reached it can be resumed too.
            write_config(run_dir, config)
        pinned = read_facts(run_dir)["targets"].get("snapshot") if resumed else None
        session = build_session(config, resumed=resumed, snapshot=pinned)
        try:
            if resumed:
                check_same_data(run_dir, session.facts)
            write_config(run_dir, config)
            write_facts(run_dir, session.facts)
            first_step = _restored_step(session, run_dir) if resumed else 0
            shown = console or Console(quiet=True)
            with Tracker(run_dir, first_step) as tracker, Display(shown, session.plan.steps, first_step) as display:
                return _Run(session, run_dir, tracker, display, first_step).go(stop or threading.Event())
        finally:
            session.source.close()


def _restored_step(session: Session, run_dir: Path) -> int:
    checkpoint = load_checkpoint(run_dir)
    restore(session, checkpoint)
    return checkpoint.step


class _Run:
    """A run under way: how many steps are done, and which of them are saved."""

    def __init__(self, session: Session, run_dir: Path, tracker: Tracker, display: Display, first_step: int) -> None:
        self._session, self._run_dir, self._tracker, self._display = session, run_dir, tracker, display
        self._done = self._saved = first_step
        self._valid_loss: float | None = None
        self._warned: set[str] = set()

    def go(self, stop: threading.Event) -> Outcome:
        session, world, first = self._session, self._session.world, self._done
        own = (replace(batch, rows=world.own(batch.rows)) for batch in session.plan.batches(first))
        pictures = session.train.pictures.training(own)
        with Prefetched(session.matrices(session.plan.batches(first)), session.config.service.prefetch) as matrices:
            for batch in session.plan.batches(first):
                self._take(batch, pictures, matrices)
                if stop.is_set():
                    break
        self._save()
        return Outcome(self._done, session.plan.steps, self._valid_loss)

    def _take(self, batch: PlannedBatch, pictures: Iterator[Tensor], matrices: Iterator[TargetMatrix]) -> None:
        """One step with all that may follow it: records, validation, a checkpoint."""
        started = time.perf_counter()
        picture = self._next_or_save(pictures)
        has_pictures = time.perf_counter()
        matrix = self._next_or_save(matrices)
        has_targets = time.perf_counter()
        result = train_step(self._session, batch, picture, matrix)
        self._done = batch.step + 1
        seconds = time.perf_counter() - started
        waits = {"data_wait": has_pictures - started, "target_wait": has_targets - has_pictures, "seconds": seconds}
        self._record(batch, {**result.figures, **waits, "samples_per_second": len(batch.rows) / seconds}, result)
        if self._done % self._session.plan.steps_per_epoch == 0:
            self._end_epoch(batch.epoch + 1)
        elif self._session.config.checkpoint.every and self._done % self._session.config.checkpoint.every == 0:
            self._save()

    def _next_or_save(self, awaited: Iterator[Item]) -> Item:
        try:
            return next(awaited)
        except NBClipError:
            self._save()
            raise

    def _record(self, batch: PlannedBatch, figures: dict[str, float], result: StepResult) -> None:
        log = self._session.config.log
        self._display.step(self._done, batch.epoch + 1, figures)
        if self._done % log.every == 0 or self._done == 1:
            self._tracker.log("train", self._done, {"epoch": batch.epoch + 1, **figures})
        if self._done % log.diagnostics_every == 0 or self._done == 1:
            self._diagnose(result)

    def _diagnose(self, result: StepResult) -> None:
        config, plan = self._session.config, self._session.plan
        figures = diagnose(result.cosine, result.scale, result.targets)
        self._tracker.log("diagnostics", self._done, figures)
        for alarm in alarms(figures, config.targets, warmed_up=self._done > warmup_steps(plan.steps, config.optim)):
            self._tracker.log("alarm", self._done, {"message": alarm})
            kind = alarm.partition(":")[0]
            if kind not in self._warned:
                self._warned.add(kind)
                _log.warning("step %d: %s", self._done, alarm)

    def _end_epoch(self, epoch: int) -> None:
        session, shown = self._session, ""
        self._valid_loss = None
        if session.valid is not None:
            self._valid_loss = validation_loss(session, session.valid)
            self._tracker.log("valid", self._done, {"epoch": epoch, "loss": self._valid_loss})
            shown = f"validation loss {self._valid_loss:.4f}"
        self._display.line(f"epoch {epoch}/{session.config.epochs}  step {self._done}  {shown}")
        self._save(self._valid_loss)

    def _save(self, valid_loss: float | None = None) -> None:
        if self._done > self._saved:
            checkpoint = capture(self._session, self._done, valid_loss)
            save_checkpoint(self._run_dir, checkpoint, keep=self._session.config.checkpoint.keep)
            self._saved = self._done
