"""What the command prints, and how it is told to stop."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from rich.console import Console
from rich.markup import escape


@cache
def err() -> Console:
    """The one console for progress, warnings and errors, so that none breaks into the other."""
    return Console(stderr=True)


def out() -> Console:
    """The console for results."""
    return Console()


def rank() -> int:
    """This process's rank as torchrun or srun tells it; without torch, which is slow to import."""
    return int(os.environ.get("RANK") or os.environ.get("SLURM_PROCID") or 0)


def complain(message: str, hint: str) -> None:
    """Prints an error and its hint, a line each, with the rank where there are several."""
    at = f"rank {rank()}: " if rank() else ""
    err().print(f"{at}[red]error:[/red] {escape(message)}", soft_wrap=True, highlight=False)
    if hint:
        err().print(f"{at}[yellow]hint:[/yellow] {escape(hint)}", soft_wrap=True, highlight=False)


@contextmanager
def stop_on_signal(*signals: signal.Signals) -> Iterator[threading.Event]:
    """An event that the first of these signals sets, by default Ctrl-C or SIGTERM; the same one again ends the process."""
    stop, process = threading.Event(), os.getpid()

    def ask(signum: int, frame: object) -> None:
        signal.signal(signum, signal.SIG_DFL)
        # Processes that decode images inherit this handler, and torchrun signals them too.
        if os.getpid() == process and rank() == 0:
            err().print(
                "stopping after the step that is under way, or the first one, with a checkpoint; once more to stop at once"
            )
        stop.set()

    before = {signum: signal.signal(signum, ask) for signum in signals or (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)
