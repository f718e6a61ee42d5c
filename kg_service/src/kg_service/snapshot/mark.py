"""The state of the graph store that a snapshot covers, so that an append reads only what was added since.

A mark lies beside a snapshot's files and is no part of it: the same content has the same id, whichever store it was read from.
Where there is none, or the store does not know that state, the whole graph is read.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from kg_service.graph.store import Revision
from kg_service.storage.replacement import write_file

_NAME = "mark.json"


@dataclass(frozen=True, slots=True)
class Mark:
    """How a snapshot and its part of a graph in one state compare; every image of the graph is in the snapshot.

    Attributes:
        revision: the state of the graph store.
        linkers: those that made the edges of the graph, sorted.
        replaced: images of the snapshot that have another caption or other concepts in the graph.
        deleted: images of the snapshot that the graph does not have.
    """

    revision: Revision
    linkers: tuple[str, ...]
    replaced: int = 0
    deleted: int = 0


def read_mark(folder: Path) -> Mark | None:
    """The mark of the snapshot in a folder, None if it has none that can be read."""
    with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
        held = json.loads((folder / _NAME).read_text(encoding="utf-8"))
        revision = Revision(int(held["revision"]["number"]), str(held["revision"]["token"]))
        return Mark(revision, tuple(held["linkers"]), int(held["replaced"]), int(held["deleted"]))
    return None


def write_mark(folder: Path, mark: Mark) -> None:
    """Leaves a mark in the folder of a snapshot, unless it is there."""
    if read_mark(folder) != mark:
        write_file(folder / _NAME, json.dumps(asdict(mark)).encode(), scratch=folder.parent)
