"""The training loop: steps, records, validation, checkpoints, and the ways in which a run can stop."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

from nbclip.errors import Conflict, NBClipError
from rich.console import Console

from nbclip_trainer.config.saved import check_same_shape, write_config
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.optimisation.schedule import warmup_steps
from nbclip_trainer.parallel.collectives import from_first, on_any_rank
from nbclip_trainer.parallel.world import World, alone, lost_ranks_named
from nbclip_trainer.runs.boards import check_boards
from nbclip_trainer.runs.checkpoint import Checkpoint, has_checkpoint, load_checkpoint, save_checkpoint
from nbclip_trainer.runs.folder import check_same_data, locked, read_facts, write_facts
from nbclip_trainer.runs.quarantine import Quarantined, append_quarantine, read_quarantine, write_quarantine
from nbclip_trainer.runs.selection import Validation, early_end
from nbclip_trainer.runs.tracking import Tracker
from nbclip_trainer.training.diagnostics import alarms, diagnose
from nbclip_trainer.training.display import Display
from nbclip_trainer.training.inputs import Inputs, Intake
from nbclip_trainer.training.session import Session, build_session, capture, restore
from nbclip_trainer.training.step import StepResult, train_step
from nbclip_trainer.training.validation import check_best_by, shown_figures, validate

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: steps done, of how many, the last validation loss (None without one), and why it ended early, if so."""

    steps: int
    planned: int
    valid_loss: float | None
    early_end: str = ""

    @property
    def finished(self) -> bool:
        """Whether all planned steps are done, or no more are to be taken."""
        return self.steps == self.planned or bool(self.early_end)


def train(
    config: TrainConfig,
    run_dir: Path,
    *,
    resume: bool = False,
    stop: threading.Event | None = None,
    console: Console | None = None,
    world: World | None = None,
) -> Outcome:
    """Trains a model into a run folder, or continues from a checkpoint.

    Args:
        config: all settings.
        run_dir: the run's folder; made if missing. Rank 0 alone reads and writes it.
        resume: continue the newest checkpoint, or start if there is none; without it a folder that has one is refused.
        stop: when set on any rank, the run ends with a checkpoint after the step it is in.
        console: where progress is shown; None: nowhere.
        world: this rank's place, of `parallel.world.joined`; None: a single process.

    Raises:
        Conflict: the folder has a run already, one of other settings, or another process trains there.
        ServiceAway: the service stayed away; a checkpoint was written.
        RankLost: another rank is gone.
        NonFiniteLoss: loss or gradient is not finite; nothing of that step was applied.
        NBClipError: wrong data, settings or answers.
    """
    world = world or alone(config.device)
    check_boards(config.log)
    with lost_ranks_named(), locked(run_dir) if world.leads else nullcontext():
        checkpoint, pinned, held = from_first(_begin(config, run_dir, resume) if world.leads else (None, None, []), world)
        resumed = checkpoint is not None
        session = build_session(config, world=world, resumed=resumed, snapshot=pinned, quarantined=held)
        try:
            check_best_by(session)
            if world.leads:
                _write_down(session, run_dir, resumed=resumed)
            if checkpoint is not None:
                restore(session, checkpoint)
            with _recorders(session, run_dir, checkpoint.step if checkpoint else 0, console) as recorders:
                return _Run(session, run_dir, *recorders, checkpoint).go(stop or threading.Event())
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
    write_config(run_dir, session.config)
    write_facts(run_dir, session.facts)
    write_quarantine(run_dir, [one for pairs in (session.train, session.valid) if pairs for one in pairs.quarantine.held])


@contextmanager
def _recorders(
    session: Session, run_dir: Path, first_step: int, console: Console | None
) -> Iterator[tuple[Tracker | None, Display]]:
    """What keeps the figures, on rank 0, and what shows them."""
    shown = console if console is not None and session.world.leads else Console(quiet=True)
    config = session.config
    keeping = Tracker(run_dir, config.log, config.model_dump(mode="json"), first_step) if session.world.leads else nullcontext()
    with keeping as tracker, Display(shown, session.plan.steps, first_step) as display:
        display.line(_announcement(session, first_step))
        yield tracker, display


def _announcement(session: Session, first_step: int) -> str:
    """What is about to be trained, in a line."""
    config, world, plan = session.config, session.world, session.plan
    begun = f"on from step {first_step} of {plan.steps}" if first_step else f"{plan.steps} steps in {config.epochs} epochs"
    where = f"{world.device.type}, {world.ranks} processes" if world.ranks > 1 else world.device.type
    snapshot = session.facts["targets"].get("snapshot")
    targets = f"{config.targets.knowledge} of snapshot {snapshot:.12}" if snapshot else config.targets.knowledge
    left_out = f", {len(session.train.quarantine.bad)} left out" if session.train.quarantine.bad else ""
    pairs = f"{len(session.train.dataset)} pairs{left_out}"
    parameters = session.facts["parameters"]
    locked = parameters["trained"] < parameters["all"]
    trained = f", {parameters['trained']:,} of {parameters['all']:,} parameters train" if locked else ""
    return f"{config.model.name}{trained}, {pairs}, {begun}, {where}; {config.loss.name}, targets {targets}"


