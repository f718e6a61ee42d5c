"""A process that is killed before its n-th flush, rename, exchange, creation or removal, for each n that its work has.

The work is done in a forked child, which kills itself: nothing unwinds, no buffer is written, no lock is given back but by the
kernel.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator

CALLS = ("fsync", "rename", "replace", "mkdir", "unlink", "remove", "rmdir")
_HUNG_AFTER_S = 120


def calls_of(action: Callable[[], object]) -> list[str]:
    """Names of the calls that an action makes, in order; it is done in this process."""
    made: list[str] = []
    _run(action, made.append)
    return made


def dies_at(call: int, action: Callable[[], object]) -> bool:
    """Does an action in a child that is killed at this call, counted from 0; False if it came to its end before."""
    left = iter(range(call, -1, -1))

    def count(_: str) -> None:
        if next(left) == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    status = in_child(lambda: _run(action, count))
    assert status in (0, -signal.SIGKILL), f"the child ended with {status} instead of dying at call {call}"
    return status != 0


def deaths_of(prepare: Callable[[int], Callable[[], object]], every: int = 1) -> Iterator[int]:
    """Yields n after n, each once the action that `prepare(n)` gives has died there: always the same one, in a place of its own.

    In a row of equal calls, such as the flushes of all files, the first and the last are taken, and each `every`-th call.
    """
    calls = calls_of(prepare(-1))
    assert calls, "there is no call to die at"
    for call, name in enumerate(calls):
        if call % every == 0 or not calls[max(0, call - 1)] == name == calls[min(call + 1, len(calls) - 1)]:
            assert dies_at(call, prepare(call)), f"{calls} became fewer"
            yield call


def in_child(action: Callable[[], object]) -> int:
    """The exit status of a forked child that does it: negative if a signal ended it."""
    with warnings.catch_warnings():
        # Threads of libraries stay behind; what they hold is theirs.
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    try:
        signal.alarm(_HUNG_AFTER_S)
        action()
        status = 0
    except BaseException:  # noqa: BLE001  (whatever it is, the child must not go on as the test run)
        traceback.print_exc()
        sys.stderr.flush()
        status = 1
    os._exit(status)


def _run(action: Callable[[], object], before: Callable[[str], None]) -> None:
    """Does it, and calls `before` with the name of each call that it is about to make."""
    places = [(os, name) for name in CALLS]
    if "kg_service.storage.replacement" in sys.modules:
        places.append((sys.modules["kg_service.storage.replacement"], "exchange"))
    real = [(module, name, getattr(module, name)) for module, name in places]
    try:
        for module, name, function in real:
            setattr(module, name, _after(before, name, function))
        action()
    finally:
        for module, name, function in real:
            setattr(module, name, function)


def _after(before: Callable[[str], None], name: str, real: Callable[..., object]) -> Callable[..., object]:
    def call(*arguments: object, **options: object) -> object:
        before(name)
        return real(*arguments, **options)

    return call
