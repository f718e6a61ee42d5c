"""The training loop: steps, records, validation, checkpoints, and the ways in which a run can stop."""

from __future__ import annotations

import threading
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nbclip.errors import Conflict, NBClipError
from rich.console import Console

from nbclip_trainer.config.saved import check_same_shape, write_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.models.building import write_model
from nbclip_trainer.parallel.collectives import from_first, on_any_rank, wait_for_all
from nbclip_trainer.parallel.world import World, alone, lost_ranks_named
from nbclip_trainer.runs.boards import check_boards
from nbclip_trainer.runs.checkpoint import Checkpoint, has_checkpoint, load_checkpoint, part
from nbclip_trainer.runs.folder import check_same_data, locked, model_folder, read_facts, write_facts
from nbclip_trainer.runs.quarantine import Quarantined, append_quarantine, read_quarantine, write_quarantine
from nbclip_trainer.runs.selection import Validation, early_end
from nbclip_trainer.training.inputs import Inputs, Intake
from nbclip_trainer.training.keepers import Keepers, keepers_of
from nbclip_trainer.training.records import Records
from nbclip_trainer.training.session import Session, build_session
from nbclip_trainer.training.state import capture, restore
from nbclip_trainer.training.step import train_step
from nbclip_trainer.training.utilisation import utilisation_of
from nbclip_trainer.training.validation import check_best_by, shown_figures, validate


class Signal(Protocol):
    """What an event between threads and one between processes have in common."""

    def is_set(self) -> bool:
        """Whether it was given."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        steps: done.
        planned: how many the whole run has.
        valid_loss: the last one; None without one.
        early_end: why no more steps are to be taken, if so.
        requeue: whether some rank was asked to stop in order to be started again.
    """

    steps: int
    planned: int
    valid_loss: float | None
    early_end: str = ""
    requeue: bool = False

    @property
    def finished(self) -> bool:
        """Whether all planned steps are done, or no more are to be taken."""
        return self.steps == self.planned or bool(self.early_end)


def train(
    config: TrainConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    stop: Signal | None = None,
    requeue: Signal | None = None,
    console: Console | None = None,
    world: World | None = None,
) -> Outcome:
    """Trains a model into a run folder, or continues from a checkpoint.

    Args:
        config: all settings.
        run_dir: the run's folder; made if missing. Rank 0 alone reads and writes it.
        resume: continue the newest checkpoint, or start if there is none; without it a folder that has one is refused.
        stop: when set on any rank, the run ends with a checkpoint after the step it is in.
        requeue: the same, and the outcome of all ranks says so.
        console: where progress is shown; None: nowhere.
        world: this rank's place, of `parallel.world.joined`; None: a single process.

    Raises:
        Conflict: the folder has a run already, one of other settings, or another process trains there.
        ServiceAway: the service stayed away; a checkpoint was written.
        RankLost: another rank is gone.
        NonFiniteLoss: loss or gradient is not finite; neither that step was applied nor the one after it.
        NBClipError: wrong data, settings or answers.
    """
    world = world or alone(config.device)
    check_boards(config.log)
    with lost_ranks_named(), locked(run_dir) if world.leads else nullcontext():
        checkpoint, pinned, held = from_first(_begin(config, run_dir, resume) if world.leads else (None, None, []), world)
        resumed = checkpoint is not None
        kept = model_folder(run_dir) if resumed else None
        weights = None if checkpoint is None else part(checkpoint.tensors, "model")
        session = build_session(config, world=world, weights=weights, snapshot=pinned, quarantined=held, kept=kept)
        try:
            check_best_by(session)
            if world.leads:
                _write_down(session, run_dir, resumed=resumed)
            if checkpoint is not None:
                restore(session, checkpoint)
            first_step = checkpoint.step if checkpoint else 0
            with keepers_of(session, run_dir, first_step, console) as keepers:
                outcome = _Run(session, run_dir, keepers, checkpoint).go(stop or threading.Event(), requeue or threading.Event())
            # Launchers end all ranks once one has ended, and rank 0 may still have been writing the last checkpoint.
            wait_for_all(world)
            return outcome
        finally:
            session.source.close()


def _begin(config: TrainConfig, run_dir: Path, resume: bool) -> tuple[Checkpoint | None, str | None, list[Quarantined]]:
    """The checkpoint to go on from, the snapshot it is bound to and the images it leaves out; nothing where the run begins."""
    if not has_checkpoint(run_dir):
        # Before the service is asked: a run that never reached it can be resumed too.
        write_config(run_dir, config)
        return None, None, []
    if not resume:
        raise Conflict(f"{run_dir} already has a run", hint="--resume continues it; or choose another --run")
    check_same_shape(run_dir, config)
    return load_checkpoint(run_dir), read_facts(run_dir)["targets"].get("snapshot"), read_quarantine(run_dir)


