"""One run of an experiment, in a process of its own: training, then an evaluation on each set of pictures."""

from __future__ import annotations

import logging
import multiprocessing
import os
import shutil
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import TextIO

import torch
from nbclip.errors import NBClipError
from rich.console import Console

from nbclip_trainer.config.saved import check_same_shape
from nbclip_trainer.config.tree import TrainConfig
from nbclip_trainer.evaluation.evaluate import evaluate_run
from nbclip_trainer.experiments.choosing import is_trained, mark_trained
from nbclip_trainer.experiments.linked import linked_by
from nbclip_trainer.parallel.world import alone
from nbclip_trainer.runs.checkpoint import has_checkpoint, share_locked
from nbclip_trainer.runs.results import ScoringProtocol
from nbclip_trainer.training import loop


@dataclass(frozen=True, slots=True)
class Job:
    """A run and what it is evaluated by.

    Attributes:
        title: for people.
        run_dir: its folder.
        config: its settings.
        evaluations: protocol of each evaluation, by its folder; none for a run of the choice.
        towers: where runs share the weights that none of them changes; None: each keeps its own.
        linked: the folder with the concepts of captions (`link_pictures`) that they are also scored by; None: they are not.
    """

    title: str
    run_dir: Path
    config: TrainConfig
    evaluations: dict[Path, ScoringProtocol] = field(default_factory=dict)
    towers: Path | None = None
    linked: Path | None = None

    @property
    def is_done(self) -> bool:
        """Whether it is trained and evaluated."""
        return is_trained(self.run_dir) and not self.missing

    @property
    def missing(self) -> list[Path]:
        """Evaluations that are not there."""
        return [folder for folder in self.evaluations if not (folder / "metrics.json").is_file()]

    @property
    def log(self) -> Path:
        """What the run said."""
        return self.run_dir / "log.txt"

    def check(self) -> None:
        """Raises Conflict where its folder has a run of other settings."""
        if has_checkpoint(self.run_dir):
            check_same_shape(self.run_dir, self.config)


class _Stop:
    """The event that a worker's parent sets."""

    event: Event | None = None


def begin(stop: Event, device: str | None, threads: int) -> None:
    """Prepares a worker: its device and its share of the cores; signals are its parent's to answer."""
    _Stop.event = stop
    for received in (signal.SIGINT, signal.SIGTERM):
        signal.signal(received, signal.SIG_IGN)
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    torch.set_num_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A worker whose parent was killed would hold the lock of its run, which the same command is to go on with."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def do(job: Job) -> str:
    """Does what a job lacks, and says why it failed; empty where it did not, or was stopped."""
    job.run_dir.mkdir(parents=True, exist_ok=True)
    with job.log.open("a", encoding="utf-8") as log, _logged_to(log):
        try:
            if not is_trained(job.run_dir) and not _trained(job, log):
                return ""
            for folder in job.missing:
                _evaluate(job, folder, log)
        except NBClipError as error:
            print(f"error: {error}", file=log)
            return error.message
        except Exception as error:  # noqa: BLE001 - whatever it is, the other runs go on
            traceback.print_exc(file=log)
            return f"{type(error).__name__}: {error}"
    return ""


def _trained(job: Job, log: TextIO) -> bool:
    started = time.monotonic()
    console = Console(file=log, width=160)
    if not loop.train(job.config, job.run_dir, resume=True, stop=_Stop.event, console=console).finished:
        return False
    if job.towers is not None:
        share_locked(job.run_dir, job.towers)
    mark_trained(job.run_dir, time.monotonic() - started)
    return True


def _evaluate(job: Job, folder: Path, log: TextIO) -> None:
    # What a killed evaluation has left.
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(exist_ok=True)
    evaluate_run(
        job.run_dir,
        checkpoint=job.config.selected,
        protocol=job.evaluations[folder],
        link=None if job.linked is None else linked_by(job.linked),
        out=folder,
        world=alone(job.config.device),
        say=lambda stage: print(stage, file=log, flush=True),
    )


@contextmanager
def _logged_to(file: TextIO) -> Iterator[None]:
    """What is logged goes to a file; workers have no console."""
    handler = logging.StreamHandler(file)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
