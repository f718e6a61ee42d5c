"""Links what of a plan is not linked yet; whoever is killed loses the shards in work and no other."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from nbclip.errors import BrokenArtefact, InvalidInput, Unavailable

from kg_service.batch.link import Batch, link_shard
from kg_service.batch.plan import Plan
from kg_service.batch.records import DONE, FAILED, LINKED, Done, Failed, check_linked, make_folders, note_failed, read_done
from kg_service.storage.locks import locked
from kg_service.storage.scratch import held
from kg_service.storage.sweeping import sweep

_PATIENCE_S = 1.0
_ATTEMPTS = 3
"""Processes that may die of a shard before it is given up."""
_DIED = f"{_ATTEMPTS} processes that linked it died"

Executor = Callable[[Callable[[int], Done | Failed], list[int]], Generator[tuple[int, Done | Failed | None], None, None]]
"""Hands shards to processes: shard and what the function gave of it, as they end; None where the process died. Where it is closed
before, the processes end without what they have in work."""


class Part(NamedTuple):
    """Every `of`-th shard, from the `number`-th on, counted from 1: what one of several jobs does, such as those of an array."""

    number: int = 1
    of: int = 1

    def shards(self, plan: Plan) -> range:
        """Its shards of a plan."""
        return range(self.number - 1, len(plan.shards), self.of)


ALL = Part()


def part_named(text: str) -> Part:
    """A part as it is written: `2/8`.

    Raises:
        InvalidInput: it is none.
    """
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text)
    part = Part(*map(int, match.groups())) if match else Part(0, 0)
    if not 1 <= part.number <= part.of:
        raise InvalidInput(f"no such part: {text!r:.40}", hint="the third of eight jobs has --shard 3/8")
    return part


@dataclass(frozen=True, slots=True)
class Ended:
    """A shard that ended.

    Attributes:
        number: which.
        record: what became of it.
        rows: of all that are linked so far.
        before: whether it was linked before.
    """

    number: int
    record: Done | Failed
    rows: int
    before: bool = False


def run(
    batch: Batch,
    plan: Plan,
    execute: Executor,
    *,
    part: Part = ALL,
    on_end: Callable[[Ended], None] = lambda ended: None,
    on_redo: Callable[[str], None] = lambda problem: None,
) -> dict[int, Failed]:
    """Links the shards of a part that are not linked yet; returns those that could not be, by number.

    Args:
        batch: the folder, and how is linked.
        plan: the plan in the folder.
        execute: where the work is done.
        part: which shards are this job's.
        on_end: is told of each shard that ends, first of those that were linked before.
        on_redo: is told of each shard that is linked again, as its files are not what they were, and why.

    Raises:
        Unavailable: another job links these shards, or the folder can't be written; what is linked stays.
        Conflict: as `link_shard`.
    """
    failed: dict[int, Failed] = {}
    with _alone(batch.folder, part):
        make_folders(batch.folder)
        for name in (LINKED, DONE, FAILED):
            sweep(batch.folder / name)
        before = _linked_before(batch, part.shards(plan), on_redo)
        rows = sum(done.rows for done in before.values())
        for number, done in before.items():
            on_end(Ended(number, done, rows, before=True))
        due = [number for number in part.shards(plan) if number not in before]
        with closing(_ended(batch, due, execute)) as all_ended:
            for number, record in all_ended:
                if isinstance(record, Failed):
                    failed[number] = record
                else:
                    rows += record.rows
                on_end(Ended(number, record, rows))
    return failed


def _ended(batch: Batch, due: list[int], execute: Executor) -> Generator[tuple[int, Done | Failed], None, None]:
    """What became of each shard; one whose process died is begun again when all others have ended."""
    for _ in range(_ATTEMPTS):
        if not due:
            return
        died = []
        with closing(execute(functools.partial(link_shard, batch), due)) as ended:
            for number, record in ended:
                if record is None:
                    died.append(number)
                else:
                    yield number, record
        due = died
    for number in due:
        record = Failed(plan=batch.plan, reason=_DIED, hint="is memory short? see what the system's log says")
        note_failed(batch.folder, number, record)
        yield number, record


def _linked_before(batch: Batch, numbers: Iterable[int], on_redo: Callable[[str], None]) -> dict[int, Done]:
    found = {}
    for number in numbers:
        done = read_done(batch.folder, batch.plan, number)
        if done is None:
            continue
        try:
            check_linked(batch.folder, number, done)
        except BrokenArtefact as error:
            on_redo(f"shard {number} is linked again: {error.message}")
        else:
            found[number] = done
    return found


@contextmanager
def _alone(folder: Path, part: Part) -> Iterator[None]:
    """Refuses a second job on the same shards; parts of one whole may be in work at a time.

    Raises:
        Unavailable: another process works on this part, or on one of another whole.
    """
    with locked(folder, _PATIENCE_S, name=f"run-{part.number}-of-{part.of}.lock"):
        for lock in folder.glob("run-*-of-*.lock"):
            if not lock.name.endswith(f"-of-{part.of}.lock"):
                with held(lock) as free:
                    if not free:
                        what = lock.stem.removeprefix("run-").replace("-of-", "/")
                        raise Unavailable(f"another job links {what} of {folder}", hint="wait until it has ended, or end it")
        yield


def running(folder: Path) -> list[str]:
    """The parts that jobs link now, such as `2/8`."""
    found = []
    for lock in sorted(folder.glob("run-*-of-*.lock")):
        # Who may not write to the folder can't tell.
        with suppress(OSError), held(lock) as free:
            if not free:
                found.append(lock.stem.removeprefix("run-").replace("-of-", "/"))
    return found
