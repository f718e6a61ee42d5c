"""The graph in a Neo4j database. Writers take turns, batch by batch; the whole graph is read through a local mirror.

The queries are the files of `cypher/`, and `cypher/schema.cypher` is the schema. One node counts the write transactions: a
writer raises that count first, which makes the others wait and so rules out both deadlocks and reads that grow stale, and
every image and concept carries the count of the transaction that wrote it, so that a mirror asks for what is new only.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, LiteralString

from nbclip_shared.errors import BrokenArtefact, Conflict, Unavailable
from nbclip_shared.ids import caption_sha256

from kg_service.graph.bolt import BULK, REQUEST, SCHEMA, Bolt, Transaction, parse_address
from kg_service.graph.mirror import Head, Mirror
from kg_service.graph.settlement import canonical, changed_concepts, changed_is_a, image_batch, require_concepts, settle
from kg_service.graph.store import (
    AttributeEdge,
    ConceptNode,
    Graph,
    GraphBatch,
    GraphCounts,
    ImageNode,
    ImageOutcome,
    IsAEdge,
    OnConflict,
    WriteReport,
)

SCHEMA_VERSION = 1
_PAGE = 5_000


def open_neo4j(url: str, *, user: str, password: str, mirror: Path, bulk: bool = False) -> Neo4jStore:
    """Opens the store; the server is asked when it is first used. Arguments and errors as `open_store`."""
    bolt = Bolt(parse_address(url, user, password), BULK if bulk else REQUEST, query)
    return Neo4jStore(bolt, Mirror(mirror), (SCHEMA if bulk else REQUEST).limit_s)


class Neo4jStore:
    """`GraphStore` on Neo4j. Concepts and is_a of a batch are kept whatever becomes of its images."""

    def __init__(self, bolt: Bolt, mirror: Mirror, schema_patience_s: float) -> None:
        self._bolt = bolt
        self._schema_patience_s = schema_patience_s
        self._mirror = mirror
        self._preparing = threading.Lock()
        self._preparation: Future[None] | None = None
        self._written = _Written()

    def write(self, batch: GraphBatch, *, on_conflict: OnConflict = "reject") -> WriteReport:
        """As `GraphStore.write`; InvalidInput if an edge names a concept that the batch lacks."""
        require_concepts(batch)
        self._prepare()

        async def work(transaction: Transaction) -> tuple[str, tuple[ImageOutcome, ...]]:
            graph_id, revision = await self._next_revision(transaction)
            return graph_id, await _write(transaction, batch, on_conflict, self._written.missing(batch, graph_id), revision)

        try:
            graph_id, outcomes = self._bolt.write(work)
        except Unavailable:
            # What was written is not known, or concepts were removed.
            self._written.forget()
            raise
        self._written.add(batch, graph_id)
        return WriteReport(outcomes)

    def image(self, image_id: str) -> ImageNode | None:
        """As `GraphStore.image`."""
        return next(iter(self._images("images", image_ids=[image_id])), None)

    def images(self, *, after: str = "", limit: int = 100) -> list[ImageNode]:
        """As `GraphStore.images`."""
        return self._images("image_page", after=after, limit=max(limit, 0))

    def delete_image(self, image_id: str) -> bool:
        """As `GraphStore.delete_image`."""
        self._prepare()

        async def work(transaction: Transaction) -> bool:
            await self._next_revision(transaction)
            return bool(await transaction.run("delete_images", image_ids=[image_id]))

        return self._bolt.write(work)

    def image_count(self, cui: str) -> int:
        """As `GraphStore.image_count`."""
        return int(self._read("image_count", cui=cui))

    def counts(self) -> GraphCounts:
        """As `GraphStore.counts`."""
        return self.head().counts

    def read_graph(self, *, dataset: str | None = None, split: str | None = None) -> Graph:
        """As `GraphStore.read_graph`, from the mirror, once it has what is new."""
        return self._mirror.read_graph(self, dataset=dataset, split=split)

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
        """Which graph this is, its last write transaction, and its counts."""
        answer = self._read("head")
        if answer is None:
            raise self._removed()
        graph_id, revision, *counts = answer
        return Head(graph_id, revision, GraphCounts(*counts))

    def image_ids(self) -> set[str]:
        """The ids of all images."""
        return set(self._read("image_ids"))

    def changes(self, since: int | None) -> Iterator[GraphBatch]:
        """What was written after transaction `since`, or all there is: concepts and is_a first, then images."""
        cuis = self._changed("cuis", since)
        for page in _pages(cuis):
            yield _concept_batch(self._read("concepts", cuis=page))
        for page in _pages(self._changed("image_ids", since)):
            yield image_batch(self._images("images", image_ids=page))

    def _changed(self, what: str, since: int | None) -> list[str]:
        return sorted(self._read(what) if since is None else self._read(f"changed_{what}", since=since))

    def _images(self, name: str, **parameters: Any) -> list[ImageNode]:
        nodes = map(_image, self._read(name, **parameters))
        return sorted(nodes, key=lambda node: node.image_id)

    def _read(self, name: str, **parameters: Any) -> Any:
        self._prepare()

        async def work(transaction: Transaction) -> Any:
            return await transaction.run(name, **parameters)

        return self._bolt.read(work)

    def _prepare(self) -> None:
        """Constraints first: without them two writers would make the same node twice. Nothing is done if they stand.

        All callers wait for one attempt, on a thread of its own: over a large import it outlives the patience of a request.
        """
        with self._preparing:
            if self._preparation is None or (self._preparation.done() and self._preparation.exception()):
                self._preparation = Future()
                threading.Thread(target=_attempt, args=(self._preparation, self._bolt), daemon=True).start()
            preparation = self._preparation
        try:
            preparation.result(self._schema_patience_s)
        except TimeoutError as error:
            raise Unavailable(f"{self._bolt.address.url} builds the graph's indexes", hint="try again in a minute") from error

    async def _next_revision(self, transaction: Transaction) -> tuple[str, int]:
        answer = await transaction.run("next_revision")
        if answer is None:
            raise self._removed()
        graph_id, revision = answer
        return graph_id, revision

    def _removed(self) -> Unavailable:
        self._preparation = None
        return Unavailable(f"the graph was removed from {self._bolt.address.url}", hint="try again: an empty one is made")


@cache
def query(name: str) -> LiteralString:
    """The text of `cypher/<name>.cypher`: part of the program; what comes from elsewhere is a parameter."""
    return (files("kg_service.graph") / "cypher" / f"{name}.cypher").read_text(encoding="utf-8")


def schema() -> dict[str, LiteralString]:
    """The statements of the schema, by the name of the constraint or index that each makes."""
    statements = re.finditer(r"^CREATE (?:CONSTRAINT|INDEX) (\w+)[^;]*", query("schema"), re.MULTILINE)
    return {statement[1]: statement[0] for statement in statements}


def attribute_key(image_id: str, edge: AttributeEdge) -> str:
    """What names an attribute: its image, place and concept."""
    return f"{image_id} {edge.start} {edge.end} {edge.cui}"


def _attempt(preparation: Future[None], bolt: Bolt) -> None:
    try:
        _prepare(bolt)
    # Whoever waits gets it, whatever it is.
    except BaseException as error:  # noqa: BLE001
        preparation.set_exception(error)
    else:
        preparation.set_result(None)


def _prepare(bolt: Bolt) -> None:
    async def found(transaction: Transaction) -> tuple[int | None, bool, list[str]]:
        return *await transaction.run("found"), await transaction.run("online")

    async def finish(transaction: Transaction) -> None:
        await transaction.run("await_schema", seconds=int(SCHEMA.limit_s))
        await transaction.run("create_state", schema_version=SCHEMA_VERSION)

    # A server that is not there is told at once, also to those who would wait for one that restarts.
    version, others, online = bolt.read(found, REQUEST)
    where = f"database {bolt.address.database!r} of {bolt.address.url}"
    if version is None and others:
        raise Conflict(f"{where} holds :Image or :Concept nodes of another program", hint="give this graph a database of its own")
    if version not in (None, SCHEMA_VERSION):
        raise BrokenArtefact(
            f"{where} has schema version {version}, this program needs {SCHEMA_VERSION}", hint="use the program that wrote it"
        )
    statements = schema()
    missing = [statement for name, statement in statements.items() if name not in online]
    for statement in missing:
        bolt.make(statement)
    if version is None or missing:
        bolt.write(finish, SCHEMA)


@dataclass(slots=True)
class _Written:
    """Concepts and is_a that this process has written to a graph: ancestors come again with every batch."""

    graph_id: str = ""
    concepts: dict[str, ConceptNode] = field(default_factory=dict)
    is_a: dict[tuple[str, str], IsAEdge] = field(default_factory=dict)

    def add(self, batch: GraphBatch, graph_id: str) -> None:
        if graph_id != self.graph_id:
            return
        self.concepts.update((concept.cui, concept) for concept in batch.concepts)
        self.is_a.update(((edge.child, edge.parent), edge) for edge in batch.is_a)

    def missing(self, batch: GraphBatch, graph_id: str) -> tuple[list[ConceptNode], list[IsAEdge]]:
        """What of a batch has yet to be written to this graph."""
        if graph_id != self.graph_id:
            self.forget()
            self.graph_id = graph_id
        concepts = [concept for concept in batch.concepts if self.concepts.get(concept.cui) != concept]
        return concepts, [edge for edge in batch.is_a if self.is_a.get((edge.child, edge.parent)) != edge]

    def forget(self) -> None:
        self.concepts.clear()
        self.is_a.clear()


async def _write(
    transaction: Transaction,
    batch: GraphBatch,
    on_conflict: OnConflict,
    missing: tuple[list[ConceptNode], list[IsAEdge]],
    revision: int,
) -> tuple[ImageOutcome, ...]:
    await _write_concepts(transaction, *missing, revision)
    known = map(_image, await transaction.run("images", image_ids=sorted({image.image_id for image in batch.images})))
    settlement = settle(batch.images, {node.image_id: canonical(node) for node in known}, on_conflict)
    replaced = sorted(result.image_id for result in settlement.outcomes if result.outcome == "replaced")
    if replaced:
        await transaction.run("delete_images", image_ids=replaced)
    edges = await transaction.run("create_images", images=_image_rows(settlement.changed), revision=revision)
    if edges != sum(len(image.attributes) for image in settlement.changed.values()):
        raise Unavailable("concepts were removed from Neo4j while this program ran", hint="try again: they are written anew")
    return settlement.outcomes


async def _write_concepts(
    transaction: Transaction, concepts: Sequence[ConceptNode], is_a: Sequence[IsAEdge], revision: int
) -> None:
    """Writes what differs from what is stored; is_a goes after all concepts."""
    cuis = sorted({concept.cui for concept in concepts} | {edge.child for edge in is_a})
    stored = [row for page in _pages(cuis) for row in await transaction.run("concepts", cuis=page)]
    new = changed_concepts(concepts, _concepts(stored))
    for page in _pages([_concept_row(concept) for concept in new]):
        await transaction.run("write_concepts", concepts=page, revision=revision)
    new_is_a = changed_is_a(is_a, _is_a(stored))
    for page in _pages([[edge.child, edge.parent, edge.source] for edge in new_is_a]):
        await transaction.run("write_is_a", edges=page, revision=revision)


def _image_rows(images: Mapping[str, ImageNode]) -> list[list[Any]]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return [
        [
            *(node.image_id, node.caption, caption_sha256(node.caption), node.dataset, node.split, node.ingested_at or now),
            [_attribute_row(node.image_id, edge) for edge in node.attributes],
        ]
        for _, node in sorted(images.items())
    ]


def _attribute_row(image_id: str, edge: AttributeEdge) -> list[Any]:
    return [
        *(edge.cui, edge.text, edge.start, edge.end, edge.score, edge.rule, edge.assertion, edge.linker),
        attribute_key(image_id, edge),
    ]


def _concept_row(concept: ConceptNode) -> list[Any]:
    return [concept.cui, concept.name, list(concept.semantic_types), concept.source]


def _image(row: Sequence[Any]) -> ImageNode:
    image_id, caption, dataset, split, ingested_at, edges = row
    attributes = sorted((AttributeEdge(*edge) for edge in edges), key=lambda edge: (edge.start, edge.end, edge.cui))
    return ImageNode(image_id, caption, tuple(attributes), dataset, split, ingested_at)


def _concepts(rows: Iterable[Sequence[Any]]) -> list[ConceptNode]:
    return [ConceptNode(cui, name, tuple(types), source) for cui, name, types, source, _ in rows]


def _is_a(rows: Iterable[Sequence[Any]]) -> list[IsAEdge]:
    return [IsAEdge(cui, parent, source) for cui, *_, parents in rows for parent, source in parents]


def _concept_batch(rows: Sequence[Sequence[Any]]) -> GraphBatch:
    """Concepts with the is_a that leave them; parents without their names, which come with rows of their own."""
    concepts, is_a = _concepts(rows), _is_a(rows)
    parents = {edge.parent for edge in is_a}.difference(concept.cui for concept in concepts)
    return GraphBatch(concepts=[*concepts, *(ConceptNode(cui, "") for cui in sorted(parents))], is_a=is_a)


def _pages(values: Sequence[Any]) -> Iterator[list[Any]]:
    rest = iter(values)
    while page := list(islice(rest, _PAGE)):
        yield page
