"""How far a batch is, from its folder alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from kg_service.batch.plan import read_plan
from kg_service.batch.records import Done, Failed, Published, read_bad, read_done, read_failed, read_published
from kg_service.batch.run import running
from kg_service.vocabulary.model import BadRow

_LATELY_S = 300.0


@dataclass(frozen=True, slots=True)
class State:
    """How far a batch is.

    Attributes:
        shards: how many there are.
        rows: of all of them.
        done: those that are linked, by number.
        failed: those that could not be when they were last tried, by number.
        places: where the rows of the failed ones stand, by number.
        running: the parts that jobs link now, such as `1/1`.
        published: the snapshots that were made of it, in order of time.
    """

    shards: int
    rows: int
    done: Mapping[int, Done]
    failed: Mapping[int, Failed]
    places: Mapping[int, str]
    running: tuple[str, ...]
    published: Sequence[Published] = ()

    @property
    def rows_done(self) -> int:
        """Rows of the shards that are linked."""
        return sum(done.rows for done in self.done.values())

    @property
    def rate(self) -> float:
        """Rows a second of the shards that ended lately; 0 where that can't be said."""
        ends = sorted((done.ended, done.rows) for done in self.done.values())
        lately = [(ended, rows) for ended, rows in ends if ended >= ends[-1][0] - _LATELY_S]
        seconds = lately[-1][0] - lately[0][0] if lately else 0.0
        return sum(rows for _, rows in lately[1:]) / seconds if seconds > 0 else 0.0

    @property
    def unknown_cuis(self) -> dict[str, str]:
        """CUIs given that the vocabulary lacks, and in which row each was met first."""
        found: dict[str, str] = {}
        for done in self.done.values():
            found = done.unknown_cuis | found
        return found

    @property
    def bad_rows(self) -> Counter[str]:
        """Rows that can't be used, by what is wrong with them."""
        kinds: Counter[str] = Counter()
        for done in self.done.values():
            kinds.update(done.kinds)
        return kinds

    @property
    def left_s(self) -> float | None:
        """Seconds until the rows that are left are linked, at the rate of late; None where no job runs or that can't be said."""
        return (self.rows - self.rows_done) / self.rate if self.running and self.rate else None

    def summary(self) -> dict[str, Any]:
        """The same in numbers, for programs."""
        return {
            "shards": self.shards,
            "shards_done": len(self.done),
            "rows": self.rows,
            "rows_done": self.rows_done,
            "running": list(self.running),
            "rows_per_s": round(self.rate, 1),
            "left_s": None if self.left_s is None else round(self.left_s),
            "failed": {str(number): {"rows": self.places[number], "reason": each.reason} for number, each in self.failed.items()},
            "bad_rows": dict(self.bad_rows),
            "unknown_cuis": len(self.unknown_cuis),
            "images_without_cuis": sum(done.without_cuis for done in self.done.values()),
            "cpu_s": round(sum(done.cpu_s for done in self.done.values()), 1),
            "published": [
                {"snapshot": each.snapshot, "data": str(each.data), "part": each.part, "at": round(each.ended)}
                for each in self.published
            ],
        }


def bad_rows(folder: Path, state: State) -> Iterator[BadRow]:
    """The rows of linked shards that can't be used, in order."""
    return chain.from_iterable(read_bad(folder, number) for number, done in state.done.items() if done.bad_rows)


def state_of(folder: Path) -> State:
    """How far the batch in a folder is; errors as `read_plan`."""
    plan = read_plan(folder)
    numbers = range(len(plan.shards))
    done = {number: record for number in numbers if (record := read_done(folder, plan.id, number))}
    others = [number for number in numbers if number not in done]
    failed = {number: reason for number in others if (reason := read_failed(folder, plan.id, number))}
    places = {number: plan.place(number) for number in failed}
    return State(len(plan.shards), plan.rows, done, failed, places, tuple(running(folder)), read_published(folder, plan.id))
