"""What a command says when it is stopped before its end."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import typer

from kg_service.cli.shown.console import stderr


@contextmanager
def resumable() -> Iterator[None]:
    """Ends the command on Ctrl-C or SIGTERM with 128 + the signal's number, as shells have it, and says that it can be run again.

    A second signal ends the process at once. A signal that was ignored before, as in the background of a shell, still is.
    """
    came: list[int] = []

    def stop(signum: int, frame: FrameType | None) -> NoReturn:
        came.append(signum)
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        raise KeyboardInterrupt  # which Ray takes too, while it waits in C++

    heard = [each for each in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(each) != signal.SIG_IGN]
    before = {each: signal.getsignal(each) for each in heard}
    for each in heard:
        signal.signal(each, stop)
    try:
        yield
    except KeyboardInterrupt:
        stderr().print("stopped; what is done is kept; run the same command again", soft_wrap=True)
        raise typer.Exit(128 + (came or [signal.SIGINT])[0]) from None
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
