"""A graph whose typed relations lead elsewhere: a control of whether it matters where."""

from __future__ import annotations

from dataclasses import replace

import structlog
from nbclip.errors import Conflict
from nbclip.schemas.snapshots import ShuffledRelations

from kg_service.graph.store import Graph
from kg_service.snapshot.shuffling import shuffled


def with_relations(graph: Graph, wanted: ShuffledRelations | None) -> Graph:
    """The graph with the targets of each relation shuffled; None: as it is.

    Raises:
        Conflict: the graph has no typed relations; or all end where they were, as of few edges no two may be able to change
            places.
    """
    if wanted is None:
        return graph
    if not graph.relations:
        raise Conflict(
            "there are no typed relations to shuffle",
            hint="kg-service vocabulary build --relation RELA, ingest and publish; an own is_a leaves them out",
        )
    made = {name: shuffled(edges_E2, len(graph.cuis), wanted.shuffled) for name, edges_E2 in graph.relations.items()}
    moved = {name: count for name, (_, count) in made.items()}
    if not any(moved.values()):
        raise Conflict(
            f"shuffled by seed {wanted.shuffled}, all typed relations of the graph are as they were",
            hint="try another seed; with few edges no other arrangement may be possible",
        )
    structlog.get_logger().info("relations shuffled: not the vocabulary's from here on", seed=wanted.shuffled, moved=moved)
    return replace(graph, relations={name: edges_E2 for name, (edges_E2, _) in made.items()})
