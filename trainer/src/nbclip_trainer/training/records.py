"""What a run writes down and shows of its steps, one step behind the device."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import NamedTuple

from nbclip_trainer.data.planner import PlannedBatch
from nbclip_trainer.optimisation.schedule import warmup_steps
from nbclip_trainer.runs.speed import speed_of
from nbclip_trainer.runs.tracking import Tracker
from nbclip_trainer.training.diagnostics import alarms, diagnose
from nbclip_trainer.training.display import Display
from nbclip_trainer.training.figures import StepFigures
from nbclip_trainer.training.session import Session
from nbclip_trainer.training.step import StepResult

_log = logging.getLogger(__name__)


class _Pending(NamedTuple):
    """A step whose figures were not read yet."""

    step: int
    epoch: int
    computed: StepFigures
    measured: Mapping[str, float]


class Records:
    """The records of a run's steps. Only rank 0 has a tracker; every rank reads the figures, and so learns of a failure."""

    def __init__(self, session: Session, tracker: Tracker | None, display: Display) -> None:
        self._session, self._tracker, self._display = session, tracker, display
        self._pending: _Pending | None = None
        self._warned: set[str] = set()
        self._measured: list[Mapping[str, float]] = []

    def add(self, batch: PlannedBatch, result: StepResult, measured: Mapping[str, float]) -> None:
        """Takes a step in; what is due for diagnostics is written down at once, anything else by the next `settle`."""
        step = batch.step + 1
        self._measured.append({"step": step, **measured})
        self._pending = _Pending(step, batch.epoch + 1, result.figures, measured)
        if self._tracker is not None and (step % self._session.config.log.diagnostics_every == 0 or step == 1):
            self.settle()
            self._diagnose(step, result, self._tracker)

    def settle(self) -> None:
        """Waits for the step that was added last and writes its figures down.

        Raises:
            NonFiniteLoss: it was not applied.
        """
        if self._pending is None:
            return
        step, epoch, computed, measured = self._pending
        self._pending = None
        figures = {**computed.read(), **measured}
        if self._tracker is not None:
            self._display.step(step, epoch, figures)
            if step % self._session.config.log.every == 0 or step == 1:
                self._tracker.log("train", step, {"epoch": epoch, **figures})

    def speed(self) -> str:
        """The speed of the steps since this was last asked."""
        measured, self._measured = self._measured, []
        return str(speed_of(measured) or "")

    def _diagnose(self, step: int, result: StepResult, tracker: Tracker) -> None:
        config, plan = self._session.config, self._session.plan
        figures = diagnose(result.cosine, result.scale, result.targets)
        tracker.log("diagnostics", step, figures)
        parameters = config.targets.parameters((step - 1) / plan.steps)
        for alarm in alarms(figures, parameters, warmed_up=step > warmup_steps(plan.steps, config.optim)):
            tracker.log("alarm", step, {"message": alarm})
            kind = alarm.partition(":")[0]
            if kind not in self._warned:
                self._warned.add(kind)
                _log.warning("step %d: %s", step, alarm)
