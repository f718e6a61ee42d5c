"""What a snapshot has otherwise than the graph: for experiments, and named in its manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nbclip.schemas.snapshots import PublishRequest, RarestConcepts, ShuffledRelations

from kg_service.graph.store import Graph
from kg_service.snapshot.manifest import Manifest, RelationsOrigin
from kg_service.snapshot.other_is_a import OtherIsA, origin, other_is_a_of, save_other_is_a, with_is_a
from kg_service.snapshot.other_relations import with_relations
from kg_service.snapshot.rarest import document_frequencies, save_frequencies, with_rarest


@dataclass(frozen=True, slots=True)
class Changes:
    """In the order in which they are made; None: as the graph has it.

    Attributes:
        concepts: which concepts of each image are left.
        is_a: what takes the place of the graph's is_a.
        relations: what takes the place of its typed relations.
    """

    concepts: RarestConcepts | None = None
    is_a: OtherIsA | None = None
    relations: ShuffledRelations | None = None


NO_CHANGES = Changes()


def changes_asked_for(wanted: PublishRequest) -> Changes:
    """Those of a request."""
    return Changes(wanted.concepts, wanted.is_a, wanted.relations)


def changed(graph: Graph, changes: Changes) -> Graph:
    """The graph with the changes.

    Raises:
        Conflict: what is to be shuffled is not there, or ends where it was.
        InvalidInput: none of an own is_a's edges begins at a concept of an image.
    """
    if changes.concepts is not None:
        graph = with_rarest(graph, changes.concepts.rarest, document_frequencies(graph))
    return with_relations(with_is_a(graph, changes.is_a), changes.relations)


def in_manifest(changes: Changes) -> dict[str, Any]:
    """What the manifest says of them, by its fields."""
    return {
        "rarest_concepts": changes.concepts and changes.concepts.rarest,
        "is_a": origin(changes.is_a),
        "relations": changes.relations and RelationsOrigin(seed=changes.relations.shuffled),
    }


def save_changes(folder: Path, graph: Graph, changes: Changes) -> None:
    """Keeps in a snapshot's folder what its manifest does not say, and appends and compactions need; `graph` is without them."""
    save_other_is_a(folder, changes.is_a)
    if changes.concepts is not None:
        save_frequencies(folder, graph)


def changes_of(folder: Path, manifest: Manifest) -> Changes:
    """Those of a published snapshot, so that its part of the graph can be published anew."""
    return Changes(
        concepts=RarestConcepts(rarest=manifest.rarest_concepts) if manifest.rarest_concepts else None,
        is_a=other_is_a_of(folder, manifest),
        relations=ShuffledRelations(shuffled=manifest.relations.seed) if manifest.relations else None,
    )
