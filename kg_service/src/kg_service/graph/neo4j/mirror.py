"""A local copy of a remote graph, kept as an embedded store, so that reading the whole graph costs only what is new.

graph.sqlite   the copy
state.json     which graph it copies, up to which write transaction, and what it signed there
name           of this copy, under which it signs
lock           held by the one process that brings the copy up to date
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar
from uuid import uuid4

from nbclip.errors import BrokenArtefact, os_reason

from kg_service.errors import UnusablePath, UnusableStore
from kg_service.graph.embedded.store import EmbeddedStore, open_embedded
from kg_service.graph.store import Graph, GraphBatch, GraphCounts, Revision
from kg_service.storage.locks import locked
from kg_service.storage.replacement import write_file

Answer = TypeVar("Answer")

_ROUNDS = 5
_TWICE = (
    "MATCH (a)-[edge:HAS_ATTRIBUTE|IS_A]->(b:Concept) WHERE a:Image OR a:Concept "
    "WITH a, b, edge.start AS start, edge.end AS end, count(*) AS times WHERE times > 1 RETURN a, b, times"
)


@dataclass(frozen=True, slots=True)
class Head:
    """The state of a graph: its identity, the number of its last write transaction, its counts, the mirrors' signatures."""

    graph_id: str
    revision: int
    counts: GraphCounts
    signatures: frozenset[str]


class Reader(Protocol):
    """What a mirror reads."""

    def head(self) -> Head:
        """The state now."""

    def changes(self, since: int | None) -> Iterator[GraphBatch]:
        """What was written after transaction `since`, or all there is: concepts and is_a first, then images."""

    def image_ids(self) -> set[str]:
        """The ids of all images."""


class Followed(Reader, Protocol):
    """The store that a mirror follows."""

    def turn(self, signature: Mapping[str, str]) -> AbstractContextManager[Reader]:
        """Holds the writers' turn: nothing is written while the block reads; leaves the signature, a value by its name."""


@dataclass(frozen=True, slots=True)
class _State:
    """What the copy is of. Two signatures where it is not known whether the later one was left."""

    graph_id: str
    revision: int
    signatures: tuple[str, ...]


class _NoCopy(Exception):
    """The copy lacks something its source has."""


class Mirror:
    """The copy in a folder; `patience_s` is how long a reader waits for another that brings it up to date."""

    def __init__(self, folder: Path, *, patience_s: float) -> None:
        self._folder = folder
        self._patience_s = patience_s

    def read_graph(self, source: Followed, *, dataset: str | None, split: str | None) -> Graph:
        """The graph of `source` as it was at one moment.

        Raises:
            Unavailable: `source` can't be read, or another process is at it for longer than the patience.
            UnusableStore: it holds what the copy can't.
        """
        return self._read(source, lambda copy: copy.read_graph(dataset=dataset, split=split))

    def read_new(self, source: Followed, since: Revision, *, dataset: str | None, split: str | None) -> Graph | None:
        """As `GraphStore.read_new`; `since` is a state of the copy. Errors as `read_graph`."""
        return self._read(source, lambda copy: copy.read_new(since, dataset=dataset, split=split))

    def _read(self, source: Followed, read: Callable[[EmbeddedStore], Answer]) -> Answer:
        """What `read` gives of the copy, which is brought up to date first."""
        with self._locked():
            if self._followed(source.head()) is None:
                self._discard()
            with suppress(_NoCopy, BrokenArtefact):
                return self._read_copy(source, read)
            # The source was edited by hand, or the copy is damaged.
            self._discard()
            with suppress(_NoCopy, BrokenArtefact):
                return self._read_copy(source, read)
        raise UnusableStore(
            "the graph can't be copied whole: it has edges that stand there twice, made by hand",
            hint=f"this finds them, delete one of each: {_TWICE}; or import the graph again",
        )

    def _read_copy(self, source: Followed, read: Callable[[EmbeddedStore], Answer]) -> Answer:
        with closing(open_embedded(self._folder / "graph.sqlite")) as copy:
            head = self._catch_up(source, copy)
            if copy.counts() != head.counts:
                raise _NoCopy
            return read(copy)

    def _catch_up(self, source: Followed, copy: EmbeddedStore) -> Head:
        """Brings the copy to the state of the graph at one moment.

        It reads while others write, again until little is new; the last round has the writers' turn, so that it comes to an
        end however fast they write.
        """
        head = source.head()
        since = self._followed(head)
        if since == head.revision and copy.counts() == head.counts:
            return head
        for _ in range(_ROUNDS):
            _bring(source, copy, since, head)
            before, head, since = head, source.head(), head.revision
            if head == before:
                break
        return self._last_round(source, copy, since)

    def _last_round(self, source: Followed, copy: EmbeddedStore, since: int | None) -> Head:
        signature = str(uuid4())
        state = self._state()
        if state:
            self._keep(_State(state.graph_id, state.revision, (*state.signatures[:1], signature)))
        with source.turn({f"mirror_{self._name()}": signature}) as held:
            head = held.head()
            _bring(held, copy, since, head)
        self._keep(_State(head.graph_id, head.revision, (signature,)))
        return head

    def _followed(self, head: Head) -> int | None:
        """The transaction up to which this graph is copied.

        None if it is another graph, or was set back: to a former revision, or to a backup that lacks the copy's signature.
        """
        state = self._state()
        same = state and state.graph_id == head.graph_id and state.revision <= head.revision
        return state.revision if state and same and head.signatures.intersection(state.signatures) else None

    def _state(self) -> _State | None:
        with suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            state = json.loads((self._folder / "state.json").read_text(encoding="utf-8"))
            return _State(state["graph_id"], int(state["revision"]), tuple(state["signatures"]))
        return None

    def _keep(self, state: _State) -> None:
        content = {"graph_id": state.graph_id, "revision": state.revision, "signatures": state.signatures}
        write_file(self._folder / "state.json", json.dumps(content).encode())

    def _name(self) -> str:
        path = self._folder / "name"
        if not path.exists():
            write_file(path, uuid4().hex.encode())
        return path.read_text(encoding="utf-8")

    def _discard(self) -> None:
        for name in ("state.json", "graph.sqlite", "graph.sqlite-wal", "graph.sqlite-shm"):
            (self._folder / name).unlink(missing_ok=True)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with ExitStack() as stack:
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(self._folder, self._patience_s, name="lock"))
            except OSError as error:
                hint = "check KG_DATA and its permissions"
                raise UnusablePath(f"can't keep a copy of the graph: {os_reason(error)}", hint=hint) from error
            yield


def _bring(source: Reader, copy: EmbeddedStore, since: int | None, head: Head) -> None:
    """Applies what was written after `since`, until `head` at least."""
    for batch in source.changes(since):
        copy.write(batch, on_conflict="replace")
    # Images leave no trace in the source; the copy has more than it just when some were deleted.
    if copy.counts().images > head.counts.images:
        copy.delete_images(copy.image_ids() - source.image_ids())
