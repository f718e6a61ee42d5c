"""The graph in a Neo4j database. Writers take turns, batch by batch; the whole graph is read through a local mirror.

Concepts, images, and the edges between them are this graph's; whatever else a database holds is left alone and not counted.
The queries are the files of `cypher/`, and `cypher/schema.cypher` is the schema. One node counts the write transactions: a
writer raises that count first, which makes the others wait and so rules out both deadlocks and reads that grow stale, and
every image and concept carries the count of the transaction that wrote it, so that a mirror asks for what is new only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from nbclip.errors import InvalidInput, Unavailable

from kg_service.graph.neo4j.address import parse_address
from kg_service.graph.neo4j.bolt import BULK, PROBE, REQUEST, SCHEMA, Ask, Bolt, Transaction
from kg_service.graph.neo4j.explanations import TooLarge
from kg_service.graph.neo4j.mirror import Head, Mirror
from kg_service.graph.neo4j.parts import MOST_READ, MOST_WRITTEN, Element, batch_of, cut, elements, weight
from kg_service.graph.neo4j.rows import concept_batch, image_of, pages
from kg_service.graph.neo4j.schema import prepare, query
from kg_service.graph.neo4j.writing import Turn, Written, write_concepts, write_images
from kg_service.graph.settlement import image_batch, require_concepts
from kg_service.graph.store import (
    ALL,
    Access,
    Graph,
    GraphBatch,
    GraphCounts,
    ImageNode,
    ImageOutcome,
    OnConflict,
    Revision,
    StoreKind,
    Wanted,
    WriteReport,
)


def open_neo4j(url: str, access: Access) -> Neo4jStore:
    """Opens the store; the server is asked when it is first used. Errors as `open_store`."""
    patience = BULK if access.bulk else REQUEST
    bolt = Bolt(parse_address(url, access.user, access.password), patience, query)
    # Longer than the server has to answer: who waits is told what that attempt found.
    preparation = _Preparation(bolt, (SCHEMA if access.bulk else REQUEST).limit_s + 1, read_only=access.read_only)
    return Neo4jStore(bolt, Mirror(access.mirror, patience_s=patience.limit_s), preparation)


def try_login(url: str, access: Access) -> None:
    """Asks the server once whether it lets us in.

    Raises:
        WrongCredentials: it does not.
        Unavailable: it gives no answer within 3 s.
    """
    bolt = Bolt(parse_address(url, access.user, access.password), PROBE, query)
    try:
        bolt.read(lambda transaction: transaction.run("found"))
    finally:
        bolt.close()


class Neo4jStore:
    """`GraphStore` on Neo4j. Concepts and is_a of a batch are kept whatever the outcome of its images."""

    def __init__(self, bolt: Bolt, mirror: Mirror, preparation: _Preparation) -> None:
        self._bolt = bolt
        self._mirror = mirror
        self._preparation = preparation
        self._written = Written()
        self._most = MOST_WRITTEN

    def write(self, batch: GraphBatch, *, on_conflict: OnConflict = "reject") -> WriteReport:
        """As `GraphStore.write`; InvalidInput if an edge names a concept that the batch lacks.

        A batch of more than `MOST_WRITTEN` nodes and edges takes several transactions, and so does one that the server's memory
        does not do for, down to an image each.
        """
        require_concepts(batch)
        self._preparation.wait(writing=True)
        whole = elements(batch)
        parts = cut(whole, [0 if each in self._written else weight(each) for each in whole], self._most)
        return WriteReport(tuple(outcome for part in parts for outcome in self._write_part(part, batch, on_conflict)))

    def _write_part(self, part: Sequence[Element], whole: GraphBatch, on_conflict: OnConflict) -> tuple[ImageOutcome, ...]:
        try:
            return self._write_at_once(batch_of(part, whole), on_conflict)
        except TooLarge:
            if len(part) == 1:
                raise
            # What did not go through now would not the next time.
            self._most = max(1, sum(map(weight, part)) // 2)
        smaller = cut(part, map(weight, part), self._most)
        return tuple(outcome for each in smaller for outcome in self._write_part(each, whole, on_conflict))

    def _write_at_once(self, batch: GraphBatch, on_conflict: OnConflict) -> tuple[ImageOutcome, ...]:
        async def work(transaction: Transaction) -> tuple[Turn, tuple[ImageOutcome, ...]]:
            turn = await self._next_revision(transaction)
            concepts, is_a = await write_concepts(transaction, self._written.missing(batch, turn), turn.revision)
            outcomes = await write_images(transaction, batch, on_conflict, turn.revision)
            return Turn(turn.graph_id, turn.revision, turn.concepts + concepts, turn.is_a + is_a), outcomes

        try:
            left, outcomes = self._bolt.write(work)
        except Unavailable:
            # What was written is not known, or concepts were removed.
            self._written.forget()
            raise
        self._written.add(batch, left)
        return outcomes

    def image(self, image_id: str) -> ImageNode | None:
        """As `GraphStore.image`."""
        return next(iter(_images(self._read, "images", image_ids=[image_id])), None)

    def images(self, *, after: str = "", limit: int = 100, wanted: Wanted = ALL) -> list[ImageNode]:
        """As `GraphStore.images`."""
        conditions = {"words": [word.lower() for word in wanted.words], "cui": wanted.cui, "score_below": wanted.score_below}
        name, given = ("image_page", {}) if wanted == ALL else ("wanted_images", conditions)
        try:
            return _images(self._read, name, after=after, limit=max(limit, 0), **given)
        except TooLarge:
            if limit < 2:
                raise
        page = self.images(after=after, limit=limit // 2, wanted=wanted)
        full = len(page) == limit // 2
        return [*page, *self.images(after=page[-1].image_id, limit=limit - len(page), wanted=wanted)] if full else page

    def delete_image(self, image_id: str) -> bool:
        """As `GraphStore.delete_image`; True also if an attempt of which the end is not known found the image."""
        self._preparation.wait(writing=True)
        found = False

        async def work(transaction: Transaction) -> None:
            nonlocal found
            await self._next_revision(transaction)
            # An attempt that is made again may find what the one before has done.
            found = bool(await transaction.run("delete_images", image_ids=[image_id])) or found

        self._bolt.write(work)
        return found

    def image_count(self, cui: str) -> int:
        """As `GraphStore.image_count`."""
        return int(self._read("image_count", cui=cui))

    def splits(self) -> list[str]:
        """As `GraphStore.splits`."""
        return sorted(self._read("splits"))

    def counts(self) -> GraphCounts:
        """As `GraphStore.counts`."""
        return self.head().counts

    def read_graph(self, *, dataset: str | None = None, split: str | None = None) -> Graph:
        """As `GraphStore.read_graph`, from the mirror, once it has what is new."""
        return self._mirror.read_graph(self, dataset=dataset, split=split)

    def read_new(self, since: Revision, *, dataset: str | None = None, split: str | None = None) -> Graph | None:
        """As `GraphStore.read_new`, from the mirror, once it has what is new; `since` is a state of the mirror."""
        return self._mirror.read_new(self, since, dataset=dataset, split=split)

    def batches(self) -> Iterator[GraphBatch]:
        """As `GraphStore.batches`."""
        return self.changes(None)

    def check(self) -> None:
        """As `GraphStore.check`; UnusableStore if the graph can be read but not written."""
        self.head()
        self._bolt.try_to_write(lambda transaction: transaction.run("can_write"))

    def close(self) -> None:
        """As `GraphStore.close`."""
        self._bolt.close()

    def head(self) -> Head:
        """As `Reader.head`."""
        return self._reader().head()

    def image_ids(self) -> set[str]:
        """The ids of all images."""
        return self._reader().image_ids()

    def changes(self, since: int | None) -> Iterator[GraphBatch]:
        """As `Reader.changes`."""
        return self._reader().changes(since)

    @contextmanager
    def turn(self, signature: Mapping[str, str]) -> Iterator[_Reader]:
        """As `Followed.turn`."""
        self._preparation.wait(writing=True)
        with self._bolt.transaction() as ask:
            if ask("sign", signature=dict(signature)) is None:
                raise self._removed()
            yield _Reader(ask, self._removed)

    def _reader(self) -> _Reader:
        return _Reader(self._read, self._removed)

    def _read(self, name: str, /, **parameters: Any) -> Any:
        self._preparation.wait()

        async def work(transaction: Transaction) -> Any:
            return await transaction.run(name, **parameters)

        return self._bolt.read(work)

    async def _next_revision(self, transaction: Transaction) -> Turn:
        answer = await transaction.run("next_revision")
        if answer is None:
            raise self._removed()
        return Turn(*answer)

    def _removed(self) -> Unavailable:
        self._preparation.forget()
        return Unavailable(f"the graph was removed from {self._bolt.address.url}", hint="try again: an empty one is made")


@dataclass(frozen=True, slots=True)
class _Reader:
    """What a mirror asks, each query in a transaction of its own or all in one."""

    ask: Ask
    removed: Any

    def head(self) -> Head:
        answer = self.ask("head")
        if answer is None:
            raise self.removed()
        graph_id, revision, *counts, relations, signatures = answer
        counted = replace(GraphCounts(*counts), relations=dict(sorted(relations)))
        return Head(graph_id, revision, counted, frozenset(signatures))

    def image_ids(self) -> set[str]:
        return set(self.ask("image_ids"))

    def changes(self, since: int | None) -> Iterator[GraphBatch]:
        for page in pages(self._changed("cuis", since)):
            yield concept_batch(self.ask("concepts", cuis=page))
        for page in pages(self._changed("image_ids", since)):
            sizes = dict(self.ask("edge_counts", image_ids=page))
            for part in cut(page, [1 + sizes.get(image_id, 0) for image_id in page], MOST_READ):
                yield image_batch(_images(self.ask, "images", image_ids=part))

    def _changed(self, what: str, since: int | None) -> list[str]:
        return sorted(self.ask(what) if since is None else self.ask(f"changed_{what}", since=since))


class _Preparation:
    """Constraints first: without them two writers would make the same node twice. Nothing is done if they stand.

    All callers wait for one attempt, on a thread of its own: over a large import it outlives the patience of a request.
    """

    def __init__(self, bolt: Bolt, patience_s: float, *, read_only: bool) -> None:
        self._bolt = bolt
        self._patience_s = patience_s
        self._read_only = read_only
        self._lock = threading.Lock()
        self._attempt: Future[None] | None = None

    def wait(self, *, writing: bool = False) -> None:
        """Returns once the graph can be used; errors as `prepare`, and Unavailable while indexes are built."""
        if writing and self._read_only:
            raise InvalidInput(f"{self._bolt.address.url} was opened read-only", hint="open it without read_only")
        with self._lock:
            if self._attempt is None or (self._attempt.done() and self._attempt.exception()):
                self._attempt = Future()
                threading.Thread(target=self._run, args=(self._attempt,), daemon=True).start()
            attempt = self._attempt
        try:
            attempt.result(self._patience_s)
        except TimeoutError as error:
            raise Unavailable(f"{self._bolt.address.url} builds the graph's indexes", hint="try again in a minute") from error

    def forget(self) -> None:
        """The next caller makes another attempt."""
        self._attempt = None

    def _run(self, attempt: Future[None]) -> None:
        try:
            prepare(self._bolt, read_only=self._read_only)
        # Whoever waits gets it, whatever it is.
        except BaseException as error:  # noqa: BLE001
            attempt.set_exception(error)
        else:
            attempt.set_result(None)


def _images(ask: Ask, name: str, /, **parameters: Any) -> list[ImageNode]:
    return sorted(map(image_of, ask(name, **parameters)), key=lambda node: node.image_id)


STORE = StoreKind(open=open_neo4j, probe=try_login, file=lambda url: None)