class _Run:
    """A run under way: how many steps are done, and which of them are saved. Only rank 0 has a tracker."""

    def __init__(
        self, session: Session, run_dir: Path, tracker: Tracker | None, display: Display, checkpoint: Checkpoint | None
    ) -> None:
        self._session, self._run_dir, self._tracker, self._display = session, run_dir, tracker, display
        self._first = self._done = self._saved = checkpoint.step if checkpoint else 0
        self._validations: list[Validation] = list(checkpoint.state.get("validations", ())) if checkpoint else []
        self._early_end = self._judged()
        self._warned: set[str] = set()

    def go(self, stop: threading.Event) -> Outcome:
        steps = self._session.plan.steps
        with Intake(self._session, self._first, self._keep) as intake:
            while self._done < steps and not self._early_end:
                started = time.perf_counter()
                inputs = self._agreed_inputs(intake, stop)
                if inputs is None:
                    break
                self._take(inputs, started)
        self._save()
        if self._early_end:
            self._display.line(f"ended early, after step {self._done} of {steps}: {self._early_end}")
        valid_loss = self._validations[-1]["loss"] if self._validations else None
        return Outcome(self._done, steps, valid_loss, self._early_end)

    def _judged(self) -> str:
        """Why no further step is taken, if so; the same on all ranks, since validations are."""
        config, plan = self._session.config, self._session.plan
        if self._done == plan.steps:
            return ""
        return early_end(self._validations, config.checkpoint.best_by, config.validation, plan.steps_per_epoch)

    def _agreed_inputs(self, intake: Intake, stop: threading.Event) -> Inputs | None:
        """The next step's inputs; None where a rank was told to stop."""
        try:
            return intake.take(self._done, stopping=self._done > self._first and stop.is_set())
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
        self._done = batch.step + 1
        seconds = time.perf_counter() - started
        waits = {"data_wait": inputs.data_wait, "target_wait": inputs.target_wait, "seconds": seconds}
        if self._tracker is not None:
            figures = {**result.figures, **waits, "samples_per_second": len(batch.rows) / seconds}
            self._record(batch, figures, result, self._tracker)
        self._follow_up(batch.epoch + 1)

    def _follow_up(self, epoch: int) -> None:
        """What is due after the step just done."""
        config, plan = self._session.config, self._session.plan
        between = (config.validation.every, config.checkpoint.every)
        validation_due, checkpoint_due = (every is not None and self._done % every == 0 for every in between)
        if validation_due or self._done % plan.steps_per_epoch == 0:
            self._validate(epoch)
        elif checkpoint_due:
            self._save()

    def _record(self, batch: PlannedBatch, figures: dict[str, float], result: StepResult, tracker: Tracker) -> None:
        log = self._session.config.log
        self._display.step(self._done, batch.epoch + 1, figures)
        if self._done % log.every == 0 or self._done == 1:
            tracker.log("train", self._done, {"epoch": batch.epoch + 1, **figures})
        if self._done % log.diagnostics_every == 0 or self._done == 1:
            self._diagnose(result, tracker)

    def _diagnose(self, result: StepResult, tracker: Tracker) -> None:
        config, plan = self._session.config, self._session.plan
        figures = diagnose(result.cosine, result.scale, result.targets)
        tracker.log("diagnostics", self._done, figures)
        parameters = config.targets.parameters((self._done - 1) / plan.steps)
        for alarm in alarms(figures, parameters, warmed_up=self._done > warmup_steps(plan.steps, config.optim)):
            tracker.log("alarm", self._done, {"message": alarm})
            kind = alarm.partition(":")[0]
            if kind not in self._warned:
                self._warned.add(kind)
                _log.warning("step %d: %s", self._done, alarm)

    def _validate(self, epoch: int) -> None:
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
        self._display.line(f"epoch {epoch}/{session.config.epochs}  step {self._done}  {shown}")
        self._save()
        if session.valid is not None and on_any_rank(bool(found), session.world):
            self._keep(session.valid.quarantine.add(found, self._done))

    def _save(self) -> None:
        if self._done > self._saved:
            if self._session.world.leads:
                checkpoint, settings = capture(self._session, self._done, self._validations), self._session.config.checkpoint
                save_checkpoint(self._run_dir, checkpoint, keep=settings.keep, best_by=settings.best_by)
            self._saved = self._done
