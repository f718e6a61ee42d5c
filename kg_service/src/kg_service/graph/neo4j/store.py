"""The graph in a Neo4j database. Writers take turns, batch by batch; the whole graph is read through a local mirror.

The queries are the files of `cypher/`, and `cypher/schema.cypher` is the schema. One node counts the write transactions: a
writer raises that count first, which makes the others wait and so rules out both deadlocks and reads that grow stale, and
every image and concept carries the count of the transaction that wrote it, so that a mirror asks for what is new only.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from nbclip.errors import InvalidInput, Unavailable

from kg_service.graph.neo4j.bolt import BULK, PROBE, REQUEST, SCHEMA, Ask, Bolt, Transaction, parse_address
from kg_service.graph.neo4j.mirror import Head, Mirror
from kg_service.graph.neo4j.rows import (
    child_rows,
    concept_batch,
    concept_rows,
    concepts_of,
    image_of,
    image_rows,
    is_a_of,
    is_a_rows,
    pages,
)
from kg_service.graph.neo4j.schema import prepare, query
from kg_service.graph.settlement import canonical, changed_concepts, changed_is_a, image_batch, require_concepts, settle
from kg_service.graph.store import (
    Access,
    ConceptNode,
    Graph,
    GraphBatch,
    GraphCounts,
    ImageNode,
    ImageOutcome,
    IsAEdge,
    OnConflict,
    Revision,
    StoreKind,
    WriteReport,
)


def open_neo4j(url: str, access: Access) -> Neo4jStore:
    """Opens the store; the server is asked when it is first used. Errors as `open_store`."""
    patience = BULK if access.bulk else REQUEST
    bolt = Bolt(parse_address(url, access.user, access.password), patience, query)
    preparation = _Preparation(bolt, (SCHEMA if access.bulk else REQUEST).limit_s, read_only=access.read_only)
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
        self._written = _Written()

    def write(self, batch: GraphBatch, *, on_conflict: OnConflict = "reject") -> WriteReport:
        """As `GraphStore.write`; InvalidInput if an edge names a concept that the batch lacks."""
        require_concepts(batch)
        self._preparation.wait(writing=True)

        async def work(transaction: Transaction) -> tuple[_Turn, tuple[ImageOutcome, ...]]:
            turn = await self._next_revision(transaction)
            concepts, is_a = await _write_concepts(transaction, *self._written.missing(batch, turn), turn.revision)
            outcomes = await _write_images(transaction, batch, on_conflict, turn.revision)
            return _Turn(turn.graph_id, turn.revision, turn.concepts + concepts, turn.is_a + is_a), outcomes

        try:
            left, outcomes = self._bolt.write(work)
        except Unavailable:
            # What was written is not known, or concepts were removed.
            self._written.forget()
            raise
        self._written.add(batch, left)
        return WriteReport(outcomes)

    def image(self, image_id: str) -> ImageNode | None:
        """As `GraphStore.image`."""
        return next(iter(_images(self._read, "images", image_ids=[image_id])), None)

    def images(self, *, after: str = "", limit: int = 100) -> list[ImageNode]:
        """As `GraphStore.images`."""
        return _images(self._read, "image_page", after=after, limit=max(limit, 0))

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
        """As `GraphStore.check`."""
        self.head()

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

    async def _next_revision(self, transaction: Transaction) -> _Turn:
        answer = await transaction.run("next_revision")
        if answer is None:
            raise self._removed()
        return _Turn(*answer)

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
        graph_id, revision, *counts, signatures = answer
        return Head(graph_id, revision, GraphCounts(*counts), frozenset(signatures))

    def image_ids(self) -> set[str]:
        return set(self.ask("image_ids"))

    def changes(self, since: int | None) -> Iterator[GraphBatch]:
        for page in pages(self._changed("cuis", since)):
            yield concept_batch(self.ask("concepts", cuis=page))
        for page in pages(self._changed("image_ids", since)):
            yield image_batch(_images(self.ask, "images", image_ids=page))

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


@dataclass(frozen=True, slots=True)
class _Turn:
    """A write transaction of a graph, and the concepts and is_a that the graph has."""

    graph_id: str
    revision: int
    concepts: int
    is_a: int


@dataclass(slots=True)
class _Written:
    """Concepts and is_a that this process has written to a graph: ancestors come again with every batch."""

    last: _Turn | None = None
    concepts: dict[str, ConceptNode] = field(default_factory=dict)
    is_a: dict[tuple[str, str], IsAEdge] = field(default_factory=dict)

    def add(self, batch: GraphBatch, left: _Turn) -> None:
        self.last = left
        self.concepts.update((concept.cui, concept) for concept in batch.concepts)
        self.is_a.update(((edge.child, edge.parent), edge) for edge in batch.is_a)

    def missing(self, batch: GraphBatch, turn: _Turn) -> tuple[list[ConceptNode], list[IsAEdge]]:
        """What of a batch has yet to be written to this graph."""
        if not self._holds(turn):
            self.forget()
        concepts = [concept for concept in batch.concepts if self.concepts.get(concept.cui) != concept]
        return concepts, [edge for edge in batch.is_a if self.is_a.get((edge.child, edge.parent)) != edge]

    def forget(self) -> None:
        self.last = None
        self.concepts.clear()
        self.is_a.clear()

    def _holds(self, turn: _Turn) -> bool:
        """No program removes concepts or is_a: where there are fewer, somebody did by hand, or restored a backup."""
        last = self.last
        return last is not None and (
            turn.graph_id == last.graph_id
            and turn.revision > last.revision
            and turn.concepts >= last.concepts
            and turn.is_a >= last.is_a
        )


async def _write_concepts(
    transaction: Transaction, concepts: Sequence[ConceptNode], is_a: Sequence[IsAEdge], revision: int
) -> tuple[int, int]:
    """Writes what differs from what is stored, is_a after all concepts; how many of each are new."""
    cuis = sorted({concept.cui for concept in concepts} | {edge.child for edge in is_a})
    stored = [row for page in pages(cuis) for row in await transaction.run("concepts", cuis=page)]
    known = {row[0] for row in stored}
    changed = changed_concepts(concepts, concepts_of(stored))
    new = [concept for concept in changed if concept.cui not in known]
    await _run_in_pages(transaction, "create_concepts", revision, concepts=concept_rows(new))
    old = [concept for concept in changed if concept.cui in known]
    await _run_in_pages(transaction, "update_concepts", revision, concepts=concept_rows(old))
    return len(new), await _write_is_a(transaction, is_a, is_a_of(stored), revision)


async def _write_is_a(transaction: Transaction, is_a: Sequence[IsAEdge], stored: Sequence[IsAEdge], revision: int) -> int:
    known = {(edge.child, edge.parent) for edge in stored}
    changed = changed_is_a(is_a, stored)
    new = [edge for edge in changed if (edge.child, edge.parent) not in known]
    if sum(await _run_in_pages(transaction, "create_is_a", revision, children=child_rows(new))) != len(new):
        raise _concepts_removed()
    old = [edge for edge in changed if (edge.child, edge.parent) in known]
    await _run_in_pages(transaction, "update_is_a", revision, edges=is_a_rows(old))
    return len(new)


async def _write_images(
    transaction: Transaction, batch: GraphBatch, on_conflict: OnConflict, revision: int
) -> tuple[ImageOutcome, ...]:
    known = map(image_of, await transaction.run("images", image_ids=sorted({image.image_id for image in batch.images})))
    settlement = settle(batch.images, {node.image_id: canonical(node) for node in known}, on_conflict)
    replaced = sorted(result.image_id for result in settlement.outcomes if result.outcome == "replaced")
    if replaced:
        await transaction.run("delete_images", image_ids=replaced)
    edges = await transaction.run("create_images", images=image_rows(settlement.changed), revision=revision)
    if edges != sum(len(image.attributes) for image in settlement.changed.values()):
        raise _concepts_removed()
    return settlement.outcomes


async def _run_in_pages(transaction: Transaction, name: str, revision: int, **rows: list[list[Any]]) -> list[Any]:
    """The answers of a query that is run for a page of rows at a time."""
    ((parameter, values),) = rows.items()
    return [await transaction.run(name, revision=revision, **{parameter: page}) for page in pages(values)]


def _images(ask: Ask, name: str, /, **parameters: Any) -> list[ImageNode]:
    return sorted(map(image_of, ask(name, **parameters)), key=lambda node: node.image_id)


def _concepts_removed() -> Unavailable:
    return Unavailable("concepts were removed from Neo4j while this program ran", hint="try again: they are written again")


STORE = StoreKind(open=open_neo4j, probe=try_login, file=lambda url: None)
