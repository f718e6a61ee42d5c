"""The outcome of a batch's images, given what is stored: the part of a write that every store shares."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import TypeVar

from nbclip.errors import InvalidInput
from nbclip.schemas.images import Outcome

from kg_service.graph.store import ConceptNode, GraphBatch, ImageNode, ImageOutcome, IsAEdge, OnConflict, RelationEdge

ConceptEdge = TypeVar("ConceptEdge", IsAEdge, RelationEdge)

_place = attrgetter("start", "end", "cui")
_CONTENT = ("caption", "dataset", "split", "attributes")
_PAGE = 5_000


@dataclass(frozen=True, slots=True)
class Settlement:
    """What a write answers and does.

    Attributes:
        outcomes: one an image, in the batch's order.
        changed: images to be written, by id, in canonical form with the time they bring; they replace what is stored.
    """

    outcomes: tuple[ImageOutcome, ...]
    changed: dict[str, ImageNode]


def settle(images: Iterable[ImageNode], stored: Mapping[str, ImageNode], on_conflict: OnConflict) -> Settlement:
    """The settlement of a batch, decided image by image, in order, so that an id given twice meets what its first row left.

    Args:
        images: the batch's images.
        stored: those of them that the store holds, in canonical form, by id.
        on_conflict: what happens to an image whose stored content differs.
    """
    current = dict(stored)
    changed: dict[str, ImageNode] = {}
    outcomes = []
    for given in images:
        image = canonical(given)
        outcome, reason = _outcome(image, current.get(image.image_id), on_conflict)
        outcomes.append(ImageOutcome(image.image_id, outcome, reason))
        if outcome in ("created", "replaced"):
            current[image.image_id] = image
            changed[image.image_id] = replace(image, ingested_at=given.ingested_at)
    return Settlement(tuple(outcomes), changed)


def canonical(image: ImageNode) -> ImageNode:
    """The image as its content alone: no time, attributes ordered by (start, end, CUI).

    An attribute is named by those three; of two with the same ones the first counts.
    """
    first = {_place(edge): edge for edge in reversed(image.attributes)}
    attributes = tuple(sorted(first.values(), key=_place))
    return ImageNode(image.image_id, image.caption, attributes, image.dataset, image.split)


def image_batch(images: Sequence[ImageNode]) -> GraphBatch:
    """Images of which the concepts were written before: without their names, which stay as they are."""
    named = {edge.cui for image in images for edge in image.attributes}
    return GraphBatch(images, [ConceptNode(cui, "") for cui in sorted(named)])


def concept_batches(concepts: Sequence[ConceptNode], edges: Sequence[IsAEdge | RelationEdge]) -> Iterator[GraphBatch]:
    """All concepts, then the edges among them, in batches of which none is too large."""
    for start in range(0, len(concepts), _PAGE):
        yield GraphBatch(concepts=concepts[start : start + _PAGE])
    for start in range(0, len(edges), _PAGE):
        yield _edge_batch(edges[start : start + _PAGE])


def _edge_batch(edges: Sequence[IsAEdge | RelationEdge]) -> GraphBatch:
    """Edges between concepts that were written before, without their names."""
    is_a = [edge for edge in edges if isinstance(edge, IsAEdge)]
    relations = [edge for edge in edges if isinstance(edge, RelationEdge)]
    return GraphBatch((), [ConceptNode(cui, "") for cui in sorted(cuis_of(is_a, relations))], is_a, relations)


def cuis_of(is_a: Iterable[IsAEdge], relations: Iterable[RelationEdge]) -> set[str]:
    """The concepts at both ends of edges."""
    return {cui for edge in is_a for cui in (edge.child, edge.parent)} | {
        cui for edge in relations for cui in (edge.subject, edge.target)
    }


def require_concepts(batch: GraphBatch) -> None:
    """Raises InvalidInput if an edge of the batch names a concept that is not among its `concepts`."""
    named = {edge.cui for image in batch.images for edge in image.attributes}
    named |= cuis_of(batch.is_a, batch.relations)
    missing = sorted(named - {concept.cui for concept in batch.concepts})
    if missing:
        raise InvalidInput(
            f"edges name {len(missing)} concepts that the batch lacks: {', '.join(missing[:5])}",
            hint="put every concept that an edge names into the batch",
        )


def changed_concepts(concepts: Iterable[ConceptNode], stored: Iterable[ConceptNode]) -> list[ConceptNode]:
    """Concepts to be written, by CUI. The last name wins, but a concept of unknown name never takes a known one away."""
    known = {concept.cui: concept for concept in stored}
    settled = dict(known)
    for concept in sorted(concepts, key=attrgetter("cui", "name", "semantic_types", "source")):
        if concept.name or concept.cui not in settled:
            settled[concept.cui] = concept
    return [concept for cui, concept in sorted(settled.items()) if known.get(cui) != concept]


def changed_edges(edges: Iterable[ConceptEdge], stored: Iterable[ConceptEdge]) -> list[ConceptEdge]:
    """Edges to be written, by their ends and relation, each once. The last source that is named wins."""
    known = {ends(edge): edge for edge in stored}
    settled = dict(known)
    for edge in sorted(edges, key=lambda edge: (ends(edge), edge.source)):
        if edge.source or ends(edge) not in settled:
            settled[ends(edge)] = edge
    return [edge for place, edge in sorted(settled.items()) if known.get(place) != edge]


def ends(edge: IsAEdge | RelationEdge) -> tuple[str, ...]:
    """What an edge between concepts is named by: all but its source."""
    return (edge.child, edge.parent) if isinstance(edge, IsAEdge) else (edge.subject, edge.relation, edge.target)


def _outcome(image: ImageNode, known: ImageNode | None, on_conflict: OnConflict) -> tuple[Outcome, str]:
    if known is None:
        return "created", ""
    different = [name for name in _CONTENT if getattr(image, name) != getattr(known, name)]
    if not different:
        return "unchanged", ""
    if on_conflict == "replace":
        return "replaced", ""
    return "rejected", f"stored before with another {' and '.join(different)}"
