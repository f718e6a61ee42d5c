"""A local copy of a remote graph, kept as an embedded store, so that reading the whole graph costs what is new of it.

graph.sqlite   the copy
state.json     which graph it copies, and up to which write transaction
lock           held by the one process that brings the copy up to date
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from nbclip_shared.errors import BrokenArtefact, Unavailable

from kg_service.durable import write_file
from kg_service.errors import UnusablePath
from kg_service.graph.embedded import EmbeddedStore, open_embedded
from kg_service.graph.store import Graph, GraphBatch, GraphCounts

_ROUNDS = 100


@dataclass(frozen=True, slots=True)
class Head:
    """The state of a graph: its identity, the number of its last write transaction, its counts."""

    graph_id: str
    revision: int
    counts: GraphCounts


class Followed(Protocol):
    """What a mirror asks of the store that it follows."""

    def head(self) -> Head:
        """The state now."""

    def changes(self, since: int | None) -> Iterator[GraphBatch]:
        """What was written after transaction `since`, or everything."""

    def image_ids(self) -> set[str]:
        """The ids of all images."""


class Mirror:
    """The copy in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read_graph(self, source: Followed, *, dataset: str | None, split: str | None) -> Graph:
        """The graph of `source` as it was at one moment.

        Raises:
            Unavailable: `source` can't be read, or is written faster than it can be read.
        """
        with self._locked():
            head = source.head()
            if self._followed(head) is None:
                self._discard()
            graph = self._read(source, dataset, split)
            if graph is None:
                # The source was edited by hand, or the copy is damaged.
                self._discard()
                graph = self._read(source, dataset, split)
        if graph is None:
            raise Unavailable("the graph can't be copied whole", hint="look for edits made by hand, or import it again")
        return graph

    def _read(self, source: Followed, dataset: str | None, split: str | None) -> Graph | None:
        """Brings the copy up to date; None if it then is no copy."""
        try:
            with closing(open_embedded(self._folder / "graph.sqlite")) as copy:
                head = self._catch_up(source, copy)
                return copy.read_graph(dataset=dataset, split=split) if copy.counts() == head.counts else None
        except BrokenArtefact:
            return None

    def _catch_up(self, source: Followed, copy: EmbeddedStore) -> Head:
        """Applies what is new until nothing was written while it was read: then the copy is the graph at one moment."""
        head = source.head()
        for _ in range(_ROUNDS):
            for batch in source.changes(self._followed(head)):
                copy.write(batch, on_conflict="replace")
            _drop_deleted(source, copy, head)
            self._follow(head)
            before, head = head, source.head()
            if head == before:
                return head
        raise Unavailable("the graph is written faster than it can be read", hint="try again when less is ingested")

    def _followed(self, head: Head) -> int | None:
        """The transaction up to which this graph is copied; None if it is another one, or was set back to a former state."""
        try:
            state = json.loads((self._folder / "state.json").read_text(encoding="utf-8"))
            graph_id, revision = state["graph_id"], int(state["revision"])
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return revision if graph_id == head.graph_id and revision <= head.revision else None

    def _follow(self, head: Head) -> None:
        state = {"graph_id": head.graph_id, "revision": head.revision}
        write_file(self._folder / "state.json", json.dumps(state).encode())

    def _discard(self) -> None:
        for name in ("state.json", "graph.sqlite", "graph.sqlite-wal", "graph.sqlite-shm"):
            (self._folder / name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            file = (self._folder / "lock").open("wb")
        except OSError as error:
            raise UnusablePath(f"can't keep a copy of the graph: {error}", hint="check KG_DATA and its permissions") from error
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _drop_deleted(source: Followed, copy: EmbeddedStore, head: Head) -> None:
    """Images leave no trace in the source; the copy has more than it just when some were deleted."""
    if copy.counts().images > head.counts.images:
        copy.delete_images(copy.image_ids() - source.image_ids())
