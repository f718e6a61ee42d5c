"""What keeps a run's figures and checkpoints, and what shows them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from rich.console import Console

from nbclip_trainer.runs.tracking import Tracker
from nbclip_trainer.runs.writer import CheckpointWriter
from nbclip_trainer.training.display import Display
from nbclip_trainer.training.session import Session


class Keepers(NamedTuple):
    """What keeps figures and checkpoints, on rank 0, and what shows them."""

    tracker: Tracker | None
    writer: CheckpointWriter | None
    display: Display


@contextmanager
def keepers_of(session: Session, run_dir: Path, first_step: int, console: Console | None) -> Iterator[Keepers]:
    """Opens them for a run that goes on after `first_step` steps, says what is about to be trained, and closes them."""
    config, leads = session.config, session.world.leads
    display = Display(console if console is not None and leads else Console(quiet=True), session.plan.steps, first_step)
    tracking = Tracker(run_dir, config.log, config.model_dump(mode="json"), first_step) if leads else nullcontext()
    kept = config.checkpoint
    writing = CheckpointWriter(run_dir, kept.keep, kept.best_by) if leads else nullcontext()
    with tracking as tracker, display, writing as writer:
        display.line(_announcement(session, first_step))
        yield Keepers(tracker, writer, display)


def _announcement(session: Session, first_step: int) -> str:
    """What is about to be trained, in a line."""
    config, world, plan = session.config, session.world, session.plan
    begun = f"on from step {first_step} of {plan.steps}" if first_step else f"{plan.steps} steps in {config.epochs} epochs"
    if first_step == plan.steps:
        begun += ", which is its end: nothing is left to do"
    where = f"{world.device.type}, {world.ranks} processes" if world.ranks > 1 else world.device.type
    snapshot = session.facts["targets"].get("snapshot")
    targets = f"{config.targets.knowledge} of snapshot {snapshot:.12}" if snapshot else config.targets.knowledge
    left_out = f", {len(session.train.quarantine.bad)} left out" if session.train.quarantine.bad else ""
    pairs = f"{len(session.train.dataset)} pairs{left_out}"
    parameters = session.facts["parameters"]
    locked = parameters["trained"] < parameters["all"]
    trained = f", {parameters['trained']:,} of {parameters['all']:,} parameters train" if locked else ""
    return f"{config.model.name}{trained}, {pairs}, {begun}, {where}; {config.loss.name}, targets {targets}"
