"""A batch in parts, each small enough for one transaction of a server with little memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from kg_service.graph.settlement import cuis_of
from kg_service.graph.store import ConceptNode, GraphBatch, ImageNode, IsAEdge, RelationEdge

Value = TypeVar("Value")
Element: TypeAlias = ConceptNode | IsAEdge | RelationEdge | ImageNode

MOST_WRITTEN = 20_000
"""Nodes and edges of one transaction: an edge takes 3.6 KB of the server's memory until it is committed."""
MOST_READ = 50_000
"""Nodes and edges of one answer."""


def elements(batch: GraphBatch) -> list[Element]:
    """All of a batch, in an order in which it can be written: concepts, is_a, relations, images."""
    return [*batch.concepts, *batch.is_a, *batch.relations, *batch.images]


def batch_of(part: Sequence[Element], whole: GraphBatch) -> GraphBatch:
    """Successive elements of `whole` as a batch, with the concepts that its edges name."""
    images = [each for each in part if isinstance(each, ImageNode)]
    is_a = [each for each in part if isinstance(each, IsAEdge)]
    relations = [each for each in part if isinstance(each, RelationEdge)]
    named = {edge.cui for image in images for edge in image.attributes}
    named |= cuis_of(is_a, relations)
    own = [each for each in part if isinstance(each, ConceptNode)]
    named.difference_update(concept.cui for concept in own)
    return GraphBatch(images, [*own, *(concept for concept in whole.concepts if concept.cui in named)], is_a, relations)


def weight(element: Element) -> int:
    """The nodes and edges that an element is."""
    return 1 + len(element.attributes) if isinstance(element, ImageNode) else 1


def cut(values: Sequence[Value], weights: Iterable[int], most: int) -> Iterator[Sequence[Value]]:
    """The values in parts that weigh at most so much, but of one value at least."""
    start = total = 0
    for position, added in enumerate(weights):
        if position > start and total + added > most:
            yield values[start:position]
            start, total = position, 0
        total += added
    if values:
        yield values[start:]
