"""What the queries take and answer with, as nodes and edges. The order of a row's values is that of its query in `cypher/`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby, islice
from operator import attrgetter
from typing import Any

from nbclip.ids import caption_sha256

from kg_service.graph.store import AttributeEdge, ConceptNode, GraphBatch, ImageNode, IsAEdge, RelationEdge

_PAGE = 5_000


def attribute_key(image_id: str, edge: AttributeEdge) -> str:
    """What names an attribute: its image, place and concept."""
    return f"{image_id} {edge.start} {edge.end} {edge.cui}"


def image_rows(images: Mapping[str, ImageNode]) -> list[list[Any]]:
    """Rows of `write_images`, by id."""
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    return [
        [
            *(node.image_id, node.caption, caption_sha256(node.caption), node.dataset, node.split, node.ingested_at or now),
            [_attribute_row(node.image_id, edge) for edge in node.attributes],
        ]
        for _, node in sorted(images.items())
    ]


def concept_rows(concepts: Iterable[ConceptNode]) -> list[list[Any]]:
    """Rows of `create_concepts` and `update_concepts`."""
    return [[concept.cui, concept.name, list(concept.semantic_types), concept.source] for concept in concepts]


def is_a_rows(edges: Iterable[IsAEdge]) -> list[list[Any]]:
    """Rows of `update_is_a`."""
    return [[edge.child, edge.parent, edge.source] for edge in edges]


def child_rows(edges: Iterable[IsAEdge]) -> list[list[Any]]:
    """Rows of `create_is_a`: a child with all its edges."""
    by_child = groupby(sorted(edges, key=attrgetter("child", "parent")), attrgetter("child"))
    return [[child, [[edge.parent, edge.source] for edge in group]] for child, group in by_child]


def relation_key(edge: RelationEdge) -> str:
    """What names a typed edge: its ends and type. Edges of other programs have no such key."""
    return f"{edge.subject} {edge.relation} {edge.target}"


def relation_rows(edges: Iterable[RelationEdge]) -> list[list[Any]]:
    """Rows of `create_relations` and `update_relations`."""
    return [[edge.subject, edge.relation, edge.target, relation_key(edge), edge.source] for edge in edges]


def image_of(row: Sequence[Any]) -> ImageNode:
    """The image of a row of `images` or `image_page`."""
    image_id, caption, dataset, split, ingested_at, edges = row
    attributes = sorted((AttributeEdge(*edge) for edge in edges), key=attrgetter("start", "end", "cui"))
    return ImageNode(image_id, caption, tuple(attributes), dataset, split, ingested_at)


def concepts_of(rows: Iterable[Sequence[Any]]) -> list[ConceptNode]:
    """The concepts of rows of `concepts`."""
    return [ConceptNode(cui, name, tuple(types), source) for cui, name, types, source, *_ in rows]


def is_a_of(rows: Iterable[Sequence[Any]]) -> list[IsAEdge]:
    """The is_a edges that leave the concepts of rows of `concepts`."""
    return [IsAEdge(cui, parent, source) for cui, *_, parents, _ in rows for parent, source in parents]


def relations_of(rows: Iterable[Sequence[Any]]) -> list[RelationEdge]:
    """The typed edges that leave the concepts of rows of `concepts`."""
    return [RelationEdge(cui, relation, target, source) for cui, *_, edges in rows for relation, target, source in edges]


def concept_batch(rows: Sequence[Sequence[Any]]) -> GraphBatch:
    """Concepts with the edges that leave them; other ends without their names, which come with rows of their own."""
    concepts, is_a, relations = concepts_of(rows), is_a_of(rows), relations_of(rows)
    others = {edge.parent for edge in is_a} | {edge.target for edge in relations}
    others.difference_update(concept.cui for concept in concepts)
    return GraphBatch((), [*concepts, *(ConceptNode(cui, "") for cui in sorted(others))], is_a, relations)


def pages(values: Iterable[Any]) -> Iterator[list[Any]]:
    """The values in parts that one query takes."""
    rest = iter(values)
    while page := list(islice(rest, _PAGE)):
        yield page


def _attribute_row(image_id: str, edge: AttributeEdge) -> list[Any]:
    return [
        *(edge.cui, edge.text, edge.start, edge.end, edge.score, edge.rule, edge.assertion, edge.linker),
        attribute_key(image_id, edge),
    ]
