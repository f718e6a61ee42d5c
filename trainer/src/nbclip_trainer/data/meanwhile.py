"""How an index of files at addresses is read: each once, its images looked at meanwhile; after a stop, only what was not read."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from nbclip.files.addresses import Address, Location, location
from nbclip.files.reading import Rows

from nbclip_trainer.data.checking import Looked, looked_at
from nbclip_trainer.data.mapped import part_file, write_json
from nbclip_trainer.data.parts import TEXTS
from nbclip_trainer.data.rows import Values, columns_of, usable
from nbclip_trainer.data.settings import DataSettings

READ = "read"
"""Folder of what was read for each part."""
_LOOKED_AT_ONCE = 512
"""Images of a file that is at hand; no more of them are read ahead."""


def are_elsewhere(rows: Rows) -> bool:
    """Whether there are files at addresses among them."""
    return any(isinstance(path, Address) for path in rows.paths)


class Place(NamedTuple):
    """A row: its file, and its number there."""

    file: str
    number: int


class SoFar(NamedTuple):
    """What earlier processes have read of files.

    Attributes:
        parts: whole ones.
        rows: in them.
        names: their columns.
        bad: rows that were left out among them.
        empty: files without a row.
        last: the last row; None where there is none.
    """

    parts: int = 0
    rows: int = 0
    names: tuple[str, ...] = ()
    bad: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    last: Place | None = None


def so_far(work: Path, rows: Rows) -> SoFar:
    """What need not be read again: parts that are written with their captions encoded, up to the first that is not."""
    done = SoFar()
    while (path := part_file(work / READ, done.parts, "json")).is_file() and part_file(work / TEXTS, done.parts, "npz").is_file():
        told = json.loads(path.read_text(encoding="utf-8"))
        names = tuple(dict.fromkeys((*done.names, *told["names"])))
        bad, empty = (*done.bad, *told["bad"]), tuple(told["empty"])
        done = SoFar(done.parts + 1, done.rows + told["rows"], names, bad, empty, Place(*told["last"]))
    # Rows of a folder name a file within it.
    return done if done.last is None or done.last.file in map(str, rows.paths) else SoFar()


def note_part(work: Path, number: int, values: Sequence[Values], bad: Sequence[str], empty: Sequence[Location]) -> None:
    """Writes down what was read for a part that is written.

    Args:
        work: the folder of what is under way.
        number: of the part.
        values: its rows.
        bad: rows that were left out before its last.
        empty: files without a row so far.
    """
    last = values[-1]
    told = {
        "rows": len(values),
        "names": columns_of(values),
        "bad": list(bad),
        "empty": [str(path) for path in empty],
        "last": [last["read_from"], last["line"]],
    }
    write_json(part_file(work / READ, number, "json"), told)


@dataclass
class Meanwhile:
    """Rows of files, whose images are looked at before the rows are given.

    Attributes:
        rows: of all files.
        settings: how images are looked at.
        done: what is not read again.
        looked: what was found, in the order of the rows that can be used and were not taken (`take`).
    """

    rows: Rows
    settings: DataSettings
    done: SoFar
    looked: deque[Looked[None]] = field(default_factory=deque)

    def __iter__(self) -> Iterator[Values | str]:
        """As `usable`; the images of a file are looked at while it is at hand."""
        last, paths = self.done.last, self.rows.paths
        self.rows.empty = [location(name) for name in self.done.empty]
        first = [str(path) for path in paths].index(last.file) if last else 0
        for number in range(first, len(paths)):
            with self.rows.at_hand(number):
                yield from self._of(number, last.number if last and number == first else 0)

    def take(self, rows: int) -> list[Looked[None]]:
        """What was found of the next rows that were given; nothing where images aren't looked at."""
        return [self.looked.popleft() for _ in range(rows)] if self.looked else []

    def _of(self, number: int, done: int) -> Iterator[Values | str]:
        found = usable(row for row in self.rows.of(number) if row.number > done)
        while window := list(islice(found, _LOOKED_AT_ONCE)):
            files = [str(values["file"]) for values in window if not isinstance(values, str)]
            self.looked.extend(looked_at(files, self.settings))
            yield from window
