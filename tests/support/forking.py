"""Processes forked from a server that has imported torch, the trainer and what tests need: a start takes milliseconds."""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext, ForkServerProcess
from unittest import mock

from nbclip_trainer.cli.main import main

_IMPORTED = [
    "nbclip_trainer.cli.main",
    "nbclip_trainer.experiments.job",
    "pytest",
    "support.ranks",
    "support.steps",
    "support.towers",
]


@cache
def forking() -> ForkServerContext:
    """What starts such processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_IMPORTED)
    # The server of Python 3.11 looks for modules where a new Python would.
    with mock.patch.dict(os.environ, PYTHONPATH=os.pathsep.join(sys.path)):
        forkserver.ensure_running()
    return context


@contextmanager
def nbclip(*arguments: object, changed: Callable[[], None] | None = None) -> Iterator[ForkServerProcess]:
    """`nbclip` with these arguments, after `changed` in its process; killed at the end."""
    process = forking().Process(target=_run, args=([*map(str, arguments)], changed))
    process.start()
    try:
        yield process
    finally:
        process.kill()
        process.join()


def _run(arguments: list[str], changed: Callable[[], None] | None) -> None:
    sys.argv = ["nbclip", *arguments]
    if changed is not None:
        changed()
    main()