def _write_down(session: Session, run_dir: Path, *, resumed: bool) -> None:
    if resumed:
        check_same_data(run_dir, session.facts)
    write_model(model_folder(run_dir), session.parts)
    write_config(run_dir, session.config)
    write_facts(run_dir, session.facts)
    write_quarantine(run_dir, [one for pairs in (session.train, session.valid) if pairs for one in pairs.quarantine.held])


class _Run:
    """A run under way: how many steps are done, and which of them are saved. Only rank 0 has a tracker and a writer."""

    def __init__(self, session: Session, run_dir: Path, keepers: Keepers, checkpoint: Checkpoint | None) -> None:
        self._session, self._run_dir = session, run_dir
        self._tracker, self._writer, self._display = keepers
        self._records = Records(session, keepers.tracker, keepers.display)
        self._utilisation = utilisation_of(session) if session.world.leads else None
        self._first = self._done = self._saved = checkpoint.step if checkpoint else 0
        self._saved_at = time.monotonic()
        self._validations: list[Validation] = list(checkpoint.state.get("validations", ())) if checkpoint else []
        self._early_end = self._judged()

    def go(self, stop: Signal, requeue: Signal) -> Outcome:
        steps = self._session.plan.steps
        with Intake(self._session, self._first, self._keep) as intake:
            while self._done < steps and not self._early_end:
                started = time.perf_counter()
                # A run that is told to stop before it begins takes one step, so that it gets on however often it is started.
                stopping = self._done > self._first and (stop.is_set() or requeue.is_set())
                inputs = self._agreed_inputs(intake, stopping=stopping)
                if inputs is None:
                    break
                self._take(inputs, started)
        self._save()
        asked = self._done < steps and on_any_rank(requeue.is_set(), self._session.world)
        if self._early_end:
            self._display.line(f"ended early, after step {self._done} of {steps}: {self._early_end}")
        valid_loss = self._validations[-1]["loss"] if self._validations else None
        return Outcome(self._done, steps, valid_loss, self._early_end, asked)

    def _judged(self) -> str:
        """Why no further step is taken, if so; the same on all ranks, since validations are."""
        config, plan = self._session.config, self._session.plan
        if self._done == plan.steps:
            return ""
        return early_end(self._validations, config.checkpoint.best_by, config.validation, plan.steps_per_epoch)

    def _agreed_inputs(self, intake: Intake, *, stopping: bool) -> Inputs | None:
        """The next step's inputs; None where a rank was told to stop."""
        try:
            return intake.take(self._done, stopping=stopping)
        except NBClipError:
            self._save()
            raise

    def _keep(self, left_out: list[Quarantined]) -> None:
        if self._session.world.leads:
            append_quarantine(self._run_dir, left_out)

    def _take(self, inputs: Inputs, started: float) -> None:
        """One step with all that may follow it: records, validation, a checkpoint."""
        batch = inputs.batch
        result = train_step(self._session, batch, inputs.images, inputs.matrix)
        # While the device computes this step, what it said of the one before is read.
        self._records.settle()
        self._done = batch.step + 1
        seconds = time.perf_counter() - started
        measured = {"data_wait": inputs.data_wait, "target_wait": inputs.target_wait, "seconds": seconds}
        measured["samples_per_second"] = len(batch.rows) / seconds
        if self._utilisation is not None:
            measured |= self._utilisation.of(len(batch.rows), seconds)
        self._records.add(batch, result, measured)
        if self._writer is not None:
            self._writer.check()
        every, steps_per_epoch = self._session.config.validation.every, self._session.plan.steps_per_epoch
        if self._done % steps_per_epoch == 0 or (every is not None and self._done % every == 0):
            self._validate(batch.epoch + 1)
        elif self._checkpoint_due():
            self._save()

    def _checkpoint_due(self) -> bool:
        """By steps on every rank alike; by the clock on rank 0, which alone writes."""
        settings = self._session.config.checkpoint
        by_steps = settings.every is not None and self._done % settings.every == 0
        waited = (time.monotonic() - self._saved_at) / 60
        return by_steps or (self._writer is not None and settings.every_minutes is not None and waited >= settings.every_minutes)

    def _validate(self, epoch: int) -> None:
        self._records.settle()
        session, shown = self._session, ""
        found: dict[int, str] = {}
        if session.valid is not None:
            with session.averaged():
                figures, found = validate(session, session.valid)
            self._validations.append({"step": self._done, **figures})
            self._early_end = self._judged()
            shown = shown_figures(figures)
            if self._tracker is not None:
                self._tracker.log("valid", self._done, {"epoch": epoch, **figures})
        self._display.line(f"epoch {epoch}/{session.config.epochs}  step {self._done}  {shown}  {self._records.speed()}")
        self._save()
        if session.valid is not None and on_any_rank(bool(found), session.world):
            self._keep(session.valid.quarantine.add(found, self._done))

    def _save(self) -> None:
        """Begins to write a checkpoint of the steps done; nothing that failed gets into one."""
        self._records.settle()
        if self._done > self._saved:
            if self._writer is not None:
                self._writer.save(capture(self._session, self._done, self._validations))
            self._saved, self._saved_at = self._done, time.monotonic()
