"""A process that dies at its n-th flush or rename: for each n that an action has."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

CALLS = ("fsync", "rename", "replace")


class Killed(BaseException):
    """Passes by every `except Exception`, as a kill would."""


def calls_of(action: Callable[[], object]) -> list[str]:
    """Names of the flushes and renames that an action makes, in order."""
    made: list[str] = []
    _run(action, lambda name: made.append(name))
    return made


def die_at(call: int, action: Callable[[], object]) -> None:
    """Runs an action that dies at this flush or rename, counted from 0; fails if it lives on."""
    left = iter(range(call, -1, -1))

    def count(name: str) -> None:
        if next(left, None) == 0:
            raise Killed(name)

    with pytest.raises(Killed):
        _run(action, count)


def deaths_of(prepare: Callable[[int], Callable[[], object]]) -> Iterator[int]:
    """Yields every n after the action that `prepare(n)` gives has died there: always the same one, in a place of its own."""
    calls = calls_of(prepare(-1))
    assert "fsync" in calls
    for call in range(len(calls)):
        die_at(call, prepare(call))
        yield call


def _run(action: Callable[[], object], before: Callable[[str], None]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, _after(before, name, getattr(os, name)))
        action()


def _after(before: Callable[[str], None], name: str, real: Callable[..., object]) -> Callable[..., object]:
    def call(*arguments: object, **options: object) -> object:
        before(name)
        return real(*arguments, **options)

    return call
