"""What a write transaction does, and what this process knows of those before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from nbclip.errors import Unavailable

from kg_service.graph.neo4j.bolt import Transaction
from kg_service.graph.neo4j.parts import Element
from kg_service.graph.neo4j.rows import (
    child_rows,
    concept_rows,
    concepts_of,
    image_of,
    image_rows,
    is_a_of,
    is_a_rows,
    pages,
    relation_rows,
    relations_of,
)
from kg_service.graph.settlement import canonical, changed_concepts, changed_edges, ends, settle
from kg_service.graph.store import ConceptNode, GraphBatch, ImageOutcome, IsAEdge, OnConflict, RelationEdge


@dataclass(frozen=True, slots=True)
class Turn:
    """A write transaction of a graph, and the concepts and is_a that the graph has."""

    graph_id: str
    revision: int
    concepts: int
    is_a: int


@dataclass(slots=True)
class Written:
    """Concepts and the edges between them that this process has written to a graph: ancestors come again with every batch."""

    last: Turn | None = None
    concepts: dict[str, ConceptNode] = field(default_factory=dict)
    edges: dict[tuple[str, ...], IsAEdge | RelationEdge] = field(default_factory=dict)

    def __contains__(self, element: Element) -> bool:
        match element:
            case ConceptNode():
                return self.concepts.get(element.cui) == element
            case IsAEdge() | RelationEdge():
                return self.edges.get(ends(element)) == element
        return False

    def add(self, batch: GraphBatch, left: Turn) -> None:
        """Notes what a transaction wrote, and the graph that it left."""
        self.last = left
        self.concepts.update((concept.cui, concept) for concept in batch.concepts)
        edges: list[IsAEdge | RelationEdge] = [*batch.is_a, *batch.relations]
        self.edges.update((ends(edge), edge) for edge in edges)

    def missing(self, batch: GraphBatch, turn: Turn) -> GraphBatch:
        """What of a batch, images aside, has yet to be written to this graph."""
        if not self._holds(turn):
            self.forget()
        return GraphBatch(
            concepts=[each for each in batch.concepts if each not in self],
            is_a=[each for each in batch.is_a if each not in self],
            relations=[each for each in batch.relations if each not in self],
        )

    def forget(self) -> None:
        """Nothing is known to be written any more."""
        self.last = None
        self.concepts.clear()
        self.edges.clear()

    def _holds(self, turn: Turn) -> bool:
        """No program removes concepts or is_a: where there are fewer, somebody did by hand, or restored a backup."""
        last = self.last
        return last is not None and (
            turn.graph_id == last.graph_id
            and turn.revision > last.revision
            and turn.concepts >= last.concepts
            and turn.is_a >= last.is_a
        )


async def write_concepts(transaction: Transaction, batch: GraphBatch, revision: int) -> tuple[int, int]:
    """Writes what differs from what is stored, edges after all concepts; how many concepts and is_a are new."""
    cuis = sorted(
        {concept.cui for concept in batch.concepts}
        | {edge.child for edge in batch.is_a}
        | {edge.subject for edge in batch.relations}
    )
    stored = [row for page in pages(cuis) for row in await transaction.run("concepts", cuis=page)]
    known = {row[0] for row in stored}
    changed = changed_concepts(batch.concepts, concepts_of(stored))
    new = [concept for concept in changed if concept.cui not in known]
    await _run_in_pages(transaction, "create_concepts", revision, concepts=concept_rows(new))
    old = [concept for concept in changed if concept.cui in known]
    await _run_in_pages(transaction, "update_concepts", revision, concepts=concept_rows(old))
    await _write_relations(transaction, batch.relations, relations_of(stored), revision)
    return len(new), await _write_is_a(transaction, batch.is_a, is_a_of(stored), revision)


async def _write_is_a(transaction: Transaction, is_a: Sequence[IsAEdge], stored: Sequence[IsAEdge], revision: int) -> int:
    known = set(map(ends, stored))
    changed = changed_edges(is_a, stored)
    new = [edge for edge in changed if ends(edge) not in known]
    if sum(await _run_in_pages(transaction, "create_is_a", revision, children=child_rows(new))) != len(new):
        raise _concepts_removed()
    old = [edge for edge in changed if ends(edge) in known]
    await _run_in_pages(transaction, "update_is_a", revision, edges=is_a_rows(old))
    return len(new)


async def _write_relations(
    transaction: Transaction, relations: Sequence[RelationEdge], stored: Sequence[RelationEdge], revision: int
) -> None:
    known = set(map(ends, stored))
    changed = changed_edges(relations, stored)
    new = [edge for edge in changed if ends(edge) not in known]
    if sum(await _run_in_pages(transaction, "create_relations", revision, edges=relation_rows(new))) != len(new):
        raise _concepts_removed()
    old = [edge for edge in changed if ends(edge) in known]
    await _run_in_pages(transaction, "update_relations", revision, edges=relation_rows(old))


async def write_images(
    transaction: Transaction, batch: GraphBatch, on_conflict: OnConflict, revision: int
) -> tuple[ImageOutcome, ...]:
    """Writes what is new or replaced; one outcome an image, in the batch's order."""
    known = map(image_of, await transaction.run("images", image_ids=sorted({image.image_id for image in batch.images})))
    settlement = settle(batch.images, {node.image_id: canonical(node) for node in known}, on_conflict)
    replaced = sorted(result.image_id for result in settlement.outcomes if result.outcome == "replaced")
    if replaced:
        # The node stays: another program may have set properties of its own on it, or edges to it.
        await transaction.run("delete_attributes", image_ids=replaced)
    edges = await transaction.run("write_images", images=image_rows(settlement.changed), revision=revision)
    if edges != sum(len(image.attributes) for image in settlement.changed.values()):
        raise _concepts_removed()
    return settlement.outcomes


async def _run_in_pages(transaction: Transaction, name: str, revision: int, **rows: list[list[Any]]) -> list[Any]:
    """The answers of a query that is run for a page of rows at a time."""
    ((parameter, values),) = rows.items()
    return [await transaction.run(name, revision=revision, **{parameter: page}) for page in pages(values)]


def _concepts_removed() -> Unavailable:
    return Unavailable("concepts were removed from Neo4j while this program ran", hint="try again: they are written again")
