"""Runs side by side, each worker a process that makes one run after the other: what is done is kept, what fails is named."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import torch
from nbclip.errors import NBClipError

from nbclip_trainer.experiments.job import Job, begin, do

_log = logging.getLogger(__name__)
_POLL_S = 0.5


@dataclass(frozen=True, slots=True)
class Failure:
    """A run that failed: why, and the log that says more."""

    job: Job
    reason: str


@dataclass(slots=True)
class Progress:
    """How far an experiment is: runs done before, now and in all, and seconds since the start."""

    total: int
    before: int
    done: int = 0
    started: float = 0.0

    def line(self) -> str:
        """Runs done of all, and the time left at the rate so far."""
        said = f"{self.before + self.done} of {self.total} runs"
        left = self.total - self.before - self.done
        if not self.done or not left:
            return said
        minutes = (time.monotonic() - self.started) / self.done * left / 60
        return f"{said}, {minutes:.0f} min left" if minutes >= 1 else f"{said}, under a minute left"


def run_jobs(
    jobs: Sequence[Job],
    *,
    workers: int,
    devices: Sequence[str | None] = (None,),
    stop: threading.Event,
    say: Callable[[str], None],
) -> list[Failure]:
    """Does what is not done yet; a job that fails stops no other.

    Args:
        jobs: in the order in which they begin.
        workers: processes side by side, each with its share of the cores.
        devices: values of CUDA_VISIBLE_DEVICES that workers take in turn; None: as it is.
        stop: when set, runs end with a checkpoint, and no other begins.
        say: told the progress, a line each time.

    Returns:
        What failed.
    """
    waiting = deque(job for job in jobs if not job.is_done)
    progress = Progress(len(jobs), len(jobs) - len(waiting), started=time.monotonic())
    failures: list[Failure] = []
    told = threading.Lock()

    def work(number: int) -> None:
        with _Worker(devices[number % len(devices)], max(1, (os.cpu_count() or 1) // workers)) as worker:
            while not stop.is_set():
                try:
                    job = waiting.popleft()
                except IndexError:
                    return
                reason = worker.do(job, stop)
                with told:
                    if reason:
                        failures.append(Failure(job, reason))
                        say(f"failed: {job.title}: {reason} (log: {job.log})")
                    if job.is_done or reason:
                        progress.done += 1
                        say(f"{progress.line()}: {job.title}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(min(workers, len(waiting)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


class _Worker:
    """A process that does jobs; where it is killed, the next job has a new one."""

    def __init__(self, device: str | None, threads: int) -> None:
        self._context = multiprocessing.get_context("spawn")
        self._stop: Event = self._context.Event()
        self._given = device, threads
        self._pool: ProcessPoolExecutor | None = None

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def do(self, job: Job, stop: threading.Event) -> str:
        """Why a job failed; empty where it did not."""
        if self._pool is None:
            self._pool = ProcessPoolExecutor(1, mp_context=self._context, initializer=begin, initargs=(self._stop, *self._given))
        try:
            future = self._pool.submit(do, job)
            while not future.done():
                if stop.is_set():
                    self._stop.set()
                with suppress(TimeoutError):
                    future.exception(timeout=_POLL_S)
            return future.result()
        except BrokenProcessPool:
            self._pool = None
            return "its process was killed (out of memory?)"


def failed(failures: Sequence[Failure], folder: Path) -> NBClipError:
    """One error for all of them."""
    names = ", ".join(failure.job.title for failure in failures[:3])
    more = f" and {len(failures) - 3} more" if len(failures) > 3 else ""
    first = failures[0]
    return NBClipError(
        f"{folder}: {len(failures)} runs failed: {names}{more}; the first one: {first.reason}",
        hint=f"its log: {first.job.log}; the same command tries them again",
    )


def devices_of(name: str) -> tuple[str | None, ...]:
    """What workers take in turn: each GPU that is seen, if there are several and none was named."""
    count = torch.cuda.device_count() if name in {"auto", "cuda"} else 0
    if count < 2:
        return (None,)
    seen = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return tuple(seen.split(",")) if seen else tuple(str(number) for number in range(count))
